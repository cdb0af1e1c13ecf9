//! What one stream has done, and its latency against the budget.

use std::collections::{BTreeMap, VecDeque};

use ecps_core::clock::Steady;
use ecps_ros::r2r::diagnostic_msgs::msg::KeyValue;
use ecps_ros::r2r::ecps_msgs::msg::LtpStreamStats;
use ecps_ros::{BudgetMeter, Health, Report};

use crate::compression::Compression;
use crate::inbox::ReceivedCounters;
use crate::link::Mode;
use crate::outbox::SentCounters;

/// Tensors under way whose arrival is remembered.
const UNDER_WAY: usize = 256;

/// Counters of one stream.
#[derive(Debug)]
pub(super) struct Statistics {
    name: String,
    type_name: String,
    mode: Mode,
    meter: BudgetMeter,
    arrivals: VecDeque<(u32, Steady)>,
    messages_in: u64,
    memories: u64,
    sent: SentCounters,
    received: ReceivedCounters,
    compression: Compression,
    dropped_before_sending: u64,
    /// Refusals of the sending end, and what the inbox does not know of.
    refusals: BTreeMap<&'static str, u64>,
    last_refusal: String,
    warned: u64,
}

impl Statistics {
    pub(super) fn new(name: &str, type_name: &str, mode: Mode, meter: BudgetMeter) -> Statistics {
        Statistics {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            mode,
            meter,
            arrivals: VecDeque::new(),
            messages_in: 0,
            memories: 0,
            sent: SentCounters::default(),
            received: ReceivedCounters::default(),
            compression: Compression::default(),
            dropped_before_sending: 0,
            refusals: BTreeMap::new(),
            last_refusal: String::new(),
            warned: 0,
        }
    }

    /// A message was taken in, and leaves as tensor `sequence`.
    pub(super) fn taken(&mut self, sequence: u32, arrival: Steady) {
        self.messages_in += 1;
        if self.arrivals.len() >= UNDER_WAY {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((sequence, arrival));
    }

    /// When the message that became tensor `sequence` arrived, if it came through this node.
    pub(super) fn arrival_of(&mut self, sequence: u32) -> Option<Steady> {
        let at = self.arrivals.iter().position(|(number, _)| *number == sequence)?;
        self.arrivals.remove(at).map(|(_, arrival)| arrival)
    }

    /// How far the sending end is.
    pub(super) fn sending(&mut self, counters: SentCounters, compression: Compression, dropped: u64) {
        self.sent = counters;
        self.compression = compression;
        self.dropped_before_sending = dropped;
    }

    /// How far the receiving end is.
    pub(super) fn receiving(&mut self, counters: &ReceivedCounters) {
        self.received.clone_from(counters);
    }

    /// A tensor came out whole and verified.
    pub(super) fn delivered(&mut self, from: Steady, now: Steady) {
        self.meter.record(from, now);
    }

    /// A memory is published.
    pub(super) fn remembered(&mut self) {
        self.memories += 1;
    }

    /// Says why the inbox refused something, which it has counted.
    pub(super) fn explain(&mut self, reason: &dyn std::fmt::Display) {
        self.last_refusal = reason.to_string();
        self.warned += 1;
        if self.warned % 1000 == 1 {
            tracing::warn!("stream '{}': refused ({} so far): {reason}", self.name, self.warned);
        }
    }

    /// Something else was refused.
    pub(super) fn refused(&mut self, kind: &'static str, reason: &dyn std::fmt::Display) {
        *self.refusals.entry(kind).or_default() += 1;
        self.explain(reason);
    }

    /// A message was taken in that became no tensor.
    pub(super) fn not_sent(&mut self, kind: &'static str, reason: &dyn std::fmt::Display) {
        self.messages_in += 1;
        self.refused(kind, reason);
    }

    fn all_refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.refusals.clone();
        for (kind, count) in &self.received.refusals {
            *all.entry(kind).or_default() += count;
        }
        all
    }

    /// Adds to the node's diagnostics.
    pub(super) fn report(&self, report: &mut Report) {
        let refusals = self.all_refusals();
        report.add(
            &format!("{}: received, lost", self.name),
            format!("{}, {}", self.received.tensors, self.received.lost),
        );
        report.add(&format!("{}: senders", self.name), self.received.senders);
        for (kind, count) in &refusals {
            report.add(&format!("{}: refused, {kind}", self.name), count);
        }
        if !refusals.is_empty() {
            report.is(Health::Warn, format!("{}: {}", self.name, self.last_refusal));
        }
    }

    /// The message; `dropped` are those lost at the receiving end.
    pub(super) fn message(&self, dropped: u64) -> LtpStreamStats {
        let (sent, received, monitor) = (&self.sent, &self.received, self.meter.monitor());
        let refusals = self.all_refusals();
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        let part = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        LtpStreamStats {
            name: self.name.clone(),
            type_: self.type_name.clone(),
            mode: self.mode.name().to_owned(),
            compression: self.compression.to_string(),
            messages_in: self.messages_in,
            tensors_sent: sent.tensors,
            tensors_received: received.tensors,
            keys_sent: sent.keys,
            deltas_sent: sent.deltas,
            refused: refusals.values().sum(),
            last_refusal: self.last_refusal.clone(),
            refusals: refusals
                .iter()
                .map(|(kind, count)| KeyValue { key: (*kind).to_owned(), value: count.to_string() })
                .collect(),
            incomplete: received.incomplete,
            tensors_lost: received.lost,
            loss: part(received.lost, received.lost + received.tensors),
            dropped: self.dropped_before_sending + dropped,
            chunks_sent: sent.packets,
            chunks_resent: sent.resent,
            chunks_duplicate: received.duplicates,
            chunks_late: received.late,
            senders: received.senders,
            memories: self.memories,
            bytes_raw: sent.bytes_raw,
            bytes_wire: sent.bytes_wire,
            ratio: part(sent.bytes_raw, sent.bytes_wire),
            bytes_received: received.bytes,
            latency_ms_last: ms(monitor.last()),
            latency_ms_max: ms(monitor.max()),
            jitter_ms: ms(monitor.jitter()),
            latency_ms_budget: ms(monitor.budget().latency),
            jitter_ms_budget: ms(monitor.budget().jitter),
            budget_violations: monitor.violations(),
        }
    }
}
