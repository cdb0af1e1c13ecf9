//! Files of protobuf messages, each after its length as a varint.

use std::path::Path;

use ecps_core::wire::proto::Eap;
use prost::Message as _;
use thiserror::Error;

/// Largest file, bytes.
pub const FILE_BYTES: u64 = 1 << 30;

/// Why a file is not such a one.
#[derive(Debug, Error)]
pub enum DelimitedError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in it that cannot be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// What, and where.
        reason: String,
    },
}

/// The messages of a file, undecoded.
pub fn messages(path: &Path) -> Result<Vec<Vec<u8>>, DelimitedError> {
    let failed = |source| DelimitedError::Io { path: path.to_owned(), source };
    let content = |reason: String| DelimitedError::Content { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_BYTES {
        return Err(content(format!("it has {size} bytes, more than the {FILE_BYTES} allowed")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let bad = |what: &str| content(format!("message {}: {what}", messages.len()));
        let length = prost::decode_length_delimiter(&mut rest).map_err(|_| bad("its length cannot be read"))?;
        let (message, after) = rest.split_at_checked(length).ok_or_else(|| bad("it is longer than the file"))?;
        rest = after;
        messages.push(message.to_vec());
    }
    Ok(messages)
}

/// The actions of a file; each must decode.
pub fn actions(path: &Path) -> Result<Vec<Eap>, DelimitedError> {
    let decode = |(index, bytes): (usize, Vec<u8>)| {
        Eap::decode(bytes.as_slice()).map_err(|error| DelimitedError::Content {
            path: path.to_owned(),
            reason: format!("message {index}: it is no EAP message: {error}"),
        })
    };
    messages(path)?.into_iter().enumerate().map(decode).collect()
}
