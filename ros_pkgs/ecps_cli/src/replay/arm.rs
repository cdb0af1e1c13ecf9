//! The simulated robot's arm and gripper, as the executor has them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_actuation::gate::ACTION_SOURCE;
use ecps_actuation::joint::urdf::{Description, UrdfError};
use ecps_actuation::joint::{
    AttachError, ChainError, GripConfig, JointConfig, JointGroup, JointLimits, JointSource, JointStateError,
    JointStates, Reach, Trajectory,
};
use ecps_actuation::{Actuator, ActuatorError, Executive, JointActuator, Journaled, Now, Record, SafeState};
use ecps_sim::arm::{Arm, FINGER, JOINTS, Joint, JointSpec, URDF, WayError, WayPoint};
use ecps_sim::world::World;
use thiserror::Error;

/// Links between which the arm reaches.
const LINKS: (&str, &str) = ("base_footprint", "hand");
/// Everything is measured in each period.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Why the arm does not move, or not as it was told.
#[derive(Debug, Error)]
pub enum LimbError {
    /// The built-in description.
    #[error(transparent)]
    Description(#[from] UrdfError),
    /// No way from base to hand.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The executor refuses the joints.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The executor refuses where they are.
    #[error(transparent)]
    State(#[from] JointStateError),
    /// The simulated arm refuses a way.
    #[error(transparent)]
    Way(#[from] WayError),
}

/// Ways that the executor has given out and the simulated arm has not begun.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways(Arc<Mutex<Vec<Trajectory>>>);

impl Ways {
    fn push(&self, way: &Trajectory) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(way.clone());
    }

    /// Has the first robot begin them.
    pub(super) fn begin(&self, world: &mut World) -> Result<(), LimbError> {
        let ways = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for way in ways {
            let points = way.points.iter().map(|point| WayPoint {
                time: Duration::from_nanos(u64::try_from(point.time_ns).unwrap_or(0)),
                positions: point.positions.clone(),
                velocities: point.velocities.clone(),
            });
            world.follow(0, &way.joints, &points.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// A group's controller.
#[derive(Debug)]
struct Controller(Ways);

impl JointActuator for Controller {
    fn safe_state(&self) -> SafeState {
        SafeState::Hold
    }

    fn follow(&mut self, way: Journaled<Trajectory>) -> Result<(), ActuatorError> {
        self.0.push(way.value());
        Ok(())
    }

    fn rest(&mut self, way: &Trajectory) -> Result<(), ActuatorError> {
        self.0.push(way);
        Ok(())
    }
}

/// Gives the executor the arm and the gripper.
pub(super) fn attach<R: Record, A: Actuator>(executive: &mut Executive<R, A>) -> Result<Ways, LimbError> {
    let limits = |spec: &JointSpec| JointLimits {
        name: spec.name.into(),
        lower: spec.lower,
        upper: spec.upper,
        velocity: spec.velocity,
        acceleration: spec.acceleration,
        effort: spec.effort,
    };
    let (fingers, arm): (Vec<_>, Vec<_>) = JOINTS.iter().map(limits).partition(|limits| limits.name == FINGER);
    let chain = Description::parse(URDF)?.chain(LINKS.0, LINKS.1, &arm)?;
    let gripper = GripConfig {
        group: 1,
        closed: fingers.iter().map(|finger| finger.lower).collect(),
        open: fingers.iter().map(|finger| finger.upper).collect(),
    };
    let group = |name: &str, joints| JointGroup { name: name.into(), joints, safe: SafeState::Hold, open: Vec::new() };
    let config = JointConfig {
        groups: vec![group("arm", arm), group("gripper", fingers)],
        sources: vec![JointSource { name: ACTION_SOURCE.into(), priority: 0 }],
        state_timeout: TIMEOUT,
        command_lifetime: TIMEOUT,
        future_tolerance: Duration::ZERO,
        refuse_above: 1.0,
        start_tolerance: 0.02,
    };
    let ways = Ways::default();
    let controllers = (0..2).map(|_| Box::new(Controller(ways.clone())) as Box<dyn JointActuator>).collect();
    executive.attach(config, controllers, Some(gripper), Some(Reach { group: 0, chain }))?;
    Ok(ways)
}

/// Tells the executor where the joints are.
pub(super) fn measure<R: Record, A: Actuator>(
    executive: &mut Executive<R, A>,
    arm: &Arm,
    now: Now,
) -> Result<(), LimbError> {
    let joints = arm.joints();
    let names: Vec<String> = joints.iter().map(|joint| joint.spec().name.into()).collect();
    let of = |value: fn(&Joint) -> f64| joints.iter().map(value).collect::<Vec<_>>();
    let (positions, velocities, efforts) = (of(Joint::position), of(Joint::velocity), of(Joint::effort));
    let states = JointStates {
        names: &names,
        positions: &positions,
        velocities: &velocities,
        efforts: &efforts,
        stamp: now.ros,
    };
    Ok(executive.on_joint_states(&states, now)?)
}
