//! Segments in the plane: distances to them and rays that hit them.

use nalgebra::{Point2, Vector2};

/// A straight piece of wall from `a` to `b`, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// One end.
    pub a: Point2<f64>,
    /// The other end.
    pub b: Point2<f64>,
}

/// How far past its ends, as a share of its length, a segment still stops a ray: a beam into a corner must not slip
/// between the two walls that meet there through rounding.
const END_TOLERANCE: f64 = 1e-9;

impl Segment {
    /// Distance from the segment to a point, in metres.
    #[must_use]
    pub fn distance_to_point(&self, point: Point2<f64>) -> f64 {
        let along = self.b - self.a;
        let length_squared = along.norm_squared();
        // A segment without length is its end point.
        let share =
            if length_squared > 0.0 { ((point - self.a).dot(&along) / length_squared).clamp(0.0, 1.0) } else { 0.0 };
        (point - (self.a + along * share)).norm()
    }

    /// Least distance between two segments, in metres; 0 where they cross or touch.
    #[must_use]
    pub fn distance_to_segment(&self, other: &Self) -> f64 {
        let sides = |of: &Self, p: Point2<f64>, q: Point2<f64>| {
            let along = of.b - of.a;
            along.perp(&(p - of.a)) * along.perp(&(q - of.a)) < 0.0
        };
        if sides(self, other.a, other.b) && sides(other, self.a, self.b) {
            return 0.0;
        }
        // Where they do not cross, an end of one is nearest.
        let ends = [
            self.distance_to_point(other.a),
            self.distance_to_point(other.b),
            other.distance_to_point(self.a),
            other.distance_to_point(self.b),
        ];
        ends.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// The segment as seen from `origin`: what all rays from there have in common.
    #[must_use]
    pub fn seen_from(&self, origin: Point2<f64>) -> SeenSegment {
        let (along, to_a) = (self.b - self.a, self.a - origin);
        SeenSegment { along, to_a, offset: to_a.perp(&along) }
    }
}

/// A segment as seen from a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenSegment {
    along: Vector2<f64>,
    to_a: Vector2<f64>,
    /// Distance of the segment's line from the point, times the segment's length.
    offset: f64,
}

impl SeenSegment {
    /// Distance in metres along a ray in `direction` (a unit vector) to the segment, if the ray meets it.
    ///
    /// A ray along the segment itself does not count as meeting it: in a closed outline it meets the next wall's end.
    #[must_use]
    pub fn hit(&self, direction: Vector2<f64>) -> Option<f64> {
        // t·direction = to_a + u·along, solved for t and u by Cramer's rule; divided last, since most rays miss.
        let determinant = direction.x * self.along.y - direction.y * self.along.x;
        let u = self.to_a.x * direction.y - self.to_a.y * direction.x;
        let slack = END_TOLERANCE * determinant.abs();
        let within = if determinant > 0.0 {
            u >= -slack && u <= determinant + slack
        } else {
            determinant < 0.0 && u <= slack && u >= determinant - slack
        };
        if !within {
            return None;
        }
        let t = self.offset / determinant;
        (t >= 0.0).then_some(t)
    }
}

/// Distance in metres along a ray to a disc's edge, if the ray meets the disc from outside.
pub(crate) fn disc_hit(origin: Point2<f64>, direction: Vector2<f64>, centre: Point2<f64>, radius: f64) -> Option<f64> {
    let to_centre = centre - origin;
    let along = to_centre.dot(&direction);
    let inside = radius * radius - (to_centre.norm_squared() - along * along);
    if inside < 0.0 {
        return None;
    }
    let t = along - inside.sqrt();
    (t >= 0.0).then_some(t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(ax: f64, ay: f64, bx: f64, by: f64) -> Segment {
        Segment { a: Point2::new(ax, ay), b: Point2::new(bx, by) }
    }

    #[test]
    fn distance_to_a_point_is_to_the_nearest_part() {
        let wall = segment(0.0, 0.0, 4.0, 0.0);
        assert_eq!(wall.distance_to_point(Point2::new(2.0, -3.0)), 3.0);
        assert_eq!(wall.distance_to_point(Point2::new(7.0, 4.0)), 5.0);
        assert_eq!(segment(1.0, 1.0, 1.0, 1.0).distance_to_point(Point2::new(1.0, 3.0)), 2.0);
    }

    #[test]
    fn segments_that_cross_are_at_distance_zero_and_others_at_their_nearest_ends() {
        assert_eq!(segment(0.0, 0.0, 2.0, 2.0).distance_to_segment(&segment(0.0, 2.0, 2.0, 0.0)), 0.0);
        assert_eq!(segment(0.0, 0.0, 2.0, 0.0).distance_to_segment(&segment(1.0, 0.5, 1.0, 3.0)), 0.5);
        // One lies across the line of the other, but beyond its end.
        assert_eq!(segment(0.0, 0.0, 2.0, 0.0).distance_to_segment(&segment(3.0, -1.0, 3.0, 1.0)), 1.0);
    }

    #[test]
    fn a_ray_meets_a_segment_at_the_exact_distance_from_either_side() {
        let wall = segment(3.0, -1.0, 3.0, 1.0);
        let east = Vector2::x();
        assert_eq!(wall.seen_from(Point2::origin()).hit(east), Some(3.0));
        assert_eq!(segment(3.0, 1.0, 3.0, -1.0).seen_from(Point2::origin()).hit(east), Some(3.0));
        assert_eq!(wall.seen_from(Point2::origin()).hit(-east), None);
        assert_eq!(wall.seen_from(Point2::new(0.0, 1.5)).hit(east), None);
        assert_eq!(wall.seen_from(Point2::new(3.0, 5.0)).hit(-Vector2::y()), None);
        let slanted = segment(2.0, 0.0, 0.0, 2.0);
        let hit = slanted.seen_from(Point2::origin()).hit(Vector2::new(1.0, 1.0).normalize()).unwrap();
        assert!((hit - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_disc_is_met_at_its_near_edge() {
        let east = Vector2::x();
        assert_eq!(disc_hit(Point2::origin(), east, Point2::new(5.0, 0.0), 1.0), Some(4.0));
        assert_eq!(disc_hit(Point2::origin(), east, Point2::new(-5.0, 0.0), 1.0), None);
        assert_eq!(disc_hit(Point2::origin(), east, Point2::new(5.0, 1.1), 1.0), None);
    }
}
