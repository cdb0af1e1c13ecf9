//! The head of a record.

use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};

use super::{Digest, Fields, FormatError, check_sum};

/// Bytes of a record before its payload.
pub const HEADER_BYTES: usize = 84;
/// Bytes of a record besides its payload.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + 4;
/// Longest payload, bytes, as stored.
pub const PAYLOAD_BYTES: usize = 1 << 20;

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

impl Moment {
    /// The same moment, for a record of the journal's own.
    pub(crate) fn internal(self) -> Moment {
        Moment { direction: Direction::Internal, trace: [0; 16], ..self }
    }
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

impl TryFrom<u8> for Direction {
    type Error = FormatError;

    fn try_from(value: u8) -> Result<Direction, FormatError> {
        match value {
            0 => Ok(Direction::Internal),
            1 => Ok(Direction::Inbound),
            2 => Ok(Direction::Outbound),
            value => Err(FormatError::Meaningless { what: "the record's direction", value: value.into() }),
        }
    }
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

impl Header {
    /// The header's bytes, its checksum included.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            if let Some((field, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                field.copy_from_slice(bytes);
                rest = after;
            }
        };
        put(&(self.length as u32).to_le_bytes());
        put(&self.kind.to_le_bytes());
        put(&[self.moment.direction as u8, 0]);
        put(&self.sequence.to_le_bytes());
        put(&u64::try_from(self.moment.steady.0.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        put(&self.moment.wall.0.to_le_bytes());
        put(&self.moment.trace);
        put(&self.previous);
        if let Some((body, sum)) = out.split_last_chunk_mut::<4>() {
            *sum = crc32c::crc32c(body).to_le_bytes();
        }
        out
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
        let direction = direction.try_into()?;
        if reserved != 0 {
            return Err(FormatError::Meaningless { what: "the record's reserved byte", value: reserved.into() });
        }
        let sequence = u64::from_le_bytes(fields.take());
        let steady = Steady(Duration::from_nanos(u64::from_le_bytes(fields.take())));
        let wall = Stamp(i64::from_le_bytes(fields.take()));
        let trace = fields.take();
        let previous = fields.take();
        Ok(Header { length, kind, sequence, moment: Moment { steady, wall, direction, trace }, previous })
    }
}

/// The stored bytes of a record. The header's length is set to what the payload makes it.
pub fn encode_record(header: Header, payload: &[u8]) -> Vec<u8> {
    let length = OVERHEAD_BYTES + payload.len();
    let mut out = Vec::with_capacity(length);
    out.extend(Header { length, ..header }.encode());
    out.extend(payload);
    out.extend(crc32c::crc32c(&out).to_le_bytes());
    out
}

/// Checks a whole record's last checksum and gives its payload, as stored.
pub fn payload_of(record: &[u8]) -> Result<&[u8], FormatError> {
    let body = check_sum("the record", record)?;
    Ok(body.get(HEADER_BYTES..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes() {
        let moment = Moment {
            steady: Steady(Duration::from_nanos(7)),
            wall: Stamp(-8),
            direction: Direction::Outbound,
            trace: [9; 16],
        };
        let header = Header { length: 100, kind: 3, sequence: 4, moment, previous: [5; 32] };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn a_record_that_claims_four_gigabytes_or_has_no_meaning_is_refused() {
        let header = Header { length: 100, kind: 1, sequence: 1, moment: Moment::default(), previous: [0; 32] };
        let forged = |change: fn(&mut [u8; HEADER_BYTES])| {
            let mut bytes = header.encode();
            change(&mut bytes);
            let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
            bytes[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
            Header::decode(&bytes)
        };
        assert!(matches!(forged(|b| b[..4].fill(0xff)), Err(FormatError::Length { what: "the record", .. })));
        assert!(matches!(
            forged(|b| b[..4].copy_from_slice(&1_000_000_000u32.to_le_bytes())),
            Err(FormatError::Length { .. })
        ));
        assert!(matches!(forged(|b| b[6] = 3), Err(FormatError::Meaningless { .. })));
        assert!(matches!(forged(|b| b[7] = 1), Err(FormatError::Meaningless { .. })));
    }
}
