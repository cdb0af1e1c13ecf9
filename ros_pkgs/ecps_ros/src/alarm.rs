//! What the spin thread does at a time of its own: timers and watchdogs.

use std::time::Duration;

use ecps_core::clock::{RosClock, Stamp, Steady};

use crate::clock::NodeClock;
use crate::stream::{DeadlineWatch, Liveliness, LivelinessWatch, Missed, StreamMeter};

/// Something that is due at some time.
pub(crate) trait Alarm<S>: Send {
    /// When the spin thread should look at it; far away where something else will wake it.
    fn due(&self, now: Steady) -> Steady;
    /// Does what is due at `now`, if anything is.
    fn ring(&mut self, state: &mut S, now: Steady);
    /// Begins anew: the node was activated.
    fn restart(&mut self, now: Steady);
}

impl<S> Alarm<S> for Box<dyn Alarm<S>> {
    fn due(&self, now: Steady) -> Steady {
        (**self).due(now)
    }

    fn ring(&mut self, state: &mut S, now: Steady) {
        (**self).ring(state, now);
    }

    fn restart(&mut self, now: Steady) {
        (**self).restart(now);
    }
}

const FAR: Steady = Steady(Duration::MAX);

/// Calls in each period of steady time. Periods that were missed are not made up for.
pub(crate) struct SteadyTimer<F> {
    pub(crate) period: Duration,
    pub(crate) due: Steady,
    pub(crate) run: F,
}

impl<S, F: FnMut(&mut S) + Send> Alarm<S> for SteadyTimer<F> {
    fn due(&self, _: Steady) -> Steady {
        self.due
    }

    fn ring(&mut self, state: &mut S, now: Steady) {
        if self.due <= now {
            (self.run)(state);
            let next = Steady(self.due.0 + self.period);
            self.due = if next <= now { Steady(now.0 + self.period) } else { next };
        }
    }

    fn restart(&mut self, now: Steady) {
        self.due = Steady(now.0 + self.period);
    }
}

/// Calls in each period of `/clock`; when that jumps back, periods begin anew.
pub(crate) struct SimTimer<F> {
    pub(crate) period: Duration,
    pub(crate) clock: NodeClock,
    pub(crate) last: Option<Stamp>,
    pub(crate) run: F,
}

impl<F> SimTimer<F> {
    fn is_due(&self) -> bool {
        let now = self.clock.now();
        match self.last {
            None => !now.is_zero(),
            Some(last) => now < last || now.nanos_since(last).unsigned_abs() >= self.period.as_nanos() as u64,
        }
    }
}

impl<S, F: FnMut(&mut S) + Send> Alarm<S> for SimTimer<F> {
    fn due(&self, now: Steady) -> Steady {
        if self.is_due() { now } else { FAR }
    }

    fn ring(&mut self, state: &mut S, _: Steady) {
        if self.is_due() {
            let now = self.clock.now();
            let period = i64::try_from(self.period.as_nanos()).unwrap_or(i64::MAX);
            match self.last {
                // The first time, or after a jump back, a whole period passes first.
                None => self.last = Some(now),
                Some(last) if now < last => self.last = Some(now),
                Some(last) => {
                    (self.run)(state);
                    let next = Stamp(last.0.saturating_add(period));
                    self.last = Some(if now.nanos_since(next) >= period { now } else { next });
                }
            }
        }
    }

    fn restart(&mut self, _: Steady) {
        self.last = None;
    }
}

/// Tells of each period in which a subscription received nothing.
pub(crate) struct Deadline<F> {
    pub(crate) watch: DeadlineWatch,
    pub(crate) meter: StreamMeter,
    pub(crate) run: F,
}

impl<S, F: FnMut(&mut S, Missed) + Send> Alarm<S> for Deadline<F> {
    fn due(&self, _: Steady) -> Steady {
        self.watch.due()
    }

    fn ring(&mut self, state: &mut S, now: Steady) {
        if let Some(last) = self.meter.last() {
            self.watch.saw(last);
        }
        if let Some(missed) = self.watch.check(now) {
            self.meter.late();
            (self.run)(state, missed);
        }
    }

    fn restart(&mut self, now: Steady) {
        self.watch.restart(now);
    }
}

/// Tells when a subscription falls silent, and when it is back.
pub(crate) struct Lease<F> {
    pub(crate) watch: LivelinessWatch,
    pub(crate) meter: StreamMeter,
    pub(crate) run: F,
}

impl<S, F: FnMut(&mut S, Liveliness) + Send> Alarm<S> for Lease<F> {
    fn due(&self, _: Steady) -> Steady {
        self.watch.due()
    }

    fn ring(&mut self, state: &mut S, now: Steady) {
        if let Some(change) = self.watch.check(self.meter.last(), now) {
            (self.run)(state, change);
        }
    }

    fn restart(&mut self, now: Steady) {
        self.watch.restart(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    #[test]
    fn a_timer_that_slept_does_not_make_up_for_it() {
        let mut timer =
            SteadyTimer { period: Duration::from_millis(10), due: at(10), run: |count: &mut u32| *count += 1 };
        let mut count = 0;
        for (ms, calls) in [(9, 0), (10, 1), (19, 1), (21, 2), (500, 3), (505, 3), (510, 4)] {
            timer.ring(&mut count, at(ms));
            assert_eq!(count, calls, "at {ms} ms");
        }
    }

    #[test]
    fn a_timer_on_simulated_time_stands_still_with_it() {
        let clock = NodeClock::simulated();
        let mut timer = SimTimer {
            period: Duration::from_secs(1),
            clock: clock.clone(),
            last: None,
            run: |count: &mut u32| *count += 1,
        };
        let mut count = 0;
        for (sim_ms, calls) in
            [(0, 0), (5000, 0), (5900, 0), (6000, 1), (6000, 1), (7100, 2), (100, 2), (1000, 2), (1100, 3)]
        {
            clock.set(Stamp(sim_ms * 1_000_000));
            timer.ring(&mut count, at(0));
            assert_eq!(count, calls, "at {sim_ms} ms of simulated time");
        }
        assert_eq!(Alarm::<u32>::due(&timer, at(7)), FAR);
    }
}
