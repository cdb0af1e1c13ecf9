//! What the executor answers.

use ecps_core::check::CheckError;
use thiserror::Error;

use crate::arming::StaysStopped;
use crate::joint::JointPolicyError;
use crate::motion::Limits;
use crate::reason::Reason;

/// What the executor is doing; numbers of `ecps_msgs/GateState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// The output is at rest.
    Idle = 0,
    /// A source or an action moves the robot.
    Active = 1,
    /// A protective stop is latched.
    Stopped = 2,
    /// Nobody has enabled.
    Disarmed = 3,
}

/// All that `ecps_msgs/GateState` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// What the executor is doing.
    pub mode: Mode,
    /// Why it stopped; empty unless stopped.
    pub stop_cause: String,
    /// Commands that passed unchanged.
    pub admitted: u64,
    /// Commands that passed lowered.
    pub limited: u64,
    /// Commands that did not pass.
    pub refused: u64,
    /// Refusals, limits and halts by reason; those that occurred.
    pub reasons: Vec<(Reason, u64)>,
    /// The last refusal in words; empty if there was none.
    pub last_refusal: String,
    /// Sequence of the journal's last record.
    pub journal_sequence: u64,
    /// Limits in force.
    pub limits: Limits,
    /// Who commands at present; empty: nobody.
    pub source: String,
    /// Actions that wait.
    pub queued: usize,
    /// Most that may.
    pub queue_capacity: usize,
}

/// Why the gate is not armed or disarmed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ArmError {
    /// No caller, or too long a name.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// It could not be recorded.
    #[error("the gate is not armed, since it could not be recorded: {0}")]
    Journal(String),
}

/// What a reset did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetOutcome {
    /// The stop was left; sequence of the record.
    Left(u64),
    /// There was no stop.
    WasRunning,
}

/// Why the stop stays latched.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ResetError {
    /// No caller, or too long a name.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// A cause is still there.
    #[error("the stop stays: {0}")]
    CausePresent(String),
    /// A cause is still there, or nobody has enabled.
    #[error("the stop stays: {0}")]
    Stays(#[from] StaysStopped),
    /// The reset could not be recorded.
    #[error("the stop stays, since the reset could not be recorded: {0}")]
    Journal(String),
}

/// Why limits or zones stay as they are.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PolicyError {
    /// Out of range, beyond the parameters, or no caller.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// The same, of joints.
    #[error(transparent)]
    Joints(#[from] JointPolicyError),
    /// The change could not be recorded.
    #[error("they stay as they are, since the change could not be recorded: {0}")]
    Journal(String),
}

impl ResetError {
    /// Number in `ecps_msgs/ResetGate`.
    pub fn code(&self) -> u8 {
        match self {
            ResetError::Invalid(_) => 1,
            ResetError::CausePresent(_) | ResetError::Stays(StaysStopped::Cause(_)) => 2,
            ResetError::Journal(_) => 3,
            ResetError::Stays(_) => 6,
        }
    }
}

impl ArmError {
    /// Number in `ecps_msgs/EnableGate`.
    pub fn code(&self) -> u8 {
        match self {
            ArmError::Invalid(_) => 1,
            ArmError::Journal(_) => 3,
        }
    }
}

impl PolicyError {
    /// Number in `ecps_msgs/SetLimits` and `ecps_msgs/SetZones`.
    pub fn code(&self) -> u8 {
        match self {
            PolicyError::Invalid(_) | PolicyError::Joints(_) => 1,
            PolicyError::Journal(_) => 3,
        }
    }
}
