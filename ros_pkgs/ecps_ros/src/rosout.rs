//! `tracing` to standard error in ROS's form, and to `/rosout`, where rqt_console reads it.
//!
//! Lines wait in a bounded queue for the spin thread, so that logging never publishes from inside a publisher, nor costs
//! a real-time thread a system call on DDS's behalf. One place in the code prints at most 10 lines a second; what it
//! left out is counted in its next line.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemRos, SystemSteady};
use r2r::rcl_interfaces::msg::Log;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

/// Lines that wait for the spin thread; beyond that the oldest are lost.
const WAITING: usize = 1000;
/// Lines of one place in the code, per window.
const BURST: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The levels of `rcl_interfaces/Log`, as the parameter `log_level` names them.
pub(crate) const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "fatal"];

/// The process's threshold: an index into [`LEVELS`].
static THRESHOLD: AtomicU8 = AtomicU8::new(1);

/// The nodes of the process that log, and the one that a thread without a node logs for: the first.
static NODES: Mutex<Vec<NodeLog>> = Mutex::new(Vec::new());

thread_local! {
    /// The node whose spin thread this is.
    static OWN: RefCell<Option<NodeLog>> = const { RefCell::new(None) };
}

/// Where the lines of one node wait to be published.
#[derive(Debug, Clone)]
pub(crate) struct NodeLog {
    name: Arc<str>,
    lane: TelemetryLane<Log>,
}

impl NodeLog {
    /// The log of a new node. `fully_qualified_name` becomes the logger's name as in rcl: `/robot1/gate` → `robot1.gate`.
    pub(crate) fn begin(fully_qualified_name: &str) -> NodeLog {
        let name = fully_qualified_name.trim_start_matches('/').replace('/', ".");
        let log = NodeLog { name: name.into(), lane: TelemetryLane::new(WAITING, Overflow::DropOldest) };
        NODES.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
        log
    }

    /// Makes the calling thread's lines this node's.
    pub(crate) fn adopt_this_thread(&self) {
        OWN.set(Some(self.clone()));
    }

    /// The lines that wait to be published.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Log> + use<> {
        let lane = self.lane.clone();
        std::iter::from_fn(move || lane.take(Some(Duration::ZERO)))
    }

    /// The node is gone: lines of its threads become another's.
    pub(crate) fn end(&self) {
        NODES.lock().unwrap_or_else(PoisonError::into_inner).retain(|log| !Arc::ptr_eq(&log.name, &self.name));
    }
}

/// Sets the least level that the process logs: one of [`LEVELS`].
pub(crate) fn set_level(level: &str) {
    if let Some(index) = LEVELS.iter().position(|known| *known == level) {
        THRESHOLD.store(index as u8, Ordering::Relaxed);
    }
}

/// Index into [`LEVELS`], and the constant of the message: 10, 20, 30, 40.
fn ros_level(level: Level) -> (u8, u8) {
    let index = match level {
        Level::ERROR => 3,
        Level::WARN => 2,
        Level::INFO => 1,
        Level::DEBUG | Level::TRACE => 0,
    };
    (index, (index + 1) * 10)
}

/// Starts logging for the process; later calls change nothing.
pub(crate) fn init() {
    let filter = dynamic_filter_fn(|metadata, _| {
        let (index, _) = ros_level(*metadata.level());
        let threshold = THRESHOLD.load(Ordering::Relaxed);
        // openraft tells of every message that did not arrive. What matters of it the nodes tell themselves.
        let is_chatter = threshold > 0 && metadata.target().starts_with("openraft");
        *metadata.level() != Level::TRACE && index >= threshold && !is_chatter
    });
    let _ = tracing_subscriber::registry().with(RosLayer::default().with_filter(filter)).try_init();
}

#[derive(Default)]
struct RosLayer {
    throttles: Mutex<HashMap<tracing::callsite::Identifier, Throttle>>,
}

impl<S: Subscriber> Layer<S> for RosLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let left_out = {
            let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
            match throttles.entry(metadata.callsite()).or_default().admit(SystemSteady.now()) {
                Some(left_out) => left_out,
                None => return,
            }
        };
        let mut text = Text::default();
        event.record(&mut text);
        if left_out > 0 {
            let _ = write!(text.0, " ({left_out} more lines like this were left out)");
        }
        let (index, level) = ros_level(*metadata.level());
        let (sec, nanosec) = SystemRos.now().to_parts();
        let log = OWN
            .with_borrow(Option::clone)
            .or_else(|| NODES.lock().unwrap_or_else(PoisonError::into_inner).first().cloned());
        let name = log.as_ref().map_or("ecps", |log| &log.name);
        let shown = LEVELS.get(usize::from(index)).map_or_else(String::new, |level| level.to_uppercase());
        eprintln!("[{shown}] [{sec}.{nanosec:09}] [{name}]: {}", text.0);
        if let Some(log) = &log {
            // What cannot be a ROS string would panic in the publisher.
            let plain = |text: &str| text.replace('\0', "\u{fffd}");
            log.lane.offer(Log {
                stamp: r2r::builtin_interfaces::msg::Time { sec, nanosec },
                level,
                name: name.to_owned(),
                msg: plain(&text.0),
                file: plain(metadata.file().unwrap_or_default()),
                function: plain(metadata.module_path().unwrap_or_default()),
                line: metadata.line().unwrap_or_default(),
            });
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

/// How often one place in the code has logged lately.
#[derive(Debug, Default)]
struct Throttle {
    window: Option<Steady>,
    lines: u64,
    left_out: u64,
}

impl Throttle {
    /// Whether a line may be printed, and how many were left out before it.
    fn admit(&mut self, now: Steady) -> Option<u64> {
        if self.window.is_none_or(|window| now.since(window) >= WINDOW) {
            self.window = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        if self.lines > BURST {
            self.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let mut throttle = Throttle::default();
        let at = |ms: u64| Steady(Duration::from_millis(ms));
        let printed = (0..100).filter(|ms| throttle.admit(at(*ms)).is_some()).count();
        assert_eq!(printed as u64, BURST);
        assert_eq!(throttle.admit(at(999)), None);
        assert_eq!(throttle.admit(at(1000)), Some(91));
        assert_eq!(throttle.admit(at(1001)), Some(0));
    }
}
