//! Where something is asked for: a ball, a box or a polygon, in one frame of one map.

use ecps_core::check::{self, CheckError};
use ecps_core::limits::NAME_BYTES;
use nalgebra::Point3;

use crate::record::{self, InvalidError};

/// Largest radius of a ball, metres; its square stays far from overflow.
pub const RADIUS_METRES: f64 = 1e9;
/// Most corners of a polygon.
pub const CORNERS: usize = 1024;

/// A place. Only records posed in this very frame of this very map are in it; borders are included.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Frame of the shape.
    pub frame_id: String,
    /// Map that the frame belongs to; empty where the robot has only one.
    pub map_id: String,
    /// What it covers.
    pub shape: Shape,
}

/// What a place covers, metres.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Within `radius`, above 0, of `centre`.
    Ball {
        /// Centre.
        centre: Point3<f64>,
        /// Radius.
        radius: f64,
    },
    /// Between two opposite corners.
    Box(Point3<f64>, Point3<f64>),
    /// A polygon in x and y, any z: 3 to 1024 corners; where it crosses itself, what is inside an odd number of times.
    Polygon(Vec<[f64; 2]>),
}

impl Shape {
    pub(crate) fn validate(&self) -> Result<(), InvalidError> {
        let finite = |field: &str, at: &Point3<f64>| record::position(field, [at.x, at.y, at.z]);
        match self {
            Shape::Ball { centre, radius } => {
                finite("center", centre)?;
                check::in_range("radius", *radius, 0.0, RADIUS_METRES)?;
                if *radius == 0.0 {
                    return Err(CheckError::Empty { field: "radius".into() }.into());
                }
            }
            Shape::Box(a, b) => {
                finite("corners[0]", a)?;
                finite("corners[1]", b)?;
            }
            Shape::Polygon(corners) => {
                check::in_range("corners.length", corners.len() as f64, 3.0, CORNERS as f64)?;
                for (index, [x, y]) in corners.iter().enumerate() {
                    record::position(&format!("corners[{index}]"), [*x, *y, 0.0])?;
                }
            }
        }
        Ok(())
    }

    /// Whether a point is in it.
    pub fn contains(&self, at: [f64; 3]) -> bool {
        match self {
            Shape::Ball { centre, radius } => {
                let squared: f64 = at.iter().zip(centre.iter()).map(|(a, b)| (a - b) * (a - b)).sum();
                squared <= radius * radius
            }
            Shape::Box(a, b) => {
                at.iter().zip(a.iter().zip(b.iter())).all(|(at, (a, b))| a.min(*b) <= *at && *at <= a.max(*b))
            }
            Shape::Polygon(corners) => {
                let [x, y, _] = at;
                let next = corners.iter().cycle().skip(1);
                let sides = corners.iter().zip(next);
                let mut inside = false;
                for ([ax, ay], [bx, by]) in sides {
                    let cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax);
                    let within = (x - ax) * (x - bx) <= 0.0 && (y - ay) * (y - by) <= 0.0;
                    if cross == 0.0 && within {
                        return true;
                    }
                    if (*ay > y) != (*by > y) && (cross > 0.0) == (*by > *ay) {
                        inside = !inside;
                    }
                }
                inside
            }
        }
    }

    /// Least and greatest corner of what it covers.
    pub(crate) fn bounds(&self) -> ([f64; 3], [f64; 3]) {
        match self {
            Shape::Ball { centre, radius } => {
                // A little more, so that rounding leaves nothing out; `contains` decides.
                let reach = radius * (1.0 + 1e-9);
                let c: [f64; 3] = centre.coords.into();
                (c.map(|v| (v - reach).next_down()), c.map(|v| (v + reach).next_up()))
            }
            Shape::Box(a, b) => (a.inf(b).coords.into(), a.sup(b).coords.into()),
            Shape::Polygon(corners) => {
                let fold = |start: f64, take: fn(f64, f64) -> f64| {
                    corners.iter().fold([start; 2], |[x, y], [cx, cy]| [take(x, *cx), take(y, *cy)])
                };
                let ([x0, y0], [x1, y1]) = (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max));
                ([x0, y0, f64::MIN], [x1, y1, f64::MAX])
            }
        }
    }
}

impl Place {
    /// A ball in a frame of the only map.
    pub fn ball(frame_id: &str, centre: Point3<f64>, radius: f64) -> Place {
        Place { frame_id: frame_id.into(), map_id: String::new(), shape: Shape::Ball { centre, radius } }
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidError> {
        record::needed_text("frame_id", &self.frame_id, NAME_BYTES)?;
        record::optional_text("map_id", &self.map_id, NAME_BYTES)?;
        self.shape.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_included_and_dents_are_not() {
        let dented = Shape::Polygon(vec![[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 2.0], [0.0, 4.0]]);
        for (at, inside) in [
            ([2.0, 1.0], true),
            ([2.0, 3.0], false),
            ([2.0, 2.0], true),
            ([4.0, 2.0], true),
            ([0.0, 0.0], true),
            ([5.0, 0.0], false),
            ([-1.0, 2.0], false),
            ([3.5, 3.0], true),
        ] {
            assert_eq!(dented.contains([at[0], at[1], 99.0]), inside, "{at:?}");
        }
        let upside_down = Shape::Box(Point3::new(1.0, 1.0, 1.0), Point3::new(-1.0, -1.0, -1.0));
        assert!(upside_down.contains([1.0, -1.0, 0.0]) && !upside_down.contains([1.1, 0.0, 0.0]));
    }
}
