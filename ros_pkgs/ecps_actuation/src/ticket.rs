//! What may move an actuator: a velocity whose record is written. There is no other way to make a [`Journaled`] velocity
//! than to append its record, so nothing moves unrecorded, by type.

use ecps_core::clock::Steady;
use ecps_journal::record::{JointMotion, Motion, Payload};
use ecps_journal::{AppendError, Durable, Journal, Moment};
use thiserror::Error;

use crate::joint::Trajectory;
use crate::motion::Velocity;
use crate::stop::StopCategory;

/// Where records go.
pub trait Record {
    /// Writes one record, so that it survives the end of the process, and returns its sequence.
    fn append<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<u64, AppendError>;
    /// Where a record stands on its way to the disk.
    fn durable(&self, sequence: u64) -> Durable;
    /// Why records do not reach the disk at present; none while they do.
    fn fault(&self) -> Option<String>;
    /// Sequence of the last record.
    fn sequence(&self) -> u64;
}

impl Record for Journal {
    fn append<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<u64, AppendError> {
        Journal::append(self, moment, payload)
    }

    fn durable(&self, sequence: u64) -> Durable {
        self.durability().of(sequence)
    }

    fn fault(&self) -> Option<String> {
        self.durability().fault()
    }

    fn sequence(&self) -> u64 {
        Journal::sequence(self)
    }
}

/// Something whose record is written. Can be used once.
#[derive(Debug, PartialEq)]
#[must_use = "a recorded command that is not carried out makes the journal lie"]
pub struct Journaled<T> {
    value: T,
    sequence: u64,
    decided: Steady,
}

impl<T> Journaled<T> {
    /// What was recorded.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The record's sequence.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the gate decided on it. A process may be stopped and go on between any two instructions, so an actuator looks
    /// at its clock once more before it acts.
    pub fn decided(&self) -> Steady {
        self.decided
    }
}

impl Journaled<Velocity> {
    /// Records a motion and gives what it says was applied.
    pub(crate) fn append<R: Record>(record: &mut R, moment: &Moment, motion: &Motion) -> Result<Self, AppendError> {
        let sequence = record.append(moment, motion)?;
        Ok(Journaled { value: motion.applied.map_or(Velocity::ZERO, Velocity::from), sequence, decided: moment.steady })
    }
}

impl Journaled<Trajectory> {
    /// Records a way of joints and gives what was applied; the record says the same.
    pub(crate) fn append<R: Record>(
        record: &mut R,
        moment: &Moment,
        motion: &JointMotion,
        applied: Trajectory,
    ) -> Result<Self, AppendError> {
        let sequence = record.append(moment, motion)?;
        Ok(Journaled { value: applied, sequence, decided: moment.steady })
    }
}

/// An actuator did not do as told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ActuatorError(
    /// What failed, in a sentence.
    pub String,
);

/// What an actuator does when nothing else may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafeState {
    /// A base stands.
    ZeroVelocity,
    /// A joint stays where it is, under power.
    Hold,
    /// A gripper lets go.
    Open,
    /// Power is off.
    Off,
}

impl SafeState {
    /// What IEC 60204-1 would call a stop into it, if the drive did it by itself.
    pub fn category(self) -> StopCategory {
        match self {
            SafeState::ZeroVelocity | SafeState::Hold | SafeState::Open => StopCategory::Two,
            SafeState::Off => StopCategory::Zero,
        }
    }
}

/// What moves the robot's base.
///
/// [`Actuator::halt`] is called at start, when nothing has been commanded yet, so that what cannot be brought to its safe
/// state never starts; on every stop, again in every period while one is latched; and at the end, also that of a panic.
pub trait Actuator {
    /// What [`Actuator::halt`] leads to.
    fn safe_state(&self) -> SafeState;
    /// Takes a recorded velocity.
    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError>;
    /// Takes the safe state, which needs no record first.
    fn halt(&mut self) -> Result<(), ActuatorError>;
}

/// What moves a group of joints: an arm, a gripper. Its safe state is the group's, and is checked before anything moves.
pub trait JointActuator: std::fmt::Debug + Send {
    /// What [`JointActuator::rest`] leads to: [`SafeState::Hold`] or [`SafeState::Open`].
    fn safe_state(&self) -> SafeState;
    /// Takes a recorded way.
    fn follow(&mut self, way: Journaled<Trajectory>) -> Result<(), ActuatorError>;
    /// Takes the way into the safe state, which needs no record first; it replaces whatever is under way.
    fn rest(&mut self, way: &Trajectory) -> Result<(), ActuatorError>;
}
