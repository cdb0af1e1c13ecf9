//! The compression that measures best on a stream's own tensors.

use std::time::Duration;

use ecps_core::clock::{Steady, SteadyClock};

use super::{Compression, Level, Method, Packer, Shuffle};

/// What a link within one machine moves, bytes a second: compressing for it seldom pays.
pub const LOCAL_BYTES_PER_SECOND: f64 = 2e9;

/// What is tried, the quickest first.
const CANDIDATES: [Compression; 6] = [
    Compression::NONE,
    Compression::new(Method::Lz4, Shuffle::No),
    Compression::new(Method::Lz4, Shuffle::Element),
    Compression::new(Method::Zstd(Level::FASTEST), Shuffle::No),
    Compression::new(Method::Zstd(Level::FASTEST), Shuffle::Element),
    Compression::new(Method::Zstd(Level(3)), Shuffle::Element),
];
/// Stretches of a tensor that are tried, and their length in bytes.
const STRETCHES: usize = 4;
const STRETCH_BYTES: usize = 16 << 10;
/// What takes longer has to save so much of the whole time: the processor has other work, and less is noise.
const WORTH: f64 = 0.02;
/// How often each is tried.
const TRIALS: u32 = 3;
/// After this many tensors, or this long, it is measured anew.
const TENSORS: u32 = 256;
const AGE: Duration = Duration::from_secs(10);

/// Chooses, by trying on a sample of a tensor now and then: the least of what encoding takes and what sending the result
/// over the link takes.
#[derive(Debug)]
pub struct Auto {
    bytes_per_second: f64,
    chosen: Option<Chosen>,
}

#[derive(Debug, Clone, Copy)]
struct Chosen {
    compression: Compression,
    at: Steady,
    tensors: u32,
    width: usize,
}

impl Auto {
    /// For a link of this many bytes a second.
    pub fn new(bytes_per_second: f64) -> Auto {
        Auto { bytes_per_second, chosen: None }
    }

    /// The compression for `data`, whose elements have `width` bytes.
    pub fn choose(&mut self, data: &[u8], width: usize, packer: &mut Packer, clock: &dyn SteadyClock) -> Compression {
        let now = clock.now();
        if let Some(chosen) = &mut self.chosen
            && chosen.tensors < TENSORS
            && now.since(chosen.at) < AGE
            && chosen.width == width
        {
            chosen.tensors += 1;
            return chosen.compression;
        }
        let sample = sample(data, width);
        let mut best = (Compression::NONE, f64::INFINITY);
        for candidate in CANDIDATES {
            let shuffle = match (candidate.shuffle, u8::try_from(width)) {
                (Shuffle::No, _) => Shuffle::No,
                (_, Ok(width @ 2..=super::WIDEST_SHUFFLE)) => Shuffle::Width(width),
                _ => continue,
            };
            let compression = Compression::new(candidate.method, shuffle);
            let (mut spent, mut length) = (f64::INFINITY, data.len());
            // The quickest of a few counts: the first also makes the compressor's tables, and the system has other work.
            for _ in 0..TRIALS {
                let started = clock.now();
                let Ok(packed) = packer.pack(&sample, compression) else { break };
                spent = spent.min(clock.now().since(started).as_secs_f64());
                length = packed.len();
            }
            if candidate == Compression::NONE {
                spent = 0.0; // nothing is copied that would not be copied anyway
            }
            let cost = spent + length as f64 / self.bytes_per_second;
            if cost < best.1 * (1.0 - WORTH) {
                best = (compression, cost);
            }
        }
        self.chosen = Some(Chosen { compression: best.0, at: now, tensors: 1, width });
        best.0
    }
}

/// Whole elements from all over the data.
fn sample(data: &[u8], width: usize) -> Vec<u8> {
    let width = width.max(1);
    let stretch = STRETCH_BYTES / width * width;
    if data.len() <= stretch * STRETCHES || stretch == 0 {
        return data.to_vec();
    }
    let step = data.len() / STRETCHES / width * width;
    data.chunks(step.max(1)).take(STRETCHES).flat_map(|part| part.iter().take(stretch)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecps_core::clock::ManualClock;
    use rand::{RngExt, SeedableRng};

    /// Advances by itself: 1 ms a look.
    struct Ticking(ManualClock);

    impl SteadyClock for Ticking {
        fn now(&self) -> Steady {
            self.0.advance(Duration::from_millis(1));
            self.0.now()
        }
    }

    #[test]
    fn the_link_decides_whether_compression_pays() {
        let floats: Vec<u8> = (0..100_000_u32).flat_map(|i| (1.0 + i as f32 * 1e-6).to_le_bytes()).collect();
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        let noise: Vec<u8> = (0..400_000).map(|_| rng.random()).collect();
        let mut packer = Packer::default();
        let mut chosen =
            |rate, data: &[u8]| Auto::new(rate).choose(data, 4, &mut packer, &Ticking(ManualClock::default()));
        let slow = chosen(1e5, &floats);
        assert!(matches!(slow, Compression { method: Method::Zstd(_), shuffle: Shuffle::Width(4) }), "{slow}");
        assert_eq!(chosen(1e5, &noise), Compression::NONE, "noise");
        assert_eq!(chosen(1e12, &floats), Compression::NONE, "a link as good as memory");
    }

    #[test]
    fn little_is_no_reason_to_take_longer() {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(3);
        let mut noise = || rng.random::<f32>() * 0.02;
        let photo: Vec<u8> = (0..16_384).flat_map(|i| ((i as f32 * 0.01).sin() + noise()).to_le_bytes()).collect();
        let mut packer = Packer::default();
        let mut length =
            |level| packer.pack(&photo, Compression::new(Method::Zstd(level), Shuffle::Width(4))).unwrap().len() as f64;
        let saved = 1.0 - length(Level(3)) / length(Level::FASTEST);
        assert!((0.0001..WORTH).contains(&saved), "the third level saves {saved}");
        let chosen = Auto::new(1e5).choose(&photo, 4, &mut packer, &Ticking(ManualClock::default()));
        assert_eq!(chosen, Compression::new(Method::Zstd(Level::FASTEST), Shuffle::Width(4)));
    }

    #[test]
    fn a_choice_is_kept_until_it_is_old() {
        let clock = ManualClock::default();
        let (mut auto, mut packer) = (Auto::new(1e5), Packer::default());
        let (smooth, noise) = (vec![7; 4000], rand_pcg::Pcg64Mcg::seed_from_u64(2).random_iter());
        let noise: Vec<u8> = noise.take(4000).collect();
        let first = auto.choose(&smooth, 1, &mut packer, &clock);
        assert_ne!(first, Compression::NONE);
        assert_eq!(auto.choose(&noise, 1, &mut packer, &clock), first);
        clock.advance(AGE);
        assert_eq!(auto.choose(&noise, 1, &mut packer, &clock), Compression::NONE);
    }
}
