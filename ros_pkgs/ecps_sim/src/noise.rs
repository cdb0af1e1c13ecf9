//! Gaussian noise from a seed.

use rand_pcg::{Pcg64, rand_core::Rng};
use sha2::{Digest, Sha256};

/// What a stream of noise is for; streams of different purpose are independent of each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The ranges of one scan.
    Scan { robot: usize, time_ns: u64 },
    /// The odometry of one robot.
    Odometry { robot: usize },
}

/// Normally distributed numbers of mean 0 and standard deviation 1.
#[derive(Debug, Clone)]
pub(crate) struct Gaussian {
    generator: Pcg64,
    /// Box and Muller's method makes two numbers at a time.
    spare: Option<f64>,
}

impl Gaussian {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let (tag, robot, time_ns) = match purpose {
            Purpose::Scan { robot, time_ns } => (0u8, robot, time_ns),
            Purpose::Odometry { robot } => (1, robot, 0),
        };
        // Hashed, because PCG streams whose states differ in a few bits only are correlated at first.
        let digest = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update([tag])
            .chain_update((robot as u64).to_le_bytes())
            .chain_update(time_ns.to_le_bytes())
            .finalize();
        let (state, stream) = digest.split_at(16);
        let number = |bytes: &[u8]| bytes.iter().fold(0u128, |number, &byte| number << 8 | u128::from(byte));
        Self { generator: Pcg64::new(number(state), number(stream)), spare: None }
    }

    /// The next number (Box and Muller 1958).
    pub(crate) fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // In (0, 1], since the logarithm of 0 is infinite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// In [0, 1), from the generator's upper 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standard_normal() {
        let mut noise = Gaussian::new(1, Purpose::Odometry { robot: 0 });
        let sample: Vec<f64> = (0..20_000).map(|_| noise.next()).collect();
        let mean = sample.iter().sum::<f64>() / 20_000.0;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        let within_one = sample.iter().filter(|x| x.abs() < 1.0).count() as f64 / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        assert!((within_one - 0.6827).abs() < 0.015, "{within_one}");
    }

    #[test]
    fn seed_robot_time_and_purpose_each_give_another_stream() {
        let first = |seed, purpose| Gaussian::new(seed, purpose).next();
        let streams = [
            first(1, Purpose::Scan { robot: 0, time_ns: 0 }),
            first(2, Purpose::Scan { robot: 0, time_ns: 0 }),
            first(1, Purpose::Scan { robot: 1, time_ns: 0 }),
            first(1, Purpose::Scan { robot: 0, time_ns: 1 }),
            first(1, Purpose::Odometry { robot: 0 }),
        ];
        for (i, a) in streams.iter().enumerate() {
            assert!(streams.iter().skip(i + 1).all(|b| a != b), "{streams:?}");
        }
        assert_eq!(streams[0], first(1, Purpose::Scan { robot: 0, time_ns: 0 }));
    }
}
