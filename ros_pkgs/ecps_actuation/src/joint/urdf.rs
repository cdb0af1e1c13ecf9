//! Limits of joints in a robot's description (URDF).

use ecps_core::check::{self, CheckError};
use nalgebra::{Isometry3, Unit, UnitQuaternion, Vector3};
use thiserror::Error;
use urdf_rs::JointType;

use super::chain::{Chain, ChainError, Motion, Segment};
use super::limits::JointLimits;

/// Largest description, bytes.
pub const URDF_BYTES: usize = 4 << 20;
/// Most joints of a robot.
pub const URDF_JOINTS: usize = 1024;

/// Why a description tells nothing.
#[derive(Debug, Error)]
pub enum UrdfError {
    /// Too large, or too many joints.
    #[error(transparent)]
    Size(#[from] CheckError),
    /// It is no URDF.
    #[error("the robot's description is no URDF: {0}")]
    Malformed(#[from] urdf_rs::UrdfError),
    /// It has no such joint.
    #[error("the robot's description has no joint '{0}'")]
    NoSuchJoint(String),
    /// A joint that is not moved by itself.
    #[error("joint '{joint}' follows joint '{follows}' (mimic), so it cannot be commanded: name that one instead")]
    Mimic {
        /// The joint.
        joint: String,
        /// The joint that it follows.
        follows: String,
    },
    /// A joint that has no single position.
    #[error("joint '{joint}' is {kind}, and only revolute, continuous and prismatic joints can be commanded")]
    Kind {
        /// The joint.
        joint: String,
        /// What it is.
        kind: String,
    },
}

/// A robot's description.
#[derive(Debug, Clone)]
pub struct Description {
    robot: urdf_rs::Robot,
}

impl Description {
    /// Reads an URDF of at most [`URDF_BYTES`] and [`URDF_JOINTS`].
    pub fn parse(xml: &str) -> Result<Description, UrdfError> {
        check::at_most("the robot's description", xml.len(), URDF_BYTES, "bytes")?;
        let robot = urdf_rs::read_from_string(xml)?;
        check::at_most("the robot's description", robot.joints.len(), URDF_JOINTS, "joints")?;
        Ok(Description { robot })
    }

    /// What the description allows joint `name` to do. Soft limits of a `safety_controller` count where they are stricter.
    pub fn limits(&self, name: &str) -> Result<JointLimits, UrdfError> {
        let joint = self.robot.joints.iter().find(|joint| joint.name == name);
        let joint = joint.ok_or_else(|| UrdfError::NoSuchJoint(name.chars().take(64).collect()))?;
        if let Some(mimic) = &joint.mimic {
            return Err(UrdfError::Mimic { joint: name.into(), follows: mimic.joint.clone() });
        }
        let limit = &joint.limit;
        let mut limits = JointLimits {
            velocity: limit.velocity,
            acceleration: limit.acceleration,
            effort: limit.effort,
            ..JointLimits::unlimited(name)
        };
        match joint.joint_type {
            JointType::Revolute | JointType::Prismatic => (limits.lower, limits.upper) = (limit.lower, limit.upper),
            JointType::Continuous => {}
            ref other => {
                let kind = format!("{other:?}").to_lowercase();
                return Err(UrdfError::Kind { joint: name.into(), kind });
            }
        }
        // Where a description leaves both out they are 0, which is no range.
        if let Some(soft) = &joint.safety_controller
            && soft.soft_lower_limit < soft.soft_upper_limit
        {
            limits.lower = limits.lower.max(soft.soft_lower_limit);
            limits.upper = limits.upper.min(soft.soft_upper_limit);
        }
        Ok(limits)
    }
}

impl Description {
    /// The way from link `base` to link `tip`, for an arm with these joints.
    pub fn chain(&self, base: &str, tip: &str, joints: &[JointLimits]) -> Result<Chain, ChainError> {
        Chain::new(base, tip, self.way(base, tip), joints)
    }

    /// From the tip up, since each link has one parent.
    fn way(&self, base: &str, tip: &str) -> Option<Vec<Segment>> {
        let mut segments = Vec::new();
        let mut link = tip.to_owned();
        while link != base {
            let joint = self.robot.joints.iter().find(|joint| joint.child.link == link)?;
            let axis = || Unit::try_new(Vector3::from(joint.axis.xyz.0), 1e-9);
            let motion = match joint.joint_type {
                JointType::Fixed => Motion::Fixed,
                JointType::Revolute | JointType::Continuous => Motion::Turn(axis()?),
                JointType::Prismatic => Motion::Slide(axis()?),
                _ => return None,
            };
            let [roll, pitch, yaw] = joint.origin.rpy.0;
            let rotation = UnitQuaternion::from_euler_angles(roll, pitch, yaw);
            let origin = Isometry3::from_parts(Vector3::from(joint.origin.xyz.0).into(), rotation);
            segments.push(Segment { name: joint.name.clone(), origin, motion });
            if segments.len() > URDF_JOINTS {
                return None;
            }
            link.clone_from(&joint.parent.link);
        }
        segments.reverse();
        Some(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROBOT: &str = r#"<robot name="r" version="1.2">
      <link name="a"/><link name="b"/><link name="c"/><link name="d"/><link name="e"/><link name="f"/>
      <joint name="lift" type="prismatic"><parent link="a"/><child link="b"/>
        <limit lower="0" upper="0.5" effort="100" velocity="0.2"/>
        <safety_controller soft_lower_limit="0.02" soft_upper_limit="0.45" k_velocity="10"/></joint>
      <joint name="spin" type="continuous"><parent link="b"/><child link="c"/><limit effort="5" velocity="2"/></joint>
      <joint name="elbow" type="revolute"><parent link="c"/><child link="d"/>
        <limit lower="-1" upper="2" effort="10" velocity="1.5" acceleration="3"/></joint>
      <joint name="finger" type="prismatic"><parent link="d"/><child link="e"/>
        <limit lower="0" upper="0.04" effort="20" velocity="0.1"/><mimic joint="elbow"/></joint>
      <joint name="mount" type="fixed"><parent link="d"/><child link="f"/></joint></robot>"#;

    #[test]
    fn each_kind_of_joint_is_read_and_soft_limits_count() {
        let robot = Description::parse(ROBOT).unwrap();
        let lift = robot.limits("lift").unwrap();
        assert_eq!((lift.lower, lift.upper, lift.velocity, lift.effort), (0.02, 0.45, 0.2, 100.0));
        let spin = robot.limits("spin").unwrap();
        assert!(spin.is_continuous() && spin.velocity == 2.0);
        let elbow = robot.limits("elbow").unwrap();
        assert_eq!((elbow.lower, elbow.upper, elbow.acceleration), (-1.0, 2.0, 3.0));
        assert_eq!(lift.acceleration, f64::INFINITY);
        for limits in [lift, spin, elbow] {
            limits.check().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_commanded_is_named() {
        let robot = Description::parse(ROBOT).unwrap();
        let refused = |name: &str| robot.limits(name).unwrap_err().to_string();
        assert!(refused("finger").contains("follows joint 'elbow'"));
        assert!(refused("mount").contains("is fixed"));
        assert!(refused("tail").contains("no joint 'tail'"));
        assert!(Description::parse("<robot").unwrap_err().to_string().contains("no URDF"));
        assert!(Description::parse(&" ".repeat(URDF_BYTES + 1)).unwrap_err().to_string().contains("bytes"));
    }
}
