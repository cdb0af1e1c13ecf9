//! Tensors of a reliable stream, held until those before them are there or given up.

use std::collections::BTreeMap;

use ecps_core::clock::Steady;

use crate::tensor::Tensor;

/// Key in `header.metadata` of a reliable stream's packets: the oldest tensor that the sender still cares for. All before
/// it are acknowledged or given up.
pub const OLDEST_KEY: &str = "oldest";
/// A sender whose oldest tensor is this far behind what was delivered counts anew.
const FAR_BEHIND: u64 = 4096;

/// A whole tensor, and what was known of its way.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) tensor: Tensor,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) sequence: u32,
    pub(super) chunks: u32,
    pub(super) first_arrival: Steady,
    pub(super) at: Steady,
    /// Tensors missing right before it.
    pub(super) lost: u32,
}

/// The order of one sender's stream. Numbers are continued beyond 32 bits, so that they never wrap here.
#[derive(Debug)]
pub(super) struct Order {
    next: u64,
    /// Tensors given up since the last one that was delivered.
    skipped: u64,
    waiting: BTreeMap<u64, Whole>,
}

impl Order {
    pub(super) fn new(oldest: u32) -> Order {
        Order { next: (1 << 32) + u64::from(oldest), skipped: 0, waiting: BTreeMap::new() }
    }

    fn extend(&self, sequence: u32) -> u64 {
        let step = sequence.wrapping_sub(self.next as u32) as i32;
        self.next.saturating_add_signed(i64::from(step))
    }

    /// Whether the sender counts anew, given its oldest tensor.
    pub(super) fn is_restart(&self, oldest: u32) -> bool {
        self.extend(oldest) + FAR_BEHIND < self.next
    }

    /// Whether the tensor is delivered, given up, or waiting whole.
    pub(super) fn is_settled(&self, sequence: u32) -> bool {
        let number = self.extend(sequence);
        number < self.next || self.waiting.contains_key(&number)
    }

    /// How far a tensor is from being next.
    pub(super) fn distance(&self, sequence: u32) -> u64 {
        self.extend(sequence).saturating_sub(self.next)
    }

    pub(super) fn add(&mut self, whole: Whole) {
        self.waiting.insert(self.extend(whole.sequence), whole);
    }

    /// What can be delivered, once all tensors before `oldest` are settled.
    pub(super) fn ready(&mut self, oldest: u32) -> Vec<Whole> {
        let limit = self.extend(oldest).max(self.next);
        let mut ready = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.next.max(limit) {
                break;
            }
            let (number, mut whole) = entry.remove_entry();
            let lost = std::mem::take(&mut self.skipped) + number.saturating_sub(self.next);
            whole.lost = u32::try_from(lost).unwrap_or(u32::MAX);
            self.next = number + 1;
            ready.push(whole);
        }
        self.skipped += limit.saturating_sub(self.next);
        self.next = self.next.max(limit);
        ready
    }

    /// Gives up what is missing before the first whole tensor that has waited since before `then`.
    pub(super) fn overdue(&mut self, then: impl Fn(Steady) -> bool) -> Vec<Whole> {
        match self.waiting.first_key_value() {
            Some((&number, whole)) if then(whole.at) => self.ready(number as u32),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.values().map(|whole| whole.tensor.held_bytes()).sum()
    }
}
