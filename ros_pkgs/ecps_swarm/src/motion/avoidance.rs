//! Velocities that collide with nobody, as near as possible to what each robot would like.
//!
//! Optimal reciprocal collision avoidance (van den Berg, Guy, Lin and Manocha, "Reciprocal n-Body Collision Avoidance",
//! ISRR 2009, Springer 2011): each neighbour rules out a half-plane of velocities, and a linear program finds the best of
//! those that are left. Beside it, in this order of precedence:
//!
//! - **A hard limit** on how fast a robot nears another or a wall, which is never relaxed: within one step it may use up half of
//!   the gap to another robot, and keeps room to brake. Standing still always satisfies it, so that a robot that is told the truth
//!   about its neighbours touches nobody, however dense the crowd (the idea of buffered Voronoi cells: Zhou, Wang,
//!   Bandyopadhyay and Schwager, "Fast, On-line Collision Avoidance for Dynamic Vehicles Using Buffered Voronoi Cells",
//!   IEEE Robotics and Automation Letters 2, 2017).
//! - **Right of way** among the half-planes: of two robots the one of lower rank makes three quarters of the way.
//! - **Keeping right**: a robot whose way is barred prefers to pass on the right. All do the same, which is what breaks the
//!   symmetry of an encounter, and what turns a jam into a roundabout.
//!
//! [`avoid`] is for one robot, from what it knows of its neighbours. [`Crowd`] is the same for all robots of a simulation.

mod crowd;
mod lines;
mod nearest;
mod program;
mod walls;

use ecps_core::check::{CheckError, in_range};
use nalgebra::Vector2;
use thiserror::Error;

pub use crowd::Crowd;
pub use walls::Wall;

use super::{CONTROL_PERIOD, NEIGHBOUR_RADIUS, finite_vector};
use lines::{Constraints, Disc, Neighbours, braking_time, share};
use nearest::Nearest;

/// Most neighbours that a robot looks at.
pub const MAX_NEIGHBOURS: usize = 32;
/// Farthest from the origin that a place may be, metres: within it a double tells micrometres apart.
pub const MAX_COORDINATE: f64 = 1e9;

/// How collisions are avoided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// For how long a velocity must be free of collisions with other robots, seconds.
    pub horizon: f64,
    /// And with walls, seconds.
    pub wall_horizon: f64,
    /// How far away neighbours count, metres.
    pub neighbour_radius: f64,
    /// How many count, the nearest ones; at most [`MAX_NEIGHBOURS`]. The hard limit needs all within a step's reach, which are
    /// fewer than ten where robots are equally large.
    pub neighbours: usize,
    /// Time until the next decision, seconds.
    pub period: f64,
    /// What robots can brake with, m/s². Infinity for robots that stop at once.
    pub braking: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            horizon: 3.0,
            wall_horizon: 1.0,
            neighbour_radius: NEIGHBOUR_RADIUS,
            neighbours: 10,
            period: CONTROL_PERIOD,
            braking: f64::INFINITY,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), CheckError> {
        in_range("horizon", self.horizon, 1e-3, 1e3)?;
        in_range("wall_horizon", self.wall_horizon, 1e-3, 1e3)?;
        in_range("neighbour_radius", self.neighbour_radius, 1e-3, 1e6)?;
        in_range("neighbours", self.neighbours as f64, 0.0, MAX_NEIGHBOURS as f64)?;
        in_range("period", self.period, 1e-3, 10.0)?;
        if self.braking != f64::INFINITY {
            in_range("braking", self.braking, 1e-3, 1e3)?;
        }
        Ok(())
    }
}

/// A robot as others see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Robot {
    /// Where it is, metres.
    pub position: Vector2<f64>,
    /// How fast, metres per second.
    pub velocity: Vector2<f64>,
    /// Of the disc that nobody may enter, metres: the robot and what its position may be wrong by.
    pub radius: f64,
    /// Fastest it goes, metres per second.
    pub max_speed: f64,
    /// Of two robots the one of higher rank makes a quarter of the way around the other, the one of lower rank three
    /// quarters; half each where they are equal.
    pub rank: u8,
}

impl Robot {
    #[inline]
    fn check(&self) -> Result<(), CheckError> {
        let within = |value: f64, least: f64, most: f64| value >= least && value <= most;
        let place = self.position.iter().all(|value| within(*value, -MAX_COORDINATE, MAX_COORDINATE));
        let velocity = self.velocity.iter().all(|value| value.is_finite());
        if place && velocity && within(self.radius, 0.0, 1e3) && within(self.max_speed, 0.0, 1e3) {
            return Ok(());
        }
        finite_vector("velocity", &self.velocity)?;
        in_range("position.x", self.position.x, -MAX_COORDINATE, MAX_COORDINATE)?;
        in_range("position.y", self.position.y, -MAX_COORDINATE, MAX_COORDINATE)?;
        in_range("radius", self.radius, 0.0, 1e3)?;
        in_range("max_speed", self.max_speed, 0.0, 1e3)?;
        Ok(())
    }
}

/// Why no velocity was found. Who gets this stops.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AvoidanceError {
    /// An option outside its range.
    #[error("collision avoidance: {0}")]
    Option(CheckError),
    /// A robot that cannot be as it says.
    #[error("robot {index}: {reason}")]
    Robot {
        /// Which one; of [`avoid`], 0 is the robot itself, its neighbours follow.
        index: usize,
        /// What is wrong with it.
        reason: CheckError,
    },
    /// A preferred velocity that is NaN or infinite.
    #[error("preferred velocity of robot {index}: {reason}")]
    Preferred {
        /// Of which robot.
        index: usize,
        /// What is wrong with it.
        reason: CheckError,
    },
    /// A wall that is NaN or infinite.
    #[error("wall {index}: {reason}")]
    Wall {
        /// Which one.
        index: usize,
        /// What is wrong with it.
        reason: CheckError,
    },
    /// Not one preferred velocity for each robot.
    #[error("{robots} robots have {preferred} preferred velocities")]
    Count {
        /// Robots.
        robots: usize,
        /// Preferred velocities.
        preferred: usize,
    },
}

/// The velocity nearest to `preferred` with which `me` collides with no neighbour and no wall.
///
/// The limits hold for neighbours as they are given, so that one whose pose is old or uncertain must be given with a
/// larger radius.
pub fn avoid(
    me: &Robot,
    neighbours: &[Robot],
    walls: &[Wall],
    preferred: Vector2<f64>,
    options: &Options,
) -> Result<Vector2<f64>, AvoidanceError> {
    options.check().map_err(AvoidanceError::Option)?;
    for (index, robot) in std::iter::once(me).chain(neighbours).enumerate() {
        robot.check().map_err(|reason| AvoidanceError::Robot { index, reason })?;
    }
    finite_vector("it", &preferred).map_err(|reason| AvoidanceError::Preferred { index: 0, reason })?;
    walls::check(walls)?;

    let mut constraints = Constraints::new(options);
    let disc = Disc::new(me, options.braking);
    walls::near(walls, me, options).for_each(|(from, to)| constraints.wall(&disc, from, to));
    let mut others = Neighbours::default();
    let (xs, ys): (Vec<f64>, Vec<f64>) = neighbours.iter().map(|other| (other.position.x, other.position.y)).unzip();
    let mut nearest = Nearest::default();
    nearest.offer(&xs, &ys, 0, &me.position, options.neighbour_radius.powi(2) as f32);
    for (_, number) in nearest.select(options.neighbours) {
        let Some(other) = neighbours.get(*number as usize) else { continue };
        // Two in one place tell themselves apart by their velocities.
        let first = (me.velocity.x, me.velocity.y) < (other.velocity.x, other.velocity.y);
        let (offset, reach) = ((other.position - me.position).cast(), (me.radius + other.radius) as f32);
        let braking_time = braking_time(other, options.braking);
        others.push(offset, other.velocity.cast(), reach, share(me.rank, other.rank), braking_time, first);
    }
    constraints.robots(&disc, &others);
    Ok(constraints.solve(&disc, preferred.cast()).cast())
}
