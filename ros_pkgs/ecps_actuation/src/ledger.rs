//! Counts of what passed and what did not, and which refusals the journal still has to hear of.

use std::fmt::Write as _;
use std::time::Duration;

use ecps_core::clock::Steady;

use crate::reason::{Reason, Refusal};

/// Refusals of one reason within this time of one recorded in full are recorded as a count.
pub const GATHER: Duration = Duration::from_secs(1);

/// How a refusal is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// In full.
    Full,
    /// With others, as a count.
    Counted,
}

/// Refusals of one reason that are not in the journal yet.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    count: u64,
    since: Option<Steady>,
}

/// The counts.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Commands that passed unchanged.
    pub admitted: u64,
    /// Commands that passed lowered.
    pub limited: u64,
    /// Commands that did not pass.
    pub refused: u64,
    by_reason: [u64; Reason::COUNT],
    pending: [Pending; Reason::COUNT],
    last_refusal: String,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            admitted: 0,
            limited: 0,
            refused: 0,
            by_reason: [0; Reason::COUNT],
            pending: [Pending::default(); Reason::COUNT],
            last_refusal: String::new(),
        }
    }
}

impl Ledger {
    /// Counts a reason.
    pub fn count(&mut self, reason: Reason) {
        if let Some(count) = self.by_reason.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Counts a refusal and says how to record it.
    pub fn refused(&mut self, refusal: &Refusal, now: Steady) -> Detail {
        self.refused += 1;
        self.count(refusal.reason());
        self.last_refusal.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.last_refusal, "{refusal}");
        let Some(pending) = self.pending.get_mut(refusal.reason() as usize) else { return Detail::Full };
        if pending.since.is_some() {
            pending.count += 1;
            return Detail::Counted;
        }
        pending.since = Some(now);
        Detail::Full
    }

    /// A count whose time has come, or any with `all`; it counts as recorded unless it is handed to [`Ledger::put_back`].
    pub fn take_due(&mut self, now: Steady, all: bool) -> Option<(Reason, u64)> {
        for (reason, pending) in Reason::ALL.iter().zip(&mut self.pending) {
            let Some(since) = pending.since else { continue };
            if !all && now.since(since) < GATHER {
                continue;
            }
            let count = std::mem::take(pending).count;
            if count > 0 {
                return Some((*reason, count));
            }
        }
        None
    }

    /// Refusals whose record failed; it is tried again after [`GATHER`].
    pub fn put_back(&mut self, reason: Reason, count: u64, now: Steady) {
        if let Some(pending) = self.pending.get_mut(reason as usize) {
            pending.count += count;
            pending.since = Some(now);
        }
    }

    /// Counts of the reasons that occurred.
    pub fn reasons(&self) -> Vec<(Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.by_reason).filter(|(_, count)| *count > 0).collect()
    }

    /// The last refusal in words; empty if there was none.
    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }
}
