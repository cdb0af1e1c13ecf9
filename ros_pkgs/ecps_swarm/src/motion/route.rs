//! Where a formation's centre goes: straight lines, and turns on the spot between them.
//!
//! Each leg begins and ends at rest, by the minimum-jerk profile (Flash and Hogan, "The Coordination of Arm Movements", Journal
//! of Neuroscience 5, 1985), so that neither speed nor acceleration jumps. The centre is where the route says, whatever the
//! robots do: it does not drift.

use std::collections::VecDeque;
use std::f64::consts::PI;

use ecps_core::check::{CheckError, at_most, finite};
use nalgebra::{Isometry2, Vector2};

use super::finite_vector;

/// Most points that a route may have ahead.
pub const MAX_POINTS: usize = 10_000;

/// A movement from 0 to 1 in the time from 0 to 1, at rest at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MinimumJerk;

impl MinimumJerk {
    /// Greatest speed.
    const SPEED: f64 = 1.875;
    /// Greatest acceleration.
    const ACCELERATION: f64 = 5.773_502_691_896_258;

    pub(crate) fn at(time: f64) -> f64 {
        time.powi(3) * (10.0 + time * (6.0 * time - 15.0))
    }

    pub(crate) fn speed(time: f64) -> f64 {
        30.0 * (time * (1.0 - time)).powi(2)
    }

    /// How long `way` takes within these limits, seconds.
    pub(crate) fn seconds(way: f64, speed: f64, acceleration: f64) -> f64 {
        (Self::SPEED * way / speed).max((Self::ACCELERATION * way / acceleration).sqrt())
    }
}

/// How a formation heads on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    /// As it does now.
    Kept,
    /// Along the way: it turns at each point.
    Along,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leg {
    Go { from: Vector2<f64>, to: Vector2<f64> },
    Turn { from: f64, by: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Underway {
    pub(super) leg: Leg,
    /// From 0 to 1.
    pub(super) time: f64,
    pub(super) seconds: f64,
    /// How far out robots were when the leg began, metres.
    pub(super) reach: f64,
    /// How fast `time` runs now, as a share of what it was planned to.
    pub(super) pace: f64,
}

/// The centre's pose and what is ahead of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub(super) position: Vector2<f64>,
    pub(super) heading: f64,
    speed: f64,
    acceleration: f64,
    pub(super) underway: Option<Underway>,
    pub(super) ahead: VecDeque<(Vector2<f64>, Heading)>,
    /// Where to turn to after the present leg.
    pub(super) goal: Option<Vector2<f64>>,
}

impl Route {
    /// At rest at a pose. No robot goes faster than `speed` for the formation's way, m/s, nor changes it faster than
    /// `acceleration`, m/s².
    pub(crate) fn new(pose: &Isometry2<f64>, speed: f64, acceleration: f64) -> Result<Route, CheckError> {
        finite_vector("position", &pose.translation.vector)?;
        let heading = finite("heading", pose.rotation.angle())?;
        let position = pose.translation.vector;
        Ok(Route { position, heading, speed, acceleration, underway: None, ahead: VecDeque::new(), goal: None })
    }

    /// Adds a point to go to after those there are.
    pub fn go(&mut self, point: Vector2<f64>, heading: Heading) -> Result<(), CheckError> {
        finite_vector("point", &point)?;
        at_most("route", self.ahead.len() + 1, MAX_POINTS, "points")?;
        self.ahead.push_back((point, heading));
        Ok(())
    }

    /// Forgets what comes after the present leg.
    pub(super) fn clear(&mut self) {
        self.ahead.clear();
    }

    /// Whether the centre is where it was sent.
    pub fn is_done(&self) -> bool {
        self.underway.is_none() && self.ahead.is_empty() && self.goal.is_none()
    }

    /// Lets `seconds` pass. `reach` is how far out the farthest robot is, metres: the wider a formation, the slower it turns.
    pub(crate) fn advance(&mut self, seconds: f64, reach: f64) {
        if self.underway.is_none() {
            self.underway = self.begin(reach);
        }
        let Some(mut underway) = self.underway.take() else { return };
        underway.pace = match underway.leg {
            Leg::Turn { .. } if reach > underway.reach => underway.reach / reach,
            _ => 1.0,
        };
        underway.time += seconds * underway.pace / underway.seconds;
        if underway.time < 1.0 {
            self.underway = Some(underway);
            return;
        }
        match underway.leg {
            Leg::Go { to, .. } => self.position = to,
            Leg::Turn { from, by } => self.heading = wrapped(from + by),
        }
    }

    /// The next leg.
    fn begin(&mut self, reach: f64) -> Option<Underway> {
        let leg = match self.goal.take() {
            Some(to) => Leg::Go { from: self.position, to },
            None => {
                let (to, heading) = self.ahead.pop_front()?;
                let way = to - self.position;
                let by = match heading {
                    Heading::Kept => 0.0,
                    Heading::Along => wrapped(way.y.atan2(way.x) - self.heading),
                };
                if way.norm() > 1e-9 && by.abs() > 1e-9 {
                    self.goal = Some(to);
                    Leg::Turn { from: self.heading, by }
                } else {
                    Leg::Go { from: self.position, to }
                }
            }
        };
        let way = match leg {
            Leg::Go { from, to } => (to - from).norm(),
            Leg::Turn { by, .. } => by.abs() * reach.max(1.0),
        };
        // Points that are so near each other that no time passes between them do no harm.
        let seconds = MinimumJerk::seconds(way, self.speed, self.acceleration).max(1e-3);
        Some(Underway { leg, time: 0.0, seconds, reach: reach.max(1.0), pace: 1.0 })
    }

    /// The centre's pose.
    pub fn pose(&self) -> Isometry2<f64> {
        let (mut position, mut heading) = (self.position, self.heading);
        if let Some(underway) = self.underway {
            let share = MinimumJerk::at(underway.time);
            match underway.leg {
                Leg::Go { from, to } => position = from.lerp(&to, share),
                Leg::Turn { from, by } => heading = from + by * share,
            }
        }
        Isometry2::new(position, heading)
    }

    /// The centre's velocity, m/s, and how fast the formation turns, rad/s.
    pub fn velocity(&self) -> (Vector2<f64>, f64) {
        let Some(underway) = self.underway else { return (Vector2::zeros(), 0.0) };
        let speed = MinimumJerk::speed(underway.time) * underway.pace / underway.seconds;
        match underway.leg {
            Leg::Go { from, to } => ((to - from) * speed, 0.0),
            Leg::Turn { by, .. } => (Vector2::zeros(), by * speed),
        }
    }
}

fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_goes_from_point_to_point_within_its_limits() {
        let mut route = Route::new(&Isometry2::identity(), 1.0, 0.5).unwrap();
        let points = [Vector2::new(10.0, 0.0), Vector2::new(10.0, 10.0), Vector2::new(-5.0, 3.0)];
        points.iter().for_each(|point| route.go(*point, Heading::Along).unwrap());
        let (reach, dt) = (4.0, 0.01);
        let (mut before, mut rim_before, mut speed_before) = (route.pose(), Vector2::new(0.0, reach), 0.0);
        let mut passed = 0;
        while !route.is_done() {
            route.advance(dt, reach);
            let pose = route.pose();
            let rim = pose.translation.vector + pose.rotation * Vector2::new(0.0, reach);
            let speed = (rim - rim_before).norm() / dt;
            assert!(speed < 1.001, "{speed}");
            assert!((speed - speed_before).abs() / dt < 0.55, "{speed} after {speed_before}");
            let (velocity, turn) = route.velocity();
            let moved = (pose.translation.vector - before.translation.vector) / dt;
            assert!((moved - velocity).norm() < 0.01, "{moved} {velocity}");
            assert!((before.rotation.angle_to(&pose.rotation) / dt - turn).abs() < 0.01);
            passed += usize::from(points.contains(&pose.translation.vector));
            (before, rim_before, speed_before) = (pose, rim, speed);
        }
        assert!(passed >= 3);
        assert_eq!(route.pose().translation.vector, points[2]);
    }

    #[test]
    fn a_formation_that_grows_while_it_turns_turns_slower() {
        let mut route = Route::new(&Isometry2::identity(), 1.0, 0.5).unwrap();
        route.go(Vector2::new(0.0, 10.0), Heading::Along).unwrap();
        (0..150).for_each(|_| route.advance(0.01, 2.0));
        route.advance(0.01, 20.0);
        assert!(route.velocity().1 * 20.0 <= 1.0, "{}", route.velocity().1);
    }

    #[test]
    fn no_number_is_refused() {
        assert!(Route::new(&Isometry2::new(Vector2::zeros(), f64::NAN), 1.0, 1.0).is_err());
        let mut route = Route::new(&Isometry2::identity(), 1.0, 1.0).unwrap();
        assert!(route.go(Vector2::new(f64::INFINITY, 0.0), Heading::Kept).is_err());
        assert!(route.is_done());
    }
}
