//! Spreading over an area, so that every place in it has a robot near.
//!
//! Each robot goes to the centroid of what is nearer to it than to any other (Cortés, Martínez, Karatas and Bullo, "Coverage
//! Control for Mobile Sensing Networks", IEEE Transactions on Robotics and Automation 20, 2004; Lloyd's algorithm).

use nalgebra::Vector2;

use super::capped;
use super::polygon::Polygon;

/// How fast a robot makes for its cell's centroid, per second.
const GAIN: f64 = 1.0;

/// The part of `area` that is nearer to `me` than to any neighbour: the Voronoi cell, where all neighbours within twice the
/// distance to its farthest corner are given. Of two robots in one place neither has a border with the other.
pub fn cell(me: &Vector2<f64>, neighbours: &[Vector2<f64>], area: &Polygon) -> Polygon {
    let border = |cell: Polygon, other: &Vector2<f64>| match (me - other).try_normalize(1e-9) {
        Some(inward) => cell.clipped(&((me + other) / 2.0), &inward),
        None => cell,
    };
    neighbours.iter().fold(area.clone(), border)
}

/// The velocity with which `me` spreads over `area` among `neighbours`, at most `max_speed` (m/s). A robot whose cell is empty, since
/// it is far outside, makes for the area's centroid.
pub fn cover(me: &Vector2<f64>, neighbours: &[Vector2<f64>], area: &Polygon, max_speed: f64) -> Vector2<f64> {
    let cell = cell(me, neighbours, area);
    let goal = if cell.is_empty() { area.centroid() } else { cell.centroid() };
    capped((goal - me) * GAIN, max_speed)
}

/// How far from a robot the area's places are: the mean over them of the squared distance to the nearest robot, m².
pub fn cost(robots: &[Vector2<f64>], area: &Polygon) -> f64 {
    let of = |(index, robot): (usize, &Vector2<f64>)| {
        let others: Vec<_> = robots.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, p)| *p).collect();
        cell(robot, &others, area).second_moment(robot)
    };
    robots.iter().enumerate().map(of).sum::<f64>() / area.area()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::scene::Dice;

    fn area() -> Polygon {
        let corners = [[0.0, 0.0], [30.0, 0.0], [36.0, 18.0], [10.0, 24.0], [-4.0, 12.0]];
        Polygon::new(corners.map(Vector2::from).to_vec()).unwrap()
    }

    #[test]
    fn robots_spread_from_a_corner_and_the_cost_never_rises() {
        let area = area();
        let mut dice = Dice::new(2);
        let mut robots: Vec<_> = (0..12).map(|_| Vector2::new(dice.within(0.5, 3.0), dice.within(0.5, 3.0))).collect();
        let first = cost(&robots, &area);
        let mut before = first;
        for _ in 0..2000 {
            let velocities: Vec<_> = (0..robots.len())
                .map(|index| {
                    let mut others = robots.clone();
                    let me = others.remove(index);
                    cover(&me, &others, &area, 2.0)
                })
                .collect();
            robots.iter_mut().zip(&velocities).for_each(|(robot, velocity)| *robot += velocity * 0.1);
            let now = cost(&robots, &area);
            assert!(now <= before + 1e-9, "{now} after {before}");
            before = now;
        }
        assert!(robots.iter().all(|robot| area.contains(robot)));
        // Hexagons of an area A have a mean squared distance of 0.1604 A; cells at the border do a little worse.
        let hexagons = 0.1604 * area.area() / robots.len() as f64;
        assert!(before < first / 10.0 && before < hexagons * 1.15, "{before}, at best {hexagons}");
    }

    #[test]
    fn cells_share_the_area_out() {
        let area = area();
        let mut dice = Dice::new(4);
        let robots: Vec<_> = (0..20).map(|_| Vector2::new(dice.within(0.0, 30.0), dice.within(0.0, 20.0))).collect();
        let cells: f64 = (0..robots.len())
            .map(|index| {
                let mut others = robots.clone();
                let me = others.remove(index);
                cell(&me, &others, &area).area()
            })
            .sum();
        assert!((cells - area.area()).abs() < 1e-6, "{cells}");
    }

    #[test]
    fn two_in_one_place_still_move() {
        let place = Vector2::new(1.0, 1.0);
        let velocity = cover(&place, &[place], &area(), 2.0);
        assert!(velocity.norm() > 0.1 && velocity.norm() <= 2.0 + 1e-9);
    }
}
