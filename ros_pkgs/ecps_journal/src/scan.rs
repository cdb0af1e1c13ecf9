//! Reading one segment, from a file or from bytes. Bounded: at most one record is held, and 2 MiB of digests.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Read};

use ecps_core::wire::WireError;
use thiserror::Error;

use crate::cipher::{CipherError, PayloadKey};
use crate::format::{
    self, Digest, FOOTER_MARK, FOOTER_PREFIX, Footer, FormatError, HEADER_BYTES, Header, SUPERBLOCK_PREFIX, Superblock,
    digest, record_digest,
};
use crate::record::{Entry, is_housekeeping};
use crate::tree::Tree;
use crate::window::Window;

/// A checkpoint covers all but fewer than this many of the records before it.
pub const CHECKPOINT_REACH: u64 = 1 << 16;

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
    /// Its payload, protobuf; as stored, where it is encrypted.
    pub payload: Vec<u8>,
    /// Whether the payload is still encrypted.
    pub encrypted: bool,
}

/// Why a payload cannot be understood, though it is what was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// Not the message that its kind says.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Encrypted, with a key that was not given.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

impl Record {
    /// The payload, decoded by its kind.
    pub fn entry(&self) -> Result<Entry, EntryError> {
        if self.encrypted {
            return Err(CipherError::NoKey.into());
        }
        Ok(Entry::decode(self.header.kind, &self.payload)?)
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
    /// The tree over all records before is another.
    #[error("the tree over the records before does not match them")]
    Tree,
    /// The segment's file has the name of another.
    #[error("the segment says it is number {found} and its file is named {expected}")]
    Number {
        /// What the superblock says.
        found: u64,
        /// What the name says.
        expected: u64,
    },
    /// A footer that is of other records.
    #[error("the footer is of other records: it ends with record {found}, and the segment with {expected}")]
    Footer {
        /// What the footer says.
        found: u64,
        /// What is there.
        expected: u64,
    },
    /// A payload that the key's owner did not write.
    #[error(transparent)]
    Payload(#[from] CipherError),
}

/// Next step of reading a segment.
#[derive(Debug)]
pub enum Step {
    /// A whole record.
    Record(Record),
    /// The segment ends after a whole record; [`Segment::footer`] tells whether it was closed.
    End,
    /// The rest cannot be read.
    Flaw(Flaw),
}

/// A record where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// Its place in the segment, from 0.
    pub index: u64,
    /// Where it begins in the segment, bytes.
    pub offset: u64,
    /// Its head.
    pub header: Header,
    /// All of its stored bytes.
    pub bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Its payload as stored.
    pub fn stored_payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..self.bytes.len().saturating_sub(4)).unwrap_or_default()
    }
}

/// Opens the payloads of a segment's records.
#[derive(Debug, Clone)]
pub struct Opener {
    superblock: Digest,
    sealed: bool,
    key: Option<PayloadKey>,
}

impl Opener {
    /// A record's payload; none where it is encrypted and does not decrypt with the key given, or none was given.
    pub fn open<'a>(&self, raw: &Raw<'a>) -> Option<Cow<'a, [u8]>> {
        self.try_open(raw).ok()
    }

    fn try_open<'a>(&self, raw: &Raw<'a>) -> Result<Cow<'a, [u8]>, CipherError> {
        let stored = raw.stored_payload();
        if !self.sealed || is_housekeeping(raw.header.kind) {
            return Ok(Cow::Borrowed(stored));
        }
        let key = self.key.as_ref().ok_or(CipherError::NoKey)?;
        let head = raw.bytes.get(..HEADER_BYTES).unwrap_or_default();
        key.open(&self.superblock, raw.header.sequence, head, stored).map(Cow::Owned)
    }
}

/// Next step of reading a segment without copying.
#[derive(Debug)]
pub enum RawStep<'a> {
    /// A whole record.
    Record(Raw<'a>),
    /// The segment ends after a whole record.
    End,
    /// The rest cannot be read.
    Flaw(Flaw),
}

/// What is wrong with a compressed segment; other errors stay.
fn packing(error: io::Error) -> io::Result<FormatError> {
    match error.kind() {
        io::ErrorKind::InvalidData => Ok(FormatError::Packing(error.to_string())),
        _ => Err(error),
    }
}

/// A segment being read.
#[derive(Debug)]
pub struct Segment<R> {
    window: Window<R>,
    superblock: Superblock,
    superblock_digest: Digest,
    superblock_bytes: Vec<u8>,
    index: u64,
    offset: u64,
    sequence: u64,
    digest: Digest,
    /// The tree over all records but the last few, which are in `recent`.
    settled: Tree,
    recent: VecDeque<Digest>,
    /// Bytes of the record that was handed out last.
    pending: usize,
    footer: Option<Footer>,
    key: Option<PayloadKey>,
    ended: bool,
    /// Reading goes on elsewhere: what is before the next record is not known, and its sequence only if given.
    jumped: Option<Option<u64>>,
}

impl<R: Read> Segment<R> {
    /// Reads the superblock.
    pub fn open(input: R) -> io::Result<Result<Segment<R>, Flaw>> {
        Segment::begin(input)
            .or_else(|error| packing(error).map(|reason| Err(Flaw::Damaged { index: 0, offset: 0, reason })))
    }

    fn begin(input: R) -> io::Result<Result<Segment<R>, Flaw>> {
        let mut window = Window::new(input);
        let damaged = |reason| Ok(Err(Flaw::Damaged { index: 0, offset: 0, reason }));
        let torn = Ok(Err(Flaw::Torn { offset: 0 }));
        let prefix = window.fill(SUPERBLOCK_PREFIX)?;
        if prefix.len() < SUPERBLOCK_PREFIX {
            return torn;
        }
        let length = match Superblock::length(prefix) {
            Ok(length) => length,
            Err(_) if window.only_zeros()? => return torn,
            Err(reason) => return damaged(reason),
        };
        let bytes = window.fill(length)?;
        if bytes.len() < length {
            return torn;
        }
        let superblock = match Superblock::decode(bytes) {
            Ok(superblock) => superblock,
            Err(reason) => return damaged(reason),
        };
        let (superblock_digest, superblock_bytes) = (digest(bytes), bytes.to_vec());
        window.pass(length);
        Ok(Ok(Segment {
            window,
            index: 0,
            offset: length as u64,
            sequence: superblock.first_sequence.wrapping_sub(1),
            digest: superblock_digest,
            superblock_digest,
            superblock_bytes,
            settled: superblock.tree.clone(),
            superblock,
            recent: VecDeque::new(),
            pending: 0,
            footer: None,
            key: None,
            ended: false,
            jumped: None,
        }))
    }

    /// Decrypts payloads with whichever of `keys` the segment names.
    #[must_use]
    pub fn with_keys(mut self, keys: &[PayloadKey]) -> Segment<R> {
        let wanted = self.superblock.encryption_key;
        self.key = keys.iter().find(|key| Some(key.id()) == wanted).cloned();
        self
    }

    /// The segment's head.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The segment's head as stored.
    pub fn superblock_bytes(&self) -> &[u8] {
        &self.superblock_bytes
    }

    /// Sequence and digest of the last record read; before the first, those that it follows.
    pub fn end(&self) -> (u64, Digest) {
        (self.sequence, self.digest)
    }

    /// The end of the segment, once it was reached and if it was closed.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// The tree over all records of the journal up to the last one read.
    pub fn tree(&self) -> Tree {
        let mut tree = self.settled.clone();
        self.recent.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    /// Head of the tree over the first `size` records of the journal; none where that is out of reach. Forgets what is
    /// before.
    pub fn root_at(&mut self, size: u64) -> Option<Digest> {
        while self.settled.size() < size {
            self.settled.push(self.recent.pop_front()?);
        }
        (self.settled.size() == size).then(|| self.settled.root())
    }

    /// Opens payloads apart from reading on.
    pub fn opener(&self) -> Opener {
        let sealed = self.superblock.encryption_key.is_some();
        Opener { superblock: self.superblock_digest, sealed, key: self.key.clone() }
    }

    /// The next record. After anything else, [`Step::End`].
    pub fn read(&mut self) -> io::Result<Step> {
        let (segment, opener) = (self.superblock.segment, self.opener());
        let step = match self.read_raw()? {
            RawStep::End => Step::End,
            RawStep::Flaw(flaw) => Step::Flaw(flaw),
            RawStep::Record(raw) => {
                let Raw { index, offset, header, .. } = raw;
                let (payload, encrypted) = match opener.try_open(&raw) {
                    Ok(payload) => (payload.into_owned(), false),
                    Err(CipherError::NoKey) => (raw.stored_payload().to_vec(), true),
                    Err(error) => {
                        self.ended = true;
                        return Ok(Step::Flaw(Flaw::ChainBroken { index, offset, reason: error.into() }));
                    }
                };
                Step::Record(Record { segment, index, offset, header, payload, encrypted })
            }
        };
        Ok(step)
    }

    /// The next record, in place.
    pub fn read_raw(&mut self) -> io::Result<RawStep<'_>> {
        if self.ended {
            return Ok(RawStep::End);
        }
        self.window.pass(std::mem::take(&mut self.pending));
        let stepped = self.step().or_else(|error| Ok::<_, io::Error>(Err(self.unpacked(error)?)))?;
        match stepped {
            Ok(Some(header)) => {
                let (index, offset) = (self.index - 1, self.offset - header.length as u64);
                let bytes = self.window.bytes().get(..header.length).unwrap_or_default();
                Ok(RawStep::Record(Raw { index, offset, header, bytes }))
            }
            Ok(None) => {
                self.ended = true;
                Ok(RawStep::End)
            }
            Err(flaw) => {
                self.ended = true;
                Ok(RawStep::Flaw(flaw))
            }
        }
    }

    fn step(&mut self) -> io::Result<Result<Option<Header>, Flaw>> {
        let (index, offset) = (self.index, self.offset);
        let damaged = |reason| Ok(Err(Flaw::Damaged { index, offset, reason }));
        let broken = |reason| Ok(Err(Flaw::ChainBroken { index, offset, reason }));
        let torn = Ok(Err(Flaw::Torn { offset }));
        let head = self.window.fill(HEADER_BYTES)?;
        if head.is_empty() {
            return Ok(Ok(None));
        }
        if let Some(prefix) = head.first_chunk::<FOOTER_PREFIX>()
            && prefix.starts_with(&FOOTER_MARK.to_le_bytes())
        {
            let prefix = *prefix;
            return self.read_footer(&prefix);
        }
        let Some(head) = head.first_chunk::<HEADER_BYTES>() else { return torn };
        let header = match Header::decode(head) {
            Ok(header) => header,
            Err(_) if self.window.only_zeros()? => return torn,
            Err(reason) => return damaged(reason),
        };
        let bytes = self.window.fill(header.length)?;
        if bytes.len() < header.length {
            return torn;
        }
        if let Err(reason) = format::payload_of(bytes) {
            return damaged(reason);
        }
        let jumped = self.jumped.take();
        let expected = jumped.map_or(self.sequence.wrapping_add(1), |known| known.unwrap_or(header.sequence));
        if header.sequence != expected {
            return broken(ChainError::Sequence { found: header.sequence, expected });
        }
        if header.previous != self.digest && jumped.is_none() {
            return broken(ChainError::Digest);
        }
        if jumped.is_some() {
            self.index = header.sequence.saturating_sub(self.superblock.first_sequence);
        }
        self.index += 1;
        self.offset += header.length as u64;
        self.sequence = header.sequence;
        self.digest = record_digest(bytes);
        if self.recent.len() as u64 >= CHECKPOINT_REACH
            && let Some(leaf) = self.recent.pop_front()
        {
            self.settled.push(leaf);
        }
        self.recent.push_back(self.digest);
        self.pending = header.length;
        Ok(Ok(Some(header)))
    }

    /// Bytes that cannot be uncompressed are damage.
    fn unpacked(&self, error: io::Error) -> io::Result<Flaw> {
        packing(error).map(|reason| Flaw::Damaged { index: self.index, offset: self.offset, reason })
    }

    /// Goes on with the record at `offset`, of the sequence given, if it is known. What is in between is not checked.
    pub(crate) fn jump(&mut self, offset: u64, sequence: Option<u64>) -> io::Result<()>
    where
        R: io::Seek,
    {
        self.window.seek(offset)?;
        (self.offset, self.pending, self.ended) = (offset, 0, false);
        self.jumped = Some(sequence);
        Ok(())
    }

    fn read_footer(&mut self, prefix: &[u8; FOOTER_PREFIX]) -> io::Result<Result<Option<Header>, Flaw>> {
        let (index, offset) = (self.index, self.offset);
        let damaged = |reason| Ok(Err(Flaw::Damaged { index, offset, reason }));
        let length = match Footer::length(prefix) {
            Ok(length) => length,
            Err(reason) => return damaged(reason),
        };
        let bytes = self.window.fill(length + 1)?;
        if bytes.len() < length {
            return Ok(Err(Flaw::Torn { offset }));
        }
        if bytes.len() > length {
            return damaged(FormatError::AfterFooter);
        }
        let footer = match Footer::decode(bytes) {
            Ok(footer) => footer,
            Err(reason) => return damaged(reason),
        };
        let found = footer.index.last_sequence;
        if found != self.sequence || footer.index.last_digest != self.digest {
            let reason = ChainError::Footer { found, expected: self.sequence };
            return Ok(Err(Flaw::ChainBroken { index, offset, reason }));
        }
        self.footer = Some(footer);
        Ok(Ok(None))
    }
}
