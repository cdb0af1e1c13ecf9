//! What one scan saw of another's points: on a surface, where it looked through, or out of its sight.

use nalgebra::Isometry2;

use super::points::ScanPoints;

/// A point this near to the other scan's is on its surface, metres.
const ON_SURFACE: f64 = 0.1;
/// A point this far before what the other scan saw contradicts it, metres.
const LOOKED_THROUGH: f64 = 0.15;

/// How one scan's points look from the other.
pub(super) struct Look {
    /// Share of the points that are on the other's surfaces.
    pub(super) overlap: f64,
    /// Of those and the ones it looked through, the share on surfaces.
    pub(super) agreement: f64,
}

/// Looks at `points` with the eyes of `seer`, in whose frame `transform` puts them.
pub(super) fn look(seer: &ScanPoints, points: &ScanPoints, transform: &Isometry2<f64>) -> Look {
    let (mut on, mut through) = (0_u32, 0_u32);
    for point in &points.points {
        let moved = transform * point.at;
        if seer.nearest(&moved, ON_SURFACE).is_some() {
            on += 1;
        } else if seer.saw_towards(&moved).is_some_and(|range| moved.coords.norm() < range - LOOKED_THROUGH) {
            through += 1;
        }
    }
    let (on, through) = (f64::from(on), f64::from(through));
    Look { overlap: on / points.points.len().max(1) as f64, agreement: on / (on + through).max(1.0) }
}
