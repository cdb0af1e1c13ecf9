//! Where the robot is, as measured, and the digest of it.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::motion::Velocity;

/// A pose on the floor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlanarPose {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Radians, counterclockwise from the x axis, in (−π, π].
    pub yaw: f64,
}

/// An angle brought into (−π, π].
pub fn wrap(angle: f64) -> f64 {
    let turned = angle.rem_euclid(std::f64::consts::TAU);
    if turned > std::f64::consts::PI { turned - std::f64::consts::TAU } else { turned }
}

impl PlanarPose {
    /// From position (x, y, z) in metres and quaternion (x, y, z, w): height and tilt are left out. Refuses what is not
    /// finite and a quaternion that is not of unit length. `field` names the pose in errors.
    pub fn from_parts(field: &str, position: [f64; 3], quaternion: [f64; 4]) -> Result<PlanarPose, CheckError> {
        for value in position {
            check::finite(&format!("{field}.position"), value)?;
        }
        check::unit_quaternion(&format!("{field}.orientation"), quaternion)?;
        let ([x, y, _], [qx, qy, qz, qw]) = (position, quaternion);
        let yaw = (2.0 * (qw * qz + qx * qy)).atan2(1.0 - 2.0 * (qy * qy + qz * qz));
        Ok(PlanarPose { x, y, yaw: wrap(yaw) })
    }

    /// Orientation as a quaternion (x, y, z, w).
    pub fn quaternion(self) -> [f64; 4] {
        let (sin, cos) = (self.yaw / 2.0).sin_cos();
        [0.0, 0.0, sin, cos]
    }

    /// Metres over ground.
    pub fn distance(self, other: PlanarPose) -> f64 {
        (other.x - self.x).hypot(other.y - self.y)
    }
}

/// What odometry says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeasuredState {
    /// Pose in the executor's frame.
    pub pose: PlanarPose,
    /// Velocity in the robot's frame.
    pub velocity: Velocity,
    /// How far the gripper is open, 0 closed to 1 open, where there is one that is measured.
    pub gripper: Option<f64>,
    /// The message's stamp.
    pub stamp: Stamp,
}

/// Why a measured state is not taken.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StateError {
    /// NaN, infinity.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// The same measurement again: whoever publishes it does not measure any more.
    #[error("the state's stamp is {stamp_ns} ns as in the message before, so it is no new measurement")]
    Repeated {
        /// The stamp.
        stamp_ns: i64,
    },
    /// Measured in another frame.
    #[error("the state is measured in frame '{found}', and this executor works in '{expected}'")]
    Frame {
        /// Frame of the message.
        found: String,
        /// Frame of the parameters.
        expected: String,
    },
}

/// Version and purpose of the digest; first of what is hashed.
const DOMAIN: &[u8] = b"ecps-state/1";
/// The same of a robot with a gripper.
const DOMAIN_WITH_GRIPPER: &[u8] = b"ecps-state/2";

impl MeasuredState {
    /// Refuses what is not finite.
    pub fn check(&self) -> Result<(), CheckError> {
        let (p, v) = (self.pose, self.velocity);
        for (field, value) in [
            ("pose.x", p.x),
            ("pose.y", p.y),
            ("pose.yaw", p.yaw),
            ("twist.x", v.x),
            ("twist.y", v.y),
            ("twist.yaw", v.yaw),
            ("gripper", self.gripper.unwrap_or_default()),
        ] {
            check::finite(field, value)?;
        }
        Ok(())
    }

    /// Digest of the state, `state_sha` of the protocol: SHA-256 of the ASCII bytes `ecps-state/1`, then seven signed
    /// 64-bit little-endian integers: x, y in mm; yaw, wrapped to (−π, π], in mrad; velocity x, y in mm/s; yaw rate in
    /// mrad/s; stamp in ms. Each is rounded to the nearest, halves away from zero; the stamp is rounded down. Where a gripper is
    /// measured the bytes are `ecps-state/2`, and before the stamp comes how far it is open, in thousandths.
    pub fn sha(&self) -> [u8; 32] {
        let milli = |value: f64| (value * 1e3).round() as i64;
        let (p, v) = (self.pose, self.velocity);
        let mut hash = Sha256::new();
        hash.update(if self.gripper.is_some() { DOMAIN_WITH_GRIPPER } else { DOMAIN });
        for value in [p.x, p.y, wrap(p.yaw), v.x, v.y, v.yaw].map(milli) {
            hash.update(value.to_le_bytes());
        }
        if let Some(open) = self.gripper {
            hash.update(milli(open).to_le_bytes());
        }
        hash.update(self.stamp.0.div_euclid(1_000_000).to_le_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_holds_below_the_quantum_and_changes_above_it() {
        let state = MeasuredState {
            pose: PlanarPose { x: 1.0, y: -2.0, yaw: 0.5 },
            velocity: Velocity { x: 0.25, y: 0.0, yaw: -0.1 },
            gripper: Some(0.5),
            stamp: Stamp(1_000_000_000),
        };
        let changed = |change: fn(&mut MeasuredState)| {
            let mut other = state;
            change(&mut other);
            other.sha() != state.sha()
        };
        assert!(!changed(|s| s.pose.x += 0.0004));
        assert!(!changed(|s| s.pose.yaw += std::f64::consts::TAU));
        assert!(!changed(|s| s.stamp.0 += 999_999));
        for change in [
            |s: &mut MeasuredState| s.pose.x += 0.001,
            |s: &mut MeasuredState| s.pose.y += 0.001,
            |s: &mut MeasuredState| s.pose.yaw += 0.001,
            |s: &mut MeasuredState| s.velocity.x += 0.001,
            |s: &mut MeasuredState| s.velocity.y += 0.001,
            |s: &mut MeasuredState| s.velocity.yaw += 0.001,
            |s: &mut MeasuredState| s.stamp.0 += 1_000_000,
            |s: &mut MeasuredState| s.gripper = Some(0.501),
            |s: &mut MeasuredState| s.gripper = None,
        ] {
            assert!(changed(change));
        }
    }

    #[test]
    fn the_digest_is_the_documented_one() {
        let digest = |domain: &[u8], values: &[i64]| -> [u8; 32] {
            let numbers = values.iter().flat_map(|value| value.to_le_bytes());
            Sha256::digest(domain.iter().copied().chain(numbers).collect::<Vec<u8>>()).into()
        };
        let state = MeasuredState {
            pose: PlanarPose { x: 1.0, y: -2.0, yaw: 0.5 },
            velocity: Velocity { x: 0.25, y: 0.0, yaw: -0.1 },
            gripper: None,
            stamp: Stamp(1_000_000_000),
        };
        assert_eq!(state.sha(), digest(b"ecps-state/1", &[1000, -2000, 500, 250, 0, -100, 1000]));
        let open = MeasuredState { gripper: Some(1.0), ..state };
        assert_eq!(open.sha(), digest(b"ecps-state/2", &[1000, -2000, 500, 250, 0, -100, 1000, 1000]));
    }

    #[test]
    fn a_pose_survives_its_quaternion() {
        for yaw in [0.0, 1.0, -3.0, std::f64::consts::PI] {
            let pose = PlanarPose { x: 1.0, y: 2.0, yaw };
            let back = PlanarPose::from_parts("p", [1.0, 2.0, 9.0], pose.quaternion()).unwrap();
            assert!(wrap(back.yaw - yaw).abs() < 1e-12);
        }
        assert!(PlanarPose::from_parts("p", [f64::NAN, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]).is_err());
        assert!(PlanarPose::from_parts("p", [0.0; 3], [0.0; 4]).is_err());
    }
}
