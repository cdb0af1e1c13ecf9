//! The executor as one state machine: gate, latched stop, the action that has the robot, journal and actuator.
//!
//! Every call is short and waits for no disk. Motion is recorded before the actuator gets it; a stop and any other halt
//! goes to the actuator first and is recorded after. Discrete requests are in the kernel when a call returns; they are to
//! be answered "accepted" once [`ecps_journal::Durability`] has their sequence on disk, and an action starts only then.
//! Nothing resumes by itself: not after a stop, not after silence, not after a stale state, and not after this process
//! itself did not run for a while.

mod answers;
mod errands;
mod goals;
mod joints;
mod manipulate;
mod policy;
mod records;

use std::collections::VecDeque;
use std::time::Duration;

use ecps_core::check;
use ecps_core::clock::{Stamp, Steady};
use ecps_core::limits::NAME_BYTES;
use ecps_journal::Direction;
use ecps_journal::record::{self, Motion};

pub use answers::{ArmError, Mode, PolicyError, ResetError, ResetOutcome, Snapshot};
pub use records::WATCH_SOURCE;

use self::records::moment;
use crate::action::ErrorCode;
use crate::arming::{ArmingState, Tripped};
use crate::drive::DriveConfig;
use crate::errand::{ErrandEvent, Errands};
use crate::gate::{ACTION_SOURCE, ConfigError, Gate, GateConfig, Verdict};
use crate::goal::{Finished, Goal};
use crate::joint::limbs::Limbs;
use crate::ledger::Ledger;
use crate::motion::{Now, Request, Velocity, VelocityCommand};
use crate::obstacle::{Scan, ScanError};
use crate::queue::Queue;
use crate::reason::{Reason, Refusal};
use crate::state::{MeasuredState, PlanarPose, StateError};
use crate::stop::StopCause;
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
    /// Time without a call of [`Executive::tick`] after which this process has overslept; 0.02 to 1 s. The same as the
    /// supervisor's, so that the two never argue.
    pub heartbeat_timeout: Duration,
    /// Most actions that wait; 1 to 10,000.
    pub queue_capacity: usize,
    /// What others are there for.
    pub errands: Errands,
}

/// The executor. Dropping it puts the actuators in their safe states.
#[derive(Debug)]
pub struct Executive<R: Record, A: Actuator> {
    config: Config,
    gate: Gate,
    journal: R,
    actuator: A,
    joints: Limbs,
    /// The action that has the robot.
    goal: Option<Goal>,
    queue: Queue,
    /// When [`Executive::tick`] last ran.
    ticked: Option<Steady>,
    finished: VecDeque<Finished>,
    errands: VecDeque<ErrandEvent>,
    ledger: Ledger,
    history: VecDeque<(Steady, MeasuredState)>,
    /// Whether commands on topics, which carry no token, are refused.
    tokens: bool,
    /// The motion record being made; kept, so that none is allocated per command.
    motion: Motion,
}

impl<R: Record, A: Actuator> Drop for Executive<R, A> {
    fn drop(&mut self) {
        // Nobody is left to tell of a failure; the robot's own command timeout and the supervisor remain.
        let _ = self.actuator.halt();
        self.joints.rest_at_last();
    }
}

impl<R: Record, A: Actuator> Executive<R, A> {
    /// An executor at rest and disarmed. The actuator gets its safe state at once, so that what cannot be halted never starts.
    pub fn new(config: Config, journal: R, actuator: A, now: Now) -> Result<Self, ConfigError> {
        config.drive.check()?;
        check::name("frame", &config.frame, NAME_BYTES)?;
        check::in_range("state_lifetime", config.state_lifetime.as_secs_f64(), 0.1, 3600.0)?;
        check::in_range("heartbeat_timeout", config.heartbeat_timeout.as_secs_f64(), 0.02, 1.0)?;
        check::in_range("queue_capacity", config.queue_capacity as f64, 1.0, 10_000.0)?;
        let mut executive = Executive {
            gate: Gate::new(config.gate.clone())?,
            journal,
            actuator,
            joints: Limbs::none(),
            goal: None,
            queue: Queue::new(config.queue_capacity),
            ticked: None,
            finished: VecDeque::new(),
            errands: VecDeque::new(),
            ledger: Ledger::default(),
            history: VecDeque::with_capacity(HISTORY),
            tokens: false,
            motion: Motion::default(),
            config,
        };
        executive.halt(now);
        Ok(executive)
    }

    /// From now on commands on topics are refused, since they carry no token; actions are admitted by whoever calls this.
    pub fn require_tokens(&mut self) {
        self.tokens = true;
    }

    /// A velocity command arrived. One of a source that outranks actions ends the action under way.
    pub fn on_velocity(&mut self, command: &VelocityCommand<'_>, now: Now) -> Verdict {
        self.awake(now);
        if self.tokens {
            let topic = command.source.chars().take(NAME_BYTES).collect();
            return self.carry_out(command, Verdict::Refuse(Refusal::NoToken { topic }), [0; 16], now);
        }
        let mut verdict = self.gate.admit(command, now);
        let sound = match &verdict {
            Verdict::Refuse(refusal) => refusal.reason() == Reason::Outranked,
            _ => true,
        };
        if sound && let Some(goal) = self.goal.as_ref().filter(|goal| goal.moves_base()) {
            let sources = self.gate.sources();
            let (mine, actions) = (sources.find(command.source), sources.find(ACTION_SOURCE));
            if self.is_planner(command.source) {
                // What a planner drives for the action, at most as fast as the action says.
                let limits = *self.gate.limits();
                self.gate.set_limits(goal.limits(&limits));
                verdict = self.gate.admit(command, now);
                self.gate.set_limits(limits);
            } else if mine.zip(actions).is_some_and(|(mine, actions)| sources.outranks(mine, actions)) {
                let text = format!("source '{}' has a higher priority and took over", command.source);
                self.still(now);
                self.end_goal(ErrorCode::Preempted, text, now);
                verdict = self.gate.admit(command, now);
            } else {
                verdict = Verdict::Refuse(Refusal::GoalActive { id: goal.action.id.clone() });
            }
        }
        self.carry_out(command, verdict, [0; 16], now)
    }

    /// Odometry arrived, measured in `frame`. Returns the state with the gripper, where it is measured.
    pub fn on_state(&mut self, frame: &str, state: MeasuredState, now: Now) -> Result<MeasuredState, StateError> {
        if frame != self.config.frame {
            let found = frame.chars().take(64).collect();
            return Err(StateError::Frame { found, expected: self.config.frame.clone() });
        }
        state.check()?;
        if !state.stamp.is_zero() && self.gate.last_state().is_some_and(|last| last.stamp == state.stamp) {
            return Err(StateError::Repeated { stamp_ns: state.stamp.0 });
        }
        let state = MeasuredState { gripper: self.joints.opening(now.steady), ..state };
        self.gate.measured(state, now.steady);
        while self.history.len() >= HISTORY
            || self.history.front().is_some_and(|(at, _)| now.steady.since(*at) > self.config.state_lifetime)
        {
            self.history.pop_front();
        }
        self.history.push_back((now.steady, state));
        Ok(state)
    }

    /// A scan arrived, taken at `stamp` by a scanner at `mount` on the robot; its place is where odometry says the robot was
    /// then.
    pub fn on_scan(&mut self, scan: &Scan<'_>, mount: PlanarPose, stamp: Stamp, now: Now) -> Result<(), ScanError> {
        let apart = |state: &MeasuredState| state.stamp.nanos_since(stamp).unsigned_abs();
        let nearest = self.history.iter().rev().map(|(_, state)| state).min_by_key(|state| apart(state));
        let pose = nearest.ok_or(ScanError::Placeless)?.pose;
        self.gate.scanned(scan, pose, mount, now.steady)
    }

    /// Stops: the safe state to the actuator, then the latch, then the record. Only [`Executive::reset`] leaves it.
    pub fn stop(&mut self, cause: StopCause, detail: &str, now: Now) {
        self.trip(cause, detail, now);
        if cause == StopCause::Shutdown {
            self.record_refusals(now, true);
        }
    }

    /// Tells whether a cause that comes and goes is there. One that comes stops, once; one that is there keeps a stop
    /// from being left.
    pub fn set_present(&mut self, cause: StopCause, present: bool, detail: &str, now: Now) {
        let before = self.gate.arming().is_present(cause);
        self.gate.arming_mut().set_present(cause, present);
        if present && (!before || !self.gate.arming().has(cause)) {
            self.trip(cause, detail, now);
        }
    }

    /// Arms the gate; while a stop is latched, lets a reset follow. The record's sequence.
    pub fn enable(&mut self, request: Request<'_>, now: Now) -> Result<u64, ArmError> {
        self.record_arming(request, true, now)?;
        self.gate.arming_mut().enable(now.steady);
        Ok(self.journal.sequence())
    }

    /// Disarms the gate: the safe state to the actuator, actions ended, and nothing moves until somebody enables.
    pub fn disable(&mut self, request: Request<'_>, now: Now) -> Result<u64, ArmError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        self.halt(now);
        self.rest_joints(now);
        self.gate.arming_mut().disable();
        self.end_all(ErrorCode::NotArmed, "the gate was disarmed", now);
        self.record_arming(request, false, now)?;
        Ok(self.journal.sequence())
    }

    fn record_arming(&mut self, request: Request<'_>, armed: bool, now: Now) -> Result<(), ArmError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        let payload = record::Arming { caller: request.caller.into(), armed };
        let moment = moment(now, Direction::Inbound, request.trace);
        self.note(moment, &payload, now).map(drop).map_err(ArmError::Journal)
    }

    /// Leaves the stop: every cause is gone, somebody has enabled since, the state is fresh where it is needed, the
    /// actuator takes its safe state, and the journal a record.
    pub fn reset(&mut self, request: Request<'_>, now: Now) -> Result<ResetOutcome, ResetError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        self.awake(now);
        if self.gate.arming().first().is_none() {
            return Ok(ResetOutcome::WasRunning);
        }
        self.gate.arming().check_reset(now.steady)?;
        if self.gate.needs_state() && self.gate.fresh_state(now.steady).is_none() {
            return Err(ResetError::CausePresent(self.gate.state_stale().to_string()));
        }
        if let Some(fault) = self.journal.fault() {
            return Err(ResetError::CausePresent(format!("the journal does not reach the disk: {fault}")));
        }
        self.actuator
            .halt()
            .map_err(|e| ResetError::CausePresent(format!("the actuator does not take its safe state: {e}")))?;
        self.gate.halted(now.steady);
        // Where the joints are now, which may not be where they were stopped.
        self.joints.forget_rest();
        self.joints
            .rest_all(now.steady)
            .map_err(|e| ResetError::CausePresent(format!("an actuator does not take its safe state: {e}")))?;
        let payload = record::Reset { caller: request.caller.into() };
        let moment = moment(now, Direction::Inbound, request.trace);
        let sequence = self.note(moment, &payload, now).map_err(ResetError::Journal)?;
        self.gate.arming_mut().reset(now.steady)?;
        Ok(ResetOutcome::Left(sequence))
    }

    /// Where the robot may go, and how near to an obstacle.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// One period of the control loop: watches silence, state, zones, obstacles and journal, and drives the action on.
    /// While a stop is latched each call repeats the safe state, since a topic may lose one.
    pub fn tick(&mut self, now: Now) {
        self.awake(now);
        self.ticked = Some(now.steady);
        if !self.gate.arming().has(StopCause::Journal)
            && let Some(fault) = self.journal.fault()
        {
            self.trip(StopCause::Journal, &fault, now);
        }
        self.record_refusals(now, false);
        match self.gate.arming().state() {
            ArmingState::Stopped => {
                self.halt(now);
                return self.rest_joints(now);
            }
            ArmingState::Armed => self.joints.forget_rest(),
            ArmingState::Disarmed => {}
        }
        self.advance(now);
        let driving = self.is_driving();
        self.step_goal(now);
        if !driving && let Some(reason) = self.gate.watch(now.steady) {
            self.halt(now);
            self.ledger.count(reason);
            self.note_halt(reason, now);
        }
        self.watch_joints(now);
    }

    /// Stops if this process did not run for too long: what it was about to do was decided in another time.
    fn awake(&mut self, now: Now) {
        self.joints.clock(now.steady);
        let Some(ticked) = self.ticked else { return };
        let (slept, limit) = (now.steady.since(ticked), self.config.heartbeat_timeout);
        if slept > limit {
            // Once for each time it slept, also where no tick follows.
            self.ticked = Some(now.steady);
            let refusal = Refusal::Overslept { slept_ms: slept.as_millis(), limit_ms: limit.as_millis() };
            self.ledger.count(Reason::Overslept);
            self.trip(StopCause::Overslept, &refusal.to_string(), now);
        }
    }

    /// What the executor is doing.
    pub fn mode(&self) -> Mode {
        match self.gate.arming().state() {
            ArmingState::Stopped => Mode::Stopped,
            ArmingState::Disarmed => Mode::Disarmed,
            ArmingState::Armed if self.goal.is_some() || !self.gate.output().is_zero() || self.joints.are_moving() => {
                Mode::Active
            }
            ArmingState::Armed => Mode::Idle,
        }
    }

    /// All that there is to tell.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot {
            mode: self.mode(),
            stop_cause: self.gate.arming().first().map(ToString::to_string).unwrap_or_default(),
            admitted: self.ledger.admitted,
            limited: self.ledger.limited,
            refused: self.ledger.refused,
            reasons: self.ledger.reasons(),
            last_refusal: self.ledger.last_refusal().into(),
            journal_sequence: self.journal.sequence(),
            limits: *self.gate.limits(),
            source: self
                .gate
                .sources()
                .driving(now.steady)
                .or_else(|| self.joints.driving(now.steady))
                .unwrap_or_default()
                .into(),
            queued: self.queue.len(),
            queue_capacity: self.config.queue_capacity,
        }
    }

    /// What the actuator was last given.
    pub fn output(&self) -> Velocity {
        self.gate.output()
    }

    /// The safe state to the actuator, without a latch.
    fn halt(&mut self, now: Now) {
        let result = self.actuator.halt();
        self.gate.halted(now.steady);
        if let Err(error) = result {
            self.latch(StopCause::Actuator, &error.to_string(), now);
        }
    }

    /// The safe states to the actuators, then the latch.
    fn trip(&mut self, cause: StopCause, detail: &str, now: Now) {
        self.halt(now);
        self.rest_joints(now);
        self.latch(cause, detail, now);
    }

    /// Latches, ends all actions and records it. Recursion ends, since each cause is new only once.
    fn latch(&mut self, cause: StopCause, detail: &str, now: Now) {
        if self.gate.arming_mut().trip(cause, detail) == Tripped::Again {
            return;
        }
        let (code, text) = match cause {
            StopCause::Journal => (ErrorCode::Journal, format!("the journal could not be written: {detail}")),
            _ => (ErrorCode::Stopped, format!("a protective stop came while executing ({}: {detail})", cause.name())),
        };
        self.end_all(code, &text, now);
        let payload = record::Stop { cause: cause.name().into(), detail: detail.chars().take(256).collect() };
        let _ = self.note(moment(now, Direction::Internal, [0; 16]), &payload, now);
    }
}
