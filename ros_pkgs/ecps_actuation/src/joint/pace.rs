//! How fast the joints really go on a way, stretch by stretch, and by how much that is too fast.

use super::gate::ROUNDING;
use super::limits::JointLimits;
use super::trajectory::{Curve, Knot, Trajectory, seconds};
use crate::reason::Reason;

/// A stretch of one joint's way.
pub(crate) struct Stretch {
    pub(crate) curve: Curve,
    seconds: f64,
    /// Whether points have positions alone, so that the velocity jumps between stretches.
    straight: bool,
}

/// The stretches of a joint's way, the first from where it is; one that takes no time is left out.
pub(crate) fn stretches(trajectory: &Trajectory, index: usize, start: Knot) -> impl Iterator<Item = Stretch> {
    let mut before = (0, start);
    trajectory.points.iter().filter_map(move |point| {
        let knot = Knot::of(point, index)?;
        let (from, length) = (before.1, point.time_ns - before.0);
        before = (point.time_ns, knot);
        let straight = knot.velocity.is_none() || from.velocity.is_none();
        let curve = (length > 0).then(|| Curve::between(from, knot, seconds(length)))?;
        Some(Stretch { curve, seconds: seconds(length), straight })
    })
}

/// By how much a way is too fast.
pub(crate) struct Excess {
    pub(crate) factor: f64,
    pub(crate) joint: String,
    pub(crate) reason: Reason,
}

/// What asks for the most time; none where all is within limits.
pub(crate) fn worst(trajectory: &Trajectory, limits: &[&JointLimits], from: &[Knot]) -> Option<Excess> {
    let mut worst: Option<Excess> = None;
    let mut note = |factor: f64, joint: &JointLimits, reason| {
        if factor > 1.0 + ROUNDING && worst.as_ref().is_none_or(|worst| factor > worst.factor) {
            worst = Some(Excess { factor, joint: joint.name.clone(), reason });
        }
    };
    for (index, (joint, start)) in limits.iter().zip(from).enumerate() {
        let mut before: Option<(f64, f64)> = None;
        for stretch in stretches(trajectory, index, *start) {
            let speed = stretch.curve.derivative();
            note(speed.greatest_amount(joint.velocity) / joint.velocity, joint, Reason::JointVelocity);
            if joint.acceleration.is_infinite() {
                continue;
            }
            if stretch.straight {
                // Straight lines turn in no time; what counts is how much in the time of their halves.
                let (velocity, seconds) = (speed.at(0.0), stretch.seconds);
                let (was, since) = before.unwrap_or((start.velocity.unwrap_or(0.0), seconds));
                let change = (velocity - was).abs() / ((since + seconds) / 2.0);
                note((change / joint.acceleration).sqrt(), joint, Reason::JointAcceleration);
                before = Some((velocity, seconds));
            } else {
                let change = speed.derivative().greatest_amount(joint.acceleration);
                note((change / joint.acceleration).sqrt(), joint, Reason::JointAcceleration);
            }
        }
        if let Some((velocity, seconds)) = before {
            note((velocity.abs() / seconds / joint.acceleration).sqrt(), joint, Reason::JointAcceleration);
        }
    }
    worst
}
