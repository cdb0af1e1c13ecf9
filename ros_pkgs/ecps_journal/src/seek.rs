//! Finding records without reading everything: closed segments say in their index what they hold and where.
//!
//! What is passed over is not checked; [`crate::audit()`] checks.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;

use crate::cipher::PayloadKey;
use crate::format::{FOOTER_TAIL, Footer, Superblock};
use crate::index::trace_hash;
use crate::input::Input;
use crate::reader::{Listed, ReadError, Verdict, list, note, open};
use crate::scan::{Record, Segment, Step};

/// Which records are wanted. Nothing given: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Wall time from this on.
    pub from: Option<Stamp>,
    /// Wall time before this.
    pub to: Option<Stamp>,
    /// This trace id.
    pub trace: Option<[u8; 16]>,
    /// One of these kinds; empty: any.
    pub kinds: Vec<u16>,
}

impl Query {
    /// Whether a record is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        let moment = &record.header.moment;
        self.from.is_none_or(|from| moment.wall >= from)
            && self.to.is_none_or(|to| moment.wall < to)
            && self.trace.is_none_or(|trace| moment.trace == trace)
            && (self.kinds.is_empty() || self.kinds.contains(&record.header.kind))
    }
}

/// The footer at the end of a segment; none where it was not closed, or its end cannot be read.
fn footer(file: &mut Input) -> std::io::Result<Option<Footer>> {
    match try_footer(file) {
        Err(error)
            if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            Ok(None)
        }
        found => found,
    }
}

fn try_footer(file: &mut Input) -> std::io::Result<Option<Footer>> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut tail = [0; FOOTER_TAIL];
    if size < tail.len() as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-(FOOTER_TAIL as i64)))?;
    file.read_exact(&mut tail)?;
    let length = Footer::length_from_end(&tail).filter(|length| *length as u64 <= size);
    let Some(length) = length else { return Ok(None) };
    file.seek(SeekFrom::End(-(length as i64)))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(Footer::decode(&bytes).ok())
}

/// Records that a query finds, in order.
#[derive(Debug)]
pub struct Matches {
    query: Query,
    keys: Vec<PayloadKey>,
    ahead: std::vec::IntoIter<Listed>,
    current: Option<(PathBuf, Segment<Input>)>,
    /// Offsets in the current segment where alone something can be; none: everywhere.
    only_at: Option<std::vec::IntoIter<u64>>,
    verdict: Verdict,
    read: u64,
}

/// Looks through the journal at `path`, a folder or one segment.
pub fn find(path: &Path, query: Query, keys: Vec<PayloadKey>) -> Result<Matches, ReadError> {
    let ahead = list(path)?.into_iter();
    Ok(Matches { query, keys, ahead, current: None, only_at: None, verdict: Verdict::Clean, read: 0 })
}

impl Matches {
    /// The next record, or none at the end.
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let Some((path, segment)) = &mut self.current else {
                let Some(next) = self.ahead.next() else { return Ok(None) };
                self.begin(next)?;
                continue;
            };
            let failed = |source| ReadError::Io { path: path.clone(), source };
            if let Some(offsets) = &mut self.only_at {
                let Some(offset) = offsets.next() else {
                    self.current = None;
                    continue;
                };
                segment.jump(offset, None).map_err(failed)?;
            }
            match segment.read().map_err(failed)? {
                Step::Record(record) => {
                    self.read += 1;
                    if self.query.matches(&record) {
                        return Ok(Some(record));
                    }
                }
                Step::End => self.current = None,
                Step::Flaw(flaw) => {
                    note(&mut self.verdict, segment.superblock().segment, flaw);
                    self.current = None;
                }
            }
        }
    }

    fn begin(&mut self, (named, path): Listed) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io { path: path.clone(), source };
        let index =
            Input::open(&path).and_then(|mut file| footer(&mut file)).map_err(failed)?.map(|footer| footer.index);
        let mut segment = match open(&path)? {
            Ok(segment) => segment.with_keys(&self.keys),
            Err(flaw) => {
                note(&mut self.verdict, named.unwrap_or(0), flaw);
                return Ok(());
            }
        };
        self.only_at = None;
        if let Some(index) = index {
            let (earliest, latest) = (Stamp(index.earliest_wall_ns), Stamp(index.latest_wall_ns));
            let outside =
                self.query.from.is_some_and(|from| latest < from) || self.query.to.is_some_and(|to| earliest >= to);
            if outside || index.marks.is_empty() {
                return Ok(());
            }
            if let Some(trace) = self.query.trace.filter(|_| index.traces_complete) {
                let wanted = trace_hash(&trace);
                let listed = index.trace_hashes.iter().zip(index.trace_offsets);
                let mut offsets: Vec<u64> = listed.filter(|(hash, _)| **hash == wanted).map(|(_, at)| at).collect();
                offsets.sort_unstable();
                self.only_at = Some(offsets.into_iter());
            } else if let Some(from) = self.query.from {
                // Every record before this mark is earlier.
                let before = index.marks.iter().take_while(|mark| Stamp(mark.latest_wall_ns) < from).last();
                if let Some(mark) = before {
                    segment.jump(mark.offset, Some(mark.sequence)).map_err(failed)?;
                }
            }
        }
        self.current = Some((path, segment));
        Ok(())
    }

    /// Head of the segment that the last record came from.
    pub fn superblock(&self) -> Option<&Superblock> {
        self.current.as_ref().map(|(_, segment)| segment.superblock())
    }

    /// Verdict on what was read.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Records read, wanted or not.
    pub fn records_read(&self) -> u64 {
        self.read
    }
}
