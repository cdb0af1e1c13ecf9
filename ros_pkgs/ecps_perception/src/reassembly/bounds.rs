//! What reassemblers may use: memory, time, streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecps_core::limits;

/// What a reassembler may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A set that is not whole this long after its first chunk is given up.
    pub timeout: Duration,
    /// Bytes that the partial sets of one sender may hold, with its key frames and what waits for its turn.
    pub sender_bytes: usize,
    /// Bytes that those of all senders may hold.
    pub total_bytes: usize,
    /// Partial sets that one stream may hold; the oldest makes way for a newer one.
    pub sets_per_stream: usize,
    /// Streams, counted over all senders.
    pub streams: usize,
}

impl Default for Bounds {
    /// 5 s as in the protocol's LTP budget, room for one tensor of the greatest size, two sets (so that reordering across
    /// two tensors costs neither), 256 streams.
    fn default() -> Bounds {
        Bounds {
            timeout: Duration::from_secs(5),
            sender_bytes: limits::TENSOR_BYTES + (32 << 20),
            total_bytes: limits::TENSOR_BYTES * 2,
            sets_per_stream: 2,
            streams: 256,
        }
    }
}

/// What several reassemblers may hold together, bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    used: Arc<AtomicUsize>,
    limit: usize,
}

impl Pool {
    /// Of this many bytes.
    pub fn new(limit: usize) -> Pool {
        Pool { used: Arc::default(), limit }
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one reassembler holds of a pool; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    pool: Pool,
    held: usize,
}

impl Share {
    pub(super) fn of(pool: Pool) -> Share {
        Share { pool, held: 0 }
    }

    /// Tells the pool what is held now.
    pub(super) fn settle(&mut self, held: usize) {
        self.pool.used.fetch_add(held, Ordering::Relaxed);
        self.pool.used.fetch_sub(self.held, Ordering::Relaxed);
        self.held = held;
    }

    /// Bytes that all who share the pool hold, this one `held`.
    pub(super) fn everywhere(&self, held: usize) -> usize {
        (self.pool.used() + held).saturating_sub(self.held)
    }

    pub(super) fn limit(&self) -> usize {
        self.pool.limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.settle(0);
    }
}
