//! Chance from a seed.

use std::time::{Duration, Instant};

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same on every machine.
pub struct Dice(u64);

impl Dice {
    /// The dice that fall as `seed` says.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 0 to `sides` − 1.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// Lets up to `longest` pass, to the microsecond, so that what follows falls anywhere into another's work.
    pub fn wait_up_to(&mut self, longest: Duration) {
        let until = Instant::now() + Duration::from_micros(self.below(longest.as_micros() as u64 + 1));
        while Instant::now() < until {
            std::thread::yield_now();
        }
    }
}
