//! Sources of stop besides the service: topics, and errors of other parts of the robot. All of them go one way.

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_ros::r2r::diagnostic_msgs::msg::DiagnosticArray;
use ecps_ros::r2r::std_msgs::msg::Bool;
use ecps_ros::{Liveliness, Node, Parameters, StartError, qos};

use super::{Executor, now};
use crate::stop::StopCause;

/// Topics that must be heard before the gate is armed.
pub(super) fn awaited(parameters: &Parameters) -> Result<BTreeSet<String>, StartError> {
    let mut topics = BTreeSet::new();
    for topic in parameters.strings("stop_topics")? {
        if !parameters.seconds(&format!("{topic}.timeout"))?.is_zero() {
            topics.insert(topic);
        }
    }
    Ok(topics)
}

/// REP 107: OK 0, WARN 1, ERROR 2, STALE 3.
const ERROR: u8 = 2;
/// Most entries in error that are remembered; with more than that the robot is stopped in any case.
const REMEMBERED: usize = 64;

pub(super) fn listen(node: &mut Node<Executor>) -> Result<(), StartError> {
    for topic in node.parameters().strings("stop_topics")? {
        let timeout = node.parameters().seconds(&format!("{topic}.timeout"))?;
        let name = topic.clone();
        let mut subscription = node.subscription(&topic, qos::reliable(10));
        if !timeout.is_zero() {
            let name = topic.clone();
            subscription = subscription.liveliness(timeout, move |executor: &mut Executor, state| {
                if state == Liveliness::Lost {
                    executor.on_silent_stop_topic(&name, timeout);
                }
            });
        }
        subscription.handle(move |executor: &mut Executor, stop: Bool| executor.on_stop_topic(&name, stop.data))?;
    }
    let watched = node.parameters().strings("stop_on_diagnostics")?;
    if !watched.is_empty() {
        node.subscribe("/diagnostics", qos::default(), move |executor: &mut Executor, array: DiagnosticArray| {
            executor.on_diagnostics(&watched, &array);
        })?;
    }
    Ok(())
}

impl Executor {
    /// Each topic by itself: one that says go does not take back what another says.
    fn on_stop_topic(&mut self, topic: &str, stop: bool) {
        self.awaited.remove(topic);
        if stop {
            self.stopping.insert(topic.to_owned());
        } else {
            self.stopping.remove(topic);
        }
        let (present, detail) = (!self.stopping.is_empty(), format!("{topic} says stop"));
        self.executive.set_present(StopCause::Topic, present, &detail, now(&self.clock));
        self.settle();
    }

    /// Whoever should say stop may be dead, so this counts as said.
    fn on_silent_stop_topic(&mut self, topic: &str, timeout: Duration) {
        if self.awaited.contains(topic) {
            return;
        }
        self.stopping.insert(topic.to_owned());
        let detail = format!("{topic} has been silent for {timeout:?}");
        self.executive.set_present(StopCause::Topic, true, &detail, now(&self.clock));
        self.settle();
    }

    /// Whoever enables before a topic was ever heard finds the gate stopped.
    pub(super) fn insist_on_awaited(&mut self) {
        let Some(topic) = self.awaited.pop_first() else { return };
        let detail = format!("{topic} has never been heard");
        self.stopping.insert(topic);
        self.stopping.append(&mut self.awaited);
        self.executive.set_present(StopCause::Topic, true, &detail, now(&self.clock));
    }

    fn on_diagnostics(&mut self, watched: &[String], array: &DiagnosticArray) {
        let ours = |name: &str| watched.iter().any(|beginning| name.starts_with(beginning.as_str()));
        let mut detail = String::new();
        for status in array.status.iter().filter(|status| ours(&status.name)) {
            if status.level < ERROR {
                self.in_error.remove(&status.name);
            } else if self.in_error.len() < REMEMBERED && self.in_error.insert(status.name.clone()) {
                detail = format!("{}: {}", status.name, status.message);
            }
        }
        let present = !self.in_error.is_empty();
        self.executive.set_present(StopCause::Diagnostics, present, &detail, now(&self.clock));
        self.settle();
    }
}
