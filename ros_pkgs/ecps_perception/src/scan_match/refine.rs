//! Point-to-line refinement with trimmed correspondences.

use nalgebra::{Isometry2, Matrix2, Matrix3, Point2, Vector2, Vector3};

use super::Converged;
use super::points::{ScanPoints, SurfacePoint};

const MAX_STEPS: usize = 30;
/// Correspondences farther apart are left out, metres: in the first step, and what it shrinks to by a quarter each step.
const FIRST_GATE: f64 = 0.5;
const LAST_GATE: f64 = 0.15;
/// Share of the correspondences, nearest first, that is used.
const TRIM: f64 = 0.9;
/// A step below this has come to rest: metres and rad.
const REST: f64 = 1e-3;
/// Fewer correspondences fix nothing.
const MIN_PAIRS: usize = 10;

/// Where the refinement came to rest.
pub(super) struct Refined {
    pub(super) transform: Isometry2<f64>,
    pub(super) rmse: f64,
    pub(super) stiffness: f64,
    pub(super) converged: Converged,
}

/// A moved query point, the nearest reference point, and the direction in which their distance counts.
struct Pair {
    moved: Point2<f64>,
    to: SurfacePoint,
    /// Squared.
    distance: f64,
}

pub(super) fn refine(reference: &ScanPoints, query: &ScanPoints, start: Isometry2<f64>) -> Option<Refined> {
    let mut transform = start;
    let mut gate = FIRST_GATE;
    let mut converged = Converged::No;
    for _ in 0..MAX_STEPS {
        let step = solve(&pairs(reference, query, &transform, gate))?;
        transform = step * transform;
        let resting = step.translation.vector.norm() < REST && step.rotation.angle().abs() < REST;
        if resting && gate <= LAST_GATE {
            converged = Converged::Yes;
            break;
        }
        gate = (gate * 0.75).max(LAST_GATE);
    }
    let pairs = pairs(reference, query, &transform, LAST_GATE);
    if pairs.len() < MIN_PAIRS {
        return None;
    }
    let count = pairs.len() as f64;
    let squares: f64 = pairs.iter().map(|pair| pair.residual().powi(2)).sum();
    let normals: Matrix2<f64> = pairs
        .iter()
        .filter_map(|pair| pair.to.normal)
        .map(|normal| normal.into_inner() * normal.into_inner().transpose())
        .sum();
    let stiffness = normals.symmetric_eigenvalues().min() / count;
    Some(Refined { transform, rmse: (squares / count).sqrt(), stiffness, converged })
}

/// The nearest reference point of each query point, trimmed.
fn pairs(reference: &ScanPoints, query: &ScanPoints, transform: &Isometry2<f64>, gate: f64) -> Vec<Pair> {
    let pair = |point: &SurfacePoint| {
        let moved = transform * point.at;
        let (distance, to) = reference.nearest(&moved, gate)?;
        Some(Pair { moved, to, distance })
    };
    let mut pairs = query.points.iter().filter_map(pair).collect::<Vec<Pair>>();
    pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    pairs.truncate((pairs.len() as f64 * TRIM).ceil() as usize);
    pairs
}

impl Pair {
    /// Distance along the surface's normal, or to the point where there is none, metres.
    fn residual(&self) -> f64 {
        match self.to.normal {
            Some(normal) => normal.dot(&(self.moved - self.to.at)),
            None => self.distance.sqrt(),
        }
    }
}

/// The small motion that brings the pairs together, by least squares.
fn solve(pairs: &[Pair]) -> Option<Isometry2<f64>> {
    if pairs.len() < MIN_PAIRS {
        return None;
    }
    let mut information = Matrix3::zeros();
    let mut pull = Vector3::zeros();
    let mut add = |direction: Vector2<f64>, pair: &Pair| {
        let turned = Vector2::new(-pair.moved.y, pair.moved.x);
        let row = Vector3::new(direction.x, direction.y, direction.dot(&turned));
        information += row * row.transpose();
        pull -= row * direction.dot(&(pair.moved - pair.to.at));
    };
    for pair in pairs {
        match pair.to.normal {
            Some(normal) => add(normal.into_inner(), pair),
            None => {
                add(Vector2::x(), pair);
                add(Vector2::y(), pair);
            }
        }
    }
    // A little of the identity keeps the step small in a direction that nothing fixes.
    information += Matrix3::identity() * 1e-6 * pairs.len() as f64;
    let step = information.cholesky()?.solve(&pull);
    step.iter().all(|value| value.is_finite()).then(|| Isometry2::new(Vector2::new(step.x, step.y), step.z))
}
