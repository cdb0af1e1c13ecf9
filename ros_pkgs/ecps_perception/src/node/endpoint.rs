//! LTP for a node of one's own, without a bridge between: tensors in at one process, tensors out at the other, on the
//! threads that are there anyway. This is the fast lane: serialized once, without the typed copies.
//!
//! Best effort and unpaced; where a stream must be complete or the link's rate kept, the bridge does it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::clock::{RosClock, SteadyClock, SystemRos, SystemSteady};
use ecps_ros::{Node, StartError};

use super::link::{self, AckPublisher, Arrived, PacketPublisher};
use crate::cdr::wire;
use crate::inbox::Inbox;
use crate::link::Mode;
use crate::outbox::{Next, Outbox, SentCounters, Settings};
use crate::reassembly::{Bounds, Event, Pool, Refusal};
use crate::tensor::Tensor;

/// Unique for each start of a node.
pub(super) fn sender_mark(name: &str) -> String {
    format!("{name}@{:x}", SystemRos.now().0)
}

/// Publishes tensors below a link's name. Clones publish together; any thread may.
#[derive(Clone)]
pub struct TensorPublisher {
    ends: Arc<Mutex<(Outbox, PacketPublisher)>>,
}

impl std::fmt::Debug for TensorPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorPublisher").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl TensorPublisher {
    /// A publisher below `link`, as in "~/camera". Mode, sender, peer and rate of the settings are its own.
    ///
    /// # Errors
    /// Where a topic cannot be made.
    pub fn new<S: 'static>(node: &mut Node<S>, link: &str, settings: Settings) -> Result<TensorPublisher, StartError> {
        let settings = Settings {
            sender: sender_mark(node.fully_qualified_name()),
            peer: String::new(),
            mode: Mode::BestEffort { retries: 1 },
            bytes_per_second: None,
            ..settings
        };
        let max = settings.max;
        let ends = Arc::new(Mutex::new((Outbox::new(settings), PacketPublisher::new(node, link, max)?)));
        let heard = Arc::clone(&ends);
        link::hear_acks(node, link, move |_, bytes| {
            let Ok(ack) = wire::read_ack(&bytes) else { return };
            let (outbox, publisher) = &mut *heard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(refusal) = outbox.acknowledge(&ack, SystemSteady.now()) {
                tracing::debug!("{refusal}");
            }
            if let Err(reason) = send(outbox, publisher) {
                tracing::warn!("a packet was not sent: {reason}");
            }
        })?;
        Ok(TensorPublisher { ends })
    }

    /// Sends a tensor, all of it before this returns.
    ///
    /// # Errors
    /// In words: a tensor that cannot be encoded, or a middleware that refuses.
    pub fn publish(&self, tensor: Tensor) -> Result<u32, String> {
        let (outbox, publisher) = &mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = outbox.push(tensor, &SystemSteady).map_err(|error| error.to_string())?;
        send(outbox, publisher).map(|()| sequence)
    }

    /// Receivers that hear both topics.
    pub fn subscribers(&self) -> usize {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).1.subscribers()
    }

    /// What was done so far.
    pub fn counters(&self) -> SentCounters {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).0.counters()
    }
}

fn send(outbox: &mut Outbox, publisher: &mut PacketPublisher) -> Result<(), String> {
    while let Next::Send(packet) = outbox.poll(SystemSteady.now()) {
        publisher.publish(&packet)?;
    }
    Ok(())
}

/// What comes of a subscription to tensors.
#[derive(Debug)]
pub enum Received {
    /// A tensor, whole and verified.
    Tensor {
        /// The tensor.
        tensor: Box<Tensor>,
        /// Tensors right before it that never will.
        lost: u32,
    },
    /// Something that was refused.
    Refused(Refusal),
}

/// Calls `handler` on the spin thread for each tensor below `link`, and for each refusal.
///
/// # Errors
/// Where a topic cannot be heard.
pub fn subscribe_tensors<S: 'static>(
    node: &mut Node<S>,
    link: &str,
    bounds: Bounds,
    handler: impl FnMut(&mut S, Received) + Send + 'static,
) -> Result<(), StartError> {
    let receiver = node.fully_qualified_name().to_owned();
    let inbox = Inbox::new(link, &receiver, bounds, Pool::new(bounds.total_bytes));
    let acks = AckPublisher::new(node, link)?;
    let end = Arc::new(Mutex::new((inbox, handler)));
    let link_name = link.to_owned();
    let take = move |state: &mut S, arrived: Arrived<'_>| {
        let (inbox, handler) = &mut *end.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match arrived.into_inbox(inbox, &link_name, SystemSteady.now()) {
            Ok(taken) => taken,
            Err(reason) => return tracing::warn!("{link_name}: refused: {reason}"),
        };
        for event in taken.events {
            match event {
                Event::Complete { tensor, lost, .. } => handler(state, Received::Tensor { tensor, lost }),
                Event::Refused(refusal) => handler(state, Received::Refused(refusal)),
                _ => {}
            }
        }
        for ack in taken.acks {
            if let Err(reason) = acks.publish(&ack) {
                tracing::warn!("{link_name}: an acknowledgement was not sent: {reason}");
            }
        }
    };
    let ticking = take.clone();
    node.steady_timer(Duration::from_millis(20), move |state| ticking(state, Arrived::Tick));
    link::hear_packets(node, link, take)
}
