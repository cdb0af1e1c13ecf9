//! Judging a journal in every respect: is it what was written (integrity), who vouches for it (authenticity), is all of it
//! there (completeness), and is it the latest (freshness). Segments are read in parallel.

mod segment;
mod verdicts;

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecps_core::clock::Stamp;

pub use verdicts::{Authenticity, Completeness, Ending, Freshness, Start, Vouched};

use self::segment::{Examined, Examiner, examine};
use crate::format::Identity;
use crate::note::{Note, VerifierKey};
use crate::reader::{End, Listed, ReadError, Verdict, list, note};
use crate::scan::Flaw;
use crate::storage::is_being_written;

/// Most missing ranges and failures that are listed.
const LISTED: usize = 1000;

/// What a journal is held against.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// Keys that are trusted to vouch for it. None: the key that the journal names itself, which proves little.
    pub keys: Vec<VerifierKey>,
    /// A checkpoint that was got earlier, elsewhere than from this journal: it must still hold.
    pub checkpoint: Option<Note>,
    /// Greatest age of the last checkpoint, and the time now.
    pub max_age: Option<(Duration, Stamp)>,
}

/// What is to be thought of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// Who wrote the last segment; none where no segment has a whole superblock.
    pub identity: Option<Identity>,
    /// Segments found.
    pub segments: usize,
    /// Whole records.
    pub records: u64,
    /// Where it ends; none where no segment has a whole superblock.
    pub end: Option<End>,
    /// Is it what was written?
    pub integrity: Verdict,
    /// Who vouches for it?
    pub authenticity: Authenticity,
    /// Sequences that no checkpoint covered when a later run of the writer found them, first and last of each range: that
    /// run's checkpoints vouch for how it found them, and not for who wrote them. A kill leaves some.
    pub adopted: Vec<(u64, u64)>,
    /// Is all of it there?
    pub completeness: Completeness,
    /// Is it the latest?
    pub freshness: Freshness,
}

impl Audit {
    /// 0 clean, 1 nothing can be read, 3 recovered with loss, 4 chain broken or damaged, 5 signature bad.
    pub fn exit_code(&self) -> u8 {
        let damaged = !self.integrity.is_whole();
        if self.end.is_none() {
            1
        } else if matches!(self.authenticity, Authenticity::Bad { .. }) || self.freshness == Freshness::Forked {
            5
        } else if damaged {
            4
        } else if self.integrity != Verdict::Clean || !self.completeness.is_complete() || self.freshness.is_bad() {
            3
        } else {
            0
        }
    }
}

/// Reads all of the journal at `path`, a folder or one segment, on at most `threads` threads.
pub fn audit(path: &Path, expected: &Expectations, threads: usize) -> Result<Audit, ReadError> {
    let listed = list(path)?;
    let segments = listed.len();
    let examiner = Examiner { keys: &expected.keys, pinned: expected.checkpoint.as_ref().map(|n| n.unverified().size) };
    let examined = examine_all(&listed, &examiner, threads)?;
    let mut audit = Audit {
        identity: None,
        segments,
        records: 0,
        end: None,
        integrity: Verdict::Clean,
        authenticity: Authenticity::Unsigned,
        adopted: Vec::new(),
        completeness: Completeness::default(),
        freshness: Freshness::NotAsked,
    };
    let mut pinned = None;
    let mut vouched = Vouched::default();
    let mut bad = None;
    let mut retired = 0;
    // Last record that a checkpoint of its own time covers, or that was adopted.
    let mut settled = 0;
    for (named, found) in listed.iter().map(|(named, _)| *named).zip(examined) {
        let Examined { head, flaw, records, end, closed, .. } = found;
        let number = named.or(head.as_ref().map(|head| head.segment)).unwrap_or(0);
        if let Some(head) = head {
            if let Err(reason) = End::check(audit.end.as_ref(), named, &head) {
                note(&mut audit.integrity, number, Flaw::ChainBroken { index: 0, offset: 0, reason });
            }
            match &audit.end {
                None => {
                    audit.completeness.start =
                        Start { segment: head.segment, sequence: head.first_sequence, retired: false }
                }
                Some(end) if head.first_sequence > end.sequence + 1 => {
                    let missing = &mut audit.completeness.missing;
                    if missing.len() < LISTED {
                        missing.push((end.sequence + 1, head.first_sequence - 1));
                    }
                }
                Some(_) => {}
            }
            let last = audit.end.as_ref().map_or(0, |end| end.sequence);
            let other_run = audit.identity.as_ref().is_some_and(|before| before.session != head.identity.session);
            if other_run && last > settled && audit.adopted.len() < LISTED {
                audit.adopted.push((settled + 1, last));
                settled = last;
            }
            audit.identity = Some(head.identity);
            audit.end = end;
            audit.completeness.ending = if closed { Ending::Closed } else { Ending::Open };
        } else {
            // A segment of which nothing can be read may have held the end.
            audit.completeness.ending = Ending::Open;
        }
        if let Some(flaw) = flaw {
            note(&mut audit.integrity, number, flaw);
        }
        audit.records += records;
        audit.completeness.dropped += found.dropped;
        let room = LISTED.saturating_sub(audit.completeness.doubtful.len());
        audit.completeness.doubtful.extend(found.doubtful.into_iter().take(room));
        retired = retired.max(found.retired);
        pinned = pinned.or(found.pinned);
        bad = bad.or(found.bad.map(|(sequence, reason)| Authenticity::Bad { segment: number, sequence, reason }));
        if let Some(theirs) = found.vouched {
            settled = settled.max(theirs.size);
            vouched = theirs;
        }
    }
    let last = audit.end.as_ref().map_or(0, |end| end.sequence);
    audit.completeness.start.retired = audit.completeness.start.segment <= retired;
    if audit.completeness.ending == Ending::Open && is_being_written(path) {
        audit.completeness.ending = Ending::Live;
    }
    if vouched.note.is_none() {
        audit.adopted.clear();
    }
    let ending = audit.completeness.ending;
    audit.authenticity = bad.unwrap_or_else(|| Authenticity::judge(vouched, &expected.keys, last, ending));
    audit.freshness = Freshness::judge(expected, &audit.authenticity, pinned, last);
    Ok(audit)
}

/// Examines every segment, each on one of the threads.
fn examine_all(listed: &[Listed], examiner: &Examiner<'_>, threads: usize) -> Result<Vec<Examined>, ReadError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(listed.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, listed.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((_, path)) = listed.get(index) else { return };
                    let result = examine(path, examiner);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
