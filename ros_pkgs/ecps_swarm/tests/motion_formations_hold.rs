//! Robots in formation, simulated: everyone reaches its slot, and nobody comes near anybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_core::campaign::rounds;
use ecps_swarm::motion::formation::{Formation, Keeping, Settings, keep};
use ecps_swarm::motion::route::Heading;
use ecps_swarm::motion::scene::{Body, Dice, March};
use ecps_swarm::motion::shape::Shape;
use ecps_swarm::motion::{MAX_SPEED, SEPARATION};
use nalgebra::{Isometry2, Vector2};

const COUNTS: [usize; 4] = [3, 7, 20, 100];

/// A robot that takes time to change its speed and knows places to 5 mm.
fn body() -> Body {
    Body { margin: 0.02, acceleration: 2.0, noise: 0.005, ..Body::default() }
}

fn shapes(dice: &mut Dice, count: usize) -> [Shape; 6] {
    let custom = dice.scattered(count, 3.0);
    [Shape::Line, Shape::Circle, Shape::Grid, Shape::Triangle, Shape::Diamond, Shape::Custom(custom)]
}

fn march(seed: u64, starts: &[Vector2<f64>], shape: Shape, pose: &Isometry2<f64>) -> March {
    March::new(body(), starts, shape, pose, seed).unwrap()
}

/// A formation that is settled.
fn check(march: &March, what: &str) {
    let (scene, formation) = (march.scene(), march.formation());
    let errors: Vec<f64> = march.errors().collect();
    assert_eq!(errors.len(), march.names().len(), "{what}: not all have slots");
    let worst = errors.iter().copied().fold(0.0, f64::max);
    assert!(worst < 0.1, "{what}: a slot is missed by {worst} m");
    let rms = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
    assert!(rms < 0.02, "{what}: RMS {rms} m");
    let least = scene.least_distance();
    assert!(least >= SEPARATION / 2.0, "{what}: two robots came within {least} m");
    let mut slots: Vec<usize> = march.names().iter().map(|name| formation.slot(name).unwrap().0).collect();
    slots.sort_unstable();
    assert!(slots.iter().copied().eq(0..errors.len()), "{what}: slots {slots:?}");
    let centre = scene.places().sum::<Vector2<f64>>() / errors.len() as f64;
    let drift = (centre - formation.route().pose().translation.vector).norm();
    assert!(drift < 0.01, "{what}: the centre is off by {drift} m");
}

/// From random starts to all shapes.
#[test]
fn every_slot_is_reached_and_nobody_comes_near() {
    // In full 1,000: of each shape and count 41 or 42.
    for seed in 0..u64::from(rounds(48, 1000)) {
        let mut dice = Dice::new(seed);
        let count = COUNTS[seed as usize % 4];
        let shape = shapes(&mut dice, count)[seed as usize / 4 % 6].clone();
        let what = format!("seed {seed}, {count} robots, {shape:?}");
        let starts = dice.scattered(count, SEPARATION);
        let centre = Vector2::new(dice.within(-10.0, 10.0), dice.within(-10.0, 10.0));
        let pose = Isometry2::new(centre, dice.within(-3.0, 3.0));
        let mut march = march(seed, &starts, shape, &pose);
        march.settle(2000.0).unwrap();
        check(&march, &what);
        assert_eq!(march.formation().plans(), 1, "{what}: slots were assigned again");
    }
}

/// Circle, line and grid on the way, while robots join and leave.
#[test]
fn robots_join_and_leave_on_the_way() {
    for seed in 0..u64::from(rounds(6, 60)) {
        let mut dice = Dice::new(1000 + seed);
        let count = 5 + seed as usize % 8;
        let starts = dice.scattered(count, SEPARATION);
        let mut march = march(seed, &starts, Shape::Circle, &Isometry2::identity());
        let corners = [Vector2::new(20.0, 0.0), Vector2::new(20.0, 20.0), Vector2::new(-10.0, 15.0)];
        corners.iter().for_each(|corner| march.formation_mut().go(*corner, Heading::Along).unwrap());
        let (mut speed, mut changes) = (0.0_f64, 0);
        for step in 1..1500 {
            match step % 300 {
                40 => march.formation_mut().set_shape([Shape::Line, Shape::Grid][step / 300 % 2].clone()).unwrap(),
                // In the middle of the re-forming.
                60 => {
                    let names = march.names();
                    march.leave(names[dice.within(0.0, names.len() as f64) as usize]);
                }
                150 => {
                    let from = march.formation().route().pose().translation.vector;
                    let others: Vec<_> = march.scene().places().collect();
                    let free = |place: &Vector2<f64>| others.iter().all(|p| (p - place).norm() >= SEPARATION);
                    let place = (0..).map(|_| from + Vector2::new(dice.within(-9.0, 9.0), dice.within(-9.0, 9.0)));
                    march.join(place.into_iter().find(free).unwrap()).unwrap();
                    changes += 1;
                }
                _ => {}
            }
            march.step().unwrap();
            let references = march.names().iter().filter_map(|name| march.formation().reference(name));
            speed = references.map(|reference| reference.velocity.norm()).fold(speed, f64::max);
        }
        march.settle(500.0).unwrap();
        check(&march, &format!("seed {seed}"));
        assert!(changes == 5 && speed <= MAX_SPEED, "a reference moved with {speed} m/s");
        assert_eq!(march.formation().route().pose().translation.vector, corners[2]);
    }
}

/// References do not jump, and velocities change within limits, whatever happens to the formation.
#[test]
fn references_move_smoothly_through_changes() {
    let mut dice = Dice::new(5);
    let mut formation = Formation::new(Settings::default(), Shape::Circle, &Isometry2::identity()).unwrap();
    let starts = dice.scattered(12, SEPARATION);
    for (name, start) in starts.iter().enumerate() {
        formation.see(name, *start).unwrap();
    }
    formation.go(Vector2::new(30.0, 10.0), Heading::Along).unwrap();
    let dt = 0.01;
    let mut before = vec![None; 12];
    for step in 0..9000 {
        match step {
            400 => formation.set_shape(Shape::Line).unwrap(),
            700 => formation.leave(&3),
            2500 => formation.set_shape(Shape::Grid).unwrap(),
            2600 => formation.leave(&7),
            2650 => formation.set_shape(Shape::Diamond).unwrap(),
            _ => {}
        }
        formation.advance(dt);
        for (name, before) in before.iter_mut().enumerate() {
            let Some(now) = formation.reference(&name) else { continue };
            formation.see(name, now.place).unwrap();
            if let Some(last) = before.replace(now) {
                let jump = (now.place - last.place).norm();
                assert!(jump <= MAX_SPEED * dt * 1.01, "robot {name} jumps {jump} m at {step}");
                let change = (now.velocity - last.velocity).norm() / dt;
                assert!(change <= 3.0, "robot {name}: {change} m/s² at {step}");
            }
        }
    }
    assert!(formation.is_settled() && formation.plans() >= 4);
}

/// A robot that is carried away gets a way back, and the others stay where they are.
#[test]
fn one_that_is_carried_away_comes_back_and_slots_do_not_flip() {
    let starts = Dice::new(8).scattered(7, SEPARATION);
    let mut formation = Formation::new(Settings::default(), Shape::Circle, &Isometry2::identity()).unwrap();
    let mut places = starts.clone();
    let run = |formation: &mut Formation<usize>, places: &mut Vec<Vector2<f64>>| {
        for _ in 0..3000 {
            for (name, place) in places.iter_mut().enumerate() {
                formation.see(name, *place).unwrap();
                if let Some(reference) = formation.reference(&name) {
                    let me = Keeping { place: *place, reference };
                    *place += keep(&me, &[], MAX_SPEED) * 0.01;
                }
            }
            formation.advance(0.01);
        }
    };
    run(&mut formation, &mut places);
    let slots =
        |formation: &Formation<usize>| -> Vec<usize> { (0..7).map(|n| formation.slot(&n).unwrap().0).collect() };
    let (before, plans) = (slots(&formation), formation.plans());
    places[2] += Vector2::new(0.0, 4.5);
    run(&mut formation, &mut places);
    assert_eq!(slots(&formation), before);
    assert!(formation.plans() > plans && formation.is_settled());
    assert!((formation.slot(&2).unwrap().1 - places[2]).norm() < 0.01);
}

#[test]
fn what_makes_no_formation_is_refused_and_changes_nothing() {
    let mut formation = Formation::new(Settings::default(), Shape::Circle, &Isometry2::identity()).unwrap();
    assert!(formation.see(1, Vector2::new(f64::NAN, 0.0)).is_err());
    assert!(formation.see(1, Vector2::new(1e12, 0.0)).is_err());
    assert_eq!(formation.members().len(), 0);
    formation.see(1, Vector2::zeros()).unwrap();
    formation.see(2, Vector2::zeros()).unwrap();
    let points = Shape::Custom(vec![Vector2::zeros(), Vector2::new(3.0, 0.0)]);
    formation.set_shape(points).unwrap();
    let error = formation.see(3, Vector2::zeros()).unwrap_err();
    assert_eq!(error.to_string(), "the formation has 2 points for 3 robots");
    assert_eq!(formation.members().len(), 2);
    assert!(formation.set_shape(Shape::Custom(Vec::new())).is_err());
    assert!(formation.go(Vector2::new(f64::NAN, 0.0), Heading::Kept).is_err());
    assert!(formation.see(1, Vector2::new(f64::INFINITY, 0.0)).is_err());
    formation.advance(f64::NAN);
    formation.advance(-1.0);
    formation.advance(0.1);
    assert!(formation.reference(&1).unwrap().place.x.is_finite());
    assert!(
        Formation::<u8>::new(Settings { scale: f64::NAN, ..Settings::default() }, Shape::Line, &Isometry2::identity())
            .is_err()
    );
}
