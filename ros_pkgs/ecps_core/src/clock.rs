//! Time is handed in: steady time for everything that must not be fooled, ROS time for stamps.
//!
//! A watchdog on ROS time dies with the simulator, and one on wall time jumps with NTP; so a watchdog takes a
//! [`SteadyClock`], and what is written into messages comes from a [`RosClock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A moment of the steady clock: time since an arbitrary start, never going back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Steady(pub Duration);

impl Steady {
    /// Time since `earlier`; zero if `earlier` is later than this.
    pub fn since(self, earlier: Steady) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A moment of ROS time: nanoseconds since the Unix epoch, or of simulated time where that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

impl Stamp {
    /// From a `builtin_interfaces/Time`.
    pub fn from_parts(sec: i32, nanosec: u32) -> Stamp {
        Stamp(i64::from(sec) * 1_000_000_000 + i64::from(nanosec))
    }

    /// To the fields of a `builtin_interfaces/Time`; what it cannot hold (before 1901, after 2038) is clamped.
    pub fn to_parts(self) -> (i32, u32) {
        let sec = self.0.div_euclid(1_000_000_000).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        (sec as i32, self.0.rem_euclid(1_000_000_000) as u32)
    }

    /// Whether this is the zero time, which messages use for "not set".
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds from `earlier` to this; negative when `earlier` is later.
    pub fn nanos_since(self, earlier: Stamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Steady time.
pub trait SteadyClock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Steady;
}

/// ROS time.
pub trait RosClock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Stamp;
}

/// `CLOCK_MONOTONIC` of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSteady;

impl SteadyClock for SystemSteady {
    fn now(&self) -> Steady {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Steady(Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32))
    }
}

/// Wall time of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRos;

impl RosClock for SystemRos {
    fn now(&self) -> Stamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Stamp(t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec))
    }
}

/// A clock that stands still until it is told otherwise; both kinds in one. Clones share the time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    steady_ns: Arc<AtomicU64>,
    ros_ns: Arc<AtomicI64>,
}

impl ManualClock {
    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.steady_ns.fetch_add(ns, Ordering::SeqCst);
        self.ros_ns.fetch_add(ns as i64, Ordering::SeqCst);
    }

    /// Sets ROS time, as a simulator that starts anew does. Steady time does not follow.
    pub fn set_ros(&self, stamp: Stamp) {
        self.ros_ns.store(stamp.0, Ordering::SeqCst);
    }
}

impl SteadyClock for ManualClock {
    fn now(&self) -> Steady {
        Steady(Duration::from_nanos(self.steady_ns.load(Ordering::SeqCst)))
    }
}

impl RosClock for ManualClock {
    fn now(&self) -> Stamp {
        Stamp(self.ros_ns.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ros_time_jumping_back_leaves_steady_time_alone() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(5));
        clock.set_ros(Stamp(0));
        assert_eq!(RosClock::now(&clock), Stamp(0));
        assert_eq!(SteadyClock::now(&clock), Steady(Duration::from_secs(5)));
    }

    #[test]
    fn stamps_survive_the_message_fields_also_before_the_epoch() {
        for ns in [0, 1, 1_500_000_000, -1, -1_000_000_001] {
            let (sec, nanosec) = Stamp(ns).to_parts();
            assert_eq!(Stamp::from_parts(sec, nanosec), Stamp(ns));
        }
    }

    #[test]
    fn the_system_clock_does_not_go_back() {
        let first = SystemSteady.now();
        assert!(SystemSteady.now() >= first);
        assert!(SystemRos.now() > Stamp(1_700_000_000_000_000_000));
    }
}
