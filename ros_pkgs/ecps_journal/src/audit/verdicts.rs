//! The verdicts but for integrity, which is [`crate::Verdict`], in words.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::time::Duration;

use ecps_core::clock::Stamp;

use super::Expectations;
use crate::format::Digest;
use crate::note::{Note, VerifierKey};

/// What a good checkpoint vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouched {
    /// The key, as text.
    pub key: String,
    /// All records up to this sequence.
    pub size: u64,
    /// Wall time of the last of them.
    pub time: Stamp,
    /// The checkpoint itself, to be kept elsewhere and held against the journal later.
    pub note: Option<Note>,
}

/// Who vouches for a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticity {
    /// Nobody, and nobody was asked for.
    Unsigned,
    /// The key that the journal names itself: it shows that whoever made it had that key, and nothing about whose it is.
    SelfSigned {
        /// By which key, up to where.
        vouched: Vouched,
        /// Records after the last checkpoint.
        after: u64,
    },
    /// A trusted key.
    Signed {
        /// By which key, up to where.
        vouched: Vouched,
        /// Records after the last checkpoint.
        after: u64,
    },
    /// A checkpoint is not what a trusted key signed, or not over these records, or there is none.
    Bad {
        /// Number of the segment with it.
        segment: u64,
        /// Sequence of its record, or of the record before the footer that has it.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
}

impl Authenticity {
    pub(super) fn judge(vouched: Vouched, trusted: &[VerifierKey], last: u64, ending: Ending) -> Authenticity {
        let after = last.saturating_sub(vouched.size);
        match (vouched.note.is_some(), trusted.is_empty()) {
            (true, true) => Authenticity::SelfSigned { vouched, after },
            // Closing signs. What was closed unsigned was not closed by the key's owner.
            (true, false) if after > 0 && ending == Ending::Closed => Authenticity::Bad {
                segment: 0,
                sequence: 0,
                reason: format!("it was closed, and no trusted key signed its last {after} records"),
            },
            (true, false) => Authenticity::Signed { vouched, after },
            (false, true) => Authenticity::Unsigned,
            (false, false) => {
                Authenticity::Bad { segment: 0, sequence: 0, reason: "it has no checkpoint by a trusted key".into() }
            }
        }
    }

    /// What is vouched for, if anything is.
    pub fn vouched(&self) -> Option<&Vouched> {
        match self {
            Authenticity::SelfSigned { vouched, .. } | Authenticity::Signed { vouched, .. } => Some(vouched),
            Authenticity::Unsigned | Authenticity::Bad { .. } => None,
        }
    }
}

impl Display for Authenticity {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        match self {
            Authenticity::Unsigned => write!(f, "unsigned: nothing shows that it was not written anew as a whole"),
            Authenticity::SelfSigned { vouched, after } => {
                let Vouched { key, size, .. } = vouched;
                write!(
                    f,
                    "signed up to record {size} by the key that the journal names itself, {key}, not by a trusted one"
                )?;
                tail(f, *after)
            }
            Authenticity::Signed { vouched, after } => {
                write!(f, "signed up to record {} by {}", vouched.size, vouched.key)?;
                tail(f, *after)
            }
            Authenticity::Bad { segment: 0, reason, .. } => write!(f, "bad: {reason}"),
            Authenticity::Bad { segment, sequence, reason } => {
                write!(f, "bad at record {sequence} of segment {segment}: {reason}")
            }
        }
    }
}

fn tail(f: &mut Formatter<'_>, after: u64) -> FmtResult {
    if after > 0 { write!(f, "; the {after} after it are not") } else { Ok(()) }
}

/// How a journal begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Number of its first segment.
    pub segment: u64,
    /// Sequence of its first record.
    pub sequence: u64,
    /// Whether the journal itself says that retention removed what was before.
    pub retired: bool,
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// Its writer closed it.
    Closed,
    /// Its writer is at work.
    Live,
    /// Its writer was killed or lost power, or its end was removed: this cannot be told without a later checkpoint.
    #[default]
    Open,
}

/// Whether all of a journal is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completeness {
    /// How it begins.
    pub start: Start,
    /// Sequences missing in its middle, first and last of each range.
    pub missing: Vec<(u64, u64)>,
    /// Sequences that the writer itself says may be missing since the disk failed.
    pub doubtful: Vec<(u64, u64)>,
    /// Records that the writer says it could not keep.
    pub dropped: u64,
    /// How it ends.
    pub ending: Ending,
}

impl Completeness {
    /// Whether everything that was to be recorded is there, save for what retention removed.
    pub fn is_complete(&self) -> bool {
        let whole = self.start.sequence <= 1 || self.start.retired;
        whole && self.missing.is_empty() && self.dropped == 0 && self.ending != Ending::Open
    }
}

impl Display for Completeness {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        if self.is_complete() {
            f.write_str("complete")?;
        } else {
            f.write_str("not shown to be complete")?;
        }
        let Start { segment, sequence, retired } = self.start;
        if sequence > 1 {
            let why = if retired { "retention removed what was before" } else { "what was before is missing" };
            write!(f, "; begins with record {sequence} in segment {segment}: {why}")?;
        }
        for (first, last) in &self.missing {
            write!(f, "; records {first} to {last} are missing")?;
        }
        for (first, last) in &self.doubtful {
            write!(f, "; the disk failed while records {first} to {last} were to reach it")?;
        }
        if self.dropped > 0 {
            write!(f, "; {} records could not be kept", self.dropped)?;
        }
        match self.ending {
            Ending::Closed => Ok(()),
            Ending::Live => f.write_str("; being written"),
            Ending::Open => f.write_str("; it was not closed: its writer was killed, or its end was removed"),
        }
    }
}

/// Whether a journal is the latest there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing was given to hold it against.
    NotAsked,
    /// It goes on from the checkpoint given, and its last one is young enough.
    Fresh,
    /// The checkpoint given covers records that the journal does not have: its end was removed, or it is an old copy.
    Behind {
        /// Records in the checkpoint.
        size: u64,
        /// Last record of the journal.
        last: u64,
    },
    /// The records that the checkpoint given covers are not those in the journal.
    Forked,
    /// The checkpoint given is over records that are not here any more.
    BeforeStart {
        /// Records in the checkpoint.
        size: u64,
    },
    /// Its last checkpoint is too old, or there is none.
    Stale {
        /// Its age; none where there is no checkpoint.
        age: Option<Duration>,
        /// Age allowed.
        limit: Duration,
    },
}

impl Freshness {
    pub(super) fn judge(
        expected: &Expectations,
        authenticity: &Authenticity,
        found: Option<Digest>,
        last: u64,
    ) -> Freshness {
        if let Some(checkpoint) = expected.checkpoint.as_ref().map(Note::unverified) {
            match found {
                Some(root) if root != checkpoint.root => return Freshness::Forked,
                None if checkpoint.size > last => return Freshness::Behind { size: checkpoint.size, last },
                None => return Freshness::BeforeStart { size: checkpoint.size },
                Some(_) => {}
            }
        }
        if let Some((limit, now)) = expected.max_age {
            let age = authenticity.vouched().map(|vouched| now.nanos_since(vouched.time).max(0).unsigned_abs());
            let age = age.map(Duration::from_nanos);
            if age.is_none_or(|age| age > limit) {
                return Freshness::Stale { age, limit };
            }
        }
        let asked = expected.checkpoint.is_some() || expected.max_age.is_some();
        if asked { Freshness::Fresh } else { Freshness::NotAsked }
    }

    /// Whether what was asked for is not so.
    pub fn is_bad(&self) -> bool {
        !matches!(self, Freshness::NotAsked | Freshness::Fresh)
    }
}

impl Display for Freshness {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        match self {
            Freshness::NotAsked => write!(f, "not asked: no earlier checkpoint and no age was given"),
            Freshness::Fresh => write!(f, "fresh"),
            Freshness::Behind { size, last } => {
                write!(f, "rolled back: a checkpoint covers {size} records, and the journal ends with record {last}")
            }
            Freshness::Forked => write!(f, "forked: the journal was written anew, an earlier checkpoint is of another"),
            Freshness::BeforeStart { size } => {
                write!(f, "cannot be told: the checkpoint covers {size} records, before the first that is here")
            }
            Freshness::Stale { age: Some(age), limit } => {
                write!(f, "stale: the last checkpoint is {age:?} old, more than the {limit:?} allowed")
            }
            Freshness::Stale { age: None, .. } => write!(f, "stale: it has no checkpoint"),
        }
    }
}
