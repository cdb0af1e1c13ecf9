//! What the leader does: takes tasks from those that are gone, gives those that wait to somebody, and moves what waits in a long queue.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};

use crate::agents::{Health, Peer, Phase, Registry, Role};
use crate::allocation::{Plan, Problem, Robot, Strategy, allocate};
use crate::tasks::{Award, Decision, Entry, HOLD, Release, State, Task, What, Why, Withdrawal};

/// How long a task that was begun and taken back is given to nobody: longer than its last robot works on unconfirmed, with room for
/// clocks that run apart and for a robot that takes its time to stop.
pub const GRACE: Duration = Duration::from_millis(300);
/// Between two times that all that is not begun is given out anew.
pub const REBALANCE: Duration = Duration::from_secs(30);
/// The same, where a robot has nothing to do while another one has tasks waiting.
const STEAL: Duration = Duration::from_secs(1);
/// Rebalancing has to save that part of the cost.
const WORTH_IT: f64 = 0.1;
/// How long a new leader waits to hear from an agent that holds tasks.
const UNHEARD: Duration = Duration::from_secs(5);
/// Least charge that a robot is given tasks with.
const LOW_BATTERY: f64 = 0.1;
/// Most reasons told at a time.
const REASONS: usize = 128;

const _: () = assert!(GRACE.as_millis() > HOLD.as_millis(), "two robots would work on one task");

/// The leader's decisions during one epoch of its leadership.
#[derive(Debug)]
pub struct Dispatcher {
    epoch: u64,
    strategy: Strategy,
    speed: f64,
    since: Steady,
    rebalanced: Steady,
    /// An agent was lost, so that it is time to rebalance.
    shaken: bool,
    /// When an award that was begun was first seen taken back.
    held_back: BTreeMap<u64, Steady>,
    turn: usize,
    plan: Option<Plan>,
}

impl Dispatcher {
    /// Of the leader of `epoch`, from `now` on. Ways are thought to be gone at `speed`, m/s.
    pub fn new(epoch: u64, strategy: Strategy, speed: f64, now: Steady) -> Dispatcher {
        Dispatcher {
            epoch,
            strategy,
            speed,
            since: now,
            rebalanced: now,
            shaken: false,
            held_back: BTreeMap::new(),
            turn: 0,
            plan: None,
        }
    }

    /// Its leader's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The latest plan.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What is to be put into the log now, given the tasks that are open. `now` is a moment after they were read.
    ///
    /// What it returns has to be in the log before it is asked again; asked with an older queue it only says again what
    /// counts no more.
    pub fn decide(&mut self, open: &[Entry], registry: &Registry, now: Steady, at: Stamp) -> Vec<What> {
        let releases = self.releases(open, registry, now);
        if !releases.is_empty() {
            self.shaken = true;
            return releases.into_iter().map(What::Release).collect();
        }
        let mut decision = self.award(open, registry, now, at);
        if decision.awards.is_empty() && self.is_time(open, registry, now) {
            (self.rebalanced, self.shaken) = (now, false);
            self.rebalance(open, registry, at, &mut decision);
        }
        if decision.is_empty() { Vec::new() } else { vec![What::Decide(decision)] }
    }

    /// Agents that hold tasks and are gone.
    fn releases(&self, open: &[Entry], registry: &Registry, now: Steady) -> Vec<Release> {
        let mut found: BTreeMap<&str, Release> = BTreeMap::new();
        for entry in open.iter().filter(|entry| is_held(entry)) {
            let (id, held_in) = (&entry.agent, entry.agent_epoch);
            let (agent_epoch, reason) = match registry.get(id) {
                Some(peer) if peer.agent.epoch > held_in => {
                    (peer.agent.epoch - 1, format!("agent '{id}' started anew"))
                }
                Some(peer) if peer.agent.epoch == held_in && peer.health == Health::Left => {
                    (held_in, format!("agent '{id}' left"))
                }
                Some(peer) if peer.agent.epoch == held_in && peer.is_gone() => {
                    (held_in, format!("agent '{id}' is lost"))
                }
                None if now.since(self.since) > UNHEARD => (held_in, format!("agent '{id}' is not heard")),
                _ => continue,
            };
            let release = Release { epoch: self.epoch, agent: id.clone(), agent_epoch, reason };
            found.entry(id).or_insert(release);
        }
        found.into_values().collect()
    }

    /// Gives those that wait to somebody, or says why not.
    fn award(&mut self, open: &[Entry], registry: &Registry, now: Steady, at: Stamp) -> Decision {
        let waiting = || open.iter().filter(|entry| entry.state == State::Waiting);
        self.held_back.retain(|award, _| waiting().any(|entry| entry.award == *award));
        let mut decision = Decision { epoch: self.epoch, ..Decision::default() };
        let mut say = |entry: &Entry, reason: String| {
            if entry.reason != reason && decision.reasons.len() < REASONS {
                decision.reasons.push(Why { task: entry.task.id.clone(), reason });
            }
        };
        let mut free: BTreeMap<u64, &Entry> = BTreeMap::new();
        for entry in waiting() {
            if entry.begun && now.since(*self.held_back.entry(entry.award).or_insert(now)) < GRACE {
                continue;
            }
            free.insert(entry.number, entry);
        }
        if free.is_empty() {
            return decision;
        }
        let robots = robots(open, registry, is_held);
        let tasks = free.iter().map(|(number, entry)| (*number, &entry.task));
        let problem = Problem::new(robots, tasks, self.speed, at);
        let plan = allocate(&problem, self.strategy, &mut self.turn);
        for (place, job) in problem.jobs.iter().enumerate() {
            if let Some(entry) = free.get(&job.number)
                && !plan.placed.iter().any(|placed| placed.job == place)
            {
                say(entry, problem.reason(job));
            }
        }
        decision.awards = awards(&problem, &plan).map(|(award, _)| award).collect();
        self.plan = Some(plan);
        decision
    }

    fn is_time(&self, open: &[Entry], registry: &Registry, now: Steady) -> bool {
        let passed = now.since(self.rebalanced);
        if self.shaken || passed >= REBALANCE {
            return true;
        }
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        open.iter().filter(|entry| is_held(entry)).for_each(|entry| *held.entry(&entry.agent).or_default() += 1);
        let idle = || registry.peers().any(|peer| is_fit(peer) && !held.contains_key(peer.agent.id.as_str()));
        passed >= STEAL && held.values().any(|count| *count > 1) && idle()
    }

    /// Gives what is awarded and not begun out anew, where that saves enough.
    fn rebalance(&mut self, open: &[Entry], registry: &Registry, at: Stamp, decision: &mut Decision) {
        let robots = robots(open, registry, |entry| entry.state == State::Running);
        let awarded: BTreeMap<u64, &Entry> =
            open.iter().filter(|entry| entry.state == State::Awarded).map(|entry| (entry.number, entry)).collect();
        let tasks: Vec<(u64, &Task)> = awarded.iter().map(|(number, entry)| (*number, &entry.task)).collect();
        let problem = Problem::new(robots, tasks, self.speed, at);
        let plan = allocate(&problem, Strategy::Optimal, &mut self.turn);
        // As it is now: in the order of their awards.
        let mut queues: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for entry in awarded.values() {
            queues.entry(&entry.agent).or_default().push(entry.award);
        }
        queues.values_mut().for_each(|queue| queue.sort_unstable());
        let cost = |job: &crate::allocation::Job<'_>| {
            let entry = awarded.get(&job.number)?;
            let robot = problem.robots.iter().find(|robot| robot.id == entry.agent)?;
            let slot = queues.get(entry.agent.as_str())?.iter().position(|award| *award == entry.award)?;
            Some(problem.cost(job, robot, slot)).filter(|cost| cost.is_finite())
        };
        let as_it_is: f64 = problem.jobs.iter().map(|job| cost(job).unwrap_or_else(|| problem.unplaced(job))).sum();
        if plan.cost >= (1.0 - WORTH_IT) * as_it_is {
            return;
        }
        for (award, number) in awards(&problem, &plan) {
            if let Some(entry) = awarded.get(&number)
                && entry.agent != award.agent
            {
                decision.withdrawals.push(Withdrawal { task: award.task.clone(), award: entry.award });
                decision.awards.push(award);
            }
        }
        self.plan = Some(plan);
    }
}

fn is_held(entry: &Entry) -> bool {
    matches!(entry.state, State::Awarded | State::Running)
}

/// Whether it may be given tasks.
fn is_fit(peer: &Peer) -> bool {
    let agent = &peer.agent;
    peer.health == Health::Alive
        && agent.role != Role::Observer
        && agent.phase != Phase::Failed
        && agent.battery.is_none_or(|battery| battery >= LOW_BATTERY)
}

/// Those that may be given tasks, with how many they hold already.
fn robots(open: &[Entry], registry: &Registry, counts: impl Fn(&Entry) -> bool) -> Vec<Robot> {
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    open.iter().filter(|entry| counts(entry)).for_each(|entry| *held.entry(&entry.agent).or_default() += 1);
    let robot = |peer: &Peer| Robot {
        id: peer.agent.id.clone(),
        epoch: peer.agent.epoch,
        capabilities: peer.agent.capabilities.clone(),
        position: peer.agent.pose.translation.vector,
        held: held.get(peer.agent.id.as_str()).copied().unwrap_or_default(),
        load: peer.agent.load,
    };
    registry.peers().filter(|peer| is_fit(peer)).map(robot).collect()
}

/// A plan's awards, each with the number of its task.
fn awards(problem: &Problem<'_>, plan: &Plan) -> impl Iterator<Item = (Award, u64)> {
    plan.placed.iter().filter_map(|place| {
        let (job, robot) = (problem.jobs.get(place.job)?, problem.robots.get(place.robot)?);
        let award = Award { task: job.task.id.clone(), agent: robot.id.clone(), agent_epoch: robot.epoch };
        Some((award, job.number))
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Isometry3;

    use super::*;
    use crate::agents::{Agent, Bounds};
    use crate::tasks::Location;

    const EPOCH: u64 = 7;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn agent(id: &str, x: f64) -> Agent {
        Agent { phase: Phase::Executing, pose: Isometry3::translation(x, 0.0, 0.0), ..Agent::new(id, 1) }
    }

    fn known(agents: impl IntoIterator<Item = Agent>) -> Registry {
        let mut registry = Registry::new(Bounds::default());
        for agent in agents {
            registry.hear(agent, at(0)).unwrap();
        }
        registry
    }

    /// A task at `x` that waits.
    fn waits(number: u64, x: f64) -> Entry {
        Entry {
            number,
            task: Task { id: format!("t{number}"), location: Some(Location::at(x, 0.0)), ..Task::default() },
            state: State::Waiting,
            reason: String::new(),
            agent: String::new(),
            agent_epoch: 0,
            award: 0,
            begun: false,
            progress: 0.0,
            submitted: 0,
            finished: 0,
            result: Vec::new(),
        }
    }

    /// The same, in the hands of an agent.
    fn held(number: u64, x: f64, agent: &str, state: State) -> Entry {
        let begun = state == State::Running;
        Entry { state, agent: agent.to_owned(), agent_epoch: 1, award: 10 + number, begun, ..waits(number, x) }
    }

    fn dispatcher() -> Dispatcher {
        Dispatcher::new(EPOCH, Strategy::CapabilityBased, 1.0, at(0))
    }

    fn decide(dispatcher: &mut Dispatcher, open: &[Entry], registry: &Registry, ms: u64) -> Vec<What> {
        dispatcher.decide(open, registry, at(ms), Stamp(0))
    }

    /// Who is given what, of a single decision.
    fn awards(decided: &[What]) -> Vec<(&str, &str)> {
        match decided {
            [] => Vec::new(),
            [What::Decide(decision)] => {
                assert_eq!(decision.epoch, EPOCH);
                decision.awards.iter().map(|award| (award.task.as_str(), award.agent.as_str())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn released<'a>(decided: &'a [What]) -> Vec<(&'a str, u64, &'a str)> {
        let one = |what: &'a What| match what {
            What::Release(release) if release.epoch == EPOCH => {
                (release.agent.as_str(), release.agent_epoch, release.reason.as_str())
            }
            other => panic!("{other:?}"),
        };
        decided.iter().map(one).collect()
    }

    #[test]
    fn what_was_begun_and_taken_back_is_given_to_nobody_until_its_robot_must_have_stopped() {
        let (registry, mut dispatcher) = (known([agent("a", 0.0)]), dispatcher());
        let open = [Entry { begun: true, award: 11, agent: "b".to_owned(), ..waits(1, 0.0) }, waits(2, 0.0)];
        assert_eq!(awards(&decide(&mut dispatcher, &open, &registry, 1_000)), [("t2", "a")], "what nobody began");
        assert_eq!(awards(&decide(&mut dispatcher, &open[..1], &registry, 1_299)), []);
        assert_eq!(awards(&decide(&mut dispatcher, &open[..1], &registry, 1_300)), [("t1", "a")]);
    }

    #[test]
    fn tasks_are_taken_from_who_is_lost_left_started_anew_or_is_never_heard() {
        let mut registry = known([agent("lost", 0.0), agent("left", 0.0), agent("anew", 0.0), agent("well", 0.0)]);
        let agents = ["lost", "left", "anew", "well", "mute"];
        let open: Vec<Entry> = (1..).zip(agents).map(|(n, agent)| held(n, 0.0, agent, State::Running)).collect();
        assert_eq!(decide(&mut dispatcher(), &open, &registry, 0), []);
        registry.hear(Agent { leaving: true, sequence: 1, ..agent("left", 0.0) }, at(4_000)).unwrap();
        registry.hear(Agent { epoch: 3, ..agent("anew", 0.0) }, at(4_000)).unwrap();
        registry.hear(Agent { sequence: 1, ..agent("well", 0.0) }, at(4_000)).unwrap();
        registry.look(at(4_000));
        let taken = decide(&mut dispatcher(), &open, &registry, 4_000);
        let (left, anew, lost) = ("agent 'left' left", "agent 'anew' started anew", "agent 'lost' is lost");
        assert_eq!(released(&taken), [("anew", 2, anew), ("left", 1, left), ("lost", 1, lost)]);
        // A new leader gives those that it has not heard yet a while.
        let mute = [open[4].clone()];
        assert_eq!(decide(&mut dispatcher(), &mute, &registry, 5_000), []);
        let taken = decide(&mut dispatcher(), &mute, &registry, 5_001);
        assert_eq!(released(&taken), [("mute", 1, "agent 'mute' is not heard")]);
    }

    #[test]
    fn nothing_is_given_to_who_is_suspect_observes_fails_or_has_no_charge() {
        let unfit = [
            Agent { role: Role::Observer, ..agent("observer", 0.0) },
            Agent { phase: Phase::Failed, ..agent("failed", 0.0) },
            Agent { battery: Some(0.09), ..agent("empty", 0.0) },
        ];
        let open = [waits(1, 0.0)];
        for agent in &unfit {
            let decided = decide(&mut dispatcher(), &open, &known([agent.clone()]), 0);
            assert_eq!(awards(&decided), [], "{}", agent.id);
            let [What::Decide(decision)] = &decided[..] else { panic!("{decided:?}") };
            assert_eq!(decision.reasons[0].reason, "no agent is there that could be given anything");
        }
        let mut registry = known([agent("late", 0.0), Agent { battery: Some(0.1), ..agent("charged", 90.0) }]);
        registry.hear(Agent { sequence: 1, ..agent("charged", 90.0) }, at(900)).unwrap();
        let changes = registry.look(at(900));
        assert_eq!(changes, [("late".to_owned(), Health::Suspect)]);
        assert_eq!(awards(&decide(&mut dispatcher(), &open, &registry, 900)), [("t1", "charged")], "however far");
    }

    /// The first is far from its task, and the second beside it.
    fn the_wrong_way_round() -> (Registry, [Entry; 2]) {
        let open = [held(1, 100.0, "a", State::Awarded), held(2, 0.0, "b", State::Awarded)];
        (known([agent("a", 0.0), agent("b", 100.0)]), open)
    }

    #[test]
    fn what_is_not_begun_is_given_out_anew_every_thirty_seconds() {
        let ((registry, open), mut dispatcher) = (the_wrong_way_round(), dispatcher());
        assert_eq!(decide(&mut dispatcher, &open, &registry, 29_999), []);
        let decided = decide(&mut dispatcher, &open, &registry, 30_000);
        assert_eq!(awards(&decided), [("t2", "a"), ("t1", "b")]);
        let [What::Decide(decision)] = &decided[..] else { panic!("{decided:?}") };
        let taken: Vec<_> = decision.withdrawals.iter().map(|taken| (taken.task.as_str(), taken.award)).collect();
        assert_eq!(taken, [("t2", 12), ("t1", 11)]);
        // What runs stays where it is, and so does what is as it should be.
        let run = open.map(|entry| Entry { state: State::Running, begun: true, ..entry });
        assert_eq!(decide(&mut dispatcher, &run, &registry, 60_000), []);
        let right = [held(1, 100.0, "b", State::Awarded), held(2, 0.0, "a", State::Awarded)];
        assert_eq!(decide(&mut dispatcher, &right, &registry, 90_000), []);
    }

    #[test]
    fn a_loss_has_all_given_out_anew_at_once() {
        let ((mut registry, open), mut dispatcher) = (the_wrong_way_round(), dispatcher());
        registry.hear(Agent { leaving: true, ..agent("gone", 0.0) }, at(0)).unwrap();
        let lost = [held(3, 0.0, "gone", State::Awarded)];
        let taken = decide(&mut dispatcher, &[&open[..], &lost].concat(), &registry, 100);
        assert_eq!(released(&taken).len(), 1);
        assert_eq!(awards(&decide(&mut dispatcher, &open, &registry, 150)), [("t2", "a"), ("t1", "b")]);
    }

    #[test]
    fn who_has_nothing_to_do_is_given_what_waits_at_another() {
        let registry = known([agent("busy", 0.0), agent("idle", 0.0)]);
        let open: Vec<Entry> = (1..=4).map(|number| held(number, 0.0, "busy", State::Awarded)).collect();
        let mut dispatcher = dispatcher();
        assert_eq!(decide(&mut dispatcher, &open, &registry, 999), []);
        let moved = decide(&mut dispatcher, &open, &registry, 1_000);
        assert_eq!(awards(&moved).len(), 2, "half of them: {moved:?}");
        assert!(awards(&moved).iter().all(|(_, agent)| *agent == "idle"));
    }
}
