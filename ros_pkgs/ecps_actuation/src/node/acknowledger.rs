//! Answers discrete requests once their record is on disk, so that the spin thread never waits for one.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_journal::{Durability, SyncError};
use ecps_ros::StartError;

/// A disk slower than this has failed, as far as the asking client is concerned.
const LONGEST_SYNC: Duration = Duration::from_secs(5);

type Answer = Box<dyn FnOnce(Result<(), SyncError>) + Send>;

/// The thread that waits; it ends when this is dropped, after the last answer.
pub(super) struct Acknowledger {
    requests: Option<mpsc::Sender<(u64, Answer)>>,
    thread: Option<JoinHandle<()>>,
}

impl Acknowledger {
    pub(super) fn start(durability: Durability) -> Result<Acknowledger, StartError> {
        let (requests, waiting) = mpsc::channel::<(u64, Answer)>();
        let run = move || {
            // Records reach the disk in order, so waiting for one after the other delays none.
            for (sequence, answer) in waiting {
                answer(durability.wait(sequence, LONGEST_SYNC));
            }
        };
        let thread = std::thread::Builder::new().name("eap-answers".into()).spawn(run).map_err(StartError::layer)?;
        Ok(Acknowledger { requests: Some(requests), thread: Some(thread) })
    }

    /// Calls `answer` when record `sequence` is on disk, or could not get there.
    pub(super) fn when_durable(&self, sequence: u64, answer: impl FnOnce(Result<(), SyncError>) + Send + 'static) {
        if let Some(requests) = &self.requests {
            // Fails only when the thread is gone; the unanswered request then tells its client by being dropped.
            let _ = requests.send((sequence, Box::new(answer)));
        }
    }
}

impl Drop for Acknowledger {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers requests panicked");
        }
    }
}
