//! One task after the other, each to the robot that the strategy likes best.

use super::Strategy;
use super::problem::{Place, Plan, Problem, Robot};

pub(super) fn solve(problem: &Problem<'_>, strategy: Strategy, turn: &mut usize) -> Plan {
    let order = match strategy {
        Strategy::RoundRobin | Strategy::LeastLoaded => problem.by_number(),
        Strategy::DeadlineFirst => problem.by_deadline(),
        Strategy::CapabilityBased | Strategy::PriorityFirst | Strategy::Optimal => (0..problem.jobs.len()).collect(),
    };
    let mut given = vec![0_usize; problem.robots.len()];
    let mut placed = Vec::new();
    let robots = problem.robots.len();
    for place in order {
        let Some(job) = problem.jobs.get(place) else { continue };
        let slot_of = |robot: usize| given.get(robot).copied().unwrap_or_default();
        let free = |(number, robot): &(usize, &Robot)| slot_of(*number) < robot.free();
        let others =
            |robot: &Robot| !job.task.preferred_agents.is_empty() && !job.task.preferred_agents.contains(&robot.id);
        // Least wins; then the first by id.
        let rank = |(number, robot): &(usize, &Robot)| {
            let slot = slot_of(*number);
            let has = (robot.held + slot) as f64;
            let (first, second) = match strategy {
                Strategy::RoundRobin => (((number + robots - *turn % robots.max(1)) % robots.max(1)) as f64, 0.0),
                Strategy::LeastLoaded => (has + robot.load, 0.0),
                // What it has already counts as much as one capability more: a specialist is not buried.
                Strategy::CapabilityBased => (robot.capabilities.len() as f64 + has, problem.cost(job, robot, slot)),
                _ => (problem.cost(job, robot, slot), 0.0),
            };
            (others(robot), first, second)
        };
        let best = problem.able(job).filter(free).min_by(|one, other| {
            let (one, other) = (rank(one), rank(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)).then(one.2.total_cmp(&other.2))
        });
        let Some((robot, _)) = best else { continue };
        placed.push(Place { job: place, robot, slot: slot_of(robot) });
        if let Some(count) = given.get_mut(robot) {
            *count += 1;
        }
        if strategy == Strategy::RoundRobin {
            *turn = robot + 1;
        }
    }
    problem.plan(placed, None)
}
