//! The k best of many, in k places.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use ecps_core::clock::Stamp;

/// A record that met every condition. Greater is better: a higher score, then newer, then the smaller id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) score: f32,
    pub(crate) time: Stamp,
    pub(crate) id: &'a str,
    pub(crate) row: i64,
    pub(crate) similarity: Option<f32>,
    pub(crate) text: Option<f32>,
    pub(crate) relevance: f32,
    pub(crate) recency: f32,
    pub(crate) importance: f32,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The id lies elsewhere in memory, and is looked at only where the rest is equal: one miss of the cache per record.
        let first = self.score.total_cmp(&other.score).then(self.time.cmp(&other.time));
        first.then_with(|| other.id.cmp(self.id)).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

/// Counts all candidates and keeps the best `k`.
#[derive(Debug)]
pub(crate) struct Best<'a> {
    k: usize,
    kept: BinaryHeap<Reverse<Candidate<'a>>>,
    total: u64,
}

impl<'a> Best<'a> {
    pub(crate) fn new(k: u32) -> Self {
        Best { k: k as usize, kept: BinaryHeap::new(), total: 0 }
    }

    pub(crate) fn offer(&mut self, candidate: Candidate<'a>) {
        self.total += 1;
        if self.kept.len() < self.k {
            self.kept.push(Reverse(candidate));
        } else if let Some(mut worst) = self.kept.peek_mut()
            && candidate > worst.0
        {
            worst.0 = candidate;
        }
    }

    /// Counts one without looking further, where nothing about it but its score could bring it among the best.
    pub(crate) fn rejects(&mut self, score: f32) -> bool {
        let worse = self.kept.len() >= self.k && self.kept.peek().is_some_and(|Reverse(worst)| score < worst.score);
        self.total += u64::from(worse);
        worse
    }

    /// The best first, and how many there were.
    pub(crate) fn into_sorted(self) -> (Vec<Candidate<'a>>, u64) {
        (self.kept.into_sorted_vec().into_iter().map(|Reverse(candidate)| candidate).collect(), self.total)
    }
}
