//! What answers on their way leave to be published: only the spin thread may publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ecps_ros::r2r::ecps_msgs::msg::MemoryHit;
use ecps_ros::r2r::visualization_msgs::msg::Marker;

use super::convert::hit_to_ros;
use super::markers::Layer;
use crate::{Query, Record, Stored};

/// Messages that wait for the spin thread; beyond that they are dropped and counted.
const WAITING: usize = 1024;

/// A message to publish.
pub(super) enum Outgoing {
    /// A match of the standing query at this place in the list.
    Match(usize, Box<MemoryHit>),
    Draw(Layer, Vec<Marker>),
}

/// The end that answers have.
#[derive(Clone)]
pub(super) struct Outbox {
    sender: SyncSender<Outgoing>,
    lost: Arc<AtomicU64>,
}

impl Outbox {
    /// The outbox, and the end that publishes.
    pub(super) fn new() -> (Outbox, Receiver<Outgoing>) {
        let (sender, outgoing) = sync_channel(WAITING);
        (Outbox { sender, lost: Arc::default() }, outgoing)
    }

    /// Messages dropped so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self, message: Outgoing) {
        if self.sender.try_send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Leaves what matches a standing query. What was merged into a record matched when that one came.
    pub(super) fn leave_matches(&self, standing: &[Query], records: Vec<Record>, stored: &[Stored]) {
        for (mut record, stored) in records.into_iter().zip(stored).filter(|(_, stored)| !stored.merged) {
            record.id.clone_from(&stored.id);
            record.version = stored.version;
            for (place, query) in standing.iter().enumerate() {
                if let Some(hit) = query.matches(&record) {
                    self.leave(Outgoing::Match(place, Box::new(hit_to_ros(hit))));
                }
            }
        }
    }
}
