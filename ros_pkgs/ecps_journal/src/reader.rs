//! Reading a whole journal, over all of its segments, and the verdict on it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cipher::PayloadKey;
use crate::format::{Digest, Superblock};
use crate::input::Input;
use crate::scan::{ChainError, Flaw, Record, Segment, Step};
use crate::storage::segments;
use crate::tree::Tree;

/// Why a journal cannot be read at all.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The folder or segment.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without segments.
    #[error("{} has no segments named like 000001.eaplog", .0.display())]
    Empty(PathBuf),
}

/// What is to be thought of a journal: the gravest flaw, and of those the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is whole, and each follows the one before.
    Clean,
    /// A flaw in a segment. Records after it in that segment were not read; later segments were.
    Flawed {
        /// Number of the segment, as its file is named.
        segment: u64,
        /// What is wrong.
        flaw: Flaw,
    },
}

impl Verdict {
    /// 0 clean, 1 torn (recovered with loss), 2 chain broken, 3 damaged.
    fn gravity(&self) -> u8 {
        match self {
            Verdict::Clean => 0,
            Verdict::Flawed { flaw: Flaw::Torn { .. }, .. } => 1,
            Verdict::Flawed { flaw: Flaw::ChainBroken { .. }, .. } => 2,
            Verdict::Flawed { flaw: Flaw::Damaged { .. }, .. } => 3,
        }
    }

    /// Whether every record that was ever written whole was read: the verdict is clean, or only a torn tail was left out.
    pub fn is_whole(&self) -> bool {
        self.gravity() <= 1
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Clean => write!(f, "clean"),
            Verdict::Flawed { segment, flaw } => match flaw {
                Flaw::Torn { offset } => {
                    write!(f, "segment {segment} has a torn tail at byte {offset}, everything before is whole")
                }
                Flaw::Damaged { index, offset, reason } => {
                    write!(f, "record {index} of segment {segment} at byte {offset} is damaged: {reason}")
                }
                Flaw::ChainBroken { index, offset, reason } => {
                    write!(f, "the chain is broken at record {index} of segment {segment} at byte {offset}: {reason}")
                }
            },
        }
    }
}

/// Where what was read so far ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Sequence of the last whole record.
    pub sequence: u64,
    /// Its digest, or that of a superblock without records.
    pub digest: Digest,
    /// The tree over all records up to it.
    pub tree: Tree,
}

impl End {
    /// Why a segment, named by number `named`, does not go on here.
    pub(crate) fn check(end: Option<&End>, named: Option<u64>, head: &Superblock) -> Result<(), ChainError> {
        if let Some(expected) = named.filter(|number| *number != head.segment) {
            return Err(ChainError::Number { found: head.segment, expected });
        }
        let Some(end) = end else { return Ok(()) };
        let expected = end.sequence.wrapping_add(1);
        if head.first_sequence != expected {
            return Err(ChainError::Sequence { found: head.first_sequence, expected });
        }
        if head.previous != end.digest {
            return Err(ChainError::Digest);
        }
        if head.tree != end.tree { Err(ChainError::Tree) } else { Ok(()) }
    }
}

/// Result of reading a journal to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Segments found.
    pub segments: usize,
    /// Whole records read.
    pub records: u64,
    /// Where it ends; none where no segment has a whole superblock.
    pub end: Option<End>,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// The file of a segment, and the number that it is named by; none for a single file of any name.
pub(crate) type Listed = (Option<u64>, PathBuf);

/// The segments of the journal at `path`: a folder, or one file.
pub(crate) fn list(path: &Path) -> Result<Vec<Listed>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![(None, path.to_owned())]);
    }
    let listed: Vec<_> = segments(path).map_err(failed)?.into_iter().map(|(number, p)| (Some(number), p)).collect();
    if listed.is_empty() { Err(ReadError::Empty(path.to_owned())) } else { Ok(listed) }
}

/// The files of the journal at `path`, a folder or one segment, in order.
pub fn segment_paths(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    Ok(list(path)?.into_iter().map(|(_, path)| path).collect())
}

/// Opens a segment's file.
pub(crate) fn open(path: &Path) -> Result<Result<Segment<Input>, Flaw>, ReadError> {
    Input::open(path).and_then(Segment::open).map_err(|source| ReadError::Io { path: path.to_owned(), source })
}

/// A journal being read, in order.
#[derive(Debug)]
pub struct Reader {
    /// Segments still to be read.
    ahead: std::vec::IntoIter<Listed>,
    segments: usize,
    /// The segment being read, and its file.
    current: Option<(PathBuf, Segment<Input>)>,
    end: Option<End>,
    records: u64,
    verdict: Verdict,
    keys: Vec<PayloadKey>,
}

impl Reader {
    /// Reads the journal at `path`: a folder, or one segment. A writer may be at work: its last record then may read as
    /// torn.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        Ok(Reader::over(list(path)?))
    }

    pub(crate) fn over(listed: Vec<Listed>) -> Reader {
        Reader {
            segments: listed.len(),
            ahead: listed.into_iter(),
            current: None,
            end: None,
            records: 0,
            verdict: Verdict::Clean,
            keys: Vec::new(),
        }
    }

    /// Decrypts payloads with these keys.
    #[must_use]
    pub fn with_keys(self, keys: Vec<PayloadKey>) -> Reader {
        Reader { keys, ..self }
    }

    /// The next whole record, or none at the end. A flaw is no error: it is kept for [`Reader::verdict`].
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let Some((path, segment)) = &mut self.current else {
                let Some(next) = self.ahead.next() else { return Ok(None) };
                self.begin(next)?;
                continue;
            };
            match segment.read().map_err(|source| ReadError::Io { path: path.clone(), source })? {
                Step::Record(record) => {
                    self.records += 1;
                    return Ok(Some(record));
                }
                Step::End => {}
                Step::Flaw(flaw) => {
                    let number = segment.superblock().segment;
                    note(&mut self.verdict, number, flaw);
                }
            }
            if let Some((_, segment)) = self.current.take() {
                let (sequence, digest) = segment.end();
                self.end = Some(End { sequence, digest, tree: segment.tree() });
            }
        }
    }

    fn begin(&mut self, (named, path): Listed) -> Result<(), ReadError> {
        match open(&path)? {
            Err(flaw) => note(&mut self.verdict, named.unwrap_or(0), flaw),
            Ok(segment) => {
                if let Err(reason) = End::check(self.end.as_ref(), named, segment.superblock()) {
                    let number = named.unwrap_or(segment.superblock().segment);
                    note(&mut self.verdict, number, Flaw::ChainBroken { index: 0, offset: 0, reason });
                }
                self.current = Some((path, segment.with_keys(&self.keys)));
            }
        }
        Ok(())
    }

    /// Head of the segment that the last record came from.
    pub fn superblock(&self) -> Option<&Superblock> {
        self.current.as_ref().map(|(_, segment)| segment.superblock())
    }

    /// Verdict on what was read so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Reads to the end.
    pub fn finish(mut self) -> Result<Report, ReadError> {
        while self.read()?.is_some() {}
        Ok(Report { segments: self.segments, records: self.records, end: self.end, verdict: self.verdict })
    }
}

/// Keeps the gravest flaw, and of those the first.
pub(crate) fn note(verdict: &mut Verdict, segment: u64, flaw: Flaw) {
    let new = Verdict::Flawed { segment, flaw };
    if new.gravity() > verdict.gravity() {
        *verdict = new;
    }
}

/// Reads and judges the journal at `path`; [`crate::audit`] judges it in every respect.
pub fn verify(path: &Path) -> Result<Report, ReadError> {
    Reader::open(path)?.finish()
}
