//! Parameters of the gate before the joints: groups, who may send, and how long what is known counts.

use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::limits::NAME_BYTES;
use thiserror::Error;

use super::limits::JointLimits;
use crate::source::SOURCES;
use crate::ticket::SafeState;
use crate::watchdog::{TimeoutError, check_timeout};

/// Most joints of a group.
pub const GROUP_JOINTS: usize = 32;
/// Most groups.
pub const GROUPS: usize = 8;
/// Joints that one controller moves.
#[derive(Debug, Clone, PartialEq)]
pub struct JointGroup {
    /// Its name, "arm" or "gripper"; 1 to 256 bytes.
    pub name: String,
    /// Its joints, all of which each trajectory names; 1 to [`GROUP_JOINTS`].
    pub joints: Vec<JointLimits>,
    /// What it does when nothing else may be done with it: [`SafeState::Hold`] or [`SafeState::Open`].
    pub safe: SafeState,
    /// Positions of the joints that are open; needed for [`SafeState::Open`] alone.
    pub open: Vec<f64>,
}

/// Who may send trajectories. One that is on its way keeps those of lower priority out until its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JointSource {
    /// Its topic, or the name of a part of this executor.
    pub name: String,
    /// The higher is heard; of the same, the newest.
    pub priority: u8,
}

/// Parameters of the gate before the joints.
#[derive(Debug, Clone, PartialEq)]
pub struct JointConfig {
    /// The groups, no joint in two of them.
    pub groups: Vec<JointGroup>,
    /// Who may send.
    pub sources: Vec<JointSource>,
    /// Silence of a joint's state after which it is stale; more than 0, at most 1 s.
    pub state_timeout: Duration,
    /// Oldest stamp that is accepted; more than 0, at most 1 s.
    pub command_lifetime: Duration,
    /// How far in the future a stamp may be; at most 1 s.
    pub future_tolerance: Duration,
    /// What would have to be slowed down by more than this is refused; 1 to 100.
    pub refuse_above: f64,
    /// How far from the measured position a trajectory may begin at once; 0 to 1 rad or m.
    pub start_tolerance: f64,
}

/// Parameters that make no gate.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum JointConfigError {
    /// A number outside its range.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// A timeout that is no protection.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// A name that is there twice.
    #[error("{what} '{name}' is there twice")]
    Twice {
        /// Joint, group or source.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A safe state that joints do not have.
    #[error("the safe state of group '{group}' is {safe:?}, and joints can only hold, or open to given positions")]
    SafeState {
        /// The group.
        group: String,
        /// What it declares.
        safe: SafeState,
    },
}

impl JointConfig {
    pub(crate) fn check(&self) -> Result<(), JointConfigError> {
        check::at_most("joint groups", self.groups.len(), GROUPS, "entries")?;
        check::at_most("joint sources", self.sources.len(), SOURCES, "entries")?;
        check_timeout("joint_state_timeout", self.state_timeout)?;
        check_timeout("command_lifetime", self.command_lifetime)?;
        check::in_range("future_tolerance", self.future_tolerance.as_secs_f64(), 0.0, 1.0)?;
        check::in_range("refuse_above", self.refuse_above, 1.0, 100.0)?;
        check::in_range("start_tolerance", self.start_tolerance, 0.0, 1.0)?;
        for group in &self.groups {
            check::name("the name of a joint group", &group.name, NAME_BYTES)?;
            let field = format!("joint group '{}'", group.name);
            check::in_range(&field, group.joints.len() as f64, 1.0, GROUP_JOINTS as f64)?;
            group.joints.iter().try_for_each(JointLimits::check)?;
            let open = group.open.len() == group.joints.len();
            match group.safe {
                SafeState::Hold => {}
                SafeState::Open if open => {
                    for (joint, position) in group.joints.iter().zip(&group.open) {
                        let field = format!("the open position of joint '{}'", joint.name);
                        check::in_range(&field, *position, joint.lower, joint.upper)?;
                    }
                }
                safe => return Err(JointConfigError::SafeState { group: group.name.clone(), safe }),
            }
        }
        let joints = self.groups.iter().flat_map(|group| group.joints.iter().map(|joint| &joint.name));
        unique("joint", joints)?;
        unique("joint group", self.groups.iter().map(|group| &group.name))?;
        unique("joint source", self.sources.iter().map(|source| &source.name))
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), JointConfigError> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(JointConfigError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}
