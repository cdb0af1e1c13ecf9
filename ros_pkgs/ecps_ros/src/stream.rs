//! What a subscription counts: messages received, dropped and late, their rate and age.

mod queue;
mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_core::clock::Steady;

pub(crate) use queue::Lost;
pub use queue::{Queue, Received, Stream};
pub(crate) use watch::{DeadlineWatch, LivelinessWatch};
pub use watch::{Liveliness, Missed};

/// Arrivals that the rate is taken over.
const RATE_OVER: usize = 32;

/// Counters of one subscription. Clones count together.
#[derive(Debug, Clone)]
pub struct StreamMeter {
    topic: Arc<str>,
    meter: Arc<Mutex<Meter>>,
}

#[derive(Debug, Default)]
struct Meter {
    counters: StreamCounters,
    arrivals: VecDeque<Steady>,
}

/// What a subscription has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounters {
    /// Messages that reached the node.
    pub received: u64,
    /// Of these, messages that its queue lost or refused.
    pub dropped: u64,
    /// Periods of its deadline, where one is set, that passed without a message.
    pub late: u64,
}

impl StreamMeter {
    pub(crate) fn new(topic: &str) -> StreamMeter {
        StreamMeter { topic: topic.into(), meter: Arc::default() }
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic, as it was subscribed to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The counters.
    pub fn counters(&self) -> StreamCounters {
        self.meter().counters
    }

    /// Messages per second over the last 32 of them; falls when they stay away, and is 0 before the second one.
    pub fn rate(&self, now: Steady) -> f64 {
        let meter = self.meter();
        let (Some(first), Some(last)) = (meter.arrivals.front(), meter.arrivals.back()) else { return 0.0 };
        let gaps = meter.arrivals.len() - 1;
        if gaps == 0 {
            return 0.0;
        }
        let usual = last.since(*first).div_f64(gaps as f64);
        // The present gap counts as soon as it is longer than usual.
        let (over, gaps) = match now.since(*last) {
            silence if silence > usual => (now.since(*first), gaps + 1),
            _ => (last.since(*first), gaps),
        };
        gaps as f64 / over.as_secs_f64().max(1e-9)
    }

    /// Time since the newest message; `None` before the first.
    pub fn age(&self, now: Steady) -> Option<Duration> {
        self.last().map(|last| now.since(last))
    }

    pub(crate) fn last(&self) -> Option<Steady> {
        self.meter().arrivals.back().copied()
    }

    pub(crate) fn arrived(&self, now: Steady) {
        let mut meter = self.meter();
        meter.counters.received += 1;
        if meter.arrivals.len() >= RATE_OVER {
            meter.arrivals.pop_front();
        }
        meter.arrivals.push_back(now);
    }

    pub(crate) fn dropped(&self, messages: u64) {
        self.meter().counters.dropped += messages;
    }

    pub(crate) fn late(&self) {
        self.meter().counters.late += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    #[test]
    fn the_rate_is_the_recent_one_and_falls_in_silence() {
        let meter = StreamMeter::new("scan");
        assert_eq!((meter.rate(at(0)), meter.age(at(0))), (0.0, None));
        for ms in (0..2000).step_by(50) {
            meter.arrived(at(ms));
        }
        assert!((meter.rate(at(1960)) - 20.0).abs() < 1e-9);
        assert_eq!(meter.age(at(1960)), Some(Duration::from_millis(10)));
        // 32 gaps over the 1.55 s of the arrivals and 10 s of silence.
        assert!((meter.rate(at(11_950)) - 32.0 / 11.55).abs() < 1e-6);
        assert_eq!(meter.counters().received, 40);
    }
}
