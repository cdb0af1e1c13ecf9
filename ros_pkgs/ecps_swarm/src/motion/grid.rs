//! Who is near whom: points sorted into square cells.

use std::ops::Range;

use nalgebra::Vector2;

/// Points by cell. Rebuilding takes a counting sort and no allocation once it has grown; points of one cell, and of cells
/// side by side in x, lie side by side in memory.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    least: Vector2<f64>,
    side: f64,
    columns: usize,
    rows: usize,
    /// For each cell its first point, and one past the last.
    starts: Vec<u32>,
    cell_of: Vec<u32>,
    order: Vec<u32>,
}

impl Grid {
    /// Sorts finite `points` into cells of at least `side` metres; larger where the points are so spread that cells would
    /// be more than four for each.
    pub fn rebuild(&mut self, points: impl Iterator<Item = Vector2<f64>> + Clone, side: f64) {
        let (mut count, mut most) = (0_usize, Vector2::repeat(f64::NEG_INFINITY));
        self.least = Vector2::repeat(f64::INFINITY);
        for point in points.clone() {
            count += 1;
            self.least = self.least.inf(&point);
            most = most.sup(&point);
        }
        let extent = if count == 0 { Vector2::zeros() } else { most - self.least };
        let limit = (4 * count + 16) as f64;
        let cells = |extent: f64, side: f64| ((extent / side).floor() + 1.0).max(1.0);
        self.side = side.max(f64::MIN_POSITIVE);
        while cells(extent.x, self.side) * cells(extent.y, self.side) > limit {
            self.side *= 1.5;
        }
        (self.columns, self.rows) = (cells(extent.x, self.side) as usize, cells(extent.y, self.side) as usize);

        self.starts.clear();
        self.starts.resize(self.columns * self.rows + 1, 0);
        self.cell_of.clear();
        for point in points {
            let (column, row) = self.cell(&point);
            let cell = row * self.columns + column;
            self.cell_of.push(cell as u32);
            if let Some(start) = self.starts.get_mut(cell) {
                *start += 1;
            }
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.order.resize(count, 0);
        // From behind, so that points of a cell keep their order.
        for (point, cell) in self.cell_of.iter().enumerate().rev() {
            let Some(start) = self.starts.get_mut(*cell as usize) else { continue };
            *start -= 1;
            if let Some(place) = self.order.get_mut(*start as usize) {
                *place = point as u32;
            }
        }
    }

    /// Numbers of the points, sorted by cell.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Side of a cell, metres.
    pub fn side(&self) -> f64 {
        self.side
    }

    /// Column and row of the cell at or nearest to a point.
    #[inline]
    pub fn cell(&self, point: &Vector2<f64>) -> (usize, usize) {
        let index = |value: f64, least: f64, count: usize| {
            (((value - least) / self.side) as usize).min(count.saturating_sub(1))
        };
        (index(point.x, self.least.x, self.columns), index(point.y, self.least.y, self.rows))
    }

    /// Whether all cells lie within `reach` cells of this one.
    #[inline]
    pub fn is_covered(&self, (column, row): (usize, usize), reach: usize) -> bool {
        column <= reach && row <= reach && column + reach + 1 >= self.columns && row + reach + 1 >= self.rows
    }

    /// Runs of [`Grid::order`] that hold all points within `reach` cells of a cell: one for each row.
    #[inline]
    pub fn around(&self, (column, row): (usize, usize), reach: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let (from, to) = (column.saturating_sub(reach), (column + reach).min(self.columns.saturating_sub(1)));
        let rows = row.saturating_sub(reach)..=(row + reach).min(self.rows.saturating_sub(1));
        rows.map(move |row| {
            let start = |cell: usize| self.starts.get(cell).copied().unwrap_or_default() as usize;
            start(row * self.columns + from)..start(row * self.columns + to + 1)
        })
    }
}

/// Distance of the two nearest of some finite points, metres; infinity for fewer than two.
pub fn closest_pair(points: &[Vector2<f64>]) -> f64 {
    let Some(first) = points.first() else { return f64::INFINITY };
    let (least, most) = points.iter().fold((*first, *first), |(least, most), p| (least.inf(p), most.sup(p)));
    let extent = most - least;
    // About one point in a cell, which the nearest two need not share a neighbourhood of: widen until they do.
    let mut side = (extent.x.max(extent.y) / (points.len() as f64).sqrt()).max(1e-9);
    let mut grid = Grid::default();
    loop {
        grid.rebuild(points.iter().copied(), side);
        let found = closest_within_a_cell(points, &grid);
        if found <= grid.side() || grid.columns * grid.rows == 1 {
            return found;
        }
        side = grid.side() * 2.0;
    }
}

fn closest_within_a_cell(points: &[Vector2<f64>], grid: &Grid) -> f64 {
    let mut least = f64::INFINITY;
    for (index, point) in points.iter().enumerate() {
        for run in grid.around(grid.cell(point), 1) {
            for other in grid.order().get(run).unwrap_or_default() {
                if *other as usize > index
                    && let Some(other) = points.get(*other as usize)
                {
                    least = least.min((other - point).norm_squared());
                }
            }
        }
    }
    least.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::scene::Dice;

    #[test]
    fn the_nearest_two_are_found_as_by_comparing_all() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let count = 2 + seed as usize % 40;
            let spread = 10.0_f64.powi(seed as i32 % 5 - 2);
            let points: Vec<_> =
                (0..count).map(|_| Vector2::new(dice.within(-spread, spread), dice.within(0.0, 3.0))).collect();
            let mut least = f64::INFINITY;
            for (index, a) in points.iter().enumerate() {
                points[..index].iter().for_each(|b| least = least.min((a - b).norm()));
            }
            assert_eq!(closest_pair(&points), least, "seed {seed}");
        }
    }

    #[test]
    fn every_point_within_reach_is_around() {
        let mut dice = Dice::new(3);
        let points: Vec<_> =
            (0..500).map(|_| Vector2::new(dice.within(-50.0, 50.0), dice.within(-20.0, 20.0))).collect();
        let mut grid = Grid::default();
        grid.rebuild(points.iter().copied(), 4.0);
        for point in &points {
            let found: Vec<usize> = grid
                .around(grid.cell(point), 1)
                .flat_map(|run| grid.order()[run].iter().map(|n| *n as usize).collect::<Vec<_>>())
                .collect();
            for (index, other) in points.iter().enumerate() {
                assert!((other - point).norm() > grid.side() || found.contains(&index));
            }
        }
    }

    #[test]
    fn far_spread_points_do_not_need_many_cells() {
        let mut grid = Grid::default();
        grid.rebuild([Vector2::new(-1e9, -1e9), Vector2::new(1e9, 1e9)].into_iter(), 0.001);
        assert!(grid.columns * grid.rows <= 24);
        grid.rebuild(std::iter::empty(), 1.0);
        assert!(grid.order().is_empty());
    }
}
