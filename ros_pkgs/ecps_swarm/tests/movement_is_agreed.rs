//! Robots that each carry a movement out for themselves, from what a log tells them late and from what others said that they are.
//! Leaders die, robots come, go and are lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ecps_core::clock::Steady;
use ecps_swarm::motion::formation::Settings;
use ecps_swarm::motion::scene::Dice;
use ecps_swarm::movement::{Behavior, Body, Current, Form, Marshal, Movement, Other, Pilot, Still};
use nalgebra::Vector2;

const RADIUS: f64 = 0.5;
const SPEED: f64 = 1.0;
const PERIOD: u64 = 100;
/// After which a lost robot is no obstacle any more.
const FORGOTTEN: Duration = Duration::from_secs(35);
/// Where a task is done.
const ERRAND: Vector2<f64> = Vector2::new(2.0, -12.0);
/// Until what a robot said is heard, and until what is in the log is known.
const LATE: u64 = 100;

struct Robot {
    pilot: Pilot,
    body: Body,
    /// What it said, and when.
    said: VecDeque<(u64, Body)>,
    up: bool,
    busy: bool,
    still: Option<Still>,
}

struct Swarm {
    now: u64,
    robots: BTreeMap<String, Robot>,
    /// What counts, and from when on it is known.
    log: Vec<(u64, Current)>,
    marshal: Marshal,
    least: f64,
    fastest: f64,
}

fn at(ms: u64) -> Steady {
    Steady(Duration::from_millis(1_000 + ms))
}

impl Swarm {
    fn new(places: &[Vector2<f64>]) -> Swarm {
        let mut swarm = Swarm {
            now: 0,
            robots: BTreeMap::new(),
            log: vec![(0, Current::default())],
            marshal: Marshal::new(1, Settings { max_speed: SPEED, acceleration: 0.5, ..Settings::default() }),
            least: f64::INFINITY,
            fastest: 0.0,
        };
        places.iter().enumerate().for_each(|(number, place)| swarm.join(&format!("r{number}"), *place));
        swarm
    }

    fn join(&mut self, name: &str, place: Vector2<f64>) {
        let body = Body { place, point: place, velocity: Vector2::zeros(), radius: RADIUS };
        let robot = Robot {
            pilot: Pilot::new(name, SPEED, 1.0),
            body,
            said: VecDeque::from([(self.now, body)]),
            up: true,
            busy: false,
            still: None,
        };
        self.robots.insert(name.to_owned(), robot);
    }

    fn latest(&self) -> Current {
        self.log.last().unwrap().1.clone()
    }

    /// As the table does it.
    fn set(&mut self, movement: Movement) {
        movement.check().unwrap();
        let mut current = self.latest();
        let goes_on = [&movement, &current.movement].iter().all(|one| one.behavior() == Behavior::Formation);
        current.state = current.state.filter(|_| goes_on);
        (current.movement, current.number) = (movement.with_defaults(), current.number + 1);
        current.revision += 1;
        self.log.push((self.now + LATE, current));
    }

    fn form(&mut self, form: Form, path: &[(f64, f64)]) {
        let path = path.iter().map(|(x, y)| Vector2::new(*x, *y).into()).collect();
        self.set(Movement { behavior: Behavior::Formation.into(), form: form.into(), path, ..Movement::hold() });
    }

    fn next_leader(&mut self, epoch: u64) {
        self.marshal = Marshal::new(epoch, Settings { max_speed: SPEED, acceleration: 0.5, ..Settings::default() });
    }

    /// What was said last and is heard by now, with its age.
    fn heard(robot: &Robot, now: u64) -> (Body, Duration) {
        let (when, body) = robot.said.iter().rev().find(|(when, _)| when + LATE <= now).unwrap_or(&robot.said[0]);
        (*body, Duration::from_millis(now - when))
    }

    fn step(&mut self) {
        self.now += PERIOD;
        let now = self.now;
        let is_gone = |age: Duration| age > Duration::from_millis(700);
        let members: Vec<(String, Vector2<f64>)> = self
            .robots
            .iter()
            .map(|(name, robot)| (name, robot, Swarm::heard(robot, now)))
            .filter(|(_, robot, (_, age))| !robot.busy && !is_gone(*age))
            .map(|(name, _, (body, _))| (name.clone(), body.place))
            .collect();
        let (since, current) = self.log.iter().rev().find(|(known, _)| *known <= now).unwrap().clone();
        if let Some(plan) = self.marshal.plan(&current, &members, at(since), at(now)).unwrap() {
            let mut current = self.latest();
            if current.number == plan.number {
                (current.state, current.planned) = (Some(plan.state), plan.number);
                current.revision += 1;
                self.log.push((now + LATE, current));
            }
        }
        let mut velocities = BTreeMap::new();
        let others: Vec<Other> = self
            .robots
            .iter()
            .map(|(name, robot)| {
                let (body, age) = Swarm::heard(robot, now);
                let is_gone = is_gone(age);
                Other { id: name.clone(), body, age, is_gone, is_free: !robot.busy && !is_gone }
            })
            .filter(|other| other.age < FORGOTTEN)
            .collect();
        for (name, robot) in self.robots.iter_mut().filter(|(_, robot)| robot.up && !robot.busy) {
            robot.pilot.see(&current, at(since), at(now));
            let others: Vec<Other> = others.iter().filter(|other| other.id != *name).cloned().collect();
            let velocity = robot.pilot.velocity(&current.movement, &robot.body, &others);
            robot.still = velocity.as_ref().err().cloned();
            velocities.insert(name.clone(), velocity.unwrap_or_default());
        }
        let dt = PERIOD as f64 / 1e3;
        for (name, robot) in &mut self.robots {
            // To a place of its own, out of the others' way.
            let errand = (ERRAND - robot.body.place).cap_magnitude(if robot.busy { SPEED / 2.0 } else { 0.0 });
            let wanted = velocities.get(name).copied().unwrap_or(errand);
            let change = wanted - robot.body.velocity;
            robot.body.velocity += change * (2.0 * dt / change.norm().max(2.0 * dt));
            robot.body.place += robot.body.velocity * dt;
            robot.body.point = robot.body.place;
            self.fastest = self.fastest.max(robot.body.velocity.norm());
            if robot.up {
                robot.said.push_back((now, robot.body));
                if robot.said.len() > 5 {
                    robot.said.pop_front();
                }
            }
        }
        let places: Vec<Vector2<f64>> = self.robots.values().map(|robot| robot.body.place).collect();
        self.least = self.least.min(ecps_swarm::motion::grid::closest_pair(&places));
    }

    fn run(&mut self, seconds: u64) {
        (0..seconds * 1_000 / PERIOD).for_each(|_| self.step());
    }

    /// How far the farthest of those that take part is from its slot, which all agree on.
    fn error(&self) -> f64 {
        let names: Vec<&String> =
            self.robots.iter().filter(|(_, robot)| robot.up && !robot.busy).map(|(n, _)| n).collect();
        let slots = |robot: &Robot| {
            let formation = robot.pilot.formation().unwrap();
            formation.members().map(|id| (id.clone(), formation.slot(id).unwrap())).collect::<BTreeMap<_, _>>()
        };
        let agreed = slots(&self.robots[names[0]]);
        assert_eq!(agreed.keys().collect::<Vec<_>>(), names, "who has a slot");
        for name in &names {
            let own = slots(&self.robots[*name]);
            for (id, (number, slot)) in &agreed {
                assert!(own[id].0 == *number && (own[id].1 - slot).norm() < 1e-9, "{name} and {} about {id}", names[0]);
            }
        }
        names.iter().map(|name| (agreed[*name].1 - self.robots[*name].body.place).norm()).fold(0.0, f64::max)
    }
}

#[test]
fn a_formation_holds_through_deaths_of_leaders_losses_tasks_and_joins() {
    for seed in 0..ecps_core::campaign::rounds(5, 100).into() {
        let places = Dice::new(seed).scattered(5, 2.0);
        let mut swarm = Swarm::new(&places);
        swarm.form(Form::Circle, &[(6.0, 4.0)]);
        swarm.run(2);
        // In mid-way.
        swarm.next_leader(2);
        swarm.run(43);
        assert!(swarm.error() < 0.1, "seed {seed}: circle {}", swarm.error());
        let slots: Vec<_> = swarm.robots.values().map(|robot| robot.body.place).collect();
        let centre = slots.iter().sum::<Vector2<f64>>() / 5.0;
        assert!((centre - Vector2::new(6.0, 4.0)).norm() < 0.05, "seed {seed}: it went to {centre}");
        swarm.form(Form::Line, &[(0.0, 0.0)]);
        swarm.run(1);
        swarm.form(Form::Grid, &[(2.0, 2.0)]);
        swarm.next_leader(3);
        swarm.run(30);
        assert!(swarm.error() < 0.1, "seed {seed}: grid {}", swarm.error());
        // One is lost, and the others close up around where it stands, be that on a slot.
        swarm.robots.get_mut("r2").unwrap().up = false;
        swarm.run(30);
        assert!(swarm.error() < 1.3, "seed {seed}: closed up {}", swarm.error());
        // It is carried off; one has a task, to which it drives, and another one comes.
        swarm.robots.get_mut("r2").unwrap().body.place.y = 50.0;
        swarm.robots.get_mut("r3").unwrap().busy = true;
        swarm.join("r9", Vector2::new(14.0, -9.0));
        swarm.run(60);
        assert!(swarm.error() < 0.1, "seed {seed}: with another one {}", swarm.error());
        swarm.robots.get_mut("r3").unwrap().busy = false;
        swarm.next_leader(4);
        swarm.run(60);
        assert!(swarm.error() < 0.1, "seed {seed}: with all {}", swarm.error());
        assert!(swarm.least > 1.0, "seed {seed}: two were {} m apart", swarm.least);
        assert!(swarm.fastest <= SPEED + 1e-6, "seed {seed}: {} m/s", swarm.fastest);
    }
}

#[test]
fn beside_a_neighbour_of_which_nothing_is_heard_robots_stand_until_it_is_lost() {
    let mut swarm = Swarm::new(&[Vector2::zeros(), Vector2::new(3.0, 0.0), Vector2::new(0.0, 3.0)]);
    swarm.form(Form::Line, &[(9.0, 9.0)]);
    swarm.run(3);
    swarm.robots.get_mut("r1").unwrap().up = false;
    let mut stood = 0;
    for _ in 0..20 {
        swarm.step();
        stood += usize::from(matches!(swarm.robots["r0"].still, Some(Still::Stale { .. })));
    }
    assert_eq!(stood, 2, "control periods, from 0.5 s of silence on until 0.7 s");
    assert_eq!(swarm.robots["r0"].still, None);
}

fn square(side: f64) -> Vec<ecps_swarm::motion::formation::Point> {
    [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)].map(|(x, y)| Vector2::new(x, y).into()).to_vec()
}

#[test]
fn behaviours_do_what_they_say() {
    let places = Dice::new(1).scattered(5, 2.0);
    let behaves = |behavior: Behavior| Movement { behavior: behavior.into(), ..Movement::hold() };
    let mut swarm = Swarm::new(&places);
    swarm.set(Movement { area: square(20.0), ..behaves(Behavior::Coverage) });
    swarm.run(90);
    let places: Vec<_> = swarm.robots.values().map(|robot| robot.body.place).collect();
    let area = Movement { area: square(20.0), ..Movement::hold() }.polygon().unwrap();
    let cost = ecps_swarm::motion::coverage::cost(&places, &area);
    assert!(cost < 16.0, "of five robots on 400 m² the best is about 14: {cost}");

    swarm.set(Movement { area: square(20.0), ..behaves(Behavior::Search) });
    let mut passed: Vec<Vector2<f64>> = Vec::new();
    for _ in 0..1_500 {
        swarm.step();
        passed.extend(swarm.robots.values().map(|robot| robot.body.place));
    }
    let missed = (0..400)
        .map(|cell| Vector2::new(f64::from(cell % 20) + 0.5, f64::from(cell / 20) + 0.5))
        .filter(|place| passed.iter().all(|by| (by - place).norm() > 1.3))
        .count();
    assert!(missed < 8, "{missed} of 400 places were not passed within 1.3 m");

    swarm.set(Movement { leader: "r0".to_owned(), ..behaves(Behavior::FollowLeader) });
    swarm.run(60);
    assert_eq!(swarm.robots["r0"].still, Some(Still::Leads));
    for pair in ["r0", "r1", "r2", "r3", "r4"].windows(2) {
        let apart = (swarm.robots[pair[0]].body.place - swarm.robots[pair[1]].body.place).norm();
        assert!((apart - 3.0).abs() < 0.3, "{pair:?} are {apart} m apart");
    }

    let target = Some(Vector2::new(-20.0, 0.0).into());
    swarm.set(Movement { target, ..behaves(Behavior::Flocking) });
    swarm.run(120);
    let centre = swarm.robots.values().map(|robot| robot.body.place).sum::<Vector2<f64>>() / 5.0;
    assert!((centre - Vector2::new(-20.0, 0.0)).norm() < 2.0, "the flock is at {centre}");
    swarm.set(Movement::hold());
    swarm.run(3);
    assert!(swarm.robots.values().all(|robot| robot.body.velocity == Vector2::zeros()));
    assert!(swarm.least > 1.0, "two were {} m apart", swarm.least);
}
