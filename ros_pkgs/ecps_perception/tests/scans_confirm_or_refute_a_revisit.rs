//! Matching finds the motion between two scans of one room, and says no to another room and to a bare corridor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::{PI, TAU};
use std::time::Duration;

use ecps_perception::scan_match::{Pairs, Refuted, ScanMatch, ScanPoints, Thresholds, match_scans};
use ecps_perception::sensor::LaserScan;
use nalgebra::Isometry2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use world::{Room, pose, rooms};

fn matched(reference: &LaserScan, query: &LaserScan) -> Result<ScanMatch, Refuted> {
    match_scans(&ScanPoints::new(reference).unwrap(), &ScanPoints::new(query).unwrap())
}

/// Metres and rad between two poses.
fn apart(a: &Isometry2<f64>, b: &Isometry2<f64>) -> (f64, f64) {
    let between = a.inverse() * b;
    (between.translation.vector.norm(), between.rotation.angle().abs())
}

#[test]
fn a_known_motion_is_found_from_any_heading_and_confirmed() {
    let mut rng = Pcg64Mcg::seed_from_u64(21);
    for round in 0..40 {
        let room = &rooms()[round % 4];
        let from = pose(3.0, 1.5, rng.random_range(-PI..PI));
        let to = pose(3.0 + rng.random_range(-0.8..0.8), 1.5 + rng.random_range(-0.6..0.4), rng.random_range(-PI..PI));
        let (seed, rays) = (round as u64, [180, 360, 720, 1440][round / 4 % 4]);
        let found = matched(&room.scan(&from, rays, TAU, seed), &room.scan(&to, rays, TAU, 1000 + seed)).unwrap();
        let (metres, rad) = apart(&found.transform, &(from.inverse() * to));
        assert!(metres < 0.02 && rad < 0.01, "round {round}: {metres} m, {rad} rad, {found:?}");
        assert_eq!(found.confirm(&Thresholds::default()), Ok(()), "round {round}: {found:?}");
    }
}

#[test]
fn half_a_circle_of_rays_is_enough_for_a_small_motion() {
    for (index, room) in rooms().iter().enumerate() {
        let (from, to) = (pose(2.8, 1.6, 0.3), pose(3.0, 1.4, 0.7));
        let found = matched(&room.scan(&from, 180, PI, 1), &room.scan(&to, 180, PI, 2)).unwrap();
        let (metres, rad) = apart(&found.transform, &(from.inverse() * to));
        assert!(metres < 0.03 && rad < 0.02, "room {index}: {metres} m, {rad} rad");
        assert_eq!(found.confirm(&Thresholds::default()), Ok(()), "room {index}: {found:?}");
    }
}

#[test]
fn a_scanner_mounted_upside_down_is_matched_too() {
    let room = &rooms()[0];
    let flipped = |scan: LaserScan| {
        let ranges = scan.ranges.into_iter().rev().collect();
        LaserScan { angle_min: scan.angle_max, angle_increment: -scan.angle_increment, ranges, ..scan }
    };
    let (from, to) = (pose(2.8, 1.6, 0.3), pose(3.0, 1.4, 0.7));
    let found = matched(&room.scan(&from, 360, TAU, 1), &flipped(room.scan(&to, 360, TAU, 2))).unwrap();
    let (metres, rad) = apart(&found.transform, &(from.inverse() * to));
    assert!(metres < 0.02 && rad < 0.01, "{metres} m, {rad} rad");
}

#[test]
fn another_room_is_refuted() {
    let mut rng = Pcg64Mcg::seed_from_u64(22);
    let rooms = rooms();
    for round in 0..24 {
        let (one, other) = (round % 4, (round + 1 + round / 4 % 3) % 4);
        let mut scan = |room: &Room| {
            let at = pose(rng.random_range(2.6..3.4), rng.random_range(1.2..1.7), rng.random_range(-PI..PI));
            room.scan(&at, 360, TAU, rng.random())
        };
        let (a, b) = (scan(&rooms[one]), scan(&rooms[other]));
        let verdict = matched(&a, &b).and_then(|found| found.confirm(&Thresholds::default()));
        assert!(verdict.is_err(), "rooms {one} and {other} were taken for one");
    }
}

#[test]
fn a_bare_corridor_does_not_say_where_along_it_the_robot_stood() {
    let corridor = Room::new(200.0, 2.0, &[]);
    let scan = |x, seed| corridor.scan(&pose(x, 1.0, 0.0), 360, TAU, seed);
    let found = matched(&scan(80.0, 1), &scan(120.0, 2)).unwrap();
    assert!(matches!(found.confirm(&Thresholds::default()), Err(Refuted::Loose { .. })), "{found:?}");
}

#[test]
fn something_new_in_the_way_refutes_however_well_the_walls_agree() {
    let empty = Room::new(6.0, 4.0, &[[4.5, 0.0, 0.8, 1.0]]);
    let furnished = Room::new(6.0, 4.0, &[[4.5, 0.0, 0.8, 1.0], [2.4, 2.3, 1.2, 0.4]]);
    let at = pose(3.0, 1.5, 0.0);
    let verdict = matched(&empty.scan(&at, 360, TAU, 1), &furnished.scan(&at, 360, TAU, 2)).unwrap();
    assert!(matches!(verdict.confirm(&Thresholds::default()), Err(Refuted::Agreement { .. })), "{verdict:?}");
}

#[test]
fn a_place_seen_again_is_found_where_the_two_are_far_enough_apart_in_time() {
    const SECOND: i64 = 1_000_000_000;
    let rooms = rooms();
    let seen = [(0, 0, 0.0), (10, 0, 1.0), (20, 1, 0.0), (40, 0, 2.0), (60, 1, 3.0)];
    let scan = |(time, room, heading): (i64, usize, f64)| {
        let scan = rooms[room].scan(&pose(3.0, 1.5, heading), 360, TAU, time.unsigned_abs());
        (time * SECOND, ScanPoints::new(&scan).unwrap())
    };
    let pairs = Pairs::compare(&seen.map(scan).into(), Duration::from_secs(30));
    // 40 with 0 and 10; 60 with 0, 10 and 20, and not with 40.
    assert_eq!(pairs.compared, 5);
    let expected = [(40 * SECOND, BTreeSet::from([0, 10 * SECOND])), (60 * SECOND, BTreeSet::from([20 * SECOND]))];
    assert_eq!((pairs.count(), pairs.confirmed), (3, BTreeMap::from(expected)));
}
