//! What a robot does with the tasks that it is awarded.
//!
//! It begins a task only once the log took its claim, and works on only while a quorum has confirmed lately that the task is
//! still its own. A leader that takes a task back gives it to nobody else until that time is over ([`crate::dispatch::GRACE`]),
//! so that no two robots ever work on one task, whichever of them is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Steady;

use super::command::Outcome;
use super::queue::Entry;
use super::task::{State, Task};

/// How long a confirmation lets a robot work on, from the moment it was asked for.
pub const HOLD: Duration = Duration::from_millis(200);

/// A task of this agent's, as the queue has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mine {
    /// What is to be done.
    pub task: Task,
    /// The award's number.
    pub award: u64,
    /// Whether the log has our claim.
    pub claimed: bool,
}

impl From<Entry> for Mine {
    fn from(entry: Entry) -> Mine {
        Mine { task: entry.task, award: entry.award, claimed: entry.state == State::Running }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    /// Report it running, then tell [`Worker::claimed`].
    Claim(String, u64),
    /// Carry it out, then tell [`Worker::ended`].
    Begin(Box<Task>, u64),
    /// Stop carrying it out.
    Stop(String, u64),
    /// Report this, then tell [`Worker::reported`].
    Report(String, u64, Outcome, Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Waits,
    Claiming,
    /// Claimed, and not under way.
    Ready,
    Runs,
    /// Not reported yet; whether a report is under way.
    Ended(Outcome, Vec<u8>, bool),
}

#[derive(Debug)]
struct Held {
    task: Task,
    step: Step,
}

/// The tasks of one robot, which does one at a time, in the order of their awards.
#[derive(Debug, Default)]
pub struct Worker {
    /// By the number of the award.
    held: BTreeMap<u64, Held>,
    confirmed: Option<Steady>,
    /// Awards that ended here, and when that was answered: an older look at the queue still shows them.
    over: BTreeMap<u64, Steady>,
}

impl Worker {
    /// A look at the queue, of a quorum's and begun at `asked`, shows these as ours.
    pub fn see(&mut self, mine: Vec<Mine>, asked: Steady, now: Steady) -> Vec<Do> {
        if self.confirmed.is_some_and(|confirmed| asked < confirmed) {
            return Vec::new();
        }
        self.confirmed = Some(asked);
        self.over.retain(|award, answered| *answered >= asked || mine.iter().any(|mine| mine.award == *award));
        let mut todo = Vec::new();
        self.held.retain(|award, held| {
            let keep = mine.iter().any(|mine| mine.award == *award) || matches!(held.step, Step::Ended(..));
            if !keep && held.step == Step::Runs {
                todo.push(Do::Stop(held.task.id.clone(), *award));
            }
            keep
        });
        for Mine { task, award, claimed } in mine {
            if self.over.contains_key(&award) {
                continue;
            }
            let held = self.held.entry(award).or_insert(Held { task, step: Step::Waits });
            if claimed && matches!(held.step, Step::Waits | Step::Claiming) {
                held.step = Step::Ready;
            }
        }
        todo.extend(self.go_on(now));
        todo
    }

    /// Time passed.
    pub fn tick(&mut self, now: Steady) -> Vec<Do> {
        let mut todo = Vec::new();
        let fresh = self.is_confirmed(now);
        for (award, held) in &mut self.held {
            match &mut held.step {
                Step::Runs if !fresh => {
                    held.step = Step::Ready;
                    todo.push(Do::Stop(held.task.id.clone(), *award));
                }
                Step::Ended(outcome, result, asked @ false) => {
                    *asked = true;
                    todo.push(Do::Report(held.task.id.clone(), *award, *outcome, result.clone()));
                }
                _ => {}
            }
        }
        todo.extend(self.go_on(now));
        todo
    }

    /// What came of a claim that was sent at `asked`; none: not known.
    pub fn claimed(&mut self, award: u64, accepted: Option<bool>, asked: Steady, now: Steady) -> Vec<Do> {
        match (self.held.get_mut(&award), accepted) {
            (Some(held), Some(true)) if held.step == Step::Claiming => {
                held.step = Step::Ready;
                self.confirmed = self.confirmed.max(Some(asked));
            }
            (Some(held), None) if held.step == Step::Claiming => held.step = Step::Waits,
            (Some(held), Some(false)) if held.step == Step::Claiming => drop(self.held.remove(&award)),
            _ => {}
        }
        self.go_on(now).into_iter().collect()
    }

    /// It was carried out, or cannot be. What was stopped does not end.
    pub fn ended(&mut self, award: u64, outcome: Outcome, result: Vec<u8>, now: Steady) -> Vec<Do> {
        if let Some(held) = self.held.get_mut(&award)
            && held.step == Step::Runs
        {
            held.step = Step::Ended(outcome, result, false);
        }
        self.tick(now)
    }

    /// What came of a report: answered, whichever way, or not known.
    pub fn reported(&mut self, award: u64, answered: bool, now: Steady) -> Vec<Do> {
        if answered {
            self.held.remove(&award);
            self.over.insert(award, now);
        } else if let Some(Held { step: Step::Ended(_, _, asked), .. }) = self.held.get_mut(&award) {
            *asked = false;
        }
        self.go_on(now).into_iter().collect()
    }

    /// Ids of what it holds.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.held.values().map(|held| held.task.id.as_str())
    }

    /// Whether a quorum has confirmed lately what is ours.
    pub fn is_confirmed(&self, now: Steady) -> bool {
        self.confirmed.is_some_and(|confirmed| now.since(confirmed) <= HOLD)
    }

    fn go_on(&mut self, now: Steady) -> Option<Do> {
        let busy = self.held.values().any(|held| matches!(held.step, Step::Runs | Step::Claiming));
        if busy || !self.is_confirmed(now) {
            return None;
        }
        if let Some((award, held)) = self.held.iter_mut().find(|(_, held)| held.step == Step::Ready) {
            held.step = Step::Runs;
            return Some(Do::Begin(Box::new(held.task.clone()), *award));
        }
        let (award, held) = self.held.iter_mut().find(|(_, held)| held.step == Step::Waits)?;
        held.step = Step::Claiming;
        Some(Do::Claim(held.task.id.clone(), *award))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn task(id: &str) -> Task {
        Task { id: id.to_owned(), ..Task::default() }
    }

    fn mine(id: &str, award: u64, claimed: bool) -> Mine {
        Mine { task: task(id), award, claimed }
    }

    #[test]
    fn a_task_is_begun_when_the_log_took_the_claim_and_the_next_one_after_it() {
        let mut worker = Worker::default();
        let both = || vec![mine("b", 8, false), mine("a", 7, false)];
        assert_eq!(worker.see(both(), at(0), at(10)), [Do::Claim("a".into(), 7)]);
        assert_eq!(worker.claimed(7, Some(true), at(10), at(20)), [Do::Begin(Box::new(task("a")), 7)]);
        assert_eq!(worker.see(both(), at(100), at(110)), [], "one at a time");
        let ended = worker.ended(7, Outcome::Completed, b"x".to_vec(), at(120));
        assert_eq!(ended, [Do::Report("a".into(), 7, Outcome::Completed, b"x".to_vec()), Do::Claim("b".into(), 8)]);
        assert_eq!(worker.reported(7, true, at(130)), []);
        // A look that was on its way meanwhile shows it as ours once more.
        assert_eq!(worker.see(vec![mine("a", 7, true), mine("b", 8, false)], at(125), at(140)), []);
        assert_eq!(worker.tasks().collect::<Vec<_>>(), ["b"]);
        assert_eq!(worker.claimed(8, Some(false), at(120), at(150)), [], "another one has it by now");
        assert_eq!(worker.tasks().count(), 0);
    }

    #[test]
    fn who_is_cut_off_stops_within_the_hold_and_goes_on_once_it_is_confirmed() {
        let mut worker = Worker::default();
        worker.see(vec![mine("a", 7, false)], at(0), at(5));
        worker.claimed(7, Some(true), at(10), at(20));
        assert_eq!(worker.tick(at(210)), [], "confirmed at 10, by the claim");
        assert_eq!(worker.tick(at(211)), [Do::Stop("a".into(), 7)]);
        assert_eq!(worker.tick(at(900)), []);
        assert_eq!(worker.see(vec![mine("a", 7, true)], at(900), at(950)), [Do::Begin(Box::new(task("a")), 7)]);
        assert_eq!(worker.see(Vec::new(), at(1_000), at(1_010)), [Do::Stop("a".into(), 7)], "taken away");
    }

    #[test]
    fn an_answer_that_took_too_long_confirms_nothing() {
        let mut worker = Worker::default();
        assert_eq!(worker.see(vec![mine("a", 7, true)], at(0), at(201)), []);
        assert_eq!(worker.see(vec![mine("a", 7, true)], at(300), at(320)), [Do::Begin(Box::new(task("a")), 7)]);
    }

    #[test]
    fn a_report_without_answer_is_sent_again_and_a_claim_too() {
        let mut worker = Worker::default();
        worker.see(vec![mine("a", 7, false)], at(0), at(1));
        assert_eq!(worker.claimed(7, None, at(1), at(2)), [Do::Claim("a".into(), 7)]);
        worker.claimed(7, Some(true), at(2), at(3));
        worker.ended(7, Outcome::Failed, Vec::new(), at(4));
        assert_eq!(worker.tick(at(5)), [], "it is under way");
        worker.reported(7, false, at(6));
        // Also where the task is not ours any more: only the queue can say whether it still counts.
        worker.see(Vec::new(), at(7), at(8));
        assert_eq!(worker.tick(at(9)), [Do::Report("a".into(), 7, Outcome::Failed, Vec::new())]);
    }
}
