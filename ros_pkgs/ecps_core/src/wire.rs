//! The protobuf contract (`proto/ecps.proto`) and a codec that trusts no message for its own size.

use prost::Message;
use thiserror::Error;

/// Generated from `proto/ecps.proto`; field numbers are the contract.
#[allow(missing_docs, unreachable_pub, clippy::doc_markdown)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/ecps.rs"));
}

/// Version string of the model control protocol (unrelated to Anthropic's Model Context Protocol).
pub const MCP_SPEC: &str = "mcp/1.0";
/// Version string of tensor frames.
pub const LTP_SPEC: &str = "ltp/0.9";
/// Version string of the memory protocol.
pub const MEP_SPEC: &str = "mep/1.0";
/// Version string of actions.
pub const EAP_SPEC: &str = "eap/0.1";
/// Version of LTP frame headers.
pub const LTP_HEADER_VERSION: u32 = 1;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Larger than the reader accepts.
    #[error("the message has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not a protobuf message of this type.
    #[error("the message cannot be decoded: {0}")]
    Malformed(String),
    /// A version string without the form `name/major.minor`, or of another protocol.
    #[error("the version is '{found}', and '{expected}' is needed")]
    ForeignSpec {
        /// What the message says.
        found: String,
        /// What this side speaks.
        expected: &'static str,
    },
    /// A newer major version than this side speaks.
    #[error("the version is '{found}', newer than the '{expected}' spoken here")]
    NewerMajor {
        /// What the message says.
        found: String,
        /// What this side speaks.
        expected: &'static str,
    },
}

/// Decodes a message of at most `limit` bytes.
pub fn decode<M: Message + Default>(bytes: &[u8], limit: usize) -> Result<M, WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge { size: bytes.len(), limit });
    }
    M::decode(bytes).map_err(|e| WireError::Malformed(e.to_string()))
}

/// Checks a version string against ours: same or older major passes, a newer major is refused.
pub fn check_spec(found: &str, expected: &'static str) -> Result<(), WireError> {
    let foreign = || WireError::ForeignSpec { found: found.chars().take(64).collect(), expected };
    let parse = |spec: &str| -> Option<(String, u32)> {
        let (name, version) = spec.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        minor.parse::<u32>().ok()?;
        Some((name.to_owned(), major.parse().ok()?))
    };
    let (name, major) = parse(found).ok_or_else(foreign)?;
    let (our_name, our_major) = parse(expected).ok_or_else(foreign)?;
    if name != our_name {
        return Err(foreign());
    }
    if major > our_major {
        return Err(WireError::NewerMajor { found: found.chars().take(64).collect(), expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_major_passes_and_a_newer_one_is_refused() {
        assert_eq!(check_spec("eap/0.1", EAP_SPEC), Ok(()));
        assert_eq!(check_spec("eap/0.7", EAP_SPEC), Ok(()));
        assert!(matches!(check_spec("eap/1.0", EAP_SPEC), Err(WireError::NewerMajor { .. })));
        for foreign in ["", "eap", "eap/1", "ltp/0.1", "eap/x.y", "eap/-1.0"] {
            assert!(matches!(check_spec(foreign, EAP_SPEC), Err(WireError::ForeignSpec { .. })), "{foreign}");
        }
    }

    #[test]
    fn an_oversized_message_is_refused_before_it_is_read() {
        let error = decode::<proto::Ack>(&[0; 11], 10).unwrap_err();
        assert_eq!(error, WireError::TooLarge { size: 11, limit: 10 });
    }

    #[test]
    fn unknown_fields_are_ignored() {
        // Field 15, varint 1, then `success = true`.
        let ack: proto::Ack = decode(&[0x78, 0x01, 0x08, 0x01], 10).unwrap();
        assert!(ack.success);
    }
}
