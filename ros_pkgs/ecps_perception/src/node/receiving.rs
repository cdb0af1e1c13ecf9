//! The receiving end of a stream, on a thread of its own: frames and chunks → verified tensor → topics and memories.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::bus::TelemetryLane;
use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemSteady};
use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::{CdrPublisher, NodeClock, Publisher, StartError};
use nalgebra::Isometry3;

use super::convert;
use super::link::{AckPublisher, Arrived};
use super::statistics::Statistics;
use crate::cdr::wire;
use crate::embed;
use crate::inbox::Inbox;
use crate::poses::Poses;
use crate::reassembly::Event;
use crate::sensor::{Conversion, Image, LaserScan, SensorMessage};
use crate::tensor::Tensor;

/// Makes an embedding of a tensor.
type Describe = fn(Tensor) -> Result<Vec<f32>, String>;

/// Which descriptor turns tensors into memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoder {
    None,
    Place,
    Appearance,
}

impl Encoder {
    pub(crate) fn parse(name: &str, type_name: &str) -> Result<Encoder, String> {
        match (name, type_name) {
            ("none", _) => Ok(Encoder::None),
            ("place", LaserScan::TYPE) => Ok(Encoder::Place),
            ("appearance", Image::TYPE) => Ok(Encoder::Appearance),
            _ => Err(format!(
                "encoder '{name}' cannot be used on {type_name}: place needs {}, appearance needs {}",
                LaserScan::TYPE,
                Image::TYPE
            )),
        }
    }
}

pub(crate) struct Outputs {
    pub(crate) tensor: CdrPublisher,
    pub(crate) original: CdrPublisher,
    pub(crate) acks: AckPublisher,
    pub(crate) observations: Publisher<MemoryRecord>,
}

pub(crate) struct Work {
    pub(crate) link: String,
    pub(crate) inbox: Inbox,
    pub(crate) conversion: Conversion,
    pub(crate) outputs: Outputs,
    pub(crate) encoder: Encoder,
    pub(crate) remember_distance: f64,
    pub(crate) remembered_at: Option<Isometry3<f64>>,
    pub(crate) poses: Arc<Mutex<Poses>>,
    pub(crate) statistics: Arc<Mutex<Statistics>>,
    pub(crate) robot: String,
    pub(crate) topic: String,
    pub(crate) own_link: bool,
    pub(crate) clock: NodeClock,
    /// Memory of the last tensor's message.
    pub(crate) memory: Vec<u8>,
}

/// How often the thread looks after what is partly there, and after what is not.
const BUSY: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_millis(500);

/// The receiving thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    arrivals: TelemetryLane<Arrived<'static>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start(mut work: Work, arrivals: TelemetryLane<Arrived<'static>>) -> Result<Receiver, StartError> {
        let (source, stop) = (arrivals.clone(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&stop);
        let run = move || {
            let mut ticked = SystemSteady.now();
            while !seen.load(Ordering::Acquire) {
                let patience = if work.inbox.is_busy() { BUSY } else { IDLE };
                if let Some(arrived) = source.take(Some(patience)) {
                    work.take_in(arrived);
                }
                let now = SystemSteady.now();
                if now.since(ticked) >= patience {
                    ticked = now;
                    work.take_in(Arrived::Tick);
                }
            }
        };
        let thread = std::thread::Builder::new().name("ltp_receive".into()).spawn(run).map_err(StartError::layer)?;
        Ok(Receiver { arrivals, stop, thread: Some(thread) })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.arrivals.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a receiving thread panicked");
        }
    }
}

impl Work {
    fn take_in(&mut self, arrived: Arrived<'_>) {
        let now = SystemSteady.now();
        let taken = match arrived.into_inbox(&mut self.inbox, &self.link, now) {
            Ok(taken) => taken,
            Err(reason) => {
                self.statistics().explain(&reason);
                self.statistics().receiving(self.inbox.counters());
                return;
            }
        };
        for ack in taken.acks {
            if let Err(reason) = self.outputs.acks.publish(&ack) {
                self.statistics().refused("middleware", &reason);
            }
        }
        self.statistics().receiving(self.inbox.counters());
        for event in taken.events {
            match event {
                Event::Complete { tensor, sequence, .. } => self.deliver(*tensor, sequence, now),
                Event::Refused(reason) => self.statistics().explain(&reason),
                _ => {}
            }
        }
    }

    fn statistics(&self) -> std::sync::MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&mut self, tensor: Tensor, sequence: u32, now: Steady) {
        if self.outputs.tensor.subscribers() > 0 {
            self.memory = wire::tensor(&tensor, std::mem::take(&mut self.memory));
            if let Err(reason) = self.outputs.tensor.try_publish(&self.memory) {
                self.statistics().refused("middleware", &reason);
            }
        }
        {
            // From another bridge only ROS time is comparable, and only as well as the clocks agree.
            let mut statistics = self.statistics();
            let from = if self.own_link { statistics.arrival_of(sequence) } else { None };
            let age = u64::try_from(self.clock.now().nanos_since(tensor.stamp())).unwrap_or(0);
            let from = from.unwrap_or(Steady(now.0.saturating_sub(Duration::from_nanos(age))));
            statistics.delivered(from, SystemSteady.now());
        }
        if let Some(reason) = self.remember(&tensor).err() {
            self.statistics().refused("memory", &reason);
        }
        if self.outputs.original.subscribers() > 0 {
            let original = self.conversion.from_tensor(tensor).map_err(|error| error.to_string());
            if let Err(reason) = original.and_then(|cdr| self.outputs.original.try_publish(&cdr)) {
                self.statistics().refused("original", &reason);
            }
        }
    }

    /// Publishes a memory of the tensor, unless the robot has hardly moved since the last or nobody keeps memories: a
    /// place that no memory heard of is still to be remembered.
    fn remember(&mut self, tensor: &Tensor) -> Result<(), String> {
        let (model_id, describe): (&str, Describe) = match self.encoder {
            Encoder::None => return Ok(()),
            Encoder::Place => (embed::scan::MODEL_ID, |tensor| {
                let scan = LaserScan::from_tensor(tensor).map_err(|e| e.to_string())?;
                embed::scan::describe(&scan).map_err(|e| e.to_string())
            }),
            Encoder::Appearance => (embed::image::MODEL_ID, |tensor| {
                let image = Image::from_tensor(tensor).map_err(|e| e.to_string())?;
                embed::image::describe(&image).map_err(|e| e.to_string())
            }),
        };
        if self.outputs.observations.subscribers() == 0 {
            return Ok(());
        }
        let place = self.poses.lock().unwrap_or_else(PoisonError::into_inner).at(tensor.stamp());
        if let (Some(place), Some(last)) = (&place, &self.remembered_at)
            && (place.pose.translation.vector - last.translation.vector).norm() < self.remember_distance
        {
            return Ok(());
        }
        let embedding = describe(tensor.clone())?;
        self.remembered_at = place.as_ref().map(|place| place.pose);
        let mut record = convert::record(tensor, place, model_id, embedding);
        record.robot.clone_from(&self.robot);
        record.topic.clone_from(&self.topic);
        self.statistics().remembered();
        self.outputs.observations.publish(&record);
        Ok(())
    }
}
