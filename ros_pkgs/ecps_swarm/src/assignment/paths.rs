//! The solver: finite costs, at most as many rows as columns.
//!
//! The loops over columns are written in blocks of [`LANES`] without a branch, so that the compiler makes vector
//! instructions of them; they run compiled for what the machine has. What is done with an index per row or step goes
//! through `get`, which costs nothing there.

use pulp::Arch;

/// Columns that are looked at at once.
const LANES: usize = 8;
/// No row, or no column.
const NONE: usize = usize::MAX;

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
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut problem = Problem::new(costs, rows, columns);
            // Where columns are to spare, prices begin at zero, and stay there for those that remain free.
            let mut free = if rows == columns && columns > 1 { problem.reduce_columns() } else { (0..rows).collect() };
            if columns > 1 {
                for _ in 0..2 {
                    free = problem.reduce_rows(free);
                }
            }
            for row in free {
                problem.augment(row);
            }
            problem.finish()
        },
    )
}

struct Problem<'a> {
    costs: &'a [f64],
    rows: usize,
    columns: usize,
    row_of: Vec<usize>,
    column_of: Vec<usize>,
    prices: Vec<f64>,
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
    fn row(&self, row: usize) -> &'a [f64] {
        self.costs.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default()
    }

    /// Prices each column at its cheapest cost and gives it to the row that has it, where that row is free. A row with
    /// one column passes on what its second choice leaves. Returns the rows that got nothing.
    #[inline(always)]
    fn reduce_columns(&mut self) -> Vec<usize> {
        let mut cheapest = vec![0_u64; self.columns];
        self.prices.fill(f64::INFINITY);
        for row in 0..self.rows {
            let costs = self.row(row);
            for ((cost, price), cheapest) in costs.iter().zip(&mut self.prices).zip(&mut cheapest) {
                let less = *cost < *price;
                *price = if less { *cost } else { *price };
                *cheapest = if less { row as u64 } else { *cheapest };
            }
        }
        let mut wanted_by = vec![0_u32; self.rows];
        for (column, row) in cheapest.iter().enumerate().rev() {
            let row = *row as usize;
            let (Some(place), Some(wanted)) = (self.column_of.get_mut(row), wanted_by.get_mut(row)) else { continue };
            *wanted += 1;
            if *place == NONE {
                *place = column;
                if let Some(owner) = self.row_of.get_mut(column) {
                    *owner = row;
                }
            }
        }
        for (row, wanted) in wanted_by.iter().enumerate() {
            if *wanted == 1 {
                let column = self.column_of.get(row).copied().unwrap_or(NONE);
                let choice = least_two(self.row(row), &self.prices);
                if let Some(price) = self.prices.get_mut(column) {
                    // Its own column is at zero, the least there is.
                    *price -= choice.second;
                }
            }
        }
        wanted_by.iter().enumerate().filter(|(_, wanted)| **wanted == 0).map(|(row, _)| row).collect()
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
            let mut column = position(self.row(row), &self.prices, choice.first, NONE);
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

/// The least and the second least of what a row's columns cost beyond their prices.
struct Choice {
    first: f64,
    second: f64,
}

#[inline(always)]
fn least_two(costs: &[f64], prices: &[f64]) -> Choice {
    let (mut first, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let ((costs, more_costs), (prices, more_prices)) = (costs.as_chunks::<LANES>(), prices.as_chunks::<LANES>());
    for (costs, prices) in costs.iter().zip(prices) {
        for (((cost, price), first), second) in costs.iter().zip(prices).zip(&mut first).zip(&mut second) {
            let value = cost - price;
            let greater = if value > *first { value } else { *first };
            *second = if greater < *second { greater } else { *second };
            *first = if value < *first { value } else { *first };
        }
    }
    let mut choice = Choice { first: f64::INFINITY, second: f64::INFINITY };
    let rest = more_costs.iter().zip(more_prices).map(|(cost, price)| cost - price);
    for value in first.into_iter().chain(second).chain(rest) {
        if value < choice.first {
            (choice.first, choice.second) = (value, choice.first);
        } else if value < choice.second {
            choice.second = value;
        }
    }
    choice
}

/// The first column other than `except` that costs `value` beyond its price.
#[inline(always)]
fn position(costs: &[f64], prices: &[f64], value: f64, except: usize) -> usize {
    let (mut blocks, mut price_blocks) = (costs.chunks(LANES), prices.chunks(LANES));
    let mut first = 0;
    while let (Some(costs), Some(prices)) = (blocks.next(), price_blocks.next()) {
        let any = costs.iter().zip(prices).fold(false, |any, (cost, price)| any | (cost - price == value));
        if any {
            let mut block = costs.iter().zip(prices).zip(first..);
            let found = block.find(|((cost, price), column)| **cost - **price == value && *column != except);
            if let Some((_, column)) = found {
                return column;
            }
        }
        first += LANES;
    }
    NONE
}

/// Takes in the ways over one row; returns the length of the shortest path to a column that was not reached yet.
#[inline(always)]
fn relax(costs: &[f64], open: &[f64], detour: f64, shortest: &mut [f64], from: &mut [u64], row: usize) -> f64 {
    let row = row as u64;
    let mut least = [f64::INFINITY; LANES];
    let ((costs, more_costs), (open, more_open)) = (costs.as_chunks::<LANES>(), open.as_chunks::<LANES>());
    let (shortest, more_shortest) = shortest.as_chunks_mut::<LANES>();
    let (from, more_from) = from.as_chunks_mut::<LANES>();
    for (((costs, open), shortest), from) in costs.iter().zip(open).zip(shortest).zip(from) {
        for ((((cost, open), shortest), from), least) in costs.iter().zip(open).zip(shortest).zip(from).zip(&mut least)
        {
            let length = cost - open - detour;
            let shorter = length < *shortest;
            *shortest = if shorter { length } else { *shortest };
            *from = if shorter { row } else { *from };
            *least = if *shortest < *least { *shortest } else { *least };
        }
    }
    let mut result = least.into_iter().fold(f64::INFINITY, f64::min);
    for (((cost, open), shortest), from) in more_costs.iter().zip(more_open).zip(more_shortest).zip(more_from) {
        let length = cost - open - detour;
        if length < *shortest {
            (*shortest, *from) = (length, row);
        }
        result = result.min(*shortest);
    }
    result
}

/// A column at the distance `least`, a free one if there is one.
#[inline(always)]
fn nearest(shortest: &[f64], least: f64, row_of: &[usize]) -> usize {
    let mut found = NONE;
    let (blocks, rest) = shortest.as_chunks::<LANES>();
    let (owner_blocks, more_owners) = row_of.as_chunks::<LANES>();
    for (number, (block, owners)) in blocks.iter().zip(owner_blocks).enumerate() {
        if block.iter().fold(false, |any, length| any | (*length == least)) {
            for ((length, owner), column) in block.iter().zip(owners).zip(number * LANES..) {
                if *length == least {
                    if *owner == NONE {
                        return column;
                    }
                    found = found.min(column);
                }
            }
        }
    }
    for ((length, owner), column) in rest.iter().zip(more_owners).zip(blocks.len() * LANES..) {
        if *length == least {
            if *owner == NONE {
                return column;
            }
            found = found.min(column);
        }
    }
    found
}
