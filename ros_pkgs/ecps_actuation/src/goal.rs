//! An action being executed, and how it ended.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::action::{Action, ErrorCode, Kind};
use crate::drive::{DriveConfig, Driver};
use crate::motion::Limits;
use crate::state::MeasuredState;

/// Which execution: the sequence of the action's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GoalId(pub u64);

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Which one.
    pub goal: GoalId,
    /// [`ErrorCode::None`] on success.
    pub code: ErrorCode,
    /// A sentence that names the value and the limit; empty on success.
    pub message: String,
    /// Where the robot was at the end, as measured; none if it was never known.
    pub state: Option<MeasuredState>,
}

/// How an action goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feedback {
    /// Which one.
    pub goal: GoalId,
    /// Where the robot is, as measured.
    pub state: MeasuredState,
    /// Metres still to go, as the crow flies.
    pub distance_remaining: f64,
    /// Time since it was accepted.
    pub elapsed: Duration,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Recorded, and not yet known to be on disk.
    Recorded,
    /// Driving; the moment of the last step.
    Driving(Steady),
}

/// The action that has the robot.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) id: GoalId,
    pub(crate) action: Action,
    pub(crate) trace: [u8; 16],
    pub(crate) started: Steady,
    pub(crate) phase: Phase,
    pub(crate) driver: Driver,
}

impl Goal {
    pub(crate) fn new(id: GoalId, action: Action, trace: [u8; 16], config: DriveConfig, now: Steady) -> Goal {
        let config = match action.kind {
            Kind::SetPose { .. } => config,
            Kind::Navigate { tolerance, .. } => DriveConfig { tolerance, ..config },
        };
        let driver = Driver::new(action.kind.target(), config);
        Goal { id, action, trace, started: now, phase: Phase::Recorded, driver }
    }

    /// The gate's limits, lowered to what the action asks for.
    pub(crate) fn limits(&self, gate: &Limits) -> Limits {
        match self.action.kind {
            Kind::SetPose { .. } => *gate,
            Kind::Navigate { max_speed, .. } => {
                Limits { max_linear_speed: gate.max_linear_speed.min(max_speed), ..*gate }
            }
        }
    }
}
