//! Formations as slots around a centre.

use std::f64::consts::TAU;

use nalgebra::Vector2;
use thiserror::Error;

use super::grid::closest_pair;

/// Most slots of a formation.
pub const MAX_SLOTS: usize = 1000;

/// What a formation looks like, x forward.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// In single file along x. Turned by 90° it is a line abreast.
    Line,
    /// On a circle.
    Circle,
    /// ⌈√n⌉ columns, the last row centred.
    Grid,
    /// Around an equilateral triangle, a corner in front.
    Triangle,
    /// Around a square on its corner.
    Diamond,
    /// At these points, metres; the first of them where robots are fewer.
    Custom(Vec<Vector2<f64>>),
}

/// Why there are no slots.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ShapeError {
    /// Too many robots for one formation.
    #[error("{count} robots are more than the {MAX_SLOTS} that a formation may have")]
    TooMany {
        /// Robots.
        count: usize,
    },
    /// A custom formation that is too small.
    #[error("the formation has {points} points for {count} robots")]
    TooFew {
        /// Points of the formation.
        points: usize,
        /// Robots.
        count: usize,
    },
    /// A point that is NaN or infinite.
    #[error("point {index} of the formation is ({x}, {y}), and must be finite")]
    NotFinite {
        /// Which one.
        index: usize,
        /// Its x.
        x: f64,
        /// Its y.
        y: f64,
    },
    /// Two slots in one place cannot be drawn apart.
    #[error("two of the formation's first {count} points are in one place")]
    Coincident {
        /// How many points were looked at.
        count: usize,
    },
    /// A size that is not positive.
    #[error("{what} is {value} m, and must be positive and finite")]
    Size {
        /// What it is: scale or separation.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Nearer than this points count as one, metres.
const SAME_PLACE: f64 = 1e-6;

impl Shape {
    /// Slots of `count` robots, in the formation's own frame: their mean is the origin. Where `scale` (metres) would put
    /// two slots nearer than `separation` (metres), the formation grows until they are not.
    pub fn slots(&self, count: usize, scale: f64, separation: f64) -> Result<Vec<Vector2<f64>>, ShapeError> {
        for (what, value) in [("scale", scale), ("separation", separation)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ShapeError::Size { what, value });
            }
        }
        if count > MAX_SLOTS {
            return Err(ShapeError::TooMany { count });
        }
        let mut slots = match self {
            Shape::Line => line(count, scale),
            Shape::Circle => circle(count, scale),
            Shape::Grid => grid(count, scale),
            Shape::Triangle => outline(&corners(3), count, scale),
            Shape::Diamond => outline(&corners(4), count, scale),
            Shape::Custom(points) => custom(points, count)?,
        };
        let mean = slots.iter().sum::<Vector2<f64>>() / count.max(1) as f64;
        let growth = growth(&slots, separation)?;
        slots.iter_mut().for_each(|slot| *slot = (*slot - mean) * growth);
        Ok(slots)
    }

    /// The scale with which `count` robots have this shape, metres, at least `scale`.
    ///
    /// # Errors
    /// As [`Shape::slots`].
    pub fn scale(&self, count: usize, scale: f64, separation: f64) -> Result<f64, ShapeError> {
        let spread = |slots: Vec<Vector2<f64>>| slots.iter().map(Vector2::norm).fold(0.0, f64::max);
        let grown = spread(self.slots(count, scale, separation)?);
        let asked = spread(self.slots(count, scale, SAME_PLACE)?);
        Ok(if asked > 0.0 { scale * grown / asked } else { scale })
    }
}

/// By how much slots have to grow.
fn growth(slots: &[Vector2<f64>], separation: f64) -> Result<f64, ShapeError> {
    let least = closest_pair(slots);
    if least < SAME_PLACE {
        return Err(ShapeError::Coincident { count: slots.len() });
    }
    // A hair more, so that rounding does not bring two slots under the separation.
    Ok(if least < separation { separation / least * (1.0 + 1e-12) } else { 1.0 })
}

fn line(count: usize, scale: f64) -> Vec<Vector2<f64>> {
    let gaps = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|number| Vector2::new(scale / 2.0 - number as f64 * scale / gaps, 0.0)).collect()
}

fn circle(count: usize, scale: f64) -> Vec<Vector2<f64>> {
    (0..count).map(|number| direction(number as f64 / count as f64) * scale).collect()
}

fn grid(count: usize, scale: f64) -> Vec<Vector2<f64>> {
    let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
    let spacing = scale / (columns - 1).max(1) as f64;
    let slot = |number: usize| {
        let (row, column) = (number / columns, number % columns);
        let in_row = columns.min(count - row * columns);
        Vector2::new(-(row as f64), (in_row - 1) as f64 / 2.0 - column as f64) * spacing
    };
    (0..count).map(slot).collect()
}

/// Corners of a regular polygon, the first in front.
fn corners(count: usize) -> Vec<Vector2<f64>> {
    (0..count).map(|number| direction(number as f64 / count as f64)).collect()
}

/// Evenly around a polygon, from its first corner on.
fn outline(corners: &[Vector2<f64>], count: usize, scale: f64) -> Vec<Vector2<f64>> {
    let sides: Vec<_> = corners.iter().zip(corners.iter().cycle().skip(1)).collect();
    let slot = |number: usize| {
        // Sides are equally long, so a side and a share of it.
        let way = number as f64 * sides.len() as f64 / count as f64;
        let (from, to) = sides.get(way as usize)?;
        Some(from.lerp(to, way.fract()) * scale)
    };
    (0..count).filter_map(slot).collect()
}

fn custom(points: &[Vector2<f64>], count: usize) -> Result<Vec<Vector2<f64>>, ShapeError> {
    let points = points.get(..count).ok_or(ShapeError::TooFew { points: points.len(), count })?;
    for (index, point) in points.iter().enumerate() {
        if !(point.x.is_finite() && point.y.is_finite()) {
            return Err(ShapeError::NotFinite { index, x: point.x, y: point.y });
        }
    }
    Ok(points.to_vec())
}

fn direction(turn: f64) -> Vector2<f64> {
    let (sin, cos) = (turn * TAU).sin_cos();
    Vector2::new(cos, sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Vec<Shape> {
        let spiral = (0..MAX_SLOTS).map(|n| direction(n as f64 * 0.381_966) * (n as f64).sqrt()).collect();
        vec![Shape::Line, Shape::Circle, Shape::Grid, Shape::Triangle, Shape::Diamond, Shape::Custom(spiral)]
    }

    #[test]
    fn slots_are_a_separation_apart_and_centred() {
        for shape in shapes() {
            for count in 1..130 {
                let slots = shape.slots(count, 5.0, 2.0).unwrap();
                assert_eq!(slots.len(), count, "{shape:?}");
                assert!(closest_pair(&slots) >= 2.0, "{shape:?} {count}: {}", closest_pair(&slots));
                let mean = slots.iter().sum::<Vector2<f64>>() / count as f64;
                assert!(mean.norm() < 1e-9, "{shape:?} {count}: {mean}");
            }
        }
    }

    #[test]
    fn small_formations_have_their_scale() {
        let slots = Shape::Circle.slots(4, 5.0, 2.0).unwrap();
        assert!((slots[1] - Vector2::new(0.0, 5.0)).norm() < 1e-12);
        let slots = Shape::Line.slots(3, 5.0, 2.0).unwrap();
        assert_eq!(slots, [Vector2::new(2.5, 0.0), Vector2::zeros(), Vector2::new(-2.5, 0.0)]);
        let slots = Shape::Grid.slots(9, 5.0, 2.0).unwrap();
        assert!((slots[0] - Vector2::new(2.5, 2.5)).norm() < 1e-12);
        let slots = Shape::Diamond.slots(4, 5.0, 2.0).unwrap();
        assert!((slots[0] - Vector2::new(5.0, 0.0)).norm() < 1e-12);
    }

    #[test]
    fn the_scale_told_is_that_of_the_slots() {
        assert_eq!(Shape::Circle.scale(4, 5.0, 2.0), Ok(5.0));
        assert_eq!(Shape::Grid.scale(1, 5.0, 2.0), Ok(5.0));
        let scale = Shape::Circle.scale(60, 5.0, 2.0).unwrap();
        let slots = Shape::Circle.slots(60, 5.0, 2.0).unwrap();
        assert!(scale > 19.0 && (slots[0].norm() - scale).abs() < 1e-9, "{scale}");
    }

    #[test]
    fn what_makes_no_formation_is_refused() {
        let custom = |points: &[[f64; 2]]| Shape::Custom(points.iter().map(|p| Vector2::from(*p)).collect());
        let error = |shape: Shape, count| shape.slots(count, 5.0, 2.0).unwrap_err();
        assert_eq!(error(custom(&[[0.0, 0.0]]), 2), ShapeError::TooFew { points: 1, count: 2 });
        assert_eq!(error(custom(&[[1.0, 0.0], [1.0, 0.0]]), 2), ShapeError::Coincident { count: 2 });
        assert!(matches!(error(custom(&[[f64::NAN, 0.0]]), 1), ShapeError::NotFinite { index: 0, .. }));
        assert_eq!(error(Shape::Grid, 1001), ShapeError::TooMany { count: 1001 });
        assert!(matches!(Shape::Grid.slots(3, f64::NAN, 2.0), Err(ShapeError::Size { what: "scale", .. })));
    }
}
