//! Prices from an auction (Bertsekas, "The auction algorithm: A distributed relaxation method for the assignment problem", Annals of
//! Operations Research 14, 1988): rows bid for columns, each as much as its second choice lets it and ε more. With ε that
//! shrinks from round to round, prices come near to the dual optimum after a few dozen bids for each row.

use super::lanes::least_two;
use super::paths::{NONE, Problem};

/// First ε, in parts of what rows' cheapest columns cost beyond the columns' prices in the mean.
const FIRST: f64 = 10.0;
/// By what ε shrinks, and how often.
const SHRINK: f64 = 0.1;
const ROUNDS: usize = 6;
/// Most bids for each row. Where costs make rows outbid each other by ever the same, paths are quicker.
const BIDS: usize = 100;

impl Problem<'_> {
    /// Lowers prices by an auction, and keeps the pairs that are as good as any at the prices that it ends with. Returns the
    /// rows that have none. For as many rows as columns.
    #[inline(always)]
    pub(super) fn auction(&mut self) -> Vec<usize> {
        let beyond: f64 = (0..self.rows).map(|row| least_two(self.row(row), &self.prices).first).sum();
        let mut epsilon = FIRST * beyond / self.rows as f64;
        let mut bids = BIDS * self.rows;
        // Where each row's favourite is free of charge there is nothing to scale ε by.
        if epsilon > 0.0 {
            for _ in 0..ROUNDS {
                self.bid(epsilon, &mut bids);
                epsilon *= SHRINK;
            }
        }
        let mut free = Vec::new();
        for row in 0..self.rows {
            let Some(place) = self.column_of.get_mut(row).filter(|place| **place != NONE) else {
                free.push(row);
                continue;
            };
            let column = std::mem::replace(place, NONE);
            let costs = self.row(row);
            let own = costs.get(column).zip(self.prices.get(column)).map(|(cost, price)| cost - price);
            if own == Some(least_two(costs, &self.prices).first) {
                if let Some(place) = self.column_of.get_mut(row) {
                    *place = column;
                }
            } else {
                free.push(row);
                if let Some(owner) = self.row_of.get_mut(column) {
                    *owner = NONE;
                }
            }
        }
        free
    }

    /// One round, which begins with all rows free.
    #[inline(always)]
    fn bid(&mut self, epsilon: f64, bids: &mut usize) {
        self.row_of.fill(NONE);
        self.column_of.fill(NONE);
        let mut pending: Vec<usize> = (0..self.rows).rev().collect();
        while let Some(row) = pending.pop() {
            if *bids == 0 {
                return;
            }
            *bids -= 1;
            let choice = least_two(self.row(row), &self.prices);
            let column = choice.at as usize;
            let (Some(price), Some(owner)) = (self.prices.get_mut(column), self.row_of.get_mut(column)) else { return };
            *price -= choice.second - choice.first + epsilon;
            let outbid = std::mem::replace(owner, row);
            if let Some(place) = self.column_of.get_mut(row) {
                *place = column;
            }
            if let Some(place) = self.column_of.get_mut(outbid) {
                *place = NONE;
                pending.push(outbid);
            }
        }
    }
}
