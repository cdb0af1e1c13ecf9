//! Who does what.
//!
//! The objective, which every strategy is judged by, is a sum of seconds. A task t given to robot r as the k-th of those that it gets
//! now, k from 0, costs
//!
//! ```text
//! w(t) · (travel(r, t) + (held(r) + k) · work + 60 · load(r) + spare(r, t) + 1000 where others are preferred)
//! ```
//!
//! and one that is given to nobody `w(t) · 100000`. `w` is 16, 8, 4, 2, 1 from critical to background, a deadline within 300 s raising
//! it by one step; `travel` is the straight way at the swarm's speed, at most 600 s; `work` the mean duration estimate of the tasks
//! looked at, at most an hour, 60 s where none has one; `spare` counts the capabilities of r that t does not ask for, so that specialists
//! stay free. A robot that lacks a capability, is excluded, or would hold more than five tasks gets none. Costs depend on a task and a
//! robot's place alone, so that the optimum is a transportation problem: [`Strategy::Optimal`] solves it exactly, and proves it.

pub mod cbba;
mod greedy;
mod optimal;
mod problem;

use std::str::FromStr;

use thiserror::Error;

pub use problem::{Job, Place, Plan, Problem, Robot};

/// How tasks are given to robots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// In the order of submission, to one able robot after the other.
    RoundRobin,
    /// In the order of submission, to the able robot that has least to do.
    LeastLoaded,
    /// The most urgent first, to the able robot that can do least else.
    #[default]
    CapabilityBased,
    /// The most urgent first, to the robot that costs least.
    PriorityFirst,
    /// The nearest deadline first, to the robot that costs least.
    DeadlineFirst,
    /// All together, at the least cost.
    Optimal,
}

impl Strategy {
    /// Their names, as parameters have them.
    pub const NAMES: [&'static str; 6] =
        ["round_robin", "least_loaded", "capability_based", "priority_first", "deadline_first", "optimal"];
}

/// There is no such strategy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no strategy '{0}': it is one of {names}", names = Strategy::NAMES.join(", "))]
pub struct NoStrategy(String);

impl FromStr for Strategy {
    type Err = NoStrategy;

    fn from_str(name: &str) -> Result<Strategy, NoStrategy> {
        Ok(match name {
            "round_robin" => Strategy::RoundRobin,
            "least_loaded" => Strategy::LeastLoaded,
            "capability_based" => Strategy::CapabilityBased,
            "priority_first" => Strategy::PriorityFirst,
            "deadline_first" => Strategy::DeadlineFirst,
            "optimal" => Strategy::Optimal,
            other => return Err(NoStrategy(other.to_owned())),
        })
    }
}

/// Gives tasks to robots. `turn` is whose turn it is in a round robin, and is moved on.
///
/// ```
/// use std::collections::BTreeSet;
/// use ecps_core::clock::Stamp;
/// use ecps_swarm::allocation::{Problem, Robot, Strategy, allocate};
/// use ecps_swarm::tasks::{Location, Task};
///
/// let robot = |id: &str, x| Robot {
///     id: id.to_owned(),
///     epoch: 1,
///     capabilities: BTreeSet::new(),
///     position: Some(Location::at(x, 0.0).position()),
///     held: 0,
///     load: 0.0,
/// };
/// let task = Task { id: "fetch".to_owned(), location: Some(Location::at(9.0, 0.0)), ..Task::default() };
/// let problem = Problem::new(vec![robot("robot1", 0.0), robot("robot2", 10.0)], [(1, &task)], 1.0, Stamp(0));
/// let plan = allocate(&problem, Strategy::Optimal, &mut 0);
/// assert_eq!(plan.placed[0].robot, 1, "the nearer one");
/// ```
pub fn allocate(problem: &Problem<'_>, strategy: Strategy, turn: &mut usize) -> Plan {
    match strategy {
        Strategy::Optimal => optimal::solve(problem),
        greedy => greedy::solve(problem, greedy, turn),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ecps_core::clock::Stamp;
    use proptest::prelude::{ProptestConfig, Strategy as Samples, any};
    use proptest::test_runner::TestCaseError;
    use proptest::{prop_assert, proptest};

    use super::cbba::Bidder;
    use super::{Plan, Problem, Robot, Strategy, allocate};
    use crate::tasks::{Location, Priority, Task};

    fn robot(id: usize, x: f64, capabilities: &[&str]) -> Robot {
        Robot {
            id: format!("r{id}"),
            epoch: 1,
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(),
            position: Some(Location::at(x, 0.0).position()),
            held: 0,
            load: 0.0,
        }
    }

    fn task(id: usize, x: f64, priority: Priority, required: &[&str]) -> Task {
        Task {
            id: format!("t{id}"),
            priority: priority.into(),
            location: Some(Location::at(x, 0.0)),
            required_capabilities: required.iter().map(|&name| name.to_owned()).collect(),
            ..Task::default()
        }
    }

    fn problem<'a>(robots: &[Robot], tasks: &'a [Task]) -> Problem<'a> {
        let tasks = tasks.iter().enumerate().map(|(number, task)| (number as u64, task));
        Problem::new(robots.to_vec(), tasks, 1.0, Stamp(0))
    }

    /// Who gets each task, by the tasks' numbers.
    fn who(robots: &[Robot], tasks: &[Task], strategy: Strategy) -> Vec<Option<usize>> {
        let problem = problem(robots, tasks);
        let plan = allocate(&problem, strategy, &mut 0);
        let of = |number: usize| {
            let job = problem.jobs.iter().position(|job| job.number == number as u64)?;
            plan.placed.iter().find(|place| place.job == job).map(|place| place.robot)
        };
        (0..tasks.len()).map(of).collect()
    }

    use Priority::{Background, Critical, Normal};

    #[test]
    fn each_strategy_does_what_it_is_named_after() {
        let robots =
            [robot(0, 0.0, &["lift", "see"]), robot(1, 10.0, &["see"]), robot(2, 20.0, &["see", "lift", "weld"])];
        let tasks: Vec<Task> = (0..4).map(|id| task(id, 20.0, Normal, &["see"])).collect();
        assert_eq!(who(&robots, &tasks, Strategy::RoundRobin), [Some(0), Some(1), Some(2), Some(0)]);
        let busy = [Robot { held: 3, ..robots[0].clone() }, robots[1].clone(), Robot { held: 1, ..robots[2].clone() }];
        assert_eq!(who(&busy, &tasks, Strategy::LeastLoaded), [Some(1), Some(1), Some(2), Some(1)]);
        // The one that can do nothing else takes it, although it is farther away.
        assert_eq!(who(&robots, &tasks[..1], Strategy::CapabilityBased), [Some(1)]);
        assert_eq!(who(&robots, &tasks[..1], Strategy::PriorityFirst), [Some(2)]);
        // One place left: who gets it?
        let last = [Robot { held: 4, ..robot(0, 0.0, &[]) }];
        let mut tasks = [task(0, 0.0, Background, &[]), task(1, 0.0, Critical, &[]), task(2, 0.0, Normal, &[])];
        assert_eq!(who(&last, &tasks, Strategy::RoundRobin), [Some(0), None, None]);
        assert_eq!(who(&last, &tasks, Strategy::PriorityFirst), [None, Some(0), None]);
        tasks[2].deadline = 900_000_000_000;
        assert_eq!(who(&last, &tasks, Strategy::DeadlineFirst), [None, None, Some(0)]);
        assert_eq!(who(&last, &tasks, Strategy::Optimal), [None, Some(0), None]);
    }

    #[test]
    fn preferred_agents_are_chosen_where_they_can_and_excluded_ones_never() {
        let robots = [robot(0, 0.0, &[]), Robot { held: 4, ..robot(1, 500.0, &[]) }];
        let near = Task { preferred_agents: vec!["r1".to_owned()], ..task(0, 0.0, Normal, &[]) };
        let also = Task { id: "also".to_owned(), ..near.clone() };
        let not = Task { excluded_agents: vec!["r0".to_owned(), "r1".to_owned()], ..task(2, 0.0, Normal, &[]) };
        for name in Strategy::NAMES {
            let strategy = name.parse().unwrap();
            let who = who(&robots, &[near.clone(), also.clone(), not.clone()], strategy);
            assert_eq!(who, [Some(1), Some(0), None], "{name}: the second place at r1 is none");
        }
    }

    #[test]
    fn who_gets_nothing_is_told_why() {
        let tasks = [task(0, 0.0, Normal, &["fly"]), task(1, 0.0, Normal, &["a", "b"]), task(2, 0.0, Normal, &["a"])];
        let mut robots = vec![robot(0, 0.0, &["a"]), robot(1, 0.0, &["b"])];
        robots[0].held = 5;
        let excluded = Task { excluded_agents: vec!["r1".to_owned()], ..task(3, 0.0, Normal, &["b"]) };
        let of = |task: &Task, robots: &[Robot]| {
            let tasks = [task.clone()];
            let problem = problem(robots, &tasks);
            problem.reason(&problem.jobs[0])
        };
        assert_eq!(of(&tasks[0], &robots), "no agent is capable of 'fly'");
        assert_eq!(of(&tasks[1], &robots), "no agent is capable of all of a, b");
        assert_eq!(of(&tasks[2], &robots), "all 1 agents that could do it have as many tasks as they may, 5");
        assert_eq!(of(&excluded, &robots), "all 1 agents that are capable of it are excluded");
        assert_eq!(of(&tasks[0], &[]), "no agent is there that could be given anything");
    }

    const NAMES: [&str; 3] = ["see", "lift", "weld"];

    fn some_names() -> impl Samples<Value = Vec<&'static str>> {
        proptest::sample::subsequence(NAMES.to_vec(), 0..=3)
    }

    fn scenes(most: usize) -> impl Samples<Value = (Vec<Robot>, Vec<Task>)> {
        let robots = proptest::collection::vec((-50.0..50.0, some_names(), 0_usize..6, 0.0..1.0), 1..=most);
        let tasks = proptest::collection::vec((-50.0..50.0, some_names(), 1..=5), 1..=most);
        (robots, tasks).prop_map(|(robots, tasks)| {
            let robot = |(id, (x, names, held, load)): (usize, (f64, Vec<&str>, usize, f64))| Robot {
                held,
                load,
                ..robot(id, x, &names)
            };
            let task = |(id, (x, names, priority)): (usize, (f64, Vec<&str>, i32))| {
                task(id, x, Priority::try_from(priority).unwrap(), &names)
            };
            (robots.into_iter().enumerate().map(robot).collect(), tasks.into_iter().enumerate().map(task).collect())
        })
    }

    /// The least objective by trying everything, with a robot's tasks in every order.
    fn least(problem: &Problem<'_>, job: usize, given: &mut Vec<(usize, usize)>) -> f64 {
        let Some(next) = problem.jobs.get(job) else { return 0.0 };
        let mut best = problem.unplaced(next) + least(problem, job + 1, given);
        for (number, robot) in problem.robots.iter().enumerate() {
            for slot in 0..robot.free() {
                let cost = problem.cost(next, robot, slot);
                if cost.is_finite() && !given.contains(&(number, slot)) {
                    given.push((number, slot));
                    best = best.min(cost + least(problem, job + 1, given));
                    given.pop();
                }
            }
        }
        best
    }

    fn is_lawful(problem: &Problem<'_>, plan: &Plan) -> Result<(), TestCaseError> {
        let mut jobs = BTreeSet::new();
        let mut slots = BTreeSet::new();
        for place in &plan.placed {
            let (job, robot) = (&problem.jobs[place.job], &problem.robots[place.robot]);
            prop_assert!(problem.cost(job, robot, place.slot).is_finite());
            prop_assert!(jobs.insert(place.job) && slots.insert((place.robot, place.slot)));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ecps_core::campaign::rounds(64, 2_000)))]

        #[test]
        fn the_optimum_is_what_trying_everything_finds((robots, tasks) in scenes(4)) {
            let problem = problem(&robots, &tasks);
            let plan = allocate(&problem, Strategy::Optimal, &mut 0);
            let least = least(&problem, 0, &mut Vec::new());
            prop_assert!((plan.cost - least).abs() <= 1e-9 * least, "{} and {least}", plan.cost);
            prop_assert!(plan.gap().is_some_and(|gap| gap < 1e-9), "{:?}", plan.gap());
        }

        #[test]
        fn no_strategy_breaks_a_rule_or_beats_the_optimum((robots, tasks) in scenes(40)) {
            let problem = problem(&robots, &tasks);
            let least = allocate(&problem, Strategy::Optimal, &mut 0);
            for name in Strategy::NAMES {
                let plan = allocate(&problem, name.parse().unwrap(), &mut 3);
                is_lawful(&problem, &plan)?;
                prop_assert!(plan.cost >= least.bound.unwrap() - 1e-6 * least.cost, "{name}");
                // Who could still be given something is not left out.
                for (number, job) in problem.jobs.iter().enumerate() {
                    let placed = plan.placed.iter().any(|place| place.job == number);
                    let given = |robot: usize| plan.placed.iter().filter(|place| place.robot == robot).count();
                    let room = problem.able(job).any(|(robot, who)| given(robot) < who.free());
                    prop_assert!(placed || !room, "{name}: {}", job.task.id);
                }
            }
        }

        #[test]
        fn bidders_that_reach_each_other_agree_and_save_half_of_what_can_be_saved(
            (robots, tasks) in scenes(12), links in proptest::collection::vec(any::<(u8, u8)>(), 0..8), parted in any::<bool>()
        ) {
            let problem = problem(&robots, &tasks);
            let count = problem.robots.len();
            // A line, broken in the middle where they are parted, and a few links besides.
            let side = |robot: usize| parted && robot >= count / 2;
            let mut reach: BTreeSet<(usize, usize)> = (1..count).map(|robot| (robot - 1, robot)).collect();
            reach.extend(links.iter().map(|(a, b)| (*a as usize % count, *b as usize % count)));
            reach.retain(|(a, b)| a != b && side(*a) == side(*b));
            let mut bidders: Vec<Bidder> = (0..count).map(|me| Bidder::new(me, &problem)).collect();
            // The paper's bound: each task is settled within the network's diameter of rounds.
            for round in 1..=(tasks.len() * count + 2) as u64 {
                let words: Vec<_> = bidders.iter_mut().map(|bidder| bidder.bid(&problem, round)).collect();
                for (a, b) in &reach {
                    bidders[*a].hear(&words[*b], round);
                    bidders[*b].hear(&words[*a], round);
                }
            }
            for half in [false, true] {
                let members: Vec<usize> = (0..count).filter(|robot| side(*robot) == half).collect();
                let alone = Problem { robots: members.iter().map(|robot| problem.robots[*robot].clone()).collect(), ..problem.clone() };
                let mine: Vec<Bidder> = members.iter().map(|robot| bidders[*robot].clone()).collect();
                let came_to = super::cbba::plan(&problem, &mine);
                is_lawful(&problem, &came_to)?;
                let best = allocate(&alone, Strategy::Optimal, &mut 0);
                let nothing: f64 = problem.jobs.iter().map(|job| problem.unplaced(job)).sum();
                prop_assert!(nothing - came_to.cost >= 0.5 * (nothing - best.cost) - 1e-6);
            }
        }
    }
}
