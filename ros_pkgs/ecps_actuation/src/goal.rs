//! An action being executed, and how it ended.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::action::{Action, ErrorCode, Kind};
use crate::drive::{DriveConfig, Driver};
use crate::motion::{Limits, Request};
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
    /// How far it is.
    pub progress: Progress,
    /// Actions before it; 0 once it has started.
    pub before: usize,
}

/// How far an action is that has not ended; numbers of `ecps_msgs/ExecuteAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// Recorded, on disk, and waiting for its turn.
    Accepted = 0,
    /// Under way.
    Started = 1,
}

/// An action that waits or has the robot.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) id: GoalId,
    pub(crate) caller: String,
    pub(crate) action: Action,
    pub(crate) trace: [u8; 16],
    pub(crate) accepted: Steady,
    /// The moment of the last step; none before the first.
    pub(crate) stepped: Option<Steady>,
    pub(crate) driver: Driver,
}

impl Goal {
    pub(crate) fn new(id: GoalId, action: Action, request: Request<'_>, config: DriveConfig, now: Steady) -> Goal {
        let config = match action.kind {
            Kind::SetPose { .. } => config,
            Kind::Navigate { tolerance, .. } => DriveConfig { tolerance, ..config },
        };
        let driver = Driver::new(action.kind.target(), config);
        let (caller, trace) = (request.caller.to_owned(), request.trace);
        Goal { id, caller, action, trace, accepted: now, stepped: None, driver }
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
