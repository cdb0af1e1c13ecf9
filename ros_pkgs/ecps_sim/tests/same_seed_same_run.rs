//! A run is a function of its seed and its commands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_sim::{
    floor_plan::FloorPlan,
    lidar::Scan,
    robot::{Drift, RobotSpec, Velocity},
    tour::Tour,
    world::World,
};
use std::time::Duration;

const PIECE: Duration = Duration::from_millis(10);

fn world(seed: u64) -> World {
    let tour = Tour::office();
    let robots = ["lab", "kitchen"].map(|place| {
        let mut spec = RobotSpec::new(place, tour.place(place).unwrap().pose);
        spec.base.drift = Drift { distance: 0.02, heading: 0.02 };
        spec
    });
    World::new(FloorPlan::office(), seed, robots.to_vec()).unwrap()
}

/// What a script moves, at each tenth of a second.
fn script(world: &mut World, tick: u32) {
    let t = f64::from(tick) * 0.1;
    world.command(0, Velocity { linear: 0.4, angular: (0.7 * t).sin() }).unwrap();
    if tick % 9 < 4 {
        world.command(1, Velocity { linear: -0.3, angular: 0.9 }).unwrap();
    }
}

#[derive(Debug, PartialEq)]
struct Run {
    states: Vec<[u8; 32]>,
    scans: Vec<Scan>,
    odometry: Vec<nalgebra::Isometry2<f64>>,
}

fn run(seed: u64) -> Run {
    let mut world = world(seed);
    let mut run = Run { states: vec![], scans: vec![], odometry: vec![] };
    for tick in 0..60 {
        script(&mut world, tick);
        for _ in 0..10 {
            world.step(PIECE).unwrap();
        }
        run.states.push(world.state_sha());
        run.scans.extend((0..2).map(|robot| world.scan(robot).unwrap()));
        run.odometry.extend(world.robots().iter().map(|robot| robot.odometry()));
    }
    run
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let first = run(42);
    assert_eq!(first, run(42));
    let other = run(43);
    assert_ne!(first.scans, other.scans);
    assert_ne!(first.odometry, other.odometry);
    // The motors have no noise: where the robots truly went depends on the commands alone.
    assert_eq!(first.states, other.states);
    assert!(first.states.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn looking_and_the_length_of_steps_change_nothing() {
    let (mut looked, mut blind) = (world(42), world(42));
    for tick in 0..20 {
        script(&mut looked, tick);
        script(&mut blind, tick);
        for _ in 0..10 {
            looked.step(PIECE).unwrap();
            looked.scan(1).unwrap();
        }
        blind.step(PIECE * 10).unwrap();
        assert_eq!(looked.state_sha(), blind.state_sha());
        assert_eq!(looked.scan(0).unwrap(), blind.scan(0).unwrap());
        assert_eq!(looked.robots()[0].odometry(), blind.robots()[0].odometry());
    }
    assert_eq!(blind.time_ns(), 2_000_000_000);
}

#[test]
fn noise_is_new_at_each_moment_only() {
    let mut world = world(42);
    let before = world.scan(0).unwrap();
    assert_eq!(before, world.scan(0).unwrap());
    world.step(PIECE).unwrap();
    // Nothing has moved; only the noise differs.
    assert_ne!(before.ranges, world.scan(0).unwrap().ranges);
}

#[test]
fn the_digest_follows_its_published_definition() {
    use sha2::{Digest, Sha256};
    let mut world = world(1);
    world.command(0, Velocity { linear: 0.4, angular: -0.2 }).unwrap();
    world.step(PIECE * 3).unwrap();
    let mut bytes = b"ecps_sim/1".to_vec();
    bytes.extend(30_000_000u64.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    for robot in world.robots() {
        let (pose, velocity) = (robot.pose(), robot.velocity());
        let state = [pose.translation.x, pose.translation.y, pose.rotation.angle(), velocity.linear, velocity.angular];
        for value in state {
            bytes.extend(((value * 1e6).round() as i64).to_le_bytes());
        }
    }
    assert_eq!(world.state_sha().as_slice(), Sha256::digest(&bytes).as_slice());
}
