//! What was set: a formation or a behaviour.

use ecps_core::check::{self, CheckError};
use nalgebra::Vector2;
use thiserror::Error;

use crate::agents::ID_BYTES;
use crate::motion::follow::OFFSET;
use crate::motion::formation::Point;
use crate::motion::polygon::{Polygon, PolygonError};
use crate::motion::shape::{Shape, ShapeError};
use crate::motion::{SCALE, SEPARATION};

/// Most agents that take part.
const AGENTS: usize = 256;
/// Most points of a way, and most corners of an area.
const POINTS: usize = 256;
/// Most slots of one's own.
const SLOTS: usize = 100;
/// Farthest from the origin, metres.
const FARTHEST: f64 = 1e6;

/// How robots move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Behavior {
    /// They stand.
    Hold = 0,
    /// Each keeps its slot.
    Formation = 1,
    /// In file behind a leader.
    FollowLeader = 2,
    /// As a flock.
    Flocking = 3,
    /// Spread over an area.
    Coverage = 4,
    /// Each along its lanes of an area.
    Search = 5,
}

/// Which shape a formation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Form {
    /// None was ever set.
    Unset = 0,
    /// [`Shape::Line`].
    Line = 1,
    /// [`Shape::Circle`].
    Circle = 2,
    /// [`Shape::Grid`].
    Grid = 3,
    /// [`Shape::Triangle`].
    Triangle = 4,
    /// [`Shape::Diamond`].
    Diamond = 5,
    /// [`Shape::Custom`].
    Custom = 6,
}

/// Where one robot was when a movement was set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Start {
    /// Whose.
    #[prost(string, tag = "1")]
    pub agent: String,
    /// Metres.
    #[prost(message, required, tag = "2")]
    pub place: Point,
}

/// How the robots that hold no task move. Places are in the swarm's frame, metres.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Movement {
    /// How.
    #[prost(enumeration = "Behavior", tag = "1")]
    pub behavior: i32,
    /// Who takes part; empty: all.
    #[prost(string, repeated, tag = "2")]
    pub agents: Vec<String>,
    /// Of a formation.
    #[prost(enumeration = "Form", tag = "3")]
    pub form: i32,
    /// 0: [`SCALE`].
    #[prost(double, tag = "4")]
    pub scale: f64,
    /// 0: [`SEPARATION`].
    #[prost(double, tag = "5")]
    pub separation: f64,
    /// Where its centre goes, one after the other.
    #[prost(message, repeated, tag = "6")]
    pub path: Vec<Point>,
    /// Its heading where it is formed, radians; none: 0.
    #[prost(double, tag = "7")]
    pub heading: f64,
    /// Slots of a custom one, relative to its centre.
    #[prost(message, repeated, tag = "8")]
    pub points: Vec<Point>,
    /// Who is followed.
    #[prost(string, tag = "9")]
    pub leader: String,
    /// At which distance; 0: [`OFFSET`].
    #[prost(double, tag = "10")]
    pub offset: f64,
    /// Corners of the area to cover or search.
    #[prost(message, repeated, tag = "11")]
    pub area: Vec<Point>,
    /// Where a flock goes.
    #[prost(message, optional, tag = "12")]
    pub target: Option<Point>,
    /// Where the robots were that search.
    #[prost(message, repeated, tag = "13")]
    pub starts: Vec<Start>,
}

/// Why a movement is none.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MovementError {
    /// Not finite, out of range, empty, or too much.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A formation without a shape.
    #[error("no formation was set: name one with set_formation first")]
    NoForm,
    /// Slots that cannot be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// An area that is none.
    #[error(transparent)]
    Area(#[from] PolygonError),
    /// Following nobody.
    #[error("nobody leads, and no leader is named to be followed")]
    NoLeader,
}

impl Movement {
    /// Everybody stands.
    pub fn hold() -> Movement {
        Movement::default()
    }

    /// With what it leaves open.
    pub fn with_defaults(mut self) -> Movement {
        let default = |value: &mut f64, default| {
            if *value == 0.0 {
                *value = default;
            }
        };
        default(&mut self.scale, SCALE);
        default(&mut self.separation, SEPARATION);
        default(&mut self.offset, OFFSET);
        self
    }

    /// Refuses what is not finite, out of range, too much, or lacks what its behaviour needs. A formation may be one without a shape:
    /// then the one before it is meant.
    ///
    /// # Errors
    /// Names the field, the value and the limit.
    pub fn check(&self) -> Result<(), MovementError> {
        check::at_most("agents", self.agents.len(), AGENTS, "entries")?;
        check::at_most("starts", self.starts.len(), AGENTS, "entries")?;
        let names = self.agents.iter().chain(self.starts.iter().map(|start| &start.agent));
        names.into_iter().try_for_each(|name| check::name("agents", name, ID_BYTES))?;
        let (path, points, area) = (self.path.iter(), self.points.iter(), self.area.iter());
        let starts = self.starts.iter().map(|start| &start.place);
        for (field, count, limit) in
            [("path", path.len(), POINTS), ("points", points.len(), SLOTS), ("area", area.len(), POINTS)]
        {
            check::at_most(field, count, limit, "entries")?;
        }
        for point in path.chain(points).chain(area).chain(starts).chain(&self.target) {
            check::in_range("x", point.x, -FARTHEST, FARTHEST)?;
            check::in_range("y", point.y, -FARTHEST, FARTHEST)?;
        }
        check::in_range("scale", self.scale, 0.0, 1e3)?;
        check::in_range("separation", self.separation, 0.0, 1e2)?;
        check::in_range("offset", self.offset, 0.0, 1e2)?;
        check::finite("heading", self.heading)?;
        check::at_most("leader", self.leader.len(), ID_BYTES, "bytes")?;
        let known = |field: &str, number: i32, is_one: bool, max: f64| {
            let outside = CheckError::OutOfRange { field: field.into(), value: number.into(), min: 0.0, max };
            if is_one { Ok(()) } else { Err(outside) }
        };
        known("behavior", self.behavior, Behavior::try_from(self.behavior).is_ok(), 5.0)?;
        known("formation", self.form, Form::try_from(self.form).is_ok(), 6.0)?;
        match self.behavior() {
            Behavior::Formation if self.form() != Form::Unset => {
                // Of a custom one as many robots as it has points are formed; others join only where there is a slot.
                let count = if self.form() == Form::Custom { self.points.len() } else { self.agents.len() };
                let this = self.clone().with_defaults();
                check::in_range("points", count as f64, if self.form() == Form::Custom { 1.0 } else { 0.0 }, 1e3)?;
                this.shape()?.slots(count, this.scale, this.separation)?;
            }
            Behavior::FollowLeader if self.leader.is_empty() => return Err(MovementError::NoLeader),
            Behavior::Coverage | Behavior::Search => drop(self.polygon()?),
            _ => {}
        }
        Ok(())
    }

    /// Whether somebody takes part.
    pub fn includes(&self, agent: &str) -> bool {
        self.agents.is_empty() || self.agents.iter().any(|other| other == agent)
    }

    /// The formation's shape.
    ///
    /// # Errors
    /// Where there is none.
    pub fn shape(&self) -> Result<Shape, MovementError> {
        Ok(match self.form() {
            Form::Unset => return Err(MovementError::NoForm),
            Form::Line => Shape::Line,
            Form::Circle => Shape::Circle,
            Form::Grid => Shape::Grid,
            Form::Triangle => Shape::Triangle,
            Form::Diamond => Shape::Diamond,
            Form::Custom => Shape::Custom(self.points.iter().map(|point| Vector2::from(*point)).collect()),
        })
    }

    /// The area to cover or search.
    ///
    /// # Errors
    /// Where it is none.
    pub fn polygon(&self) -> Result<Polygon, PolygonError> {
        Polygon::new(self.area.iter().map(|corner| Vector2::from(*corner)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(side: f64) -> Vec<Point> {
        [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)].map(|(x, y)| Point { x, y }).to_vec()
    }

    #[test]
    fn what_makes_no_movement_is_refused_with_the_field_and_the_limit() {
        let formed =
            |form: Form| Movement { behavior: Behavior::Formation.into(), form: form.into(), ..Movement::hold() };
        let behaves = |behavior: Behavior| Movement { behavior: behavior.into(), ..Movement::hold() };
        for (movement, expected) in [
            (Movement { behavior: 6, ..Movement::hold() }, "behavior is 6"),
            (Movement { form: 7, ..formed(Form::Line) }, "formation is 7"),
            (Movement { scale: f64::NAN, ..formed(Form::Line) }, "scale is NaN"),
            (Movement { separation: -1.0, ..formed(Form::Line) }, "separation is -1"),
            (Movement { path: vec![Point { x: f64::NAN, y: 0.0 }], ..formed(Form::Line) }, "x is NaN"),
            (Movement { path: vec![Point::default(); 257], ..formed(Form::Line) }, "257 entries, more than the 256"),
            (formed(Form::Custom), "points is 0"),
            (Movement { points: vec![Point::default(); 2], ..formed(Form::Custom) }, "in one place"),
            (
                Movement { points: vec![Point::default(); 101], ..formed(Form::Custom) },
                "101 entries, more than the 100",
            ),
            (behaves(Behavior::FollowLeader), "nobody leads"),
            (behaves(Behavior::Search), "area"),
            (Movement { area: square(0.0), ..behaves(Behavior::Coverage) }, "area"),
            (Movement { agents: vec![String::new()], ..formed(Form::Line) }, "agents is empty"),
        ] {
            let error = movement.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(Movement { area: square(4.0), ..behaves(Behavior::Search) }.check(), Ok(()));
        assert_eq!(Movement { points: square(4.0), ..formed(Form::Custom) }.check(), Ok(()));
    }
}
