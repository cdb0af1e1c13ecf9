//! Limits of joints that are set later, within those that the robot's description and the parameters give.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Steady;
use thiserror::Error;

use super::config::{JointConfig, JointConfigError};
use super::gate::JointGate;
use super::limits::{JOINT_LIMIT_RANGE, JointLimits};
use crate::gate::ACTION_SOURCE;
use crate::reason::Reason;

/// Most joints of one change.
pub const CHANGES: usize = 64;

/// What is to change of one joint's limits; what is not named stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JointChange {
    /// The joint.
    pub joint: String,
    /// Least and greatest position, rad or m; finite.
    pub positions: Option<(f64, f64)>,
    /// Greatest velocity, rad/s or m/s.
    pub velocity: Option<f64>,
    /// Greatest effort, N m or N.
    pub effort: Option<f64>,
}

/// Why limits of joints stay as they are.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum JointPolicyError {
    /// Out of range, or beyond what the description and the parameters allow.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// No such joint.
    #[error("joint '{0}' is none that this executor moves")]
    Unknown(String),
    /// A joint that is named twice.
    #[error("joint '{0}' is named twice")]
    Twice(String),
    /// A group that could not take its safe state within them.
    #[error(transparent)]
    Group(#[from] JointConfigError),
}

impl JointChange {
    /// Changes `now`, at most to what was `given` at the start.
    fn apply(&self, now: &mut JointLimits, given: &JointLimits) -> Result<(), CheckError> {
        let field = |what: &str| format!("{what} of joint '{}'", self.joint);
        let least = JOINT_LIMIT_RANGE.0;
        if let Some((lower, upper)) = self.positions {
            now.lower = check::in_range(&field("min_position"), lower, given.lower, given.upper)?;
            now.upper = check::in_range(&field("max_position"), upper, lower + least, given.upper)?;
        }
        if let Some(velocity) = self.velocity {
            now.velocity = check::in_range(&field("max_velocity"), velocity, least, given.velocity)?;
        }
        if let Some(effort) = self.effort {
            now.effort = check::in_range(&field("max_effort"), effort, least, given.effort)?;
        }
        Ok(())
    }
}

/// A group on a way that its joints' limits do not allow any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beyond {
    pub(crate) group: usize,
    /// Whether an action sent it that way.
    pub(crate) by_action: bool,
    /// The limit that it breaks.
    pub(crate) reason: Reason,
}

impl JointGate {
    /// The parameters with these changes, where all of them are within those of the start.
    pub(crate) fn changed(&self, changes: &[JointChange]) -> Result<JointConfig, JointPolicyError> {
        check::at_most("joints", changes.len(), CHANGES, "entries")?;
        let mut config = self.config().clone();
        for (nth, change) in changes.iter().enumerate() {
            let name = || change.joint.chars().take(64).collect();
            if changes.iter().take(nth).any(|other| other.joint == change.joint) {
                return Err(JointPolicyError::Twice(name()));
            }
            let given = self.given().find(|joint| joint.name == change.joint);
            let mut joints = config.groups.iter_mut().flat_map(|group| &mut group.joints);
            let joint = joints.find(|joint| joint.name == change.joint);
            let (given, joint) = given.zip(joint).ok_or_else(|| JointPolicyError::Unknown(name()))?;
            change.apply(joint, given)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Groups that are on their way and beyond the limits.
    pub(crate) fn beyond(&self, now: Steady) -> Vec<Beyond> {
        let broken = |group: usize| {
            let run = self.running(group, now)?;
            let (_, limits) = self.group_of(&run.trajectory).ok()?;
            let reason = match self.limit(&run.trajectory, &limits, &run.from) {
                Ok(None) => return None,
                Ok(Some((_, reason))) => reason,
                Err(refusal) => refusal.reason(),
            };
            Some(Beyond { group, by_action: run.source == ACTION_SOURCE, reason })
        };
        (0..self.groups().len()).filter_map(broken).collect()
    }
}
