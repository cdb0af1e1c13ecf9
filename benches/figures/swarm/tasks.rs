//! Allocations beside SciPy's `milp`, and awards through the queue's state machine.

use std::time::Instant;

use ecps_consensus::application::Application as _;
use ecps_core::clock::{Stamp, Steady};
use ecps_swarm::agents::{Agent, Bounds, Registry};
use ecps_swarm::allocation::{Problem, Robot, Strategy, allocate};
use ecps_swarm::dispatch::Dispatcher;
use ecps_swarm::motion::scene::Dice;
use ecps_swarm::tasks::{self, Command, Location, Outcome, Priority, Report, State, Task, Tasks, What};
use rusqlite::Connection;

use super::scipy::SciPy;
use crate::support::{Sample, Section};

const TASKS: usize = 100;
const ROBOTS: usize = 50;
const SCENES: u64 = 15;
const CAPABILITIES: [&str; 6] = ["see", "lift", "weld", "fly", "paint", "fetch"];
/// Tasks that go through the queue for the rate.
const SUSTAINED: usize = 4_000;

pub(super) fn measure(section: &mut Section) {
    allocations(section);
    awards(section);
}

fn some(dice: &mut Dice, chance: f64) -> Vec<String> {
    CAPABILITIES.iter().filter(|_| dice.within(0.0, 1.0) < chance).map(|&name| name.to_owned()).collect()
}

fn robots(dice: &mut Dice) -> Vec<Robot> {
    let robot = |number: usize| Robot {
        id: format!("robot{number}"),
        epoch: 1,
        capabilities: some(dice, 0.6).into_iter().collect(),
        position: Some(Location::at(dice.within(0.0, 100.0), dice.within(0.0, 100.0)).position()),
        held: dice.within(0.0, 4.0) as usize,
        load: dice.within(0.0, 1.0),
    };
    (0..ROBOTS).map(robot).collect()
}

fn tasks(dice: &mut Dice) -> Vec<Task> {
    let task = |number: usize| Task {
        id: format!("task{number}"),
        priority: Priority::try_from(dice.within(1.0, 6.0) as i32).unwrap().into(),
        required_capabilities: some(dice, 0.25),
        deadline: if dice.within(0.0, 1.0) < 0.3 { (dice.within(1.0, 900.0) * 1e9) as i64 } else { 0 },
        duration_estimate: dice.within(10.0, 120.0),
        location: Some(Location::at(dice.within(0.0, 100.0), dice.within(0.0, 100.0))),
        ..Task::default()
    };
    (0..TASKS).map(task).collect()
}

fn allocations(section: &mut Section) {
    let mut scipy = SciPy::start("allocation.py");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("costs").to_str().unwrap().to_owned();
    let [mut ours, mut theirs] = std::array::from_fn(|_| Sample::default());
    let (mut gap, mut proved) = (0.0_f64, 0.0_f64);
    let mut greedy = [0.0; 5];
    for seed in 0..SCENES {
        let mut dice = Dice::new(seed);
        let (robots, tasks) = (robots(&mut dice), tasks(&mut dice));
        let start = Instant::now();
        let waiting = tasks.iter().enumerate().map(|(number, task)| (number as u64, task));
        let problem = Problem::new(robots, waiting, 1.0, Stamp(0));
        let plan = allocate(&problem, Strategy::Optimal, &mut 0);
        ours.push(start.elapsed());
        proved = proved.max(plan.gap().unwrap());
        for (excess, name) in greedy.iter_mut().zip(Strategy::NAMES) {
            let cost = allocate(&problem, name.parse().unwrap(), &mut 0).cost;
            *excess += (cost / plan.cost - 1.0) * 100.0 / SCENES as f64;
        }
        let slots: Vec<(usize, usize)> =
            problem.robots.iter().enumerate().flat_map(|(r, robot)| (0..robot.free()).map(move |s| (r, s))).collect();
        let mut bytes = Vec::new();
        for job in &problem.jobs {
            let at = |(robot, slot): &(usize, usize)| problem.cost(job, &problem.robots[*robot], *slot);
            let row = slots.iter().map(at).chain([problem.unplaced(job)]);
            row.for_each(|cost| bytes.extend(cost.to_le_bytes()));
        }
        std::fs::write(&file, bytes).unwrap();
        let order = format!("{file} {TASKS} {}", slots.len());
        if let Some((least, took)) = scipy.as_mut().and_then(|scipy| scipy.solve(&order)) {
            theirs.push(took);
            gap = gap.max(plan.cost / least - 1.0);
        } else {
            gap = f64::NAN;
        }
    }
    section.group();
    section.row(format!("{TASKS} tasks at {ROBOTS} robots: the optimum"), &ours);
    section.row("SciPy's milp, the same costs", &theirs);
    section.goal(&format!("{TASKS} tasks × {ROBOTS} robots, p99"), ours.p99(), 100.0, " ms");
    section.goal("cost above SciPy's least, at most", gap * 100.0, 1.0, " %");
    section.note(format!("gap that the optimum proves of itself: at most {proved:.1e}"));
    let above: Vec<String> =
        greedy.iter().zip(Strategy::NAMES).map(|(excess, name)| format!("{name} {excess:.1} %")).collect();
    section.note(format!("cost above the optimum, mean: {}", above.join(", ")));
}

/// From submission to report: what the leader decides, and the state machine on a database as a member has it.
fn awards(section: &mut Section) {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("state.db")).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database.pragma_update(None, "synchronous", "normal").unwrap();
    Tasks.create(&database).unwrap();
    let mut registry = Registry::new(Bounds::default());
    for number in 0..ROBOTS {
        registry.hear(Agent::new(format!("robot{number}"), 1), Steady::default()).unwrap();
    }
    let apply = |what: What| Tasks.apply(&database, 1, Command::new(Stamp(1), what)).unwrap().unwrap();
    let mut dispatcher = Dispatcher::new(1, Strategy::Optimal, 1.0, Steady::default());
    let mut dice = Dice::new(1);
    let (mut submitted, mut done) = (0, 0);
    let start = Instant::now();
    while done < SUSTAINED {
        while submitted < SUSTAINED && submitted < done + 500 {
            let place = Location::at(dice.within(0.0, 100.0), dice.within(0.0, 100.0));
            let task = Task { id: submitted.to_string(), location: Some(place), ..Task::default() };
            apply(What::Submit(task));
            submitted += 1;
        }
        let open = tasks::open(&database).unwrap();
        for what in dispatcher.decide(&open, &registry, Steady::default(), Stamp(1)) {
            apply(what);
        }
        for entry in tasks::open(&database).unwrap().into_iter().filter(|entry| entry.state == State::Awarded) {
            for outcome in [Outcome::Running, Outcome::Completed] {
                let report = Report {
                    task: entry.task.id.clone(),
                    award: entry.award,
                    outcome: outcome.into(),
                    ..Report::default()
                };
                apply(What::Report(report));
            }
            done += 1;
        }
    }
    let rate = SUSTAINED as f64 / start.elapsed().as_secs_f64();
    section.goal("1000 / (awards a second), submission to report, without the log", 1000.0 / rate, 5.0, " ms");
    section.note(format!("{rate:.0} tasks a second submitted, awarded, begun and completed, of {ROBOTS} robots"));
}
