//! Who gets what at the least total cost: the rectangular linear assignment problem, solved exactly.
//!
//! Shortest augmenting paths after Crouse ("On implementing 2D rectangular assignment algorithms", IEEE Transactions on
//! Aerospace and Electronic Systems 52, 2016), begun with prices from an auction (Bertsekas 1988) and the augmenting row reduction
//! of Jonker and Volgenant ("A shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing
//! 38, 1987), which leave few rows to search paths for. O(n³) at worst.
//!
//! ```
//! use ecps_swarm::assignment::{Costs, assign};
//!
//! // Three robots, two slots; the second robot cannot reach the first slot.
//! let never = f64::INFINITY;
//! let costs = Costs::new(3, 2, vec![4.0, 1.0, never, 2.0, 3.0, 9.0])?;
//! let assignment = assign(&costs);
//! assert_eq!(assignment.columns, [Some(1), None, Some(0)]);
//! assert_eq!(assignment.cost, 4.0);
//! # Ok::<(), ecps_swarm::assignment::CostsError>(())
//! ```

mod auction;
mod lanes;
mod paths;

use thiserror::Error;

/// Most pairs of a row and a column: 256 MiB of costs.
pub const MAX_PAIRS: usize = 1 << 25;

/// Greatest magnitude of a finite cost, so that sums of them keep their digits.
pub const MAX_COST: f64 = 1e12;

/// Why costs are refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CostsError {
    /// More pairs than allowed.
    #[error("{rows} rows times {columns} columns are more than the {MAX_PAIRS} pairs allowed")]
    TooMany {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
    },
    /// Not one value for each pair.
    #[error("{rows} rows times {columns} columns need {} costs, and there are {values}", rows * columns)]
    Shape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
        /// Values given.
        values: usize,
    },
    /// NaN, minus infinity, or a magnitude beyond [`MAX_COST`].
    #[error(
        "the cost of row {row} and column {column} is {value}, and must be infinity or within {MAX_COST:e} of zero"
    )]
    Value {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// What it is.
        value: f64,
    },
}

/// What each row would cost with each column. Infinity marks a pair that must not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
    /// Whether a pair is ruled out.
    gaps: bool,
}

impl Costs {
    /// `values` row by row.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Result<Costs, CostsError> {
        let pairs = rows.checked_mul(columns).filter(|pairs| *pairs <= MAX_PAIRS);
        let pairs = pairs.ok_or(CostsError::TooMany { rows, columns })?;
        if values.len() != pairs {
            return Err(CostsError::Shape { rows, columns, values: values.len() });
        }
        let mut gaps = false;
        for (index, &value) in values.iter().enumerate() {
            if value == f64::INFINITY {
                gaps = true;
            } else if value.is_nan() || value.abs() > MAX_COST {
                return Err(CostsError::Value { row: index / columns, column: index % columns, value });
            }
        }
        Ok(Costs { rows, columns, values, gaps })
    }

    /// Each cost from its row and column.
    pub fn from_fn(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Result<Costs, CostsError> {
        if rows.checked_mul(columns).is_none_or(|pairs| pairs > MAX_PAIRS) {
            return Err(CostsError::TooMany { rows, columns });
        }
        let cost = &cost;
        let values = (0..rows).flat_map(|row| (0..columns).map(move |column| cost(row, column))).collect();
        Costs::new(rows, columns, values)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The cost of a pair; `None` outside.
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        if column >= self.columns { None } else { self.values.get(row * self.columns + column).copied() }
    }

    fn transposed(&self) -> Costs {
        let column = |number| self.values.iter().skip(number).step_by(self.columns.max(1)).copied();
        let values = (0..self.columns).flat_map(column).collect();
        Costs { rows: self.columns, columns: self.rows, values, gaps: self.gaps }
    }

    /// With a finite price for what must not be, so high that no saving elsewhere is worth one such pair more.
    fn priced(&self) -> Vec<f64> {
        let finite = || self.values.iter().copied().filter(|value| value.is_finite());
        let (least, most) =
            finite().fold((0.0_f64, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        let price = most + (most - least + 1.0) * (self.rows.min(self.columns) + 1) as f64;
        self.values.iter().map(|value| if value.is_finite() { *value } else { price }).collect()
    }
}

/// Who gets what: as many pairs as the costs allow, and among those the cheapest.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// For each row its column. `None` where columns are fewer than rows, or where every way to serve the row too leads
    /// through a pair that must not be.
    pub columns: Vec<Option<usize>>,
    /// Sum of the pairs' costs.
    pub cost: f64,
    /// Dual values of rows and columns, which prove that nothing is cheaper: for each allowed pair their sum is at most
    /// its cost, and equal to it where the pair was chosen. On the scarce side they may have any sign; on the other they
    /// are at most zero, and zero where nothing was chosen.
    pub row_prices: Vec<f64>,
    /// See `row_prices`.
    pub column_prices: Vec<f64>,
}

/// The cheapest assignment.
pub fn assign(costs: &Costs) -> Assignment {
    if costs.rows > costs.columns {
        let turned = assign(&costs.transposed());
        let mut columns = vec![None; costs.rows];
        for (column, row) in turned.columns.iter().enumerate() {
            if let Some(place) = row.and_then(|row| columns.get_mut(row)) {
                *place = Some(column);
            }
        }
        return Assignment {
            columns,
            cost: turned.cost,
            row_prices: turned.column_prices,
            column_prices: turned.row_prices,
        };
    }
    let solved = if costs.gaps {
        paths::solve(&costs.priced(), costs.rows, costs.columns)
    } else {
        paths::solve(&costs.values, costs.rows, costs.columns)
    };
    let cost_of = |row: usize, column: usize| costs.get(row, column).filter(|cost| cost.is_finite());
    let mut cost = 0.0;
    let columns = solved.column_of.iter().enumerate().map(|(row, &column)| {
        cost += cost_of(row, column)?;
        Some(column)
    });
    let columns = columns.collect();
    Assignment { columns, cost, row_prices: solved.row_prices, column_prices: solved.column_prices }
}
