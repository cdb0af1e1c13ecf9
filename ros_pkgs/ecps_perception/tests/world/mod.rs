//! Rooms made of straight walls, and a lidar in them: rays, noise and seed given.

use ecps_perception::sensor::LaserScan;
use nalgebra::{Isometry2, Point2, Vector2};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Walls from point to point, metres.
pub(crate) struct Room(Vec<(Point2<f64>, Point2<f64>)>);

impl Room {
    /// A rectangle of walls around the origin's first quadrant, and boxes in it: x, y, width, depth.
    pub(crate) fn new(width: f64, depth: f64, boxes: &[[f64; 4]]) -> Room {
        let mut walls = Vec::new();
        for [x, y, w, d] in std::iter::once(&[0.0, 0.0, width, depth]).chain(boxes) {
            let corner = |dx: f64, dy: f64| Point2::new(x + dx, y + dy);
            let corners = [corner(0.0, 0.0), corner(*w, 0.0), corner(*w, *d), corner(0.0, *d)];
            for (index, start) in corners.iter().enumerate() {
                walls.push((*start, corners[(index + 1) % 4]));
            }
        }
        Room(walls)
    }

    /// What a lidar at `pose` sees with `rays` over `field` rad, centred ahead, with 1 cm of uniform noise each way.
    pub(crate) fn scan(&self, pose: &Isometry2<f64>, rays: u32, field: f64, seed: u64) -> LaserScan {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let full = field >= std::f64::consts::TAU;
        let step = field / f64::from(if full { rays } else { rays - 1 });
        let angle_min = -field / 2.0;
        let ranges = (0..rays).map(|ray| {
            let ahead = pose.rotation * Vector2::new(1.0, 0.0);
            let (sin, cos) = (angle_min + step * f64::from(ray)).sin_cos();
            let ray = Vector2::new(cos * ahead.x - sin * ahead.y, sin * ahead.x + cos * ahead.y);
            let from = Point2::from(pose.translation.vector);
            let range = self.0.iter().filter_map(|wall| hit(from, ray, wall)).fold(f64::INFINITY, f64::min);
            (range + rng.random_range(-0.01..0.01)) as f32
        });
        LaserScan {
            angle_min: angle_min as f32,
            angle_max: (angle_min + step * f64::from(rays - 1)) as f32,
            angle_increment: step as f32,
            range_min: 0.05,
            range_max: 30.0,
            ranges: ranges.collect(),
            ..LaserScan::default()
        }
    }
}

/// How far a ray runs to a wall.
fn hit(from: Point2<f64>, ray: Vector2<f64>, (start, end): &(Point2<f64>, Point2<f64>)) -> Option<f64> {
    let (along, to) = (end - start, start - from);
    let cross = ray.perp(&along);
    let (distance, share) = (to.perp(&along) / cross, to.perp(&ray) / cross);
    (cross.abs() > 1e-12 && distance > 0.0 && (0.0..=1.0).contains(&share)).then_some(distance)
}

/// Four rooms unlike each other.
pub(crate) fn rooms() -> Vec<Room> {
    vec![
        Room::new(6.0, 4.0, &[[0.5, 3.0, 2.0, 0.6], [4.5, 0.0, 0.8, 1.0]]),
        Room::new(9.0, 3.0, &[[2.0, 2.2, 0.5, 0.8], [6.0, 0.0, 0.4, 0.9], [8.0, 2.0, 1.0, 1.0]]),
        Room::new(5.0, 5.0, &[[2.0, 1.8, 0.9, 0.5], [0.0, 4.0, 1.0, 1.0], [4.0, 0.0, 1.0, 2.0]]),
        Room::new(12.0, 8.0, &[[5.0, 5.0, 1.5, 1.5], [0.0, 6.0, 2.0, 2.0], [9.0, 0.0, 0.5, 3.0], [7.0, 2.0, 0.4, 0.4]]),
    ]
}

/// A pose of a room's robot: metres and rad.
pub(crate) fn pose(x: f64, y: f64, heading: f64) -> Isometry2<f64> {
    Isometry2::new(Vector2::new(x, y), heading)
}
