//! A link that loses, doubles, delays and reorders, from a seed and in time that is handed in: for tests, benches, and
//! for trying a stream's settings before a robot depends on them.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Steady;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// How bad a link is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Part of the packets that is lost, 0 to 1.
    pub loss: f64,
    /// Part of those not lost that arrives twice, 0 to 1.
    pub duplicates: f64,
    /// Least time on the way.
    pub delay: Duration,
    /// What comes on top, evenly from nothing to this: packets closer together than that change places.
    pub jitter: Duration,
    /// Bytes a second.
    pub bytes_per_second: f64,
}

impl Conditions {
    /// A link that loses nothing and keeps the order.
    pub fn clean(delay: Duration, bytes_per_second: f64) -> Conditions {
        Conditions { loss: 0.0, duplicates: 0.0, delay, jitter: Duration::ZERO, bytes_per_second }
    }
}

/// One direction of a link.
#[derive(Debug)]
pub struct LossyLink<T> {
    conditions: Conditions,
    dice: Pcg64Mcg,
    under_way: BTreeMap<(Steady, u64), T>,
    free: Steady,
    sent: u64,
    sent_bytes: u64,
    lost: u64,
}

impl<T: Clone> LossyLink<T> {
    /// A link whose luck follows from `seed`.
    pub fn new(conditions: Conditions, seed: u64) -> LossyLink<T> {
        let dice = Pcg64Mcg::seed_from_u64(seed);
        LossyLink {
            conditions,
            dice,
            under_way: BTreeMap::new(),
            free: Steady::default(),
            sent: 0,
            sent_bytes: 0,
            lost: 0,
        }
    }

    /// Takes in a packet of so many bytes. It occupies the link whether or not it arrives.
    pub fn send(&mut self, packet: &T, bytes: usize, now: Steady) {
        let Conditions { loss, duplicates, delay, jitter, bytes_per_second } = self.conditions;
        self.free = Steady(self.free.0.max(now.0) + Duration::from_secs_f64(bytes as f64 / bytes_per_second));
        self.sent_bytes += bytes as u64;
        if self.dice.random_bool(loss) {
            self.lost += 1;
            return;
        }
        let copies = if self.dice.random_bool(duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            self.sent += 1;
            let arrival = Steady(self.free.0 + delay + jitter.mul_f64(self.dice.random_range(0.0..1.0)));
            self.under_way.insert((arrival, self.sent), packet.clone());
        }
    }

    /// The next packet that has arrived.
    pub fn receive(&mut self, now: Steady) -> Option<T> {
        let entry = self.under_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Option<Steady> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Bytes sent into the link.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Packets lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
