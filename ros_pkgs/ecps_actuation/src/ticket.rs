//! What may move an actuator: a velocity whose record is written. There is no other way to make a [`Journaled`] velocity
//! than to append its record, so nothing moves unrecorded, by type.

use ecps_journal::record::{Motion, Payload};
use ecps_journal::{AppendError, Durable, Journal, Moment};
use thiserror::Error;

use crate::motion::Velocity;

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
}

impl<T: Copy> Journaled<T> {
    /// What was recorded.
    pub fn value(&self) -> T {
        self.value
    }

    /// The record's sequence.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Journaled<Velocity> {
    /// Records a motion and gives what it says was applied.
    pub(crate) fn append<R: Record>(record: &mut R, moment: &Moment, motion: &Motion) -> Result<Self, AppendError> {
        let sequence = record.append(moment, motion)?;
        Ok(Journaled { value: motion.applied.map_or(Velocity::ZERO, Velocity::from), sequence })
    }
}

/// An actuator did not do as told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ActuatorError(
    /// What failed, in a sentence.
    pub String,
);

/// What moves the robot; its safe state is zero velocity.
pub trait Actuator {
    /// Takes a recorded velocity.
    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError>;
    /// Takes the safe state, which needs no record first.
    fn halt(&mut self) -> Result<(), ActuatorError>;
}
