//! The way from an arm's base to its tip: where the tip is, and how the joints have to be for it to be somewhere.
//!
//! Inverse kinematics by damped least squares (Wampler 1986; Nakamura and Hanafusa 1986), from several starts and within the
//! joints' positions. An arm of fewer than six joints is brought to the place alone and not to the direction.

use ecps_core::check::CheckError;
use nalgebra::{DMatrix, DVector, Isometry3, Translation3, Unit, UnitQuaternion, Vector3};
use thiserror::Error;

use super::limits::JointLimits;

/// Most links from base to tip.
const LINKS: usize = 64;
/// Steps from one start.
const STEPS: usize = 200;
/// Distance, m, and angle, rad, from the target that count as there.
const THERE: (f64, f64) = (1e-3, 1e-2);
/// Damping, and the longest step of a joint, rad or m.
const DAMPING: f64 = 0.02;
const LONGEST: f64 = 0.2;

/// Why there is no way from base to tip.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ChainError {
    /// No such way.
    #[error("the robot's description has no way of at most {LINKS} joints from link '{base}' to link '{tip}'")]
    NoWay {
        /// Link of the base.
        base: String,
        /// Link of the tip.
        tip: String,
    },
    /// Joints of the arm that are elsewhere, or others that are on the way.
    #[error("joint '{0}' is on the way from base to tip and not one of the arm's, or the other way round")]
    Joint(String),
    /// A number that is none.
    #[error(transparent)]
    Invalid(#[from] CheckError),
}

/// How a joint moves what comes after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Motion {
    Fixed,
    Turn(Unit<Vector3<f64>>),
    Slide(Unit<Vector3<f64>>),
}

/// One joint of the way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) origin: Isometry3<f64>,
    pub(crate) motion: Motion,
}

/// The way from base to tip. Numbers of joints are those of the arm's group.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    segments: Vec<(Segment, Option<usize>)>,
    joints: Vec<JointLimits>,
    base: String,
}

impl Chain {
    /// The segments in their order, for an arm with these joints.
    pub(crate) fn new(
        base: &str,
        tip: &str,
        segments: Option<Vec<Segment>>,
        joints: &[JointLimits],
    ) -> Result<Chain, ChainError> {
        let segments = segments.filter(|segments| segments.len() <= LINKS);
        let segments = segments.ok_or_else(|| ChainError::NoWay { base: base.into(), tip: tip.into() })?;
        let mut known = Vec::with_capacity(segments.len());
        for segment in segments {
            let index = joints.iter().position(|joint| joint.name == segment.name);
            if index.is_none() != (segment.motion == Motion::Fixed) {
                return Err(ChainError::Joint(segment.name));
            }
            known.push((segment, index));
        }
        let stray = joints.iter().enumerate().find(|(nth, _)| !known.iter().any(|(_, index)| *index == Some(*nth)));
        if let Some((_, joint)) = stray {
            return Err(ChainError::Joint(joint.name.clone()));
        }
        Ok(Chain { segments: known, joints: joints.to_vec(), base: base.into() })
    }

    /// Takes the joints' limits as they are now, in the same order.
    pub(crate) fn limit(&mut self, joints: &[JointLimits]) {
        self.joints = joints.to_vec();
    }

    /// The link that poses are in.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where the tip is in the frame of the base, for positions of all joints.
    pub fn forward(&self, positions: &[f64]) -> Isometry3<f64> {
        self.walk(positions, |_, _, _| {})
    }

    /// `see` gets each joint's number, its frame before it moves, and how it moves.
    fn walk(&self, positions: &[f64], mut see: impl FnMut(usize, &Isometry3<f64>, Motion)) -> Isometry3<f64> {
        let mut pose = Isometry3::identity();
        for (segment, index) in &self.segments {
            pose *= segment.origin;
            let Some(index) = *index else { continue };
            see(index, &pose, segment.motion);
            let position = positions.get(index).copied().unwrap_or_default();
            match segment.motion {
                Motion::Fixed => {}
                Motion::Turn(axis) => pose *= UnitQuaternion::from_axis_angle(&axis, position),
                Motion::Slide(axis) => pose *= Translation3::from(axis.into_inner() * position),
            }
        }
        pose
    }

    /// How the tip moves with each joint: velocities (3) over turning speeds (3), for each joint a column.
    fn jacobian(&self, positions: &[f64]) -> (Isometry3<f64>, DMatrix<f64>) {
        let mut frames = Vec::with_capacity(self.joints.len());
        let tip = self.walk(positions, |index, frame, motion| frames.push((index, *frame, motion)));
        let mut jacobian = DMatrix::zeros(6, self.joints.len());
        for (index, frame, motion) in frames {
            let (linear, angular) = match motion {
                Motion::Fixed => continue,
                Motion::Turn(axis) => {
                    let axis = frame.rotation * axis.into_inner();
                    (axis.cross(&(tip.translation.vector - frame.translation.vector)), axis)
                }
                Motion::Slide(axis) => (frame.rotation * axis.into_inner(), Vector3::zeros()),
            };
            jacobian.view_mut((0, index), (3, 1)).copy_from(&linear);
            jacobian.view_mut((3, index), (3, 1)).copy_from(&angular);
        }
        (tip, jacobian)
    }

    /// Force at the tip that the joints' efforts tell of, N; what holds the arm itself up is part of it.
    pub fn force(&self, positions: &[f64], efforts: &[f64]) -> f64 {
        let (_, jacobian) = self.jacobian(positions);
        let linear = jacobian.rows(0, 3).transpose();
        let efforts = DVector::from_iterator(self.joints.len(), efforts.iter().copied());
        linear.svd(true, true).solve(&efforts, 1e-3).map_or(0.0, |force| force.norm())
    }

    /// Positions that bring the tip to `target`; none where no start leads there.
    pub fn solve(&self, target: &Isometry3<f64>, near: &[f64]) -> Option<Vec<f64>> {
        let middle = |joint: &JointLimits| if joint.is_continuous() { 0.0 } else { (joint.lower + joint.upper) / 2.0 };
        let spread = |share: f64| {
            let at = |(nth, joint): (usize, &JointLimits)| {
                let room = if joint.is_continuous() { std::f64::consts::PI } else { (joint.upper - joint.lower) / 2.0 };
                middle(joint) + room * share * if nth % 2 == 0 { 1.0 } else { -1.0 }
            };
            self.joints.iter().enumerate().map(at).collect::<Vec<f64>>()
        };
        let starts = std::iter::once(near.to_vec()).chain([0.0, 0.3, -0.3, 0.6, -0.6].map(spread));
        starts.into_iter().find_map(|start| self.descend(target, start))
    }

    fn descend(&self, target: &Isometry3<f64>, mut positions: Vec<f64>) -> Option<Vec<f64>> {
        let rows = if self.joints.len() < 6 { 3 } else { 6 };
        for _ in 0..STEPS {
            let (tip, jacobian) = self.jacobian(&positions);
            let way = target.translation.vector - tip.translation.vector;
            let turn = (target.rotation * tip.rotation.inverse()).scaled_axis();
            if way.norm() < THERE.0 && (rows == 3 || turn.norm() < THERE.1) {
                return Some(positions);
            }
            let error = DVector::from_iterator(rows, way.iter().chain(turn.iter()).copied().take(rows));
            let jacobian = jacobian.rows(0, rows);
            let square = jacobian * jacobian.transpose() + DMatrix::identity(rows, rows) * (DAMPING * DAMPING);
            let step = jacobian.transpose() * square.cholesky()?.solve(&error);
            let scale = (LONGEST / step.amax().max(LONGEST)).min(1.0);
            for ((position, change), joint) in positions.iter_mut().zip(step.iter()).zip(&self.joints) {
                *position = (*position + change * scale).clamp(joint.lower, joint.upper);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::urdf::Description;
    use super::*;

    const ARM: &str = include_str!("../../../ecps_sim/urdf/arm.urdf");

    fn chain() -> Chain {
        let robot = Description::parse(ARM).unwrap();
        let joints = ["shoulder_pan", "shoulder_lift", "elbow"].map(|name| robot.limits(name).unwrap());
        robot.chain("base_footprint", "hand", &joints).unwrap()
    }

    #[test]
    fn the_tip_is_where_geometry_has_it() {
        let at = |positions: &[f64]| chain().forward(positions).translation.vector;
        assert!((at(&[0.0, 0.0, 0.0]) - Vector3::new(0.6, 0.0, 0.3)).norm() < 1e-9);
        assert!((at(&[std::f64::consts::FRAC_PI_2, 0.0, 0.0]) - Vector3::new(0.0, 0.6, 0.3)).norm() < 1e-9);
        let up = -std::f64::consts::FRAC_PI_2;
        assert!((at(&[0.0, up, 0.0]) - Vector3::new(0.0, 0.0, 0.9)).norm() < 1e-9, "turned about y, x goes up");
    }

    #[test]
    fn it_finds_the_joints_for_a_place_and_none_for_one_out_of_reach() {
        let chain = chain();
        for place in [[0.4, 0.1, 0.4], [0.3, -0.3, 0.2], [0.2, 0.2, 0.6], [-0.2, 0.3, 0.3]] {
            let target = Isometry3::translation(place[0], place[1], place[2]);
            let found = chain.solve(&target, &[0.0, 0.0, 0.0]).unwrap_or_else(|| panic!("{place:?}"));
            let off = chain.forward(&found).translation.vector - target.translation.vector;
            assert!(off.norm() < 1e-3, "{place:?}: {off}");
            for (joint, position) in chain.joints.iter().zip(&found) {
                assert!((joint.lower..=joint.upper).contains(position), "{} at {position}", joint.name);
            }
        }
        assert_eq!(chain.solve(&Isometry3::translation(2.0, 0.0, 0.3), &[0.0; 3]), None);
    }

    #[test]
    fn efforts_tell_of_the_force_at_the_tip() {
        let chain = chain();
        let positions = [0.2, -0.4, 0.9];
        let force = Vector3::new(3.0, -4.0, 12.0);
        let (_, jacobian) = chain.jacobian(&positions);
        let efforts = jacobian.rows(0, 3).transpose() * DVector::from_row_slice(force.as_slice());
        assert!((chain.force(&positions, efforts.as_slice()) - 13.0).abs() < 1e-6);
    }

    #[test]
    fn ways_that_are_none_are_named() {
        let robot = Description::parse(ARM).unwrap();
        let joints = ["shoulder_pan", "shoulder_lift"].map(|name| robot.limits(name).unwrap());
        let refused = |base, tip| robot.chain(base, tip, &joints).unwrap_err().to_string();
        assert!(refused("base_footprint", "tail").contains("'tail'"));
        assert!(refused("base_footprint", "hand").contains("joint 'elbow'"));
        assert!(refused("base_footprint", "turret").contains("joint 'shoulder_lift'"));
    }
}
