//! Queues between the spin thread and a thread that works on messages.

use std::time::Duration;

use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::clock::{Steady, SteadyClock, SystemSteady};

use super::StreamMeter;

/// What becomes of messages that come faster than they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Only the newest waits: for motion and state, where an old message is worse than none.
    KeepLatest,
    /// At most this many wait, and the oldest make way: for sensor readings.
    DropOldest(usize),
    /// At most this many wait, and newer ones are refused, which the subscription is told: for what somebody answers for.
    PushBack(usize),
}

impl Queue {
    fn lane<T>(self) -> TelemetryLane<T> {
        match self {
            Queue::KeepLatest => TelemetryLane::new(1, Overflow::DropOldest),
            Queue::DropOldest(depth) => TelemetryLane::new(depth, Overflow::DropOldest),
            Queue::PushBack(depth) => TelemetryLane::new(depth, Overflow::DropNewest),
        }
    }
}

/// A message, and when the spin thread took it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// When it came.
    pub arrival: Steady,
}

/// Messages of a topic, for a thread other than the spin thread. Ends when its node does, or when it is closed.
#[derive(Debug)]
pub struct Stream<T> {
    lane: TelemetryLane<Received<T>>,
    meter: StreamMeter,
}

/// Clones share the queue.
impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Stream { lane: self.lane.clone(), meter: self.meter.clone() }
    }
}

impl<T> Stream<T> {
    pub(crate) fn new(queue: Queue, meter: StreamMeter) -> Stream<T> {
        Stream { lane: queue.lane(), meter }
    }

    /// The oldest message that waits, or the next one within `limit` (for ever when none). `None`: the time has passed,
    /// or the stream has ended.
    pub fn take(&self, limit: Option<Duration>) -> Option<Received<T>> {
        self.lane.take(limit)
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.lane.depth()
    }

    /// What was counted.
    pub fn meter(&self) -> &StreamMeter {
        &self.meter
    }

    /// Puts a message in; whether it or another was lost for it.
    pub(crate) fn offer(&self, message: T) -> Lost {
        let before = self.lane.counters().dropped;
        self.lane.offer(Received { message, arrival: SystemSteady.now() });
        if self.lane.counters().dropped == before {
            return Lost::None;
        }
        self.meter.dropped(1);
        Lost::One
    }

    /// Ends the stream for whoever waits on it.
    pub fn close(&self) {
        self.lane.close();
    }
}

/// Whether a queue lost a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    None,
    One,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_keeps_what_it_promises_and_counts_the_rest() {
        for (queue, kept, dropped) in [
            (Queue::KeepLatest, vec![5], 4),
            (Queue::DropOldest(2), vec![4, 5], 3),
            (Queue::PushBack(3), vec![1, 2, 3], 2),
            (Queue::DropOldest(9), vec![1, 2, 3, 4, 5], 0),
        ] {
            let stream = Stream::new(queue, StreamMeter::new("numbers"));
            let lost = (1..=5).filter(|number| stream.offer(*number) == Lost::One).count() as u64;
            assert_eq!((lost, stream.meter().counters().dropped), (dropped, dropped), "{queue:?}");
            assert_eq!(stream.waiting(), kept.len());
            let taken = std::iter::from_fn(|| stream.take(Some(Duration::ZERO)));
            let taken: Vec<i32> = taken.map(|received| received.message).collect();
            assert_eq!(taken, kept, "{queue:?}");
        }
    }
}
