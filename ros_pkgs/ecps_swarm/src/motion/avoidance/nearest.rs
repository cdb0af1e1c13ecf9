//! The few nearest of many, without branches that depend on the order in which they come.

use nalgebra::Vector2;

/// Candidates that are ranked by comparing each with each; more are sorted.
const RANKED: usize = 64;
/// How many are compared at once.
const LANES: usize = 8;

/// Finds the nearest, again and again; what one search found is a guess for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Nearest {
    /// Squared distance within which the last search had enough.
    guess: f32,
    squares: Vec<f32>,
    candidates: Vec<(f32, u32)>,
    count: usize,
    found: Vec<(f32, u32)>,
}

impl Nearest {
    /// Begins anew.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        self.count = 0;
    }

    /// Whom the next search takes in: who is nearer than the root of this, most likely enough. At most `most`.
    #[inline(always)]
    pub(super) fn guess(&self, most: f32) -> f32 {
        if self.guess > 0.0 { self.guess.min(most) } else { most }
    }

    /// Takes in those of some points, numbered from `first` on, that are nearer to `from` than the root of `limit`.
    #[inline(always)]
    pub(super) fn offer(&mut self, xs: &[f64], ys: &[f64], first: u32, from: &Vector2<f64>, limit: f32) {
        self.squares.clear();
        self.squares.extend(xs.iter().zip(ys).map(|(x, y)| {
            let (x, y) = ((x - from.x) as f32, (y - from.y) as f32);
            x * x + y * y
        }));
        let room = self.count + self.squares.len();
        if self.candidates.len() < room {
            self.candidates.resize(room, (0.0, 0));
        }
        let slots = self.candidates.get_mut(self.count..).unwrap_or_default();
        let mut kept = 0;
        for (squared, number) in self.squares.iter().zip(first..) {
            if let Some(slot) = slots.get_mut(kept) {
                *slot = (*squared, number);
            }
            kept = kept.wrapping_add(usize::from(*squared < limit));
        }
        self.count += kept;
    }

    /// How many candidates there are.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The nearest of the candidates, at most `wanted`, nearest first. They are ranked by distances to about 1 in 10⁵.
    #[inline(always)]
    pub(super) fn select(&mut self, wanted: usize) -> &[(f32, u32)] {
        let candidates = self.candidates.get_mut(..self.count).unwrap_or_default();
        self.found.clear();
        self.found.resize(wanted.min(self.count), (0.0, 0));
        if candidates.len() > RANKED {
            candidates.sort_unstable_by(|(a, m), (b, n)| a.total_cmp(b).then(m.cmp(n)));
            self.found.iter_mut().zip(candidates).for_each(|(found, candidate)| *found = *candidate);
        } else {
            // Bits of positive floats are ordered as they are; the place in the last six tells equals apart.
            let mut keys = [[i32::MAX; LANES]; RANKED / LANES];
            for ((key, (squared, _)), place) in keys.as_flattened_mut().iter_mut().zip(candidates.iter()).zip(0..) {
                *key = (squared.to_bits() as i32 & !(RANKED as i32 - 1)) | place;
            }
            let blocks = keys.get(..candidates.len().div_ceil(LANES)).unwrap_or_default();
            let mut ranks = [[0_i32; LANES]; RANKED / LANES];
            for key in blocks.as_flattened().iter().take(candidates.len()) {
                for (ranks, block) in ranks.iter_mut().zip(blocks) {
                    for (rank, other) in ranks.iter_mut().zip(block) {
                        *rank = rank.wrapping_add(i32::from(key < other));
                    }
                }
            }
            for (rank, candidate) in ranks.as_flattened().iter().zip(candidates.iter()) {
                if let Some(found) = self.found.get_mut(*rank as usize) {
                    *found = *candidate;
                }
            }
        }
        if self.found.len() == wanted {
            self.guess = self.found.last().map_or(0.0, |last| last.0 * 1.3);
        } else {
            self.guess = 0.0;
        }
        &self.found
    }
}

impl Nearest {
    /// What was selected last.
    #[inline(always)]
    pub(super) fn found(&self) -> &[(f32, u32)] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::scene::Dice;

    #[test]
    fn the_nearest_come_first_however_many_there_are() {
        let mut dice = Dice::new(5);
        let mut nearest = Nearest::default();
        for count in (0..200).chain([1000]) {
            let xs: Vec<f64> = (0..count).map(|_| dice.within(-10.0, 10.0)).collect();
            let ys: Vec<f64> = (0..count).map(|_| dice.within(-10.0, 10.0)).collect();
            nearest.begin();
            nearest.offer(&xs, &ys, 0, &Vector2::zeros(), 80.0);
            let squares = xs.iter().zip(&ys).map(|(x, y)| (x * x + y * y) as f32);
            let mut expected: Vec<f32> = squares.filter(|square| *square < 80.0).collect();
            expected.sort_by(f32::total_cmp);
            expected.truncate(10);
            let found: Vec<f32> = nearest.select(10).iter().map(|(square, _)| *square).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= expected * 2e-5, "{count}: {found} {expected}");
            }
        }
    }
}
