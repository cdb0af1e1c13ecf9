//! A robot's part of a movement: the velocity that it should have in this control period.

use std::time::Duration;

use ecps_core::check::CheckError;
use ecps_core::clock::Steady;
use nalgebra::Vector2;
use thiserror::Error;

use super::marshal::steps;
use super::order::{Behavior, Movement};
use super::table::Current;
use crate::motion::avoidance::{AvoidanceError, Options, Robot, avoid};
use crate::motion::coverage::cover;
use crate::motion::flocking::{self, flock};
use crate::motion::follow::{Pursuit, follow};
use crate::motion::formation::{Formation, Keeping, keep};
use crate::motion::{CONTROL_PERIOD, SEPARATION, capped};

/// Age of a neighbour's place from which on it is not moved beside: five of its messages are missing.
pub const STALE: Duration = Duration::from_millis(500);
/// By how much farther it is kept away from who gives no way: who is at a task, stands out, or is lost, metres.
const NO_WAY: f64 = 0.2;
/// How near a point of a search counts as passed, metres.
const PASSED: f64 = 0.2;
/// How fast a robot makes for a point of a search, per second.
const GAIN: f64 = 1.0;

/// Where a robot is: its middle, which keeps its place, and the disc that nobody may enter. With two wheels that is steered by a point
/// ahead of the axle, around which the disc is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Body {
    /// The middle, metres.
    pub place: Vector2<f64>,
    /// The disc's, metres; the same for a robot that moves in every direction alike.
    pub point: Vector2<f64>,
    /// The point's, metres per second.
    pub velocity: Vector2<f64>,
    /// The disc's, which holds the robot and what its place may be wrong by, metres.
    pub radius: f64,
}

/// Another robot.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    /// Who.
    pub id: String,
    /// As it last said that it is.
    pub body: Body,
    /// How long ago that was.
    pub age: Duration,
    /// It is thought to stand where it was: it is lost, or said good-bye.
    pub is_gone: bool,
    /// It holds no task, and can move.
    pub is_free: bool,
}

/// Why a robot stands still, or leaves its executor to others.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Still {
    /// That is what was set.
    #[error("no movement is set")]
    Holds,
    /// It does not take part.
    #[error("it does not take part in the movement")]
    Out,
    /// It is the one that is followed.
    #[error("it is followed by the others, and moved by somebody else")]
    Leads,
    /// The leader has not planned yet.
    #[error("the formation is not planned yet")]
    Unplanned,
    /// Nobody is there to follow.
    #[error("'{0}', who is to be followed, is not there")]
    NoLeader(String),
    /// A neighbour could be anywhere by now.
    #[error("the place of agent '{id}', {distance:.1} m away, is {age:?} old")]
    Stale {
        /// Who.
        id: String,
        /// How far away it was.
        distance: f64,
        /// How long ago.
        age: Duration,
    },
    /// No velocity was found.
    #[error(transparent)]
    Avoidance(#[from] AvoidanceError),
    /// A behaviour refused what it was given.
    #[error(transparent)]
    Behavior(#[from] CheckError),
}

impl Still {
    /// Whether the robot is nobody's of the movement: then nothing is sent to its executor, and others may drive it.
    pub fn leaves_it(&self) -> bool {
        matches!(self, Still::Holds | Still::Out | Still::Leads)
    }
}

/// A robot's way of a search.
#[derive(Debug, Clone)]
struct Searching {
    robots: Vec<String>,
    way: Vec<Vector2<f64>>,
    next: usize,
}

/// Carries the movement out for one robot.
#[derive(Debug, Clone)]
pub struct Pilot {
    me: String,
    options: Options,
    speed: f64,
    revision: u64,
    number: u64,
    formation: Option<Formation<String>>,
    last: Steady,
    searching: Option<Searching>,
}

impl Pilot {
    /// Of the robot of this name, which moves at most at `speed`, m/s, and brakes with `braking`, m/s².
    pub fn new(me: impl Into<String>, speed: f64, braking: f64) -> Pilot {
        // Two periods pass until others see what this robot does about what it saw of them.
        let options = Options { period: 2.0 * CONTROL_PERIOD, braking, ..Options::default() };
        Pilot {
            me: me.into(),
            options,
            speed,
            revision: 0,
            number: 0,
            formation: None,
            last: Steady::default(),
            searching: None,
        }
    }

    /// The formation, as this robot goes on with it.
    pub fn formation(&self) -> Option<&Formation<String>> {
        self.formation.as_ref()
    }

    /// Takes over what counts since `since`, and lets time pass until `now`. Also for a robot that does not move.
    pub fn see(&mut self, current: &Current, since: Steady, now: Steady) {
        if current.revision != self.revision {
            let restored = || {
                let (shape, state) = (current.movement.shape().ok()?, current.state.as_ref()?);
                Formation::restore(shape, state).ok()
            };
            let formed = current.movement.behavior() == Behavior::Formation;
            self.formation = if formed { restored() } else { None };
            (self.revision, self.last) = (current.revision, since);
        }
        if current.number != self.number {
            (self.number, self.searching) = (current.number, None);
        }
        for seconds in steps(self.last, now) {
            self.formation.iter_mut().for_each(|formation| formation.follow(seconds));
        }
        self.last = now;
    }

    /// The velocity of the point that is steered, m/s, after [`Pilot::see`].
    ///
    /// # Errors
    /// Where the robot is not to move: why.
    pub fn velocity(&mut self, movement: &Movement, me: &Body, others: &[Other]) -> Result<Vector2<f64>, Still> {
        if movement.behavior() == Behavior::Hold {
            return Err(Still::Holds);
        }
        if !movement.includes(&self.me) {
            return Err(Still::Out);
        }
        for other in others.iter().filter(|other| !other.is_gone && other.age > STALE) {
            let distance = (other.body.place - me.place).norm();
            if distance < self.options.neighbour_radius {
                return Err(Still::Stale { id: other.id.clone(), distance, age: other.age });
            }
        }
        let with: Vec<&Other> =
            others.iter().filter(|other| other.is_free && !other.is_gone && movement.includes(&other.id)).collect();
        let wanted = self.wanted(movement, me, &with, others)?;
        let neighbours: Vec<Robot> = others
            .iter()
            .map(|other| {
                let takes_part = with.iter().any(|with| with.id == other.id);
                let velocity = if other.is_gone { Vector2::zeros() } else { other.body.velocity };
                Robot {
                    position: other.body.point + velocity * other.age.as_secs_f64().min(STALE.as_secs_f64()),
                    velocity,
                    radius: other.body.radius + if takes_part { 0.0 } else { NO_WAY },
                    max_speed: self.speed.max(velocity.norm()),
                    rank: u8::from(!takes_part),
                }
            })
            .collect();
        let Body { point, velocity, radius, .. } = *me;
        let me = Robot { position: point, velocity, radius, max_speed: self.speed, rank: 0 };
        Ok(avoid(&me, &neighbours, &[], wanted, &self.options)?)
    }

    /// Where it would like to go.
    fn wanted(
        &mut self,
        movement: &Movement,
        me: &Body,
        with: &[&Other],
        others: &[Other],
    ) -> Result<Vector2<f64>, Still> {
        match movement.behavior() {
            Behavior::Hold => Err(Still::Holds),
            Behavior::Formation => {
                let formation = self.formation.as_ref().ok_or(Still::Unplanned)?;
                let keeping = |id: &String, place| Some(Keeping { place, reference: formation.reference(id)? });
                // Without a slot it stays, and makes room.
                let Some(mine) = keeping(&self.me, me.place) else { return Ok(Vector2::zeros()) };
                let near = |other: &&&Other| (other.body.place - me.place).norm() < self.options.neighbour_radius;
                let others = with.iter().filter(near).filter_map(|other| keeping(&other.id, other.body.place));
                Ok(keep(&mine, &others.collect::<Vec<_>>(), self.speed))
            }
            Behavior::FollowLeader => self.following(movement, me, with, others),
            Behavior::Flocking => {
                let agent = |body: &Body| flocking::Agent { position: body.place, velocity: body.velocity };
                let mut parameters = flocking::Parameters::default();
                let target = movement.target.map_or_else(Vector2::zeros, Vector2::from);
                if movement.target.is_none() {
                    (parameters.gamma, parameters.gamma_velocity) = (0.0, 0.0);
                }
                let rendezvous = flocking::Agent { position: target, velocity: Vector2::zeros() };
                let others: Vec<_> = with.iter().map(|other| agent(&other.body)).collect();
                let change = flock(&agent(me), &others, &[], &rendezvous, &parameters)?;
                // What a base reaches of a velocity that is a period ahead is little, so that it is asked for more of it.
                Ok(capped(me.velocity + change * (5.0 * CONTROL_PERIOD), self.speed))
            }
            Behavior::Coverage => {
                let places: Vec<_> = with.iter().map(|other| other.body.place).collect();
                let Ok(area) = movement.polygon() else { return Err(Still::Unplanned) };
                Ok(cover(&me.place, &places, &area, self.speed))
            }
            Behavior::Search => self.searching(movement, me, with),
        }
    }

    /// In file: each behind the one before it by name, the first behind the leader.
    fn following(
        &self,
        movement: &Movement,
        me: &Body,
        with: &[&Other],
        others: &[Other],
    ) -> Result<Vector2<f64>, Still> {
        if movement.leader == self.me {
            return Err(Still::Leads);
        }
        let before = with.iter().filter(|other| other.id < self.me && other.id != movement.leader);
        let before = before.max_by(|one, other| one.id.cmp(&other.id)).copied();
        // A leader that has a task, or takes no part, is followed all the same.
        let leader = || others.iter().find(|other| other.id == movement.leader && !other.is_gone);
        let ahead = before.or_else(leader).ok_or_else(|| Still::NoLeader(movement.leader.clone()))?;
        let pursuit = |body: &Body| Pursuit { place: body.place, velocity: body.velocity };
        Ok(follow(&pursuit(me), &pursuit(&ahead.body), movement.offset, self.speed))
    }

    fn searching(&mut self, movement: &Movement, me: &Body, with: &[&Other]) -> Result<Vector2<f64>, Still> {
        let mut robots: Vec<String> = with.iter().map(|other| other.id.clone()).chain([self.me.clone()]).collect();
        robots.sort_unstable();
        if self.searching.as_ref().is_none_or(|searching| searching.robots != robots) {
            // All robots work this out for themselves, so it is from what all of them know: where they were when it was set.
            let Ok(area) = movement.polygon() else { return Err(Still::Unplanned) };
            let start = |id: &String| {
                let known = movement.starts.iter().find(|start| start.agent == *id);
                known.map_or_else(|| area.centroid(), |start| start.place.into())
            };
            let starts: Vec<Vector2<f64>> = robots.iter().map(start).collect();
            let mut ways = crate::motion::search::pattern(&area, SEPARATION, &starts)?;
            let mine = robots.iter().position(|id| *id == self.me).unwrap_or_default();
            let way = if mine < ways.len() { ways.swap_remove(mine) } else { Vec::new() };
            self.searching = Some(Searching { robots, way, next: 0 });
        }
        let Some(searching) = &mut self.searching else { return Err(Still::Unplanned) };
        let last = searching.way.len().saturating_sub(1);
        let near = |point: &Vector2<f64>| (point - me.place).norm() < PASSED;
        if searching.next < last && searching.way.get(searching.next).is_some_and(near) {
            searching.next += 1;
        }
        let Some(point) = searching.way.get(searching.next) else { return Ok(Vector2::zeros()) };
        let way = point - me.place;
        // On its way it keeps its speed; at the end it comes to rest.
        let speed = if searching.next < last { self.speed } else { (way.norm() * GAIN).min(self.speed) };
        Ok(way.try_normalize(1e-9).unwrap_or_default() * speed)
    }
}
