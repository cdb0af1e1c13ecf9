//! Reading a whole journal, over all of its segments, and the verdict on it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::format::Digest;
use crate::scan::{ChainError, Flaw, Record, Segment, Step};
use crate::storage::segments;

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

/// Result of reading a journal to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Segments found.
    pub segments: usize,
    /// Whole records read.
    pub records: u64,
    /// Sequence of the last whole record and its digest; none where no segment has a whole superblock.
    pub end: Option<(u64, Digest)>,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// A journal being read, in order.
#[derive(Debug)]
pub struct Reader {
    /// Segments still to be read.
    ahead: std::vec::IntoIter<(u64, PathBuf)>,
    segments: usize,
    /// The segment being read, with the number and path of its file.
    current: Option<(u64, PathBuf, Segment<BufReader<File>>)>,
    end: Option<(u64, Digest)>,
    records: u64,
    verdict: Verdict,
}

impl Reader {
    /// Reads the journal in folder `path`. A writer may be at work: its last record then may read as torn.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        let listed = segments(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        if listed.is_empty() {
            return Err(ReadError::Empty(path.to_owned()));
        }
        Ok(Reader::over(listed))
    }

    fn over(listed: Vec<(u64, PathBuf)>) -> Reader {
        Reader {
            segments: listed.len(),
            ahead: listed.into_iter(),
            current: None,
            end: None,
            records: 0,
            verdict: Verdict::Clean,
        }
    }

    /// The next whole record, or none at the end. A flaw is no error: it is kept for [`Reader::verdict`].
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if let Some((number, path, segment)) = &mut self.current {
                let step = segment.read().map_err(|source| ReadError::Io { path: path.clone(), source })?;
                self.end = Some(segment.end());
                match step {
                    Step::Record(record) => {
                        self.records += 1;
                        return Ok(Some(record));
                    }
                    Step::End => {}
                    Step::Flaw(flaw) => {
                        let segment = *number;
                        self.note(segment, flaw);
                    }
                }
                self.current = None;
            } else {
                let Some((number, path)) = self.ahead.next() else { return Ok(None) };
                self.begin(number, path)?;
            }
        }
    }

    fn begin(&mut self, number: u64, path: PathBuf) -> Result<(), ReadError> {
        let opened = File::open(&path).and_then(|file| Segment::open(BufReader::new(file)));
        match opened.map_err(|source| ReadError::Io { path: path.clone(), source })? {
            Err(flaw) => self.note(number, flaw),
            Ok(segment) => {
                let head = segment.superblock();
                let broken = match self.end {
                    _ if head.segment != number => Some(ChainError::Number { found: head.segment, expected: number }),
                    Some((sequence, _)) if head.first_sequence != sequence.wrapping_add(1) => {
                        let expected = sequence.wrapping_add(1);
                        Some(ChainError::Sequence { found: head.first_sequence, expected })
                    }
                    Some((_, digest)) if head.previous != digest => Some(ChainError::Digest),
                    _ => None,
                };
                if let Some(reason) = broken {
                    self.note(number, Flaw::ChainBroken { index: 0, offset: 0, reason });
                }
                self.current = Some((number, path, segment));
            }
        }
        Ok(())
    }

    fn note(&mut self, segment: u64, flaw: Flaw) {
        let verdict = Verdict::Flawed { segment, flaw };
        if verdict.gravity() > self.verdict.gravity() {
            self.verdict = verdict;
        }
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

/// Reads and judges the journal in folder `path`.
pub fn verify(path: &Path) -> Result<Report, ReadError> {
    Reader::open(path)?.finish()
}

/// Reads and judges the given segments.
pub(crate) fn verify_from(listed: Vec<(u64, PathBuf)>) -> Result<Report, ReadError> {
    Reader::over(listed).finish()
}
