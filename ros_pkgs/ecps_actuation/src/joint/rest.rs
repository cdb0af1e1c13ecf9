//! How a group of joints comes to rest.

use std::time::Duration;

use ecps_core::clock::Steady;

use super::gate::{JointGate, nanos};
use super::trajectory::Trajectory;
use crate::ticket::SafeState;

/// Least time in which a joint is held or brought to rest.
const HOLD: Duration = Duration::from_millis(100);

impl JointGate {
    /// The way of a group into its safe state; none where nobody knows where its joints are and nothing moves them.
    ///
    /// ros2_control's joint trajectory controller refuses an empty trajectory, so that holding is a way of one point. A
    /// joint that moves is held where braking ends, since a controller would otherwise turn it back.
    pub fn rest(&self, group: usize, now: Steady) -> Option<Trajectory> {
        let joints = self.groups().get(group)?;
        let mut positions = Vec::with_capacity(joints.joints.len());
        let mut longest = HOLD.as_secs_f64();
        for (index, joint) in joints.joints.iter().enumerate() {
            let known = self.reading(&joint.name, now).map(|reading| (reading.position, reading.velocity));
            let (position, velocity) = known.or_else(|| Some((self.estimate(group, &joint.name, now)?, 0.0)))?;
            let (target, time) = match (joints.safe, joints.open.get(index)) {
                (SafeState::Open, Some(open)) => (*open, 1.5 * (open - position).abs() / joint.velocity),
                _ => {
                    let brake = joint.braking();
                    let ahead = position + velocity * velocity.abs() / (2.0 * brake);
                    // Where it is, it may stay; only braking does not lead out of the limits.
                    let target = ahead.clamp(joint.lower.min(position), joint.upper.max(position));
                    (target, velocity.abs() / brake)
                }
            };
            positions.push(target);
            longest = longest.max(time);
        }
        let names = joints.joints.iter().map(|joint| joint.name.clone()).collect();
        Some(Trajectory::to_rest(names, positions, (longest * 1e9).ceil() as i64))
    }

    /// Where a joint should be that is not measured any more.
    fn estimate(&self, group: usize, joint: &str, now: Steady) -> Option<f64> {
        let run = self.run(group)?;
        let index = run.trajectory.joints.iter().position(|name| name == joint)?;
        run.trajectory.sample(index, *run.from.get(index)?, nanos(now.since(run.started)))
    }
}
