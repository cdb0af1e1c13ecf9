//! The bytes of an `.eaplog` 3.0 segment. All numbers are little-endian; checksums are CRC-32C (Castagnoli).
//!
//! A segment is a superblock followed by records, with nothing between them.
//!
//! | superblock | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic `89 45 41 50 4C 0D 0A 1A` (as a legacy record length it would be 1.3 GB) |
//! | 8 | 2 + 2 | major version 3, minor version 0; a reader refuses another major |
//! | 12 | 4 | length of the whole superblock, 126 to 4096; what a newer minor adds is before the checksum and is skipped |
//! | 16 | 8 | compatible flags, 0; unknown ones are ignored |
//! | 24 | 8 | incompatible flags, 0; a reader refuses unknown ones |
//! | 32 | 16 | session: id of the writer's run |
//! | 48 | 16 | boot id of the machine |
//! | 64 | 8 | created, wall time in ns since the Unix epoch, signed |
//! | 72 | 8 | number of the segment, from 1 |
//! | 80 | 8 | sequence of the first record |
//! | 88 | 32 | chain: digest of the last whole record before, of any segment; zeros in the very first |
//! | 120 | 2 | length n of the robot's name, 1 to 256 |
//! | 122 | n | robot's name, UTF-8 |
//! | length − 4 | 4 | checksum of all bytes before |
//!
//! | record | bytes | |
//! |---|---|---|
//! | 0 | 4 | length of the whole record, 88 to 88 + 1 MiB |
//! | 4 | 2 | kind, see `proto/journal.proto` |
//! | 6 | 1 | direction: 0 internal, 1 inbound, 2 outbound |
//! | 7 | 1 | 0 |
//! | 8 | 8 | sequence, from 1, without gaps over all segments |
//! | 16 | 8 | steady time, ns |
//! | 24 | 8 | wall time, ns since the Unix epoch, signed |
//! | 32 | 16 | trace id; zeros: none |
//! | 48 | 32 | chain: digest of the record before; of the superblock, for the first of a segment |
//! | 80 | 4 | checksum of the 80 bytes before, so that a torn record and a damaged length can be told apart |
//! | 84 | n | payload, protobuf |
//! | 84 + n | 4 | checksum of all bytes before |
//!
//! A digest is the SHA-256 of all stored bytes of a record or a superblock. A chain without a signature shows damage,
//! insertion, removal and reordering, but not that the whole was written anew or that its end was cut at a record's
//! boundary.

use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// First bytes of each segment.
pub const MAGIC: [u8; 8] = *b"\x89EAPL\r\n\x1a";
/// Version written, and the major version read.
pub const VERSION: (u16, u16) = (3, 0);
/// Bytes of a record before its payload.
pub const HEADER_BYTES: usize = 84;
/// Bytes of a record besides its payload.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + 4;
/// Longest payload, bytes.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// Longest superblock, bytes.
pub const SUPERBLOCK_BYTES: usize = 4096;
/// Longest robot name, bytes.
pub const ROBOT_BYTES: usize = ecps_core::limits::NAME_BYTES;
/// Bytes of a superblock up to and including its own length.
pub(crate) const SUPERBLOCK_PREFIX: usize = 16;

/// SHA-256 of stored bytes.
pub type Digest = [u8; 32];

/// SHA-256 of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Who writes a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the robot, 1 to [`ROBOT_BYTES`] bytes.
    pub robot: String,
    /// Id of this run.
    pub session: [u8; 16],
    /// Boot id of the machine (`/proc/sys/kernel/random/boot_id`); steady times compare within one boot only.
    pub boot: [u8; 16],
}

/// When a record was made, which way it went, and which trace it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Steady time.
    pub steady: Steady,
    /// Wall time, also where ROS time is simulated.
    pub wall: Stamp,
    /// Way of the message.
    pub direction: Direction,
    /// W3C trace id; zeros: none.
    pub trace: [u8; 16],
}

/// Which way a recorded message went, seen from the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Direction {
    /// Neither: a decision of the writer's own.
    #[default]
    Internal = 0,
    /// It was received.
    Inbound = 1,
    /// It was sent.
    Outbound = 2,
}

/// The head of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Who wrote the segment.
    pub identity: Identity,
    /// Wall time of its beginning.
    pub created: Stamp,
    /// Its number, from 1.
    pub segment: u64,
    /// Sequence of its first record.
    pub first_sequence: u64,
    /// Digest of the last whole record (or record-less superblock) before.
    pub previous: Digest,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole record.
    pub length: usize,
    /// Kind of the payload.
    pub kind: u16,
    /// Its number in the journal, from 1.
    pub sequence: u64,
    /// When, which way, which trace.
    pub moment: Moment,
    /// Digest of the record (or superblock) before.
    pub previous: Digest,
}

/// Why bytes are not a superblock or a record.
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
    /// A direction or reserved byte with no meaning.
    #[error("the record's {what} is {value}, which has no meaning")]
    Meaningless {
        /// Name of the field.
        what: &'static str,
        /// What it held.
        value: u8,
    },
    /// A robot name that is not UTF-8.
    #[error("the robot's name in the superblock is not UTF-8")]
    RobotName,
}

/// Takes fixed fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeros past the end, which callers exclude by checking the length first.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *head
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

impl Superblock {
    /// Bytes besides the robot's name.
    const FIXED: usize = 126;

    /// The bytes to store. A name longer than [`ROBOT_BYTES`] is refused where a journal is opened.
    pub fn encode(&self) -> Vec<u8> {
        let robot = self.identity.robot.as_bytes();
        let mut out = Vec::with_capacity(Self::FIXED + robot.len());
        out.extend(MAGIC);
        out.extend(VERSION.0.to_le_bytes());
        out.extend(VERSION.1.to_le_bytes());
        out.extend(((Self::FIXED + robot.len()) as u32).to_le_bytes());
        out.extend([0; 16]);
        out.extend(self.identity.session);
        out.extend(self.identity.boot);
        out.extend(self.created.0.to_le_bytes());
        out.extend(self.segment.to_le_bytes());
        out.extend(self.first_sequence.to_le_bytes());
        out.extend(self.previous);
        out.extend((robot.len() as u16).to_le_bytes());
        out.extend(robot);
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Length of the whole superblock, from its first [`SUPERBLOCK_PREFIX`] bytes.
    pub(crate) fn length(prefix: &[u8]) -> Result<usize, FormatError> {
        let mut fields = Fields(prefix);
        if fields.take() != MAGIC {
            return Err(FormatError::Magic);
        }
        let (major, minor) = (u16::from_le_bytes(fields.take()), u16::from_le_bytes(fields.take()));
        if major != VERSION.0 {
            return Err(FormatError::Version { major, minor });
        }
        let length = u32::from_le_bytes(fields.take()) as usize;
        let (min, max) = (Self::FIXED, SUPERBLOCK_BYTES);
        if length < min || length > max {
            return Err(FormatError::Length { what: "the superblock", length, min, max });
        }
        Ok(length)
    }

    /// Reads the bytes of a whole superblock.
    pub fn decode(bytes: &[u8]) -> Result<Superblock, FormatError> {
        let length = Self::length(bytes)?;
        if bytes.len() != length {
            return Err(FormatError::Length { what: "the superblock", length: bytes.len(), min: length, max: length });
        }
        let mut fields = Fields(check_sum("the superblock", bytes)?);
        let _: [u8; SUPERBLOCK_PREFIX + 8] = fields.take();
        let flags = u64::from_le_bytes(fields.take());
        if flags != 0 {
            return Err(FormatError::Flags { flags });
        }
        let (session, boot) = (fields.take(), fields.take());
        let created = Stamp(i64::from_le_bytes(fields.take()));
        let (segment, first_sequence) = (u64::from_le_bytes(fields.take()), u64::from_le_bytes(fields.take()));
        let previous = fields.take();
        let size = usize::from(u16::from_le_bytes(fields.take()));
        let room = fields.0.len().min(ROBOT_BYTES);
        let Some(robot) = fields.0.get(..size).filter(|_| size <= room) else {
            return Err(FormatError::Length { what: "the robot's name", length: size, min: 1, max: room });
        };
        let robot = std::str::from_utf8(robot).map_err(|_| FormatError::RobotName)?.to_owned();
        Ok(Superblock { identity: Identity { robot, session, boot }, created, segment, first_sequence, previous })
    }
}

impl Header {
    /// Appends the header's bytes, its checksum included.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend((self.length as u32).to_le_bytes());
        out.extend(self.kind.to_le_bytes());
        out.extend([self.moment.direction as u8, 0]);
        out.extend(self.sequence.to_le_bytes());
        out.extend(u64::try_from(self.moment.steady.0.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        out.extend(self.moment.wall.0.to_le_bytes());
        out.extend(self.moment.trace);
        out.extend(self.previous);
        let sum = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend(sum.to_le_bytes());
    }

    /// Reads the [`HEADER_BYTES`] of a header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, FormatError> {
        let mut fields = Fields(check_sum("the record's header", bytes)?);
        let length = u32::from_le_bytes(fields.take()) as usize;
        let (min, max) = (OVERHEAD_BYTES, OVERHEAD_BYTES + PAYLOAD_BYTES);
        if length < min || length > max {
            return Err(FormatError::Length { what: "the record", length, min, max });
        }
        let kind = u16::from_le_bytes(fields.take());
        let [direction, reserved] = fields.take();
        let direction = match direction {
            0 => Direction::Internal,
            1 => Direction::Inbound,
            2 => Direction::Outbound,
            value => return Err(FormatError::Meaningless { what: "direction", value }),
        };
        if reserved != 0 {
            return Err(FormatError::Meaningless { what: "reserved byte", value: reserved });
        }
        let sequence = u64::from_le_bytes(fields.take());
        let steady = Steady(Duration::from_nanos(u64::from_le_bytes(fields.take())));
        let wall = Stamp(i64::from_le_bytes(fields.take()));
        let trace = fields.take();
        let previous = fields.take();
        Ok(Header { length, kind, sequence, moment: Moment { steady, wall, direction, trace }, previous })
    }
}

/// Checks a whole record's last checksum and gives its payload.
pub(crate) fn payload(record: &[u8]) -> Result<&[u8], FormatError> {
    let body = check_sum("the record", record)?;
    Ok(body.get(HEADER_BYTES..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        Superblock {
            identity: Identity { robot: "räbot".into(), session: [1; 16], boot: [2; 16] },
            created: Stamp(-5),
            segment: 7,
            first_sequence: 9,
            previous: [3; 32],
        }
    }

    #[test]
    fn a_superblock_survives_its_bytes_and_a_flip_of_any_bit_is_seen() {
        let bytes = superblock().encode();
        assert_eq!(Superblock::decode(&bytes), Ok(superblock()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn fields_that_a_newer_minor_version_adds_are_skipped_and_unknown_incompatible_flags_are_not() {
        let grown = |change: fn(&mut Vec<u8>)| {
            let mut bytes = superblock().encode();
            bytes.truncate(bytes.len() - 4);
            change(&mut bytes);
            let length = bytes.len() as u32 + 4;
            bytes[12..16].copy_from_slice(&length.to_le_bytes());
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
            bytes
        };
        assert_eq!(Superblock::decode(&grown(|b| b.extend([9; 40]))), Ok(superblock()));
        assert_eq!(Superblock::decode(&grown(|b| b[16] = 1)), Ok(superblock()));
        assert_eq!(Superblock::decode(&grown(|b| b[24] = 2)), Err(FormatError::Flags { flags: 2 }));
        assert!(matches!(Superblock::decode(&grown(|b| b[120] = 255)), Err(FormatError::Length { .. })));
        assert!(matches!(Superblock::decode(&grown(|b| b[8] = 4)), Err(FormatError::Version { major: 4, .. })));
    }

    #[test]
    fn a_record_that_claims_four_gigabytes_is_refused() {
        let mut bytes = Vec::new();
        let header = Header { length: 100, kind: 1, sequence: 1, moment: Moment::default(), previous: [0; 32] };
        header.encode_to(&mut bytes);
        assert_eq!(Header::decode(bytes.as_slice().try_into().unwrap()), Ok(header));
        bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..80]);
        bytes[80..].copy_from_slice(&sum.to_le_bytes());
        let error = Header::decode(bytes.as_slice().try_into().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the record claims 4294967295 bytes, outside 88 to 1048664");
    }
}
