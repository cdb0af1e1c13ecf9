//! ROS time as a node's parameters want it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ecps_core::clock::{RosClock, Stamp, SystemRos};

/// Wall time, or `/clock` when `use_sim_time` is set (0 until the first message). Clones share the time.
#[derive(Debug, Clone, Default)]
pub struct NodeClock {
    simulated: Option<Arc<AtomicI64>>,
}

impl NodeClock {
    pub(crate) fn simulated() -> NodeClock {
        NodeClock { simulated: Some(Arc::default()) }
    }

    /// Whether time comes from `/clock`.
    pub fn is_simulated(&self) -> bool {
        self.simulated.is_some()
    }

    pub(crate) fn set(&self, stamp: Stamp) {
        if let Some(nanos) = &self.simulated {
            nanos.store(stamp.0, Ordering::Release);
        }
    }
}

impl RosClock for NodeClock {
    fn now(&self) -> Stamp {
        match &self.simulated {
            Some(nanos) => Stamp(nanos.load(Ordering::Acquire)),
            None => SystemRos.now(),
        }
    }
}
