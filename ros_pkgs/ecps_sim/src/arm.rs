//! An arm of three joints with a gripper, which follow trajectories as a joint trajectory controller has them do.
//!
//! Each joint has a motor with a greatest velocity and acceleration, which it keeps whatever is asked of it: who asks for
//! more gets less. Fingers stop at what is between them and press on it.

use std::time::Duration;

use ecps_core::check::{CheckError, at_most, finite};
use thiserror::Error;

/// The robot's description, with the limits of [`JOINTS`] but for the acceleration, which it cannot tell.
pub const URDF: &str = include_str!("../urdf/arm.urdf");
/// Most points of a trajectory.
pub const POINTS: usize = 4096;

/// What one joint is able to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointSpec {
    /// Its name in the URDF.
    pub name: &'static str,
    /// Least position, rad or m.
    pub lower: f64,
    /// Greatest position, rad or m.
    pub upper: f64,
    /// Greatest velocity, per second.
    pub velocity: f64,
    /// Greatest acceleration, per second².
    pub acceleration: f64,
    /// Greatest effort, N m or N.
    pub effort: f64,
}

/// The arm's joints, and the gripper's last.
pub const JOINTS: [JointSpec; 4] = [
    JointSpec { name: "shoulder_pan", lower: -2.6, upper: 2.6, velocity: 1.5, acceleration: 6.0, effort: 30.0 },
    JointSpec { name: "shoulder_lift", lower: -1.6, upper: 1.6, velocity: 1.5, acceleration: 6.0, effort: 30.0 },
    JointSpec { name: "elbow", lower: -2.4, upper: 2.4, velocity: 2.0, acceleration: 8.0, effort: 20.0 },
    JointSpec { name: FINGER, lower: 0.0, upper: 0.04, velocity: 0.1, acceleration: 1.0, effort: 40.0 },
];

/// The gripper's joint: half of the way between the fingers.
pub const FINGER: &str = "finger";
/// How the fingers press on what is between them, N per metre that they are asked to go beyond it.
const STIFFNESS: f64 = 2000.0;

/// A point of a trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct WayPoint {
    /// After the start.
    pub time: Duration,
    /// Of each joint named, rad or m.
    pub positions: Vec<f64>,
    /// Of each joint named, per second; empty: straight lines.
    pub velocities: Vec<f64>,
}

/// Why a trajectory is not followed. What was followed before goes on.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WayError {
    /// The robot has no arm.
    #[error("the robot has no arm")]
    NoArm,
    /// A joint that the arm does not have.
    #[error("the arm has no joint {name:?}")]
    NoSuchJoint {
        /// Its name.
        name: String,
    },
    /// Lists of different lengths, times that do not rise, or no point.
    #[error("the trajectory is malformed: {0}")]
    Malformed(&'static str),
    /// Too many points, or a number that is not finite.
    #[error(transparent)]
    Invalid(#[from] CheckError),
}

/// A joint at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    spec: JointSpec,
    position: f64,
    velocity: f64,
    effort: f64,
    /// (time in ns, position, velocity where it is given), the first of them where it was at the start.
    way: Vec<(u64, f64, Option<f64>)>,
}

impl Joint {
    /// What it is able to do.
    #[must_use]
    pub fn spec(&self) -> &JointSpec {
        &self.spec
    }

    /// rad or m.
    #[must_use]
    pub fn position(&self) -> f64 {
        self.position
    }

    /// Per second.
    #[must_use]
    pub fn velocity(&self) -> f64 {
        self.velocity
    }

    /// N m or N.
    #[must_use]
    pub fn effort(&self) -> f64 {
        self.effort
    }

    /// Where it is to be at `now_ns`.
    fn wanted(&self, now_ns: u64) -> f64 {
        let mut before: Option<&(u64, f64, Option<f64>)> = None;
        for next in &self.way {
            if now_ns < next.0 {
                let Some((from_ns, p, v)) = before else { return next.1 };
                let seconds = (next.0 - from_ns) as f64 * 1e-9;
                let s = (now_ns - from_ns) as f64 * 1e-9 / seconds;
                let (q, Some(v), Some(w)) = (next.1, *v, next.2) else { return p + (next.1 - p) * s };
                // Cubic Hermite.
                let (v, w) = (v * seconds, w * seconds);
                return p + s * (v + s * (3.0 * (q - p) - 2.0 * v - w + s * (2.0 * (p - q) + v + w)));
            }
            before = Some(next);
        }
        before.map_or(self.position, |last| last.1)
    }

    fn advance(&mut self, now_ns: u64, seconds: f64, floor: f64) {
        let spec = self.spec;
        let wanted = self.wanted(now_ns);
        let left = wanted.clamp(spec.lower, spec.upper) - self.position;
        // As fast as still lets it brake before it is there.
        let speed = (left.abs() / seconds).min((2.0 * spec.acceleration * left.abs()).sqrt()).min(spec.velocity);
        let change = spec.acceleration * seconds;
        self.velocity += (speed.copysign(left) - self.velocity).clamp(-change, change);
        let next = self.position + self.velocity * seconds;
        let least = floor.max(spec.lower);
        self.position = next.clamp(least, spec.upper);
        if self.position != next {
            self.velocity = 0.0;
        }
        let pressed = (self.position - wanted).max(0.0) * STIFFNESS;
        self.effort = if self.position <= floor && floor > spec.lower { -pressed.min(spec.effort) } else { 0.0 };
    }
}

/// The arm of a robot.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    joints: Vec<Joint>,
    /// Position at which the finger meets something; 0: nothing is there.
    object: f64,
}

impl Arm {
    /// An arm that stretches forward, its fingers half open, with something between them that stops the finger at
    /// `object` metres; 0: nothing.
    #[must_use]
    pub fn new(object: f64) -> Arm {
        let joint = |spec: JointSpec| {
            let position = if spec.name == FINGER { 0.02_f64.max(object) } else { 0.0 };
            Joint { spec, position, velocity: 0.0, effort: 0.0, way: Vec::new() }
        };
        Arm { joints: JOINTS.into_iter().map(joint).collect(), object }
    }

    /// Its joints.
    #[must_use]
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// Follows a trajectory from now on; joints that it does not name go on.
    pub(crate) fn follow(&mut self, names: &[String], points: &[WayPoint], now_ns: u64) -> Result<(), WayError> {
        at_most("the trajectory", points.len(), POINTS, "points")?;
        if points.is_empty() {
            return Err(WayError::Malformed("it has no points"));
        }
        if points.windows(2).any(|pair| matches!(pair, [a, b] if b.time <= a.time)) {
            return Err(WayError::Malformed("its times do not rise"));
        }
        let places = names.iter().map(|name| {
            let place = self.joints.iter().position(|joint| joint.spec.name == name);
            place.ok_or_else(|| WayError::NoSuchJoint { name: name.chars().take(64).collect() })
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let mut ways = vec![Vec::with_capacity(points.len() + 1); names.len()];
        for point in points {
            let (positions, velocities) = (point.positions.len(), point.velocities.len());
            if positions != names.len() || (velocities != names.len() && velocities != 0) {
                return Err(WayError::Malformed("a point has not as many numbers as there are joints"));
            }
            let time = now_ns.saturating_add(u64::try_from(point.time.as_nanos()).unwrap_or(u64::MAX));
            for (index, (way, position)) in ways.iter_mut().zip(&point.positions).enumerate() {
                let velocity = point.velocities.get(index).map(|v| finite("a velocity", *v)).transpose()?;
                way.push((time, finite("a position", *position)?, velocity));
            }
        }
        for (place, mut way) in places.into_iter().zip(ways) {
            if let Some(joint) = self.joints.get_mut(place) {
                way.insert(0, (now_ns, joint.position, Some(joint.velocity)));
                joint.way = way;
            }
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, now_ns: u64, piece: Duration) {
        for joint in &mut self.joints {
            let floor = if joint.spec.name == FINGER { self.object } else { f64::NEG_INFINITY };
            joint.advance(now_ns, piece.as_secs_f64(), floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arm: &mut Arm, from_ms: u64, to_ms: u64) -> Vec<(f64, f64)> {
        let mut seen = Vec::new();
        for ms in (from_ms..to_ms).step_by(10) {
            // Where it is to be at the end of the piece.
            arm.advance((ms + 10) * 1_000_000, Duration::from_millis(10));
            seen.extend(arm.joints().iter().map(|joint| (joint.position, joint.velocity)));
        }
        seen
    }

    fn point(ms: u64, positions: &[f64], velocities: &[f64]) -> WayPoint {
        WayPoint { time: Duration::from_millis(ms), positions: positions.into(), velocities: velocities.into() }
    }

    fn elbow(points: &[WayPoint], arm: &mut Arm) -> Result<(), WayError> {
        arm.follow(&["elbow".into()], points, 0)
    }

    #[test]
    fn a_joint_follows_and_keeps_its_limits_whatever_is_asked() {
        let mut arm = Arm::new(0.0);
        elbow(&[point(1000, &[1.0], &[0.0])], &mut arm).unwrap();
        run(&mut arm, 0, 1500);
        assert!((arm.joints()[2].position - 1.0).abs() < 1e-3, "{:?}", arm.joints()[2]);
        elbow(&[point(10, &[100.0], &[])], &mut arm).unwrap();
        let mut before = 0.0;
        for (position, velocity) in run(&mut arm, 0, 3000).into_iter().skip(2).step_by(4) {
            assert!(position <= 2.4 && velocity.abs() <= 2.0, "{position} {velocity}");
            assert!(velocity < before || velocity - before <= 8.0 * 0.01 + 1e-9, "{before} to {velocity}");
            before = velocity;
        }
        assert!((arm.joints()[2].position - 2.4).abs() < 1e-3, "at its end stop");
    }

    #[test]
    fn fingers_stop_at_an_object_and_press_on_it() {
        let mut arm = Arm::new(0.015);
        arm.follow(&[FINGER.into()], &[point(300, &[0.0], &[])], 0).unwrap();
        run(&mut arm, 0, 1000);
        let finger = &arm.joints()[3];
        assert_eq!(finger.position(), 0.015);
        assert!((finger.effort() + 30.0).abs() < 1e-6, "{}", finger.effort());
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let mut arm = Arm::new(0.0);
        let before = arm.clone();
        for (names, points) in [
            (vec!["tail"], vec![point(10, &[0.0], &[])]),
            (vec!["elbow"], vec![]),
            (vec!["elbow"], vec![point(10, &[], &[])]),
            (vec!["elbow"], vec![point(10, &[0.0], &[0.0, 0.0])]),
            (vec!["elbow"], vec![point(10, &[f64::NAN], &[])]),
            (vec!["elbow"], vec![point(10, &[0.0], &[]), point(10, &[0.1], &[])]),
        ] {
            let names: Vec<String> = names.into_iter().map(String::from).collect();
            assert!(arm.follow(&names, &points, 0).is_err(), "{points:?}");
        }
        assert_eq!(arm, before);
    }
}
