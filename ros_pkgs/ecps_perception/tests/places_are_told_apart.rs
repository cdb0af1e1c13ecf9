//! The scan's descriptor stays when the robot turns, and changes from room to room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::f64::consts::{PI, TAU};

use ecps_perception::embed::EmbedError;
use ecps_perception::embed::scan::{DIMENSION, describe};
use ecps_perception::sensor::LaserScan;
use world::{Room, pose, rooms};

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Descriptor of a full-circle scan of 360 rays.
fn around(room: &Room, x: f64, y: f64, heading: f64, seed: u64) -> Vec<f32> {
    describe(&room.scan(&pose(x, y, heading), 360, TAU, seed)).unwrap()
}

#[test]
fn turning_on_the_spot_does_not_change_a_place() {
    for room in rooms() {
        let ahead = around(&room, 3.0, 1.5, 0.0, 0);
        for (seed, heading) in [0.003, 0.3, 1.0, 1.7, PI, -2.0, -0.5].into_iter().enumerate() {
            let turned = similarity(&ahead, &around(&room, 3.0, 1.5, heading, 1 + seed as u64));
            eprintln!("{heading} {turned}");
            assert!(turned > 0.8, "{turned} at {heading} rad");
        }
    }
}

#[test]
fn rooms_differ_and_a_few_steps_aside_is_still_the_same_room() {
    let rooms = rooms();
    let first = rooms.iter().map(|room| around(room, 3.0, 1.5, 0.0, 0)).collect::<Vec<_>>();
    let second = rooms.iter().map(|room| around(room, 3.2, 1.3, 2.2, 1)).collect::<Vec<_>>();
    for (i, here) in first.iter().enumerate() {
        for (j, there) in second.iter().enumerate() {
            let similarity = similarity(here, there);

            assert!(if i == j { similarity > 0.85 } else { similarity < 0.7 }, "rooms {i} and {j}: {similarity}");
        }
    }
}

#[test]
fn half_a_circle_bears_small_turns() {
    for room in rooms() {
        let seen = |heading, seed| describe(&room.scan(&pose(2.8, 1.5, heading), 180, PI, seed)).unwrap();
        let similarity = similarity(&seen(0.0, 0), &seen(0.2, 1));
        assert!(similarity > 0.7, "{similarity}");
    }
}

#[test]
fn a_descriptor_is_finite_and_of_length_one_whatever_the_sensor() {
    for (rays, field) in [(60, TAU), (180, PI), (1080, 1.5 * PI), (2000, TAU)] {
        let mut scan = rooms()[0].scan(&pose(3.0, 1.5, 0.4), rays, field, 7);
        for (index, range) in scan.ranges.iter_mut().enumerate() {
            match index % 10 {
                0 => *range = f32::INFINITY,
                5 if index < 20 => *range = f32::NAN,
                7 if index < 20 => *range = -1.0,
                _ => {}
            }
        }
        let descriptor = describe(&scan).unwrap();
        assert_eq!(descriptor.len(), DIMENSION);
        assert!(descriptor.iter().all(|value| value.is_finite()));
        assert!((similarity(&descriptor, &descriptor) - 1.0).abs() < 1e-4);
    }
}

#[test]
fn what_holds_no_place_is_refused_by_name() {
    let refused = |scan: &LaserScan| describe(scan).unwrap_err().to_string();
    let scan = rooms()[0].scan(&pose(3.0, 1.5, 0.0), 180, PI, 0);
    let nothing = LaserScan { ranges: vec![f32::INFINITY; 180], ..scan.clone() };
    assert_eq!(refused(&nothing), "the scan has 0 valid ranges, and 20 are needed");
    let still = LaserScan { angle_increment: 0.0, ..scan.clone() };
    assert!(refused(&still).contains("angle_increment 0"));
    let nan = LaserScan { angle_min: f32::NAN, ..scan.clone() };
    assert!(refused(&nan).contains("angle_min is NaN"));
    let many = LaserScan { ranges: vec![1.0; 16_385], ..scan.clone() };
    assert!(refused(&many).contains("16385 rays"));
    let scattered = scan.ranges.iter().enumerate().map(|(ray, _)| if ray % 2 == 0 { 2.0 } else { 9.0 }).collect();
    let scattered = LaserScan { ranges: scattered, ..scan };
    assert!(matches!(describe(&scattered), Err(EmbedError::Featureless(_))));
}
