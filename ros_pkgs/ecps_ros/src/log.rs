//! Log lines on standard error in ROS's form: `[INFO] [1700000000.123456789] [mep_server]: text`.

use std::fmt::Write;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

struct RosFormat {
    node: String,
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

impl<S: Subscriber> Layer<S> for RosFormat {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        use ecps_core::clock::{RosClock, SystemRos};
        let mut text = Text::default();
        event.record(&mut text);
        let (sec, nanosec) = SystemRos.now().to_parts();
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        eprintln!("[{level}] [{sec}.{nanosec:09}] [{}]: {}", self.node, text.0);
    }
}

/// Starts logging for the process; later calls change nothing.
pub(crate) fn init(node: &str, level: Option<&str>) {
    let level = match level {
        Some("debug") => Level::DEBUG,
        Some("warn") => Level::WARN,
        Some("error" | "fatal") => Level::ERROR,
        _ => Level::INFO,
    };
    let filter = tracing_subscriber::filter::LevelFilter::from_level(level);
    let layer = RosFormat { node: node.to_owned() }.with_filter(filter);
    let _ = tracing_subscriber::registry().with(layer).try_init();
}
