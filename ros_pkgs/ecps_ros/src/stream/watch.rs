//! Watchdogs of a subscription, on the steady clock: r2r hears none of DDS's own deadline and liveliness events, and
//! DDS's would follow a publisher's promise rather than what arrived.

use std::time::Duration;

use ecps_core::clock::Steady;

/// A message that did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Time since the last message, or since the watch began.
    pub silence: Duration,
    /// Deadlines missed since the watch began.
    pub total: u64,
}

/// Whether somebody publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveliness {
    /// A message came.
    Alive,
    /// None came for as long as the lease lasts.
    Lost,
}

/// Expects a message in each period.
#[derive(Debug)]
pub(crate) struct DeadlineWatch {
    period: Duration,
    /// Start of the period that runs.
    from: Steady,
    last: Steady,
    total: u64,
}

impl DeadlineWatch {
    pub(crate) fn new(period: Duration, now: Steady) -> DeadlineWatch {
        DeadlineWatch { period, from: now, last: now, total: 0 }
    }

    /// When the present period ends.
    pub(crate) fn due(&self) -> Steady {
        Steady(self.from.0 + self.period)
    }

    /// Notes the newest message's arrival; the period begins anew with it.
    pub(crate) fn saw(&mut self, arrival: Steady) {
        if arrival > self.last {
            self.last = arrival;
            self.from = self.from.max(arrival);
        }
    }

    /// A miss, when the period has ended without a message. Periods that ended unobserved count as one.
    pub(crate) fn check(&mut self, now: Steady) -> Option<Missed> {
        if now < self.due() {
            return None;
        }
        self.from = now;
        self.total += 1;
        Some(Missed { silence: now.since(self.last), total: self.total })
    }

    pub(crate) fn restart(&mut self, now: Steady) {
        self.from = now;
        self.last = now;
    }
}

/// Tells when a publisher falls silent and when it is back.
#[derive(Debug)]
pub(crate) struct LivelinessWatch {
    lease: Duration,
    last: Steady,
    state: Liveliness,
}

impl LivelinessWatch {
    pub(crate) fn new(lease: Duration, now: Steady) -> LivelinessWatch {
        LivelinessWatch { lease, last: now, state: Liveliness::Alive }
    }

    /// When the lease runs out; never while it is lost.
    pub(crate) fn due(&self) -> Steady {
        match self.state {
            Liveliness::Alive => Steady(self.last.0 + self.lease),
            Liveliness::Lost => Steady(Duration::MAX),
        }
    }

    pub(crate) fn check(&mut self, arrival: Option<Steady>, now: Steady) -> Option<Liveliness> {
        self.last = self.last.max(arrival.unwrap_or_default());
        let state = if now < Steady(self.last.0 + self.lease) { Liveliness::Alive } else { Liveliness::Lost };
        let changed = state != self.state;
        self.state = state;
        changed.then_some(state)
    }

    pub(crate) fn restart(&mut self, now: Steady) {
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    #[test]
    fn each_period_without_a_message_is_one_miss() {
        let mut watch = DeadlineWatch::new(Duration::from_millis(100), at(0));
        assert_eq!(watch.check(at(99)), None);
        watch.saw(at(90));
        assert_eq!((watch.due(), watch.check(at(189))), (at(190), None));
        assert_eq!(watch.check(at(190)), Some(Missed { silence: Duration::from_millis(100), total: 1 }));
        assert_eq!(watch.check(at(200)), None, "the same period is told once");
        assert_eq!(watch.check(at(900)), Some(Missed { silence: Duration::from_millis(810), total: 2 }));
        watch.restart(at(2000));
        assert_eq!(watch.check(at(2050)), None);
    }

    #[test]
    fn liveliness_is_told_when_it_changes() {
        let mut watch = LivelinessWatch::new(Duration::from_millis(100), at(0));
        assert_eq!(watch.check(Some(at(50)), at(120)), None);
        assert_eq!(watch.due(), at(150));
        assert_eq!(watch.check(Some(at(50)), at(150)), Some(Liveliness::Lost));
        assert_eq!(watch.check(Some(at(50)), at(400)), None);
        assert_eq!(watch.check(Some(at(410)), at(420)), Some(Liveliness::Alive));
    }
}
