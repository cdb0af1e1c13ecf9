//! All tasks together, at the least cost: a transportation problem, as an assignment of tasks to the robots' free slots.

use super::problem::{Place, Plan, Problem};
use crate::assignment::{Costs, assign};

pub(super) fn solve(problem: &Problem<'_>) -> Plan {
    let slots: Vec<(usize, usize)> = problem
        .robots
        .iter()
        .enumerate()
        .flat_map(|(number, robot)| (0..robot.free()).map(move |slot| (number, slot)))
        .collect();
    // A column for each slot, and one for each task that nobody may get.
    let (rows, columns) = (problem.jobs.len(), slots.len() + problem.jobs.len());
    let mut costs = Vec::with_capacity(rows * columns);
    for job in &problem.jobs {
        for (robot, slot) in &slots {
            costs.push(problem.robots.get(*robot).map_or(f64::INFINITY, |robot| problem.cost(job, robot, *slot)));
        }
        costs.extend(std::iter::repeat_n(problem.unplaced(job), rows));
    }
    // Bounded and finite as the problem is, costs are never refused; were they, nobody would be given anything.
    let Ok(costs) = Costs::new(rows, columns, costs) else { return problem.plan(Vec::new(), None) };
    let assignment = assign(&costs);
    let bound = assignment.row_prices.iter().chain(&assignment.column_prices).sum();
    let place = |(job, column): (usize, &Option<usize>)| {
        let (robot, slot) = *slots.get((*column)?)?;
        Some(Place { job, robot, slot })
    };
    let placed = assignment.columns.iter().enumerate().filter_map(place).collect();
    problem.plan(placed, Some(bound))
}
