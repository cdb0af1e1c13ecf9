//! How a memory is served.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::{RosClock, SteadyClock, SystemRos, SystemSteady};

use crate::policy::{Merge, Policy};
use crate::store::file::Durability;

/// How a memory is served.
#[derive(Clone)]
pub struct Options {
    /// Most requests that may wait to be written, and as many again to be read, 1 to 65536.
    pub waiting: usize,
    /// Threads that read, 1 to 16.
    pub readers: usize,
    /// How far the file may grow, bytes; None leaves that to the disk. The log beside it comes on top.
    pub max_bytes: Option<u64>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// How long records live, how many there may be, and which merge.
    pub policy: Policy,
    /// Longest that a query may take before its answer is cut short.
    pub query_limit: Duration,
    /// Records of one model from which on there is a graph beside the scan, 1000 to 2^31.
    pub graph_from: usize,
    /// Threads that build a graph, 1 to 64.
    pub graph_threads: usize,
    /// Time of expiry, recency and of records taken in.
    pub clock: Arc<dyn RosClock>,
    /// Time that durations are measured by.
    pub steady: Arc<dyn SteadyClock>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            waiting: 256,
            readers: 2,
            max_bytes: None,
            durability: Durability::Full,
            policy: Policy::default(),
            query_limit: Duration::from_secs(1),
            graph_from: 20_000,
            graph_threads: 1,
            clock: Arc::new(SystemRos),
            steady: Arc::new(SystemSteady),
        }
    }
}

impl Options {
    pub(super) fn validate(&self) -> Result<(), CheckError> {
        check::in_range("waiting", self.waiting as f64, 1.0, 65536.0)?;
        check::in_range("readers", self.readers as f64, 1.0, 16.0)?;
        check::in_range("graph_from", self.graph_from as f64, 1000.0, f64::from(1_u32 << 31))?;
        check::in_range("graph_threads", self.graph_threads as f64, 1.0, 64.0)?;
        self.policy.merge.as_ref().map_or(Ok(()), Merge::validate)
    }
}
