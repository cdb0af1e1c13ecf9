//! Times of one way, and what was lost on it.

use std::time::Duration;

/// Times in the order of arrival, and how many never came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    times: Vec<Duration>,
    lost: usize,
}

impl Sample {
    /// Takes in one time.
    pub(crate) fn push(&mut self, time: Duration) {
        self.times.push(time);
    }

    /// Takes in `count` losses.
    pub(crate) fn lose(&mut self, count: usize) {
        self.lost += count;
    }

    /// How many arrived.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// How many did not.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    /// The time within which a share `quantile` of those that arrived did so (nearest rank), milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let rank = (quantile * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    /// The median, milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// The 99th percentile, milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.quantile_ms(0.99)
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Sample {
        Sample { times: times.into_iter().collect(), lost: 0 }
    }
}
