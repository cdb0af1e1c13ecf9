//! Where the robot was when: recent odometry, asked by time.

use std::collections::VecDeque;

use ecps_core::clock::Stamp;
use nalgebra::Isometry3;

/// Poses kept: 10 s of odometry at 50 Hz.
const KEPT: usize = 500;
/// A reading further from the nearest pose than this has no pose.
const TOLERANCE_NS: i64 = 200_000_000;

/// A measured pose.
#[derive(Debug, Clone, PartialEq)]
pub struct StampedPose {
    /// When.
    pub stamp: Stamp,
    /// In which frame.
    pub frame_id: String,
    /// Where, metres and a unit quaternion.
    pub pose: Isometry3<f64>,
}

/// The newest poses, oldest first.
#[derive(Debug, Default)]
pub struct Poses(VecDeque<StampedPose>);

impl Poses {
    /// Takes a pose in. One older than the newest starts anew: time was set back.
    pub fn push(&mut self, pose: StampedPose) {
        if self.0.back().is_some_and(|newest| pose.stamp < newest.stamp) {
            self.0.clear();
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(pose);
    }

    /// The pose at `stamp`, interpolated between its neighbours; the nearest within 0.2 s at either end.
    pub fn at(&self, stamp: Stamp) -> Option<StampedPose> {
        let after = self.0.iter().position(|pose| pose.stamp >= stamp);
        let near = |pose: &StampedPose| pose.stamp.nanos_since(stamp).abs() <= TOLERANCE_NS;
        let Some(after) = after else { return self.0.back().filter(|pose| near(pose)).cloned() };
        let later = self.0.get(after)?;
        let Some(earlier) = after.checked_sub(1).and_then(|before| self.0.get(before)) else {
            return Some(later).filter(|pose| near(pose)).cloned();
        };
        if !near(earlier) && !near(later) {
            return None;
        }
        let span = later.stamp.nanos_since(earlier.stamp) as f64;
        let share = if span > 0.0 { stamp.nanos_since(earlier.stamp) as f64 / span } else { 0.0 };
        let translation = earlier.pose.translation.vector.lerp(&later.pose.translation.vector, share);
        let rotation =
            earlier.pose.rotation.try_slerp(&later.pose.rotation, share, 1e-9).unwrap_or(later.pose.rotation);
        Some(StampedPose {
            stamp,
            frame_id: later.frame_id.clone(),
            pose: Isometry3::from_parts(translation.into(), rotation),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Stamp {
        Stamp((seconds * 1e9) as i64)
    }

    fn poses() -> Poses {
        let mut poses = Poses::default();
        for i in 0..3 {
            let pose = Isometry3::translation(f64::from(i), 0.0, 0.0);
            poses.push(StampedPose { stamp: at(1.0 + 0.1 * f64::from(i)), frame_id: "odom".into(), pose });
        }
        poses
    }

    #[test]
    fn between_two_poses_it_is_interpolated() {
        let pose = poses().at(at(1.15)).unwrap();
        assert!((pose.pose.translation.x - 1.5).abs() < 1e-6);
        assert_eq!(pose.stamp, at(1.15));
    }

    #[test]
    fn too_far_from_any_pose_there_is_none() {
        assert!(poses().at(at(1.35)).is_some());
        assert!(poses().at(at(1.45)).is_none());
        assert!(poses().at(at(0.7)).is_none());
        assert!(Poses::default().at(at(1.0)).is_none());
    }

    #[test]
    fn time_set_back_forgets_what_was() {
        let mut poses = poses();
        poses.push(StampedPose { stamp: at(0.0), frame_id: "odom".into(), pose: Isometry3::identity() });
        assert!(poses.at(at(1.1)).is_none());
    }
}
