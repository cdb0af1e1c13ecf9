//! What a member counts of itself, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::wire::{LatencyBucket, Metrics};

/// Upper bounds of the latency histogram's buckets, microseconds. One bucket more holds what took longer.
const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    5_000_000,
];

/// Counts of one member since it started, shared between its parts.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) commits: Count,
    pub(crate) elections: Count,
    pub(crate) log_bytes: Count,
    pub(crate) snapshots_made: Count,
    pub(crate) snapshots_installed: Count,
    latency: [Count; BOUNDS_US.len() + 1],
}

/// A number that any thread may change.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// A command was carried out, so long after it came to the leader.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.add(1);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took);
        if let Some(count) = self.latency.get(bucket) {
            count.add(1);
        }
    }

    pub(crate) fn read(&self) -> Metrics {
        let bounds = BOUNDS_US.into_iter().map(Some).chain([None]);
        let bucket = |(below_us, count): (_, &Count)| LatencyBucket { below_us, count: count.get() };
        Metrics {
            commits: self.commits.get(),
            elections: self.elections.get(),
            log_bytes: self.log_bytes.get(),
            snapshots_made: self.snapshots_made.get(),
            snapshots_installed: self.snapshots_installed.get(),
            latency: bounds.zip(&self.latency).map(bucket).collect(),
        }
    }
}

impl Metrics {
    /// What a share of `q` of the commands took at most, by the bounds of the buckets; none without commands, or where it
    /// is beyond them.
    pub fn latency(&self, q: f64) -> Option<Duration> {
        let all: u64 = self.latency.iter().map(|bucket| bucket.count).sum();
        let rank = (q * all as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.latency.iter().find(|bucket| {
            below += bucket.count;
            below >= rank
        })?;
        (all > 0).then_some(())?;
        bucket.below_us.map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_bounds_that_so_many_stayed_below() {
        let counters = Counters::default();
        assert_eq!(counters.read().latency(0.5), None);
        for us in [1, 250, 251, 1_900] {
            counters.committed(Duration::from_micros(us));
        }
        let metrics = counters.read();
        assert_eq!(metrics.commits, 4);
        let at = |q| metrics.latency(q).map(|time| time.as_micros());
        assert_eq!([at(0.0), at(0.5), at(0.75), at(1.0)], [Some(250), Some(250), Some(500), Some(2_000)]);
        counters.committed(Duration::from_secs(100));
        assert_eq!(counters.read().latency(1.0), None);
    }
}
