//! The shape of a trajectory: sizes, numbers, and times that rise to an end at rest.

use std::time::Duration;

use super::config::GROUP_JOINTS;
use super::gate::{ROUNDING, nanos};
use super::trajectory::{Trajectory, seconds};
use crate::reason::Refusal;

/// Most points of a trajectory.
pub const POINTS: usize = 4096;
/// Most numbers in a trajectory: raw and applied together fit a record of the journal.
pub const NUMBERS: usize = 16_384;
/// Most names that the record of a refused trajectory keeps.
pub(crate) const JOINTS_KEPT: usize = 64;
/// Longest trajectory.
pub const LONGEST: Duration = Duration::from_secs(600);

/// The rules on sizes, numbers and times.
pub(super) fn check_shape(trajectory: &Trajectory) -> Result<(), Refusal> {
    let malformed = |what: String| Err(Refusal::JointMalformed { what });
    let (joints, points) = (trajectory.joints.len(), trajectory.points.len());
    if joints > GROUP_JOINTS {
        return malformed(format!("it names {joints} joints, and may name {GROUP_JOINTS}"));
    }
    if points == 0 || points > POINTS {
        return malformed(format!("it has {points} points, and must have 1 to {POINTS}"));
    }
    let numbers = trajectory.numbers();
    if numbers > NUMBERS {
        return malformed(format!("it has {numbers} numbers, and may have {NUMBERS}"));
    }
    let mut before = None;
    for (nth, point) in trajectory.points.iter().enumerate() {
        for (list, values, needed) in [
            ("positions", &point.positions, true),
            ("velocities", &point.velocities, false),
            ("accelerations", &point.accelerations, false),
            ("effort", &point.effort, false),
        ] {
            if values.len() != joints && (needed || !values.is_empty()) {
                let found = values.len();
                return malformed(format!("point {nth} has {found} {list} for {joints} joints"));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Refusal::JointNotFinite { point: nth, list, value: *value });
            }
        }
        if point.time_ns < 0 || before.is_some_and(|before| point.time_ns <= before) {
            let seconds = seconds(point.time_ns);
            return malformed(format!("time_from_start of point {nth} is {seconds} s, which does not rise from 0"));
        }
        if point.time_ns > nanos(LONGEST) {
            let seconds = seconds(point.time_ns);
            return malformed(format!("point {nth} comes after {seconds} s, and {LONGEST:?} are the most"));
        }
        before = Some(point.time_ns);
    }
    match trajectory.points.last().and_then(|last| last.velocities.iter().find(|velocity| velocity.abs() > ROUNDING)) {
        Some(velocity) => malformed(format!("it ends while moving, at {velocity} per second")),
        None => Ok(()),
    }
}
