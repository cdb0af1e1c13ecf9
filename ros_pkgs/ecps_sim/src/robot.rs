//! A differential-drive robot: motors with limits, a round footprint that walls stop, a command timeout, odometry.

use crate::{
    arm::Arm,
    lidar::LidarConfig,
    noise::{Gaussian, Purpose},
};
use ecps_core::check::{CheckError, in_range};
use nalgebra::{Isometry2, Point2, Vector2};
use std::{f64::consts::PI, time::Duration};

/// Longest piece of time over which the motors' speeds count as constant; longer steps are cut into such pieces.
pub const MAX_PIECE: Duration = Duration::from_millis(10);

/// A robot that has moved this far off what it touched has let go of it, in metres; the next contact counts again.
const LET_GO_M: f64 = 1e-3;

/// Halvings in search of the point of contact within a piece: at 2 m/s to within 20 nm.
const CONTACT_HALVINGS: u32 = 20;

/// Speed of a base: forward and turning.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Velocity {
    /// Forward, in m/s.
    pub linear: f64,
    /// Counter-clockwise, in rad/s.
    pub angular: f64,
}

/// What a base can do.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseConfig {
    /// Radius of the round footprint, in metres.
    pub radius: f64,
    /// Fastest the motors drive, either way, in m/s; a faster command saturates.
    pub max_linear: f64,
    /// Fastest the motors turn the base, either way, in rad/s; a faster command saturates.
    pub max_angular: f64,
    /// Greatest change of the forward speed, in m/s².
    pub linear_acceleration: f64,
    /// Greatest change of the turning speed, in rad/s².
    pub angular_acceleration: f64,
    /// Simulated time without a command after which the base brakes to a stand, as `diff_drive_controller` does.
    pub command_timeout: Duration,
    /// How odometry drifts from the truth.
    pub drift: Drift,
}

impl Default for BaseConfig {
    /// A small indoor base: radius 0.22 m, 1.5 m/s and 3 rad/s, 2.5 m/s² and 8 rad/s², 0.5 s timeout, no drift.
    fn default() -> Self {
        Self {
            radius: 0.22,
            max_linear: 1.5,
            max_angular: 3.0,
            linear_acceleration: 2.5,
            angular_acceleration: 8.0,
            command_timeout: Duration::from_millis(500),
            drift: Drift::default(),
        }
    }
}

impl BaseConfig {
    /// Refuses values that no base has, naming the value and its range.
    ///
    /// # Errors
    /// [`CheckError`] for the first value outside its range.
    pub fn check(&self) -> Result<(), CheckError> {
        in_range("base.radius", self.radius, 0.05, 2.0)?;
        // Per piece less than the radius, or a robot could jump over a thin wall.
        in_range("base.max_linear", self.max_linear, 0.01, 5.0)?;
        in_range("base.max_angular", self.max_angular, 0.01, 20.0)?;
        in_range("base.linear_acceleration", self.linear_acceleration, 0.01, 100.0)?;
        in_range("base.angular_acceleration", self.angular_acceleration, 0.01, 1000.0)?;
        // Zero does not mean off: a base that never stops by itself is not on offer.
        in_range("base.command_timeout", self.command_timeout.as_secs_f64(), 0.01, 10.0)?;
        in_range("base.drift.distance", self.drift.distance, 0.0, 1.0)?;
        in_range("base.drift.heading", self.drift.heading, 0.0, 1.0)?;
        Ok(())
    }
}

/// Odometry's random walk: its standard deviation grows with the square root of the way the wheels went
/// (forward way + radius × angle turned). The default is no drift: odometry is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drift {
    /// Error of the distance, in m per √m.
    pub distance: f64,
    /// Error of the heading, in rad per √m.
    pub heading: f64,
}

/// A robot to put into a world.
#[derive(Debug, Clone, PartialEq)]
pub struct RobotSpec {
    /// Its name, which a node uses as namespace: letters, digits and underscores, not first a digit, at most 64.
    pub name: String,
    /// Where it starts, in the plan's frame.
    pub start: Isometry2<f64>,
    /// Its base.
    pub base: BaseConfig,
    /// Its lidar.
    pub lidar: LidarConfig,
    /// Its arm.
    pub arm: Option<Arm>,
}

impl RobotSpec {
    /// A robot with default base and lidar.
    #[must_use]
    pub fn new(name: impl Into<String>, start: Isometry2<f64>) -> Self {
        Self { name: name.into(), start, base: BaseConfig::default(), lidar: LidarConfig::default(), arm: None }
    }
}

/// A position and a heading that is kept within ±π.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pose {
    at: Point2<f64>,
    heading: f64,
}

impl Pose {
    fn isometry(&self) -> Isometry2<f64> {
        Isometry2::new(self.at.coords, self.heading)
    }

    /// Moves along an arc of length `way` while turning by `turn`. Exact for any turn: the chord of the arc has length
    /// way · sin(turn/2) / (turn/2) and points half the turn away from the heading.
    fn along_arc(&self, way: f64, turn: f64) -> Self {
        let half = turn / 2.0;
        // The next term of the series is half⁴/120, nothing beside 1 here.
        let chord = if half.abs() < 1e-4 { way * (1.0 - half * half / 6.0) } else { way * half.sin() / half };
        let (sin, cos) = (self.heading + half).sin_cos();
        Self { at: self.at + Vector2::new(cos, sin) * chord, heading: wrap(self.heading + turn) }
    }
}

/// The same angle within (−π, π].
pub(crate) fn wrap(angle: f64) -> f64 {
    let turned = angle.rem_euclid(2.0 * PI);
    if turned > PI { turned - 2.0 * PI } else { turned }
}

/// What a robot did with the piece of way it was asked to go.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Contact {
    Free,
    Touching,
}

/// A robot in a [`crate::world::World`].
#[derive(Debug, Clone)]
pub struct Robot {
    spec: RobotSpec,
    pose: Pose,
    velocity: Velocity,
    command: Velocity,
    command_expires_ns: u64,
    odometry: Pose,
    odometry_noise: Gaussian,
    arm: Option<Arm>,
    contact: Contact,
    collisions: u64,
    refused_commands: u64,
}

impl Robot {
    pub(crate) fn new(spec: RobotSpec, seed: u64, index: usize) -> Self {
        Self {
            pose: Pose { at: spec.start.translation.vector.into(), heading: wrap(spec.start.rotation.angle()) },
            velocity: Velocity::default(),
            command: Velocity::default(),
            command_expires_ns: 0,
            odometry: Pose { at: Point2::origin(), heading: 0.0 },
            odometry_noise: Gaussian::new(seed, Purpose::Odometry { robot: index }),
            contact: Contact::Free,
            collisions: 0,
            arm: spec.arm.clone(),
            refused_commands: 0,
            spec,
        }
    }

    /// What it was made from.
    #[must_use]
    pub fn spec(&self) -> &RobotSpec {
        &self.spec
    }

    /// Where it truly is, in the plan's frame.
    #[must_use]
    pub fn pose(&self) -> Isometry2<f64> {
        self.pose.isometry()
    }

    /// How fast it truly drives and turns.
    #[must_use]
    pub fn velocity(&self) -> Velocity {
        self.velocity
    }

    /// Where its odometry says it is, in its odometry frame (REP 105), whose origin is the start pose: without drift
    /// `spec().start * odometry()` is the true pose.
    #[must_use]
    pub fn odometry(&self) -> Isometry2<f64> {
        self.odometry.isometry()
    }

    /// How often it drove into a wall or another robot. Pushing on against the same thing counts once.
    #[must_use]
    pub fn collisions(&self) -> u64 {
        self.collisions
    }

    /// How many commands were refused because they were not finite.
    #[must_use]
    pub fn refused_commands(&self) -> u64 {
        self.refused_commands
    }

    /// Its arm.
    #[must_use]
    pub fn arm(&self) -> Option<&Arm> {
        self.arm.as_ref()
    }

    pub(crate) fn arm_mut(&mut self) -> Option<&mut Arm> {
        self.arm.as_mut()
    }

    pub(crate) fn at(&self) -> Point2<f64> {
        self.pose.at
    }

    pub(crate) fn heading(&self) -> f64 {
        self.pose.heading
    }

    pub(crate) fn refuse(&mut self) {
        self.refused_commands = self.refused_commands.saturating_add(1);
    }

    pub(crate) fn obey(&mut self, command: Velocity, now_ns: u64) {
        self.command = command;
        let timeout = u64::try_from(self.spec.base.command_timeout.as_nanos()).unwrap_or(u64::MAX);
        self.command_expires_ns = now_ns.saturating_add(timeout);
    }

    /// Drives for one piece of time. `clearance` is the distance from a point to what is nearest there, wall or edge of
    /// another robot; the centre never comes nearer to it than the radius.
    pub(crate) fn drive(&mut self, now_ns: u64, piece: Duration, clearance: impl Fn(Point2<f64>) -> f64) {
        let seconds = piece.as_secs_f64();
        let base = &self.spec.base;
        let asked = if now_ns < self.command_expires_ns { self.command } else { Velocity::default() };
        let approach = |now: f64, asked: f64, max: f64, acceleration: f64| {
            let change = acceleration * seconds;
            now + (asked.clamp(-max, max) - now).clamp(-change, change)
        };
        self.velocity = Velocity {
            linear: approach(self.velocity.linear, asked.linear, base.max_linear, base.linear_acceleration),
            angular: approach(self.velocity.angular, asked.angular, base.max_angular, base.angular_acceleration),
        };

        let turn = self.velocity.angular * seconds;
        let way = self.velocity.linear * seconds;
        let radius = base.radius;
        let fits = |share: f64| clearance(self.pose.along_arc(way * share, turn * share).at) >= radius;
        if way == 0.0 || fits(1.0) {
            self.advance(way, turn);
            if self.contact == Contact::Touching && clearance(self.pose.at) > radius + LET_GO_M {
                self.contact = Contact::Free;
            }
            return;
        }
        // Up to the contact; a round base can turn on while it touches.
        let (mut free, mut blocked) = (0.0, 1.0);
        for _ in 0..CONTACT_HALVINGS {
            let middle = (free + blocked) / 2.0;
            if fits(middle) { free = middle } else { blocked = middle }
        }
        self.advance(way * free, turn * free);
        self.advance(0.0, turn * (1.0 - free));
        self.velocity.linear = 0.0;
        if self.contact == Contact::Free {
            self.contact = Contact::Touching;
            self.collisions = self.collisions.saturating_add(1);
        }
    }

    /// Moves the robot, and its odometry by what the wheels report.
    fn advance(&mut self, way: f64, turn: f64) {
        self.pose = self.pose.along_arc(way, turn);
        let Drift { distance, heading } = self.spec.base.drift;
        let wheels = (way.abs() + self.spec.base.radius * turn.abs()).sqrt();
        let (distance, heading) =
            (distance * wheels * self.odometry_noise.next(), heading * wheels * self.odometry_noise.next());
        self.odometry = self.odometry.along_arc(way + distance, turn + heading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robot(base: BaseConfig) -> Robot {
        let start = Isometry2::new(Vector2::new(1.0, 2.0), 0.5);
        Robot::new(RobotSpec { base, ..RobotSpec::new("r", start) }, 1, 0)
    }

    fn drive(robot: &mut Robot, from_ns: u64, pieces: u64) {
        for piece in 0..pieces {
            robot.drive(from_ns + piece * 10_000_000, MAX_PIECE, |_| f64::INFINITY);
        }
    }

    #[test]
    fn an_arc_ends_exactly_where_the_circle_does() {
        let start = Pose { at: Point2::new(1.0, 0.0), heading: PI / 2.0 };
        // Three quarters of the unit circle about the origin, in one piece and in many.
        let once = start.along_arc(1.5 * PI, 1.5 * PI);
        let mut often = start;
        for _ in 0..3000 {
            often = often.along_arc(PI / 2000.0, PI / 2000.0);
        }
        for end in [once, often] {
            assert!((end.at - Point2::new(0.0, -1.0)).norm() < 1e-9, "{end:?}");
            assert!(end.heading.abs() < 1e-9, "{end:?}");
        }
        // Nearly straight: no division by a tiny turn.
        assert!((start.along_arc(2.0, 1e-12).at - Point2::new(1.0, 2.0)).norm() < 1e-9);
    }

    #[test]
    fn angles_wrap_to_half_a_turn_either_way() {
        assert_eq!(wrap(PI), PI);
        assert!((wrap(-PI) - PI).abs() < 1e-12);
        assert!((wrap(7.0 * PI / 2.0) + PI / 2.0).abs() < 1e-12);
    }

    #[test]
    fn motors_accelerate_and_saturate_within_their_limits() {
        let mut robot = robot(BaseConfig::default());
        robot.obey(Velocity { linear: 10.0, angular: -100.0 }, 0);
        drive(&mut robot, 0, 1);
        assert_eq!(robot.velocity(), Velocity { linear: 0.025, angular: -0.08 });
        // Half a second until the timeout is not enough for 1.5 m/s at 2.5 m/s²: command again.
        drive(&mut robot, 0, 40);
        robot.obey(Velocity { linear: 10.0, angular: -100.0 }, 0);
        drive(&mut robot, 0, 40);
        assert_eq!(robot.velocity(), Velocity { linear: 1.5, angular: -3.0 });
    }

    #[test]
    fn a_base_without_commands_brakes_when_the_timeout_has_passed() {
        let mut robot = robot(BaseConfig::default());
        robot.obey(Velocity { linear: 1.0, angular: 0.0 }, 0);
        drive(&mut robot, 0, 50);
        assert_eq!(robot.velocity().linear, 1.0);
        drive(&mut robot, 500_000_000, 1);
        assert!((robot.velocity().linear - 0.975).abs() < 1e-12);
        drive(&mut robot, 510_000_000, 40);
        assert_eq!(robot.velocity().linear, 0.0);
    }

    #[test]
    fn odometry_is_the_truth_without_drift_and_leaves_it_with_drift() {
        let travel = |drift: Drift| {
            let mut robot = robot(BaseConfig { drift, ..BaseConfig::default() });
            robot.obey(Velocity { linear: 1.0, angular: 0.7 }, 0);
            drive(&mut robot, 0, 50);
            let believed = robot.spec().start * robot.odometry();
            (believed.translation.vector - robot.pose().translation.vector).norm()
        };
        assert!(travel(Drift::default()) < 1e-9);
        let error = travel(Drift { distance: 0.05, heading: 0.05 });
        assert!(error > 1e-3 && error < 0.3, "{error}");
    }

    #[test]
    fn a_base_that_cannot_be_is_refused_by_name() {
        let refused = |base: BaseConfig| base.check().unwrap_err().to_string();
        assert!(BaseConfig::default().check().is_ok());
        let never = BaseConfig { command_timeout: Duration::ZERO, ..BaseConfig::default() };
        assert_eq!(refused(never), "base.command_timeout is 0, outside 0.01 to 10");
        let jumps = BaseConfig { max_linear: 50.0, ..BaseConfig::default() };
        assert_eq!(refused(jumps), "base.max_linear is 50, outside 0.01 to 5");
        assert!(refused(BaseConfig { radius: f64::NAN, ..BaseConfig::default() }).contains("base.radius is NaN"));
    }
}
