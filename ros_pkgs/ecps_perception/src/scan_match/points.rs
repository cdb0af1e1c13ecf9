//! A scan made ready for matching: points, the direction of the surface at each, and what was seen along each ray.

use std::f64::consts::TAU;

use nalgebra::{Matrix2, Point2, Unit, Vector2};
use thiserror::Error;

use crate::sensor::LaserScan;

/// Most rays of a scan that is matched.
const MAX_RAYS: usize = 16_384;
/// Points kept for refinement; of more, every second, third and so on is left out.
const MAX_POINTS: usize = 400;
/// Points kept for the search.
const MAX_SPARSE: usize = 72;
/// Fewer points than this say nothing about a place.
const MIN_POINTS: usize = 20;
/// Points of one surface are nearer to each other than this, metres, or than four rays are apart.
const SURFACE_GAP: f64 = 0.25;
/// A surface's direction is taken from neighbours up to this far to each side, metres, or two rays; a centimetre of noise
/// then turns it by a few degrees.
const NORMAL_REACH: f64 = 0.15;
/// Neighbours looked at on each side at most.
const MAX_NEIGHBOURS: usize = 16;
/// Neighbours that spread across by more than this share of their spread along do not lie in a line.
const MAX_ROUNDNESS: f64 = 0.15;

/// Why a scan cannot be matched.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PointsError {
    /// Angles that are not finite, or no step between rays.
    #[error(
        "the scan's angle_min is {angle_min} and its angle_increment {increment}; both must be finite, the step not 0"
    )]
    Angles {
        /// First angle.
        angle_min: f32,
        /// Step.
        increment: f32,
    },
    /// More rays than allowed.
    #[error("the scan has {0} rays, more than the {MAX_RAYS} allowed")]
    TooManyRays(usize),
    /// Too few returns.
    #[error("the scan has {0} valid ranges, and {MIN_POINTS} are needed")]
    TooFewPoints(usize),
}

/// A scan made ready for matching.
#[derive(Debug, Clone)]
pub struct ScanPoints {
    /// In the order of their x.
    pub(crate) points: Vec<SurfacePoint>,
    /// Some of the points, evenly spread over the surfaces.
    pub(super) sparse: Vec<Point2<f64>>,
    /// Angle of the first ray, rad.
    first: f64,
    /// From ray to ray, rad, positive.
    pub(crate) step: f64,
    /// How far each ray saw, metres; NaN where it is not known.
    seen: Vec<f64>,
}

/// A point and, where its neighbours tell, the normal of the surface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurfacePoint {
    pub(crate) at: Point2<f64>,
    pub(crate) normal: Option<Unit<Vector2<f64>>>,
}

impl ScanPoints {
    /// Makes a scan ready. Ranges that are NaN or outside `range_min` to `range_max` give no point; an infinite one says
    /// that the ray saw nothing up to `range_max` (REP 117).
    ///
    /// # Errors
    /// Unusable angles, more than 16384 rays, fewer than 20 valid ranges.
    pub fn new(scan: &LaserScan) -> Result<ScanPoints, PointsError> {
        let (angle_min, increment) = (scan.angle_min, scan.angle_increment);
        if !angle_min.is_finite() || !increment.is_finite() || increment == 0.0 {
            return Err(PointsError::Angles { angle_min, increment });
        }
        if scan.ranges.len() > MAX_RAYS {
            return Err(PointsError::TooManyRays(scan.ranges.len()));
        }
        let (nearest, farthest) = (f64::from(scan.range_min), f64::from(scan.range_max));
        let mut seen = scan
            .ranges
            .iter()
            .map(|&range| match f64::from(range) {
                range if range == f64::INFINITY => farthest,
                range if range >= nearest && range <= farthest => range,
                _ => f64::NAN,
            })
            .collect::<Vec<f64>>();
        let mut returned = scan.ranges.iter().map(|range| range.is_finite()).collect::<Vec<bool>>();
        let (mut first, mut step) = (f64::from(angle_min), f64::from(increment));
        if step < 0.0 {
            first += step * seen.len().saturating_sub(1) as f64;
            step = -step;
            seen.reverse();
            returned.reverse();
        }
        let places = seen.iter().zip(&returned).enumerate().map(|(ray, (&range, &returned))| {
            let (sin, cos) = (first + step * ray as f64).sin_cos();
            (returned && range.is_finite()).then(|| Point2::new(range * cos, range * sin))
        });
        let places = places.collect::<Vec<Option<Point2<f64>>>>();
        let count = places.iter().flatten().count();
        if count < MIN_POINTS {
            return Err(PointsError::TooFewPoints(count));
        }
        let points = places.iter().enumerate().filter_map(|(ray, at)| {
            let at = (*at)?;
            Some(SurfacePoint { at, normal: normal(&places, ray, at, step) })
        });
        let mut points = points.step_by(count.div_ceil(MAX_POINTS)).collect::<Vec<_>>();
        let sparse = spread(&points);
        points.sort_by(|a, b| a.at.x.total_cmp(&b.at.x));
        Ok(ScanPoints { points, sparse, first, step, seen })
    }

    /// The point nearest to a place, and its squared distance, if one is nearer than `reach` metres.
    pub(super) fn nearest(&self, place: &Point2<f64>, reach: f64) -> Option<(f64, SurfacePoint)> {
        let first = self.points.partition_point(|point| point.at.x < place.x - reach);
        let (mut squared, mut nearest) = (reach * reach, None);
        for point in self.points.iter().skip(first) {
            if point.at.x > place.x + reach {
                break;
            }
            let distance = (point.at - place).norm_squared();
            if distance < squared {
                (squared, nearest) = (distance, Some(*point));
            }
        }
        nearest.map(|point| (squared, point))
    }

    /// How far the scan saw in the direction of a point, metres: the least of the three rays around it. None outside the
    /// field of view or where nothing is known.
    pub(super) fn saw_towards(&self, point: &Point2<f64>) -> Option<f64> {
        let angle = (point.y.atan2(point.x) - self.first).rem_euclid(TAU);
        let ray = (angle / self.step).round();
        let rays = self.seen.len() as f64;
        // Of a full circle the last ray's neighbour is the first; elsewhere the sweep ends.
        let wraps = rays * self.step > TAU - 1.5 * self.step;
        let mut least = f64::INFINITY;
        for neighbour in [ray - 1.0, ray, ray + 1.0] {
            let index = if wraps { neighbour.rem_euclid(rays) } else { neighbour };
            if index < 0.0 {
                return None;
            }
            let range = *self.seen.get(index as usize)?;
            if range.is_nan() {
                return None;
            }
            least = least.min(range);
        }
        Some(least)
    }
}

/// Normal of the surface around a ray's point: across the main direction of its neighbours on the same surface. None where
/// they do not lie in a line.
fn normal(places: &[Option<Point2<f64>>], ray: usize, at: Point2<f64>, step: f64) -> Option<Unit<Vector2<f64>>> {
    let arc = step * at.coords.norm();
    let (gap, reach) = (SURFACE_GAP.max(4.0 * arc), NORMAL_REACH.max(2.5 * arc));
    // Neighbours one after another, until the surface ends or they are far enough for noise not to matter.
    let walk = |rays: &mut dyn Iterator<Item = usize>| {
        let mut sums = Sums::default();
        let mut last = at;
        for place in rays.take(MAX_NEIGHBOURS).map_while(|ray| places.get(ray).copied().flatten()) {
            if (place - last).norm() > gap {
                break;
            }
            sums.add(place - at);
            last = place;
            if (place - at).norm() > reach {
                break;
            }
        }
        sums
    };
    let (before, after) = (walk(&mut (0..ray).rev()), walk(&mut (ray + 1..places.len())));
    before.and(after).normal()
}

/// Moments of offsets from a point, the point itself included.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: Vector2<f64>,
    squares: Matrix2<f64>,
}

impl Sums {
    fn add(&mut self, offset: Vector2<f64>) {
        self.count += 1.0;
        self.sum += offset;
        self.squares += offset * offset.transpose();
    }

    fn and(self, other: Sums) -> Sums {
        Sums { count: self.count + other.count, sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    fn normal(&self) -> Option<Unit<Vector2<f64>>> {
        let count = self.count + 1.0;
        let mean = self.sum / count;
        let spread = self.squares / count - mean * mean.transpose();
        let (xx, xy, yy) = (spread.m11, spread.m12, spread.m22);
        let (half_sum, half_gap) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
        if self.count < 1.0 || half_sum - half_gap > MAX_ROUNDNESS * (half_sum + half_gap) {
            return None;
        }
        let along = (2.0 * xy).atan2(xx - yy) / 2.0;
        Unit::try_new(Vector2::new(-along.sin(), along.cos()), 0.5)
    }
}

/// Points at least so far apart that no more than [`MAX_SPARSE`] remain, so that a near wall does not outweigh the rest.
fn spread(points: &[SurfacePoint]) -> Vec<Point2<f64>> {
    let mut spacing = 0.1;
    loop {
        let mut kept: Vec<Point2<f64>> = Vec::new();
        for point in points {
            if kept.last().is_none_or(|last| (point.at - last).norm() >= spacing) {
                kept.push(point.at);
            }
        }
        if kept.len() <= MAX_SPARSE {
            return kept;
        }
        spacing *= 1.25;
    }
}
