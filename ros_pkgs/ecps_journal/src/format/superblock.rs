//! The head of a segment.

use ecps_core::clock::Stamp;

use super::{Digest, FLAG_ENCRYPTED, Fields, FormatError, MAGIC, VERSION, check_sum};
use crate::tree::Tree;

/// Longest superblock, bytes.
pub const SUPERBLOCK_BYTES: usize = 1 << 16;
/// Longest robot name, bytes.
pub const ROBOT_BYTES: usize = ecps_core::limits::NAME_BYTES;
/// Longest verifier key, bytes of text.
const VERIFIER_BYTES: usize = 512;
/// Bytes of a superblock up to and including its own length.
pub(crate) const SUPERBLOCK_PREFIX: usize = 16;

/// Who writes a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the robot, 1 to [`ROBOT_BYTES`] bytes.
    pub robot: String,
    /// Id of this run, of no other.
    pub session: [u8; 16],
    /// Boot id of the machine (`/proc/sys/kernel/random/boot_id`); steady times compare within one boot only.
    pub boot: [u8; 16],
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
    /// Digest of the last whole record (or record-less superblock) before; zeros in the very first.
    pub previous: Digest,
    /// The tree over all records before.
    pub tree: Tree,
    /// Id of the key that payloads are encrypted with; none where they are not.
    pub encryption_key: Option<[u8; 16]>,
    /// Key that checks the checkpoints, as text (C2SP signed note); empty where none are made.
    pub verifier: String,
    /// Descriptor of the payloads, a serialised `google.protobuf.FileDescriptorSet`.
    pub schema: Vec<u8>,
}

impl Superblock {
    /// Bytes besides the parts of variable length.
    const FIXED: usize = 150;

    /// The bytes to store. A name longer than [`ROBOT_BYTES`] is refused where a journal is opened.
    pub fn encode(&self) -> Vec<u8> {
        let (robot, verifier) = (self.identity.robot.as_bytes(), self.verifier.as_bytes());
        let length = Self::FIXED + size_of_val(self.tree.peaks()) + robot.len() + verifier.len() + self.schema.len();
        let flags = if self.encryption_key.is_some() { FLAG_ENCRYPTED } else { 0 };
        let mut out = Vec::with_capacity(length);
        out.extend(MAGIC);
        out.extend(VERSION.0.to_le_bytes());
        out.extend(VERSION.1.to_le_bytes());
        out.extend((length as u32).to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(self.identity.session);
        out.extend(self.identity.boot);
        out.extend(self.created.0.to_le_bytes());
        out.extend(self.segment.to_le_bytes());
        out.extend(self.first_sequence.to_le_bytes());
        out.extend(self.previous);
        out.extend(self.encryption_key.unwrap_or_default());
        out.extend((self.tree.peaks().len() as u16).to_le_bytes());
        out.extend((robot.len() as u16).to_le_bytes());
        out.extend((verifier.len() as u16).to_le_bytes());
        out.extend((self.schema.len() as u32).to_le_bytes());
        out.extend(self.tree.peaks().iter().flatten());
        out.extend(robot);
        out.extend(verifier);
        out.extend(&self.schema);
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
        if flags & !FLAG_ENCRYPTED != 0 {
            return Err(FormatError::Flags { flags });
        }
        let (session, boot) = (fields.take(), fields.take());
        let created = Stamp(i64::from_le_bytes(fields.take()));
        let (segment, first_sequence) = (u64::from_le_bytes(fields.take()), u64::from_le_bytes(fields.take()));
        let previous = fields.take();
        let key = fields.take();
        let peaks = usize::from(u16::from_le_bytes(fields.take()));
        let robot = usize::from(u16::from_le_bytes(fields.take()));
        let verifier = usize::from(u16::from_le_bytes(fields.take()));
        let schema = u32::from_le_bytes(fields.take()) as usize;
        let limit = |what, length, min, max| match length {
            length if length < min || length > max => Err(FormatError::Length { what, length, min, max }),
            length => Ok(length),
        };
        if first_sequence == 0 {
            return Err(FormatError::Meaningless { what: "the first sequence", value: 0 });
        }
        let expected = (first_sequence - 1).count_ones() as usize;
        limit("the tree before", peaks, expected, expected)?;
        let peaks = fields.take_slice("the tree before", peaks * size_of::<Digest>())?;
        let peaks = peaks.as_chunks::<{ size_of::<Digest>() }>().0.to_vec();
        let text = |what, bytes| std::str::from_utf8(bytes).map_err(|_| FormatError::Text { what });
        let robot = limit("the robot's name", robot, 1, ROBOT_BYTES)?;
        let robot = text("the robot's name", fields.take_slice("the robot's name", robot)?)?.to_owned();
        let verifier = limit("the verifier key", verifier, 0, VERIFIER_BYTES)?;
        let verifier = text("the verifier key", fields.take_slice("the verifier key", verifier)?)?.to_owned();
        let schema = fields.take_slice("the schema", schema)?.to_vec();
        Ok(Superblock {
            identity: Identity { robot, session, boot },
            created,
            segment,
            first_sequence,
            previous,
            tree: Tree::from_peaks(first_sequence - 1, peaks),
            encryption_key: (flags & FLAG_ENCRYPTED != 0).then_some(key),
            verifier,
            schema,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        Superblock {
            identity: Identity { robot: "räbot".into(), session: [1; 16], boot: [2; 16] },
            created: Stamp(-5),
            segment: 7,
            first_sequence: 10,
            previous: [3; 32],
            tree: Tree::from_peaks(9, vec![[4; 32], [5; 32]]),
            encryption_key: Some([6; 16]),
            verifier: "r1+00000000+AQ==".into(),
            schema: b"schema".to_vec(),
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
    fn what_a_newer_minor_version_adds_is_skipped_and_what_cannot_be_is_refused() {
        let grown = |change: fn(&mut Vec<u8>)| {
            let mut bytes = superblock().encode();
            bytes.truncate(bytes.len() - 4);
            change(&mut bytes);
            let length = bytes.len() as u32 + 4;
            bytes[12..16].copy_from_slice(&length.to_le_bytes());
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
            Superblock::decode(&bytes)
        };
        assert_eq!(grown(|b| b.extend([9; 40])), Ok(superblock()), "fields at the end");
        assert_eq!(grown(|b| b[16] = 1), Ok(superblock()), "a compatible flag");
        assert_eq!(grown(|b| b[24] = 3), Err(FormatError::Flags { flags: 3 }));
        assert!(matches!(grown(|b| b[8] = 4), Err(FormatError::Version { major: 4, .. })));
        assert!(matches!(grown(|b| b[136] = 3), Err(FormatError::Length { .. })), "peaks that do not fit the sequence");
        assert!(matches!(grown(|b| b[139] = 255), Err(FormatError::Length { .. })), "a robot name of 65 kB");
        assert!(matches!(grown(|b| b[145] = 255), Err(FormatError::Length { .. })), "a schema of 4 GB");
    }

    #[test]
    fn a_superblock_that_claims_four_gigabytes_is_refused() {
        let mut bytes = superblock().encode();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Superblock::decode(&bytes), Err(FormatError::Length { what: "the superblock", .. })));
    }
}
