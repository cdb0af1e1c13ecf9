//! Several robots in one floor plan, under one simulated time.

use crate::{
    arm::{Arm, WayError, WayPoint},
    floor_plan::FloorPlan,
    lidar::{self, Disc, Scan},
    noise::{Gaussian, Purpose},
    robot::{MAX_PIECE, Robot, RobotSpec, Velocity},
};
use ecps_core::check::CheckError;
use nalgebra::Point2;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, time::Duration};
use thiserror::Error;

/// Robots a world may hold; each looks at each other one in every piece of a step.
pub const MAX_ROBOTS: usize = 256;
/// Length a robot's name may have, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest single step.
pub const MAX_STEP: Duration = Duration::from_secs(60);

/// Why a world was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WorldError {
    /// Too many robots.
    #[error("the world has {robots} robots, more than the {MAX_ROBOTS} allowed")]
    TooManyRobots {
        /// How many were asked for.
        robots: usize,
    },
    /// A name that cannot be a namespace.
    #[error(
        "robot name {name:?} is not 1 to {MAX_NAME} letters, digits and underscores of which the first is not a digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Two robots of one name.
    #[error("two robots have the name {name:?}, and a name must be one robot's own")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A parameter of its base or lidar.
    #[error("robot {name:?}: {source}")]
    BadParameter {
        /// Whose parameter.
        name: String,
        /// Which, its value and its range.
        source: CheckError,
    },
    /// A start where the robot has no room. Also for a start that is not finite.
    #[error("robot {name:?} cannot start at ({x}, {y}): it needs {radius} m around its centre in free space")]
    NoRoom {
        /// Whose start.
        name: String,
        /// x of the start.
        x: f64,
        /// y of the start.
        y: f64,
        /// Its radius.
        radius: f64,
    },
    /// Two starts too near to each other.
    #[error("robots {name:?} and {other:?} start {distance} m apart, nearer than their radii add up to ({limit} m)")]
    Overlap {
        /// One robot.
        name: String,
        /// The other.
        other: String,
        /// Between their centres.
        distance: f64,
        /// Sum of their radii.
        limit: f64,
    },
}

/// No robot has this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no robot {index}, the world has {robots}")]
pub struct NoSuchRobot {
    /// The index asked for.
    pub index: usize,
    /// How many robots there are; indices go from 0.
    pub robots: usize,
}

/// Why a command was refused. The robot goes on as it was commanded before.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CommandError {
    /// No robot has this index.
    #[error(transparent)]
    NoSuchRobot(#[from] NoSuchRobot),
    /// NaN or infinity. Counted in [`Robot::refused_commands`].
    #[error("command of {linear} m/s and {angular} rad/s to robot {name:?} is refused: both must be finite")]
    NotFinite {
        /// The robot.
        name: String,
        /// Forward speed asked for.
        linear: f64,
        /// Turning speed asked for.
        angular: f64,
    },
}

/// Why a step was refused. Time stands where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StepError {
    /// Longer than a single step may be.
    #[error("a step of {asked:?} is longer than the {MAX_STEP:?} allowed")]
    TooLong {
        /// The step asked for.
        asked: Duration,
    },
    /// Simulated time does not fit 64 bits of nanoseconds (584 years).
    #[error("simulated time of {now_ns} ns cannot advance by {asked:?}: it would not fit 64 bits")]
    TimeOverflow {
        /// Simulated time.
        now_ns: u64,
        /// The step asked for.
        asked: Duration,
    },
}

/// A floor plan with robots in it. See the [crate] for an example.
#[derive(Debug, Clone)]
pub struct World {
    plan: FloorPlan,
    seed: u64,
    robots: Vec<Robot>,
    time_ns: u64,
}

impl World {
    /// Puts `robots` into `plan`, at time 0. A robot's index is its place in `robots`. Every noise follows from `seed`.
    ///
    /// # Errors
    /// [`WorldError`] for names, parameters or start poses that cannot be.
    pub fn new(plan: FloorPlan, seed: u64, robots: Vec<RobotSpec>) -> Result<Self, WorldError> {
        if robots.len() > MAX_ROBOTS {
            return Err(WorldError::TooManyRobots { robots: robots.len() });
        }
        let mut names = BTreeSet::new();
        for (index, robot) in robots.iter().enumerate() {
            check_alone(&plan, robot)?;
            if !names.insert(robot.name.as_str()) {
                return Err(WorldError::DuplicateName { name: robot.name.clone() });
            }
            for other in robots.iter().take(index) {
                let distance = (robot.start.translation.vector - other.start.translation.vector).norm();
                let limit = robot.base.radius + other.base.radius;
                if distance < limit {
                    let (name, other) = (robot.name.clone(), other.name.clone());
                    return Err(WorldError::Overlap { name, other, distance, limit });
                }
            }
        }
        let robots = robots.into_iter().enumerate().map(|(index, spec)| Robot::new(spec, seed, index)).collect();
        Ok(Self { plan, seed, robots, time_ns: 0 })
    }

    /// The floor plan.
    #[must_use]
    pub fn plan(&self) -> &FloorPlan {
        &self.plan
    }

    /// Simulated time since the world's start, in ns.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// All robots, in the order of their indices.
    #[must_use]
    pub fn robots(&self) -> &[Robot] {
        &self.robots
    }

    /// One robot.
    ///
    /// # Errors
    /// [`NoSuchRobot`] where no robot has this index.
    pub fn robot(&self, index: usize) -> Result<&Robot, NoSuchRobot> {
        self.robots.get(index).ok_or(NoSuchRobot { index, robots: self.robots.len() })
    }

    /// Has a robot drive at this speed until its next command or its timeout. The newest command wins.
    ///
    /// # Errors
    /// [`CommandError`]; then the robot's last good command stays in force and its timeout runs on.
    pub fn command(&mut self, index: usize, velocity: Velocity) -> Result<(), CommandError> {
        let robots = self.robots.len();
        let robot = self.robots.get_mut(index).ok_or(NoSuchRobot { index, robots })?;
        let Velocity { linear, angular } = velocity;
        if !linear.is_finite() || !angular.is_finite() {
            robot.refuse();
            return Err(CommandError::NotFinite { name: robot.spec().name.clone(), linear, angular });
        }
        robot.obey(velocity, self.time_ns);
        Ok(())
    }

    /// Has a robot's joints follow a trajectory from now on.
    ///
    /// # Errors
    /// [`WayError`]; then the joints go on as they were told before.
    pub fn follow(&mut self, index: usize, joints: &[String], points: &[WayPoint]) -> Result<(), WayError> {
        let now_ns = self.time_ns;
        let arm = self.robots.get_mut(index).and_then(Robot::arm_mut).ok_or(WayError::NoArm)?;
        arm.follow(joints, points, now_ns)
    }

    /// Advances simulated time. The step is cut into pieces of [`MAX_PIECE`] and a shorter last one, in each of which the
    /// robots move one after the other in the order of their indices; so one step of 50 ms is five of 10 ms, exactly.
    ///
    /// # Errors
    /// [`StepError`]; then nothing has moved.
    pub fn step(&mut self, step: Duration) -> Result<(), StepError> {
        if step > MAX_STEP {
            return Err(StepError::TooLong { asked: step });
        }
        let overflow = StepError::TimeOverflow { now_ns: self.time_ns, asked: step };
        let end_ns = u64::try_from(step.as_nanos()).ok().and_then(|ns| self.time_ns.checked_add(ns)).ok_or(overflow)?;
        let mut discs: Vec<Disc> = self.robots.iter().map(disc).collect();
        while self.time_ns < end_ns {
            let piece = Duration::from_nanos(end_ns - self.time_ns).min(MAX_PIECE);
            for (index, robot) in self.robots.iter_mut().enumerate() {
                let clearance = |point: Point2<f64>| {
                    others(&discs, index)
                        .map(|disc| (point - disc.centre).norm() - disc.radius)
                        .fold(self.plan.distance_to_wall(point), f64::min)
                };
                robot.drive(self.time_ns, piece, clearance);
                if let Some(arm) = robot.arm_mut() {
                    arm.advance(self.time_ns + u64::from(piece.subsec_nanos()), piece);
                }
                if let Some(own) = discs.get_mut(index) {
                    *own = disc(robot);
                }
            }
            self.time_ns += u64::from(piece.subsec_nanos());
        }
        Ok(())
    }

    /// What a robot's lidar sees now: walls, and the other robots as discs. Its noise depends on the world's seed, the
    /// robot and the simulated time alone, so that the same moment always looks the same.
    ///
    /// # Errors
    /// [`NoSuchRobot`] where no robot has this index.
    pub fn scan(&self, index: usize) -> Result<Scan, NoSuchRobot> {
        let robot = self.robot(index)?;
        let discs: Vec<Disc> = self.robots.iter().map(disc).collect();
        let discs: Vec<Disc> = others(&discs, index).copied().collect();
        let mut noise = Gaussian::new(self.seed, Purpose::Scan { robot: index, time_ns: self.time_ns });
        Ok(lidar::scan(&robot.spec().lidar, &self.plan, &discs, &robot.pose(), &mut noise, self.time_ns))
    }

    /// SHA-256 of the world's state: the bytes `ecps_sim/1`, then simulated time in ns and the number of robots as
    /// unsigned 64-bit numbers, then for each robot x, y (µm), heading (µrad, within ±π), forward speed (µm/s) and turning
    /// speed (µrad/s), each rounded to the nearest integer and signed, 64 bits; all little-endian. Of a robot with an arm
    /// position and velocity of each joint follow, in µrad or µm.
    #[must_use]
    pub fn state_sha(&self) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(b"ecps_sim/1");
        sha.update(self.time_ns.to_le_bytes());
        sha.update((self.robots.len() as u64).to_le_bytes());
        for robot in &self.robots {
            let Velocity { linear, angular } = robot.velocity();
            for value in [robot.at().x, robot.at().y, robot.heading(), linear, angular] {
                sha.update(((value * 1e6).round() as i64).to_le_bytes());
            }
            for joint in robot.arm().map(Arm::joints).unwrap_or_default() {
                for value in [joint.position(), joint.velocity()] {
                    sha.update(((value * 1e6).round() as i64).to_le_bytes());
                }
            }
        }
        sha.finalize().into()
    }
}

/// What can be said of a robot without looking at the others.
fn check_alone(plan: &FloorPlan, robot: &RobotSpec) -> Result<(), WorldError> {
    let RobotSpec { name, start, base, lidar, arm: _ } = robot;
    let starts_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || name.len() > MAX_NAME || starts_with_digit || !plain {
        return Err(WorldError::BadName { name: name.chars().take(MAX_NAME).collect() });
    }
    base.check()
        .and_then(|()| lidar.check())
        .map_err(|source| WorldError::BadParameter { name: name.clone(), source })?;
    let at = Point2::from(start.translation.vector);
    let finite = start.rotation.angle().is_finite() && at.iter().all(|v| v.is_finite());
    if !finite || !plan.is_free(at) || plan.distance_to_wall(at) < base.radius {
        return Err(WorldError::NoRoom { name: name.clone(), x: at.x, y: at.y, radius: base.radius });
    }
    Ok(())
}

fn disc(robot: &Robot) -> Disc {
    Disc { centre: robot.at(), radius: robot.spec().base.radius }
}

fn others(discs: &[Disc], index: usize) -> impl Iterator<Item = &Disc> {
    discs.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, disc)| disc)
}
