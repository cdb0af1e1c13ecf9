//! What one segment has to say.

use std::path::Path;

use prost::Message as _;

use super::verdicts::Vouched;
use crate::format::{Digest, Superblock, digest};
use crate::input::Input;
use crate::note::{Checkpoint, Note, VerifierKey};
use crate::reader::{End, ReadError, open};
use crate::record::{self, Payload};
use crate::scan::{Flaw, RawStep, Segment};

/// How segments are examined.
pub(super) struct Examiner<'a> {
    /// Keys that are trusted; none: the segment's own.
    pub(super) keys: &'a [VerifierKey],
    /// A size of which the tree's head is wanted.
    pub(super) pinned: Option<u64>,
}

/// One segment, examined.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) head: Option<Superblock>,
    pub(super) flaw: Option<Flaw>,
    pub(super) records: u64,
    pub(super) end: Option<End>,
    /// Whether it has a footer.
    pub(super) closed: bool,
    /// Its last good checkpoint.
    pub(super) vouched: Option<Vouched>,
    /// Its first bad one: sequence of its record, and what is wrong.
    pub(super) bad: Option<(u64, String)>,
    /// Head of the tree at the pinned size, where that is in this segment.
    pub(super) pinned: Option<Digest>,
    pub(super) dropped: u64,
    pub(super) doubtful: Vec<(u64, u64)>,
    pub(super) retired: u64,
}

/// A record of the journal's own that says something of the rest.
enum Statement {
    Checkpoint(record::Checkpoint),
    Dropout(record::Dropout),
    Fault(record::Fault),
    Retired(record::Retired),
}

fn statement(kind: u16, payload: &[u8]) -> Option<Statement> {
    match kind {
        record::Checkpoint::KIND => record::Checkpoint::decode(payload).ok().map(Statement::Checkpoint),
        record::Dropout::KIND => record::Dropout::decode(payload).ok().map(Statement::Dropout),
        record::Fault::KIND => record::Fault::decode(payload).ok().map(Statement::Fault),
        record::Retired::KIND => record::Retired::decode(payload).ok().map(Statement::Retired),
        _ => None,
    }
}

/// Reads a segment to its end.
pub(super) fn examine(path: &Path, examiner: &Examiner<'_>) -> Result<Examined, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let mut examined = Examined::default();
    let mut segment = match open(path)? {
        Ok(segment) => segment,
        Err(flaw) => return Ok(Examined { flaw: Some(flaw), ..examined }),
    };
    let own = VerifierKey::parse(&segment.superblock().verifier).ok();
    let keys = if examiner.keys.is_empty() { own.as_slice() } else { examiner.keys };
    loop {
        if examiner.pinned == Some(segment.end().0) {
            examined.pinned = Some(segment.tree().root());
        }
        let (kind, sequence, stated) = match segment.read_raw().map_err(failed)? {
            RawStep::Record(raw) => {
                let (kind, sequence) = (raw.header.kind, raw.header.sequence);
                (kind, sequence, statement(kind, raw.stored_payload()))
            }
            RawStep::End => break,
            RawStep::Flaw(flaw) => {
                examined.flaw = Some(flaw);
                break;
            }
        };
        examined.records += 1;
        match stated {
            Some(Statement::Checkpoint(checkpoint)) => {
                let checked = Note::parse(&checkpoint.note).map_err(|e| e.to_string()).and_then(|note| {
                    let size = note.unverified().size;
                    if size != checkpoint.size || size >= sequence {
                        return Err(format!("the checkpoint in record {sequence} is over {size} records"));
                    }
                    check(&note, keys, &mut segment)
                });
                examined.note(sequence, checked);
            }
            Some(Statement::Dropout(dropout)) => {
                let records = dropout.counts.iter().fold(0u64, |sum, count| sum.saturating_add(count.records));
                examined.dropped = examined.dropped.saturating_add(records);
            }
            Some(Statement::Fault(fault)) if fault.first_sequence <= fault.last_sequence => {
                examined.doubtful.push((fault.first_sequence, fault.last_sequence));
            }
            Some(Statement::Retired(retired)) => examined.retired = examined.retired.max(retired.kept_from),
            None if kind == record::Checkpoint::KIND => {
                examined.note(sequence, Err(format!("record {sequence} should hold a checkpoint and cannot be read")));
            }
            Some(Statement::Fault(_)) | None => {}
        }
    }
    if let Some(footer) = segment.footer().cloned() {
        examined.closed = true;
        if !footer.note.is_empty() {
            let checked = Note::parse(&footer.note).map_err(|e| e.to_string()).and_then(|note| {
                let checkpoint = note.unverified();
                let index = Some((segment.superblock().segment, digest(&footer.index_bytes)));
                if checkpoint.size != segment.end().0 || checkpoint.index != index {
                    return Err("the checkpoint in the footer is not over this segment and its index".into());
                }
                check(&note, keys, &mut segment)
            });
            examined.note(segment.end().0, checked);
        }
    }
    let (sequence, digest) = segment.end();
    examined.end = Some(End { sequence, digest, tree: segment.tree() });
    examined.head = Some(segment.superblock().clone());
    Ok(examined)
}

/// Checks a note's signature and that it is over the records that are there.
fn check(note: &Note, keys: &[VerifierKey], segment: &mut Segment<Input>) -> Result<Vouched, String> {
    let mut reason = String::from("the segment names no key that could check its checkpoints");
    let mut verified = None;
    for key in keys {
        match note.verify(key) {
            Ok(checkpoint) => verified = Some((key, checkpoint)),
            Err(error) => reason = error.to_string(),
        }
    }
    let (key, Checkpoint { size, root, time, .. }) = verified.ok_or(reason)?;
    match segment.root_at(*size) {
        Some(found) if found == *root => {
            Ok(Vouched { key: key.to_string(), size: *size, time: *time, note: Some(note.clone()) })
        }
        Some(_) => Err(format!("the first {size} records are not those that were signed")),
        None => Err(format!("its checkpoint over {size} records is out of place")),
    }
}

impl Examined {
    fn note(&mut self, sequence: u64, checked: Result<Vouched, String>) {
        match checked {
            Ok(vouched) => self.vouched = Some(vouched),
            Err(reason) => {
                self.bad.get_or_insert((sequence, reason));
            }
        }
    }
}
