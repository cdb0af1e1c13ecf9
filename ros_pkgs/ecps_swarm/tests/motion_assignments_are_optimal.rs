//! Assignments against brute force, and for large ones against their own proof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_swarm::assignment::{Assignment, Costs, CostsError, assign};
use ecps_swarm::motion::scene::Dice;
use nalgebra::Vector2;
use proptest::prelude::*;

/// Most pairs and then least cost, by trying all.
fn brute_force(costs: &Costs, row: usize, taken: &mut Vec<bool>) -> (usize, f64) {
    if row == costs.rows() {
        return (0, 0.0);
    }
    let mut best = brute_force(costs, row + 1, taken);
    for column in 0..costs.columns() {
        let cost = costs.get(row, column).unwrap();
        if taken[column] || cost.is_infinite() {
            continue;
        }
        taken[column] = true;
        let (pairs, rest) = brute_force(costs, row + 1, taken);
        taken[column] = false;
        if (pairs + 1, -(cost + rest)) > (best.0, -best.1) {
            best = (pairs + 1, cost + rest);
        }
    }
    best
}

fn pairs(assignment: &Assignment) -> usize {
    assignment.columns.iter().flatten().count()
}

/// That nobody shares a column, and that the cost is what it says.
fn check(costs: &Costs, assignment: &Assignment) {
    assert_eq!(assignment.columns.len(), costs.rows());
    let mut taken = vec![false; costs.columns()];
    let mut sum = 0.0;
    for (row, column) in assignment.columns.iter().enumerate() {
        let Some(column) = column else { continue };
        assert!(!std::mem::replace(&mut taken[*column], true), "column {column} twice");
        let cost = costs.get(row, *column).unwrap();
        assert!(cost.is_finite(), "row {row} got a column that it must not have");
        sum += cost;
    }
    assert!((sum - assignment.cost).abs() <= 1e-9 * sum.abs().max(1.0));
}

/// That the prices prove it the cheapest: no pair costs less than its prices, and those chosen exactly that.
fn check_proof(costs: &Costs, assignment: &Assignment) {
    let scale = 1e-9 * (1.0 + assignment.cost.abs());
    for (row, price) in assignment.row_prices.iter().enumerate() {
        for (column, other) in assignment.column_prices.iter().enumerate() {
            let slack = costs.get(row, column).unwrap() - price - other;
            assert!(slack >= -scale, "row {row}, column {column}: {slack}");
            assert!(assignment.columns[row] != Some(column) || slack <= scale, "{slack}");
        }
    }
    let dual: f64 = assignment.row_prices.iter().chain(&assignment.column_prices).sum();
    assert!((dual - assignment.cost).abs() <= scale * costs.rows() as f64, "{dual} {}", assignment.cost);
    // On the side with more, prices are at most zero, and zero where nothing was chosen.
    let rows_to_spare = costs.rows() > costs.columns();
    let spare = if rows_to_spare { &assignment.row_prices } else { &assignment.column_prices };
    if costs.rows() != costs.columns() {
        for (index, price) in spare.iter().enumerate() {
            let chosen = if rows_to_spare {
                assignment.columns[index].is_some()
            } else {
                assignment.columns.contains(&Some(index))
            };
            assert!(*price <= scale && (chosen || price.abs() <= scale), "{index}: {price}");
        }
    }
}

fn small_costs() -> impl Strategy<Value = Costs> {
    let cost = prop_oneof![
        4 => (-20_i32..20).prop_map(f64::from),   // with ties
        2 => -10.0..10.0_f64,
        1 => Just(f64::INFINITY),
    ];
    (0_usize..=7, 0_usize..=7).prop_flat_map(move |(rows, columns)| {
        proptest::collection::vec(cost.clone(), rows * columns)
            .prop_map(move |values| Costs::new(rows, columns, values).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_cheaper(costs in small_costs()) {
        let assignment = assign(&costs);
        check(&costs, &assignment);
        let (most, least) = brute_force(&costs, 0, &mut vec![false; costs.columns()]);
        prop_assert_eq!(pairs(&assignment), most);
        prop_assert!((assignment.cost - least).abs() < 1e-9, "{} instead of {}", assignment.cost, least);
    }
}

fn squared_distances(seed: u64, rows: usize, columns: usize) -> Costs {
    let mut dice = Dice::new(seed);
    let mut places = |count| -> Vec<Vector2<f64>> {
        (0..count).map(|_| Vector2::new(dice.within(0.0, 100.0), dice.within(0.0, 100.0))).collect()
    };
    let (robots, slots) = (places(rows), places(columns));
    Costs::from_fn(rows, columns, |row, column| (robots[row] - slots[column]).norm_squared()).unwrap()
}

#[test]
fn large_assignments_prove_themselves() {
    for (rows, columns) in [(1, 1), (9, 9), (100, 100), (301, 301), (1000, 1000), (300, 517), (517, 300)] {
        let costs = squared_distances(rows as u64, rows, columns);
        let assignment = assign(&costs);
        check(&costs, &assignment);
        assert_eq!(pairs(&assignment), rows.min(columns));
        check_proof(&costs, &assignment);
    }
    // Few different costs, so that there are ties everywhere.
    let mut dice = Dice::new(3);
    let values = (0..400 * 400).map(|_| dice.within(0.0, 5.0).floor()).collect();
    let costs = Costs::new(400, 400, values).unwrap();
    check_proof(&costs, &assign(&costs));
    let equal = Costs::new(200, 200, vec![7.0; 200 * 200]).unwrap();
    check_proof(&equal, &assign(&equal));
}

#[test]
fn rows_that_cannot_be_served_are_left_out_and_no_more_than_those() {
    // Of 200 rows 50 want one of ten columns only.
    let mut dice = Dice::new(6);
    let mut values: Vec<f64> = (0..200 * 200).map(|_| dice.within(0.0, 9.0)).collect();
    for row in 0..50 {
        values[row * 200 + 10..(row + 1) * 200].fill(f64::INFINITY);
    }
    let costs = Costs::new(200, 200, values).unwrap();
    let assignment = assign(&costs);
    check(&costs, &assignment);
    assert_eq!(pairs(&assignment), 160);
    assert_eq!(assignment.columns[..50].iter().flatten().count(), 10);
}

#[test]
fn what_are_no_costs_is_refused() {
    assert!(matches!(Costs::new(2, 2, vec![0.0; 3]), Err(CostsError::Shape { values: 3, .. })));
    let value = |value: f64| Costs::new(1, 2, vec![0.0, value]).unwrap_err();
    assert!(matches!(value(f64::NAN), CostsError::Value { row: 0, column: 1, .. }));
    assert!(matches!(value(f64::NEG_INFINITY), CostsError::Value { .. }));
    assert!(matches!(value(1e13), CostsError::Value { .. }));
    assert!(matches!(Costs::from_fn(1 << 20, 1 << 20, |_, _| 0.0), Err(CostsError::TooMany { .. })));
    assert!(matches!(Costs::new(usize::MAX, 2, Vec::new()), Err(CostsError::TooMany { .. })));
    let empty = assign(&Costs::new(0, 3, Vec::new()).unwrap());
    assert!(empty.columns.is_empty() && empty.cost == 0.0);
    assert_eq!(assign(&Costs::new(2, 0, Vec::new()).unwrap()).columns, [None, None]);
}
