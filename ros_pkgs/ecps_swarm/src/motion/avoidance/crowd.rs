//! Collision avoidance of many robots at once.

use nalgebra::Vector2;

use super::lines::{Constraints, Disc, Neighbours, Vec2, braking_time, share};
use super::nearest::Nearest;
use super::walls::{self, Wall};
use super::{AvoidanceError, Options, Robot};
use crate::motion::finite_vector;
use crate::motion::grid::Grid;

/// What [`super::avoid`] says for each of many robots that decide at the same time.
///
/// ```
/// use ecps_swarm::motion::avoidance::{Crowd, Options, Robot};
/// use nalgebra::Vector2;
///
/// let robot = |x: f64, speed: f64| Robot {
///     position: Vector2::new(x, 0.0),
///     velocity: Vector2::new(speed, 0.0),
///     radius: 0.5,
///     max_speed: 2.0,
///     rank: 0,
/// };
/// let mut robots = [robot(-3.0, 1.0), robot(3.0, -1.0)];
/// let preferred = robots.map(|robot| robot.velocity);
/// let mut crowd = Crowd::new(Options::default(), Vec::new())?;
/// let velocities = crowd.velocities(&robots, &preferred)?;
/// // Each passes on the right.
/// assert!(velocities[0].y < 0.0 && velocities[1].y > 0.0);
/// # Ok::<(), ecps_swarm::motion::avoidance::AvoidanceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Crowd {
    options: Options,
    walls: Vec<Wall>,
    grid: Grid,
    /// Robots in the order of the grid, so that neighbours lie side by side in memory.
    sorted: Vec<Sorted>,
    xs: Vec<f64>,
    ys: Vec<f64>,
    velocities: Vec<Vector2<f64>>,
    nearest: Nearest,
    others: Neighbours,
    constraints: Constraints,
}

/// What others need of a robot beside its place.
#[derive(Debug, Clone, Copy)]
struct Sorted {
    velocity: Vec2,
    radius: f32,
    rank: u8,
    braking_time: f32,
}

impl Crowd {
    /// A crowd among walls. Each robot looks at each wall: thousands of them want to be sorted first.
    pub fn new(options: Options, walls: Vec<Wall>) -> Result<Crowd, AvoidanceError> {
        options.check().map_err(AvoidanceError::Option)?;
        walls::check(&walls)?;
        Ok(Crowd {
            constraints: Constraints::new(&options),
            options,
            walls,
            grid: Grid::default(),
            sorted: Vec::new(),
            xs: Vec::new(),
            ys: Vec::new(),
            velocities: Vec::new(),
            nearest: Nearest::default(),
            others: Neighbours::default(),
        })
    }

    /// The velocity of each robot. Takes no memory that the last call did not have, once robots are as many.
    pub fn velocities(
        &mut self,
        robots: &[Robot],
        preferred: &[Vector2<f64>],
    ) -> Result<&[Vector2<f64>], AvoidanceError> {
        if robots.len() != preferred.len() {
            return Err(AvoidanceError::Count { robots: robots.len(), preferred: preferred.len() });
        }
        for (index, (robot, preferred)) in robots.iter().zip(preferred).enumerate() {
            robot.check().map_err(|reason| AvoidanceError::Robot { index, reason })?;
            finite_vector("it", preferred).map_err(|reason| AvoidanceError::Preferred { index, reason })?;
        }
        self.sort(robots);
        self.velocities.clear();
        self.velocities.resize(robots.len(), Vector2::zeros());
        for place in 0..self.sorted.len() {
            let Some(&number) = self.grid.order().get(place) else { continue };
            let number = number as usize;
            let (Some(robot), Some(preferred)) = (robots.get(number), preferred.get(number)) else { continue };
            self.find_neighbours(place, robot);
            let velocity = self.decide(robot, preferred);
            if let Some(slot) = self.velocities.get_mut(number) {
                *slot = velocity;
            }
        }
        Ok(&self.velocities)
    }

    fn sort(&mut self, robots: &[Robot]) {
        let (mut least, mut most) = (Vector2::repeat(f64::INFINITY), Vector2::repeat(f64::NEG_INFINITY));
        for robot in robots {
            (least, most) = (least.inf(&robot.position), most.sup(&robot.position));
        }
        let radius = self.options.neighbour_radius;
        // Where robots are spread evenly, those wanted are mostly within one cell's side.
        let area = (most.x - least.x) * (most.y - least.y);
        let side = 0.65 * (area * self.options.neighbours as f64 / robots.len().max(1) as f64).sqrt();
        let side = if side.is_finite() { side.clamp(radius * 0.01, radius) } else { radius };
        self.grid.rebuild(robots.iter().map(|robot| robot.position), side);
        let order = self.grid.order().iter().filter_map(|number| robots.get(*number as usize));
        self.sorted.clear();
        self.sorted.extend(order.clone().map(|robot| Sorted {
            velocity: robot.velocity.cast(),
            radius: robot.radius as f32,
            rank: robot.rank,
            braking_time: braking_time(robot, self.options.braking),
        }));
        self.xs.clear();
        self.xs.extend(order.clone().map(|robot| robot.position.x));
        self.ys.clear();
        self.ys.extend(order.map(|robot| robot.position.y));
    }

    /// Finds the nearest neighbours within the radius, in widening blocks of cells.
    #[inline(always)]
    fn find_neighbours(&mut self, place: usize, robot: &Robot) {
        // The robot itself is among them.
        let wanted = self.options.neighbours + 1;
        let most = (self.options.neighbour_radius * self.options.neighbour_radius) as f32;
        let cell = self.grid.cell(&robot.position);
        let mut limit = self.nearest.guess(most);
        let mut reach = 1;
        let found = loop {
            self.nearest.begin();
            for run in self.grid.around(cell, reach) {
                let first = run.start as u32;
                let xs = self.xs.get(run.clone()).unwrap_or_default();
                let ys = self.ys.get(run).unwrap_or_default();
                self.nearest.offer(xs, ys, first, &robot.position, limit);
            }
            // Whoever is not in the block is farther away than this.
            let sure = (reach as f64 * self.grid.side()).powi(2) as f32;
            if self.nearest.count() < wanted {
                if limit < most {
                    limit = most;
                    continue;
                }
                if sure >= most || self.grid.is_covered(cell, reach) {
                    break self.nearest.select(wanted);
                }
            } else if self.nearest.select(wanted).last().is_some_and(|(farthest, _)| *farthest <= sure)
                || self.grid.is_covered(cell, reach)
            {
                break self.nearest.found();
            }
            reach += 1;
        };
        let me = robot;
        self.others.clear();
        for (_, number) in found.iter().filter(|(_, number)| *number as usize != place) {
            let number = *number as usize;
            let (Some(x), Some(y), Some(other)) = (self.xs.get(number), self.ys.get(number), self.sorted.get(number))
            else {
                continue;
            };
            self.others.push(
                Vec2::new((x - me.position.x) as f32, (y - me.position.y) as f32),
                other.velocity,
                me.radius as f32 + other.radius,
                share(me.rank, other.rank),
                other.braking_time,
                place < number,
            );
        }
    }

    #[inline(always)]
    fn decide(&mut self, robot: &Robot, preferred: &Vector2<f64>) -> Vector2<f64> {
        let me = Disc::new(robot, self.options.braking);
        self.constraints.clear();
        for (from, to) in walls::near(&self.walls, robot, &self.options) {
            self.constraints.wall(&me, from, to);
        }
        self.constraints.robots(&me, &self.others);
        self.constraints.solve(&me, preferred.cast()).cast()
    }
}
