//! What one stream has done, and its latency against the budget.

use std::collections::VecDeque;

use ecps_core::clock::Steady;
use ecps_ros::BudgetMeter;
use ecps_ros::r2r::ecps_msgs::msg::LtpStreamStats;

/// Tensors under way whose arrival is remembered.
const UNDER_WAY: usize = 256;

/// Counters of one stream.
#[derive(Debug)]
pub(crate) struct Statistics {
    counters: LtpStreamStats,
    meter: BudgetMeter,
    arrivals: VecDeque<(u32, Steady)>,
}

impl Statistics {
    pub(crate) fn new(name: &str, meter: BudgetMeter) -> Statistics {
        let counters = LtpStreamStats { name: name.to_owned(), ..LtpStreamStats::default() };
        Statistics { counters, meter, arrivals: VecDeque::new() }
    }

    /// A message was taken in, and leaves as tensor `sequence`.
    pub(crate) fn sent(&mut self, sequence: u32, arrival: Steady, raw: usize, wire: usize) {
        self.counters.messages_in += 1;
        self.counters.tensors_sent += 1;
        self.counters.bytes_raw += raw as u64;
        self.counters.bytes_wire += wire as u64;
        if self.arrivals.len() >= UNDER_WAY {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((sequence, arrival));
    }

    /// When the message that became tensor `sequence` arrived, if it came through this node.
    pub(crate) fn arrival_of(&mut self, sequence: u32) -> Option<Steady> {
        let at = self.arrivals.iter().position(|(number, _)| *number == sequence)?;
        self.arrivals.remove(at).map(|(_, arrival)| arrival)
    }

    /// A tensor came out whole and verified.
    pub(crate) fn received(&mut self, from: Steady, now: Steady) {
        self.counters.tensors_received += 1;
        self.meter.record(from, now);
    }

    /// A memory is published.
    pub(crate) fn remembered(&mut self) {
        self.counters.memories += 1;
    }

    /// Something was refused.
    pub(crate) fn refused(&mut self, reason: &dyn std::fmt::Display) {
        self.counters.refused += 1;
        self.counters.last_refusal = reason.to_string();
        if self.counters.refused % 1000 == 1 {
            tracing::warn!("stream '{}': refused ({} so far): {reason}", self.counters.name, self.counters.refused);
        }
    }

    /// A message was taken in that became no tensor.
    pub(crate) fn not_sent(&mut self, reason: &dyn std::fmt::Display) {
        self.counters.messages_in += 1;
        self.refused(reason);
    }

    /// A tensor was given up.
    pub(crate) fn incomplete(&mut self) {
        self.counters.incomplete += 1;
    }

    /// Messages lost before the sending end could take them.
    pub(crate) fn set_dropped_before_sending(&mut self, dropped: u64) {
        self.counters.dropped = dropped;
    }

    /// The message; `dropped` are those lost at the receiving end.
    pub(crate) fn message(&self, dropped: u64) -> LtpStreamStats {
        let monitor = self.meter.monitor();
        LtpStreamStats {
            dropped: self.counters.dropped + dropped,
            latency_ms_last: monitor.last().as_secs_f64() * 1e3,
            latency_ms_max: monitor.max().as_secs_f64() * 1e3,
            jitter_ms: monitor.jitter().as_secs_f64() * 1e3,
            budget_violations: monitor.violations(),
            ..self.counters.clone()
        }
    }
}
