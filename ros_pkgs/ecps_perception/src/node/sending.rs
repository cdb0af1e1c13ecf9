//! The sending end of a stream, on a thread of its own: sensor message → tensor → packets on the link, and
//! acknowledgements back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemSteady};
use ecps_ros::{NodeClock, StartError};

use super::link::PacketPublisher;
use super::statistics::Statistics;
use crate::cdr::wire;
use crate::outbox::{Next, Outbox};
use crate::sensor::Conversion;

/// Longest sleep of the thread.
const IDLE: Duration = Duration::from_secs(1);

/// What the thread is woken by.
#[derive(Debug)]
enum Item {
    /// A message as it lay in DDS, and when it came.
    Message(Vec<u8>, Steady),
    /// Acknowledgements wait.
    Acks,
}

pub(super) struct Sender {
    pub(super) name: String,
    pub(super) conversion: Conversion,
    pub(super) outbox: Outbox,
    pub(super) packets: PacketPublisher,
    pub(super) statistics: Arc<Mutex<Statistics>>,
    pub(super) clock: NodeClock,
    /// Messages that may wait for this thread; a fresher reading is worth more than an old one.
    pub(super) waiting: usize,
}

/// The way to the sending thread.
#[derive(Debug, Clone)]
pub(super) struct Inlet {
    items: TelemetryLane<Item>,
    acks: TelemetryLane<Vec<u8>>,
}

impl Inlet {
    pub(super) fn message(&self, cdr: Vec<u8>) {
        self.items.offer(Item::Message(cdr, SystemSteady.now()));
    }

    pub(super) fn ack(&self, cdr: Vec<u8>) {
        let wake = self.acks.depth() == 0;
        self.acks.offer(cdr);
        if wake {
            self.items.offer(Item::Acks);
        }
    }
}

/// The sending thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) inlet: Inlet,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.inlet.items.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a sending thread panicked");
        }
    }
}

impl Sender {
    pub(super) fn start(mut self) -> Result<Sending, StartError> {
        let items = TelemetryLane::new(self.waiting, Overflow::DropOldest);
        let acks = TelemetryLane::new(256, Overflow::DropOldest);
        let inlet = Inlet { items, acks };
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, source) = (Arc::clone(&stop), inlet.clone());
        let run = move || {
            let mut sleep = IDLE;
            while !seen.load(Ordering::Acquire) {
                if let Some(Item::Message(cdr, arrival)) = source.items.take(Some(sleep)) {
                    self.take(&cdr, arrival);
                }
                while let Some(cdr) = source.acks.take(Some(Duration::ZERO)) {
                    self.acknowledge(&cdr);
                }
                sleep = self.send();
                let (outbox, dropped) = (&self.outbox, source.items.counters().dropped);
                self.statistics().sending(outbox.counters(), outbox.compression(), dropped);
            }
        };
        let thread = std::thread::Builder::new().name("ltp_send".into()).spawn(run).map_err(StartError::layer)?;
        Ok(Sending { inlet, stop, thread: Some(thread) })
    }

    fn statistics(&self) -> std::sync::MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, cdr: &[u8], arrival: Steady) {
        let tensor = self.conversion.to_tensor(cdr, &self.name, self.clock.now());
        let pushed = tensor.map_err(|error| ("message", error.to_string())).and_then(|tensor| {
            self.outbox.push(tensor, &SystemSteady).map_err(|error| ("not_sent", error.to_string()))
        });
        match pushed {
            // Noted first: the receiving end may have the tensor before this thread runs again.
            Ok(sequence) => self.statistics().taken(sequence, arrival),
            Err((kind, reason)) => self.statistics().not_sent(kind, &reason),
        }
    }

    fn acknowledge(&mut self, cdr: &[u8]) {
        let result = wire::read_ack(cdr).map_err(|error| error.to_string());
        let result = result
            .and_then(|ack| self.outbox.acknowledge(&ack, SystemSteady.now()).map_err(|refusal| refusal.to_string()));
        if let Err(reason) = result {
            self.statistics().refused("ack", &reason);
        }
    }

    /// Sends what may be sent now; how long to sleep then.
    fn send(&mut self) -> Duration {
        loop {
            let now = SystemSteady.now();
            match self.outbox.poll(now) {
                Next::Send(packet) => {
                    if let Err(reason) = self.packets.publish(&packet) {
                        self.statistics().refused("middleware", &reason);
                    }
                }
                Next::Wait(until) => return until.since(now).clamp(Duration::from_micros(100), IDLE),
                Next::Idle => return IDLE,
            }
        }
    }
}
