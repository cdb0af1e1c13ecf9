//! `/diagnostics` once a second (REP 107): the node's state and memory, its streams, its budgets, and what its layer adds.

use std::fmt::Display;
use std::time::Duration;

use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemSteady};
use r2r::diagnostic_msgs::msg::{DiagnosticArray, DiagnosticStatus, KeyValue};

use crate::budget::BudgetMeter;
use crate::clock::NodeClock;
use crate::node::Entities;
use crate::parameter::{ParameterError, Parameters, Spec};
use crate::publisher::Publisher;
use crate::qos;
use crate::start_error::StartError;
use crate::stream::StreamMeter;

const PERIOD: Duration = Duration::from_secs(1);

/// The thresholds, as parameters of every node.
pub(crate) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::double("diagnostics.stale_after", 5.0, "Silence after which a stream that had messages counts as stale.")
            .unit("s")
            .range(0.1, 3600.0),
        Spec::double("diagnostics.max_drop_rate", 0.0, "Messages a stream may lose before that is a warning.")
            .unit("1/s")
            .range(0.0, 1e6),
        Spec::double(
            "diagnostics.max_violation_rate",
            0.0,
            "Timing budgets that may be broken before that is a warning.",
        )
        .unit("1/s")
        .range(0.0, 1e6),
        Spec::integer("diagnostics.max_memory", 1024, "Resident memory of the process above which it warns.")
            .unit("MiB")
            .range(1.0, 1e6),
    ] {
        parameters.declare(spec.dynamic())?;
    }
    Ok(())
}

/// How well something is, in the order of REP 107's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Health {
    /// As it should be.
    Ok = 0,
    /// Somebody should look at it.
    Warn = 1,
    /// It does not do its work.
    Error = 2,
    /// It is not heard from.
    Stale = 3,
}

/// One entry of the diagnostics.
#[derive(Debug)]
pub struct Report {
    health: Health,
    message: String,
    values: Vec<KeyValue>,
}

impl Report {
    fn new() -> Report {
        Report { health: Health::Ok, message: "ok".into(), values: Vec::new() }
    }

    /// Says how it is; the worst of what is said stands.
    pub fn is(&mut self, health: Health, message: impl Into<String>) {
        if health > self.health || self.message == "ok" {
            self.health = self.health.max(health);
            self.message = message.into();
        }
    }

    /// Adds a value.
    pub fn add(&mut self, key: &str, value: impl Display) {
        self.values.push(KeyValue { key: key.to_owned(), value: value.to_string() });
    }

    fn status(self, name: String, hardware_id: &str) -> DiagnosticStatus {
        DiagnosticStatus {
            level: self.health as u8,
            name,
            message: self.message,
            hardware_id: hardware_id.to_owned(),
            values: self.values,
        }
    }
}

/// Publishes one node's entries.
pub(crate) struct Diagnostics {
    publisher: Publisher<DiagnosticArray>,
    name: String,
    hardware_id: String,
    clock: NodeClock,
    last: Steady,
    spins: u64,
    /// Processor time of the process at the last publication.
    processor: Duration,
    /// Drops of each stream and violations of each budget at the last publication.
    drops: Vec<u64>,
    violations: Vec<u64>,
}

impl Diagnostics {
    pub(crate) fn new(ros: &mut r2r::Node, name: &str, clock: NodeClock) -> Result<Diagnostics, StartError> {
        let topic = "/diagnostics";
        let publisher =
            ros.create_publisher(topic, qos::default()).map_err(StartError::ros(|| format!("topic '{topic}'")))?;
        let robot = name.trim_start_matches('/').rsplit_once('/').map_or("", |(namespace, _)| namespace);
        Ok(Diagnostics {
            publisher: Publisher::new(publisher, topic),
            name: name.trim_start_matches('/').to_owned(),
            hardware_id: robot.to_owned(),
            clock,
            last: SystemSteady.now(),
            spins: 0,
            processor: processor_time(),
            drops: Vec::new(),
            violations: Vec::new(),
        })
    }

    /// When the next ones are due.
    pub(crate) fn due(&self) -> Steady {
        Steady(self.last.0 + PERIOD)
    }

    /// Counts a round of the spin thread.
    pub(crate) fn spun(&mut self) {
        self.spins += 1;
    }

    pub(crate) fn publish_if_due<S>(
        &mut self,
        parameters: &Parameters,
        entities: &mut Entities<S>,
        state: Option<&S>,
        stage: &str,
        now: Steady,
    ) {
        if now < self.due() {
            return;
        }
        let elapsed = now.since(self.last).as_secs_f64();
        let limit = |name: &str| parameters.double(name).unwrap_or(f64::INFINITY);
        let mut reports = vec![("node".to_owned(), self.node(parameters, stage, elapsed))];
        for (index, meter) in entities.meters.iter().enumerate() {
            let before = grown(&mut self.drops, index, meter.counters().dropped);
            let mut report = stream(meter, now, before as f64 / elapsed, &limit);
            for (_, waiting) in entities.queues.iter().filter(|(topic, _)| topic == meter.topic()) {
                report.add("waiting", waiting());
            }
            reports.push((format!("stream {}", meter.topic()), report));
        }
        for (index, meter) in entities.budgets.iter().enumerate() {
            let new = grown(&mut self.violations, index, meter.monitor().violations());
            reports.push((format!("budget {}", meter.kind().name()), budget(meter, new as f64 / elapsed, &limit)));
        }
        if let Some(state) = state {
            for (name, describe) in &mut entities.reports {
                let mut report = Report::new();
                describe(state, &mut report);
                reports.push((name.clone(), report));
            }
        }
        let status = reports
            .into_iter()
            .map(|(name, report)| report.status(format!("{}: {name}", self.name), &self.hardware_id))
            .collect();
        let mut message = DiagnosticArray { status, ..DiagnosticArray::default() };
        message.header.stamp = crate::convert::time(self.clock.now());
        self.publisher.publish(&message);
        self.last = now;
        self.spins = 0;
        self.processor = processor_time();
    }

    fn node(&self, parameters: &Parameters, stage: &str, elapsed: f64) -> Report {
        let mut report = Report::new();
        report.is(Health::Ok, stage);
        if let Some(bytes) = resident_bytes() {
            let (used, max) = (bytes >> 20, parameters.integer("diagnostics.max_memory").unwrap_or(i64::MAX));
            if i64::try_from(used).unwrap_or(i64::MAX) > max {
                report.is(Health::Warn, format!("{used} MiB of memory, more than the {max} of diagnostics.max_memory"));
            }
            report.add("memory (MiB)", used);
        }
        let busy = processor_time().saturating_sub(self.processor).as_secs_f64();
        report.add("processor (% of a core)", format!("{:.2}", 100.0 * busy / elapsed));
        report.add("state", stage);
        report.add("spins (1/s)", format!("{:.1}", self.spins as f64 / elapsed));
        report
    }
}

/// What a counter has grown by since the last time.
fn grown(before: &mut Vec<u64>, index: usize, now: u64) -> u64 {
    if before.len() <= index {
        before.resize(index + 1, 0);
    }
    before.get_mut(index).map_or(0, |before| now.saturating_sub(std::mem::replace(before, now)))
}

fn stream(meter: &StreamMeter, now: Steady, drop_rate: f64, limit: &impl Fn(&str) -> f64) -> Report {
    let mut report = Report::new();
    let (counters, max_drops) = (meter.counters(), limit("diagnostics.max_drop_rate"));
    match meter.age(now) {
        None => report.is(Health::Ok, "nothing received yet"),
        Some(age) if age.as_secs_f64() > limit("diagnostics.stale_after") => {
            report.is(Health::Stale, format!("silent for {:.1} s", age.as_secs_f64()));
        }
        Some(_) if drop_rate > max_drops => {
            report.is(Health::Warn, format!("loses {drop_rate:.1} messages a second, more than {max_drops}"));
        }
        Some(_) => {}
    }
    report.add("rate (Hz)", format!("{:.2}", meter.rate(now)));
    report.add("age (s)", meter.age(now).map_or_else(|| "-".to_owned(), |age| format!("{:.3}", age.as_secs_f64())));
    report.add("received", counters.received);
    report.add("dropped", counters.dropped);
    report.add("late", counters.late);
    report
}

fn budget(meter: &BudgetMeter, violation_rate: f64, limit: &impl Fn(&str) -> f64) -> Report {
    let mut report = Report::new();
    let max = limit("diagnostics.max_violation_rate");
    if violation_rate > max {
        report.is(Health::Warn, format!("broken {violation_rate:.1} times a second, more than {max}"));
    }
    let monitor = meter.monitor();
    report.add("latency (ms)", format!("{:.3}", monitor.last().as_secs_f64() * 1e3));
    report.add("violations", monitor.violations());
    report
}

/// Resident memory of the process; none where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Processor time that the process has used.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
