//! What the supervisor concludes from the executor's heartbeats, as a state machine without clock or socket.
//!
//! *Alone* until an executor sends its first beat, and again after one has left in good order. *Watching* while beats
//! come. *Latched* as soon as they do not: the robot's safe state is commanded until somebody resets, which needs an
//! executor that beats again and is itself stopped.

use std::time::Duration;

use ecps_core::clock::Steady;
use thiserror::Error;

use crate::heartbeat::{Beat, BeatError, Role, Status};

/// How far ahead of the supervisor's clock a beat may be: both read the same clock of the same machine.
const AHEAD: Duration = Duration::from_millis(1);

/// Why the robot was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Alarm {
    /// The executor's end of the connection is closed.
    #[error("the executor is gone")]
    Gone,
    /// No beat for too long: stopped, hung, or starved.
    #[error("the executor's last heartbeat is {age:?} old, and may be {limit:?}")]
    Silent {
        /// Age of the last beat by its own time.
        age: Duration,
        /// Age that it may have.
        limit: Duration,
    },
    /// Its loop paused for too long, though beats came.
    #[error("the executor's control loop paused for {pause:?}, and may for {limit:?}")]
    Starved {
        /// Length of the pause.
        pause: Duration,
        /// Length that it may have.
        limit: Duration,
    },
    /// Its clock is wrong.
    #[error("the executor's clock is wrong: its heartbeat says {sent:?}, after {before:?}, and it is {now:?}")]
    Time {
        /// What the beat says.
        sent: Duration,
        /// What the beat before said.
        before: Duration,
        /// What the supervisor's clock says.
        now: Duration,
    },
    /// A beat was lost, repeated or made up.
    #[error("the executor's heartbeat has number {found} after {before}")]
    Sequence {
        /// Number of the beat.
        found: u64,
        /// Number of the beat before.
        before: u64,
    },
    /// What came is no executor's beat.
    #[error("what the executor sends is no heartbeat: {0}")]
    NoBeat(String),
}

/// Why it stays latched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StaysLatched {
    /// No executor beats.
    #[error("no executor sends heartbeats")]
    NoExecutor,
    /// The executor would carry out commands at once.
    #[error("the executor is not stopped; call its ~/estop first")]
    NotStopped,
}

/// The three states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// No executor to watch.
    Alone,
    /// All is well.
    Watching,
    /// The robot's safe state is commanded.
    Latched(Alarm),
}

/// The state machine; see the module.
#[derive(Debug, Clone)]
pub struct Supervision {
    timeout: Duration,
    watch: Watch,
    /// The last beat of the present connection.
    last: Option<Beat>,
    /// Alarms since the start.
    alarms: u64,
}

impl Supervision {
    /// A beat older than `timeout` is an alarm.
    pub fn new(timeout: Duration) -> Supervision {
        Supervision { timeout, watch: Watch::Alone, last: None, alarms: 0 }
    }

    /// Where it stands.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether the robot's safe state is to be commanded.
    pub fn must_stop(&self) -> bool {
        matches!(self.watch, Watch::Latched(_))
    }

    /// The last beat of the present connection.
    pub fn last(&self) -> Option<&Beat> {
        self.last.as_ref()
    }

    /// Alarms since the start.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    fn alarm(&mut self, alarm: Alarm) {
        // The first says why; what follows from it would only hide that.
        if !self.must_stop() {
            self.alarms += 1;
            self.watch = Watch::Latched(alarm);
        }
    }

    /// A beat arrived.
    pub fn beat(&mut self, beat: Result<Beat, BeatError>, now: Steady) {
        let beat = match beat {
            Ok(beat) if beat.role == Role::Executor => beat,
            Ok(_) => return self.alarm(Alarm::NoBeat("it is a supervisor's".into())),
            Err(error) => return self.alarm(Alarm::NoBeat(error.to_string())),
        };
        let before = self.last.replace(beat);
        if self.watch == Watch::Alone {
            self.watch = Watch::Watching;
        }
        let earlier = before.is_some_and(|before| beat.sent < before.sent);
        if earlier || beat.sent.since(now) > AHEAD {
            let before = before.map_or(beat.sent.0, |before| before.sent.0);
            self.alarm(Alarm::Time { sent: beat.sent.0, before, now: now.0 });
        }
        if let Some(before) = before
            && beat.sequence != before.sequence.wrapping_add(1)
        {
            self.alarm(Alarm::Sequence { found: beat.sequence, before: before.sequence });
        }
        if beat.pause > self.timeout {
            self.alarm(Alarm::Starved { pause: beat.pause, limit: self.timeout });
        }
    }

    /// The executor's end of the connection is closed.
    pub fn disconnected(&mut self) {
        match self.last.take() {
            Some(beat) if beat.status == Status::Leaving && !self.must_stop() => self.watch = Watch::Alone,
            Some(_) => self.alarm(Alarm::Gone),
            // Never beat, so never moved anything.
            None => {}
        }
    }

    /// To be called at least once in a period, after all beats that have arrived were handed in: a supervisor that did not
    /// run for a while then does not take its own pause for the executor's.
    pub fn check(&mut self, now: Steady) {
        if let Some(last) = self.last
            && last.status != Status::Leaving
        {
            let age = now.since(last.sent);
            if age > self.timeout {
                self.alarm(Alarm::Silent { age, limit: self.timeout });
            }
        }
    }

    /// Leaves the latch. Changes nothing unless latched.
    pub fn reset(&mut self, now: Steady) -> Result<(), StaysLatched> {
        if !self.must_stop() {
            return Ok(());
        }
        let beating = self.last.filter(|last| now.since(last.sent) <= self.timeout && last.status != Status::Leaving);
        match beating.ok_or(StaysLatched::NoExecutor)?.status {
            Status::Stopped => {
                self.watch = Watch::Watching;
                Ok(())
            }
            _ => Err(StaysLatched::NotStopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn beat(sequence: u64, ms: u64) -> Beat {
        Beat { role: Role::Executor, status: Status::Running, sequence, sent: at(ms), pause: Duration::from_millis(20) }
    }

    fn watching() -> Supervision {
        let mut supervision = Supervision::new(TIMEOUT);
        supervision.check(at(5_000));
        assert_eq!(supervision.watch(), &Watch::Alone, "nobody to miss");
        for i in 0..5 {
            supervision.beat(Ok(beat(i, 5_000 + i * 20)), at(5_000 + i * 20));
            supervision.check(at(5_000 + i * 20));
        }
        assert_eq!(supervision.watch(), &Watch::Watching);
        supervision
    }

    #[test]
    fn whatever_is_wrong_with_the_executor_latches_and_is_named() {
        type Step = fn(&mut Supervision);
        let cases: [(Step, &str); 9] = [
            (Supervision::disconnected, "is gone"),
            (|s| s.check(at(5_181)), "101ms old, and may be 100ms"),
            (
                |s| {
                    (100..120).for_each(|i| {
                        s.beat(Ok(beat(i - 95, 5_080)), at(5_080 + i));
                        s.check(at(5_080 + i))
                    })
                },
                "old, and may be",
            ),
            (|s| s.beat(Ok(beat(5, 5_070)), at(5_100)), "clock is wrong"),
            (|s| s.beat(Ok(beat(5, 5_200)), at(5_100)), "clock is wrong"),
            (|s| s.beat(Ok(beat(4, 5_100)), at(5_100)), "number 4 after 4"),
            (|s| s.beat(Ok(beat(7, 5_100)), at(5_100)), "number 7 after 4"),
            (
                |s| s.beat(Ok(Beat { pause: Duration::from_millis(101), ..beat(5, 5_100) }), at(5_100)),
                "paused for 101ms",
            ),
            (|s| s.beat(Ok(Beat { role: Role::Supervisor, ..beat(5, 5_100) }), at(5_100)), "supervisor's"),
        ];
        for (step, words) in cases {
            let mut supervision = watching();
            step(&mut supervision);
            let Watch::Latched(alarm) = supervision.watch().clone() else { panic!("{words}: not latched") };
            assert!(alarm.to_string().contains(words), "'{alarm}' does not say '{words}'");
            // It stays, and says why it came first, whatever comes then.
            supervision.beat(Ok(beat(50, 6_000)), at(6_000));
            supervision.disconnected();
            assert_eq!(supervision.watch(), &Watch::Latched(alarm));
            assert_eq!(supervision.alarms(), 1);
        }
    }

    #[test]
    fn a_beat_up_to_the_timeout_is_in_time_also_when_the_supervisor_itself_was_late() {
        let mut supervision = watching();
        supervision.check(at(5_180));
        assert_eq!(supervision.watch(), &Watch::Watching);
        for i in 5..200 {
            supervision.beat(Ok(beat(i, 5_000 + i * 20)), at(8_990));
        }
        supervision.check(at(8_990));
        assert_eq!(supervision.watch(), &Watch::Watching);
    }

    #[test]
    fn an_executor_that_leaves_in_good_order_is_not_missed() {
        let mut supervision = watching();
        supervision.beat(Ok(Beat { status: Status::Leaving, ..beat(5, 5_100) }), at(5_100));
        supervision.check(at(9_000));
        supervision.disconnected();
        assert_eq!((supervision.watch(), supervision.must_stop()), (&Watch::Alone, false));
    }

    #[test]
    fn the_latch_is_left_only_with_an_executor_that_beats_and_is_stopped() {
        let mut supervision = watching();
        assert_eq!(supervision.reset(at(5_090)), Ok(()), "nothing to leave");
        supervision.disconnected();
        assert_eq!(supervision.reset(at(6_000)), Err(StaysLatched::NoExecutor));
        supervision.beat(Ok(beat(0, 6_000)), at(6_000));
        assert_eq!(supervision.reset(at(6_010)), Err(StaysLatched::NotStopped));
        supervision.beat(Ok(Beat { status: Status::Stopped, ..beat(1, 6_020) }), at(6_020));
        assert_eq!(supervision.reset(at(6_121)), Err(StaysLatched::NoExecutor), "silent again");
        assert_eq!(supervision.reset(at(6_030)), Ok(()));
        assert_eq!(supervision.watch(), &Watch::Watching);
    }
}
