//! Whether a frame's compression holds what it promises.

use std::time::Instant;

use ecps_core::limits;
use ecps_core::wire;
use ecps_core::wire::proto::Ltp;
use ecps_perception::codec::{self, encode};
use ecps_perception::compression::{Compression, Level, Method};
use serde_json::{Value, json};

/// What was found out of a frame, and what is wrong with it.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; empty: nothing.
    pub errors: Vec<String>,
    /// Sizes, ratio and times.
    pub facts: Value,
}

/// Decompresses the frame in `bytes`. With `integrity` it is also compressed and decompressed again, by every method.
pub fn check(bytes: &[u8], integrity: bool) -> Outcome {
    let frame = match wire::decode::<Ltp>(bytes, limits::LTP_FRAME_BYTES) {
        Ok(frame) => frame,
        Err(error) => return Outcome { errors: vec![error.to_string()], facts: Value::Null },
    };
    let (compressed, level) = (frame.tensor_zstd.len(), frame.compression_level);
    let started = Instant::now();
    let tensor = match codec::decode(frame) {
        Ok(tensor) => tensor,
        Err(error) => {
            return Outcome { errors: vec![error.to_string()], facts: json!({ "compressed_bytes": compressed }) };
        }
    };
    let decompressed_ms = started.elapsed().as_secs_f64() * 1e3;
    let (mut errors, mut methods) = (Vec::new(), Vec::new());
    let plain = Level::new(i64::from(level)).map_or(Compression::default().method, Method::Zstd);
    let mut names = vec![Compression { method: plain, ..Compression::default() }.to_string()];
    if integrity {
        names.extend(["none", "lz4", "lz4+shuffle", "zstd:1+shuffle", "zstd:3+shuffle"].map(str::to_owned));
    }
    for name in names.iter().filter(|_| integrity) {
        let started = Instant::now();
        let again = name
            .parse()
            .map_err(|error| format!("{error}"))
            .and_then(|compression| encode(&tensor, compression, 1).map_err(|error| error.to_string()));
        let encode_ms = started.elapsed().as_secs_f64() * 1e3;
        match again {
            Ok(again) => {
                let bytes = again.tensor_zstd.len();
                if codec::decode(again).as_ref() != Ok(&tensor) {
                    errors.push(format!("{name}: another tensor came back"));
                }
                methods.push(json!({ "compression": name, "bytes": bytes, "encode_ms": encode_ms }));
            }
            Err(error) => errors.push(format!("{name}: {error}")),
        }
    }
    let original = tensor.data().len();
    let ratio = original as f64 / compressed.max(1) as f64;
    let facts = json!({
        "original_bytes": original,
        "compressed_bytes": compressed,
        "ratio": ratio,
        "compression_level": level,
        "decompression_ms": decompressed_ms,
        "methods": methods,
    });
    Outcome { errors, facts }
}
