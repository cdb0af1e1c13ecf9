//! A journal told again in its own time: what was asked for, what was applied, what was refused and why. Shows; moves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Steady;
use ecps_journal::record::{Entry, Motion, PlanarVelocity, Verdict};

use crate::motion::Velocity;
use crate::state::{PlanarPose, wrap};

/// No command holds for longer than this without another: the executor's watchdog sees to that.
const HOLDS: Duration = Duration::from_secs(1);
/// A silence longer than this is told as this long: nobody watches a robot stand through a night.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// What was written at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where the robot was, as [`Playback::pose`] says.
    pub pose: PlanarPose,
    /// What happened.
    pub what: What,
    /// In words.
    pub text: String,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A command or an action was refused.
    Refused,
    /// A protective stop was latched.
    Stopped,
    /// The stop was left.
    Reset,
    /// An action was accepted, or ended.
    Action,
}

/// What the gate was, as far as its records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing was commanded.
    #[default]
    Idle,
    /// A command was applied.
    Active,
    /// A protective stop was latched.
    Stopped,
    /// Nobody had enabled.
    Disarmed,
}

/// Where a journal's story has come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Playback {
    /// Dead reckoning by the velocities that were applied, from where the journal begins: it says what was commanded, and not
    /// where the robot went.
    pub pose: PlanarPose,
    /// Velocity asked for last.
    pub requested: Velocity,
    /// Velocity applied last.
    pub applied: Velocity,
    /// Source of the last motion that passed.
    pub source: String,
    /// What the gate was.
    pub mode: Mode,
    /// Why it was stopped; empty unless it was.
    pub stop_cause: String,
    /// Commands that passed unchanged, lowered, and not at all.
    pub admitted: u64,
    /// See `admitted`.
    pub limited: u64,
    /// See `admitted`.
    pub refused: u64,
    /// Limits and refusals by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Reason of the last refusal.
    pub last_refusal: String,
    /// Sequence of the last record.
    pub sequence: u64,
    /// Session of the last record, its steady time, and the journal's own time, which goes on from one session to the next.
    last: Option<([u8; 16], Steady)>,
    time: Duration,
    /// For how long the applied velocity still counts.
    holds: Duration,
}

fn velocity(planar: Option<&PlanarVelocity>) -> Velocity {
    // What is in a journal need not be finite, and RViz cannot draw what is not.
    let number = |value: f64| if value.is_finite() { value } else { 0.0 };
    planar.map_or(Velocity::ZERO, |v| Velocity { x: number(v.x), y: number(v.y), yaw: number(v.yaw) })
}

impl Playback {
    /// When a record of `session` made at `steady` is due, from the journal's beginning on.
    pub fn due(&self, session: [u8; 16], steady: Steady) -> Duration {
        match self.last {
            Some((before, at)) if before == session => self.time + steady.since(at).min(LONGEST_SILENCE),
            _ => self.time,
        }
    }

    /// Takes a record in, and moves the robot up to its time.
    pub fn take(&mut self, session: [u8; 16], steady: Steady, sequence: u64, entry: &Entry) -> Option<Event> {
        let due = self.due(session, steady);
        self.advance(due.saturating_sub(self.time));
        (self.time, self.last, self.sequence) = (due, Some((session, steady)), sequence);
        let event = |what, text: String| Some(Event { pose: self.pose, what, text });
        match entry {
            Entry::Motion(motion) => self.motion(motion),
            Entry::Refusals(more) => {
                self.refused += more.count;
                *self.reasons.entry(more.reason.clone()).or_default() += more.count;
                None
            }
            Entry::Action(action) if action.verdict() == Verdict::Refused => {
                event(What::Refused, format!("action refused: {}", action.error_msg))
            }
            Entry::Action(action) => event(What::Action, format!("action {sequence} of {}", action.caller)),
            Entry::Outcome(outcome) => {
                let how = if outcome.error_code == 0 { "succeeded" } else { outcome.error_msg.as_str() };
                event(What::Action, format!("action {} {how}", outcome.action_sequence))
            }
            Entry::Stop(stop) => {
                let event = event(What::Stopped, format!("stopped: {} {}", stop.cause, stop.detail));
                (self.mode, self.applied) = (Mode::Stopped, Velocity::ZERO);
                self.stop_cause.clone_from(&stop.cause);
                event
            }
            Entry::Reset(reset) => {
                let event = event(What::Reset, format!("reset by {}", reset.caller));
                self.mode = Mode::Idle;
                self.stop_cause.clear();
                event
            }
            Entry::Arming(arming) if self.mode != Mode::Stopped => {
                self.mode = if arming.armed { Mode::Idle } else { Mode::Disarmed };
                None
            }
            Entry::Simulation(simulation) => {
                let (x, y, yaw) = (simulation.start_x, simulation.start_y, simulation.start_yaw);
                if [x, y, yaw].iter().all(|value| value.is_finite()) {
                    self.pose = PlanarPose { x, y, yaw };
                }
                None
            }
            _ => None,
        }
    }

    fn motion(&mut self, motion: &Motion) -> Option<Event> {
        if motion.raw.is_some() {
            self.requested = velocity(motion.raw.as_ref());
        }
        if !motion.reason.is_empty() && motion.verdict() != Verdict::Halted {
            *self.reasons.entry(motion.reason.clone()).or_default() += 1;
        }
        match motion.verdict() {
            Verdict::Refused => {
                self.refused += 1;
                self.last_refusal.clone_from(&motion.reason);
                let text = format!("refused: {}", motion.reason);
                return Some(Event { pose: self.pose, what: What::Refused, text });
            }
            Verdict::Admitted => self.admitted += 1,
            Verdict::Limited => self.limited += 1,
            Verdict::Halted | Verdict::Unspecified => {}
        }
        self.applied = velocity(motion.applied.as_ref());
        self.source.clone_from(&motion.source);
        self.holds = HOLDS;
        if matches!(self.mode, Mode::Idle | Mode::Active) {
            self.mode = if self.applied.is_zero() { Mode::Idle } else { Mode::Active };
        }
        None
    }

    fn advance(&mut self, time: Duration) {
        let moving = time.min(self.holds).as_secs_f64();
        self.holds = self.holds.saturating_sub(time);
        let Velocity { x, y, yaw } = self.applied;
        // By the heading in the middle, which is exact to the second order.
        let (sin, cos) = (self.pose.yaw + yaw * moving / 2.0).sin_cos();
        self.pose.x += (x * cos - y * sin) * moving;
        self.pose.y += (x * sin + y * cos) * moving;
        self.pose.yaw = wrap(self.pose.yaw + yaw * moving);
    }
}

#[cfg(test)]
mod tests {
    use ecps_journal::record::{Refusals, Stop};

    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn motion(x: f64, yaw: f64, verdict: Verdict, reason: &str) -> Entry {
        let speed = Some(PlanarVelocity { x, y: 0.0, yaw });
        let mut motion = Motion { source: "cmd_vel_in".into(), raw: speed, reason: reason.into(), ..Motion::default() };
        motion.applied = speed.filter(|_| verdict != Verdict::Refused);
        motion.set_verdict(verdict);
        Entry::Motion(motion)
    }

    #[test]
    fn the_path_is_that_of_the_velocities_that_were_applied() {
        let mut playback = Playback::default();
        for n in 0..100 {
            playback.take([1; 16], at(1000 + n * 20), n + 1, &motion(0.5, 0.0, Verdict::Admitted, ""));
            playback.take([1; 16], at(1000 + n * 20), n + 1, &motion(9.0, 0.0, Verdict::Refused, "unreasonable"));
        }
        assert!((playback.pose.x - 0.99).abs() < 1e-9, "{playback:?}");
        assert_eq!((playback.admitted, playback.refused, playback.reasons["unreasonable"]), (100, 100, 100));
        assert_eq!((playback.mode, playback.requested.x, playback.applied.x), (Mode::Active, 9.0, 0.5));
        let more = Entry::Refusals(Refusals { reason: "unreasonable".into(), count: 7 });
        playback.take([1; 16], at(2980), 101, &more);
        let stop = Entry::Stop(Stop { cause: "requested".into(), detail: "operator".into() });
        let event = playback.take([1; 16], at(3000), 102, &stop).unwrap();
        assert_eq!((event.what, event.text.as_str()), (What::Stopped, "stopped: requested operator"));
        playback.take([1; 16], at(9000), 103, &more);
        assert!((playback.pose.x - 1.0).abs() < 1e-9, "what is stopped stays: {playback:?}");
        assert_eq!((playback.mode, playback.refused), (Mode::Stopped, 114));
    }

    #[test]
    fn time_goes_on_over_sessions_and_a_long_silence_is_told_as_a_short_one() {
        let mut playback = Playback::default();
        playback.take([1; 16], at(90_000), 1, &motion(0.5, 0.0, Verdict::Admitted, ""));
        assert_eq!(playback.due([1; 16], at(90_500)), Duration::from_millis(500));
        assert_eq!(playback.due([2; 16], at(3)), Duration::ZERO);
        assert_eq!(playback.due([1; 16], at(1_000_000)), LONGEST_SILENCE);
        // The command holds for a second at most.
        playback.take([1; 16], at(1_000_000), 2, &motion(f64::NAN, 0.0, Verdict::Admitted, ""));
        assert!((playback.pose.x - 0.5).abs() < 1e-9 && playback.applied.is_zero());
    }
}
