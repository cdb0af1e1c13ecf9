//! Loops over columns, in blocks of [`LANES`] without a branch, so that the compiler makes vector instructions of them. They are
//! inlined into what is compiled for the machine.

use super::paths::NONE;

/// Columns that are looked at at once.
const LANES: usize = 8;

/// The least and the second least of what a row's columns cost beyond their prices, and the column of the least.
pub(super) struct Choice {
    pub(super) first: f64,
    pub(super) second: f64,
    pub(super) at: u64,
}

#[inline(always)]
pub(super) fn least_two(costs: &[f64], prices: &[f64]) -> Choice {
    let (mut first, mut second, mut at) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES], [0_u64; LANES]);
    let ((costs, more_costs), (prices, more_prices)) = (costs.as_chunks::<LANES>(), prices.as_chunks::<LANES>());
    for ((costs, prices), block) in costs.iter().zip(prices).zip(0_u64..) {
        let lanes = costs.iter().zip(prices).zip(&mut first).zip(&mut second).zip(&mut at);
        for ((((cost, price), first), second), at) in lanes {
            let value = cost - price;
            let less = value < *first;
            let greater = if less { *first } else { value };
            *second = if greater < *second { greater } else { *second };
            *first = if less { value } else { *first };
            *at = if less { block } else { *at };
        }
    }
    let mut choice = Choice { first: f64::INFINITY, second: f64::INFINITY, at: 0 };
    let lanes = LANES as u64;
    let found = first.into_iter().zip(at).zip(0..).map(|((value, block), lane)| (value, block * lanes + lane));
    let rest = more_costs.iter().zip(more_prices).zip(costs.len() as u64 * lanes..);
    for (value, column) in found.chain(rest.map(|((cost, price), column)| (cost - price, column))) {
        if value < choice.first {
            (choice.first, choice.second, choice.at) = (value, choice.first, column);
        } else if value < choice.second {
            choice.second = value;
        }
    }
    choice.second = second.into_iter().fold(choice.second, f64::min);
    choice
}

/// The first column other than `except` that costs `value` beyond its price.
#[inline(always)]
pub(super) fn position(costs: &[f64], prices: &[f64], value: f64, except: usize) -> usize {
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
pub(super) fn relax(
    costs: &[f64],
    open: &[f64],
    detour: f64,
    shortest: &mut [f64],
    from: &mut [u64],
    row: usize,
) -> f64 {
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
pub(super) fn nearest(shortest: &[f64], least: f64, row_of: &[usize]) -> usize {
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
