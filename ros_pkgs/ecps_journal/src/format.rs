//! The bytes of an `.eaplog` 3.0 segment; `docs/eaplog-3.0.md` is the whole description. All numbers are little-endian;
//! checksums are CRC-32C (Castagnoli).
//!
//! A segment is a [`Superblock`], then records ([`Header`], payload, checksum), then, once it is closed, a [`Footer`],
//! with nothing between them.

mod footer;
mod header;
mod superblock;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use footer::{FOOTER_BYTES, Footer};
pub(crate) use footer::{FOOTER_MARK, FOOTER_PREFIX, FOOTER_TAIL};
pub use header::{Direction, HEADER_BYTES, Header, Moment, OVERHEAD_BYTES, PAYLOAD_BYTES, encode_record, payload_of};
pub(crate) use superblock::SUPERBLOCK_PREFIX;
pub use superblock::{Identity, ROBOT_BYTES, SUPERBLOCK_BYTES, Superblock};

/// First bytes of each segment.
pub const MAGIC: [u8; 8] = *b"\x89EAPL\r\n\x1a";
/// Version written, and the major version read.
pub const VERSION: (u16, u16) = (3, 0);
/// Incompatible flag: payloads are encrypted.
pub const FLAG_ENCRYPTED: u64 = 1;

/// SHA-256 of stored bytes.
pub type Digest = [u8; 32];

/// SHA-256 of `bytes`; the digest of a superblock.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Digest of a record's stored bytes: its leaf hash in the tree of RFC 6962, SHA-256 of a zero byte and the record.
pub fn record_digest(bytes: &[u8]) -> Digest {
    Sha256::new_with_prefix([0]).chain_update(bytes).finalize().into()
}

/// Why bytes are not a superblock, a record or a footer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The file is something else.
    #[error("the segment does not begin with the magic bytes of an .eaplog 3 file")]
    Magic,
    /// Another major version.
    #[error("the segment has format version {major}.{minor}, and version {}.x is read here", VERSION.0)]
    Version {
        /// Major version found.
        major: u16,
        /// Minor version found.
        minor: u16,
    },
    /// A flag that must be understood and is not.
    #[error("the segment needs features {flags:#x} that are unknown here")]
    Flags {
        /// Incompatible flags found.
        flags: u64,
    },
    /// A length outside its range.
    #[error("{what} claims {length} bytes, outside {min} to {max}")]
    Length {
        /// What claims it.
        what: &'static str,
        /// Length claimed.
        length: usize,
        /// Least possible.
        min: usize,
        /// Greatest allowed.
        max: usize,
    },
    /// Bytes changed after they were written.
    #[error("the checksum of {what} is {found:#010x} and its bytes give {computed:#010x}")]
    Checksum {
        /// What it covers.
        what: &'static str,
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A field with no meaning.
    #[error("{what} is {value}, which has no meaning")]
    Meaningless {
        /// Name of the field.
        what: &'static str,
        /// What it held.
        value: u64,
    },
    /// A name that is not UTF-8.
    #[error("{what} in the superblock is not UTF-8")]
    Text {
        /// Whose name.
        what: &'static str,
    },
    /// A footer that is no protobuf message, or does not end as it must.
    #[error("the footer cannot be read: {0}")]
    Footer(&'static str),
    /// A compressed segment that does not uncompress.
    #[error("the compressed segment cannot be read: {0}")]
    Packing(String),
    /// Something after the footer.
    #[error("there are bytes after the footer, which ends a segment")]
    AfterFooter,
}

/// Takes fixed fields off the front of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes; zeros past the end, which callers exclude by checking the length first.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *head
    }

    /// The next `size` bytes of `what`.
    fn take_slice(&mut self, what: &'static str, size: usize) -> Result<&'a [u8], FormatError> {
        let Some((head, rest)) = self.0.split_at_checked(size) else {
            return Err(FormatError::Length { what, length: size, min: 0, max: self.0.len() });
        };
        self.0 = rest;
        Ok(head)
    }
}

/// Splits the checksum off the end of `bytes` and compares it.
fn check_sum<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(FormatError::Length { what, length: bytes.len(), min: 4, max: usize::MAX });
    };
    let (found, computed) = (u32::from_le_bytes(*sum), crc32c::crc32c(body));
    if found == computed { Ok(body) } else { Err(FormatError::Checksum { what, found, computed }) }
}
