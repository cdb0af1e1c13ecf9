//! Timing budgets of the protocol, and the measurement against them.
//!
//! The rows are those of the protocol's tables "Timing budgets, profile `standard`" and "Per message kind and profile".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::clock::Steady;

/// Where the stack runs; scales every budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Small computers: budgets × 2.
    EdgeLite,
    /// Budgets × 1.
    #[default]
    Standard,
    /// Servers: budgets × 0.8.
    CloudFleet,
}

/// A profile name nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the profile is '{0}', and must be one of edge-lite, standard, cloud-fleet")]
pub struct UnknownProfile(String);

impl Profile {
    /// The name used in parameters and messages.
    pub fn name(self) -> &'static str {
        match self {
            Profile::EdgeLite => "edge-lite",
            Profile::Standard => "standard",
            Profile::CloudFleet => "cloud-fleet",
        }
    }

    /// Largest message, bytes.
    pub fn max_message_bytes(self) -> usize {
        match self {
            Profile::EdgeLite => 64 << 10,
            Profile::Standard => 1 << 20,
            Profile::CloudFleet => 16 << 20,
        }
    }

    fn scale(self, standard: Duration) -> Duration {
        // Tenths, so that every budget stays an exact number of microseconds.
        let tenths = match self {
            Profile::EdgeLite => 20,
            Profile::Standard => 10,
            Profile::CloudFleet => 8,
        };
        standard * tenths / 10
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Profile, UnknownProfile> {
        [Profile::EdgeLite, Profile::Standard, Profile::CloudFleet]
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or_else(|| UnknownProfile(name.chars().take(64).collect()))
    }
}

/// How hard a message is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// Resent until answered.
    Reliable,
    /// May be lost, and is counted when it is.
    BestEffort,
}

/// What one kind of message may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most time from sent to done.
    pub latency: Duration,
    /// Most variation of it (RFC 3550 estimate).
    pub jitter: Duration,
    /// After this it counts as lost.
    pub timeout: Duration,
    /// How often it is sent again.
    pub retries: u32,
    /// Higher goes first.
    pub priority: u8,
    /// Whether it may be lost.
    pub reliability: Reliability,
}

/// Rows of the budget table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Prompts and tool calls (L6).
    Mcp,
    /// Tensors (L5).
    Ltp,
    /// Remembering (L6).
    MepPut,
    /// Recalling (L6).
    MepQuery,
    /// Acting (L7). Never retried: stale motion is worse than lost motion.
    Eap,
}

impl MessageKind {
    /// The row's name.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Mcp => "MCP",
            MessageKind::Ltp => "LTP",
            MessageKind::MepPut => "MEP_PUT",
            MessageKind::MepQuery => "MEP_QUERY",
            MessageKind::Eap => "EAP",
        }
    }

    /// The row's budget under `profile`.
    pub fn budget(self, profile: Profile) -> Budget {
        let ms = Duration::from_millis;
        let (latency, jitter, timeout, retries, priority, reliability) = match self {
            MessageKind::Mcp => (ms(5000), ms(500), ms(30_000), 3, 5, Reliability::Reliable),
            MessageKind::Ltp => (ms(100), ms(10), ms(5000), 1, 7, Reliability::BestEffort),
            MessageKind::MepPut => (ms(200), ms(50), ms(10_000), 2, 4, Reliability::Reliable),
            MessageKind::MepQuery => (ms(1000), ms(50), ms(15_000), 2, 6, Reliability::Reliable),
            MessageKind::Eap => (ms(20), ms(2), ms(1000), 0, 10, Reliability::Reliable),
        };
        Budget {
            latency: profile.scale(latency),
            jitter: profile.scale(jitter),
            timeout: profile.scale(timeout),
            retries,
            priority,
            reliability,
        }
    }
}

/// Longest silence of commands before the stop, in every profile.
pub const SAFETY_TIMEOUT: Duration = Duration::from_secs(1);
/// Perception to action, profile `standard`.
pub const END_TO_END: Duration = Duration::from_millis(200);
/// Through a language model and back, profile `standard`.
pub const COGNITION_LOOP: Duration = Duration::from_secs(10);

/// A latency or a jitter beyond its budget.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error(
    "{kind} took {latency:?} with jitter {jitter:?}, and the budget of profile {profile} is {max_latency:?} with jitter {max_jitter:?}"
)]
pub struct BudgetViolation {
    /// Which row.
    pub kind: MessageKind,
    /// Under which profile.
    pub profile: Profile,
    /// Measured.
    pub latency: Duration,
    /// Measured.
    pub jitter: Duration,
    /// Allowed.
    pub max_latency: Duration,
    /// Allowed.
    pub max_jitter: Duration,
}

impl Budget {
    /// Holds a measurement against this budget; both values are reported when either is over.
    pub fn check(
        &self,
        kind: MessageKind,
        profile: Profile,
        latency: Duration,
        jitter: Duration,
    ) -> Result<(), BudgetViolation> {
        if latency <= self.latency && jitter <= self.jitter {
            return Ok(());
        }
        Err(BudgetViolation { kind, profile, latency, jitter, max_latency: self.latency, max_jitter: self.jitter })
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Measures one row while running.
///
/// ```
/// use std::time::Duration;
/// use ecps_core::budget::{BudgetMonitor, MessageKind, Profile};
/// use ecps_core::clock::Steady;
///
/// let mut monitor = BudgetMonitor::new(MessageKind::Eap, Profile::Standard);
/// let ms = |n| Steady(Duration::from_millis(n));
/// assert!(monitor.record(ms(0), ms(3)).is_ok());
/// let late = monitor.record(ms(100), ms(130)).unwrap_err();
/// assert_eq!(late.latency, Duration::from_millis(30));
/// assert_eq!(monitor.violations(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct BudgetMonitor {
    kind: MessageKind,
    profile: Profile,
    budget: Budget,
    previous: Option<Duration>,
    last: Duration,
    max: Duration,
    jitter: Duration,
    count: u64,
    violations: u64,
}

impl BudgetMonitor {
    /// A monitor of one row.
    pub fn new(kind: MessageKind, profile: Profile) -> BudgetMonitor {
        BudgetMonitor {
            kind,
            profile,
            budget: kind.budget(profile),
            previous: None,
            last: Duration::ZERO,
            max: Duration::ZERO,
            jitter: Duration::ZERO,
            count: 0,
            violations: 0,
        }
    }

    /// Takes in one measurement. Jitter is RFC 3550's running estimate: J += (|D| − J) / 16.
    pub fn record(&mut self, started: Steady, done: Steady) -> Result<(), BudgetViolation> {
        let latency = done.since(started);
        if let Some(previous) = self.previous {
            let difference = latency.abs_diff(previous);
            self.jitter = self.jitter.saturating_sub(self.jitter / 16) + difference / 16;
        }
        self.previous = Some(latency);
        self.last = latency;
        self.max = self.max.max(latency);
        self.count += 1;
        self.budget.check(self.kind, self.profile, latency, self.jitter).inspect_err(|_| self.violations += 1)
    }

    /// The budget measured against.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The last latency.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// The longest latency.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The running jitter estimate.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// How many measurements there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them broke the budget.
    pub fn violations(&self) -> u64 {
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    #[test]
    fn the_profiles_scale_every_row_as_the_protocol_lists_it() {
        let table = [
            (MessageKind::Mcp, [(10_000., 1000., 60.), (5000., 500., 30.), (4000., 400., 24.)]),
            (MessageKind::Ltp, [(200., 20., 10.), (100., 10., 5.), (80., 8., 4.)]),
            (MessageKind::MepPut, [(400., 100., 20.), (200., 50., 10.), (160., 40., 8.)]),
            (MessageKind::MepQuery, [(2000., 100., 30.), (1000., 50., 15.), (800., 40., 12.)]),
            (MessageKind::Eap, [(40., 4., 2.), (20., 2., 1.), (16., 1.6, 0.8)]),
        ];
        for (kind, rows) in table {
            for (profile, (latency, jitter, timeout)) in
                [Profile::EdgeLite, Profile::Standard, Profile::CloudFleet].into_iter().zip(rows)
            {
                let budget = kind.budget(profile);
                assert_eq!(budget.latency.as_secs_f64() * 1e3, latency, "{kind} {profile}");
                assert_eq!(budget.jitter.as_secs_f64() * 1e3, jitter, "{kind} {profile}");
                assert_eq!(budget.timeout.as_secs_f64(), timeout, "{kind} {profile}");
            }
        }
    }

    #[test]
    fn jitter_is_the_rfc_3550_estimate_and_breaks_the_budget_by_itself() {
        let mut monitor = BudgetMonitor::new(MessageKind::Eap, Profile::Standard);
        // Latencies 0 and 18 ms by turns are each within 20 ms, and vary by 18 ms each time.
        let mut broken_at = None;
        for i in 0..40u64 {
            let start = i * 100;
            let result = monitor.record(at(start), at(start + if i % 2 == 0 { 0 } else { 18 }));
            if let Err(violation) = result {
                assert!(violation.latency <= Duration::from_millis(20));
                assert!(violation.jitter > Duration::from_millis(2));
                broken_at.get_or_insert(i);
            }
        }
        // J after n steps is 18·(1 − (15/16)^n): over 2 ms from the second step on.
        assert_eq!(broken_at, Some(2));
    }

    #[test]
    fn a_steady_clock_that_seems_to_go_back_counts_as_zero_latency() {
        let mut monitor = BudgetMonitor::new(MessageKind::Ltp, Profile::Standard);
        assert!(monitor.record(at(10), at(5)).is_ok());
        assert_eq!(monitor.last(), Duration::ZERO);
    }

    #[test]
    fn an_unknown_profile_is_named_with_the_choices() {
        let error = "edge".parse::<Profile>().unwrap_err().to_string();
        assert_eq!(error, "the profile is 'edge', and must be one of edge-lite, standard, cloud-fleet");
    }
}
