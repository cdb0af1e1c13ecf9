//! Publishers that count what they could not send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::interface::Message;

/// Publishes messages of one type. Clones publish on the same topic; any thread may.
#[derive(Debug, Clone)]
pub struct Publisher<T: Message> {
    inner: r2r::Publisher<T>,
    topic: Arc<str>,
    failed: Arc<AtomicU64>,
}

impl<T: Message> Publisher<T> {
    pub(crate) fn new(inner: r2r::Publisher<T>, topic: &str) -> Publisher<T> {
        Publisher { inner, topic: topic.into(), failed: Arc::default() }
    }

    /// Publishes; a failure is counted and logged, since no caller could do better.
    pub fn publish(&self, message: &T) {
        if let Err(error) = self.try_publish(message) {
            let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
            // The first and then every thousandth: a broken topic must not bury the log.
            if failed % 1000 == 1 {
                tracing::error!("{}: publishing failed ({failed} times so far): {error}", self.topic);
            }
        }
    }

    /// Publishes; for callers to whom a failure matters.
    pub fn try_publish(&self, message: &T) -> Result<(), String> {
        self.inner.publish(message).map_err(|error| error.to_string())
    }

    /// Messages that could not be sent.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Subscribers matched in other processes and in this one.
    pub fn subscribers(&self) -> usize {
        self.inner.get_inter_process_subscription_count().unwrap_or(0)
    }
}

/// Publishes serialized messages (CDR) of a type known by name.
#[derive(Debug, Clone)]
pub struct CdrPublisher {
    inner: r2r::PublisherUntyped,
}

impl CdrPublisher {
    pub(crate) fn new(inner: r2r::PublisherUntyped) -> CdrPublisher {
        CdrPublisher { inner }
    }

    /// Publishes one message.
    pub fn try_publish(&self, cdr: &[u8]) -> Result<(), String> {
        self.inner.publish_raw(cdr).map_err(|error| error.to_string())
    }

    /// Subscribers matched.
    pub fn subscribers(&self) -> usize {
        self.inner.get_inter_process_subscription_count().unwrap_or(0)
    }
}
