//! Unit vectors in aligned blocks, and their dot product.

/// Elements of a block: a cache line, and enough independent sums to hide the latency of an addition.
const LANES: usize = 16;

/// A cache line of a vector. The last block of a vector is filled up with zeros, which no dot product sees.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(crate) struct Block([f32; LANES]);

/// Blocks that a vector of so many elements takes.
pub(crate) fn blocks(elements: usize) -> usize {
    elements.div_ceil(LANES)
}

/// The vector scaled to length one. In double precision, since squares of large floats overflow single precision.
pub(crate) fn unit(vector: &[f32]) -> Vec<Block> {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let scale = |chunk: &[f32]| {
        let mut block = Block([0.0; LANES]);
        for (to, from) in block.0.iter_mut().zip(chunk) {
            *to = (f64::from(*from) / norm) as f32;
        }
        block
    };
    vector.chunks(LANES).map(scale).collect()
}

/// Dot product of two vectors of equally many blocks. Written so that the compiler turns each block into vector instructions.
pub(crate) fn dot(a: &[Block], b: &[Block]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(&a.0).zip(&b.0) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_like_itself_whatever_its_length_and_size() {
        for elements in [1, 15, 16, 17, 180, 4096] {
            for size in [1e-45, 1.0, f32::MAX] {
                let vector = unit(&vec![size; elements]);
                assert_eq!(vector.len(), blocks(elements));
                assert!((dot(&vector, &vector) - 1.0).abs() < 1e-6, "{elements} elements of {size}");
            }
        }
    }

    #[test]
    fn opposite_and_orthogonal_vectors_are_told_apart() {
        assert_eq!(dot(&unit(&[2.0, 0.0]), &unit(&[-3.0, 0.0])), -1.0);
        assert_eq!(dot(&unit(&[2.0, 0.0]), &unit(&[0.0, 5.0])), 0.0);
    }
}
