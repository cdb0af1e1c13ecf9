//! A floor plan: an outline, and solids (inner walls, furniture, pillars) that stand in it.

use crate::{
    geometry::{SeenSegment, Segment},
    office,
};
use nalgebra::{Point2, Vector2};
use thiserror::Error;

/// Corners a plan may have in all; a scan looks at every wall once per beam.
pub const MAX_CORNERS: usize = 4096;
/// Largest coordinate, either side of zero, in metres.
pub const MAX_COORDINATE_M: f64 = 1000.0;

/// Why a floor plan was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FloorPlanError {
    /// A polygon needs three corners to enclose something.
    #[error("polygon {polygon} has {corners} corners, fewer than the 3 that enclose an area")]
    TooFewCorners {
        /// Which polygon: 0 is the outline, the solids follow.
        polygon: usize,
        /// How many corners it has.
        corners: usize,
    },
    /// More corners than a scan can look at.
    #[error("the floor plan has {corners} corners, more than the {MAX_CORNERS} allowed")]
    TooManyCorners {
        /// How many corners it has in all.
        corners: usize,
    },
    /// A coordinate that is NaN, infinite or too large.
    #[error("polygon {polygon} has a corner at ({x}, {y}), outside ±{MAX_COORDINATE_M} m")]
    BadCorner {
        /// Which polygon: 0 is the outline, the solids follow.
        polygon: usize,
        /// x of the corner.
        x: f64,
        /// y of the corner.
        y: f64,
    },
}

/// The upright rectangle around a plan's outline, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Lower left corner.
    pub min: Point2<f64>,
    /// Upper right corner.
    pub max: Point2<f64>,
}

/// A floor plan. Free space is what lies inside the outline and outside every solid; solids may overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct FloorPlan {
    outline: Vec<Point2<f64>>,
    solids: Vec<Vec<Point2<f64>>>,
    walls: Vec<Segment>,
    bounds: Bounds,
}

impl FloorPlan {
    /// A plan from an outline and solids, each a polygon given by its corners in order (metres, either sense of turn).
    ///
    /// # Errors
    /// [`FloorPlanError`] for a polygon without area, too many corners, or a corner that is not finite or too far away.
    pub fn new(outline: Vec<Point2<f64>>, solids: Vec<Vec<Point2<f64>>>) -> Result<Self, FloorPlanError> {
        let corners = outline.len() + solids.iter().map(Vec::len).sum::<usize>();
        if corners > MAX_CORNERS {
            return Err(FloorPlanError::TooManyCorners { corners });
        }
        for (polygon, corners) in std::iter::once(&outline).chain(&solids).enumerate() {
            if corners.len() < 3 {
                return Err(FloorPlanError::TooFewCorners { polygon, corners: corners.len() });
            }
            // Written so that NaN is refused too.
            if let Some(c) = corners.iter().find(|c| !c.iter().all(|v| v.abs() <= MAX_COORDINATE_M)) {
                return Err(FloorPlanError::BadCorner { polygon, x: c.x, y: c.y });
            }
        }
        Ok(Self::assemble(outline, solids))
    }

    /// The built-in office: 16 m × 12 m, seven rooms of different shape and furniture along a corridor, doors 1.3 m wide.
    #[must_use]
    pub fn office() -> Self {
        Self::assemble(office::outline(), office::solids())
    }

    /// An empty hall, 24 m × 16 m, for several robots.
    #[must_use]
    pub fn hall() -> Self {
        let corners = [(0.0, 0.0), (24.0, 0.0), (24.0, 16.0), (0.0, 16.0)];
        Self::assemble(corners.map(|(x, y)| Point2::new(x, y)).to_vec(), Vec::new())
    }

    fn assemble(outline: Vec<Point2<f64>>, solids: Vec<Vec<Point2<f64>>>) -> Self {
        let walls = std::iter::once(&outline).chain(&solids).flat_map(|polygon| edges(polygon)).collect();
        let far = Point2::new(f64::INFINITY, f64::INFINITY);
        let bounds = outline.iter().fold(Bounds { min: far, max: -far }, |b, corner| Bounds {
            min: b.min.inf(corner),
            max: b.max.sup(corner),
        });
        Self { outline, solids, walls, bounds }
    }

    /// Every edge of the outline and the solids, for drawing.
    #[must_use]
    pub fn walls(&self) -> &[Segment] {
        &self.walls
    }

    /// The rectangle around the outline.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Distance in metres from a point to the nearest wall, whichever side of it the point is on.
    #[must_use]
    pub fn distance_to_wall(&self, point: Point2<f64>) -> f64 {
        self.walls.iter().map(|wall| wall.distance_to_point(point)).fold(f64::INFINITY, f64::min)
    }

    /// Least distance in metres between a straight drive from `a` to `b` and any wall; 0 where it crosses one.
    #[must_use]
    pub fn distance_along(&self, a: Point2<f64>, b: Point2<f64>) -> f64 {
        let drive = Segment { a, b };
        self.walls.iter().map(|wall| wall.distance_to_segment(&drive)).fold(f64::INFINITY, f64::min)
    }

    /// Whether a point lies in free space. (On a wall itself the answer is either.)
    #[must_use]
    pub fn is_free(&self, point: Point2<f64>) -> bool {
        encloses(&self.outline, point) && !self.solids.iter().any(|solid| encloses(solid, point))
    }

    /// The plan as seen from `origin`, to cast rays from there.
    #[must_use]
    pub fn seen_from(&self, origin: Point2<f64>) -> View {
        View { walls: self.walls.iter().map(|wall| wall.seen_from(origin)).collect() }
    }
}

/// A floor plan as seen from a point.
#[derive(Debug, Clone)]
pub struct View {
    walls: Vec<SeenSegment>,
}

impl View {
    /// Distance in metres in `direction` (a unit vector) to the first wall; infinite if there is none that way.
    #[must_use]
    pub fn cast_ray(&self, direction: Vector2<f64>) -> f64 {
        self.walls.iter().filter_map(|wall| wall.hit(direction)).fold(f64::INFINITY, f64::min)
    }
}

fn edges(polygon: &[Point2<f64>]) -> impl Iterator<Item = Segment> {
    polygon.iter().zip(polygon.iter().cycle().skip(1)).map(|(&a, &b)| Segment { a, b })
}

/// Even-odd rule: a ray to the right crosses the border an odd number of times.
fn encloses(polygon: &[Point2<f64>], point: Point2<f64>) -> bool {
    edges(polygon)
        .filter(|Segment { a, b }| {
            (a.y > point.y) != (b.y > point.y) && point.x < a.x + (point.y - a.y) / (b.y - a.y) * (b.x - a.x)
        })
        .count()
        % 2
        == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle(x0: f64, y0: f64, x1: f64, y1: f64) -> Vec<Point2<f64>> {
        vec![Point2::new(x0, y0), Point2::new(x1, y0), Point2::new(x1, y1), Point2::new(x0, y1)]
    }

    fn room_with_a_box() -> FloorPlan {
        FloorPlan::new(rectangle(0.0, 0.0, 10.0, 8.0), vec![rectangle(4.0, 3.0, 6.0, 5.0)]).unwrap()
    }

    #[test]
    fn free_space_is_inside_the_outline_and_outside_the_solids() {
        let plan = room_with_a_box();
        assert!(plan.is_free(Point2::new(1.0, 4.0)));
        assert!(!plan.is_free(Point2::new(5.0, 4.0)));
        assert!(!plan.is_free(Point2::new(-1.0, 4.0)));
        assert!(!plan.is_free(Point2::new(f64::NAN, 4.0)));
    }

    #[test]
    fn distances_and_rays_meet_the_nearest_wall() {
        let plan = room_with_a_box();
        assert_eq!(plan.distance_to_wall(Point2::new(3.5, 4.0)), 0.5);
        assert_eq!(plan.seen_from(Point2::new(1.0, 4.0)).cast_ray(Vector2::x()), 3.0);
        assert_eq!(plan.seen_from(Point2::new(1.0, 6.0)).cast_ray(Vector2::x()), 9.0);
        assert_eq!(plan.distance_along(Point2::new(1.0, 6.0), Point2::new(9.0, 6.0)), 1.0);
        assert_eq!(plan.distance_along(Point2::new(1.0, 4.0), Point2::new(9.0, 4.0)), 0.0);
        assert_eq!(plan.bounds(), Bounds { min: Point2::origin(), max: Point2::new(10.0, 8.0) });
    }

    #[test]
    fn no_ray_leaves_through_a_corner() {
        let plan = room_with_a_box();
        let origin = Point2::new(1.7, 6.3);
        for corner in [(0.0, 0.0), (10.0, 0.0), (10.0, 8.0), (0.0, 8.0), (4.0, 3.0), (6.0, 5.0)] {
            let to = Point2::new(corner.0, corner.1) - origin;
            let hit = plan.seen_from(origin).cast_ray(to.normalize());
            assert!(hit <= to.norm() + 1e-9, "the ray to {corner:?} went {hit} m of {} m", to.norm());
        }
    }

    #[test]
    fn a_plan_that_encloses_nothing_or_is_not_finite_is_refused() {
        let two = vec![Point2::origin(), Point2::new(1.0, 0.0)];
        assert_eq!(
            FloorPlan::new(two, vec![]).unwrap_err().to_string(),
            "polygon 0 has 2 corners, fewer than the 3 that enclose an area"
        );
        let nan = vec![rectangle(1.0, 1.0, f64::NAN, 2.0)];
        let refused = FloorPlan::new(rectangle(0.0, 0.0, 9.0, 9.0), nan).unwrap_err();
        assert_eq!(refused.to_string(), "polygon 1 has a corner at (NaN, 1), outside ±1000 m");
        let huge = vec![Point2::origin(); MAX_CORNERS + 1];
        assert_eq!(FloorPlan::new(huge, vec![]), Err(FloorPlanError::TooManyCorners { corners: MAX_CORNERS + 1 }));
    }
}
