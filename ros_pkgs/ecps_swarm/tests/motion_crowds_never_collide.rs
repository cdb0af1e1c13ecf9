//! Crowds of simulated robots that want through each other: nobody touches anybody, and all arrive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::f64::consts::{PI, TAU};

use ecps_core::campaign::rounds;
use ecps_swarm::motion::avoidance::{AvoidanceError, Crowd, Options, Robot, Wall, avoid};
use ecps_swarm::motion::drive::DifferentialDrive;
use ecps_swarm::motion::scene::{Base, Body, Dice, Scene};
use nalgebra::Vector2;

fn circle(count: usize, radius: f64) -> Vec<Vector2<f64>> {
    let turn = |number: usize| number as f64 / count as f64 * TAU;
    (0..count).map(|number| Vector2::new(turn(number).cos(), turn(number).sin()) * radius).collect()
}

/// Straight to a goal, at most as fast as `speed`.
fn towards(from: Vector2<f64>, to: Vector2<f64>, speed: f64) -> Vector2<f64> {
    let way = to - from;
    if way.norm() > speed { way.normalize() * speed } else { way }
}

/// Lets robots go to their goals; returns whether all were there within `limit` seconds.
fn run(scene: &mut Scene, goals: &[Vector2<f64>], speed: f64, near: f64, limit: f64) -> bool {
    while scene.seconds() < limit {
        let preferred: Vec<_> =
            scene.robots().iter().zip(goals).map(|(robot, goal)| towards(robot.position, *goal, speed)).collect();
        scene.step(&preferred).unwrap();
        if scene.places().zip(goals).all(|(place, goal)| (place - goal).norm() < near) {
            return true;
        }
    }
    false
}

/// The circle of RVO2's own example: 250 robots, 400 m across, preferring 1 m/s.
#[test]
fn two_hundred_and_fifty_swap_sides_of_a_circle() {
    let starts = circle(250, 200.0);
    let goals: Vec<_> = starts.iter().map(|start| -start).collect();
    let options = Options { neighbour_radius: 15.0, period: 0.25, ..Options::default() };
    let body = Body { radius: 1.5, ..Body::default() };
    let mut scene = Scene::new(body, &starts, Vec::new(), options, 1).unwrap();
    assert!(run(&mut scene, &goals, 1.0, 1.5, 600.0), "not over after 600 s");
    assert_eq!(scene.overlaps(), 0);
    assert!(scene.least_distance() >= 3.0, "{}", scene.least_distance());
}

/// Random starts and goals, in every density that leaves room to pass; robots that brake, and know places to a centimetre.
#[test]
fn robots_that_need_time_to_brake_pass_each_other() {
    let mut late = 0;
    let scenes = rounds(30, 300);
    for seed in 0..u64::from(scenes) {
        let mut dice = Dice::new(seed);
        let count = 2 + seed as usize % 40;
        let (starts, goals) = (dice.scattered(count, 2.0), dice.scattered(count, 2.0));
        let body = Body { margin: 0.05, acceleration: 2.0, noise: 0.01, ..Body::default() };
        let options = Options { braking: 2.0, ..Options::default() };
        let mut scene = Scene::new(body, &starts, Vec::new(), options, seed).unwrap();
        late += u32::from(!run(&mut scene, &goals, 1.5, 0.3, 120.0));
        assert_eq!(scene.overlaps(), 0, "seed {seed}: {count} robots, least distance {}", scene.least_distance());
    }
    // A goal can lie behind robots that are at theirs, close together, and do not move on.
    assert!(late * 20 <= scenes, "{late} of {scenes} scenes were not over after 120 s");
}

/// Wheels: the point ahead of the axle is steered, and the disc around it holds the robot.
#[test]
fn robots_on_two_wheels_pass_each_other() {
    for (count, radius) in [(2, 6.0), (8, 9.0), (20, 16.0)] {
        let starts = circle(count, radius);
        let goals: Vec<_> = starts.iter().map(|start| -start).collect();
        let drive = DifferentialDrive::new(0.2, 1.5, 3.0).unwrap();
        let body =
            Body { radius: 0.3, margin: 0.02, max_speed: 1.0, base: Base::Differential(drive), ..Body::default() };
        let mut scene = Scene::new(body, &starts, Vec::new(), Options::default(), 1).unwrap();
        assert!(run(&mut scene, &goals, 0.8, 0.4, 120.0), "{count} robots");
        assert_eq!(scene.overlaps(), 0, "{count} robots, least distance {}", scene.least_distance());
    }
}

/// Through a door of 1.4 m, from both sides.
#[test]
fn walls_are_kept_clear_of() {
    let (left, right) = (Vector2::new(-8.0, 0.0), Vector2::new(8.0, 0.0));
    let pillar = [[3.0, 2.0], [5.0, 2.0], [5.0, 4.0], [3.0, 4.0]].map(Vector2::from);
    let mut walls = Wall::around(&pillar);
    walls.push(Wall { from: Vector2::new(0.0, -20.0), to: Vector2::new(0.0, -0.7) });
    walls.push(Wall { from: Vector2::new(0.0, 0.7), to: Vector2::new(0.0, 20.0) });
    let rank = |y: f64, from: Vector2<f64>| from + Vector2::new(0.0, y);
    let starts: Vec<_> = (0..5).map(|n| rank(f64::from(n) * 1.5 - 3.0, left)).collect();
    let goals: Vec<_> = (0..5).map(|n| rank(f64::from(n) * 1.5 - 3.0, right)).collect();
    let body = Body { radius: 0.3, margin: 0.01, acceleration: 3.0, ..Body::default() };
    let options = Options { braking: 3.0, ..Options::default() };
    let mut scene = Scene::new(body, &starts, walls, options, 1).unwrap();
    // By way of the door.
    let mut through = [false; 5];
    while scene.seconds() < 120.0 && scene.places().zip(&goals).any(|(place, goal)| (place - goal).norm() > 0.3) {
        let preferred: Vec<_> = (0..5)
            .map(|n| {
                let place = scene.robots()[n].position;
                through[n] |= place.x > -0.2 && place.y.abs() < 0.4;
                towards(place, if through[n] { goals[n] } else { Vector2::zeros() }, 1.0)
            })
            .collect();
        scene.step(&preferred).unwrap();
    }
    assert!(scene.seconds() < 120.0, "{through:?}");
    assert_eq!(scene.overlaps(), 0);
    assert!(scene.least_clearance() >= 0.3, "{}", scene.least_clearance());
}

fn robot(x: f64, y: f64, vx: f64, vy: f64) -> Robot {
    let (position, velocity) = (Vector2::new(x, y), Vector2::new(vx, vy));
    Robot { position, velocity, radius: 0.5, max_speed: 2.0, rank: 0 }
}

/// From every side, straight at each other: both pass on the right, at the same moment, and neither stops.
#[test]
fn head_on_both_pass_on_the_right() {
    for turn in 0..16 {
        let ahead = Vector2::new((f64::from(turn) * PI / 8.0).cos(), (f64::from(turn) * PI / 8.0).sin());
        let right = Vector2::new(ahead.y, -ahead.x);
        let starts = [-ahead * 5.0, ahead * 5.0];
        let mut scene = Scene::new(Body::default(), &starts, Vec::new(), Options::default(), 1).unwrap();
        let mut off = [0.0_f64; 2];
        while scene.seconds() < 12.0 {
            let preferred: Vec<_> =
                scene.robots().iter().zip(&starts).map(|(r, start)| towards(r.position, -start, 1.5)).collect();
            scene.step(&preferred).unwrap();
            for (off, (place, side)) in off.iter_mut().zip(scene.places().zip([right, -right])) {
                *off = if side.dot(&place).abs() > off.abs() { side.dot(&place) } else { *off };
            }
        }
        assert!(off.iter().all(|off| *off > 0.3), "{off:?}");
        assert!(scene.places().zip(&starts).all(|(place, start)| (place + start).norm() < 0.1));
        assert_eq!(scene.overlaps(), 0);
    }
}

#[test]
fn the_higher_rank_gives_way_less() {
    let me = robot(-3.0, 0.1, 1.5, 0.0);
    let other = |rank| Robot { rank, ..robot(3.0, -0.1, -1.5, 0.0) };
    let turned = |mine, theirs| {
        let me = Robot { rank: mine, ..me };
        (avoid(&me, &[other(theirs)], &[], me.velocity, &Options::default()).unwrap() - me.velocity).norm()
    };
    assert!(turned(1, 0) < turned(0, 0) && turned(0, 0) < turned(0, 1));
}

#[test]
fn with_nobody_near_robots_do_as_they_like() {
    let preferred = Vector2::new(1.0, -0.5);
    let alone = avoid(&robot(0.0, 0.0, 0.0, 0.0), &[], &[], preferred, &Options::default()).unwrap();
    assert!((alone - preferred).norm() < 1e-6);
    let far = [robot(30.0, 0.0, -2.0, 0.0)];
    let velocity = avoid(&robot(0.0, 0.0, 0.0, 0.0), &far, &[], preferred * 9.0, &Options::default()).unwrap();
    assert!((velocity.norm() - 2.0).abs() < 1e-5, "{velocity}");
}

/// Robots that overlap at first part, and nobody is pushed through a wall.
#[test]
fn overlapping_robots_part() {
    let starts = [Vector2::zeros(), Vector2::zeros(), Vector2::new(0.3, 0.0), Vector2::new(0.0, 0.6)];
    let walls = vec![Wall { from: Vector2::new(-9.0, -0.6), to: Vector2::new(9.0, -0.6) }];
    let mut scene = Scene::new(Body::default(), &starts, walls, Options::default(), 1).unwrap();
    for _ in 0..100 {
        scene.step(&[Vector2::zeros(); 4]).unwrap();
    }
    let places: Vec<_> = scene.places().collect();
    for (index, one) in places.iter().enumerate() {
        assert!(one.y > -0.11, "{one}");
        assert!(places[..index].iter().all(|other| (one - other).norm() > 0.99), "{places:?}");
    }
}

/// One robot alone decides as it does in a crowd, however many there are.
#[test]
fn alone_and_in_a_crowd_decisions_agree() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let robots: Vec<Robot> = dice
            .scattered(150, 1.2)
            .into_iter()
            .map(|position| Robot {
                position: position + Vector2::new(1e5, -2e5),
                velocity: Vector2::new(dice.within(-1.0, 1.0), dice.within(-1.0, 1.0)),
                radius: dice.within(0.2, 0.5),
                max_speed: 2.0,
                rank: dice.within(0.0, 3.0) as u8,
            })
            .collect();
        let preferred: Vec<_> =
            robots.iter().map(|_| Vector2::new(dice.within(-1.5, 1.5), dice.within(-1.5, 1.5))).collect();
        let options = Options { braking: if seed % 2 == 0 { 2.0 } else { f64::INFINITY }, ..Options::default() };
        let walls = vec![Wall { from: Vector2::new(1e5 - 9.0, -2e5), to: Vector2::new(1e5 + 9.0, -2e5) }];
        let mut crowd = Crowd::new(options, walls.clone()).unwrap();
        let together = crowd.velocities(&robots, &preferred).unwrap().to_vec();
        for (index, velocity) in together.iter().enumerate() {
            let mut others = robots.clone();
            let me = others.remove(index);
            let alone = avoid(&me, &others, &walls, preferred[index], &options).unwrap();
            // Equally far neighbours may come in another order.
            assert!((alone - velocity).norm() < 2e-3, "seed {seed}, robot {index}: {alone} {velocity}");
        }
    }
}

#[test]
fn no_number_is_refused_and_named() {
    let fine = robot(0.0, 0.0, 0.0, 0.0);
    let options = Options::default();
    let mut crowd = Crowd::new(options, Vec::new()).unwrap();
    let zero = Vector2::zeros();
    let error = crowd.velocities(&[fine, robot(f64::NAN, 0.0, 0.0, 0.0)], &[zero, zero]).unwrap_err();
    assert!(matches!(error, AvoidanceError::Robot { index: 1, .. }), "{error}");
    let error = crowd.velocities(&[fine, robot(0.0, 0.0, f64::INFINITY, 0.0)], &[zero, zero]).unwrap_err();
    assert_eq!(error.to_string(), "robot 1: velocity is inf, and must be finite");
    let error = crowd.velocities(&[fine], &[Vector2::new(0.0, f64::NAN)]).unwrap_err();
    assert!(matches!(error, AvoidanceError::Preferred { index: 0, .. }), "{error}");
    assert!(matches!(crowd.velocities(&[fine], &[]), Err(AvoidanceError::Count { robots: 1, preferred: 0 })));
    assert!(avoid(&fine, &[Robot { radius: -1.0, ..fine }], &[], zero, &options).is_err());
    assert!(avoid(&fine, &[], &[Wall { from: zero, to: Vector2::new(f64::NAN, 0.0) }], zero, &options).is_err());
    assert!(Crowd::new(Options { horizon: 0.0, ..options }, Vec::new()).is_err());
    assert!(Crowd::new(Options { neighbours: 1000, ..options }, Vec::new()).is_err());
    // What was refused leaves nothing behind.
    assert_eq!(crowd.velocities(&[fine], &[Vector2::x()]).unwrap(), [Vector2::x()]);
}

#[test]
fn same_seed_same_run() {
    let paths = |seed| {
        let starts = circle(20, 8.0);
        let body = Body { noise: 0.01, margin: 0.05, ..Body::default() };
        let mut scene = Scene::new(body, &starts, Vec::new(), Options::default(), seed).unwrap();
        let goals: Vec<_> = starts.iter().map(|start| -start).collect();
        run(&mut scene, &goals, 1.5, 0.2, 20.0);
        scene.paths().to_vec()
    };
    assert_eq!(paths(1), paths(1));
    assert_ne!(paths(1), paths(2));
}
