//! Appending records to segments, and leaving a segment that failed.

use std::sync::Arc;

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::format::{Digest, Header, Identity, Moment, OVERHEAD_BYTES, PAYLOAD_BYTES, Superblock, digest};
use crate::record::{Fault, Payload};
use crate::storage::{SegmentFile, Storage};
use crate::sync::Lost;

/// A segment past this size is followed by a new one, bytes.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Why a record was not written. Nothing may move on a command whose record was not.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Larger than a record can be.
    #[error("the record's payload has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The system refused, in the old segment and in a new one.
    #[error("record {sequence} could not be written to segment {segment}: {source}")]
    Write {
        /// Sequence that the record would have had.
        sequence: u64,
        /// Segment that failed last.
        segment: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where a writer goes on: after the last whole record of all segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct End {
    /// Highest number of a segment, 0: none.
    pub(crate) segment: u64,
    /// Sequence of the last whole record, 0: none.
    pub(crate) sequence: u64,
    /// Its digest, or that of a superblock without records.
    pub(crate) digest: Digest,
}

/// Appends to the segments of one journal.
pub(crate) struct Writer {
    storage: Box<dyn Storage>,
    identity: Identity,
    end: End,
    /// The segment written to and its size; none before the first record and after a failure.
    open: Option<(Arc<dyn SegmentFile>, u64)>,
    /// A failure that the next segment has to tell of.
    fault: Option<Lost>,
    /// The record being made; kept, so that none is allocated per record.
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(storage: Box<dyn Storage>, identity: Identity, end: End) -> Writer {
        Writer { storage, identity, end, open: None, fault: None, buffer: Vec::with_capacity(4096) }
    }

    /// Sequence of the last record written.
    pub(crate) fn sequence(&self) -> u64 {
        self.end.sequence
    }

    /// Leaves the present segment for good; the next one begins with a record of why.
    pub(crate) fn abandon(&mut self, lost: Lost) {
        self.open = None;
        self.fault = Some(lost);
    }

    /// Writes one record; a second time, in a new segment, where the first failed.
    pub(crate) fn append<P: Payload>(
        &mut self,
        moment: &Moment,
        payload: &P,
    ) -> Result<(&Arc<dyn SegmentFile>, u64), AppendError> {
        let size = payload.encoded_len();
        if size > PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { size, limit: PAYLOAD_BYTES });
        }
        if self.attempt(moment, payload).is_err() {
            self.attempt(moment, payload).map_err(|source| AppendError::Write {
                sequence: self.end.sequence + 1,
                segment: self.end.segment,
                source,
            })?;
        }
        match &self.open {
            Some((file, _)) => Ok((file, self.end.sequence)),
            // `attempt` leaves a segment open when it succeeds.
            None => Err(AppendError::Write {
                sequence: self.end.sequence,
                segment: self.end.segment,
                source: std::io::Error::other("no segment is open"),
            }),
        }
    }

    fn attempt<P: Payload>(&mut self, moment: &Moment, payload: &P) -> std::io::Result<()> {
        if self.open.as_ref().is_none_or(|(_, size)| *size >= SEGMENT_BYTES) {
            self.begin_segment(moment.wall)?;
        }
        if let Some(lost) = self.fault.clone() {
            let fault = Fault { cause: lost.cause, first_sequence: lost.first, last_sequence: lost.last };
            self.write(&Moment { direction: crate::Direction::Internal, trace: [0; 16], ..*moment }, &fault)?;
            self.fault = None;
        }
        self.write(moment, payload)
    }

    /// Begins a new segment after the last whole record.
    pub(crate) fn begin_segment(&mut self, created: Stamp) -> std::io::Result<()> {
        self.open = None;
        let segment = self.end.segment + 1;
        let bytes = Superblock {
            identity: self.identity.clone(),
            created,
            segment,
            first_sequence: self.end.sequence + 1,
            previous: self.end.digest,
        }
        .encode();
        let file = self.storage.create(segment, &bytes)?;
        self.open = Some((file, bytes.len() as u64));
        self.end = End { segment, digest: digest(&bytes), ..self.end };
        Ok(())
    }

    fn write<P: Payload>(&mut self, moment: &Moment, payload: &P) -> std::io::Result<()> {
        let Some((file, size)) = &mut self.open else {
            return Err(std::io::Error::other("no segment is open"));
        };
        let length = OVERHEAD_BYTES + payload.encoded_len();
        let sequence = self.end.sequence + 1;
        self.buffer.clear();
        Header { length, kind: P::KIND, sequence, moment: *moment, previous: self.end.digest }
            .encode_to(&mut self.buffer);
        payload.encode(&mut self.buffer).map_err(std::io::Error::other)?;
        self.buffer.extend(crc32c::crc32c(&self.buffer).to_le_bytes());
        if let Err(error) = file.append(&self.buffer) {
            let lost = Lost { cause: error.to_string(), first: sequence, last: self.end.sequence };
            self.abandon(lost);
            return Err(error);
        }
        *size += length as u64;
        self.end.sequence = sequence;
        self.end.digest = digest(&self.buffer);
        Ok(())
    }
}
