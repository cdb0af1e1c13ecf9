//! The built-in plan. One look at the corridor's two rows of rooms:
//!
//! ```text
//!   y 12 +-----------+---------+------------+
//!        |    lab      kitchen |  meeting   |     west to east x 0 … 16
//!    6.8 +--   ------+--   ----+---   ------+
//!        |            corridor              |
//!    5.0 +-  ---+---  ----+--   -+-         +
//!        |office| workshop  store|  lounge  |
//!      0 +------+---------+------+----------+
//! ```
//!
//! No two rooms have the same size and furniture, so that a scan tells them apart.

use nalgebra::Point2;

/// Half the thickness of an inner wall, in metres.
const HALF_WALL: f64 = 0.05;

/// Inner walls along x: y, then from x to x. The gaps between them are the doors.
const WALLS_ALONG_X: [(f64, f64, f64); 8] = [
    (6.8, 0.0, 2.4),
    (6.8, 3.7, 7.6),
    (6.8, 8.9, 12.6),
    (6.8, 13.9, 16.0),
    (5.0, 0.0, 1.2),
    (5.0, 2.5, 6.2),
    (5.0, 7.5, 10.8),
    (5.0, 12.1, 13.3),
];

/// Inner walls along y: x, then from y to y.
const WALLS_ALONG_Y: [(f64, f64, f64); 7] = [
    (6.0, 6.8, 9.9),
    (6.0, 11.2, 12.0),
    (10.5, 6.8, 12.0),
    (4.2, 0.0, 5.0),
    (9.6, 0.0, 0.9),
    (9.6, 2.2, 5.0),
    (12.8, 0.0, 5.0),
];

/// Furniture: x, y of the lower left and of the upper right corner.
const BOXES: [(f64, f64, f64, f64); 21] = [
    // lab: wall bench, island
    (0.0, 7.8, 0.8, 11.2),
    (2.0, 9.3, 4.0, 10.1),
    // kitchen: counter in an L, fridge
    (7.2, 11.4, 10.45, 12.0),
    (9.85, 8.6, 10.45, 11.4),
    (6.05, 7.0, 6.75, 7.7),
    // meeting room: table, cabinet
    (12.2, 8.9, 14.6, 10.1),
    (10.55, 10.4, 11.05, 12.0),
    // office: two desks, cabinet
    (0.0, 0.0, 1.6, 0.8),
    (2.9, 0.0, 4.15, 0.7),
    (3.55, 2.7, 4.15, 4.2),
    // workshop: machine, rack, bench
    (5.2, 1.3, 6.2, 2.7),
    (9.0, 3.2, 9.55, 4.95),
    (6.9, 0.0, 8.6, 0.6),
    // store: shelves on both sides
    (12.15, 0.0, 12.75, 3.8),
    (9.65, 2.9, 10.15, 4.6),
    // lounge: sofa, sideboard
    (15.2, 0.0, 16.0, 3.0),
    (13.4, 0.0, 14.3, 0.5),
    // corridor: copier at the west end, cabinets, a bench at the east end
    (0.0, 5.05, 0.55, 5.65),
    (4.3, 6.4, 5.3, 6.75),
    (9.2, 6.4, 11.0, 6.75),
    (15.55, 5.3, 16.0, 6.6),
];

/// Round things (as octagons): x, y of the centre and the radius.
const PILLARS: [(f64, f64, f64); 6] = [
    (4.9, 8.1, 0.2),    // lab
    (8.1, 9.7, 0.45),   // kitchen table
    (15.3, 11.3, 0.25), // meeting room
    (7.9, 2.6, 0.25),   // workshop
    (14.3, 1.9, 0.35),  // lounge table
    (1.1, 2.6, 0.3),    // office, round stool
];

fn rectangle(x0: f64, y0: f64, x1: f64, y1: f64) -> Vec<Point2<f64>> {
    vec![Point2::new(x0, y0), Point2::new(x1, y0), Point2::new(x1, y1), Point2::new(x0, y1)]
}

fn octagon(x: f64, y: f64, radius: f64) -> Vec<Point2<f64>> {
    (0..8)
        .map(|corner| {
            let (sin, cos) = (f64::from(corner) * std::f64::consts::FRAC_PI_4).sin_cos();
            Point2::new(x + radius * cos, y + radius * sin)
        })
        .collect()
}

pub(crate) fn outline() -> Vec<Point2<f64>> {
    rectangle(0.0, 0.0, 16.0, 12.0)
}

pub(crate) fn solids() -> Vec<Vec<Point2<f64>>> {
    let along_x = WALLS_ALONG_X.iter().map(|&(y, x0, x1)| rectangle(x0, y - HALF_WALL, x1, y + HALF_WALL));
    let along_y = WALLS_ALONG_Y.iter().map(|&(x, y0, y1)| rectangle(x - HALF_WALL, y0, x + HALF_WALL, y1));
    let boxes = BOXES.iter().map(|&(x0, y0, x1, y1)| rectangle(x0, y0, x1, y1));
    let pillars = PILLARS.iter().map(|&(x, y, radius)| octagon(x, y, radius));
    along_x.chain(along_y).chain(boxes).chain(pillars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor_plan::FloorPlan;

    #[test]
    fn the_office_passes_the_checks_of_any_plan() {
        assert_eq!(FloorPlan::new(outline(), solids()), Ok(FloorPlan::office()));
    }

    #[test]
    fn every_door_is_at_least_1_2_metres_wide() {
        let mut doors = 0;
        for walls in [&WALLS_ALONG_X[..], &WALLS_ALONG_Y[..]] {
            for pair in walls.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                doors += 1;
                assert!(pair[1].1 - pair[0].2 >= 1.2, "door between {:?} and {:?}", pair[0], pair[1]);
            }
        }
        assert_eq!(doors, 8);
    }
}
