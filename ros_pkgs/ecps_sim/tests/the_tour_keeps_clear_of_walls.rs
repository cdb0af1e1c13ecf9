//! Every way of the tour is safe to drive in straight lines, and a robot that does so arrives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_sim::{
    floor_plan::FloorPlan,
    robot::{RobotSpec, Velocity},
    tour::{LEG_CLEARANCE_M, RouteError, Tour},
    world::World,
};
use nalgebra::{Isometry2, Point2, Vector2};
use std::time::Duration;

fn at(pose: &Isometry2<f64>) -> Point2<f64> {
    pose.translation.vector.into()
}

/// Least distance to a wall of a straight drive, by sampling each centimetre: another method than the library's own.
fn sampled_clearance(plan: &FloorPlan, a: Point2<f64>, b: Point2<f64>) -> f64 {
    let samples = ((b - a).norm() / 0.01).ceil() as u32 + 1;
    (0..=samples)
        .map(|i| a + (b - a) * (f64::from(i) / f64::from(samples)))
        .map(|point| if plan.is_free(point) { plan.distance_to_wall(point) } else { 0.0 })
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn every_leg_between_any_two_places_keeps_its_distance() {
    let (plan, tour) = (FloorPlan::office(), Tour::office());
    assert!(tour.places().len() >= 8);
    for from in tour.places() {
        for to in tour.places() {
            let route = tour.route(at(&from.pose), to.name).unwrap();
            assert_eq!(route.last(), Some(&to.pose));
            let mut here = at(&from.pose);
            for (index, pose) in route.iter().enumerate() {
                let clearance = sampled_clearance(&plan, here, at(pose));
                assert!(clearance >= LEG_CLEARANCE_M, "{} to {}, leg {index}: {clearance} m", from.name, to.name);
                here = at(pose);
            }
            for pair in route.windows(2) {
                let leg = pair[1].translation.vector - pair[0].translation.vector;
                let ahead = pair[0].rotation * Vector2::x();
                assert!(leg.norm() > 1e-3 && ahead.dot(&leg) > leg.norm() - 1e-9, "{} to {}", from.name, to.name);
            }
        }
    }
}

#[test]
fn routes_are_short_and_lead_anywhere_free() {
    let tour = Tour::office();
    let length = |from: Point2<f64>, route: &[Isometry2<f64>]| {
        let ends = std::iter::once(from).chain(route.iter().map(at));
        ends.clone().zip(ends.skip(1)).map(|(a, b)| (b - a).norm()).sum::<f64>()
    };
    // Through the door between them and not by the corridor.
    let (lab, kitchen) = (at(&tour.place("lab").unwrap().pose), at(&tour.place("kitchen").unwrap().pose));
    let way = tour.route(lab, "kitchen").unwrap();
    assert!(length(lab, &way) < 8.0, "{} m", length(lab, &way));
    assert!(way.iter().all(|pose| pose.translation.y > 6.8));
    assert!((length(kitchen, &tour.route(kitchen, "lab").unwrap()) - length(lab, &way)).abs() < 1e-9);

    let workshop = at(&tour.place("workshop").unwrap().pose);
    let way = tour.route(workshop, "store").unwrap();
    assert!(way.iter().all(|pose| pose.translation.y < 5.0) && length(workshop, &way) < 6.5);

    // From beside a wall, and to a goal that is no place.
    let goal = Isometry2::new(Vector2::new(15.7, 4.6), 1.0);
    let corner = Point2::new(0.3, 11.6);
    assert_eq!(tour.route_to(corner, goal).unwrap().last(), Some(&goal));
    // Already there.
    assert_eq!(tour.route(lab, "lab").unwrap(), [tour.place("lab").unwrap().pose]);
}

#[test]
fn every_spot_with_room_is_connected_to_the_tour() {
    let (plan, tour) = (FloorPlan::office(), Tour::office());
    let grid = (0..40).flat_map(|x| (0..30).map(move |y| Point2::new(f64::from(x) * 0.4, f64::from(y) * 0.4)));
    let roomy: Vec<_> = grid.filter(|p| plan.is_free(*p) && plan.distance_to_wall(*p) > LEG_CLEARANCE_M).collect();
    assert!(roomy.len() > 300, "{}", roomy.len());
    for spot in roomy {
        let there = tour.route_to(at(&tour.places()[0].pose), Isometry2::new(spot.coords, 0.0));
        let back = tour.route(spot, tour.places()[0].name);
        assert!(there.is_ok() && back.is_ok(), "{there:?} {back:?}");
    }
}

#[test]
fn an_unknown_place_and_an_end_in_a_wall_are_refused() {
    let tour = Tour::office();
    let free = Point2::new(3.0, 5.9);
    let unknown = tour.route(free, "garage").unwrap_err().to_string();
    assert!(unknown.contains("\"garage\"") && unknown.contains("kitchen"), "{unknown}");
    for from in [Point2::new(6.0, 8.0), Point2::new(-1.0, 5.0), Point2::new(f64::NAN, 5.0)] {
        assert!(matches!(tour.route(from, "lab"), Err(RouteError::NotFree { .. })), "{from}");
    }
    let heading = Isometry2::new(Vector2::new(3.0, 5.9), f64::NAN);
    assert!(matches!(tour.route_to(free, heading), Err(RouteError::NotFree { .. })));
}

/// Turns on the spot, then drives straight, as a set_pose does.
fn drive_to(world: &mut World, goal: &Isometry2<f64>) {
    for _ in 0..6_000 {
        let pose = world.robot(0).unwrap().pose();
        let ahead = pose.inverse() * at(goal);
        let far = ahead.coords.norm() > 0.03;
        let bearing = if far { ahead.y.atan2(ahead.x) } else { (pose.rotation.inverse() * goal.rotation).angle() };
        if !far && bearing.abs() < 0.03 {
            world.command(0, Velocity::default()).unwrap();
            return;
        }
        let linear = if far && bearing.abs() < 0.1 { ahead.coords.norm().min(1.0) } else { 0.0 };
        world.command(0, Velocity { linear, angular: (3.0 * bearing).clamp(-2.0, 2.0) }).unwrap();
        world.step(Duration::from_millis(10)).unwrap();
    }
    panic!("stuck at {} on the way to {goal}", world.robot(0).unwrap().pose());
}

#[test]
fn the_whole_tour_is_driven_without_touching_a_wall() {
    let tour = Tour::office();
    let start = tour.places()[0].pose;
    let mut world = World::new(FloorPlan::office(), 3, vec![RobotSpec::new("r", start)]).unwrap();
    for place in tour.places().iter().chain(&tour.places()[..1]) {
        for pose in tour.route(at(&world.robot(0).unwrap().pose()), place.name).unwrap() {
            drive_to(&mut world, &pose);
        }
        let off = (at(&world.robot(0).unwrap().pose()) - at(&place.pose)).norm();
        assert!(off < 0.1, "{off} m off {}", place.name);
    }
    assert_eq!(world.robot(0).unwrap().collisions(), 0);
    let minutes = world.time_ns() as f64 / 60e9;
    assert!(minutes < 3.0, "the tour took {minutes} simulated minutes");
}

#[test]
fn a_scan_tells_every_place_from_every_other() {
    let tour = Tour::office();
    let (plan, seed) = (FloorPlan::office(), 9);
    // Sorted ranges do not depend on the heading: the plainest rotation invariant description of a place.
    let scans: Vec<Vec<f32>> = tour
        .places()
        .iter()
        .map(|place| {
            let world = World::new(plan.clone(), seed, vec![RobotSpec::new("r", place.pose)]).unwrap();
            let mut ranges: Vec<f32> = world.scan(0).unwrap().ranges.iter().map(|r| r.min(12.0)).collect();
            ranges.sort_by(f32::total_cmp);
            ranges
        })
        .collect();
    for (i, a) in scans.iter().enumerate() {
        for (j, b) in scans.iter().enumerate().skip(i + 1) {
            let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32;
            let (a, b) = (tour.places()[i].name, tour.places()[j].name);
            assert!(difference > 0.15, "{a} and {b} differ by {difference} m per beam");
        }
    }
}
