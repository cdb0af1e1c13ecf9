//! All tasks together, at the least cost: a transportation problem, as an assignment of tasks to the robots' free slots.

use super::matching::assign;
use super::problem::{Place, Plan, Problem};

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
    let assignment = assign(rows, columns, &costs);
    let place = |(job, column): (usize, &Option<usize>)| {
        let (robot, slot) = *slots.get((*column)?)?;
        Some(Place { job, robot, slot })
    };
    let placed = assignment.columns.iter().enumerate().filter_map(place).collect();
    problem.plan(placed, Some(assignment.bound))
}
