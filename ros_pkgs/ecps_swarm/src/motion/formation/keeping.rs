//! Formation keeping: a robot's velocity from where it should be and how its neighbours fare.

use nalgebra::Vector2;

use super::Reference;
use crate::motion::capped;

/// How fast an error is made good, per second.
const GAIN: f64 = 1.5;
/// How strongly a robot shares its neighbours' errors, per second.
const COUPLING: f64 = 0.5;

/// A robot of the formation: where it is and where it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keeping {
    /// Where it is, metres.
    pub place: Vector2<f64>,
    /// Where it should be.
    pub reference: Reference,
}

impl Keeping {
    fn error(&self) -> Vector2<f64> {
        self.reference.place - self.place
    }
}

/// The velocity with which `me` keeps its place among `neighbours`, at most `max_speed` (m/s).
///
/// It moves with its reference and makes its error good. Where a neighbour is held up it waits, by the displacement-based
/// consensus law (Oh, Park and Ahn, "A survey of multi-agent formation control", Automatica 53, 2015): the formation keeps
/// its shape rather than its time. What robots give way to each other cancels out, so that the formation's centre does not
/// drift.
pub fn keep(me: &Keeping, neighbours: &[Keeping], max_speed: f64) -> Vector2<f64> {
    let error = me.error();
    let shared: Vector2<f64> = neighbours.iter().map(|other| other.error() - error).sum();
    let share = COUPLING / neighbours.len().max(1) as f64;
    capped(me.reference.velocity + error * GAIN - shared * share, max_speed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robot(place: f64, reference: f64) -> Keeping {
        let reference = Reference { place: Vector2::new(reference, 0.0), velocity: Vector2::new(1.0, 0.0) };
        Keeping { place: Vector2::new(place, 0.0), reference }
    }

    #[test]
    fn in_place_it_moves_with_the_formation_and_behind_it_catches_up() {
        assert_eq!(keep(&robot(0.0, 0.0), &[robot(3.0, 3.0)], 2.0), Vector2::new(1.0, 0.0));
        assert!(keep(&robot(-0.2, 0.0), &[robot(3.0, 3.0)], 2.0).x > 1.0);
        assert_eq!(keep(&robot(-9.0, 0.0), &[], 2.0), Vector2::new(2.0, 0.0));
    }

    #[test]
    fn it_waits_for_a_neighbour_that_is_held_up() {
        assert!(keep(&robot(0.0, 0.0), &[robot(2.0, 3.0)], 2.0).x < 1.0);
    }
}
