//! Simulated hours of a swarm, from seeds: robots that crash, leave, are cut off and come back, leaders that change in mid-decision,
//! messages that are late or lost, clocks that are off. No task may run at two robots at a time, be lost, or end twice.
//!
//! The log is one queue here, which only a quorum of voters reaches; what makes it one is tested in `ecps_consensus`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ecps_consensus::application::Application as _;
use ecps_core::campaign::rounds;
use ecps_core::clock::{Stamp, Steady};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rusqlite::Connection;

use crate::agents::{Agent, Bounds, Phase, Registry};
use crate::allocation::Strategy;
use crate::dispatch::Dispatcher;
use crate::tasks::{
    self, Cancel, Code, Command, Do, Location, Mine, OPEN_TASKS, Outcome, Priority, Reply, Report, State, Task, Tasks,
    What, Worker,
};

const ROBOTS: usize = 8;
/// The first ones.
const VOTERS: usize = 3;
/// Simulated milliseconds of a step.
const STEP: u64 = 10;
const CAPABILITIES: [&str; 3] = ["see", "lift", "weld"];

/// What is on its way.
enum Event {
    /// A command to the log, whose answer goes to where it says.
    Propose(usize, What, Asker),
    Answer(usize, u64, Asker, Option<Reply>),
    /// A confirmed look of a robot's at the queue, begun at its time.
    Look(usize, u64, Steady),
    Shown(usize, u64, Steady, Vec<Mine>),
    Hear(usize, Agent),
}

#[derive(Clone, Copy)]
enum Asker {
    Claim(u64, Steady),
    Report(u64),
    Dispatcher(u64),
    Client(usize),
}

struct Robot {
    up: bool,
    cut: bool,
    epoch: u64,
    sequence: u64,
    worker: Worker,
    registry: Registry,
    dispatcher: Option<Dispatcher>,
    /// A decision of its dispatcher is under way.
    deciding: bool,
    /// What it works on: the award, the task, and until when.
    at_work: Option<(u64, String, u64)>,
    spoke: u64,
    /// Its steady clock: where it began, and how many millionths faster it runs.
    clock: (u64, i64),
    /// Its ROS clock, off by up to ten seconds.
    off: i64,
    capabilities: BTreeSet<String>,
    back_at: u64,
}

#[derive(Default)]
struct Tally {
    done: u64,
    failed: u64,
    cancelled: u64,
    moved: u64,
    awards: u64,
}

struct World {
    dice: Pcg64,
    now: u64,
    database: Connection,
    index: u64,
    term: u64,
    leader: Option<usize>,
    election: u64,
    robots: Vec<Robot>,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    /// Tasks that a client sends, and whether they were answered.
    wishes: Vec<(Task, bool)>,
    taken: BTreeSet<String>,
    /// Ends that the log took.
    ends: BTreeMap<String, State>,
    /// Real runs to the end.
    runs: BTreeMap<String, u64>,
    crashes: u64,
    tally: Tally,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Pcg64::seed_from_u64(seed);
        let database = Connection::open_in_memory().unwrap();
        Tasks.create(&database).unwrap();
        let robots = (0..ROBOTS)
            .map(|_| {
                let capabilities =
                    CAPABILITIES.iter().filter(|_| dice.random_bool(0.7)).map(|&name| name.to_owned()).collect();
                let clock = (dice.random_range(0..1_000_000), dice.random_range(-200..200));
                let off = dice.random_range(-10_000_000_000..10_000_000_000);
                Robot::new(clock, off, capabilities)
            })
            .collect();
        World {
            dice,
            now: 0,
            database,
            index: 0,
            term: 0,
            leader: None,
            election: 300,
            robots,
            events: BTreeMap::new(),
            number: 0,
            wishes: Vec::new(),
            taken: BTreeSet::new(),
            ends: BTreeMap::new(),
            runs: BTreeMap::new(),
            crashes: 0,
            tally: Tally::default(),
            calm: false,
        }
    }

    fn steady(&self, robot: usize) -> Steady {
        let (begun, faster) = self.robots[robot].clock;
        let ms = (begun + self.now) as i64;
        Steady(Duration::from_micros((ms * 1_000 + ms * faster / 1_000) as u64))
    }

    fn stamp(&self, robot: usize) -> Stamp {
        Stamp(1_000_000_000_000 + self.now as i64 * 1_000_000 + self.robots[robot].off)
    }

    /// Puts something on its way, unless it gets lost.
    fn send(&mut self, event: Event) {
        if !self.calm && self.dice.random_bool(0.03) {
            return;
        }
        let late = if self.dice.random_bool(0.02) { 400 } else { 15 };
        let late = 1 + self.dice.random_range(0..late);
        self.after(late, event);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now + ms, self.number), event);
    }

    fn reaches_quorum(&self, robot: usize) -> bool {
        self.robots[robot].up && !self.robots[robot].cut && self.leader.is_some()
    }

    fn propose(&mut self, robot: usize, what: What, asker: Asker) {
        let epoch = self.robots[robot].epoch;
        // Without an answer the robot knows no more than before.
        self.after(600, Event::Answer(robot, epoch, asker, None));
        self.send(Event::Propose(robot, what, asker));
    }

    fn act(&mut self, robot: usize, todo: Vec<Do>) {
        for what in todo {
            match what {
                Do::Claim(task, award) => {
                    let asker = Asker::Claim(award, self.steady(robot));
                    let report = Report { task, award, outcome: Outcome::Running.into(), ..Report::default() };
                    self.propose(robot, What::Report(report), asker);
                }
                Do::Begin(task, award) => {
                    let other =
                        self.robots.iter().position(|r| r.at_work.as_ref().is_some_and(|(_, id, _)| *id == task.id));
                    assert_eq!(
                        other, None,
                        "{} ms: robot {robot} begins '{}', which another works on",
                        self.now, task.id
                    );
                    let until = self.now + self.dice.random_range(200..12_000);
                    assert!(self.robots[robot].at_work.replace((award, task.id, until)).is_none(), "one at a time");
                }
                Do::Stop(..) => assert!(self.robots[robot].at_work.take().is_some()),
                Do::Report(task, award, outcome, result) => {
                    let report = Report { task, award, outcome: outcome.into(), progress: 1.0, result };
                    self.propose(robot, What::Report(report), Asker::Report(award));
                }
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Propose(robot, what, asker) => {
                // From a leader that was cut off meanwhile it comes when it is back, to another leader's log.
                if self.robots[robot].cut
                    && matches!(asker, Asker::Dispatcher(_))
                    && self.robots[robot].up
                    && !self.calm
                {
                    return self.after(500, Event::Propose(robot, what, asker));
                }
                if self.reaches_quorum(robot) {
                    let reply = self.commit(robot, what);
                    let epoch = self.robots[robot].epoch;
                    self.send(Event::Answer(robot, epoch, asker, Some(reply)));
                }
            }
            Event::Answer(robot, epoch, asker, reply) => self.answer(robot, epoch, asker, reply),
            Event::Look(robot, epoch, asked) => {
                if self.reaches_quorum(robot) {
                    let held = tasks::held_by(&self.database, &name(robot), epoch).unwrap();
                    let mine = held.into_iter().map(Mine::from).collect();
                    self.send(Event::Shown(robot, epoch, asked, mine));
                }
            }
            Event::Shown(robot, epoch, asked, mine) => {
                if self.lives(robot, epoch) && !self.robots[robot].cut {
                    let now = self.steady(robot);
                    let todo = self.robots[robot].worker.see(mine, asked, now);
                    self.act(robot, todo);
                }
            }
            Event::Hear(robot, agent) => {
                if self.robots[robot].up && !self.robots[robot].cut {
                    let now = self.steady(robot);
                    // What is old is refused, which is as it should be.
                    let _ = self.robots[robot].registry.hear(agent, now);
                }
            }
        }
    }

    fn lives(&self, robot: usize, epoch: u64) -> bool {
        self.robots[robot].up && self.robots[robot].epoch == epoch
    }

    fn answer(&mut self, robot: usize, epoch: u64, asker: Asker, reply: Option<Reply>) {
        let code = reply.as_ref().map(Reply::code);
        if let Asker::Client(wish) = asker {
            match code {
                Some(Code::Done) => {
                    self.wishes[wish].1 = true;
                    self.taken.insert(self.wishes[wish].0.id.clone());
                }
                // What it depended on has not completed.
                Some(Code::Invalid) => self.wishes[wish].1 = true,
                Some(Code::Conflict) => panic!("{reply:?}"),
                Some(Code::Busy) | None => {}
            }
            return;
        }
        if !self.lives(robot, epoch) {
            return;
        }
        let now = self.steady(robot);
        let todo = match asker {
            Asker::Claim(award, asked) => {
                let accepted = code.map(|code| code == Code::Done);
                self.robots[robot].worker.claimed(award, accepted, asked, now)
            }
            Asker::Report(award) => self.robots[robot].worker.reported(award, code.is_some(), now),
            Asker::Dispatcher(term) => {
                if self.robots[robot].dispatcher.as_ref().is_some_and(|dispatcher| dispatcher.epoch() == term) {
                    self.robots[robot].deciding = false;
                }
                Vec::new()
            }
            Asker::Client(_) => Vec::new(),
        };
        self.act(robot, todo);
    }

    /// Carries a command out, and looks that nothing ends twice.
    fn commit(&mut self, robot: usize, what: What) -> Reply {
        self.index += 1;
        let ends = match &what {
            What::Report(report) if report.outcome() != Outcome::Running => Some(report.task.clone()),
            What::Cancel(cancel) => Some(cancel.id.clone()),
            _ => None,
        };
        let is_decision = matches!(what, What::Decide(_));
        let command = Command::new(self.stamp(robot), what);
        let reply = Tasks.apply(&self.database, self.term, command).unwrap().unwrap();
        if let Some(id) = ends
            && reply.changed == 1
        {
            let state = self.entries().into_iter().find(|entry| entry.task.id == id).unwrap().state;
            assert!(self.ends.insert(id.clone(), state).is_none(), "'{id}' ends twice");
            match state {
                State::Completed => self.tally.done += 1,
                State::Failed => self.tally.failed += 1,
                _ => self.tally.cancelled += 1,
            }
        }
        if is_decision {
            self.tally.awards += reply.changed;
        }
        reply
    }

    fn entries(&self) -> Vec<tasks::Entry> {
        tasks::newest(&self.database, usize::MAX >> 1).unwrap().0
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            self.handle(event);
        }
        self.elect();
        for robot in 0..ROBOTS {
            if self.robots[robot].up {
                self.run(robot);
            }
        }
        if !self.calm {
            self.weather();
        }
        self.wish();
    }

    /// A leader is one that a majority of the voters reaches.
    fn elect(&mut self) {
        let fit = |robot: &usize| self.robots[*robot].up && !self.robots[*robot].cut;
        let voters: Vec<usize> = (0..VOTERS).filter(fit).collect();
        let quorum = voters.len() * 2 > VOTERS;
        if self.leader.is_some_and(|leader| quorum && fit(&leader)) {
            self.election = self.now + 300;
            return;
        }
        self.leader = None;
        if quorum && self.now >= self.election {
            let leader = voters[self.dice.random_range(0..voters.len())];
            self.term += 1;
            self.leader = Some(leader);
            let now = self.steady(leader);
            let strategy = Strategy::NAMES[self.term as usize % 6].parse().unwrap();
            self.robots[leader].dispatcher = Some(Dispatcher::new(self.term, strategy, 2.0, now));
            self.robots[leader].deciding = false;
        }
    }

    fn run(&mut self, robot: usize) {
        let (now, stamp) = (self.steady(robot), self.stamp(robot));
        if self.now.is_multiple_of(100) {
            let epoch = self.robots[robot].epoch;
            if !self.robots[robot].cut {
                self.send(Event::Look(robot, epoch, now));
            }
        }
        if let Some((award, id, until)) = self.robots[robot].at_work.clone()
            && until <= self.now
        {
            *self.runs.entry(id).or_default() += 1;
            self.robots[robot].at_work = None;
            let outcome = if self.dice.random_bool(0.03) { Outcome::Failed } else { Outcome::Completed };
            let todo = self.robots[robot].worker.ended(award, outcome, Vec::new(), now);
            self.act(robot, todo);
        }
        let todo = self.robots[robot].worker.tick(now);
        self.act(robot, todo);
        self.speak(robot);
        let Some(mut dispatcher) = self.robots[robot].dispatcher.take() else { return };
        self.robots[robot].registry.look(now);
        // One that was deposed and does not know it goes on deciding, from what it saw last.
        if !self.robots[robot].deciding && self.now.is_multiple_of(50) {
            let open = tasks::open(&self.database).unwrap();
            assert!(open.len() as i64 <= OPEN_TASKS);
            let decided = dispatcher.decide(&open, &self.robots[robot].registry, now, stamp);
            for what in decided {
                if let What::Release(release) = &what {
                    assert!(release.agent_epoch <= self.robots[index(&release.agent)].epoch);
                    self.tally.moved += 1;
                }
                self.robots[robot].deciding = true;
                self.propose(robot, what, Asker::Dispatcher(dispatcher.epoch()));
            }
        }
        self.robots[robot].dispatcher = Some(dispatcher);
    }

    fn speak(&mut self, robot: usize) {
        let r = &mut self.robots[robot];
        let busy = r.worker.tasks().next().is_some();
        let phase = if busy { Phase::Executing } else { Phase::Discovering };
        if self.now < r.spoke + phase.heartbeat().as_millis() as u64 && !(busy && r.spoke.is_multiple_of(2)) {
            return;
        }
        // Odd: it last spoke as one that works; so that becoming busy is told at once.
        r.spoke = self.now / 2 * 2 + u64::from(busy);
        r.sequence += 1;
        let agent = Agent {
            sequence: r.sequence,
            phase,
            capabilities: r.capabilities.clone(),
            tasks: r.worker.tasks().map(str::to_owned).take(5).collect(),
            ..Agent::new(name(robot), r.epoch)
        };
        if self.robots[robot].cut {
            return;
        }
        for other in 0..VOTERS {
            self.send(Event::Hear(other, agent.clone()));
        }
    }

    /// Crashes, cuts, returns.
    fn weather(&mut self) {
        if !self.dice.random_bool(STEP as f64 / 4_000.0) {
            for robot in 0..ROBOTS {
                if !self.robots[robot].up && self.now >= self.robots[robot].back_at {
                    self.restart(robot);
                }
            }
            return;
        }
        let robot = self.dice.random_range(0..ROBOTS);
        match self.dice.random_range(0..3) {
            0 if self.robots[robot].up => {
                self.crashes += 1;
                let back_at = self.now + self.dice.random_range(50..40_000);
                let r = &mut self.robots[robot];
                (r.up, r.at_work, r.dispatcher, r.back_at) = (false, None, None, back_at);
            }
            _ => self.robots[robot].cut = !self.robots[robot].cut,
        }
    }

    fn restart(&mut self, robot: usize) {
        let r = &mut self.robots[robot];
        let (epoch, capabilities) = (r.epoch + 1, r.capabilities.clone());
        *r = Robot { epoch, cut: r.cut, ..Robot::new(r.clock, r.off, capabilities) };
    }

    /// What clients want: about a task in two seconds, some of them twice, some taken back.
    fn wish(&mut self) {
        if !self.calm && self.dice.random_bool(STEP as f64 / 2_000.0) {
            let number = self.wishes.len();
            let dice = &mut self.dice;
            let mut names: Vec<String> = CAPABILITIES.iter().map(|&name| name.to_owned()).collect();
            names.retain(|_| dice.random_bool(0.2));
            let mut depends_on = Vec::new();
            if number > 3 && dice.random_bool(0.2) {
                depends_on.push(format!("t{}", number - 1 - dice.random_range(0..3)));
            }
            let task = Task {
                id: format!("t{number}"),
                priority: Priority::try_from(dice.random_range(0..6)).unwrap().into(),
                required_capabilities: names,
                depends_on,
                duration_estimate: 6.0,
                location: Some(Location::at(dice.random_range(-50.0..50.0), 0.0)),
                ..Task::default()
            };
            self.wishes.push((task, false));
        }
        if self.now.is_multiple_of(700) {
            for wish in 0..self.wishes.len() {
                if !self.wishes[wish].1 {
                    let via = self.dice.random_range(0..ROBOTS);
                    let what = What::Submit(self.wishes[wish].0.clone());
                    self.send(Event::Propose(via, what.clone(), Asker::Client(wish)));
                    if self.dice.random_bool(0.1) {
                        self.send(Event::Propose(via, what, Asker::Client(wish)));
                    }
                }
            }
            if !self.calm && !self.wishes.is_empty() && self.dice.random_bool(0.05) {
                let id = format!("t{}", self.dice.random_range(0..self.wishes.len()));
                self.send(Event::Propose(0, What::Cancel(Cancel { id }), Asker::Dispatcher(0)));
            }
        }
    }
}

impl Robot {
    fn new(clock: (u64, i64), off: i64, capabilities: BTreeSet<String>) -> Robot {
        Robot {
            up: true,
            cut: false,
            epoch: 1,
            sequence: 0,
            worker: Worker::default(),
            registry: Registry::new(Bounds::default()),
            dispatcher: None,
            deciding: false,
            at_work: None,
            spoke: 0,
            clock,
            off,
            capabilities,
            back_at: 0,
        }
    }
}

fn name(robot: usize) -> String {
    format!("r{robot}")
}

fn index(name: &str) -> usize {
    name.trim_start_matches('r').parse().unwrap()
}

fn simulate(seed: u64, seconds: u64) -> Tally {
    let mut world = World::new(seed);
    while world.now < seconds * 1_000 {
        world.step();
    }
    // Everybody is back, and all can do everything.
    world.calm = true;
    for robot in 0..ROBOTS {
        world.robots[robot].cut = false;
        world.robots[robot].capabilities = CAPABILITIES.iter().map(|&name| name.to_owned()).collect();
        if !world.robots[robot].up {
            world.restart(robot);
        }
    }
    let end = world.now + 3_600_000;
    loop {
        world.step();
        let open = world.now.is_multiple_of(1_000) && tasks::open(&world.database).unwrap().is_empty();
        if open && world.wishes.iter().all(|(_, answered)| *answered) {
            break;
        }
        assert!(
            world.now < end,
            "seed {seed}: tasks do not come to an end: {:?}",
            tasks::open(&world.database).unwrap()
        );
    }
    let entries = world.entries();
    for id in &world.taken {
        let found = entries.iter().filter(|entry| entry.task.id == *id && entry.state.is_final()).count();
        // In simulated hours the first ones are forgotten; then their end was counted.
        assert!(found == 1 || world.ends.contains_key(id), "seed {seed}: '{id}' was accepted and is lost");
    }
    for (id, state) in &world.ends {
        let runs = world.runs.get(id).copied().unwrap_or(0);
        assert!(*state == State::Cancelled || runs > 0, "seed {seed}: '{id}' is {state:?} and nobody did it");
    }
    world.tally
}

#[test]
fn through_hours_of_crashes_and_cuts_no_task_runs_at_two_robots_none_is_lost_and_each_ends_once() {
    let first: u64 = std::env::var("ECPS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let count = if std::env::var_os("ECPS_SEED").is_some() { 1 } else { u64::from(rounds(6, 200)) };
    let seconds = u64::from(rounds(300, 3_600));
    let mut all = Tally::default();
    for seed in first..first + count {
        let tally = simulate(seed, seconds);
        all.done += tally.done;
        all.failed += tally.failed;
        all.cancelled += tally.cancelled;
        all.moved += tally.moved;
        all.awards += tally.awards;
    }
    let Tally { done, failed, cancelled, moved, awards } = all;
    println!(
        "{done} completed, {failed} failed, {cancelled} cancelled, {awards} awards and reasons, {moved} taken from somebody"
    );
    assert!(done > 40 * count && moved > 2 * count, "the weather was too good, or nothing was done");
}
