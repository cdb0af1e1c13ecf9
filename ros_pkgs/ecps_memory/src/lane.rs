//! A queue to a thread that is bounded in requests and in bytes, and pushes back when full.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Unavailable;

/// Most bytes of all waiting requests of a lane.
pub(crate) const WAITING_BYTES: usize = 256 << 20;

/// Sending end. A request counts as waiting from here until its [`Ticket`] is dropped, just before it is answered.
#[derive(Debug)]
pub(crate) struct Lane<J> {
    sender: Sender<(J, Ticket)>,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limit: usize,
}

/// A request's place in the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl<J> Lane<J> {
    pub(crate) fn new(limit: usize) -> (Self, Receiver<(J, Ticket)>) {
        let (sender, receiver) = channel();
        let (places, bytes) = (Arc::new(Semaphore::new(limit)), Arc::new(Semaphore::new(WAITING_BYTES)));
        (Lane { sender, places, bytes, limit }, receiver)
    }

    /// Hands a job of so many bytes over, or refuses at once.
    pub(crate) fn send(&self, job: J, bytes: usize) -> Result<(), Unavailable> {
        let full = |_| Unavailable::QueueFull { limit: self.limit };
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let heavy = Unavailable::QueueHeavy { bytes, limit: WAITING_BYTES };
        let permits = u32::try_from(bytes).map_err(|_| heavy.clone())?;
        let bytes = self.bytes.clone().try_acquire_many_owned(permits).map_err(|_| heavy)?;
        self.sender.send((job, Ticket { _place: place, _bytes: bytes })).map_err(|_| Unavailable::Closed)
    }
}
