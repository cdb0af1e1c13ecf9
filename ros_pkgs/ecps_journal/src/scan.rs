//! Reading one segment, from a file or from bytes. Bounded: at most one record is held.

use std::io::{self, Read};

use ecps_core::wire::WireError;
use thiserror::Error;

use crate::format::{self, Digest, FormatError, HEADER_BYTES, Header, SUPERBLOCK_PREFIX, Superblock, digest};
use crate::record::Entry;

/// A whole record whose checksums and place in the chain are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of its segment.
    pub segment: u64,
    /// Its place in the segment, from 0.
    pub index: u64,
    /// Where it begins in the segment, bytes.
    pub offset: u64,
    /// Its head: kind, sequence, times, direction, trace.
    pub header: Header,
    /// Its payload, protobuf.
    pub payload: Vec<u8>,
}

impl Record {
    /// The payload, decoded by its kind.
    pub fn entry(&self) -> Result<Entry, WireError> {
        Entry::decode(self.header.kind, &self.payload)
    }
}

/// What ends the reading of a segment before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The last record was not written whole, as after a crash; everything before is.
    Torn {
        /// Where it begins, bytes.
        offset: u64,
    },
    /// Bytes that are no longer what was written.
    Damaged {
        /// Which record of the segment, from 0.
        index: u64,
        /// Where it begins, bytes.
        offset: u64,
        /// What is wrong.
        reason: FormatError,
    },
    /// A whole record that does not follow the one before.
    ChainBroken {
        /// Which record of the segment, from 0.
        index: u64,
        /// Where it begins, bytes.
        offset: u64,
        /// What does not fit.
        reason: ChainError,
    },
}

/// Why a record or segment does not follow what is before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// Something was removed, repeated or moved.
    #[error("sequence {found} stands where {expected} belongs")]
    Sequence {
        /// What was found.
        found: u64,
        /// What follows.
        expected: u64,
    },
    /// What is before was changed, or this was written elsewhere.
    #[error("the digest of what is before does not match what is there")]
    Digest,
    /// The segment's file has the name of another.
    #[error("the segment says it is number {found} and its file is named {expected}")]
    Number {
        /// What the superblock says.
        found: u64,
        /// What the name says.
        expected: u64,
    },
}

/// Next step of reading a segment.
#[derive(Debug)]
pub enum Step {
    /// A whole record.
    Record(Record),
    /// The segment ends after a whole record.
    End,
    /// The rest cannot be read.
    Flaw(Flaw),
}

/// A segment being read.
#[derive(Debug)]
pub struct Segment<R> {
    input: R,
    superblock: Superblock,
    index: u64,
    offset: u64,
    sequence: u64,
    digest: Digest,
    buffer: Vec<u8>,
    ended: bool,
}

/// Reads until `buffer` holds `size` bytes; fewer means that the input ended.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<bool> {
    let missing = size.saturating_sub(buffer.len()) as u64;
    input.take(missing).read_to_end(buffer)?;
    Ok(buffer.len() >= size)
}

/// Whether only zeros are left, as where a file grew and its bytes did not reach the disk before the power failed.
fn only_zeros(input: &mut impl Read, head: &[u8]) -> io::Result<bool> {
    if head.iter().any(|b| *b != 0) {
        return Ok(false);
    }
    let mut chunk = [0; 4096];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(n) if chunk.iter().take(n).any(|b| *b != 0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl<R: Read> Segment<R> {
    /// Reads the superblock.
    pub fn open(mut input: R) -> io::Result<Result<Segment<R>, Flaw>> {
        let mut buffer = Vec::new();
        let damaged = |reason| Ok(Err(Flaw::Damaged { index: 0, offset: 0, reason }));
        let torn = Ok(Err(Flaw::Torn { offset: 0 }));
        if !fill(&mut input, &mut buffer, SUPERBLOCK_PREFIX)? {
            return torn;
        }
        let length = match Superblock::length(&buffer) {
            Ok(length) => length,
            Err(_) if only_zeros(&mut input, &buffer)? => return torn,
            Err(reason) => return damaged(reason),
        };
        if !fill(&mut input, &mut buffer, length)? {
            return torn;
        }
        let superblock = match Superblock::decode(&buffer) {
            Ok(superblock) => superblock,
            Err(reason) => return damaged(reason),
        };
        Ok(Ok(Segment {
            input,
            index: 0,
            offset: length as u64,
            sequence: superblock.first_sequence.wrapping_sub(1),
            digest: digest(&buffer),
            superblock,
            buffer,
            ended: false,
        }))
    }

    /// The segment's head.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Sequence and digest of the last record read; before the first, those that it follows.
    pub fn end(&self) -> (u64, Digest) {
        (self.sequence, self.digest)
    }

    /// The next record. After anything else, [`Step::End`].
    pub fn read(&mut self) -> io::Result<Step> {
        if self.ended {
            return Ok(Step::End);
        }
        let step = self.step()?;
        self.ended = !matches!(step, Step::Record(_));
        Ok(step)
    }

    fn step(&mut self) -> io::Result<Step> {
        let (index, offset) = (self.index, self.offset);
        let damaged = |reason| Ok(Step::Flaw(Flaw::Damaged { index, offset, reason }));
        let broken = |reason| Ok(Step::Flaw(Flaw::ChainBroken { index, offset, reason }));
        let torn = Ok(Step::Flaw(Flaw::Torn { offset }));
        self.buffer.clear();
        let whole = fill(&mut self.input, &mut self.buffer, HEADER_BYTES)?;
        if self.buffer.is_empty() {
            return Ok(Step::End);
        }
        let Some(head) = self.buffer.first_chunk::<HEADER_BYTES>().filter(|_| whole) else { return torn };
        let header = match Header::decode(head) {
            Ok(header) => header,
            Err(_) if only_zeros(&mut self.input, head)? => return torn,
            Err(reason) => return damaged(reason),
        };
        if !fill(&mut self.input, &mut self.buffer, header.length)? {
            return torn;
        }
        let payload = match format::payload(&self.buffer) {
            Ok(payload) => payload.to_vec(),
            Err(reason) => return damaged(reason),
        };
        let expected = self.sequence.wrapping_add(1);
        if header.sequence != expected {
            return broken(ChainError::Sequence { found: header.sequence, expected });
        }
        if header.previous != self.digest {
            return broken(ChainError::Digest);
        }
        self.index += 1;
        self.offset += header.length as u64;
        self.sequence = header.sequence;
        self.digest = digest(&self.buffer);
        Ok(Step::Record(Record { segment: self.superblock.segment, index, offset, header, payload }))
    }
}
