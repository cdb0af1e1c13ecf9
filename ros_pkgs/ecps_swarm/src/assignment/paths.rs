//! The solver: finite costs, at most as many rows as columns.
//!
//! An auction brings the prices near to where they belong, row reduction from there finishes most of what is left, and shortest
//! paths the rest. Only the last is needed for the result to be right; the others make it quick.

use pulp::{Arch, NullaryFnOnce};

use super::lanes::{least_two, nearest, position, relax};

/// No row, or no column.
pub(super) const NONE: usize = usize::MAX;

/// Every row's column and the dual values.
pub(super) struct Solved {
    pub(super) column_of: Vec<usize>,
    pub(super) row_prices: Vec<f64>,
    pub(super) column_prices: Vec<f64>,
}

/// Solves for `costs`, row by row, all finite; `rows` is at most `columns`.
pub(super) fn solve(costs: &[f64], rows: usize, columns: usize) -> Solved {
    if rows == 0 {
        return Solved { column_of: Vec::new(), row_prices: Vec::new(), column_prices: vec![0.0; columns] };
    }
    Arch::new().dispatch(Solve { costs, rows, columns })
}

/// The work, as what is compiled for the machine. A closure would be called through a function that is not.
struct Solve<'a> {
    costs: &'a [f64],
    rows: usize,
    columns: usize,
}

impl NullaryFnOnce for Solve<'_> {
    type Output = Solved;

    #[inline(always)]
    fn call(self) -> Solved {
        let Solve { costs, rows, columns } = self;
        let mut problem = Problem::new(costs, rows, columns);
        // Where columns are to spare, prices begin at zero, and stay there for those that remain free.
        let mut free = (0..rows).collect();
        if rows == columns && columns > 1 {
            problem.reduce_columns();
            free = problem.auction();
        }
        if columns > 1 {
            for _ in 0..2 {
                free = problem.reduce_rows(free);
            }
        }
        for row in free {
            problem.augment(row);
        }
        problem.finish()
    }
}

pub(super) struct Problem<'a> {
    costs: &'a [f64],
    pub(super) rows: usize,
    columns: usize,
    pub(super) row_of: Vec<usize>,
    pub(super) column_of: Vec<usize>,
    pub(super) prices: Vec<f64>,
    search: Search,
}

/// What one search for a path needs, kept from one to the next.
struct Search {
    /// Prices, and minus infinity for columns that were reached: nothing is shorter there any more.
    open: Vec<f64>,
    /// Length of the shortest known path to each column; infinity where it was reached.
    shortest: Vec<f64>,
    /// The row that such a path comes from; as wide as the lengths, so that both are chosen by one mask.
    from: Vec<u64>,
    /// Columns reached, with their distances.
    reached: Vec<(usize, f64)>,
}

impl<'a> Problem<'a> {
    fn new(costs: &'a [f64], rows: usize, columns: usize) -> Self {
        Problem {
            costs,
            rows,
            columns,
            row_of: vec![NONE; columns],
            column_of: vec![NONE; rows],
            prices: vec![0.0; columns],
            search: Search {
                open: vec![0.0; columns],
                shortest: vec![0.0; columns],
                from: vec![0; columns],
                reached: Vec::with_capacity(columns),
            },
        }
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [f64] {
        self.costs.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default()
    }

    /// Prices each column at its cheapest cost.
    #[inline(always)]
    fn reduce_columns(&mut self) {
        self.prices.fill(f64::INFINITY);
        for row in 0..self.rows {
            for (cost, price) in self.row(row).iter().zip(&mut self.prices) {
                *price = if *cost < *price { *cost } else { *price };
            }
        }
    }

    /// Gives each free row its cheapest column at the present prices and lowers that column's price to where the second
    /// choice is as good; who had the column is free again. Returns the rows that are still free.
    #[inline(always)]
    fn reduce_rows(&mut self, free: Vec<usize>) -> Vec<usize> {
        // Rounding can make prices fall by ever less; the paths do the rest.
        let mut patience = free.len().saturating_mul(8) + self.columns;
        let mut pending = free;
        pending.reverse();
        let mut left = Vec::new();
        while let Some(row) = pending.pop() {
            let choice = least_two(self.row(row), &self.prices);
            let mut column = choice.at as usize;
            let price = self.prices.get(column).copied().unwrap_or_default();
            let lowered = price - (choice.second - choice.first);
            let lowers = lowered < price;
            let mut owner = self.row_of.get(column).copied().unwrap_or(NONE);
            if patience == 0 {
                if owner != NONE {
                    left.push(row);
                    continue;
                }
            } else {
                patience -= 1;
                if lowers {
                    if let Some(price) = self.prices.get_mut(column) {
                        *price = lowered;
                    }
                } else if owner != NONE {
                    // A tie: the other column may be free.
                    let other = position(self.row(row), &self.prices, choice.first, column);
                    if other != NONE {
                        column = other;
                        owner = self.row_of.get(column).copied().unwrap_or(NONE);
                    }
                }
            }
            if let (Some(place), Some(of)) = (self.column_of.get_mut(row), self.row_of.get_mut(column)) {
                (*place, *of) = (column, row);
            }
            if owner != NONE {
                if let Some(place) = self.column_of.get_mut(owner) {
                    *place = NONE;
                }
                if lowers {
                    pending.push(owner);
                } else {
                    left.push(owner);
                }
            }
        }
        left
    }

    /// Finds the shortest path from a free row to a free column at the present prices (Dijkstra), and moves every row on it
    /// on by one column.
    #[inline(always)]
    fn augment(&mut self, start: usize) {
        let costs = self.row(start);
        let search = &mut self.search;
        search.reached.clear();
        search.open.copy_from_slice(&self.prices);
        search.shortest.fill(f64::INFINITY);
        let mut least = relax(costs, &search.open, 0.0, &mut search.shortest, &mut search.from, start);
        let end = loop {
            let column = nearest(&search.shortest, least, &self.row_of);
            let row = self.row_of.get(column).copied().unwrap_or(NONE);
            if row == NONE {
                break column;
            }
            let (Some(open), Some(shortest)) = (search.open.get_mut(column), search.shortest.get_mut(column)) else {
                break column;
            };
            (*open, *shortest) = (f64::NEG_INFINITY, f64::INFINITY);
            search.reached.push((column, least));
            let costs = self.costs.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default();
            let own = costs.get(column).copied().unwrap_or_default();
            let detour = own - self.prices.get(column).copied().unwrap_or_default() - least;
            least = relax(costs, &search.open, detour, &mut search.shortest, &mut search.from, row);
        };
        for (column, distance) in &search.reached {
            if let Some(price) = self.prices.get_mut(*column) {
                *price += distance - least;
            }
        }
        let mut column = end;
        while let (Some(from), Some(owner)) = (search.from.get(column), self.row_of.get_mut(column)) {
            let row = *from as usize;
            *owner = row;
            let Some(place) = self.column_of.get_mut(row) else { return };
            column = std::mem::replace(place, column);
            if row == start {
                return;
            }
        }
    }

    #[inline(always)]
    fn finish(self) -> Solved {
        let price = |(row, column): (usize, &usize)| {
            let cost = self.row(row).get(*column).copied().unwrap_or_default();
            cost - self.prices.get(*column).copied().unwrap_or_default()
        };
        let row_prices = self.column_of.iter().enumerate().map(price).collect();
        Solved { row_prices, column_of: self.column_of, column_prices: self.prices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::scene::Dice;

    /// Auction and row reduction mostly leave nothing to search for, so that here paths do all of the work.
    #[test]
    fn paths_alone_find_the_same_and_prove_it() {
        for seed in 0..60 {
            let mut dice = Dice::new(seed);
            let rows = 1 + seed as usize % 40;
            let columns = rows + seed as usize % 3 * 5;
            let costs: Vec<f64> = (0..rows * columns).map(|_| dice.within(-50.0, 50.0)).collect();
            let mut problem = Problem::new(&costs, rows, columns);
            (0..rows).for_each(|row| problem.augment(row));
            let (found, expected) = (problem.finish(), solve(&costs, rows, columns));
            let cost = |solved: &Solved| -> f64 {
                solved.column_of.iter().enumerate().map(|(row, column)| costs[row * columns + column]).sum()
            };
            assert!((cost(&found) - cost(&expected)).abs() < 1e-9, "seed {seed}");
            for (row, price) in found.row_prices.iter().enumerate() {
                for (column, other) in found.column_prices.iter().enumerate() {
                    assert!(costs[row * columns + column] - price - other > -1e-9, "seed {seed}");
                }
            }
        }
    }
}
