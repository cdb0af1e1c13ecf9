//! Convex areas.

use ecps_core::check::{CheckError, at_most, in_range};
use nalgebra::Vector2;
use thiserror::Error;

use super::avoidance::MAX_COORDINATE;

/// Most corners of an area.
pub const MAX_CORNERS: usize = 1000;

/// Why corners make no area.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PolygonError {
    /// Too many corners, or one that is no place.
    #[error("area: {0}")]
    Check(#[from] CheckError),
    /// No area between them.
    #[error("the area has {corners} corners and encloses {area} m²")]
    Flat {
        /// How many corners.
        corners: usize,
        /// What they enclose.
        area: f64,
    },
    /// A corner that points inwards, or edges that cross.
    #[error("the area is not convex at corner {corner}: make it of several that are")]
    NotConvex {
        /// Which one.
        corner: usize,
    },
}

/// A convex polygon, its corners counter-clockwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    corners: Vec<Vector2<f64>>,
}

/// Less than this is no area, m².
const NOTHING: f64 = 1e-9;

impl Polygon {
    /// The area within corners, in either order.
    pub fn new(mut corners: Vec<Vector2<f64>>) -> Result<Polygon, PolygonError> {
        at_most("corners", corners.len(), MAX_CORNERS, "corners")?;
        for corner in &corners {
            in_range("corner.x", corner.x, -MAX_COORDINATE, MAX_COORDINATE)?;
            in_range("corner.y", corner.y, -MAX_COORDINATE, MAX_COORDINATE)?;
        }
        let area = Polygon { corners: corners.clone() }.area();
        if area.abs() < NOTHING {
            return Err(PolygonError::Flat { corners: corners.len(), area });
        }
        if area < 0.0 {
            corners.reverse();
        }
        let polygon = Polygon { corners };
        let mut turned = 0.0;
        let edges: Vec<Vector2<f64>> = polygon.edges().map(|(from, to)| to - from).collect();
        for (corner, (before, after)) in edges.iter().zip(edges.iter().cycle().skip(1)).enumerate() {
            let turn = before.perp(after).atan2(before.dot(after));
            if turn < -1e-9 {
                return Err(PolygonError::NotConvex { corner: (corner + 1) % edges.len() });
            }
            turned += turn;
        }
        // A star turns left all the way, but more than once.
        if turned > 7.0 {
            return Err(PolygonError::NotConvex { corner: 0 });
        }
        Ok(polygon)
    }

    /// The corners, counter-clockwise.
    pub fn corners(&self) -> &[Vector2<f64>] {
        &self.corners
    }

    fn edges(&self) -> impl Iterator<Item = (&Vector2<f64>, &Vector2<f64>)> + Clone {
        self.corners.iter().zip(self.corners.iter().cycle().skip(1))
    }

    /// m².
    pub fn area(&self) -> f64 {
        self.edges().map(|(from, to)| from.perp(to)).sum::<f64>() / 2.0
    }

    /// Centre of mass; the mean of the corners where there is no area.
    pub fn centroid(&self) -> Vector2<f64> {
        let mean = self.corners.iter().sum::<Vector2<f64>>() / self.corners.len().max(1) as f64;
        // Around the mean, so that places far from the origin keep their digits.
        let (mut area, mut moment) = (0.0, Vector2::zeros());
        for (from, to) in self.edges() {
            let (from, to) = (from - mean, to - mean);
            let cross = from.perp(&to);
            area += cross;
            moment += (from + to) * cross;
        }
        if area.abs() < NOTHING { mean } else { mean + moment / (3.0 * area) }
    }

    /// Integral of the squared distance to a place, m⁴.
    pub fn second_moment(&self, place: &Vector2<f64>) -> f64 {
        let sum = |(from, to): (&Vector2<f64>, &Vector2<f64>)| {
            let (from, to) = (from - place, to - place);
            from.perp(&to) * (from.norm_squared() + from.dot(&to) + to.norm_squared())
        };
        self.edges().map(sum).sum::<f64>() / 12.0
    }

    /// Whether a place is inside or on the border.
    pub fn contains(&self, place: &Vector2<f64>) -> bool {
        self.edges().all(|(from, to)| (to - from).perp(&(place - from)) >= -1e-9)
    }

    /// What lies on the side of a line to which `inward` points (Sutherland and Hodgman 1974); may be nothing.
    pub fn clipped(&self, on_line: &Vector2<f64>, inward: &Vector2<f64>) -> Polygon {
        let depth = |point: &Vector2<f64>| inward.dot(&(point - on_line));
        let mut corners = Vec::with_capacity(self.corners.len() + 1);
        for (from, to) in self.edges() {
            let (here, there) = (depth(from), depth(to));
            if here >= 0.0 {
                corners.push(*from);
            }
            if (here > 0.0 && there < 0.0) || (here < 0.0 && there > 0.0) {
                corners.push(from.lerp(to, here / (here - there)));
            }
        }
        Polygon { corners }
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polygon(corners: &[[f64; 2]]) -> Result<Polygon, PolygonError> {
        Polygon::new(corners.iter().map(|corner| Vector2::from(*corner)).collect())
    }

    #[test]
    fn area_centroid_and_moment_of_a_rectangle() {
        let rectangle = polygon(&[[1.0, 1.0], [1.0, 3.0], [7.0, 3.0], [7.0, 1.0]]).unwrap();
        assert!((rectangle.area() - 12.0).abs() < 1e-12);
        assert!((rectangle.centroid() - Vector2::new(4.0, 2.0)).norm() < 1e-12);
        let moment = rectangle.second_moment(&Vector2::new(4.0, 2.0));
        assert!((moment - 12.0 * (36.0 + 4.0) / 12.0).abs() < 1e-9, "{moment}");
    }

    #[test]
    fn halves_add_up() {
        let area = polygon(&[[0.0, 0.0], [4.0, 0.0], [5.0, 3.0], [1.0, 4.0]]).unwrap();
        for turn in 0..20 {
            let normal = Vector2::new(f64::from(turn).cos(), f64::from(turn).sin());
            let line = Vector2::new(2.0, 1.5);
            let (one, other) = (area.clipped(&line, &normal), area.clipped(&line, &-normal));
            assert!((one.area() + other.area() - area.area()).abs() < 1e-9);
            assert!(one.corners().iter().all(|corner| normal.dot(&(corner - line)) > -1e-9));
        }
        assert!(area.clipped(&Vector2::new(9.0, 0.0), &Vector2::x()).is_empty());
    }

    #[test]
    fn what_is_not_convex_is_refused() {
        let dented = polygon(&[[0.0, 0.0], [4.0, 0.0], [1.0, 1.0], [0.0, 4.0]]);
        assert_eq!(dented, Err(PolygonError::NotConvex { corner: 2 }));
        let star: Vec<[f64; 2]> =
            (0..5).map(|n| f64::from(n) * 2.0 * 72.0_f64.to_radians()).map(|a| [a.cos(), a.sin()]).collect();
        assert!(matches!(polygon(&star), Err(PolygonError::NotConvex { .. })));
        assert!(matches!(polygon(&[[0.0, 0.0], [1.0, 1.0]]), Err(PolygonError::Flat { corners: 2, .. })));
        assert!(matches!(polygon(&[[0.0, 0.0], [f64::NAN, 1.0], [2.0, 5.0]]), Err(PolygonError::Check(_))));
    }
}
