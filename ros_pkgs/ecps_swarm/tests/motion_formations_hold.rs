//! Robots in formation, simulated: everyone reaches its slot, and nobody comes near anybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_core::campaign::rounds;
use ecps_swarm::motion::avoidance::Options;
use ecps_swarm::motion::formation::{Formation, Keeping, Settings, keep};
use ecps_swarm::motion::route::Heading;
use ecps_swarm::motion::scene::{Body, Dice, Scene};
use ecps_swarm::motion::shape::Shape;
use ecps_swarm::motion::{CONTROL_PERIOD, MAX_SPEED, NEIGHBOUR_RADIUS, SEPARATION};
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

/// A simulated swarm: robots by number, some of which may be gone.
struct Swarm {
    scene: Scene,
    formation: Formation<usize>,
    names: Vec<usize>,
}

impl Swarm {
    fn new(seed: u64, starts: &[Vector2<f64>], shape: Shape, pose: Isometry2<f64>) -> Swarm {
        let options = Options { braking: body().acceleration, ..Options::default() };
        let scene = Scene::new(body(), starts, Vec::new(), options, seed).unwrap();
        let mut formation = Formation::new(Settings::default(), shape, &pose).unwrap();
        for (name, start) in starts.iter().enumerate() {
            formation.see(name, *start).unwrap();
        }
        Swarm { scene, formation, names: (0..starts.len()).collect() }
    }

    /// One control period, by what each robot knows.
    fn step(&mut self) {
        let robots = self.scene.robots();
        for (name, robot) in self.names.iter().zip(robots) {
            self.formation.see(*name, robot.position).unwrap();
        }
        self.formation.advance(CONTROL_PERIOD);
        let keeping: Vec<Option<Keeping>> = self
            .names
            .iter()
            .zip(robots)
            .map(|(name, robot)| Some(Keeping { place: robot.position, reference: self.formation.reference(name)? }))
            .collect();
        let preferred: Vec<Vector2<f64>> = keeping
            .iter()
            .map(|me| {
                let Some(me) = me else { return Vector2::zeros() };
                let near = |other: &&Keeping| *other != me && (other.place - me.place).norm() < NEIGHBOUR_RADIUS;
                let neighbours: Vec<Keeping> = keeping.iter().flatten().filter(near).copied().collect();
                keep(me, &neighbours, MAX_SPEED)
            })
            .collect();
        self.scene.step(&preferred).unwrap();
    }

    fn settle(&mut self) {
        let mut at_rest = 0;
        while at_rest < 80 {
            assert!(self.scene.seconds() < 2000.0, "not settled after {} s", self.scene.seconds());
            self.step();
            at_rest = if self.formation.is_settled() && self.formation.route().is_done() { at_rest + 1 } else { 0 };
        }
    }

    /// How far each robot is from its slot.
    fn errors(&self) -> Vec<f64> {
        let off = |(name, place): (&usize, Vector2<f64>)| (self.formation.slot(name).unwrap().1 - place).norm();
        self.names.iter().zip(self.scene.places()).map(off).collect()
    }

    fn check(&self, what: &str) {
        let errors = self.errors();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        assert!(worst < 0.1, "{what}: a slot is missed by {worst} m");
        let rms = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
        assert!(rms < 0.02, "{what}: RMS {rms} m");
        let least = self.scene.least_distance();
        assert!(least >= SEPARATION / 2.0, "{what}: two robots came within {least} m");
        let mut slots: Vec<usize> = self.names.iter().map(|name| self.formation.slot(name).unwrap().0).collect();
        slots.sort_unstable();
        assert!(slots.iter().copied().eq(0..self.names.len()), "{what}: slots {slots:?}");
        let centre = self.scene.places().sum::<Vector2<f64>>() / self.names.len() as f64;
        let drift = (centre - self.formation.route().pose().translation.vector).norm();
        assert!(drift < 0.01, "{what}: the centre is off by {drift} m");
    }
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
        let mut swarm = Swarm::new(seed, &starts, shape, pose);
        swarm.settle();
        swarm.check(&what);
        assert_eq!(swarm.formation.plans(), 1, "{what}: slots were assigned again");
    }
}

/// Circle, line and grid on the way, while robots join and leave.
#[test]
fn robots_join_and_leave_on_the_way() {
    for seed in 0..u64::from(rounds(6, 60)) {
        let mut dice = Dice::new(1000 + seed);
        let count = 5 + seed as usize % 8;
        let starts = dice.scattered(count, SEPARATION);
        let mut swarm = Swarm::new(seed, &starts, Shape::Circle, Isometry2::identity());
        let corners = [Vector2::new(20.0, 0.0), Vector2::new(20.0, 20.0), Vector2::new(-10.0, 15.0)];
        corners.iter().for_each(|corner| swarm.formation.go(*corner, Heading::Along).unwrap());
        let (mut next, mut speed, mut changes) = (count, 0.0_f64, 0);
        for step in 1..1500 {
            match step % 300 {
                40 => swarm.formation.set_shape([Shape::Line, Shape::Grid][step / 300 % 2].clone()).unwrap(),
                // In the middle of the re-forming.
                60 => {
                    let gone = (dice.within(0.0, swarm.names.len() as f64)) as usize;
                    swarm.formation.leave(&swarm.names.remove(gone));
                    swarm.scene.leave(gone);
                }
                150 => {
                    let (from, others) = (swarm.formation.route().pose().translation.vector, swarm.scene.clone());
                    let place = (0..).map(|_| from + Vector2::new(dice.within(-9.0, 9.0), dice.within(-9.0, 9.0)));
                    let free = |place: &Vector2<f64>| others.places().all(|p| (p - place).norm() >= SEPARATION);
                    let place = place.into_iter().find(free).unwrap();
                    swarm.scene.join(place);
                    swarm.formation.see(next, place).unwrap();
                    swarm.names.push(next);
                    next += 1;
                    changes += 1;
                }
                _ => {}
            }
            swarm.step();
            let references = swarm.names.iter().filter_map(|name| swarm.formation.reference(name));
            speed = references.map(|reference| reference.velocity.norm()).fold(speed, f64::max);
        }
        swarm.settle();
        swarm.check(&format!("seed {seed}"));
        assert!(changes == 5 && speed <= MAX_SPEED, "a reference moved with {speed} m/s");
        assert_eq!(swarm.formation.route().pose().translation.vector, corners[2]);
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
