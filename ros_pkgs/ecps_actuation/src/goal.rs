//! An action being executed, and how it ended.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::action::{Action, ErrorCode, Kind};
use crate::drive::{DriveConfig, Driver};
use crate::errand::Errand;
use crate::executive::Config;
use crate::joint::manipulate::Manipulation;
use crate::joint::{Grip, GripConfig};
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
    /// What an errand brought back; empty for every other action.
    pub answer: Vec<u8>,
}

/// How an action goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feedback {
    /// Which one.
    pub goal: GoalId,
    /// Where the robot is, as measured; none if it was never known.
    pub state: Option<MeasuredState>,
    /// Metres still to go, as the crow flies; of a gripper what its farthest finger has left, rad or m.
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
    pub(crate) work: Work,
}

/// How an action is carried out.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// By the executor's own driver.
    Drive(Driver),
    /// By the fingers; what they have left.
    Grip { grip: Grip, left: f64 },
    /// By arm and fingers; what the joints under way have left.
    Manipulate { manipulation: Box<Manipulation>, left: f64 },
    /// By somebody else; whether it was handed out, and metres still to go as that one says.
    Errand { errand: Errand, handed_out: bool, left: f64 },
}

impl Goal {
    pub(crate) fn new(
        id: GoalId,
        action: Action,
        request: Request<'_>,
        config: &Config,
        fingers: Option<&GripConfig>,
        now: Steady,
    ) -> Option<Goal> {
        let drive = |target, config| Work::Drive(Driver::new(target, config));
        let errand = |errand| Work::Errand { errand, handed_out: false, left: 0.0 };
        let work = match &action.kind {
            Kind::Navigate { target, .. } if config.errands.navigate.is_some() => {
                errand(Errand::Navigate { target: *target })
            }
            Kind::SetPose { target } => drive(*target, config.drive),
            Kind::Navigate { target, tolerance, .. } => {
                drive(*target, DriveConfig { tolerance: *tolerance, ..config.drive })
            }
            Kind::Gripper { order, force } => Work::Grip { grip: Grip::new(*order, *force, fingers?), left: 0.0 },
            Kind::Manipulate { task, .. } => {
                Work::Manipulate { manipulation: Box::new(Manipulation::new(task.clone())), left: 0.0 }
            }
            Kind::Cloud(call) => errand(Errand::Cloud(call.clone())),
            Kind::Sim(steps) => errand(Errand::Sim(*steps)),
        };
        let (caller, trace) = (request.caller.to_owned(), request.trace);
        Some(Goal { id, caller, action, trace, accepted: now, stepped: None, work })
    }

    /// Whether the base is its: to drive, or to stand while the arm reaches.
    pub(crate) fn moves_base(&self) -> bool {
        self.action.kind.target().is_some() || matches!(self.work, Work::Manipulate { .. })
    }

    /// Whether joints are its.
    pub(crate) fn moves_joints(&self) -> bool {
        matches!(self.work, Work::Grip { .. } | Work::Manipulate { .. })
    }

    /// What is left to do, in the unit of [`Feedback::distance_remaining`].
    pub(crate) fn left(&self, state: Option<&MeasuredState>) -> f64 {
        match (&self.work, state) {
            (Work::Drive(driver), Some(state)) => state.pose.distance(driver.target()),
            (Work::Drive(_), None) => 0.0,
            (Work::Grip { left, .. } | Work::Manipulate { left, .. } | Work::Errand { left, .. }, _) => *left,
        }
    }

    /// The gate's limits, lowered to what the action asks for.
    pub(crate) fn limits(&self, gate: &Limits) -> Limits {
        match self.action.kind {
            Kind::Navigate { max_speed, .. } => {
                Limits { max_linear_speed: gate.max_linear_speed.min(max_speed), ..*gate }
            }
            _ => *gate,
        }
    }
}
