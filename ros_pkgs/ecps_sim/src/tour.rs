//! Named places in the office, and ways between them along which a robot drives in straight lines.

use crate::floor_plan::FloorPlan;
use nalgebra::{Isometry2, Point2, Vector2};
use std::f64::consts::{FRAC_PI_2, PI};
use thiserror::Error;

/// No leg of a way comes nearer than this to a wall, in metres, unless it starts or ends nearer.
pub const LEG_CLEARANCE_M: f64 = 0.35;

/// A way shorter than this is no leg of its own, in metres.
const SHORTEST_LEG_M: f64 = 1e-3;

/// Places of the office in the order of the tour: name, x, y and heading.
const PLACES: [(&str, f64, f64, f64); 9] = [
    ("corridor_west", 1.6, 5.9, 0.0),
    ("office", 2.2, 3.4, -FRAC_PI_2),
    ("lab", 3.0, 8.4, FRAC_PI_2),
    ("kitchen", 7.5, 8.6, FRAC_PI_2),
    ("workshop", 6.8, 3.4, -FRAC_PI_2),
    ("store", 11.2, 2.2, PI),
    ("corridor_east", 12.2, 5.8, PI),
    ("meeting_room", 13.2, 8.0, FRAC_PI_2),
    ("lounge", 14.6, 3.6, -FRAC_PI_2),
];

/// Where ways meet or turn: doors, the corridor, and what it takes to see every corner of the rooms.
const JUNCTIONS: [(f64, f64); 36] = [
    // corridor: before the office, lab, workshop, kitchen, store, meeting room, lounge
    (1.85, 5.8),
    (3.05, 5.75),
    (6.85, 5.75),
    (8.25, 5.75),
    (11.45, 5.75),
    (13.25, 5.8),
    (14.6, 5.5),
    // office: the door, behind the stool
    (1.85, 4.3),
    (0.6, 3.7),
    (2.2, 1.5),
    // lab: the door, round the island, behind the pillar, the door to the kitchen
    (3.05, 7.4),
    (1.4, 8.6),
    (1.4, 11.6),
    (4.6, 9.1),
    (5.5, 7.4),
    (5.2, 10.55),
    // kitchen: the door, round the table, the door to the lab
    (8.25, 7.5),
    (9.2, 8.6),
    (9.2, 10.8),
    (6.8, 10.55),
    // workshop: the door, round the machine, beside the rack, the door to the store
    (6.85, 4.3),
    (4.7, 3.3),
    (4.7, 0.65),
    (6.5, 0.7),
    (7.1, 1.7),
    (8.5, 3.7),
    (8.9, 1.55),
    // store: the door to the workshop, the door
    (10.4, 1.55),
    (11.2, 4.2),
    // meeting room: round the table
    (11.5, 8.2),
    (11.6, 10.8),
    (15.2, 8.2),
    (15.2, 10.5),
    // lounge: round the table
    (13.4, 3.2),
    (13.4, 1.2),
    (14.4, 1.02),
];

/// A place worth remembering.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// Where to stand there and which way to look, in the plan's frame.
    pub pose: Isometry2<f64>,
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RouteError {
    /// The tour has no place of this name.
    #[error("there is no place {name:?}; the places are {known}")]
    UnknownPlace {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A start or goal inside a solid, outside the plan, or not finite.
    #[error("({x}, {y}) is not in free space")]
    NotFree {
        /// Its x.
        x: f64,
        /// Its y.
        y: f64,
    },
    /// Free space, but no straight leg leads from there to the ways of the tour.
    #[error("no way leads from ({from_x}, {from_y}) to ({to_x}, {to_y}) with {LEG_CLEARANCE_M} m to the walls")]
    NoWay {
        /// x of the start.
        from_x: f64,
        /// y of the start.
        from_y: f64,
        /// x of the goal.
        to_x: f64,
        /// y of the goal.
        to_y: f64,
    },
}

/// The tour of the built-in office.
#[derive(Debug, Clone)]
pub struct Tour {
    plan: FloorPlan,
    places: Vec<Place>,
    /// All places and junctions, each with the indices of those that a clear straight leg leads to.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    at: Point2<f64>,
    neighbours: Vec<usize>,
}

/// What is known of a node in the search: its way to the goal.
#[derive(Debug, Clone, Copy)]
struct ToGoal {
    length: f64,
    /// The next node on that way; none where the goal itself is next.
    next: Option<usize>,
    settled: bool,
}

impl Tour {
    /// The tour of [`FloorPlan::office`].
    #[must_use]
    pub fn office() -> Self {
        let plan = FloorPlan::office();
        let places: Vec<Place> = PLACES
            .iter()
            .map(|&(name, x, y, heading)| Place { name, pose: Isometry2::new(Vector2::new(x, y), heading) })
            .collect();
        let junctions = JUNCTIONS.iter().map(|&(x, y)| Point2::new(x, y));
        let points: Vec<_> = places.iter().map(|place| point(&place.pose)).chain(junctions).collect();
        let nodes = points
            .iter()
            .enumerate()
            .map(|(index, &at)| {
                let clear = |&(other, to): &(usize, &Point2<f64>)| other != index && is_clear(&plan, at, *to);
                Node { at, neighbours: points.iter().enumerate().filter(clear).map(|(other, _)| other).collect() }
            })
            .collect();
        Self { plan, places, nodes }
    }

    /// The places, in the order in which the tour visits them.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The place of this name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.name == name)
    }

    /// The shortest way along the tour's waypoints from `from` to a place. See [`Tour::route_to`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn route(&self, from: Point2<f64>, to_place: &str) -> Result<Vec<Isometry2<f64>>, RouteError> {
        let place = self.place(to_place).ok_or_else(|| RouteError::UnknownPlace {
            name: to_place.chars().take(64).collect(),
            known: self.places.iter().map(|place| place.name).collect::<Vec<_>>().join(", "),
        })?;
        self.route_to(from, place.pose)
    }

    /// The shortest way along the tour's waypoints from `from` to `goal`, as poses to reach one after the other by turning
    /// on the spot and driving straight. `from` is not among them, `goal` is the last one. Every other pose looks along the
    /// leg that follows it.
    ///
    /// No leg comes nearer to a wall than [`LEG_CLEARANCE_M`], or than `from` or `goal` themselves if they are nearer.
    ///
    /// # Errors
    /// [`RouteError`] where start or goal is not free or not connected.
    pub fn route_to(&self, from: Point2<f64>, goal: Isometry2<f64>) -> Result<Vec<Isometry2<f64>>, RouteError> {
        let to = point(&goal);
        for end in [from, to] {
            // A point that is not finite is not free; a heading has to be asked.
            if !self.plan.is_free(end) || !goal.rotation.angle().is_finite() {
                return Err(RouteError::NotFree { x: end.x, y: end.y });
            }
        }
        if is_clear(&self.plan, from, to) {
            return Ok(vec![goal]);
        }
        let ways = self.ways_to(to);
        let first = self
            .nodes
            .iter()
            .zip(&ways)
            .enumerate()
            .filter(|(_, (node, way))| way.length.is_finite() && (node.at - from).norm() > SHORTEST_LEG_M)
            .filter(|(_, (node, _))| is_clear(&self.plan, from, node.at))
            .min_by(|(_, (a, a_way)), (_, (b, b_way))| {
                ((a.at - from).norm() + a_way.length).total_cmp(&((b.at - from).norm() + b_way.length))
            })
            .map(|(index, _)| index)
            .ok_or(RouteError::NoWay { from_x: from.x, from_y: from.y, to_x: to.x, to_y: to.y })?;

        let next = |&index: &usize| ways.get(index).and_then(|way| way.next);
        let indices = std::iter::successors(Some(first), next);
        let mut points: Vec<_> = indices.filter_map(|index| self.nodes.get(index)).map(|node| node.at).collect();
        // The last waypoint may be the goal itself.
        if points.last().is_some_and(|last| (last - to).norm() <= SHORTEST_LEG_M) {
            points.pop();
        }
        let following = points.iter().copied().skip(1).chain([to]);
        let along = |(at, next): (&Point2<f64>, Point2<f64>)| {
            let leg = next - at;
            Isometry2::new(at.coords, leg.y.atan2(leg.x))
        };
        Ok(points.iter().zip(following).map(along).chain([goal]).collect())
    }

    /// The shortest way from every node to `goal` (Dijkstra 1959, from the goal outwards).
    fn ways_to(&self, goal: Point2<f64>) -> Vec<ToGoal> {
        let straight = |node: &Node| {
            let length = if is_clear(&self.plan, node.at, goal) { (goal - node.at).norm() } else { f64::INFINITY };
            ToGoal { length, next: None, settled: false }
        };
        let mut ways: Vec<ToGoal> = self.nodes.iter().map(straight).collect();
        let nearest = |ways: &[ToGoal]| {
            let open = ways.iter().enumerate().filter(|(_, way)| !way.settled && way.length.is_finite());
            open.min_by(|(_, a), (_, b)| a.length.total_cmp(&b.length)).map(|(index, way)| (index, way.length))
        };
        while let Some((index, length)) = nearest(&ways) {
            if let Some(way) = ways.get_mut(index) {
                way.settled = true;
            }
            let Some(node) = self.nodes.get(index) else { continue };
            for &other in &node.neighbours {
                if let (Some(way), Some(neighbour)) = (ways.get_mut(other), self.nodes.get(other)) {
                    let through = length + (neighbour.at - node.at).norm();
                    if through < way.length {
                        *way = ToGoal { length: through, next: Some(index), settled: false };
                    }
                }
            }
        }
        ways
    }
}

fn point(pose: &Isometry2<f64>) -> Point2<f64> {
    pose.translation.vector.into()
}

/// Whether a straight leg keeps its distance from the walls, as far as its ends do.
fn is_clear(plan: &FloorPlan, a: Point2<f64>, b: Point2<f64>) -> bool {
    let ends = plan.distance_to_wall(a).min(plan.distance_to_wall(b));
    let distance = plan.distance_along(a, b);
    // The ends are part of the leg, but rounded differently; and a leg that crosses a wall is never clear.
    distance > 0.0 && distance >= LEG_CLEARANCE_M.min(ends * (1.0 - 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_to_a_place_is_longer_than_by_way_of_a_neighbour() {
        let tour = Tour::office();
        for place in tour.places() {
            let ways = tour.ways_to(point(&place.pose));
            for (node, way) in tour.nodes.iter().zip(&ways) {
                for &neighbour in &node.neighbours {
                    let detour = (tour.nodes[neighbour].at - node.at).norm() + ways[neighbour].length;
                    assert!(
                        way.length <= detour + 1e-9,
                        "{} to {}: {} m, not {detour} m",
                        node.at,
                        place.name,
                        way.length
                    );
                }
            }
        }
    }
}
