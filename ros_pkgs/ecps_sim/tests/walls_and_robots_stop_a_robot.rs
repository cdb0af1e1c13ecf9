//! Nothing drives through anything, and nothing reaches the motors that is not a number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_sim::{
    floor_plan::FloorPlan,
    robot::{RobotSpec, Velocity},
    world::{CommandError, MAX_ROBOTS, StepError, World, WorldError},
};
use nalgebra::{Isometry2, Point2, Vector2};
use std::time::Duration;

const PIECE: Duration = Duration::from_millis(10);

fn pose(x: f64, y: f64, heading: f64) -> Isometry2<f64> {
    Isometry2::new(Vector2::new(x, y), heading)
}

/// A 10 m × 8 m room with a wall of 2 cm across it at x = 5.
fn room(robots: Vec<RobotSpec>) -> World {
    let rectangle = |x0: f64, y0: f64, x1: f64, y1: f64| {
        [(x0, y0), (x1, y0), (x1, y1), (x0, y1)].map(|(x, y)| Point2::new(x, y)).to_vec()
    };
    let plan = FloorPlan::new(rectangle(0.0, 0.0, 10.0, 8.0), vec![rectangle(5.0, 0.0, 5.02, 8.0)]).unwrap();
    World::new(plan, 1, robots).unwrap()
}

fn drive(world: &mut World, robot: usize, linear: f64, angular: f64, pieces: u32) {
    for _ in 0..pieces {
        world.command(robot, Velocity { linear, angular }).unwrap();
        world.step(PIECE).unwrap();
    }
}

#[test]
fn a_thin_wall_stops_the_fastest_robot_and_pushing_counts_once() {
    let mut fast = RobotSpec::new("r", pose(2.0, 4.0, 0.0));
    (fast.base.max_linear, fast.base.linear_acceleration, fast.base.radius) = (5.0, 100.0, 0.05);
    let mut world = room(vec![fast]);
    drive(&mut world, 0, 5.0, 0.0, 200);
    let robot = world.robot(0).unwrap();
    assert!((robot.pose().translation.x - 4.95).abs() < 1e-6, "{}", robot.pose());
    assert_eq!((robot.collisions(), robot.velocity().linear), (1, 0.0));

    // Back, and into the wall again: another one. Turning on the spot at the wall is possible meanwhile.
    drive(&mut world, 0, 0.0, 1.0, 50);
    assert!(world.robot(0).unwrap().pose().rotation.angle() > 0.3);
    drive(&mut world, 0, 0.0, -1.0, 50);
    drive(&mut world, 0, -1.0, 0.0, 50);
    drive(&mut world, 0, 5.0, 0.0, 100);
    assert_eq!(world.robot(0).unwrap().collisions(), 2);
}

#[test]
fn no_blind_drive_leaves_the_free_space_of_the_office() {
    let plan = FloorPlan::office();
    let mut world = World::new(plan.clone(), 5, vec![RobotSpec::new("r", pose(3.0, 5.9, 0.3))]).unwrap();
    for piece in 0..20_000u32 {
        // Full speed, turning now and then, backing off at times.
        let t = f64::from(piece) * 0.01;
        let linear = if (0.31 * t).sin() > -0.8 { 9.0 } else { -9.0 };
        drive(&mut world, 0, linear, 2.0 * (0.53 * t).sin() + 1.5 * (1.7 * t).cos(), 1);
        let at = Point2::from(world.robot(0).unwrap().pose().translation.vector);
        assert!(plan.is_free(at) && plan.distance_to_wall(at) >= 0.22 - 1e-9, "at {at} after {t} s");
    }
    assert!(world.robot(0).unwrap().collisions() > 20);
}

#[test]
fn robots_stop_each_other_and_see_each_other() {
    let mut world = room(vec![RobotSpec::new("a", pose(1.0, 4.0, 0.0)), RobotSpec::new("b", pose(3.0, 4.0, 0.0))]);
    let ahead = |world: &World| f64::from(world.scan(0).unwrap().ranges[180]);
    // 2 m from centre to centre, less b's radius.
    assert!((ahead(&world) - 1.78).abs() < 0.06, "{}", ahead(&world));
    drive(&mut world, 0, 1.0, 0.0, 300);
    let [a, b] = [0, 1].map(|robot| world.robot(robot).unwrap());
    assert!((b.pose().translation.x - a.pose().translation.x - 0.44).abs() < 1e-6);
    assert_eq!((a.collisions(), b.collisions()), (1, 0));
    assert_eq!(b.pose().translation.x, 3.0);
}

#[test]
fn robots_that_meet_within_one_long_step_stop_at_each_other() {
    let mut robots = [RobotSpec::new("a", pose(1.0, 4.0, 0.0)), RobotSpec::new("b", pose(3.0, 4.0, 3.0))];
    for robot in &mut robots {
        robot.base.command_timeout = Duration::from_secs(10);
    }
    let mut world = room(robots.to_vec());
    for robot in 0..2 {
        world.command(robot, Velocity { linear: 1.0, angular: 0.0 }).unwrap();
    }
    world.step(Duration::from_secs(5)).unwrap();
    let [a, b] = [0, 1].map(|robot| world.robot(robot).unwrap());
    let distance = (a.pose().translation.vector - b.pose().translation.vector).norm();
    assert!((distance - 0.44).abs() < 1e-5, "{distance}");
    assert!(a.collisions() > 0 && b.collisions() > 0);
    // Each sees the other before it: b looks back along almost the same line.
    for robot in 0..2 {
        let nearest = world.scan(robot).unwrap().ranges.into_iter().fold(f32::INFINITY, f32::min);
        assert!((f64::from(nearest) - 0.22).abs() < 0.06, "robot {robot} sees {nearest} m");
    }
}

#[test]
fn a_command_that_is_not_finite_is_refused_counted_and_changes_nothing() {
    let mut world = room(vec![RobotSpec::new("r", pose(2.0, 4.0, 0.0))]);
    drive(&mut world, 0, 0.5, 0.0, 30);
    let before = world.state_sha();
    for (linear, angular) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (f64::NEG_INFINITY, f64::NAN)] {
        let refused = world.command(0, Velocity { linear, angular }).unwrap_err();
        assert!(matches!(refused, CommandError::NotFinite { .. }), "{refused}");
    }
    assert_eq!(world.state_sha(), before);
    assert_eq!(world.robot(0).unwrap().refused_commands(), 3);
    // The good command stays in force, and its timeout was not renewed.
    world.step(PIECE).unwrap();
    assert_eq!(world.robot(0).unwrap().velocity().linear, 0.5);
    world.step(Duration::from_secs(1)).unwrap();
    assert_eq!(world.robot(0).unwrap().velocity().linear, 0.0);

    let unknown = world.command(3, Velocity::default()).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no robot 3, the world has 1");
}

#[test]
fn a_step_that_is_too_long_moves_nothing() {
    let mut world = room(vec![RobotSpec::new("r", pose(2.0, 4.0, 0.0))]);
    let asked = Duration::from_secs(61);
    assert_eq!(world.step(asked), Err(StepError::TooLong { asked }));
    assert_eq!(world.time_ns(), 0);
    world.step(Duration::ZERO).unwrap();
    assert_eq!(world.time_ns(), 0);
}

#[test]
fn worlds_that_cannot_be_are_refused_by_name() {
    let refused = |robots: Vec<RobotSpec>| World::new(FloorPlan::office(), 1, robots).unwrap_err();
    let free = |name: &str| RobotSpec::new(name, pose(3.0, 5.9, 0.0));

    for name in ["", "1robot", "a/b", "r-2", &"x".repeat(65)] {
        assert!(matches!(refused(vec![free(name)]), WorldError::BadName { .. }), "{name:?}");
    }
    assert!(matches!(refused(vec![free("r"), free("r")]), WorldError::DuplicateName { .. }));
    assert!(matches!(refused(vec![free("r"), free("s")]), WorldError::Overlap { .. }));
    for (x, y) in [(6.0, 8.0), (1.0, 6.6), (-5.0, 5.0), (f64::NAN, 5.0)] {
        assert!(matches!(refused(vec![RobotSpec::new("r", pose(x, y, 0.0))]), WorldError::NoRoom { .. }), "{x} {y}");
    }
    let mut heading = free("r");
    heading.start = pose(3.0, 5.9, f64::NAN);
    assert!(matches!(refused(vec![heading]), WorldError::NoRoom { .. }));
    let mut radius = free("r");
    radius.base.radius = -1.0;
    assert_eq!(refused(vec![radius]).to_string(), "robot \"r\": base.radius is -1, outside 0.05 to 2");
    assert_eq!(refused(vec![free("r"); MAX_ROBOTS + 1]), WorldError::TooManyRobots { robots: MAX_ROBOTS + 1 });
}
