//! A 2-D lidar: ranges to walls and to other robots, with Gaussian noise; REP 117 for what it cannot measure.

use crate::{floor_plan::FloorPlan, geometry::disc_hit, noise::Gaussian};
use ecps_core::check::{CheckError, finite, in_range};
use nalgebra::{Isometry2, Point2, Vector2};

/// Beams a scan may have.
pub const MAX_BEAMS: usize = 4096;
/// Greatest range a lidar may have, in metres.
pub const MAX_RANGE_M: f64 = 100.0;

/// How a lidar looks around. It sits at the robot's centre and looks along x at angle 0.
#[derive(Debug, Clone, PartialEq)]
pub struct LidarConfig {
    /// Number of beams, 1 to [`MAX_BEAMS`].
    pub beams: usize,
    /// Angle of the first beam, in rad.
    pub angle_min: f64,
    /// From one beam to the next, in rad; positive is counter-clockwise.
    pub angle_increment: f64,
    /// Least range it can measure, in metres.
    pub range_min: f64,
    /// Greatest range it can measure, in metres.
    pub range_max: f64,
    /// Standard deviation of a range, in metres.
    pub noise: f64,
}

impl Default for LidarConfig {
    /// 360 beams over the full circle from −π, 0.05 m to 12 m, 1 cm of noise.
    fn default() -> Self {
        Self {
            beams: 360,
            angle_min: -std::f64::consts::PI,
            angle_increment: std::f64::consts::TAU / 360.0,
            range_min: 0.05,
            range_max: 12.0,
            noise: 0.01,
        }
    }
}

impl LidarConfig {
    /// Refuses values that no lidar has, naming the value and its range.
    ///
    /// # Errors
    /// [`CheckError`] for the first value outside its range.
    pub fn check(&self) -> Result<(), CheckError> {
        in_range("lidar.beams", self.beams as f64, 1.0, MAX_BEAMS as f64)?;
        finite("lidar.angle_increment", self.angle_increment)?;
        let tau = std::f64::consts::TAU;
        in_range("lidar.angle_min", self.angle_min, -tau, tau)?;
        // The last beam may fall on the first one, but not go round further.
        let span = (self.beams - 1) as f64 * self.angle_increment;
        in_range("lidar.angle_increment × (lidar.beams − 1)", span, -tau - 1e-9, tau + 1e-9)?;
        in_range("lidar.range_min", self.range_min, 0.0, MAX_RANGE_M)?;
        in_range("lidar.range_max", self.range_max, self.range_min, MAX_RANGE_M)?;
        in_range("lidar.noise", self.noise, 0.0, 1.0)?;
        Ok(())
    }
}

/// One turn of a lidar; beam `i` points to `angle_min + i · angle_increment` in the robot's frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Simulated time of all beams, in ns.
    pub stamp_ns: u64,
    /// Angle of the first beam, in rad.
    pub angle_min: f64,
    /// From one beam to the next, in rad.
    pub angle_increment: f64,
    /// Least range it can measure, in metres.
    pub range_min: f64,
    /// Greatest range it can measure, in metres.
    pub range_max: f64,
    /// Ranges in metres; +∞ where nothing was hit within `range_max`, −∞ where something is nearer than `range_min` (REP 117).
    pub ranges: Vec<f32>,
}

impl Scan {
    /// Angle of the last beam, in rad.
    #[must_use]
    pub fn angle_max(&self) -> f64 {
        self.angle_min + self.angle_increment * self.ranges.len().saturating_sub(1) as f64
    }
}

/// Something round that stands in the plan: another robot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disc {
    pub(crate) centre: Point2<f64>,
    pub(crate) radius: f64,
}

/// Takes a scan from `pose`.
pub(crate) fn scan(
    config: &LidarConfig,
    plan: &FloorPlan,
    discs: &[Disc],
    pose: &Isometry2<f64>,
    noise: &mut Gaussian,
    stamp_ns: u64,
) -> Scan {
    let origin = Point2::from(pose.translation.vector);
    let heading = pose.rotation.angle();
    let view = plan.seen_from(origin);
    let ranges = (0..config.beams)
        .map(|beam| {
            let (sin, cos) = (heading + config.angle_min + beam as f64 * config.angle_increment).sin_cos();
            let direction = Vector2::new(cos, sin);
            let robots = discs.iter().filter_map(|disc| disc_hit(origin, direction, disc.centre, disc.radius));
            let hit = robots.fold(view.cast_ray(direction), f64::min);
            // Drawn for each beam, hit or not, so that one beam's noise does not depend on another's luck.
            let range = hit + config.noise * noise.next();
            if range > config.range_max {
                f32::INFINITY
            } else if range < config.range_min {
                f32::NEG_INFINITY
            } else {
                range as f32
            }
        })
        .collect();
    Scan {
        stamp_ns,
        angle_min: config.angle_min,
        angle_increment: config.angle_increment,
        range_min: config.range_min,
        range_max: config.range_max,
        ranges,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Purpose;
    use std::f64::consts::FRAC_PI_2;

    /// A 10 m × 8 m room.
    fn room() -> FloorPlan {
        let corners = [(0.0, 0.0), (10.0, 0.0), (10.0, 8.0), (0.0, 8.0)];
        FloorPlan::new(corners.map(|(x, y)| Point2::new(x, y)).to_vec(), vec![]).unwrap()
    }

    /// Four beams: back, right, front, left.
    fn four_beams(noise: f64) -> LidarConfig {
        LidarConfig { beams: 4, angle_increment: FRAC_PI_2, noise, ..LidarConfig::default() }
    }

    fn take(config: &LidarConfig, discs: &[Disc], pose: (f64, f64, f64)) -> Vec<f32> {
        let pose = Isometry2::new(Vector2::new(pose.0, pose.1), pose.2);
        let mut noise = Gaussian::new(1, Purpose::Scan { robot: 0, time_ns: 0 });
        scan(config, &room(), discs, &pose, &mut noise, 0).ranges
    }

    #[test]
    fn beams_measure_the_walls_in_the_robots_frame() {
        assert_eq!(take(&four_beams(0.0), &[], (2.0, 3.0, 0.0)), [2.0, 3.0, 8.0, 5.0]);
        // Facing up (y), the back beam sees the wall below.
        assert_eq!(take(&four_beams(0.0), &[], (2.0, 3.0, FRAC_PI_2)), [3.0, 8.0, 5.0, 2.0]);
    }

    #[test]
    fn another_robot_hides_the_wall_behind_it() {
        let robot = Disc { centre: Point2::new(6.0, 3.0), radius: 0.5 };
        assert_eq!(take(&four_beams(0.0), &[robot], (2.0, 3.0, 0.0)), [2.0, 3.0, 3.5, 5.0]);
    }

    #[test]
    fn what_is_too_far_or_too_near_is_infinite_with_its_sign() {
        let config = LidarConfig { range_min: 2.5, range_max: 6.0, ..four_beams(0.0) };
        assert_eq!(take(&config, &[], (2.0, 3.0, 0.0)), [f32::NEG_INFINITY, 3.0, f32::INFINITY, 5.0]);
    }

    #[test]
    fn noise_has_the_spread_that_was_asked_for() {
        let config = LidarConfig { beams: 4096, angle_increment: 0.0, noise: 0.05, ..LidarConfig::default() };
        let ranges = take(&config, &[], (2.0, 3.0, 0.0));
        let spread = (ranges.iter().map(|r| (f64::from(*r) - 2.0).powi(2)).sum::<f64>() / 4096.0).sqrt();
        assert!((spread - 0.05).abs() < 0.003, "{spread}");
    }

    #[test]
    fn a_lidar_that_cannot_be_is_refused_by_name() {
        let refused = |config: LidarConfig| config.check().unwrap_err().to_string();
        assert!(LidarConfig::default().check().is_ok());
        assert!(refused(LidarConfig { beams: 0, ..LidarConfig::default() }).contains("lidar.beams is 0"));
        assert!(refused(LidarConfig { noise: f64::NAN, ..LidarConfig::default() }).contains("lidar.noise is NaN"));
        assert!(refused(LidarConfig { angle_increment: 0.1, ..LidarConfig::default() }).contains("angle_increment"));
        assert!(refused(LidarConfig { range_max: 0.01, ..LidarConfig::default() }).contains("lidar.range_max is 0.01"));
    }
}
