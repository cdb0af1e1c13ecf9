//! What the memory tells about itself.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

/// State of a memory. Mirrors the counters of `ecps_msgs/MemoryStats`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// Records that can be found.
    pub records: u64,
    /// Rows that are not as they were written, and are not served.
    pub damaged: u64,
    /// Records whose put was acknowledged, since opening.
    pub puts: u64,
    /// Requests of any kind that were refused, since opening.
    pub refused: u64,
    /// Queries answered, since opening.
    pub queries: u64,
    /// Records deleted, since opening.
    pub deletes: u64,
    /// Why the last refusal was made; empty before the first.
    pub last_refusal: String,
    /// Of the puts, those merged into another record.
    pub merged: u64,
    /// Records that expired, since opening.
    pub expired: u64,
    /// Records that had to go to stay within a quota, since opening.
    pub evicted: u64,
    /// The file and its log, bytes.
    pub bytes: u64,
    /// Records that a graph holds.
    pub indexed: u64,
    /// Records that wait for their place in a graph, and are scanned until then.
    pub unindexed: u64,
    /// Graphs built, since opening.
    pub rebuilds: u64,
    /// Least recall of any graph over its last samples; None before the first.
    pub recall: Option<f32>,
    /// Queries asked both ways, since opening.
    pub recall_samples: u64,
}

/// A row that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("record '{id}' of namespace '{namespace}' (row {row}) is damaged and not served: {reason}")]
pub struct Damage {
    /// Its row in the file.
    pub row: i64,
    /// Its namespace, as far as it can be read.
    pub namespace: String,
    /// Its id, as far as it can be read.
    pub id: String,
    /// How it was noticed.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    puts: AtomicU64,
    refused: AtomicU64,
    queries: AtomicU64,
    deletes: AtomicU64,
    merged: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    rebuilds: AtomicU64,
    samples: AtomicU64,
    last_refusal: Mutex<String>,
}

impl Counters {
    pub(crate) fn put(&self, records: usize, merged: usize) {
        self.puts.fetch_add(records as u64, Ordering::Relaxed);
        self.merged.fetch_add(merged as u64, Ordering::Relaxed);
    }

    pub(crate) fn expired(&self, records: usize) {
        self.expired.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self, records: usize) {
        self.evicted.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn rebuilt(&self) {
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sampled(&self) {
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn deleted(&self, records: usize) {
        self.deletes.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn answered_query(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: &dyn Display) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_string();
    }

    pub(crate) fn snapshot(&self, records: usize, damaged: usize) -> Stats {
        Stats {
            records: records as u64,
            damaged: damaged as u64,
            puts: self.puts.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            queries: self.queries.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
            recall_samples: self.samples.load(Ordering::Relaxed),
            last_refusal: self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..Stats::default()
        }
    }
}
