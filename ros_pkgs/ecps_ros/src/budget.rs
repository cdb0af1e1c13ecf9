//! Measures one row of the timing budgets while running, and publishes an event for each violation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_core::budget::{BudgetMonitor, MessageKind, Profile};
use ecps_core::clock::{RosClock, Steady};
use r2r::ecps_msgs::msg::BudgetEvent;

use crate::clock::NodeClock;
use crate::node::Node;
use crate::publisher::Publisher;
use crate::qos;
use crate::start_error::StartError;

/// Publishes a node's violations on `~/budget_events`.
#[derive(Debug, Clone)]
pub struct BudgetEvents {
    publisher: Publisher<BudgetEvent>,
    clock: NodeClock,
    profile: Profile,
}

impl BudgetEvents {
    /// For `node`, under `profile`.
    pub fn new<S: 'static>(node: &mut Node<S>, profile: Profile) -> Result<BudgetEvents, StartError> {
        let publisher = node.publisher("~/budget_events", qos::default())?;
        Ok(BudgetEvents { publisher, clock: node.clock(), profile })
    }

    /// A meter of the row `kind`, which the node's diagnostics show.
    pub fn meter<S: 'static>(&self, node: &mut Node<S>, kind: MessageKind) -> BudgetMeter {
        let monitor = Arc::new(Mutex::new(BudgetMonitor::new(kind, self.profile)));
        let meter = BudgetMeter { kind, monitor, events: self.clone() };
        node.note_budget(meter.clone());
        meter
    }
}

/// A running measurement of one row. Clones measure together.
#[derive(Debug, Clone)]
pub struct BudgetMeter {
    kind: MessageKind,
    monitor: Arc<Mutex<BudgetMonitor>>,
    events: BudgetEvents,
}

impl BudgetMeter {
    /// Takes in one measurement and publishes an event if it breaks the budget.
    pub fn record(&self, started: Steady, done: Steady) {
        let (result, count) = {
            let mut monitor = self.monitor();
            (monitor.record(started, done), monitor.violations())
        };
        let Err(violation) = result else { return };
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        self.events.publisher.publish(&BudgetEvent {
            stamp: crate::convert::time(self.events.clock.now()),
            kind: violation.kind.name().to_owned(),
            profile: violation.profile.name().to_owned(),
            latency_ms: ms(violation.latency),
            max_latency_ms: ms(violation.max_latency),
            jitter_ms: ms(violation.jitter),
            max_jitter_ms: ms(violation.max_jitter),
            count,
        });
    }

    /// The row that is measured.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The measurement so far.
    pub fn monitor(&self) -> MutexGuard<'_, BudgetMonitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
