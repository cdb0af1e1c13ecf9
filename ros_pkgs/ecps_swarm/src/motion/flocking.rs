//! Flocking (Olfati-Saber, "Flocking for Multi-Agent Dynamic Systems: Algorithms and Theory", IEEE Transactions on Automatic Control
//! 51, 2006): algorithm 3, and algorithm 2 where there are no obstacles.
//!
//! Neighbours within the interaction range r keep the distance d of a lattice (α-agents), obstacles repel by their nearest
//! point (β-agents), and a moving rendezvous keeps the flock together (the γ-agent). The ratio r = 1.2 d is the paper's: a lattice
//! has no edges longer than that. Much longer ranges let a flock fall into itself, since the force that drives two apart is
//! bounded and there are ever more that pull; so with a range of 10 m the lattice is 8.3 m wide, and it is
//! [`super::avoidance`] that keeps the separation.

mod flock;
mod metrics;

use std::f64::consts::PI;

use ecps_core::check::{CheckError, in_range};
use nalgebra::Vector2;

pub use flock::Flock;
pub use metrics::Metrics;

use super::{NEIGHBOUR_RADIUS, finite_vector};

/// Parameter ε of the σ-norm.
const EPSILON: f64 = 0.1;
/// Greatest force between two α-agents before gains: a = b of the paper.
const FORCE: f64 = 5.0;
/// From which share of the range on the force fades, for α- and β-agents.
const FADE: f64 = 0.2;
const FADE_OBSTACLE: f64 = 0.9;

/// An agent of the flock; the γ-agent is one too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agent {
    /// Where it is, metres.
    pub position: Vector2<f64>,
    /// How fast, m/s.
    pub velocity: Vector2<f64>,
}

/// What a flock keeps away from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Obstacle {
    /// A disc.
    Disc {
        /// Its middle, metres.
        centre: Vector2<f64>,
        /// Its radius, metres.
        radius: f64,
    },
    /// An endless wall through a point.
    Wall {
        /// Some point of it, metres.
        point: Vector2<f64>,
        /// Away from it, of length one.
        normal: Vector2<f64>,
    },
}

/// Ranges and gains. Names are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Interaction range r, metres.
    pub range: f64,
    /// Distance d of the lattice, metres.
    pub distance: f64,
    /// Distance d' to obstacles, metres.
    pub obstacle_distance: f64,
    /// c₁ᵅ: attraction and repulsion. c₂ᵅ, the velocity consensus, is twice its root, as it is for β.
    pub alpha: f64,
    /// c₁ᵝ.
    pub beta: f64,
    /// c₁ᵞ: towards the rendezvous.
    pub gamma: f64,
    /// c₂ᵞ: towards its velocity. An agent far off approaches with c₁ᵞ / c₂ᵞ, m/s.
    pub gamma_velocity: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        let distance = NEIGHBOUR_RADIUS / 1.2;
        Parameters {
            range: NEIGHBOUR_RADIUS,
            distance,
            obstacle_distance: 0.6 * distance,
            alpha: 0.3,
            beta: 2.0,
            gamma: 0.2,
            gamma_velocity: 0.3,
        }
    }
}

impl Parameters {
    fn check(&self) -> Result<(), CheckError> {
        in_range("range", self.range, 1e-3, 1e6)?;
        in_range("distance", self.distance, 1e-3, self.range)?;
        in_range("obstacle_distance", self.obstacle_distance, 1e-3, 1e6)?;
        let gains = [
            ("alpha", self.alpha),
            ("beta", self.beta),
            ("gamma", self.gamma),
            ("gamma_velocity", self.gamma_velocity),
        ];
        gains.into_iter().try_for_each(|(name, gain)| in_range(name, gain, 0.0, 100.0).map(|_| ()))
    }
}

impl Agent {
    fn check(&self) -> Result<(), CheckError> {
        finite_vector("position", &self.position)?;
        finite_vector("velocity", &self.velocity)
    }
}

/// The acceleration of `me`, m/s²: input u of the paper. Neighbours beyond the range count for nothing.
pub fn flock(
    me: &Agent,
    neighbours: &[Agent],
    obstacles: &[Obstacle],
    rendezvous: &Agent,
    parameters: &Parameters,
) -> Result<Vector2<f64>, CheckError> {
    parameters.check()?;
    me.check()?;
    rendezvous.check()?;
    neighbours.iter().try_for_each(Agent::check)?;
    let law = Law::new(parameters);
    let lattice: Vector2<f64> = neighbours.iter().map(|other| law.alpha(me, other)).sum();
    Ok(lattice + law.surroundings(me, obstacles, rendezvous))
}

/// The paper's functions with constants worked out.
#[derive(Debug, Clone, Copy)]
struct Law {
    parameters: Parameters,
    range_squared: f64,
    range_sigma: f64,
    distance_sigma: f64,
    obstacle_sigma: f64,
    alpha_velocity: f64,
    beta_velocity: f64,
}

impl Law {
    fn new(parameters: &Parameters) -> Law {
        Law {
            parameters: *parameters,
            range_squared: parameters.range * parameters.range,
            range_sigma: sigma(parameters.range * parameters.range),
            distance_sigma: sigma(parameters.distance * parameters.distance),
            obstacle_sigma: sigma(parameters.obstacle_distance * parameters.obstacle_distance),
            alpha_velocity: 2.0 * parameters.alpha.sqrt(),
            beta_velocity: 2.0 * parameters.beta.sqrt(),
        }
    }

    /// The part of one neighbour.
    #[inline]
    fn alpha(&self, me: &Agent, other: &Agent) -> Vector2<f64> {
        let offset = other.position - me.position;
        let squared = offset.norm_squared();
        if squared >= self.range_squared {
            return Vector2::zeros();
        }
        let root = (1.0 + EPSILON * squared).sqrt();
        let distance = (root - 1.0) / EPSILON;
        let near = bump(distance / self.range_sigma, FADE);
        let force = near * FORCE * bounded(distance - self.distance_sigma);
        offset * (self.parameters.alpha * force / root) + (other.velocity - me.velocity) * (self.alpha_velocity * near)
    }

    /// The parts of obstacles and of the rendezvous.
    fn surroundings(&self, me: &Agent, obstacles: &[Obstacle], rendezvous: &Agent) -> Vector2<f64> {
        let away: Vector2<f64> = obstacles.iter().filter_map(|obstacle| self.beta(me, obstacle)).sum();
        let offset = me.position - rendezvous.position;
        let pull = offset / (1.0 + offset.norm_squared()).sqrt();
        let velocity = me.velocity - rendezvous.velocity;
        away - pull * self.parameters.gamma - velocity * self.parameters.gamma_velocity
    }

    /// The part of an obstacle: of the agent that moves along its border beside us.
    fn beta(&self, me: &Agent, obstacle: &Obstacle) -> Option<Vector2<f64>> {
        let (position, velocity) = match obstacle {
            Obstacle::Disc { centre, radius } => {
                let outward = me.position - centre;
                let distance = outward.norm();
                let outward = outward.try_normalize(1e-9)?;
                let along = me.velocity - outward * outward.dot(&me.velocity);
                (centre + outward * *radius, along * (radius / distance))
            }
            Obstacle::Wall { point, normal } => {
                let height = normal.dot(&(me.position - point));
                (me.position - normal * height, me.velocity - normal * normal.dot(&me.velocity))
            }
        };
        let offset = position - me.position;
        let squared = offset.norm_squared();
        let root = (1.0 + EPSILON * squared).sqrt();
        let distance = (root - 1.0) / EPSILON;
        let near = bump(distance / self.obstacle_sigma, FADE_OBSTACLE);
        let force = near * (bounded(distance - self.obstacle_sigma) - 1.0);
        Some(offset * (self.parameters.beta * force / root) + (velocity - me.velocity) * (self.beta_velocity * near))
    }
}

/// The σ-norm of a vector from the square of its length.
fn sigma(squared: f64) -> f64 {
    ((1.0 + EPSILON * squared).sqrt() - 1.0) / EPSILON
}

/// σ₁: between -1 and 1.
fn bounded(value: f64) -> f64 {
    value / (1.0 + value * value).sqrt()
}

/// ρ: from 1 to 0, smoothly from `fade` on.
#[inline]
fn bump(share: f64, fade: f64) -> f64 {
    if share < fade {
        1.0
    } else if share < 1.0 {
        0.5 * (1.0 + (PI * (share - fade) / (1.0 - fade)).cos())
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(x: f64, y: f64) -> Agent {
        Agent { position: Vector2::new(x, y), velocity: Vector2::zeros() }
    }

    fn force(distance: f64) -> f64 {
        let parameters = Parameters { gamma: 0.0, gamma_velocity: 0.0, ..Parameters::default() };
        flock(&agent(0.0, 0.0), &[agent(distance, 0.0)], &[], &agent(0.0, 0.0), &parameters).unwrap().x
    }

    #[test]
    fn two_attract_beyond_the_lattice_distance_and_repel_within_it() {
        let distance = Parameters::default().distance;
        assert!(force(distance).abs() < 1e-9);
        assert!(force(distance + 0.5) > 0.01 && force(distance - 0.5) < -0.01);
        assert_eq!(force(10.0), 0.0);
    }

    #[test]
    fn neighbours_agree_on_a_velocity() {
        let parameters = Parameters { gamma: 0.0, gamma_velocity: 0.0, ..Parameters::default() };
        let me = agent(0.0, 0.0);
        let mut other = agent(parameters.distance, 0.0);
        other.velocity = Vector2::new(0.0, 1.0);
        let pulled = flock(&me, &[other], &[], &me, &parameters).unwrap();
        assert!(pulled.y > 0.05 && pulled.x.abs() < 1e-9, "{pulled}");
    }

    #[test]
    fn forces_are_slopes_of_one_potential_and_so_opposite() {
        let parameters = Parameters { gamma: 0.0, gamma_velocity: 0.0, ..Parameters::default() };
        let (one, other) = (
            Agent { position: Vector2::new(1.0, 2.0), velocity: Vector2::new(0.3, -0.1) },
            Agent { position: Vector2::new(5.0, 4.0), velocity: Vector2::new(-0.5, 0.2) },
        );
        let of = |a: &Agent, b: &Agent| flock(a, &[*b], &[], &one, &parameters).unwrap();
        assert!((of(&one, &other) + of(&other, &one)).norm() < 1e-12);
    }

    #[test]
    fn obstacles_repel_and_the_rendezvous_pulls() {
        let parameters = Parameters::default();
        let disc = Obstacle::Disc { centre: Vector2::new(4.0, 0.0), radius: 2.0 };
        let wall = Obstacle::Wall { point: Vector2::new(0.0, -2.0), normal: Vector2::y() };
        let pushed = |obstacle| flock(&agent(0.0, 0.0), &[], &[obstacle], &agent(0.0, 0.0), &parameters).unwrap();
        assert!(pushed(disc).x < -0.5 && pushed(disc).y == 0.0);
        assert!(pushed(wall).y > 0.5 && pushed(wall).x == 0.0);
        let pulled = flock(&agent(0.0, 0.0), &[], &[], &agent(50.0, 0.0), &parameters).unwrap();
        assert!((pulled.x - parameters.gamma).abs() < 1e-3);
    }

    #[test]
    fn no_number_is_refused() {
        let nan = agent(f64::NAN, 0.0);
        let fine = agent(0.0, 0.0);
        let parameters = Parameters::default();
        assert!(flock(&nan, &[], &[], &fine, &parameters).is_err());
        assert!(flock(&fine, &[nan], &[], &fine, &parameters).is_err());
        assert!(flock(&fine, &[], &[], &nan, &parameters).is_err());
        assert!(flock(&fine, &[], &[], &fine, &Parameters { distance: 11.0, ..parameters }).is_err());
    }
}
