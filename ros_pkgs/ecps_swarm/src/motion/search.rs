//! Sweeping an area in parallel lanes (boustrophedon), shared out among robots.
//!
//! Lanes run across the area's least width, which takes the fewest turns (Huang, "Optimal Line-sweep-based Decompositions for
//! Coverage Algorithms", ICRA 2001).

use ecps_core::check::{CheckError, at_most, in_range};
use nalgebra::{Rotation2, Vector2};

use super::finite_vector;
use super::polygon::Polygon;
use crate::assignment::{Costs, assign};

/// Most lanes of a pattern.
pub const MAX_LANES: usize = 10_000;
/// Most robots that share one.
pub const MAX_ROBOTS: usize = 1000;

/// For each robot the points to go through in straight lines, so that together they pass each place of `area` within half of
/// `width` (metres). All ways are equally long and within the area; who takes which is assigned by the way to its beginning.
pub fn pattern(area: &Polygon, width: f64, robots: &[Vector2<f64>]) -> Result<Vec<Vec<Vector2<f64>>>, CheckError> {
    in_range("width", width, 1e-3, 1e6)?;
    at_most("robots", robots.len(), MAX_ROBOTS, "robots")?;
    robots.iter().try_for_each(|robot| finite_vector("robot", robot))?;
    let pieces = cut(&sweep(area, width)?, robots.len());
    let squared = |robot: usize, piece: usize| {
        let start = pieces.get(piece).and_then(|piece| piece.first());
        let way = robots.get(robot).zip(start).map_or(0.0, |(robot, start)| (robot - start).norm_squared());
        way.min(crate::assignment::MAX_COST)
    };
    // The numbers are bounded above, so that costs are accepted.
    let Ok(costs) = Costs::from_fn(robots.len(), pieces.len(), squared) else { return Ok(Vec::new()) };
    let piece = |column: Option<usize>| column.and_then(|column| pieces.get(column)).cloned().unwrap_or_default();
    Ok(assign(&costs).columns.into_iter().map(piece).collect())
}

/// One way through all lanes.
fn sweep(area: &Polygon, width: f64) -> Result<Vec<Vector2<f64>>, CheckError> {
    let (turn, least, most) = least_width(area);
    let lanes = ((most - least) / width).ceil().max(1.0);
    in_range("lanes", lanes, 1.0, MAX_LANES as f64)?;
    let spacing = (most - least) / lanes;
    let (along, across) = (turn * Vector2::x(), turn * Vector2::y());
    let mut way: Vec<Vector2<f64>> = Vec::new();
    for lane in 0..lanes as usize {
        let middle = least + (lane as f64 + 0.5) * spacing;
        let strip = area
            .clipped(&(across * (middle - spacing / 2.0)), &across)
            .clipped(&(across * (middle + spacing / 2.0)), &-across);
        let line = strip.clipped(&(across * middle), &across);
        let line = line.corners().iter().filter(|corner| (across.dot(corner) - middle).abs() < 1e-6 * spacing.max(1.0));
        // From the strip's first place to its last, along its middle: what lies beside the middle's ends is passed on the way
        // to them.
        let by = |a: &&Vector2<f64>, b: &&Vector2<f64>| along.dot(a).total_cmp(&along.dot(b));
        let (first, last) = (line.clone().min_by(by), line.max_by(by));
        let beyond = |end: Option<&Vector2<f64>>| {
            let less = |middle: Option<&Vector2<f64>>| Some(along.dot(&(middle? - end?)).abs() < 1e-6);
            end.copied().filter(|_| less(first) != Some(true) && less(last) != Some(true))
        };
        let (least, most) = (strip.corners().iter().min_by(by), strip.corners().iter().max_by(by));
        let points = [beyond(least), first.copied(), last.copied(), beyond(most)];
        let mut points: Vec<Vector2<f64>> = points.into_iter().flatten().collect();
        if lane % 2 == 1 {
            points.reverse();
        }
        way.extend(points);
    }
    way.dedup_by(|a, b| (*a - *b).norm() < 1e-9);
    Ok(way)
}

/// Along which edge the area is least wide: how lanes are turned, and from where to where across them it reaches.
fn least_width(area: &Polygon) -> (Rotation2<f64>, f64, f64) {
    let edges = area.corners().iter().zip(area.corners().iter().cycle().skip(1));
    let width_along = edges.map(|(from, to)| {
        let turn = Rotation2::new((to.y - from.y).atan2(to.x - from.x));
        let across = turn * Vector2::y();
        let reach = area.corners().iter().map(|corner| across.dot(corner));
        let (least, most) = reach.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), r| (l.min(r), m.max(r)));
        (turn, least, most)
    });
    let narrowest = width_along.min_by(|(_, a, b), (_, c, d)| (b - a).total_cmp(&(d - c)));
    narrowest.unwrap_or((Rotation2::identity(), 0.0, 0.0))
}

/// Cuts a way into pieces of one length.
fn cut(way: &[Vector2<f64>], count: usize) -> Vec<Vec<Vector2<f64>>> {
    let length: f64 = way.windows(2).map(span).sum();
    let piece = length / count.max(1) as f64;
    let mut pieces = Vec::with_capacity(count);
    let mut present: Vec<Vector2<f64>> = way.first().copied().into_iter().collect();
    let mut left = piece;
    for pair in way.windows(2) {
        let (Some(mut from), Some(to)) = (pair.first().copied(), pair.last()) else { continue };
        // The last piece takes what rounding leaves.
        while pieces.len() + 1 < count && (to - from).norm() > left {
            from += (to - from) * (left / (to - from).norm());
            present.push(from);
            pieces.push(std::mem::replace(&mut present, vec![from]));
            left = piece;
        }
        left -= (to - from).norm();
        present.push(*to);
    }
    if count > 0 {
        pieces.push(present);
    }
    // Where the last cut falls on the very end, rounding can leave fewer.
    pieces.resize(count, way.last().copied().into_iter().collect());
    pieces
}

fn span(pair: &[Vector2<f64>]) -> f64 {
    pair.first().zip(pair.last()).map_or(0.0, |(from, to)| (to - from).norm())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::avoidance::Wall;
    use crate::motion::scene::Dice;

    fn areas() -> Vec<Polygon> {
        let polygon = |corners: &[[f64; 2]]| Polygon::new(corners.iter().map(|c| Vector2::from(*c)).collect()).unwrap();
        vec![
            polygon(&[[0.0, 0.0], [40.0, 0.0], [40.0, 20.0], [0.0, 20.0]]),
            polygon(&[[0.0, 0.0], [30.0, -5.0], [36.0, 18.0], [10.0, 24.0], [-4.0, 12.0]]),
            polygon(&[[0.0, 0.0], [50.0, 1.0], [20.0, 30.0]]),
            polygon(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]),
        ]
    }

    #[test]
    fn every_place_is_passed_within_half_the_width_and_ways_are_equally_long() {
        let mut dice = Dice::new(1);
        for area in areas() {
            for robots in [1, 2, 3, 7, 40] {
                let starts: Vec<_> = (0..robots).map(|_| Vector2::new(dice.within(0.0, 30.0), -3.0)).collect();
                let ways = pattern(&area, 3.0, &starts).unwrap();
                assert_eq!(ways.len(), robots);
                let lengths: Vec<f64> = ways.iter().map(|way| way.windows(2).map(span).sum()).collect();
                let mean = lengths.iter().sum::<f64>() / robots as f64;
                assert!(lengths.iter().all(|length| (length - mean).abs() < 1e-6), "{lengths:?}");
                assert!(ways.iter().flatten().all(|point| area.contains(point)));
                let legs: Vec<Wall> =
                    ways.iter().flat_map(|way| way.windows(2)).map(|p| Wall { from: p[0], to: p[1] }).collect();
                let mut seen = 0;
                while seen < 500 {
                    let place = Vector2::new(dice.within(-5.0, 50.0), dice.within(-6.0, 31.0));
                    let near = |leg: &Wall| (leg.nearest(&place) - place).norm() < 1.5 + 1e-6;
                    if area.contains(&place) {
                        assert!(legs.iter().any(near), "{place} of {area:?} by {robots}");
                        seen += 1;
                    } else if area.area() < 1.0 {
                        seen += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn lanes_run_across_the_least_width() {
        let ways = pattern(&areas()[0], 5.0, &[Vector2::zeros()]).unwrap();
        // Four lanes of 40 m, and between them three of 5 m.
        let length: f64 = ways[0].windows(2).map(span).sum();
        assert!((length - 175.0).abs() < 1e-9, "{length}");
    }

    #[test]
    fn sizes_are_bounded() {
        let area = &areas()[0];
        assert!(pattern(area, f64::NAN, &[]).is_err());
        assert!(pattern(area, 0.001, &[Vector2::zeros()]).unwrap_err().to_string().contains("lanes is 20000"));
        assert!(pattern(area, 1.0, &[]).unwrap().is_empty());
        assert!(pattern(area, 1.0, &[Vector2::new(f64::NAN, 0.0)]).is_err());
    }
}
