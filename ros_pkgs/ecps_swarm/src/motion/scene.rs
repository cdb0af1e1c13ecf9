//! A simulation of robots that move by [`super::avoidance`]: for tests, benches and pictures. Same seed, same run.

mod march;

use nalgebra::{Isometry2, Vector2};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng as _;

use super::avoidance::{AvoidanceError, Crowd, Options, Robot, Wall};
use super::capped;
use super::drive::{Command, DifferentialDrive};
use super::grid::closest_pair;

pub use march::{March, MarchError};

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub struct Dice(Pcg64);

impl Dice {
    /// Numbers of this seed.
    pub fn new(seed: u64) -> Dice {
        let mut generator = Pcg64::new(seed.into(), 10);
        // Seeds that differ in a few bits begin alike.
        (0..8).for_each(|_| {
            generator.next_u64();
        });
        Dice(generator)
    }

    /// Evenly in `from..to`.
    pub fn within(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, of standard deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        // In (0, 1], since the logarithm of 0 is infinite.
        let radius = (-2.0 * (1.0 - self.within(0.0, 1.0)).ln()).sqrt();
        radius * self.within(0.0, std::f64::consts::TAU).cos()
    }

    /// `count` places in a square around the origin that are at least `apart` from each other; the square has four times
    /// the room that they need.
    pub fn scattered(&mut self, count: usize, apart: f64) -> Vec<Vector2<f64>> {
        let half = apart * (count as f64).sqrt();
        let mut places: Vec<Vector2<f64>> = Vec::with_capacity(count);
        while places.len() < count {
            let place = Vector2::new(self.within(-half, half), self.within(-half, half));
            if places.iter().all(|other| (other - place).norm() >= apart) {
                places.push(place);
            }
        }
        places
    }
}

/// What the simulated robots are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Body {
    /// Radius of the robot, metres.
    pub radius: f64,
    /// By how much more others keep away, metres.
    pub margin: f64,
    /// Fastest, m/s.
    pub max_speed: f64,
    /// How fast velocity changes, m/s²; infinite for one that obeys at once.
    pub acceleration: f64,
    /// Standard deviation of each coordinate that a robot is told of its own and others' places, metres.
    pub noise: f64,
    /// What it moves by.
    pub base: Base,
}

/// What a robot moves by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// In every direction alike.
    Omnidirectional,
    /// By two wheels.
    Differential(DifferentialDrive),
}

impl Default for Body {
    fn default() -> Self {
        Body {
            radius: 0.5,
            margin: 0.0,
            max_speed: super::MAX_SPEED,
            acceleration: f64::INFINITY,
            noise: 0.0,
            base: Base::Omnidirectional,
        }
    }
}

/// Robots, what they did, and how near they came to each other.
#[derive(Debug, Clone)]
pub struct Scene {
    body: Body,
    period: f64,
    crowd: Crowd,
    walls: Vec<Wall>,
    dice: Dice,
    /// Poses of the robots, as they are.
    poses: Vec<Isometry2<f64>>,
    /// What is steered: the robots' middles, or the points ahead of their axles; as they are told of it.
    robots: Vec<Robot>,
    paths: Vec<Vec<Vector2<f64>>>,
    seconds: f64,
    least_distance: f64,
    least_clearance: f64,
    overlaps: usize,
}

impl Scene {
    /// Robots at rest at `starts`, heading along x.
    pub fn new(
        body: Body,
        starts: &[Vector2<f64>],
        walls: Vec<Wall>,
        options: Options,
        seed: u64,
    ) -> Result<Scene, AvoidanceError> {
        let mut scene = Scene {
            body,
            period: options.period,
            crowd: Crowd::new(options, walls.clone())?,
            walls,
            dice: Dice::new(seed),
            poses: Vec::new(),
            robots: Vec::new(),
            paths: Vec::new(),
            seconds: 0.0,
            least_distance: f64::INFINITY,
            least_clearance: f64::INFINITY,
            overlaps: 0,
        };
        starts.iter().for_each(|start| scene.join(*start));
        Ok(scene)
    }

    /// One more robot, the last.
    pub fn join(&mut self, place: Vector2<f64>) {
        let pose = Isometry2::new(place, 0.0);
        let held = match self.body.base {
            Base::Omnidirectional => self.body.radius,
            Base::Differential(drive) => drive.radius(self.body.radius),
        };
        self.poses.push(pose);
        self.robots.push(Robot {
            position: steered(&self.body, &pose),
            velocity: Vector2::zeros(),
            radius: held + self.body.margin,
            max_speed: self.body.max_speed,
            rank: 0,
        });
        self.paths.push(vec![place]);
        self.look();
    }

    /// Takes a robot away. Those after it move up.
    pub fn leave(&mut self, index: usize) {
        if index < self.robots.len() {
            self.robots.remove(index);
            self.poses.remove(index);
            self.paths.remove(index);
        }
    }

    /// Sets right of way, see [`Robot::rank`].
    pub fn set_rank(&mut self, index: usize, rank: u8) {
        if let Some(robot) = self.robots.get_mut(index) {
            robot.rank = rank;
        }
    }

    /// One period: each robot would like to move with its velocity of `preferred`, and does what collision avoidance
    /// leaves of it and its base can do.
    pub fn step(&mut self, preferred: &[Vector2<f64>]) -> Result<(), AvoidanceError> {
        let velocities = self.crowd.velocities(&self.robots, preferred)?;
        let change = self.body.acceleration * self.period;
        for ((robot, pose), wanted) in self.robots.iter_mut().zip(&mut self.poses).zip(velocities) {
            let velocity = robot.velocity + capped(wanted - robot.velocity, change);
            match self.body.base {
                Base::Omnidirectional => pose.translation.vector += velocity * self.period,
                Base::Differential(drive) => {
                    // A finite pose and velocity are refused by nothing.
                    let command = drive.command(pose, &velocity).unwrap_or_default();
                    drive_on(pose, command, self.period);
                }
            }
            let place = steered(&self.body, pose);
            let noise = |dice: &mut Dice| if self.body.noise > 0.0 { dice.normal() * self.body.noise } else { 0.0 };
            robot.velocity = velocity;
            robot.position = place + Vector2::new(noise(&mut self.dice), noise(&mut self.dice));
        }
        self.seconds += self.period;
        self.look();
        Ok(())
    }

    /// Keeps what there is to see now.
    fn look(&mut self) {
        let places: Vec<_> = self.poses.iter().map(|pose| pose.translation.vector).collect();
        for (path, place) in self.paths.iter_mut().zip(&places) {
            path.push(*place);
        }
        let distance = closest_pair(&places);
        self.least_distance = self.least_distance.min(distance);
        self.overlaps += usize::from(distance < 2.0 * self.body.radius);
        for wall in &self.walls {
            for place in &places {
                self.least_clearance = self.least_clearance.min((wall.nearest(place) - place).norm());
            }
        }
    }

    /// Where the robots are, metres.
    pub fn places(&self) -> impl Iterator<Item = Vector2<f64>> + '_ {
        self.poses.iter().map(|pose| pose.translation.vector)
    }

    /// What robots know of each other: measured places, and velocities.
    pub fn robots(&self) -> &[Robot] {
        &self.robots
    }

    /// Where each robot was after each step, for a picture.
    pub fn paths(&self) -> &[Vec<Vector2<f64>>] {
        &self.paths
    }

    /// Time of one step, seconds.
    pub fn period(&self) -> f64 {
        self.period
    }

    /// Simulated time, seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Least distance of two robots' middles so far, metres.
    pub fn least_distance(&self) -> f64 {
        self.least_distance
    }

    /// Least distance of a robot's middle to a wall so far, metres.
    pub fn least_clearance(&self) -> f64 {
        self.least_clearance
    }

    /// Steps after which two robots overlapped.
    pub fn overlaps(&self) -> usize {
        self.overlaps
    }
}

fn steered(body: &Body, pose: &Isometry2<f64>) -> Vector2<f64> {
    match body.base {
        Base::Omnidirectional => pose.translation.vector,
        Base::Differential(drive) => drive.point(pose),
    }
}

/// Along an arc; in pieces, since the point ahead turns on its way.
fn drive_on(pose: &mut Isometry2<f64>, command: Command, seconds: f64) {
    let half_turn = command.angular * seconds / 2.0;
    let chord = if half_turn.abs() < 1e-9 { 1.0 } else { half_turn.sin() / half_turn };
    let heading = pose.rotation.angle() + half_turn;
    let way = command.linear * seconds * chord;
    pose.translation.vector += Vector2::new(heading.cos(), heading.sin()) * way;
    pose.rotation = nalgebra::UnitComplex::new(heading + half_turn);
}
