//! The robot's joints: the gate before them, what moves them, and how they are brought to rest.
//!
//! A joint is held where it was when the stop came, however often that is repeated: held each time where it is measured,
//! an arm would sink under its own weight.

use std::time::Duration;

use ecps_core::check::CheckError;
use ecps_core::clock::Steady;
use thiserror::Error;

use super::config::{JointConfig, JointConfigError};
use super::gate::JointGate;
use super::grip::GripConfig;
use super::limits::JointLimits;
use super::manipulate::Reach;
use super::measured::{JointReading, JointStateError, JointStates};
use super::policy::{JointChange, JointPolicyError};
use super::trajectory::Trajectory;
use crate::action::{ErrorCode, Rejection};
use crate::ticket::{ActuatorError, JointActuator, Journaled, SafeState};

/// How often the safe state is repeated while a stop is latched.
const REPEAT: Duration = Duration::from_millis(100);

/// Why joints were not attached.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AttachError {
    /// The gate's parameters.
    #[error(transparent)]
    Config(#[from] JointConfigError),
    /// The gripper's positions.
    #[error(transparent)]
    Gripper(#[from] CheckError),
    /// Not one actuator for each group, or the gripper is no group.
    #[error("there are {groups} joint groups and {actuators} actuators for them")]
    Count {
        /// Groups.
        groups: usize,
        /// Actuators.
        actuators: usize,
    },
    /// An actuator declares another safe state than its group has.
    #[error("the actuator of group '{group}' declares {declared:?} as its safe state, and the group has {wanted:?}")]
    SafeState {
        /// Which group.
        group: String,
        /// What the actuator declares.
        declared: SafeState,
        /// What the group has.
        wanted: SafeState,
    },
}

/// A group in its safe state, or on its way there.
#[derive(Debug, Clone)]
struct Rest {
    way: Trajectory,
    /// When the way ends.
    until: Steady,
    sent: Steady,
}

/// Limits of joints about to be changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    config: Option<JointConfig>,
    pub(crate) before: Vec<JointLimits>,
    pub(crate) after: Vec<JointLimits>,
}

/// The robot's joints: the gate before them, what moves them, and where they rest.
#[derive(Debug)]
pub(crate) struct Limbs {
    gate: Option<JointGate>,
    actuators: Vec<Box<dyn JointActuator>>,
    rests: Vec<Option<Rest>>,
    fingers: Option<GripConfig>,
    reach: Option<Reach>,
    /// The latest moment that is known, for the end.
    now: Steady,
}

impl Limbs {
    pub(crate) fn new(
        config: JointConfig,
        actuators: Vec<Box<dyn JointActuator>>,
        gripper: Option<GripConfig>,
        reach: Option<Reach>,
    ) -> Result<Limbs, AttachError> {
        let gate = JointGate::new(config)?;
        let groups = gate.groups();
        let count = AttachError::Count { groups: groups.len(), actuators: actuators.len() };
        if groups.len() != actuators.len() {
            return Err(count);
        }
        for (group, actuator) in groups.iter().zip(&actuators) {
            let (declared, wanted) = (actuator.safe_state(), group.safe);
            if declared != wanted {
                return Err(AttachError::SafeState { group: group.name.clone(), declared, wanted });
            }
        }
        if let Some(gripper) = &gripper {
            gripper.check(&groups.get(gripper.group).ok_or(count)?.joints)?;
        }
        let rests = vec![None; actuators.len()];
        Ok(Limbs { gate: Some(gate), actuators, rests, fingers: gripper, reach, now: Steady::default() })
    }

    pub(crate) fn none() -> Limbs {
        Limbs {
            gate: None,
            actuators: Vec::new(),
            rests: Vec::new(),
            fingers: None,
            reach: None,
            now: Steady::default(),
        }
    }

    pub(crate) fn clock(&mut self, now: Steady) {
        self.now = now;
    }

    pub(crate) fn are_moving(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| (0..self.actuators.len()).any(|group| gate.is_moving(group, self.now)))
    }

    pub(crate) fn driving(&self, now: Steady) -> Option<&str> {
        self.gate.as_ref()?.driving(now)
    }

    pub(crate) fn gate(&self) -> Option<&JointGate> {
        self.gate.as_ref()
    }

    pub(crate) fn measured(&mut self, states: &JointStates<'_>, now: Steady) -> Result<(), JointStateError> {
        self.now = now;
        self.gate.as_mut().map_or(Ok(()), |gate| gate.measured(states, now))
    }

    /// What the parameters become with these changes, and the limits before and after of the joints that are named.
    pub(crate) fn changed(&self, changes: &[JointChange]) -> Result<Changed, JointPolicyError> {
        let named = |joints: Vec<&JointLimits>| {
            let of = |change: &JointChange| joints.iter().find(|joint| joint.name == change.joint);
            changes.iter().filter_map(of).map(|joint| (*joint).clone()).collect()
        };
        let Some(gate) = &self.gate else {
            let unknown = |change: &JointChange| JointPolicyError::Unknown(change.joint.chars().take(64).collect());
            return changes.first().map_or(Ok(Changed::default()), |change| Err(unknown(change)));
        };
        let config = gate.changed(changes)?;
        let before = named(gate.limits().collect());
        let after = named(config.groups.iter().flat_map(|group| &group.joints).collect());
        Ok(Changed { config: Some(config), before, after })
    }

    /// Takes them.
    pub(crate) fn take(&mut self, changed: Changed) {
        let (Some(gate), Some(config)) = (&mut self.gate, changed.config) else { return };
        gate.set_config(config);
        if let Some(reach) = &mut self.reach
            && let Some(group) = gate.groups().get(reach.group)
        {
            reach.chain.limit(&group.joints);
        }
    }

    /// Gives a recorded way to its group.
    pub(crate) fn follow(
        &mut self,
        group: usize,
        source: &str,
        way: Journaled<Trajectory>,
        now: Steady,
    ) -> Result<(), ActuatorError> {
        let missing = || ActuatorError("the group has no actuator".into());
        let gate = self.gate.as_mut().ok_or_else(missing)?;
        // Told first, so that a failure brings to rest what may have got through.
        gate.applied(group, source, way.value(), now);
        *self.rests.get_mut(group).ok_or_else(missing)? = None;
        self.actuators.get_mut(group).ok_or_else(missing)?.follow(way)
    }

    pub(crate) fn forget_rest(&mut self) {
        self.rests.fill(None);
    }

    pub(crate) fn fingers(&self) -> Option<&GripConfig> {
        self.fingers.as_ref()
    }

    /// Brings all groups to rest, or repeats that.
    pub(crate) fn rest_all(&mut self, now: Steady) -> Result<(), ActuatorError> {
        let mut result = Ok(());
        for group in 0..self.actuators.len() {
            result = result.and(self.rest(group, now));
        }
        result
    }

    pub(crate) fn rest(&mut self, group: usize, now: Steady) -> Result<(), ActuatorError> {
        let (Some(gate), Some(actuator)) = (&mut self.gate, self.actuators.get_mut(group)) else { return Ok(()) };
        let Some(slot) = self.rests.get_mut(group) else { return Ok(()) };
        match slot {
            Some(rest) if now.since(rest.sent) < REPEAT => return Ok(()),
            Some(rest) => {
                rest.sent = now;
                let left = rest.until.since(now).max(REPEAT);
                for point in &mut rest.way.points {
                    point.time_ns = i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
                }
            }
            None => {
                let Some(way) = gate.rest(group, now) else {
                    gate.rested(group);
                    return Ok(());
                };
                let length = Duration::from_nanos(u64::try_from(way.duration_ns()).unwrap_or(0));
                *slot = Some(Rest { way, until: Steady(now.0 + length), sent: now });
            }
        }
        gate.rested(group);
        slot.as_ref().map_or(Ok(()), |rest| actuator.rest(&rest.way))
    }

    /// At the end nobody is left to tell of a failure; the supervisor and the controllers' own tolerances remain.
    pub(crate) fn rest_at_last(&mut self) {
        let now = self.now;
        for rest in self.rests.iter_mut().flatten() {
            rest.sent = Steady(now.0.saturating_sub(REPEAT));
        }
        let _ = self.rest_all(now);
    }

    /// The arm, its limits, and where it is.
    pub(crate) fn arm(&self, now: Steady) -> Result<(&Reach, &[JointLimits], Vec<JointReading>), Rejection> {
        let text = "this robot has no arm that reaches (parameters 'arm_joints', 'arm_base' and 'arm_tip')";
        let reach = self.reach.as_ref().ok_or_else(|| Rejection::new(ErrorCode::Unsupported, text))?;
        let (joints, readings) = self.group(reach.group, text, now)?;
        Ok((reach, joints, readings))
    }

    /// The fingers, their limits, and where they are.
    pub(crate) fn hand(&self, now: Steady) -> Result<(&GripConfig, &[JointLimits], Vec<JointReading>), Rejection> {
        let text = "this robot has no gripper (parameter 'gripper_joints')";
        let fingers = self.fingers.as_ref().ok_or_else(|| Rejection::new(ErrorCode::Unsupported, text))?;
        let (joints, readings) = self.group(fingers.group, text, now)?;
        Ok((fingers, joints, readings))
    }

    /// How far the gripper is open, 0 to 1, if there is one and all of it is measured.
    pub(crate) fn opening(&self, now: Steady) -> Option<f64> {
        let (fingers, gate) = (self.fingers.as_ref()?, self.gate.as_ref()?);
        let joints = &gate.groups().get(fingers.group)?.joints;
        let position = |joint: &JointLimits| Some(gate.reading(&joint.name, now)?.position);
        Some(fingers.share(&joints.iter().map(position).collect::<Option<Vec<_>>>()?))
    }

    fn group(
        &self,
        group: usize,
        missing: &str,
        now: Steady,
    ) -> Result<(&[JointLimits], Vec<JointReading>), Rejection> {
        let found = self.gate.as_ref().and_then(|gate| Some((gate, gate.groups().get(group)?)));
        let (gate, group) = found.ok_or_else(|| Rejection::new(ErrorCode::Unsupported, missing))?;
        let reading = |joint: &JointLimits| {
            gate.reading(&joint.name, now).ok_or_else(|| {
                let text = format!("the state of joint '{}' is silent, or was never received", joint.name);
                Rejection::new(ErrorCode::StateStale, text)
            })
        };
        let readings = group.joints.iter().map(reading).collect::<Result<Vec<_>, _>>()?;
        Ok((&group.joints, readings))
    }
}
