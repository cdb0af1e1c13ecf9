//! Which scans of a recording show the same place, as matching finds that is not told where to look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Reference, ScanPoints};

/// What came of comparing scans, each named by its stamp in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Pairs compared.
    pub compared: usize,
    /// Of each scan the earlier ones that show its place.
    pub confirmed: BTreeMap<i64, BTreeSet<i64>>,
}

impl Pairs {
    /// Compares each scan with each that is older by at least `apart`, on all cores.
    #[must_use]
    pub fn compare(scans: &BTreeMap<i64, ScanPoints>, apart: Duration) -> Pairs {
        let apart = i64::try_from(apart.as_nanos()).unwrap_or(i64::MAX);
        let earlier: Vec<(&i64, &ScanPoints)> = scans.iter().collect();
        let next = AtomicUsize::new(0);
        let compare = || {
            let mut pairs = Pairs::default();
            while let Some((then, points)) = earlier.get(next.fetch_add(1, Ordering::Relaxed)) {
                let reference = Reference::new(points);
                for (now, points) in scans.range(then.saturating_add(apart)..) {
                    pairs.compared += 1;
                    if reference.confirms(points) {
                        pairs.confirmed.entry(*now).or_default().insert(**then);
                    }
                }
            }
            pairs
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(compare)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).fold(Pairs::default(), Pairs::with)
        })
    }

    fn with(mut self, other: Pairs) -> Pairs {
        self.compared += other.compared;
        for (now, earlier) in other.confirmed {
            self.confirmed.entry(now).or_default().extend(earlier);
        }
        self
    }

    /// Pairs confirmed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.confirmed.values().map(BTreeSet::len).sum()
    }
}
