//! Assignments beside SciPy, collision avoidance beside `dodgy_2d`, formations and flocks.

use std::borrow::Cow;
use std::f64::consts::TAU;
use std::io::Write as _;
use std::time::{Duration, Instant};

use ecps_swarm::assignment::{Costs, assign};
use ecps_swarm::motion::avoidance::{Crowd, Options, Robot};
use ecps_swarm::motion::flocking::{Agent, Flock, Metrics, Parameters};
use ecps_swarm::motion::grid::Grid;
use ecps_swarm::motion::scene::{Body, Dice, March, Scene};
use ecps_swarm::motion::shape::Shape;
use ecps_swarm::motion::{CONTROL_PERIOD, MAX_SPEED, SEPARATION};
use nalgebra::{Isometry2, Vector2};

use super::scipy::SciPy;
use crate::support::{Sample, Section};

/// Solves of each size, of as many different matrices.
const SOLVES: u64 = 9;
const ROBOTS: usize = 5000;
/// One robot on so many square metres.
const ROOM: f64 = 25.0;
const STEPS: usize = 300;
const AGENTS: usize = 10_000;
const FLOCK_STEPS: usize = 200;
const FORMATIONS: u64 = 1000;
const COUNTS: [usize; 4] = [3, 7, 20, 100];

pub(super) fn measure(section: &mut Section) {
    assignments(section);
    crowd(section);
    circle(section);
    formations(section);
    flock(section);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let value = work();
    (value, started.elapsed())
}

fn assignments(section: &mut Section) {
    let mut scipy = SciPy::start("assignment.py");
    for size in [1000, 2000] {
        let (mut ours, mut theirs) = (Sample::default(), Sample::default());
        for seed in 0..SOLVES {
            let mut dice = Dice::new(seed);
            let mut places = || -> Vec<Vector2<f64>> {
                (0..size).map(|_| Vector2::new(dice.within(0.0, 100.0), dice.within(0.0, 100.0))).collect()
            };
            let (robots, slots) = (places(), places());
            let squared = |row: usize, column: usize| (robots[row] - slots[column]).norm_squared();
            let costs = Costs::from_fn(size, size, squared).unwrap();
            let (assignment, time) = timed(|| assign(&costs));
            ours.push(time);
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let values = (0..size * size).flat_map(|pair| squared(pair / size, pair % size).to_le_bytes());
            file.write_all(&values.collect::<Vec<u8>>()).unwrap();
            let order = format!("{} {size}", file.path().display());
            if let Some((cost, time)) = scipy.as_mut().and_then(|scipy| scipy.solve(&order)) {
                assert!((cost - assignment.cost).abs() < 1e-6 * cost, "SciPy found {cost}, we {}", assignment.cost);
                theirs.push(time);
            }
        }
        section.group();
        section.row(format!("assignment of {size} to {size} by squared distance"), &ours);
        section.row("SciPy's `linear_sum_assignment`", &theirs);
        section.goal(&format!("assignment, n = {size}, to SciPy's"), ours.p50() / theirs.p50(), 1.0, " ×");
    }
    if scipy.is_none() {
        section.note("SciPy is not there: `tools/bench_photo` brings it.");
    }
}

/// Robots at random places, each with a velocity that it would like.
fn hall() -> (Vec<Robot>, Vec<Vector2<f64>>) {
    let mut dice = Dice::new(1);
    let side = (ROBOTS as f64 * ROOM).sqrt();
    let mut robots = Vec::with_capacity(ROBOTS);
    let mut grid = vec![false; 400 * 400];
    while robots.len() < ROBOTS {
        let position = Vector2::new(dice.within(0.0, side), dice.within(0.0, side));
        // At most one on each square metre and a bit.
        let cell = (position.y / side * 300.0) as usize * 400 + (position.x / side * 300.0) as usize;
        if !std::mem::replace(&mut grid[cell], true) {
            robots.push(Robot { position, velocity: Vector2::zeros(), radius: 0.5, max_speed: MAX_SPEED, rank: 0 });
        }
    }
    let preferred = robots.iter().map(|_| dice.within(0.0, TAU)).map(|turn| Vector2::new(turn.cos(), turn.sin()) * 1.5);
    let preferred = preferred.collect();
    (robots, preferred)
}

fn crowd(section: &mut Section) {
    let (mut robots, preferred) = hall();
    let options = Options::default();
    let mut crowd = Crowd::new(options, Vec::new()).unwrap();
    let (mut ours, mut theirs) = (Sample::default(), Sample::default());
    let mut neighbours = 0;
    for step in 0..STEPS {
        let agents: Vec<dodgy_2d::Agent> = robots.iter().map(dodgy).collect();
        let near = nearest(&robots, &options);
        neighbours += near.iter().map(Vec::len).sum::<usize>();
        let near: Vec<Vec<Cow<'_, dodgy_2d::Agent>>> =
            near.iter().map(|near| near.iter().map(|other| Cow::Borrowed(&agents[*other])).collect()).collect();
        let avoidance = dodgy_2d::AvoidanceOptions {
            obstacle_margin: 0.5,
            time_horizon: options.horizon as f32,
            obstacle_time_horizon: options.wall_horizon as f32,
        };
        let ask_dodgy = || {
            let velocities = agents.iter().zip(&near).zip(&preferred).map(|((agent, near), preferred)| {
                let preferred = dodgy_2d::Vec2::new(preferred.x as f32, preferred.y as f32);
                let period = CONTROL_PERIOD as f32;
                agent.compute_avoiding_velocity(near, &[], preferred, MAX_SPEED as f32, period, &avoidance)
            });
            timed(|| std::hint::black_box(velocities.collect::<Vec<_>>())).1
        };
        // Who comes first finds the caches cold.
        if step % 2 == 0 {
            theirs.push(ask_dodgy());
        }
        let (velocities, time) = timed(|| crowd.velocities(&robots, &preferred).unwrap());
        ours.push(time);
        let velocities = velocities.to_vec();
        if step % 2 == 1 {
            theirs.push(ask_dodgy());
        }
        for (robot, velocity) in robots.iter_mut().zip(velocities) {
            robot.velocity = velocity;
            robot.position += velocity * CONTROL_PERIOD;
        }
    }
    section.group();
    section.row(format!("a step of {ROBOTS} robots: finding neighbours, ORCA, hard limits"), &ours);
    section.row("`dodgy_2d`, which is handed the same neighbours: ORCA alone", &theirs);
    section.goal("collision layer for each robot", ours.p50() * 1e3 / ROBOTS as f64, 0.3, " µs");
    section.goal("collision layer to dodgy_2d", ours.p50() / theirs.p50(), 1.0, " ×");
    section.note(format!(
        "{ROBOTS} robots in a hall, one on {ROOM} m², {STEPS} steps; each has {:.1} neighbours on average, of at most {} within {} m",
        neighbours as f64 / (STEPS * ROBOTS) as f64,
        options.neighbours,
        options.neighbour_radius
    ));
}

fn dodgy(robot: &Robot) -> dodgy_2d::Agent {
    let vector = |v: &Vector2<f64>| dodgy_2d::Vec2::new(v.x as f32, v.y as f32);
    dodgy_2d::Agent {
        position: vector(&robot.position),
        velocity: vector(&robot.velocity),
        radius: robot.radius as f32,
        avoidance_responsibility: 1.0,
    }
}

/// The same neighbours as the crowd takes, nearest first.
fn nearest(robots: &[Robot], options: &Options) -> Vec<Vec<usize>> {
    let mut grid = Grid::default();
    grid.rebuild(robots.iter().map(|robot| robot.position), options.neighbour_radius);
    let of = |(index, robot): (usize, &Robot)| {
        let around = grid.around(grid.cell(&robot.position), 1);
        let others = around.flat_map(|run| &grid.order()[run]).map(|other| *other as usize);
        let mut near: Vec<(f64, usize)> = others
            .filter(|other| *other != index)
            .map(|other| ((robots[other].position - robot.position).norm(), other))
            .filter(|(distance, _)| *distance < options.neighbour_radius)
            .collect();
        near.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        near.into_iter().take(options.neighbours).map(|(_, other)| other).collect()
    };
    robots.iter().enumerate().map(of).collect()
}

/// RVO2's own example: 250 robots of radius 1.5 m on a circle of 400 m, preferring 1 m/s.
fn circle(section: &mut Section) {
    let turn = |number: usize| number as f64 / 250.0 * TAU;
    let starts: Vec<_> = (0..250).map(|n| Vector2::new(turn(n).cos(), turn(n).sin()) * 200.0).collect();
    let options = Options { neighbour_radius: 15.0, period: 0.25, ..Options::default() };
    let body = Body { radius: 1.5, ..Body::default() };
    let mut scene = Scene::new(body, &starts, Vec::new(), options, 1).unwrap();
    let on_its_way = |scene: &Scene| scene.places().zip(&starts).any(|(place, start)| (place + start).norm() > 1.5);
    while on_its_way(&scene) && scene.seconds() < 2000.0 {
        let towards = |(robot, start): (&Robot, &Vector2<f64>)| {
            let way = -start - robot.position;
            if way.norm() > 1.0 { way.normalize() } else { way }
        };
        let preferred: Vec<_> = scene.robots().iter().zip(&starts).map(towards).collect();
        scene.step(&preferred).unwrap();
    }
    section.goal("circle swap, 250 robots, simulated", scene.seconds(), 600.0, " s");
    section.goal("its steps with an overlap", scene.overlaps() as f64, 1.0, "");
    section.note(format!(
        "circle swap: RVO2's own example; least distance {:.3} m of 3 m, where RVO2 overlaps by up to 18 % and takes 929 s",
        scene.least_distance()
    ));
}

fn formations(section: &mut Section) {
    let body = Body { margin: 0.02, acceleration: 2.0, noise: 0.005, ..Body::default() };
    let (mut worst, mut worst_rms, mut least) = (0.0_f64, 0.0_f64, f64::INFINITY);
    for seed in 0..FORMATIONS {
        let mut dice = Dice::new(seed);
        let count = COUNTS[seed as usize % 4];
        let custom = Shape::Custom(dice.scattered(count, 3.0));
        let shapes = [Shape::Line, Shape::Circle, Shape::Grid, Shape::Triangle, Shape::Diamond, custom];
        let shape = shapes[seed as usize / 4 % 6].clone();
        let starts = dice.scattered(count, SEPARATION);
        let centre = Vector2::new(dice.within(-10.0, 10.0), dice.within(-10.0, 10.0));
        let pose = Isometry2::new(centre, dice.within(-3.0, 3.0));
        let mut march = March::new(body, &starts, shape, &pose, seed).unwrap();
        march.settle(2000.0).unwrap();
        let errors: Vec<f64> = march.errors().collect();
        worst = errors.iter().copied().fold(worst, f64::max);
        let squares = errors.iter().map(|error| error * error).sum::<f64>();
        worst_rms = worst_rms.max((squares / errors.len() as f64).sqrt());
        least = least.min(march.scene().least_distance());
    }
    section.goal("formations, farthest from its slot", worst, 0.1, " m");
    section.goal("formations, RMS of the worst", worst_rms * 100.0, 2.0, " cm");
    section.goal("formations, half the separation to the least distance", SEPARATION / 2.0 / least, 1.0, " ×");
    section.note(format!(
        "formations: {FORMATIONS} scenes of {COUNTS:?} robots in six shapes, from random starts a separation apart; robots brake with \
         2 m/s² and know places to 5 mm (σ); least distance {least:.2} m"
    ));
}

fn flock(section: &mut Section) {
    let parameters = Parameters::default();
    let mut dice = Dice::new(1);
    let spacing = parameters.distance * 0.93;
    let agent = |number: usize| Agent {
        position: Vector2::new(
            (number % 100) as f64 * spacing + dice.within(-1.0, 1.0),
            (number / 100) as f64 * spacing + dice.within(-1.0, 1.0),
        ),
        velocity: Vector2::new(dice.within(-1.0, 1.0), dice.within(-1.0, 1.0)),
    };
    let mut agents: Vec<Agent> = (0..AGENTS).map(agent).collect();
    let middle = Vector2::repeat(50.0 * spacing);
    let mut rendezvous = Agent { position: middle, velocity: Vector2::zeros() };
    let mut flock = Flock::new(&parameters, Vec::new()).unwrap();
    let mut times = Sample::default();
    for _ in 0..FLOCK_STEPS {
        times.push(timed(|| fly(&mut agents, &mut flock, &mut rendezvous)).1);
    }
    section.group();
    section.row(format!("a step of a flock of {AGENTS} agents"), &times);
    section.goal("flock of 10,000: 100 Hz to its rate", times.p50() / 10.0, 1.0, " ×");

    let mut agents: Vec<Agent> = (0..150)
        .map(|_| Agent {
            position: Vector2::new(dice.normal(), dice.normal()) * 50.0,
            velocity: Vector2::new(dice.within(-1.0, 1.0), dice.within(-1.0, 1.0)),
        })
        .collect();
    let mut rendezvous = Agent { position: Vector2::zeros(), velocity: Vector2::new(0.8, 0.3) };
    let before = Metrics::of(&agents, &parameters);
    (0..4000).for_each(|_| fly(&mut agents, &mut flock, &mut rendezvous));
    let after = Metrics::of(&agents, &parameters);
    section.goal("flocking, what is not connected", 1.0 - after.connectivity, 1e-9, "");
    section.goal("flocking, velocity mismatch", after.velocity_mismatch, 0.01, " (m/s)²");
    section.note(format!("flock of 150 from the paper's random starts: {before:?}, and after 400 s {after:?}"));
}

fn fly(agents: &mut [Agent], flock: &mut Flock, rendezvous: &mut Agent) {
    let accelerations = flock.accelerations(agents, rendezvous).unwrap();
    for (agent, acceleration) in agents.iter_mut().zip(accelerations) {
        agent.velocity = (agent.velocity + acceleration * CONTROL_PERIOD).cap_magnitude(MAX_SPEED);
        agent.position += agent.velocity * CONTROL_PERIOD;
    }
    rendezvous.position += rendezvous.velocity * CONTROL_PERIOD;
}
