//! What is under way, by key.

use std::collections::HashMap;
use std::time::Instant;

use super::Sample;

/// Departures without an arrival, and the times of those with one.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    under_way: HashMap<u64, Instant>,
    sample: Sample,
}

impl Flights {
    /// Something left under `key`.
    pub(crate) fn depart(&mut self, key: u64, at: Instant) {
        self.under_way.insert(key, at);
    }

    /// It goes on under another key.
    pub(crate) fn rename(&mut self, from: u64, to: u64) {
        if let Some(departed) = self.under_way.remove(&from) {
            self.under_way.insert(to, departed);
        }
    }

    /// It arrived; what never left, or arrives twice, counts for nothing.
    pub(crate) fn arrive(&mut self, key: u64, at: Instant) {
        if let Some(departed) = self.under_way.remove(&key) {
            self.sample.push(at - departed);
        }
    }

    /// The sample so far, with what is under way as lost; begins anew.
    pub(crate) fn take(&mut self) -> Sample {
        let mut sample = std::mem::take(&mut self.sample);
        sample.lose(std::mem::take(&mut self.under_way).len());
        sample
    }
}
