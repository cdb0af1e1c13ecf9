//! What of a formation others need to go on with it: through the swarm's log to all robots, and past the death of who planned it.

use ecps_core::check::{at_most, finite, in_range};
use nalgebra::{Isometry2, Vector2};

use super::{Change, Formation, FormationError, Member, Settings, Way};
use crate::motion::route::{Heading, Leg, MAX_POINTS, Underway};
use crate::motion::shape::{MAX_SLOTS, Shape};

/// A place, metres.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Point {
    /// Metres.
    #[prost(double, tag = "1")]
    pub x: f64,
    /// Metres.
    #[prost(double, tag = "2")]
    pub y: f64,
}

impl From<Vector2<f64>> for Point {
    fn from(vector: Vector2<f64>) -> Point {
        Point { x: vector.x, y: vector.y }
    }
}

impl From<Point> for Vector2<f64> {
    fn from(point: Point) -> Vector2<f64> {
        Vector2::new(point.x, point.y)
    }
}

/// A formation at a moment, but for its shape. Made by [`Formation::state`], taken by [`Formation::restore`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    #[prost(double, tag = "1")]
    scale: f64,
    #[prost(double, tag = "2")]
    separation: f64,
    #[prost(double, tag = "3")]
    max_speed: f64,
    #[prost(double, tag = "4")]
    acceleration: f64,
    /// Of the centre, before its present leg.
    #[prost(message, required, tag = "5")]
    position: Point,
    #[prost(double, tag = "6")]
    heading: f64,
    #[prost(message, optional, tag = "7")]
    leg: Option<LegState>,
    #[prost(message, optional, tag = "8")]
    goal: Option<Point>,
    #[prost(message, repeated, tag = "9")]
    ahead: Vec<Ahead>,
    #[prost(double, tag = "10")]
    time: f64,
    #[prost(double, tag = "11")]
    seconds: f64,
    #[prost(double, tag = "12")]
    pace: f64,
    #[prost(enumeration = "Change", tag = "13")]
    change: i32,
    #[prost(uint64, tag = "14")]
    plans: u64,
    #[prost(message, repeated, tag = "15")]
    members: Vec<MemberState>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct LegState {
    #[prost(bool, tag = "1")]
    turns: bool,
    /// Of a turn, from this heading by that angle in their x.
    #[prost(message, required, tag = "2")]
    from: Point,
    #[prost(message, required, tag = "3")]
    to: Point,
    #[prost(double, tag = "4")]
    time: f64,
    #[prost(double, tag = "5")]
    seconds: f64,
    #[prost(double, tag = "6")]
    reach: f64,
    #[prost(double, tag = "7")]
    pace: f64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Ahead {
    #[prost(message, required, tag = "1")]
    to: Point,
    #[prost(bool, tag = "2")]
    along: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MemberState {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, required, tag = "2")]
    place: Point,
    #[prost(message, optional, tag = "3")]
    way: Option<WayState>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct WayState {
    #[prost(message, required, tag = "1")]
    from: Point,
    #[prost(message, required, tag = "2")]
    to: Point,
    #[prost(uint64, tag = "3")]
    slot: u64,
}

impl State {
    /// How often slots were assigned.
    pub fn plans(&self) -> u64 {
        self.plans
    }

    /// Whether others have to be told of this one, who go on from `other`: somebody came or went, or slots are or will be assigned.
    pub fn differs(&self, other: &State) -> bool {
        let ids = |state: &State| state.members.iter().map(|member| member.id.clone()).collect::<Vec<_>>();
        (self.plans, self.change, self.goal, self.ahead.len())
            != (other.plans, other.change, other.goal, other.ahead.len())
            || (self.scale, self.separation) != (other.scale, other.separation)
            || ids(self) != ids(other)
    }
}

impl Formation<String> {
    /// All of it, but for the shape.
    pub fn state(&self) -> State {
        let route = &self.route;
        let leg = |underway: &Underway| {
            let Underway { leg, time, seconds, reach, pace } = *underway;
            let (turns, from, to) = match leg {
                Leg::Go { from, to } => (false, from, to),
                Leg::Turn { from, by } => (true, Vector2::new(from, 0.0), Vector2::new(by, 0.0)),
            };
            LegState { turns, from: from.into(), to: to.into(), time, seconds, reach, pace }
        };
        let ahead =
            |(to, heading): &(Vector2<f64>, Heading)| Ahead { to: (*to).into(), along: *heading == Heading::Along };
        let way = |way: Way| WayState { from: way.from.into(), to: way.to.into(), slot: way.slot as u64 };
        let member = |(id, member): (&String, &Member)| MemberState {
            id: id.clone(),
            place: member.place.into(),
            way: member.way.map(way),
        };
        State {
            scale: self.settings.scale,
            separation: self.settings.separation,
            max_speed: self.settings.max_speed,
            acceleration: self.settings.acceleration,
            position: route.position.into(),
            heading: route.heading,
            leg: route.underway.as_ref().map(leg),
            goal: route.goal.map(Point::from),
            ahead: route.ahead.iter().map(ahead).collect(),
            time: self.time,
            seconds: self.seconds,
            pace: self.pace,
            change: self.change.into(),
            plans: self.plans,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// A formation of this shape that goes on from a state.
    ///
    /// # Errors
    /// Where a number in it is not finite or out of range.
    pub fn restore(shape: Shape, state: &State) -> Result<Formation<String>, FormationError> {
        let State { scale, separation, max_speed, acceleration, .. } = *state;
        let settings = Settings { scale, separation, max_speed, acceleration };
        let pose = Isometry2::new(state.position.into(), state.heading);
        let mut formation = Formation::new(settings, shape, &pose)?;
        // As it was, and not as it comes out of a rotation.
        formation.route.heading = state.heading;
        at_most("members", state.members.len(), MAX_SLOTS, "robots")?;
        at_most("route", state.ahead.len(), MAX_POINTS, "points")?;
        let place = |point: Point| super::finite_vector("state", &point.into()).map(|()| Vector2::from(point));
        if let Some(leg) = &state.leg {
            let (from, to) = (place(leg.from)?, place(leg.to)?);
            let time = in_range("leg.time", leg.time, 0.0, 1.0)?;
            let seconds = in_range("leg.seconds", leg.seconds, 1e-3, 1e9)?;
            let (reach, pace) = (finite("leg.reach", leg.reach)?, in_range("leg.pace", leg.pace, 0.0, 1.0)?);
            let leg = if leg.turns { Leg::Turn { from: from.x, by: to.x } } else { Leg::Go { from, to } };
            formation.route.underway = Some(Underway { leg, time, seconds, reach, pace });
        }
        formation.route.goal = state.goal.map(place).transpose()?;
        for ahead in &state.ahead {
            let heading = if ahead.along { Heading::Along } else { Heading::Kept };
            formation.go(ahead.to.into(), heading)?;
        }
        formation.time = in_range("time", state.time, 0.0, 1.0)?;
        formation.seconds = in_range("seconds", state.seconds, 1e-3, 1e9)?;
        formation.pace = in_range("pace", state.pace, 0.0, 1.0)?;
        formation.change = state.change();
        formation.plans = state.plans;
        for member in &state.members {
            let way = |way: &WayState| {
                let slot = usize::try_from(way.slot).unwrap_or(usize::MAX);
                Ok::<Way, FormationError>(Way { from: place(way.from)?, to: place(way.to)?, slot })
            };
            let way = member.way.as_ref().map(way).transpose()?;
            formation.members.insert(member.id.clone(), Member { place: place(member.place)?, way });
        }
        Ok(formation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also in mid-turn, and while one re-forming waits for the end of another.
    #[test]
    fn a_formation_goes_on_from_its_state_as_if_nothing_had_happened() {
        let mut formation = Formation::new(Settings::default(), Shape::Circle, &Isometry2::identity()).unwrap();
        for (number, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            formation.see(id.to_owned(), Vector2::new(3.0 * number as f64, -2.0)).unwrap();
        }
        formation.go(Vector2::new(4.0, 9.0), Heading::Along).unwrap();
        formation.go(Vector2::new(9.0, 9.0), Heading::Along).unwrap();
        let mut told = 0;
        for step in 0..300 {
            if step == 20 {
                formation.set_shape(Shape::Grid).unwrap();
            }
            if step == 90 {
                formation.leave(&"c".to_owned());
            }
            let shape = if step < 20 { Shape::Circle } else { Shape::Grid };
            let bytes = prost::Message::encode_to_vec(&formation.state());
            let mut copy = Formation::restore(shape, &prost::Message::decode(&bytes[..]).unwrap()).unwrap();
            assert_eq!(copy.state(), formation.state(), "at {step}");
            formation.advance(0.1);
            copy.follow(0.1);
            let due = copy.state().differs(&formation.state());
            for id in ["a", "b", "d", "e"].map(str::to_owned).iter().filter(|_| !due) {
                let (one, other) = (formation.reference(id), copy.reference(id));
                assert_eq!(one, other, "{id} at {step}");
            }
            told += usize::from(due);
        }
        // Each assignment, and nothing else.
        assert!(formation.is_settled());
        assert_eq!((told as u64, formation.plans()), (3, 3));
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let formation = Formation::<String>::new(Settings::default(), Shape::Line, &Isometry2::identity()).unwrap();
        let state = formation.state();
        for bad in [
            State { time: f64::NAN, ..state.clone() },
            State { seconds: 0.0, ..state.clone() },
            State { position: Point { x: f64::INFINITY, y: 0.0 }, ..state.clone() },
            State { scale: -1.0, ..state.clone() },
            State { goal: Some(Point { x: f64::NAN, y: 0.0 }), ..state },
        ] {
            assert!(Formation::restore(Shape::Line, &bad).is_err(), "{bad:?}");
        }
    }
}
