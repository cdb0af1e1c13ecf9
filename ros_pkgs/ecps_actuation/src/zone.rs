//! Zones: polygons that the robot's centre stays inside or outside of, and how far a path keeps to that.

use ecps_core::check::{self, CheckError};
use ecps_core::limits::NAME_BYTES;
use ecps_journal::record;
use thiserror::Error;

use crate::motion::Velocity;
use crate::state::PlanarPose;

/// Most corners of a zone.
pub const CORNERS: usize = 64;
/// Chords that an arc is cut into; on a braking path of 1 m at 2 rad/m they leave it by 1 mm.
const CHORDS: u32 = 16;

/// Greatest coordinate of a corner, metres.
pub const COORDINATE: f64 = 1e5;

/// x and y, metres.
pub type Point = [f64; 2];

/// Why corners make no zone.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ZoneError {
    /// NaN, infinity, or too many corners.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// Too few corners.
    #[error("the zone has {0} corners, and needs at least 3")]
    TooFew(usize),
    /// No [`Rule`].
    #[error("the zone's rule is {0}, and must be 0 (stay inside) or 1 (keep out)")]
    UnknownRule(u8),
    /// Sides that meet besides at their common corner.
    #[error("sides {0} and {1} of the zone touch or cross each other")]
    Crossing(usize, usize),
}

/// Which side of its border a zone leaves to the robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The robot stays inside: a workspace.
    StayInside,
    /// The robot stays outside: a keep-out zone.
    KeepOut,
}

/// A simple polygon, convex or not, in the executor's frame, with its rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    rule: Rule,
    corners: Vec<Point>,
    /// The least box that holds the corners.
    least: Point,
    most: Point,
}

/// Zones and margin that hold besides those of the parameters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ZoneSet {
    /// In the executor's frame.
    pub zones: Vec<Zone>,
    /// Metres between the robot's disc and an obstacle, where the parameter asks for less.
    pub obstacle_margin: f64,
}

impl ZoneSet {
    pub(crate) fn to_record(&self) -> record::ZoneSet {
        let zone = |zone: &Zone| record::Zone {
            name: zone.name.clone(),
            keep_out: zone.rule == Rule::KeepOut,
            corners: zone.corners.as_flattened().to_vec(),
        };
        record::ZoneSet { zones: self.zones.iter().map(zone).collect(), obstacle_margin: self.obstacle_margin }
    }
}

fn cross(o: Point, a: Point, b: Point) -> f64 {
    (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
}

/// Where on `p`→`q`, as a fraction, it first touches `a`→`b`.
fn crossing(p: Point, q: Point, a: Point, b: Point) -> Option<f64> {
    let (from_a, from_b) = (cross(p, q, a), cross(p, q, b));
    let (to_p, to_q) = (cross(a, b, p), cross(a, b, q));
    if to_p == 0.0 && to_q == 0.0 {
        // On one line: the first common point.
        let length = (q[0] - p[0]).powi(2) + (q[1] - p[1]).powi(2);
        let along = |c: Point| {
            if length == 0.0 { 0.0 } else { ((c[0] - p[0]) * (q[0] - p[0]) + (c[1] - p[1]) * (q[1] - p[1])) / length }
        };
        let (first, last) = (along(a).min(along(b)), along(a).max(along(b)));
        return (first <= 1.0 && last >= 0.0).then_some(first.max(0.0));
    }
    let apart = (from_a > 0.0) == (from_b > 0.0) && from_a != 0.0 && from_b != 0.0
        || (to_p > 0.0) == (to_q > 0.0) && to_p != 0.0 && to_q != 0.0;
    (!apart && to_p != to_q).then(|| (to_p / (to_p - to_q)).clamp(0.0, 1.0))
}

impl Zone {
    /// From 3 to [`CORNERS`] corners in metres, in order, either way round. Sides must not cross. The name is for people.
    pub fn polygon(name: &str, rule: Rule, corners: Vec<Point>) -> Result<Zone, ZoneError> {
        check::name("zone", name, NAME_BYTES)?;
        if corners.len() < 3 {
            return Err(ZoneError::TooFew(corners.len()));
        }
        check::at_most(name, corners.len(), CORNERS, "corners")?;
        let (mut least, mut most) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for [x, y] in corners.iter().copied() {
            check::in_range(name, x, -COORDINATE, COORDINATE)?;
            check::in_range(name, y, -COORDINATE, COORDINATE)?;
            least = [least[0].min(x), least[1].min(y)];
            most = [most[0].max(x), most[1].max(y)];
        }
        let zone = Zone { name: name.into(), rule, corners, least, most };
        let sides: Vec<_> = zone.sides().collect();
        for (i, (a, b)) in sides.iter().enumerate() {
            for (j, (c, d)) in sides.iter().enumerate().skip(i + 1) {
                let touch = if j == i + 1 {
                    // Neighbours share a corner; they must not fold back on each other.
                    cross(*a, *b, *d) == 0.0 && (b[0] - a[0]) * (d[0] - b[0]) + (b[1] - a[1]) * (d[1] - b[1]) <= 0.0
                } else if i == 0 && j == sides.len() - 1 {
                    cross(*c, *a, *b) == 0.0 && (a[0] - c[0]) * (b[0] - a[0]) + (a[1] - c[1]) * (b[1] - a[1]) <= 0.0
                } else {
                    crossing(*a, *b, *c, *d).is_some()
                };
                if touch {
                    return Err(ZoneError::Crossing(i, j));
                }
            }
        }
        Ok(zone)
    }

    /// A box from its lower left to its upper right corner, metres.
    pub fn rectangle(name: &str, rule: Rule, [x0, y0]: Point, [x1, y1]: Point) -> Result<Zone, ZoneError> {
        Zone::polygon(name, rule, vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which side is the robot's.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Metres, in order.
    pub fn corners(&self) -> &[Point] {
        &self.corners
    }

    fn sides(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        self.corners.iter().copied().zip(self.corners.iter().copied().cycle().skip(1))
    }

    /// Whether the robot may be at a point.
    pub fn allows(&self, point: Point) -> bool {
        self.contains(point) == (self.rule == Rule::StayInside)
    }

    /// Whether a point is inside the polygon, by the even-odd rule; on a side it may be either.
    pub fn contains(&self, [x, y]: Point) -> bool {
        let crossed = self
            .sides()
            .filter(|(a, b)| (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0])
            .count();
        crossed % 2 == 1
    }

    /// Whether the robot's side is all there is within `reach` of `point`, as far as the box around the zone tells.
    fn is_far_from(&self, [x, y]: Point, reach: f64) -> bool {
        self.rule == Rule::KeepOut
            && (x + reach < self.least[0]
                || x - reach > self.most[0]
                || y + reach < self.least[1]
                || y - reach > self.most[1])
    }

    /// The point of the sides that is nearest to `p`.
    fn nearest(&self, p: Point) -> Point {
        let on_side = |(a, b): (Point, Point)| {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let t = (((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            [a[0] + t * dx, a[1] + t * dy]
        };
        let distance = |q: &Point| (q[0] - p[0]).hypot(q[1] - p[1]);
        self.sides().map(on_side).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(p)
    }

    /// Metres that `velocity`, kept up from `pose`, stays on the robot's side; `length` if it does so for at least that
    /// long.
    ///
    /// From the wrong side, whatever sets out towards the nearest point of the border is free, so that a robot can come
    /// back.
    pub fn free_path(&self, pose: PlanarPose, velocity: Velocity, length: f64) -> f64 {
        let duration = length / velocity.speed();
        if length <= 0.0 || !duration.is_finite() {
            return length;
        }
        let mut from = [pose.x, pose.y];
        if self.is_far_from(from, length) {
            return length;
        }
        if !self.allows(from) {
            let (sin, cos) = pose.yaw.sin_cos();
            let way = [cos * velocity.x - sin * velocity.y, sin * velocity.x + cos * velocity.y];
            let back = self.nearest(from);
            let nearer = if back == from {
                // On the side itself.
                self.allows(after(pose, velocity, duration / f64::from(CHORDS)))
            } else {
                way[0] * (back[0] - from[0]) + way[1] * (back[1] - from[1]) > 0.0
            };
            return if nearer { length } else { 0.0 };
        }
        let (mut done, chord) = (0.0, length / f64::from(CHORDS));
        for i in 1..=CHORDS {
            let to = after(pose, velocity, duration * f64::from(i) / f64::from(CHORDS));
            let first = self.sides().filter_map(|(a, b)| crossing(from, to, a, b)).fold(f64::INFINITY, f64::min);
            // Unless it starts on the side itself and goes in.
            if first.is_finite() && !(first < 1e-9 && i == 1 && self.allows(to)) {
                return done + chord * first;
            }
            done += chord;
            from = to;
        }
        length
    }
}

/// Where `pose` is after `seconds` at a constant velocity.
fn after(pose: PlanarPose, v: Velocity, seconds: f64) -> Point {
    let angle = v.yaw * seconds;
    // Integral of the rotation; its limit where the turn is too small to divide by.
    let (along, across) =
        if angle.abs() < 1e-9 { (seconds, 0.0) } else { (angle.sin() / v.yaw, (1.0 - angle.cos()) / v.yaw) };
    let (dx, dy) = (v.x * along - v.y * across, v.x * across + v.y * along);
    let (sin, cos) = pose.yaw.sin_cos();
    [pose.x + cos * dx - sin * dy, pose.y + sin * dx + cos * dy]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: Velocity = Velocity { x: 1.0, y: 0.0, yaw: 0.0 };

    fn pose(x: f64, y: f64, yaw: f64) -> PlanarPose {
        PlanarPose { x, y, yaw }
    }

    fn room() -> Zone {
        Zone::rectangle("room", Rule::StayInside, [0.0, 0.0], [4.0, 2.0]).unwrap()
    }

    #[test]
    fn a_path_is_free_up_to_the_side() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} and {b}");
        near(room().free_path(pose(1.0, 1.0, 0.0), FORWARD, 10.0), 3.0);
        near(room().free_path(pose(1.0, 1.0, 0.0), FORWARD, 2.9), 2.9);
        near(room().free_path(pose(1.0, 1.0, 0.0), FORWARD.scaled(-1.0), 10.0), 1.0);
        near(room().free_path(pose(1.0, 1.0, 0.0), Velocity { y: 1.0, ..Velocity::ZERO }, 10.0), 1.0);
        // A circle of radius 0.5 around the middle never leaves; one of radius 2 leaves after a sixth of a turn.
        near(room().free_path(pose(2.0, 0.5, 0.0), Velocity { yaw: 2.0, ..FORWARD }, 3.0), 3.0);
        near(room().free_path(pose(1.0, 1.0, 0.0), Velocity { yaw: 0.5, ..FORWARD }, 2.5), std::f64::consts::TAU / 3.0);
    }

    #[test]
    fn a_thin_wall_between_two_rooms_is_not_jumped() {
        let u = vec![[0.0, 0.0], [5.0, 0.0], [5.0, 5.0], [3.01, 5.0], [3.01, 1.0], [3.0, 1.0], [3.0, 5.0], [0.0, 5.0]];
        let rooms = Zone::polygon("rooms", Rule::StayInside, u).unwrap();
        assert!(rooms.contains([2.0, 3.0]) && rooms.contains([4.0, 3.0]));
        assert!((rooms.free_path(pose(2.0, 3.0, 0.0), FORWARD, 2.5) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn from_outside_and_from_the_edge_only_the_way_back_is_free() {
        assert_eq!(room().free_path(pose(5.0, 1.0, std::f64::consts::PI), FORWARD, 0.5), 0.5);
        assert_eq!(room().free_path(pose(5.0, 1.0, 0.0), FORWARD, 0.5), 0.0);
        let first_away = Velocity { x: -1.0, y: 0.0, yaw: 2.0 };
        assert_eq!(
            room().free_path(pose(4.1, 1.0, 0.2), first_away.scaled(-1.0), 3.0),
            0.0,
            "though it would end inside"
        );
        assert_eq!(room().free_path(pose(5.0, 3.0, -2.5), FORWARD, 0.5), 0.5, "to the corner");
        assert_eq!(room().free_path(pose(0.0, 1.0, 0.0), FORWARD, 0.5), 0.5);
        assert_eq!(room().free_path(pose(4.0, 1.0, 0.0), FORWARD, 0.5), 0.0);
        assert_eq!(room().free_path(pose(4.0, 1.0, std::f64::consts::PI), FORWARD, 0.5), 0.5);
        assert_eq!(room().free_path(pose(0.0, 1.0, std::f64::consts::PI), FORWARD, 0.5), 0.0);
    }

    #[test]
    fn a_keep_out_zone_is_free_up_to_its_side_and_from_within_only_on_the_way_out() {
        let pillar = Zone::rectangle("pillar", Rule::KeepOut, [2.0, -0.5], [3.0, 0.5]).unwrap();
        assert_eq!(pillar.free_path(pose(0.0, 0.0, 0.0), FORWARD, 1.5), 1.5, "too far away to matter");
        assert!((pillar.free_path(pose(0.0, 0.0, 0.0), FORWARD, 2.5) - 2.0).abs() < 1e-9);
        assert_eq!(pillar.free_path(pose(0.0, 0.6, 0.0), FORWARD, 10.0), 10.0, "past it");
        assert_eq!(pillar.free_path(pose(2.9, 0.0, 0.0), FORWARD, 1.0), 1.0, "out by the nearest side");
        assert_eq!(pillar.free_path(pose(2.1, 0.0, 0.0), FORWARD, 1.0), 0.0, "through it");
        assert!(pillar.allows([0.0, 0.0]) && !pillar.allows([2.5, 0.0]));
    }

    #[test]
    fn what_is_no_simple_polygon_is_refused() {
        let polygon = |corners| Zone::polygon("z", Rule::KeepOut, corners);
        let rectangle = |from, to| Zone::rectangle("z", Rule::KeepOut, from, to);
        assert_eq!(polygon(vec![[0.0, 0.0], [1.0, 0.0]]), Err(ZoneError::TooFew(2)));
        let bow_tie = vec![[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        assert_eq!(polygon(bow_tie), Err(ZoneError::Crossing(0, 2)));
        assert!(polygon(vec![[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]]).is_err(), "flat");
        assert!(rectangle([0.0, 0.0], [0.0, 1.0]).is_err(), "no width");
        assert!(rectangle([0.0, f64::NAN], [1.0, 1.0]).is_err());
        assert!(polygon(vec![[0.0, 0.0]; 65]).is_err());
    }
}
