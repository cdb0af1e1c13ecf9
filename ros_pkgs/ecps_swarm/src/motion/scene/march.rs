//! A formation of simulated robots.

use nalgebra::{Isometry2, Vector2};
use thiserror::Error;

use super::{Body, Scene};
use crate::motion::NEIGHBOUR_RADIUS;
use crate::motion::avoidance::{AvoidanceError, Options};
use crate::motion::formation::{Formation, FormationError, Keeping, Settings, keep};
use crate::motion::shape::Shape;

/// How long robots stay in their slots before they count as settled, seconds.
const SETTLED: f64 = 8.0;

/// Why a march ends.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MarchError {
    /// The formation refused something.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// So did collision avoidance.
    #[error(transparent)]
    Avoidance(#[from] AvoidanceError),
    /// It takes too long.
    #[error("the formation is not settled after {seconds} s")]
    Late {
        /// How long it took, simulated.
        seconds: f64,
    },
}

/// Robots that keep a formation: what each does in a control period is what it would do alone, from what it knows.
///
/// ```
/// use ecps_swarm::motion::scene::{Body, Dice, March};
/// use ecps_swarm::motion::shape::Shape;
/// use nalgebra::Isometry2;
///
/// let starts = Dice::new(1).scattered(7, 2.0);
/// let mut march = March::new(Body::default(), &starts, Shape::Circle, &Isometry2::identity(), 1)?;
/// march.settle(100.0)?;
/// assert!(march.errors().all(|error| error < 0.1));
/// assert!(march.scene().least_distance() > 1.0);
/// # Ok::<(), ecps_swarm::motion::scene::MarchError>(())
/// ```
#[derive(Debug, Clone)]
pub struct March {
    scene: Scene,
    formation: Formation<usize>,
    /// Of each robot of the scene, in the formation.
    names: Vec<usize>,
    next: usize,
    max_speed: f64,
}

impl March {
    /// Robots at rest at `starts` take a formation with its centre at `pose`.
    pub fn new(
        body: Body,
        starts: &[Vector2<f64>],
        shape: Shape,
        pose: &Isometry2<f64>,
        seed: u64,
    ) -> Result<March, MarchError> {
        let options = Options { braking: body.acceleration, ..Options::default() };
        let settings = Settings { max_speed: body.max_speed, ..Settings::default() };
        let mut march = March {
            scene: Scene::new(body, &[], Vec::new(), options, seed)?,
            formation: Formation::new(settings, shape, pose)?,
            names: Vec::new(),
            next: 0,
            max_speed: body.max_speed,
        };
        starts.iter().try_for_each(|start| march.join(*start).map(|_| ()))?;
        Ok(march)
    }

    /// One more robot; its name.
    pub fn join(&mut self, place: Vector2<f64>) -> Result<usize, MarchError> {
        self.formation.see(self.next, place)?;
        self.scene.join(place);
        self.names.push(self.next);
        self.next += 1;
        Ok(self.next - 1)
    }

    /// A robot is gone, if it was there.
    pub fn leave(&mut self, name: usize) {
        if let Some(index) = self.names.iter().position(|other| *other == name) {
            self.names.remove(index);
            self.scene.leave(index);
            self.formation.leave(&name);
        }
    }

    /// One control period.
    pub fn step(&mut self) -> Result<(), MarchError> {
        let robots = self.scene.robots();
        for (name, robot) in self.names.iter().zip(robots) {
            self.formation.see(*name, robot.position)?;
        }
        self.formation.advance(self.scene.period());
        let keeping = |(name, place)| Some(Keeping { place, reference: self.formation.reference(name)? });
        let places = robots.iter().map(|robot| robot.position);
        let keeping: Vec<Option<Keeping>> = self.names.iter().zip(places).map(keeping).collect();
        let preferred = |me: &Option<Keeping>| {
            // Without a slot a robot stays where it is.
            let Some(me) = me else { return Vector2::zeros() };
            let near = |other: &&Keeping| *other != me && (other.place - me.place).norm() < NEIGHBOUR_RADIUS;
            let neighbours: Vec<Keeping> = keeping.iter().flatten().filter(near).copied().collect();
            keep(me, &neighbours, self.max_speed)
        };
        let preferred: Vec<Vector2<f64>> = keeping.iter().map(preferred).collect();
        Ok(self.scene.step(&preferred)?)
    }

    /// Goes on until the formation is where it was sent and has been in shape for a while; at most until `limit`, simulated
    /// seconds from the beginning.
    pub fn settle(&mut self, limit: f64) -> Result<(), MarchError> {
        let mut since = None;
        loop {
            self.step()?;
            let seconds = self.scene.seconds();
            let at_rest = self.formation.is_settled() && self.formation.route().is_done();
            since = since.filter(|_| at_rest).or_else(|| at_rest.then_some(seconds));
            if since.is_some_and(|since| seconds - since >= SETTLED) {
                return Ok(());
            }
            if seconds > limit {
                return Err(MarchError::Late { seconds });
            }
        }
    }

    /// How far each robot that has a slot is from it, metres.
    pub fn errors(&self) -> impl Iterator<Item = f64> + '_ {
        let error = |(name, place): (&usize, Vector2<f64>)| Some((self.formation.slot(name)?.1 - place).norm());
        self.names.iter().zip(self.scene.places()).filter_map(error)
    }

    /// The robots' names, in the scene's order.
    pub fn names(&self) -> &[usize] {
        &self.names
    }

    /// Where the robots are and were.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The formation.
    pub fn formation(&self) -> &Formation<usize> {
        &self.formation
    }

    /// To send it on and give it other shapes.
    pub fn formation_mut(&mut self) -> &mut Formation<usize> {
        &mut self.formation
    }
}
