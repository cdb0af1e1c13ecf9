//! The problem: who is there, what is to be done, and what each pair costs.

use std::collections::BTreeSet;

use ecps_core::clock::Stamp;
use nalgebra::Vector3;

use crate::agents::HELD_TASKS;
use crate::tasks::{Location, Priority, Task};

/// Most tasks that are looked at together: the most urgent ones.
const BATCH: usize = 256;
/// Seconds a full load counts as.
const LOADED: f64 = 60.0;
/// Seconds added where others are preferred.
const NOT_PREFERRED: f64 = 1_000.0;
/// Longest way that counts, seconds.
const LONGEST_WAY: f64 = 600.0;
/// Seconds that a task takes of which nobody said it.
const USUAL_WORK: f64 = 60.0;
/// Seconds that a task counts as which nobody gets.
const UNPLACED: f64 = 100_000.0;

/// A robot that may be given tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Robot {
    /// Its id.
    pub id: String,
    /// Its epoch.
    pub epoch: u64,
    /// What it can do.
    pub capabilities: BTreeSet<String>,
    /// Where it is, metres; none where it does not know: then every way counts as the longest.
    pub position: Option<Vector3<f64>>,
    /// How many tasks it has already.
    pub held: usize,
    /// 0 to 1.
    pub load: f64,
}

impl Robot {
    /// How many tasks it may be given.
    pub fn free(&self) -> usize {
        HELD_TASKS.saturating_sub(self.held)
    }
}

/// A task that waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job<'a> {
    /// What is to be done.
    pub task: &'a Task,
    /// In the order of submission.
    pub number: u64,
    /// With what its deadline adds.
    pub urgency: Priority,
}

impl Job<'_> {
    /// The objective's `w`.
    pub(super) fn weight(&self) -> f64 {
        match self.urgency {
            Priority::Critical => 16.0,
            Priority::High => 8.0,
            Priority::Normal | Priority::Unset => 4.0,
            Priority::Low => 2.0,
            Priority::Background => 1.0,
        }
    }

    /// The nearest first, those without last.
    pub(super) fn deadline(&self) -> i64 {
        if self.task.deadline == 0 { i64::MAX } else { self.task.deadline }
    }
}

/// A task at its robot, both as places in the problem's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which task.
    pub job: usize,
    /// Which robot.
    pub robot: usize,
    /// As which of those that it gets.
    pub slot: usize,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who does what, each robot's in the order of its slots.
    pub placed: Vec<Place>,
    /// The objective.
    pub cost: f64,
    /// What the objective cannot be less than, where that was proved.
    pub bound: Option<f64>,
}

impl Plan {
    /// How far the objective may be above the least, as a part of it; none where that is not known.
    pub fn gap(&self) -> Option<f64> {
        Some(((self.cost - self.bound?) / self.cost.abs().max(1e-9)).max(0.0))
    }
}

/// Robots and tasks, and what each pair costs.
#[derive(Debug, Clone)]
pub struct Problem<'a> {
    /// By id.
    pub robots: Vec<Robot>,
    /// The most urgent first.
    pub jobs: Vec<Job<'a>>,
    /// m/s.
    pub(super) speed: f64,
    /// The objective's `work`, seconds.
    pub(super) work: f64,
}

impl<'a> Problem<'a> {
    /// Of the tasks, which come with the number of their submission, the most urgent at `now` are looked at.
    pub fn new(
        mut robots: Vec<Robot>,
        tasks: impl IntoIterator<Item = (u64, &'a Task)>,
        speed: f64,
        now: Stamp,
    ) -> Problem<'a> {
        robots.sort_by(|one, other| one.id.cmp(&other.id));
        let job = |(number, task): (u64, &'a Task)| Job { task, number, urgency: task.urgency(now) };
        let mut jobs: Vec<Job<'a>> = tasks.into_iter().map(job).collect();
        jobs.sort_by_key(|job| (job.urgency, job.deadline(), job.number));
        jobs.truncate(BATCH);
        let known: Vec<f64> = jobs.iter().map(|job| job.task.duration_estimate).filter(|work| *work > 0.0).collect();
        let work = if known.is_empty() { USUAL_WORK } else { known.iter().sum::<f64>() / known.len() as f64 };
        Problem { robots, jobs, speed: speed.max(1e-3), work: work.min(3_600.0) }
    }

    /// Whether the robot may do the task at all.
    pub fn is_able(&self, job: &Job<'_>, robot: &Robot) -> bool {
        let task = job.task;
        robot.free() > 0
            && task.required_capabilities.iter().all(|needed| robot.capabilities.contains(needed))
            && !task.excluded_agents.contains(&robot.id)
    }

    /// What the task costs as number `slot` of those that the robot gets; infinite where it must not.
    pub fn cost(&self, job: &Job<'_>, robot: &Robot, slot: usize) -> f64 {
        if slot >= robot.free() || !self.is_able(job, robot) {
            return f64::INFINITY;
        }
        let task = job.task;
        let way = |to: Location| {
            let way = robot.position.map(|from| (to.position() - from).norm() / self.speed);
            way.map_or(LONGEST_WAY, |way| way.min(LONGEST_WAY))
        };
        let travel = task.location.map_or(0.0, way);
        let needed: BTreeSet<&String> = task.required_capabilities.iter().collect();
        let spare = robot.capabilities.len() - needed.len();
        let others = !task.preferred_agents.is_empty() && !task.preferred_agents.contains(&robot.id);
        job.weight()
            * (travel
                + (robot.held + slot) as f64 * self.work
                + LOADED * robot.load
                + spare as f64
                + if others { NOT_PREFERRED } else { 0.0 })
    }

    /// What it costs to give the task to nobody.
    pub fn unplaced(&self, job: &Job<'_>) -> f64 {
        job.weight() * UNPLACED
    }

    /// A plan, with what it costs.
    pub(super) fn plan(&self, mut placed: Vec<Place>, bound: Option<f64>) -> Plan {
        placed.sort_by_key(|place| (place.robot, place.slot));
        let mut cost: f64 = self.jobs.iter().map(|job| self.unplaced(job)).sum();
        for place in &placed {
            if let (Some(job), Some(robot)) = (self.jobs.get(place.job), self.robots.get(place.robot)) {
                cost += self.cost(job, robot, place.slot) - self.unplaced(job);
            }
        }
        Plan { placed, cost, bound }
    }

    /// Why nobody got a task, although these robots are there.
    pub fn reason(&self, job: &Job<'_>) -> String {
        let task = job.task;
        if self.robots.is_empty() {
            return "no agent is there that could be given anything".to_owned();
        }
        let lacking = |needed: &&String| !self.robots.iter().any(|robot| robot.capabilities.contains(*needed));
        if let Some(missing) = task.required_capabilities.iter().find(lacking) {
            return format!("no agent is capable of '{missing}'");
        }
        let capable = |robot: &&Robot| task.required_capabilities.iter().all(|c| robot.capabilities.contains(c));
        let capable: Vec<&Robot> = self.robots.iter().filter(capable).collect();
        if capable.is_empty() {
            return format!("no agent is capable of all of {}", task.required_capabilities.join(", "));
        }
        let allowed = capable.iter().filter(|robot| !task.excluded_agents.contains(&robot.id)).count();
        if allowed == 0 {
            return format!("all {} agents that are capable of it are excluded", capable.len());
        }
        format!("all {allowed} agents that could do it have as many tasks as they may, {HELD_TASKS}")
    }

    /// Able robots with the number that each has in the list.
    pub(super) fn able<'b>(&'b self, job: &'b Job<'_>) -> impl Iterator<Item = (usize, &'b Robot)> {
        self.robots.iter().enumerate().filter(|(_, robot)| self.is_able(job, robot))
    }

    /// The jobs' places, the earliest submission first.
    pub(super) fn by_number(&self) -> Vec<usize> {
        let mut order: Vec<(u64, usize)> = self.jobs.iter().enumerate().map(|(i, job)| (job.number, i)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, place)| place).collect()
    }

    /// The jobs' places, the nearest deadline first and then the most urgent.
    pub(super) fn by_deadline(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.jobs.len()).collect();
        order.sort_by_key(|place| self.jobs.get(*place).map(|job| (job.deadline(), job.urgency, job.number)));
        order
    }
}
