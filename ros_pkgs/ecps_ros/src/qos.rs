//! QoS profiles by name, as in REP 2003.

pub(crate) mod overrides;

use r2r::QosProfile;
use r2r::qos::{DurabilityPolicy, HistoryPolicy, ReliabilityPolicy};

fn profile(depth: usize, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QosProfile {
    QosProfile { history: HistoryPolicy::KeepLast, depth, reliability, durability, ..QosProfile::default() }
}

/// Topics in general: reliable, volatile, the last 10.
pub fn default() -> QosProfile {
    profile(10, ReliabilityPolicy::Reliable, DurabilityPolicy::Volatile)
}

/// Sensor readings: best effort, the last 5; a late reading is worth less than the next one.
pub fn sensor_data() -> QosProfile {
    profile(5, ReliabilityPolicy::BestEffort, DurabilityPolicy::Volatile)
}

/// Subscribing to readings whoever offers them; reliable subscribers do not match best-effort publishers.
pub fn any_sensor(depth: usize) -> QosProfile {
    profile(depth, ReliabilityPolicy::BestEffort, DurabilityPolicy::Volatile)
}

/// Bulk data that should arrive: reliable, with room for a burst of `depth`.
pub fn reliable(depth: usize) -> QosProfile {
    profile(depth, ReliabilityPolicy::Reliable, DurabilityPolicy::Volatile)
}

/// State that a late joiner needs: the last one, kept for it.
pub fn latched() -> QosProfile {
    profile(1, ReliabilityPolicy::Reliable, DurabilityPolicy::TransientLocal)
}

/// Motion commands: reliable, the last 4 (the protocol's EAP row).
pub fn command() -> QosProfile {
    profile(4, ReliabilityPolicy::Reliable, DurabilityPolicy::Volatile)
}

/// Services.
pub fn services() -> QosProfile {
    profile(100, ReliabilityPolicy::Reliable, DurabilityPolicy::Volatile)
}

/// `/parameter_events`.
pub(crate) fn parameter_events() -> QosProfile {
    profile(1000, ReliabilityPolicy::Reliable, DurabilityPolicy::Volatile)
}

/// Status of actions: the last one, kept for late joiners.
pub(crate) fn action_status() -> QosProfile {
    latched()
}

/// `/rosout`: what was logged in the last 10 s reaches also who listens late.
pub(crate) fn rosout() -> QosProfile {
    let latched = profile(1000, ReliabilityPolicy::Reliable, DurabilityPolicy::TransientLocal);
    QosProfile { lifespan: std::time::Duration::from_secs(10), ..latched }
}

/// `/tf`.
pub(crate) fn transforms() -> QosProfile {
    reliable(100)
}

/// `/tf_static`, as published; listeners take 100, since each publisher keeps one.
pub(crate) fn static_transforms(depth: usize) -> QosProfile {
    profile(depth, ReliabilityPolicy::Reliable, DurabilityPolicy::TransientLocal)
}

/// `/clock`.
pub(crate) fn clock() -> QosProfile {
    profile(1, ReliabilityPolicy::BestEffort, DurabilityPolicy::Volatile)
}
