//! How robots get from where they are to slots without coming near each other.
//!
//! Concurrent assignment and planning of trajectories (Turpin, Michael and Kumar, "CAPT: Concurrent Assignment and Planning of
//! Trajectories for Multiple Robots", International Journal of Robotics Research 33, 2014): slots are assigned at the least sum of
//! squared distances, and all robots go in straight lines and have the same share of their way behind them at every
//! moment. Then no two paths cross, and robots that start and end at least d apart are never nearer than d/√2.

use nalgebra::Vector2;

use crate::assignment::{Costs, assign};

/// One robot's way, in the formation's frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Way {
    pub(super) from: Vector2<f64>,
    pub(super) to: Vector2<f64>,
    /// Number of the slot.
    pub(super) slot: usize,
}

impl Way {
    /// Where it leads after a share of it.
    pub(super) fn at(&self, share: f64) -> Vector2<f64> {
        self.from.lerp(&self.to, share)
    }
}

/// Each robot's way to a slot of its own; there are as many slots as robots. A robot keeps the slot that it had unless others
/// together save more than `hysteresis` (m²) by a change, so that slots do not flip.
pub(super) fn plan(
    places: &[Vector2<f64>],
    slots: &[Vector2<f64>],
    kept: &[Option<usize>],
    hysteresis: f64,
) -> Vec<Way> {
    let squared = |row: usize, column: usize| match (places.get(row), slots.get(column)) {
        (Some(place), Some(slot)) => (slot - place).norm_squared(),
        _ => f64::INFINITY,
    };
    // Positions are within bounds, so that costs are; and all pairs are allowed, so that each robot gets a slot.
    let Ok(costs) = Costs::from_fn(places.len(), slots.len(), squared) else { return Vec::new() };
    let best = assign(&costs);
    let kept: Option<Vec<usize>> = kept.iter().copied().collect();
    let chosen = match kept {
        Some(kept) if is_permutation(&kept, slots.len()) => {
            let cost: f64 = kept.iter().enumerate().map(|(row, column)| squared(row, *column)).sum();
            if cost <= best.cost + hysteresis { kept } else { best.columns.into_iter().flatten().collect() }
        }
        _ => best.columns.into_iter().flatten().collect(),
    };
    let way = |(from, slot): (&Vector2<f64>, usize)| Some(Way { from: *from, to: *slots.get(slot)?, slot });
    places.iter().zip(chosen).filter_map(way).collect()
}

fn is_permutation(slots: &[usize], count: usize) -> bool {
    let mut taken = vec![false; count];
    let all_free = slots.iter().all(|slot| taken.get_mut(*slot).is_some_and(|taken| !std::mem::replace(taken, true)));
    all_free && slots.len() == count
}

/// Least distance of any two robots on their ways, metres.
pub(super) fn least_distance(ways: &[Way]) -> f64 {
    let mut least = f64::INFINITY;
    for (index, one) in ways.iter().enumerate() {
        for other in ways.get(index + 1..).unwrap_or_default() {
            let (from, to) = (other.from - one.from, other.to - one.to);
            let change = to - from;
            let squared = change.norm_squared();
            let share = if squared > 0.0 { (-from.dot(&change) / squared).clamp(0.0, 1.0) } else { 0.0 };
            least = least.min((from + change * share).norm_squared());
        }
    }
    least.sqrt()
}

/// The longest way, metres.
pub(super) fn longest(ways: &[Way]) -> f64 {
    ways.iter().map(|way| (way.to - way.from).norm()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::scene::Dice;

    #[test]
    fn robots_keep_apart_on_their_ways() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let count = 2 + seed as usize % 30;
            let (places, slots) = (dice.scattered(count, 2.0), dice.scattered(count, 2.0));
            let ways = plan(&places, &slots, &vec![None; count], 0.0);
            assert_eq!(ways.len(), count);
            let least = least_distance(&ways);
            assert!(least >= 2.0 / 2.0_f64.sqrt() - 1e-9, "seed {seed}: {least}");
            let sampled = (0..=100).map(|share| {
                let places: Vec<_> = ways.iter().map(|way| way.at(f64::from(share) / 100.0)).collect();
                crate::motion::grid::closest_pair(&places)
            });
            let sampled = sampled.fold(f64::INFINITY, f64::min);
            assert!(sampled >= least - 1e-9 && sampled < least + 0.1, "{sampled} {least}");
        }
    }

    #[test]
    fn slots_are_kept_while_little_is_saved() {
        let slots = [Vector2::new(0.0, 0.0), Vector2::new(2.0, 0.0)];
        let places = [Vector2::new(1.1, 0.0), Vector2::new(0.9, 0.0)];
        let slot_of = |hysteresis| plan(&places, &slots, &[Some(0), Some(1)], hysteresis)[0].slot;
        assert_eq!(slot_of(1.0), 0);
        assert_eq!(slot_of(0.1), 1);
    }
}
