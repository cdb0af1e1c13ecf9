//! The executor as one state machine: gate, latched stop, the action that has the robot, journal and actuator.
//!
//! Every call is short and waits for no disk. Motion is recorded before the actuator gets it; a stop and any other zero
//! goes to the actuator first and is recorded after. Discrete requests are in the kernel when a call returns; they are to
//! be answered "accepted" once [`ecps_journal::Durability`] has their sequence on disk, and an action starts only then.
//! Nothing resumes by itself: not after a stop, not after silence, not after a stale state.

mod answers;
mod goals;
mod records;

use std::collections::VecDeque;
use std::time::Duration;

use ecps_core::check;
use ecps_core::clock::Steady;
use ecps_core::limits::NAME_BYTES;
use ecps_journal::Direction;
use ecps_journal::record::{self, Motion};

pub use answers::{Mode, ResetError, ResetOutcome, SetLimitsError, Snapshot};
pub use goals::ACTION_SOURCE;
pub use records::WATCH_SOURCE;

use self::records::moment;
use crate::action::ErrorCode;
use crate::drive::DriveConfig;
use crate::gate::{ConfigError, Gate, GateConfig, Verdict};
use crate::goal::{Finished, Goal};
use crate::ledger::Ledger;
use crate::motion::{Limits, Now, Request, Velocity, VelocityCommand};
use crate::reason::Refusal;
use crate::state::{MeasuredState, StateError};
use crate::stop::{Stop, StopCause, Tripped};
use crate::ticket::{Actuator, Record};

/// Most measured states that are kept to recognise an action's `state_sha`.
const HISTORY: usize = 1024;

/// Parameters of the executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Of the gate.
    pub gate: GateConfig,
    /// Of the driver.
    pub drive: DriveConfig,
    /// Frame of odometry, targets and workspace; 1 to 256 bytes.
    pub frame: String,
    /// Greatest age of the state that an action names by its `state_sha`; 0.1 to 3600 s. At most the last 1024 states
    /// are recognised.
    pub state_lifetime: Duration,
}

/// The executor. Dropping it puts the actuator in its safe state.
#[derive(Debug)]
pub struct Executive<R: Record, A: Actuator> {
    config: Config,
    gate: Gate,
    journal: R,
    actuator: A,
    goal: Option<Goal>,
    finished: VecDeque<Finished>,
    ledger: Ledger,
    history: VecDeque<(Steady, MeasuredState)>,
    /// The motion record being made; kept, so that none is allocated per command.
    motion: Motion,
}

impl<R: Record, A: Actuator> Drop for Executive<R, A> {
    fn drop(&mut self) {
        // Nobody is left to tell of a failure; the robot's own command timeout and the supervisor remain.
        let _ = self.actuator.halt();
    }
}

impl<R: Record, A: Actuator> Executive<R, A> {
    /// An executor at rest. The actuator gets a zero at once, so that what cannot be halted never starts.
    pub fn new(config: Config, journal: R, actuator: A, now: Now) -> Result<Self, ConfigError> {
        config.drive.check()?;
        check::name("frame", &config.frame, NAME_BYTES)?;
        check::in_range("state_lifetime", config.state_lifetime.as_secs_f64(), 0.1, 3600.0)?;
        let mut executive = Executive {
            gate: Gate::new(config.gate.clone())?,
            config,
            journal,
            actuator,
            goal: None,
            finished: VecDeque::new(),
            ledger: Ledger::default(),
            history: VecDeque::with_capacity(HISTORY),
            motion: Motion::default(),
        };
        executive.halt(now);
        Ok(executive)
    }

    /// A velocity command arrived.
    pub fn on_velocity(&mut self, command: &VelocityCommand<'_>, now: Now) -> Verdict {
        let verdict = match (self.gate.admit(command, now), &self.goal) {
            (Verdict::Admit(_) | Verdict::Limit { .. }, Some(goal)) => {
                Verdict::Refuse(Refusal::GoalActive { id: goal.action.id.clone() })
            }
            (verdict, _) => verdict,
        };
        self.carry_out(command, verdict, [0; 16], now)
    }

    /// Odometry arrived, measured in `frame`.
    pub fn on_state(&mut self, frame: &str, state: MeasuredState, now: Now) -> Result<(), StateError> {
        if frame != self.config.frame {
            let found = frame.chars().take(64).collect();
            return Err(StateError::Frame { found, expected: self.config.frame.clone() });
        }
        state.check()?;
        self.gate.measured(state, now.steady);
        while self.history.len() >= HISTORY
            || self.history.front().is_some_and(|(at, _)| now.steady.since(*at) > self.config.state_lifetime)
        {
            self.history.pop_front();
        }
        self.history.push_back((now.steady, state));
        Ok(())
    }

    /// Stops: zero to the actuator, then the latch, then the record. Only [`Executive::reset`] leaves it.
    pub fn stop(&mut self, cause: StopCause, detail: &str, now: Now) {
        self.trip(cause, detail, now);
        if cause == StopCause::Shutdown {
            self.record_refusals(now, true);
        }
    }

    /// Leaves the stop, if its cause is gone: the state is fresh where it is needed, the actuator takes a zero, and the
    /// journal a record.
    pub fn reset(&mut self, request: Request<'_>, now: Now) -> Result<ResetOutcome, ResetError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        if self.gate.latch().first().is_none() {
            return Ok(ResetOutcome::WasRunning);
        }
        if let Some(stop) = self.gate.latch().lasting() {
            return Err(ResetError::CausePresent(stop.to_string()));
        }
        if self.gate.needs_state() && self.gate.fresh_state(now.steady).is_none() {
            return Err(ResetError::CausePresent(self.gate.state_stale().to_string()));
        }
        if let Some(fault) = self.journal.fault() {
            return Err(ResetError::CausePresent(format!("the journal does not reach the disk: {fault}")));
        }
        self.actuator.halt().map_err(|e| ResetError::CausePresent(format!("the actuator takes no zero: {e}")))?;
        self.gate.applied(Velocity::ZERO, now.steady);
        let payload = record::Reset { caller: request.caller.into() };
        let moment = moment(now, Direction::Inbound, request.trace);
        let sequence = self.note(moment, &payload, now).map_err(ResetError::Journal)?;
        self.gate.latch_mut().reset().map_err(|stop: Stop| ResetError::CausePresent(stop.to_string()))?;
        Ok(ResetOutcome::Left(sequence))
    }

    /// Sets the limits, at most to those of the parameters; the record's sequence.
    pub fn set_limits(&mut self, request: Request<'_>, limits: Limits, now: Now) -> Result<u64, SetLimitsError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        limits.check_within(&self.config.gate.ceiling)?;
        let payload = record::LimitsChanged {
            caller: request.caller.into(),
            before: Some(self.gate.limits().to_record()),
            after: Some(limits.to_record()),
        };
        let moment = moment(now, Direction::Inbound, request.trace);
        let sequence = self.note(moment, &payload, now).map_err(SetLimitsError::Journal)?;
        self.gate.set_limits(limits);
        Ok(sequence)
    }

    /// One period of the control loop: watches silence, state, workspace and journal, and drives the action on. While a
    /// stop is latched each call repeats the zero, since a topic may lose one.
    pub fn tick(&mut self, now: Now) {
        if !self.gate.latch().has(StopCause::Journal)
            && let Some(fault) = self.journal.fault()
        {
            self.trip(StopCause::Journal, &fault, now);
        }
        self.record_refusals(now, false);
        if self.gate.latch().first().is_some() {
            self.halt(now);
        } else if self.goal.is_some() {
            self.drive(now);
        } else if let Some(reason) = self.gate.watch(now.steady) {
            self.halt(now);
            self.ledger.count(reason);
            self.note_halt(reason, now);
        }
    }

    /// What the executor is doing.
    pub fn mode(&self) -> Mode {
        if self.gate.latch().first().is_some() {
            Mode::Stopped
        } else if self.goal.is_some() || !self.gate.output().is_zero() {
            Mode::Active
        } else {
            Mode::Idle
        }
    }

    /// All that there is to tell.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            mode: self.mode(),
            stop_cause: self.gate.latch().first().map(ToString::to_string).unwrap_or_default(),
            admitted: self.ledger.admitted,
            limited: self.ledger.limited,
            refused: self.ledger.refused,
            reasons: self.ledger.reasons(),
            last_refusal: self.ledger.last_refusal().into(),
            journal_sequence: self.journal.sequence(),
            limits: *self.gate.limits(),
        }
    }

    /// What the actuator was last given.
    pub fn output(&self) -> Velocity {
        self.gate.output()
    }

    /// Zero to the actuator, without a latch.
    fn halt(&mut self, now: Now) {
        let result = self.actuator.halt();
        self.gate.applied(Velocity::ZERO, now.steady);
        if let Err(error) = result {
            self.latch(StopCause::Actuator, &error.to_string(), now);
        }
    }

    /// Zero to the actuator, then the latch.
    fn trip(&mut self, cause: StopCause, detail: &str, now: Now) {
        self.halt(now);
        self.latch(cause, detail, now);
    }

    /// Latches, ends the action and records it. Recursion ends, since each cause is new only once.
    fn latch(&mut self, cause: StopCause, detail: &str, now: Now) {
        if self.gate.latch_mut().trip(cause, detail) == Tripped::Again {
            return;
        }
        let (code, text) = match cause {
            StopCause::Journal => (ErrorCode::Journal, format!("the journal could not be written: {detail}")),
            _ => (ErrorCode::Stopped, format!("a protective stop came while executing ({}: {detail})", cause.name())),
        };
        self.end_goal(code, text, now);
        let payload = record::Stop { cause: cause.name().into(), detail: detail.chars().take(256).collect() };
        let _ = self.note(moment(now, Direction::Internal, [0; 16]), &payload, now);
    }
}
