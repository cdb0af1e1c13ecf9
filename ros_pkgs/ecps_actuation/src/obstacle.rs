//! Obstacles as a laser scan tells of them, and how far a path is free of them.
//!
//! The robot is a disc. What it has not moved into yet it can only hit on the arc that its velocity describes, so each
//! point of the scan gives, in closed form, the way after which the disc touches it.

use ecps_core::check::{self, CheckError};
use thiserror::Error;

use crate::motion::Velocity;
use crate::state::PlanarPose;
use crate::zone::Point;

/// Most beams of a scan.
pub const BEAMS: usize = 16_384;
/// Greatest margin, metres.
pub const MARGIN: f64 = 10.0;
/// Least share of the beams that must tell something.
pub const SEEING: f64 = 0.5;
/// Turns slower than this are straight, rad/s: at 10 m/s they leave the line by 5 µm in a second.
const STRAIGHT: f64 = 1e-6;

/// How the robot keeps its distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObstacleConfig {
    /// Radius of the disc around the robot's centre that holds the robot, metres; 0.01 to 10.
    pub robot_radius: f64,
    /// Metres that stay between the disc and an obstacle; 0 to 10.
    pub margin: f64,
    /// Greatest speed in a direction that the scan does not cover, m/s; 0 (none) to 10.
    pub blind_speed: f64,
}

impl Default for ObstacleConfig {
    fn default() -> ObstacleConfig {
        ObstacleConfig { robot_radius: 0.25, margin: 0.05, blind_speed: 0.0 }
    }
}

impl ObstacleConfig {
    /// Refuses numbers outside their ranges.
    pub fn check(&self) -> Result<(), CheckError> {
        check::in_range("robot_radius", self.robot_radius, 0.01, 10.0)?;
        check::in_range("obstacle_margin", self.margin, 0.0, MARGIN)?;
        check::in_range("blind_speed", self.blind_speed, 0.0, 10.0)?;
        Ok(())
    }
}

/// A scan as it came: the fields of a `sensor_msgs/LaserScan`, nothing checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scan<'a> {
    /// Angle of the first beam, radians.
    pub angle_min: f64,
    /// From one beam to the next, radians.
    pub angle_increment: f64,
    /// Least range that counts, metres.
    pub range_min: f64,
    /// Greatest range that counts, metres.
    pub range_max: f64,
    /// Metres; REP 117: infinity is nothing within reach, minus infinity something too near to measure, NaN no reading.
    pub ranges: &'a [f32],
}

/// Why a scan does not count.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ScanError {
    /// NaN, infinity, a size or range that no scanner has.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// Too few beams tell anything: the scanner is covered or broken.
    #[error("only {seeing} of the scan's {beams} beams tell anything, and half of them must")]
    Blind {
        /// Beams with a reading.
        seeing: usize,
        /// All beams.
        beams: usize,
    },
    /// Nobody knows where it was taken.
    #[error("the robot's state is not known, so the scan has no place")]
    Placeless,
}

/// Obstacles in the executor's frame.
#[derive(Debug, Clone, Default)]
pub struct Obstacles {
    points: Vec<Point>,
    /// Directions that the scan covers, from the robot's x axis: the first, and how far from there, radians.
    covered: (f64, f64),
}

impl Obstacles {
    /// Takes the place of what was known before. `pose` is where the robot was when the scan was taken, and `mount` where
    /// the scanner is on the robot.
    pub fn update(&mut self, scan: &Scan<'_>, pose: PlanarPose, mount: PlanarPose) -> Result<(), ScanError> {
        let beams = scan.ranges.len();
        check::at_most("scan.ranges", beams, BEAMS, "beams")?;
        check::in_range("scan.angle_min", scan.angle_min, -7.0, 7.0)?;
        check::finite("scan.angle_increment", scan.angle_increment)?;
        let span = scan.angle_increment * beams.saturating_sub(1) as f64;
        // Drivers round; a little more than a turn is a turn.
        check::in_range("the angle of all beams", span.abs(), 0.0, std::f64::consts::TAU + 0.1)?;
        check::in_range("scan.range_min", scan.range_min, 0.0, 1e3)?;
        check::in_range("scan.range_max", scan.range_max, scan.range_min, 1e4)?;
        let tells = |r: f32| r.is_infinite() || f64::from(r) >= scan.range_min;
        let seeing = scan.ranges.iter().filter(|r| tells(**r)).count();
        if beams == 0 || (seeing as f64) < SEEING * beams as f64 {
            return Err(ScanError::Blind { seeing, beams });
        }

        let (sin, cos) = pose.yaw.sin_cos();
        let place = [pose.x + cos * mount.x - sin * mount.y, pose.y + sin * mount.x + cos * mount.y];
        let turned = pose.yaw + mount.yaw + scan.angle_min;
        self.points.clear();
        for (beam, range) in scan.ranges.iter().enumerate() {
            let range = match f64::from(*range) {
                f64::NEG_INFINITY => scan.range_min,
                r if r >= scan.range_min && r <= scan.range_max => r,
                _ => continue,
            };
            let (sin, cos) = (turned + scan.angle_increment * beam as f64).sin_cos();
            self.points.push([place[0] + range * cos, place[1] + range * sin]);
        }
        let first = mount.yaw + scan.angle_min + span.min(0.0);
        // One beam's width more, since the last beam of a full turn is one increment short of the first.
        self.covered = (first, span.abs() + scan.angle_increment.abs());
        Ok(())
    }

    /// Whether the scan covers the direction that the robot moves in.
    pub fn covers(&self, velocity: Velocity) -> bool {
        let (first, span) = self.covered;
        span >= std::f64::consts::TAU
            || (velocity.y.atan2(velocity.x) - first).rem_euclid(std::f64::consts::TAU) <= span
    }

    /// Metres that `velocity`, kept up from `pose`, stays at least `clearance` from every obstacle; `length` if it does so
    /// for at least that long. From nearer than that, only what does not come nearer is free.
    pub fn free_path(&self, pose: PlanarPose, velocity: Velocity, clearance: f64, length: f64) -> f64 {
        let speed = velocity.speed();
        if length <= 0.0 || speed <= 0.0 {
            return length;
        }
        let (sin, cos) = pose.yaw.sin_cos();
        let way = [(cos * velocity.x - sin * velocity.y) / speed, (sin * velocity.x + cos * velocity.y) / speed];
        let reach = (length + clearance).powi(2);
        let mut free = length;
        for point in &self.points {
            let to = [point[0] - pose.x, point[1] - pose.y];
            let distance = to[0] * to[0] + to[1] * to[1];
            if distance > reach {
                continue;
            }
            let along = way[0] * to[0] + way[1] * to[1];
            if distance <= clearance * clearance {
                if along > 0.0 {
                    return 0.0;
                }
                continue;
            }
            let contact = if velocity.yaw.abs() < STRAIGHT {
                on_line(way, to, along, clearance)
            } else {
                on_arc(way, to, speed / velocity.yaw, clearance)
            };
            free = contact.map_or(free, |contact| free.min(contact));
        }
        free.max(0.0)
    }
}

/// The way along a straight line at which the disc touches a point.
fn on_line(way: Point, to: Point, along: f64, clearance: f64) -> Option<f64> {
    let aside = way[0] * to[1] - way[1] * to[0];
    (along > 0.0 && aside.abs() < clearance).then(|| along - (clearance * clearance - aside * aside).sqrt())
}

/// The same on a circle around a centre `radius` metres to the left (negative: right).
fn on_arc(way: Point, to: Point, radius: f64, clearance: f64) -> Option<f64> {
    let size = radius.abs();
    let side = radius.signum();
    // From the centre of the circle to the robot, and to the point.
    let robot = [way[1] * radius, -way[0] * radius];
    let point = [robot[0] + to[0], robot[1] + to[1]];
    let distance = point[0].hypot(point[1]);
    if (distance - size).abs() >= clearance || distance == 0.0 {
        return None;
    }
    let cosine = (size * size + distance * distance - clearance * clearance) / (2.0 * size * distance);
    // How far around the point is, in the direction of travel, and how much sooner the disc touches it.
    let turn = side * (robot[0] * point[1] - robot[1] * point[0]);
    let around = turn.atan2(robot[0] * point[0] + robot[1] * point[1]).rem_euclid(std::f64::consts::TAU);
    Some(size * (around - cosine.clamp(-1.0, 1.0).acos()).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_2, PI, TAU};

    const CLEARANCE: f64 = 0.3;

    fn seen(ranges: &[f32], pose: PlanarPose) -> Obstacles {
        let scan = Scan {
            angle_min: -PI,
            angle_increment: TAU / ranges.len() as f64,
            range_min: 0.1,
            range_max: 10.0,
            ranges,
        };
        let mut obstacles = Obstacles::default();
        obstacles.update(&scan, pose, PlanarPose::default()).unwrap();
        obstacles
    }

    fn points(points: &[Point]) -> Obstacles {
        Obstacles { points: points.to_vec(), covered: (-PI, TAU) }
    }

    /// The same by walking the arc in small steps.
    fn walked(obstacles: &Obstacles, pose: PlanarPose, v: Velocity, length: f64) -> f64 {
        let steps = 20_000;
        let (mut x, mut y, mut yaw) = (pose.x, pose.y, pose.yaw);
        let seconds = length / v.speed() / f64::from(steps);
        for step in 0..steps {
            if obstacles.points.iter().any(|p| (p[0] - x).hypot(p[1] - y) < CLEARANCE) {
                return length * f64::from(step) / f64::from(steps);
            }
            let middle = yaw + v.yaw * seconds / 2.0;
            x += (middle.cos() * v.x - middle.sin() * v.y) * seconds;
            y += (middle.sin() * v.x + middle.cos() * v.y) * seconds;
            yaw += v.yaw * seconds;
        }
        length
    }

    #[test]
    fn the_closed_form_agrees_with_walking_the_path() {
        let velocities =
            [(0.5, 0.0, 0.0), (0.5, 0.0, 0.7), (0.5, 0.0, -2.0), (-0.4, 0.0, 0.5), (0.3, 0.4, -0.6), (0.5, 0.0, 1e-4)];
        let mut hits = 0;
        for (x, y, yaw) in velocities {
            let v = Velocity { x, y, yaw };
            for i in 0..40 {
                let (angle, far) = (f64::from(i) * 0.7, 0.4 + f64::from(i % 8) * 0.2);
                let pose = PlanarPose { x: 1.0, y: -2.0, yaw: f64::from(i) * 0.3 };
                let one = points(&[[pose.x + far * angle.cos(), pose.y + far * angle.sin()]]);
                let (exact, walked) = (one.free_path(pose, v, CLEARANCE, 2.0), walked(&one, pose, v, 2.0));
                assert!((exact - walked).abs() < 2e-3, "{v:?} {pose:?} {one:?}: {exact} and {walked}");
                hits += usize::from(exact < 2.0);
            }
        }
        assert!(hits > 40, "only {hits} of the paths hit anything");
    }

    #[test]
    fn a_scan_has_its_place_and_special_readings_have_their_meaning() {
        let mut ranges = [f32::INFINITY; 8];
        ranges[4] = 2.0; // straight ahead
        ranges[6] = f32::NEG_INFINITY; // left, too near to measure
        ranges[0] = 0.05; // below the least range: the robot itself
        ranges[2] = f32::NAN;
        let obstacles = seen(&ranges, PlanarPose { x: 1.0, y: 1.0, yaw: FRAC_PI_2 });
        let expected = [[1.0, 3.0], [0.9, 1.0]];
        assert_eq!(obstacles.points.len(), 2);
        for (point, expected) in obstacles.points.iter().zip(expected) {
            assert!((point[0] - expected[0]).hypot(point[1] - expected[1]) < 1e-9, "{point:?}");
        }
    }

    #[test]
    fn a_covered_scanner_and_nonsense_do_not_count() {
        let mut obstacles = points(&[[1.0, 1.0]]);
        let good = Scan { angle_min: 0.0, angle_increment: 0.1, range_min: 0.1, range_max: 10.0, ranges: &[1.0; 10] };
        let dark = [f32::NAN; 10];
        let near = [0.01_f32; 10];
        let pose = PlanarPose::default();
        for bad in [
            Scan { ranges: &dark, ..good },
            Scan { ranges: &near, ..good },
            Scan { ranges: &[], ..good },
            Scan { angle_increment: f64::NAN, ..good },
            Scan { angle_increment: 1.0, ..good },
            Scan { range_max: 0.0, ..good },
        ] {
            assert!(obstacles.update(&bad, pose, pose).is_err(), "{bad:?}");
        }
        assert_eq!(obstacles.points, [[1.0, 1.0]], "what was known stays");
        assert!(
            obstacles
                .update(&Scan { ranges: &vec![1.0; BEAMS + 1], angle_increment: 1e-4, ..good }, pose, pose)
                .is_err()
        );
    }

    #[test]
    fn a_half_blind_scanner_knows_where_it_does_not_look() {
        let v = |x, y| Velocity { x, y, yaw: 0.0 };
        let scan =
            Scan { angle_min: -FRAC_PI_2, angle_increment: 0.1, range_min: 0.1, range_max: 10.0, ranges: &[5.0; 32] };
        let mut obstacles = Obstacles::default();
        obstacles.update(&scan, PlanarPose::default(), PlanarPose::default()).unwrap();
        assert!(obstacles.covers(v(1.0, 0.0)) && obstacles.covers(v(0.0, 1.0)));
        assert!(!obstacles.covers(v(-1.0, 0.0)));
        obstacles.update(&scan, PlanarPose::default(), PlanarPose { yaw: PI, ..PlanarPose::default() }).unwrap();
        assert!(obstacles.covers(v(-1.0, 0.0)) && !obstacles.covers(v(1.0, 0.0)), "mounted the other way round");
    }

    #[test]
    fn from_too_near_only_the_way_back_is_free() {
        let wall = points(&[[0.2, 0.0]]);
        let v = |x| Velocity { x, y: 0.0, yaw: 0.0 };
        assert_eq!(wall.free_path(PlanarPose::default(), v(0.5), CLEARANCE, 1.0), 0.0);
        assert_eq!(wall.free_path(PlanarPose::default(), v(-0.5), CLEARANCE, 1.0), 1.0);
    }
}
