//! The end of a segment that was closed: its index, signed.

use prost::Message as _;

use super::{Fields, FormatError};
use crate::record;

/// Longest footer, bytes.
pub const FOOTER_BYTES: usize = 2 << 20;
/// What stands where a record would have its length; no record is so long.
pub(crate) const FOOTER_MARK: u32 = u32::MAX;
/// Bytes of a footer before its payload: mark, length.
pub(crate) const FOOTER_PREFIX: usize = 8;
/// Bytes of a footer after its payload: length again, checksum, magic; the last bytes of the file.
pub(crate) const FOOTER_TAIL: usize = 16;
/// Bytes of a footer besides its payload.
pub(crate) const FOOTER_OVERHEAD: usize = FOOTER_PREFIX + FOOTER_TAIL;
/// Last bytes of a closed segment.
const END: [u8; 8] = *b"EAPLEND\n";

/// The end of a closed segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Footer {
    /// What the segment holds and where.
    pub index: record::Index,
    /// The index as stored, which is what `note` signs.
    pub index_bytes: Vec<u8>,
    /// A checkpoint over all records up to the segment's last, with an `index` line; empty without a signer.
    pub note: String,
    /// All of its stored bytes.
    pub bytes: Vec<u8>,
}

impl Footer {
    /// The bytes to store.
    pub(crate) fn encode(index_bytes: Vec<u8>, note: String) -> Vec<u8> {
        let payload = record::Footer { index: index_bytes, note };
        let length = FOOTER_OVERHEAD + payload.encoded_len();
        let mut out = Vec::with_capacity(length);
        out.extend(FOOTER_MARK.to_le_bytes());
        out.extend((length as u32).to_le_bytes());
        out.extend(payload.encode_to_vec());
        out.extend((length as u32).to_le_bytes());
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out.extend(END);
        out
    }

    /// Length of the whole footer, from its first bytes.
    pub(crate) fn length(prefix: &[u8; FOOTER_PREFIX]) -> Result<usize, FormatError> {
        let mut fields = Fields(prefix);
        let _: [u8; 4] = fields.take();
        Self::check_length(u32::from_le_bytes(fields.take()))
    }

    /// Length of the whole footer, from the last bytes of a file; none where it does not end with a footer.
    pub(crate) fn length_from_end(tail: &[u8; FOOTER_TAIL]) -> Option<usize> {
        let mut fields = Fields(tail);
        let length = u32::from_le_bytes(fields.take());
        let _: [u8; 4] = fields.take();
        (fields.take() == END).then(|| Self::check_length(length).ok()).flatten()
    }

    fn check_length(length: u32) -> Result<usize, FormatError> {
        let (length, min, max) = (length as usize, FOOTER_OVERHEAD, FOOTER_BYTES);
        if length < min || length > max {
            return Err(FormatError::Length { what: "the footer", length, min, max });
        }
        Ok(length)
    }

    /// Reads the bytes of a whole footer.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Footer, FormatError> {
        let Some((summed, end)) = bytes.split_last_chunk::<8>() else {
            return Err(FormatError::Footer("it is too short"));
        };
        if *end != END {
            return Err(FormatError::Footer("it does not end with its magic bytes"));
        }
        let body = super::check_sum("the footer", summed)?;
        let Some((rest, length)) = body.split_last_chunk::<4>() else {
            return Err(FormatError::Footer("it is too short"));
        };
        if u32::from_le_bytes(*length) as usize != bytes.len() {
            return Err(FormatError::Footer("its two lengths differ"));
        }
        let payload = rest.get(FOOTER_PREFIX..).unwrap_or_default();
        let payload = record::Footer::decode(payload)
            .map_err(|_| FormatError::Footer("it is no protobuf message of its kind"))?;
        let index = record::Index::decode(payload.index.as_slice())
            .map_err(|_| FormatError::Footer("its index is no protobuf message of its kind"))?;
        Ok(Footer { index, index_bytes: payload.index, note: payload.note, bytes: bytes.to_vec() })
    }
}
