//! A formation: who takes which slot, and where each robot should be at any moment.

mod keeping;
mod state;
mod transition;

use std::collections::BTreeMap;

use ecps_core::check::{CheckError, in_range};
use nalgebra::{Isometry2, Vector2};
use thiserror::Error;

pub use keeping::{Keeping, keep};
pub use state::{Point, State};

use super::route::{Heading, MinimumJerk, Route};
use super::shape::{Shape, ShapeError};
use super::{MAX_SPEED, SCALE, SEPARATION, finite_vector};
use crate::motion::avoidance::MAX_COORDINATE;
use transition::Way;

/// How long a re-forming that is given up takes to come to rest, seconds.
const REST: f64 = 1.0;

/// How many separations from where it should be a robot counts as carried away; less is what others' right of way costs it.
const CARRIED: f64 = 2.0;

/// What a formation keeps to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Size of the shape, metres.
    pub scale: f64,
    /// Least distance of two slots, metres.
    pub separation: f64,
    /// Fastest that a robot should go, m/s: half of it for the way of the formation, half for re-forming.
    pub max_speed: f64,
    /// Fastest that a robot should change its velocity for either, m/s².
    pub acceleration: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { scale: SCALE, separation: SEPARATION, max_speed: MAX_SPEED, acceleration: 1.0 }
    }
}

/// Why a formation cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FormationError {
    /// A setting, a pose or a place that cannot be.
    #[error("formation: {0}")]
    Check(#[from] CheckError),
    /// No slots.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Where a robot should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Place, metres.
    pub place: Vector2<f64>,
    /// Velocity, m/s.
    pub velocity: Vector2<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Member {
    /// Where it was seen last.
    place: Vector2<f64>,
    /// `None` until it has a slot.
    way: Option<Way>,
}

/// A formation of robots that are told apart by `Id`. A state machine: it is told who is there and where, and how time passes.
///
/// Slots are assigned when the robots or the shape change, or when one was carried away, and at no other time. A re-forming that is
/// under way comes to rest first, and goes on to its end where a new one from there would bring robots nearer to each other than half
/// the separation.
///
/// ```
/// use ecps_swarm::motion::formation::{Formation, Settings};
/// use ecps_swarm::motion::shape::Shape;
/// use nalgebra::{Isometry2, Vector2};
///
/// let mut formation = Formation::new(Settings::default(), Shape::Line, &Isometry2::identity())?;
/// for (robot, x) in [("a", 9.0), ("b", 0.0), ("c", -9.0)] {
///     formation.see(robot, Vector2::new(x, 4.0))?;
/// }
/// while !formation.is_settled() {
///     formation.advance(0.1);
/// }
/// // Nobody passes anybody.
/// let x = |robot| formation.reference(&robot).map(|reference| reference.place.x);
/// assert_eq!((x("a"), x("b"), x("c")), (Some(2.5), Some(0.0), Some(-2.5)));
/// # Ok::<(), ecps_swarm::motion::formation::FormationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Formation<Id> {
    settings: Settings,
    shape: Shape,
    route: Route,
    members: BTreeMap<Id, Member>,
    /// Of the present re-forming, from 0 to 1.
    time: f64,
    seconds: f64,
    /// How fast `time` runs, as a share of what was planned.
    pace: f64,
    change: Change,
    /// How often slots were assigned.
    plans: u64,
}

/// Whether slots have to be assigned anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Change {
    None = 0,
    /// As soon as what is under way is at rest.
    Wanted = 1,
    /// Once what is under way is over.
    Postponed = 2,
}

fn check(settings: &Settings) -> Result<(), CheckError> {
    in_range("scale", settings.scale, 1e-3, 1e4)?;
    in_range("separation", settings.separation, 1e-3, 1e3)?;
    in_range("max_speed", settings.max_speed, 1e-3, 100.0)?;
    in_range("acceleration", settings.acceleration, 1e-3, 100.0)?;
    Ok(())
}

impl<Id: Ord + Clone> Formation<Id> {
    /// A formation of nobody, with its centre at a pose.
    pub fn new(settings: Settings, shape: Shape, pose: &Isometry2<f64>) -> Result<Self, FormationError> {
        check(&settings)?;
        let route = Route::new(pose, settings.max_speed / 2.0, settings.acceleration)?;
        Ok(Formation {
            settings,
            shape,
            route,
            members: BTreeMap::new(),
            time: 1.0,
            seconds: 1.0,
            pace: 1.0,
            change: Change::None,
            plans: 0,
        })
    }

    /// A robot was seen at a place. One that was not there before joins, and gets a slot with the next re-forming.
    pub fn see(&mut self, robot: Id, place: Vector2<f64>) -> Result<(), FormationError> {
        in_range("place.x", place.x, -MAX_COORDINATE, MAX_COORDINATE)?;
        in_range("place.y", place.y, -MAX_COORDINATE, MAX_COORDINATE)?;
        if !self.members.contains_key(&robot) {
            self.slots(self.members.len() + 1, &self.shape)?;
            self.members.insert(robot, Member { place, way: None });
            self.want_change();
            return Ok(());
        }
        // One that was carried away is not sent on from where it should be.
        let carried = self
            .reference(&robot)
            .is_some_and(|should| (should.place - place).norm() > CARRIED * self.settings.separation);
        if let Some(member) = self.members.get_mut(&robot) {
            member.place = place;
        }
        if carried {
            self.want_change();
        }
        Ok(())
    }

    /// A robot is gone. The others close up.
    pub fn leave(&mut self, robot: &Id) {
        if self.members.remove(robot).is_some() {
            self.want_change();
        }
    }

    /// Another shape.
    pub fn set_shape(&mut self, shape: Shape) -> Result<(), FormationError> {
        self.slots(self.members.len(), &shape)?;
        if shape != self.shape {
            self.shape = shape;
            self.want_change();
        }
        Ok(())
    }

    /// Another size of the shape, and another least distance of its slots; both in metres.
    pub fn set_size(&mut self, scale: f64, separation: f64) -> Result<(), FormationError> {
        let settings = Settings { scale, separation, ..self.settings };
        check(&settings)?;
        if settings != self.settings {
            self.settings = settings;
            self.want_change();
        }
        Ok(())
    }

    /// Assigns slots anew, as soon as what is under way is at rest.
    pub fn replan(&mut self) {
        self.want_change();
    }

    /// Forgets where the centre was sent; the leg that it is on it goes to its end.
    pub fn stay(&mut self) {
        self.route.clear();
    }

    /// Sends the centre on, after where it was sent before.
    pub fn go(&mut self, point: Vector2<f64>, heading: Heading) -> Result<(), FormationError> {
        finite_vector("point", &point)?;
        Ok(self.route.go(point, heading)?)
    }

    /// Where the centre is and goes.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The robots.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Id> + '_ {
        self.members.keys()
    }

    /// The slot that a robot has or is on its way to: its number in the shape, and its place now.
    pub fn slot(&self, robot: &Id) -> Option<(usize, Vector2<f64>)> {
        let way = self.members.get(robot)?.way?;
        Some((way.slot, (self.route.pose() * nalgebra::Point2::from(way.to)).coords))
    }

    /// The size that the shape has with so many robots, metres.
    pub fn scale(&self) -> f64 {
        let Settings { scale, separation, .. } = self.settings;
        self.shape.scale(self.members.len(), scale, separation).unwrap_or(scale)
    }

    /// Whether everyone should be in its slot by now and stay there, in the formation's frame.
    pub fn is_settled(&self) -> bool {
        self.change == Change::None && self.time >= 1.0
    }

    /// How often slots were assigned.
    pub fn plans(&self) -> u64 {
        self.plans
    }

    /// Where a robot should be now. `None` for one that has no slot yet: it stays where it is.
    pub fn reference(&self, robot: &Id) -> Option<Reference> {
        let way = self.members.get(robot)?.way?;
        let pose = self.route.pose();
        let (velocity, turn) = self.route.velocity();
        let arm = pose.rotation * way.at(MinimumJerk::at(self.time));
        let speed = MinimumJerk::speed(self.time) * self.pace / self.seconds;
        let own = pose.rotation * ((way.to - way.from) * speed);
        Some(Reference {
            place: pose.translation.vector + arm,
            velocity: velocity + Vector2::new(-arm.y, arm.x) * turn + own,
        })
    }

    /// Lets `seconds` pass; a length of time that is none does nothing.
    pub fn advance(&mut self, seconds: f64) {
        if self.change == Change::Wanted && (self.pace <= 0.0 || self.time >= 1.0) && seconds > 0.0 {
            self.reform();
        }
        self.follow(seconds);
        if self.time >= 1.0 && self.change == Change::Postponed {
            self.change = Change::Wanted;
        }
    }

    /// The same, but slots are assigned by somebody else, for whom it waits where that is due. So several copies of one formation
    /// go on alike from one [`State`].
    pub fn follow(&mut self, seconds: f64) {
        if !(seconds > 0.0 && seconds.is_finite()) {
            return;
        }
        let towards = if self.change == Change::Wanted && self.time < 1.0 { -1.0 } else { 1.0 };
        self.pace = (self.pace + towards * seconds / REST).clamp(0.0, 1.0);
        self.time = (self.time + seconds * self.pace / self.seconds).min(1.0);
        let share = MinimumJerk::at(self.time);
        let reach = self.members.values().filter_map(|member| Some(member.way?.at(share).norm())).fold(0.0, f64::max);
        self.route.advance(seconds, reach);
    }

    fn want_change(&mut self) {
        if self.change == Change::None {
            self.change = Change::Wanted;
        }
    }

    fn slots(&self, count: usize, shape: &Shape) -> Result<Vec<Vector2<f64>>, ShapeError> {
        shape.slots(count, self.settings.scale, self.settings.separation)
    }

    /// Assigns slots, from where the robots should be by now.
    fn reform(&mut self) {
        // That there are slots for as many was seen to when they joined.
        let Ok(slots) = self.slots(self.members.len(), &self.shape) else { return };
        let pose = self.route.pose();
        let share = MinimumJerk::at(self.time);
        let near = self.settings.separation / 2.0;
        let place = |member: &Member| {
            let seen = pose.inverse_transform_point(&member.place.into()).coords;
            let should = member.way.map(|way| way.at(share));
            should.filter(|should| (should - seen).norm() < near).unwrap_or(seen)
        };
        let places: Vec<_> = self.members.values().map(place).collect();
        let same = |way: &Way| slots.get(way.slot).is_some_and(|slot| (slot - way.to).norm() < 1e-9);
        let kept: Vec<_> = self.members.values().map(|m| m.way.filter(same).map(|way| way.slot)).collect();
        let ways = transition::plan(&places, &slots, &kept, near * near);
        if self.time < 1.0 && transition::least_distance(&ways) < near {
            self.change = Change::Postponed;
            return;
        }
        self.seconds =
            MinimumJerk::seconds(transition::longest(&ways), self.settings.max_speed / 2.0, self.settings.acceleration)
                .max(1e-3);
        for (member, way) in self.members.values_mut().zip(ways) {
            member.way = Some(way);
        }
        (self.time, self.pace, self.change) = (0.0, 1.0, Change::None);
        self.plans += 1;
    }
}
