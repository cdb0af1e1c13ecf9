//! Flocks from random starts, judged by the figures of Olfati-Saber's paper.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_core::campaign::rounds;
use ecps_swarm::motion::flocking::{Agent, Flock, Metrics, Obstacle, Parameters};
use ecps_swarm::motion::scene::Dice;
use ecps_swarm::motion::{CONTROL_PERIOD, MAX_SPEED};
use nalgebra::Vector2;

/// As in the paper's first experiment: 150 agents, places of variance 2500, velocities within ±1.
fn strewn(dice: &mut Dice, count: usize) -> Vec<Agent> {
    let agent = |dice: &mut Dice| Agent {
        position: Vector2::new(dice.normal(), dice.normal()) * 50.0,
        velocity: Vector2::new(dice.within(-1.0, 1.0), dice.within(-1.0, 1.0)),
    };
    (0..count).map(|_| agent(dice)).collect()
}

fn fly(agents: &mut [Agent], flock: &mut Flock, rendezvous: &mut Agent, seconds: f64) {
    for _ in 0..(seconds / CONTROL_PERIOD) as usize {
        let accelerations = flock.accelerations(agents, rendezvous).unwrap();
        for (agent, acceleration) in agents.iter_mut().zip(accelerations) {
            agent.velocity += acceleration * CONTROL_PERIOD;
            let speed = agent.velocity.norm();
            agent.velocity *= (MAX_SPEED / speed).min(1.0);
            agent.position += agent.velocity * CONTROL_PERIOD;
        }
        rendezvous.position += rendezvous.velocity * CONTROL_PERIOD;
    }
}

#[test]
fn a_flock_gathers_and_moves_as_one() {
    for seed in 0..u64::from(rounds(3, 40)) {
        let mut dice = Dice::new(seed);
        let mut agents = strewn(&mut dice, 150);
        let parameters = Parameters::default();
        let mut flock = Flock::new(&parameters, Vec::new()).unwrap();
        let mut rendezvous = Agent { position: Vector2::zeros(), velocity: Vector2::new(0.8, 0.3) };
        let before = Metrics::of(&agents, &parameters);
        assert!(before.connectivity < 1.0 && before.velocity_mismatch > 0.1, "{before:?}");
        fly(&mut agents, &mut flock, &mut rendezvous, 400.0);
        let after = Metrics::of(&agents, &parameters);
        assert_eq!(after.connectivity, 1.0, "seed {seed}: {after:?}");
        assert!(after.velocity_mismatch < 0.01, "seed {seed}: {after:?}");
        assert!(after.deviation_energy < 0.02, "seed {seed}: {after:?}");
        // A disc of 150 cells of the lattice has a radius of 6.4 times its distance.
        assert!(after.cohesion_radius < 8.0 * parameters.distance, "seed {seed}: {after:?}");
        let middle = agents.iter().map(|agent| agent.position).sum::<Vector2<f64>>() / 150.0;
        assert!((middle - rendezvous.position).norm() < 1.0, "seed {seed}: the flock is not with its rendezvous");
    }
}

#[test]
fn a_flock_passes_an_obstacle_without_touching_it() {
    let mut dice = Dice::new(4);
    let mut agents: Vec<Agent> = (0..40)
        .map(|_| Agent {
            position: Vector2::new(dice.within(-30.0, 0.0), dice.within(-20.0, 20.0)),
            velocity: Vector2::zeros(),
        })
        .collect();
    let parameters = Parameters::default();
    let (centre, radius) = (Vector2::new(50.0, 2.0), 8.0);
    let wall = Obstacle::Wall { point: Vector2::new(0.0, -40.0), normal: Vector2::y() };
    let mut flock = Flock::new(&parameters, vec![Obstacle::Disc { centre, radius }, wall]).unwrap();
    let mut rendezvous = Agent { position: Vector2::new(-15.0, 0.0), velocity: Vector2::new(0.5, 0.0) };
    let mut nearest = f64::INFINITY;
    for _ in 0..400 {
        fly(&mut agents, &mut flock, &mut rendezvous, 1.0);
        let distances = agents.iter().map(|agent| (agent.position - centre).norm() - radius);
        nearest = distances.fold(nearest, f64::min);
        assert!(agents.iter().all(|agent| agent.position.y > -40.0));
    }
    assert!(nearest > 0.5, "{nearest}");
    assert!(nearest < 8.0, "nobody came near the obstacle");
    let after = Metrics::of(&agents, &parameters);
    assert!(after.connectivity == 1.0 && after.velocity_mismatch < 0.01, "{after:?}");
    assert!(agents.iter().all(|agent| agent.position.x > 80.0), "not all are past it");
}
