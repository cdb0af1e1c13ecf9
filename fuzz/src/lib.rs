//! What the targets share: sound inputs to begin with, since no mutation of nothing ever becomes a frame.

use std::path::Path;

use ecps_core::clock::Stamp;
use ecps_core::wire::proto::{Ltp, LtpChunk, LtpFrameHeader};
use ecps_perception::chunks::{MaxFrame, Outgoing, split};
use ecps_perception::codec::encode;
use ecps_perception::tensor::{DType, Tensor};

/// Ways to compress, each of which has a decoder of its own.
pub const COMPRESSIONS: [&str; 5] = ["zstd", "none", "lz4", "zstd+shuffle", "lz4+shuffle"];

/// Writes `inputs` to the target's corpus.
pub fn begin_with(target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, input) in inputs.into_iter().enumerate() {
        std::fs::write(folder.join(format!("sound-{number}")), input).unwrap();
    }
}

/// Smooth floats, of so many bytes.
pub fn tensor(bytes: u32) -> Tensor {
    let data = (0..bytes / 4).flat_map(|i| (1.0 + (i * 2_654_435 % 997) as f32 * 0.01).to_le_bytes()).collect();
    let tensor = Tensor::new("t", DType::F32, vec![bytes / 4], data).unwrap();
    tensor.in_frame("laser").unwrap().at(Stamp(1))
}

/// A frame of each compression.
pub fn frames(bytes: u32) -> Vec<Ltp> {
    COMPRESSIONS.iter().map(|name| encode(&tensor(bytes), name.parse().unwrap(), 1).unwrap()).collect()
}

/// The chunks of a frame of each compression that has any.
pub fn chunks(bytes: u32) -> Vec<Vec<LtpChunk>> {
    let cut = frames(bytes).into_iter().map(|frame| split(frame, MaxFrame::new(2048).unwrap()).unwrap());
    cut.filter_map(|outgoing| match outgoing {
        Outgoing::Chunks(chunks) => Some(chunks),
        Outgoing::Whole(_) => None,
    })
    .collect()
}

/// Makes length and checksum agree with the payload, so that what lies behind them is reached too.
pub fn seal(header: &mut Option<LtpFrameHeader>, payload: &[u8]) {
    if let Some(header) = header {
        header.version = 1;
        header.payload_length = payload.len() as u32;
        header.checksum = crc32fast::hash(payload).to_be_bytes().to_vec();
    }
}
