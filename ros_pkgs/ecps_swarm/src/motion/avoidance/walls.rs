//! Static obstacles: walls, and outlines made of them.

use ecps_core::check::in_range;
use nalgebra::Vector2;

use super::lines::{Disc, Line, Vec2};
use super::{AvoidanceError, MAX_COORDINATE, Options, Robot};

/// A straight wall, seen from both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wall {
    /// One end, metres.
    pub from: Vector2<f64>,
    /// The other.
    pub to: Vector2<f64>,
}

impl Wall {
    /// The edges of a polygon, the last corner joined to the first.
    pub fn around(corners: &[Vector2<f64>]) -> Vec<Wall> {
        let ends = corners.iter().zip(corners.iter().cycle().skip(1));
        ends.map(|(from, to)| Wall { from: *from, to: *to }).collect()
    }

    /// The point of the wall that is nearest to a place.
    pub fn nearest(&self, place: &Vector2<f64>) -> Vector2<f64> {
        let along = self.to - self.from;
        let squared = along.norm_squared();
        let share = if squared > 0.0 { ((place - self.from).dot(&along) / squared).clamp(0.0, 1.0) } else { 0.0 };
        self.from + along * share
    }
}

pub(super) fn check(walls: &[Wall]) -> Result<(), AvoidanceError> {
    for (index, wall) in walls.iter().enumerate() {
        let coordinates = [("from.x", wall.from.x), ("from.y", wall.from.y), ("to.x", wall.to.x), ("to.y", wall.to.y)];
        for (field, value) in coordinates {
            in_range(field, value, -MAX_COORDINATE, MAX_COORDINATE)
                .map_err(|reason| AvoidanceError::Wall { index, reason })?;
        }
    }
    Ok(())
}

/// Ends, relative to the robot, of the walls that it could reach within the horizon.
pub(super) fn near<'a>(
    walls: &'a [Wall],
    robot: &'a Robot,
    options: &Options,
) -> impl Iterator<Item = (Vec2, Vec2)> + 'a {
    let reach = options.wall_horizon.max(options.period) * robot.max_speed + robot.radius;
    let reach = if options.braking.is_finite() {
        reach.max(robot.radius + robot.max_speed * options.period + robot.max_speed.powi(2) / (2.0 * options.braking))
    } else {
        reach
    };
    walls.iter().filter_map(move |wall| {
        let near = (wall.nearest(&robot.position) - robot.position).norm_squared() < reach * reach;
        near.then(|| ((wall.from - robot.position).cast(), (wall.to - robot.position).cast()))
    })
}

/// Half-planes of walls: a disc that touches a wall within the horizon makes its velocity an obstacle, which is the wall
/// grown by the disc and scaled by one over the horizon, and all behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallConstraint {
    per_horizon: f32,
}

impl WallConstraint {
    pub(super) fn new(per_horizon: f32) -> WallConstraint {
        WallConstraint { per_horizon }
    }

    /// The point nearest to the robot.
    #[inline(always)]
    pub(super) fn nearest(from: Vec2, to: Vec2) -> Vec2 {
        let along = to - from;
        let squared = along.norm_squared();
        let share = if squared > 0.0 { (-from.dot(&along) / squared).clamp(0.0, 1.0) } else { 0.0 };
        from + along * share
    }

    /// The half-plane along the border of the velocity obstacle where it is nearest to the present velocity. `None` while
    /// the robot touches the wall, which the hard limit sees to.
    pub(super) fn line(&self, me: &Disc, from: Vec2, to: Vec2) -> Option<Line> {
        // Seen from the robot, the left end first.
        let (left, right) = if from.perp(&to) > 0.0 { (to, from) } else { (from, to) };
        let radius_squared = me.radius * me.radius;
        if Self::nearest(left, right).norm_squared() <= radius_squared {
            return None;
        }
        // Where the disc covers the line that the wall lies on, one end hides the other.
        let along = right - left;
        let squared = along.norm_squared();
        let share = if squared > 0.0 { -left.dot(&along) / squared } else { -1.0 };
        let off_line = (left + along * share).norm_squared();
        let (left, right) = match share {
            _ if off_line > radius_squared && squared > 0.0 => (left, right),
            share if share < 0.5 => (left, left),
            _ => (right, right),
        };
        let leg_of = |end: Vec2, side: f32| {
            let squared = end.norm_squared();
            let leg = (squared - radius_squared).max(0.0).sqrt();
            let reach = me.radius * side;
            Vec2::new(end.x * leg - end.y * reach, end.x * reach + end.y * leg) / squared
        };
        let (left_leg, right_leg) = (leg_of(left, 1.0), leg_of(right, -1.0));
        let (left_centre, right_centre) = (left * self.per_horizon, right * self.per_horizon);
        let radius = me.radius * self.per_horizon;
        let single = left == right;
        let cut = right_centre - left_centre;
        let on_cut = if single { 0.5 } else { (me.velocity - left_centre).dot(&cut) / cut.norm_squared() };
        let on_left = (me.velocity - left_centre).dot(&left_leg);
        let on_right = (me.velocity - right_centre).dot(&right_leg);
        let around = |centre: Vec2| {
            let away = me.velocity - centre;
            let length = away.norm();
            let unit = if length > 1e-6 { away / length } else { -centre / centre.norm() };
            Some(Line { point: centre + unit * radius, direction: Vec2::new(unit.y, -unit.x) })
        };
        if (on_cut < 0.0 && on_left < 0.0) || (single && on_left < 0.0 && on_right < 0.0) {
            return around(left_centre);
        }
        if on_cut > 1.0 && on_right < 0.0 {
            return around(right_centre);
        }
        let distance =
            |applies: bool, point: Vec2| if applies { (me.velocity - point).norm_squared() } else { f32::INFINITY };
        let to_cut = distance((0.0..=1.0).contains(&on_cut) && !single, left_centre + cut * on_cut);
        let to_left = distance(on_left >= 0.0, left_centre + left_leg * on_left);
        let to_right = distance(on_right >= 0.0, right_centre + right_leg * on_right);
        let beside = |centre: Vec2, direction: Vec2| {
            Some(Line { point: centre + Vec2::new(-direction.y, direction.x) * radius, direction })
        };
        if to_cut <= to_left && to_cut <= to_right {
            beside(left_centre, -cut / cut.norm())
        } else if to_left <= to_right {
            beside(left_centre, left_leg)
        } else {
            beside(right_centre, -right_leg)
        }
    }
}
