//! Vectors as 16-bit fixed point: half the memory of f32, and a dot product in whole numbers, the same on every machine.
//!
//! A unit vector's elements are at most 1, so sixteen bits split the range evenly: an element is off by at most 2⁻¹⁶, and
//! a similarity by about 1e-5 (f16, whose steps follow each element's size, comes to twice that). No partial sum of a dot
//! product of two unit vectors passes 1 (Cauchy and Schwarz), so 32 bits hold it. Hits get their similarity from the f32
//! vectors on disk.

use pulp::Arch;

/// What 1 is stored as.
const ONE: f64 = 32767.0;

/// A vector scaled to length one, in steps of 1/32767.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    values: Vec<i16>,
    /// One over its length after rounding, so that a vector is like itself by exactly 1.
    scale: f32,
}

impl Unit {
    /// Of a finite vector that is not all zero. In double precision, since squares of large floats overflow single precision.
    pub(crate) fn new(vector: &[f32]) -> Unit {
        let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let values: Vec<i16> = vector.iter().map(|v| (f64::from(*v) / norm * ONE).round() as i16).collect();
        let length = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        Unit { values, scale: (1.0 / length) as f32 }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.values.len()
    }
}

/// Unit vectors of one dimension, side by side, by slot.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// Which instructions this machine has.
    arch: Arch,
    dimension: usize,
    values: Vec<i16>,
    scales: Vec<f32>,
}

impl Vectors {
    pub(crate) fn new(dimension: usize) -> Self {
        Vectors { arch: Arch::new(), dimension, values: Vec::new(), scales: Vec::new() }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Writes a vector of our dimension into a slot, at most one beyond the last.
    pub(crate) fn set(&mut self, slot: u32, vector: &Unit) {
        let from = slot as usize * self.dimension;
        match self.values.get_mut(from..from + self.dimension) {
            Some(place) => place.copy_from_slice(&vector.values),
            None => self.values.extend_from_slice(&vector.values),
        }
        match self.scales.get_mut(slot as usize) {
            Some(scale) => *scale = vector.scale,
            None => self.scales.push(vector.scale),
        }
    }

    pub(crate) fn get(&self, slot: u32) -> Unit {
        Unit { values: self.slice(slot).to_vec(), scale: self.scale(slot) }
    }

    #[inline(always)]
    fn slice(&self, slot: u32) -> &[i16] {
        let from = slot as usize * self.dimension;
        self.values.get(from..from + self.dimension).unwrap_or_default()
    }

    #[inline(always)]
    fn scale(&self, slot: u32) -> f32 {
        self.scales.get(slot as usize).copied().unwrap_or_default()
    }

    /// Cosine similarities of `query` to those in `slots`, in their order.
    pub(crate) fn similarities(&self, query: &Unit, slots: &[u32], out: &mut Vec<f32>) {
        out.clear();
        self.arch.dispatch(
            #[inline(always)]
            || {
                for slot in slots {
                    out.push(dot(&query.values, self.slice(*slot)) as f32 * query.scale * self.scale(*slot));
                }
            },
        );
    }

    /// Cosine similarity of two slots.
    pub(crate) fn between(&self, a: u32, b: u32) -> f32 {
        let (one, other) = (self.slice(a), self.slice(b));
        let product = self.arch.dispatch(
            #[inline(always)]
            || dot(one, other),
        );
        product as f32 * self.scale(a) * self.scale(b)
    }
}

/// Plain, so that the compiler turns it into the multiply-add of 16-bit pairs that every instruction set has.
#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0_i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}

/// Cosine similarity of two vectors as they were given.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut product, mut first, mut second) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        product += a * b;
        first += a * a;
        second += b * b;
    }
    (product / (first * second).sqrt()).clamp(-1.0, 1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(a: &[f32], b: &[f32]) -> f32 {
        let mut vectors = Vectors::new(b.len());
        vectors.set(0, &Unit::new(b));
        let mut out = Vec::new();
        vectors.similarities(&Unit::new(a), &[0], &mut out);
        out[0]
    }

    #[test]
    fn a_vector_is_like_itself_whatever_its_length_and_size() {
        for elements in [1, 15, 16, 17, 180, 4095, 4096] {
            for size in [1e-45, 1.0, f32::MAX] {
                let vector = vec![size; elements];
                assert!((similarity(&vector, &vector) - 1.0).abs() < 1e-6, "{elements} elements of {size}");
                assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn opposite_and_orthogonal_vectors_are_told_apart() {
        assert!((similarity(&[2.0, 0.0], &[-3.0, 0.0]) + 1.0).abs() < 1e-6);
        assert_eq!(similarity(&[2.0, 0.0], &[0.0, 5.0]), 0.0);
        assert_eq!(cosine(&[2.0, 0.0], &[-3.0, 0.0]), -1.0);
    }

    #[test]
    fn rounding_costs_less_than_the_tolerance_in_every_dimension() {
        use proptest::prelude::*;
        proptest!(|(pair in (1..600_usize).prop_flat_map(|n| (prop::collection::vec(-1.0_f32..1.0, n), prop::collection::vec(-1.0_f32..1.0, n))))| {
            let (a, b) = pair;
            prop_assume!(a.iter().any(|v| v.abs() > 1e-3) && b.iter().any(|v| v.abs() > 1e-3));
            prop_assert!((similarity(&a, &b) - cosine(&a, &b)).abs() < crate::query::SIMILARITY_TOLERANCE);
        });
    }
}
