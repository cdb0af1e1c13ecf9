//! The cheapest assignment of every row to a column of its own, by shortest augmenting paths.

/// For each row its column, and what proves that nothing is cheaper: the sum of the dual prices.
pub(super) struct Assignment {
    pub(super) columns: Vec<Option<usize>>,
    pub(super) bound: f64,
}

/// `costs` row by row, infinite where a pair must not be; there must be a column for every row.
pub(super) fn assign(rows: usize, columns: usize, costs: &[f64]) -> Assignment {
    // Column 0 stands for "none yet", so that rows and columns count from 1.
    let mut row_of = vec![0_usize; columns + 1];
    let (mut u, mut v) = (vec![0.0_f64; rows + 1], vec![0.0_f64; columns + 1]);
    let cost = |row: usize, column: usize| {
        costs
            .get((row.wrapping_sub(1)).wrapping_mul(columns).wrapping_add(column.wrapping_sub(1)))
            .copied()
            .unwrap_or(f64::INFINITY)
    };
    let at = |list: &[f64], place: usize| list.get(place).copied().unwrap_or_default();
    let add = |list: &mut [f64], place: usize, by: f64| {
        if let Some(value) = list.get_mut(place) {
            *value += by;
        }
    };
    for row in 1..=rows {
        let mut nearest = vec![f64::INFINITY; columns + 1];
        let mut before = vec![0_usize; columns + 1];
        let mut done = vec![false; columns + 1];
        let mut here = 0;
        let set = |row_of: &mut [usize], place: usize, row: usize| {
            if let Some(value) = row_of.get_mut(place) {
                *value = row;
            }
        };
        set(&mut row_of, 0, row);
        let reached = loop {
            if let Some(flag) = done.get_mut(here) {
                *flag = true;
            }
            let from = row_of.get(here).copied().unwrap_or_default();
            let (mut least, mut next) = (f64::INFINITY, 0);
            let columns_left = nearest.iter_mut().zip(&mut before).zip(&done).enumerate().skip(1);
            for (column, ((near, back), done)) in columns_left {
                if *done {
                    continue;
                }
                let reduced = cost(from, column) - at(&u, from) - at(&v, column);
                if reduced < *near {
                    (*near, *back) = (reduced, here);
                }
                if *near < least {
                    (least, next) = (*near, column);
                }
            }
            if next == 0 {
                break None;
            }
            for (column, (near, done)) in nearest.iter_mut().zip(&done).enumerate() {
                if *done {
                    add(&mut u, row_of.get(column).copied().unwrap_or_default(), least);
                    add(&mut v, column, -least);
                } else {
                    *near -= least;
                }
            }
            here = next;
            if row_of.get(here) == Some(&0) {
                break Some(here);
            }
        };
        let Some(mut column) = reached else { continue };
        while column != 0 {
            let back = before.get(column).copied().unwrap_or_default();
            let row = row_of.get(back).copied().unwrap_or_default();
            set(&mut row_of, column, row);
            column = back;
        }
    }
    let mut result = vec![None; rows];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        if let Some(place) = row.checked_sub(1).and_then(|row| result.get_mut(row)) {
            *place = Some(column - 1);
        }
    }
    Assignment { columns: result, bound: u.iter().skip(1).sum::<f64>() + v.iter().skip(1).sum::<f64>() }
}
