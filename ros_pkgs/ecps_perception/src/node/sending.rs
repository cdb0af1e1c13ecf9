//! The sending end of a stream, on a thread of its own: sensor message → tensor → frame or chunks.

use std::sync::{Arc, Mutex, PoisonError};

use ecps_core::clock::Steady;
use ecps_core::wire::proto;
use ecps_ros::r2r::ecps_msgs::msg::{LtpChunk, LtpFrame};
use ecps_ros::{Message, Publisher, StartError, Stream};
use prost::Message as _;

use super::convert::{self, SensorRos};
use super::statistics::Statistics;
use crate::chunks::{self, MaxFrame, Outgoing};
use crate::codec::{self, Level};
use crate::sensor::SensorMessage;

pub(crate) struct Sender {
    pub(crate) name: String,
    pub(crate) level: Level,
    pub(crate) max: MaxFrame,
    pub(crate) frames: Publisher<LtpFrame>,
    pub(crate) chunks: Publisher<LtpChunk>,
    pub(crate) statistics: Arc<Mutex<Statistics>>,
}

/// The sending thread, which ends when this is dropped.
pub(crate) struct Sending {
    close: Box<dyn Fn() + Send>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        (self.close)();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a sending thread panicked");
        }
    }
}

impl Sender {
    pub(crate) fn start<M: SensorRos + Message>(self, messages: Stream<M>) -> Result<Sending, StartError> {
        let closing = messages.clone();
        let run = move || {
            let mut sequence = 0_u32;
            while let Some(received) = messages.take(None) {
                sequence = sequence.wrapping_add(1);
                if let Err(reason) = self.send::<M>(received.message, received.arrival, sequence) {
                    self.statistics().not_sent(&reason);
                }
                self.statistics().set_dropped_before_sending(messages.meter().counters().dropped);
            }
        };
        let thread = std::thread::Builder::new().name("ltp_send".into()).spawn(run).map_err(StartError::layer)?;
        Ok(Sending { close: Box::new(move || closing.close()), thread: Some(thread) })
    }

    fn statistics(&self) -> std::sync::MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send<M: SensorRos>(&self, message: M, arrival: Steady, sequence: u32) -> Result<(), String> {
        let tensor = message.into_plain().into_tensor(&self.name).map_err(|e| e.to_string())?;
        let frame = codec::encode(&tensor, self.level, sequence).map_err(|e| e.to_string())?;
        let outgoing = chunks::split(frame, self.max).map_err(|e| e.to_string())?;
        let wire = match &outgoing {
            Outgoing::Whole(frame) => frame.encoded_len(),
            Outgoing::Chunks(chunks) => chunks.iter().map(proto::LtpChunk::encoded_len).sum(),
        };
        // Counted first: the receiving end may have the tensor before this thread runs again.
        self.statistics().sent(sequence, arrival, tensor.data().len(), wire);
        match outgoing {
            Outgoing::Whole(frame) => self.frames.publish(&convert::frame_to_ros(*frame)),
            Outgoing::Chunks(chunks) => {
                chunks.into_iter().for_each(|chunk| self.chunks.publish(&convert::chunk_to_ros(chunk)));
            }
        }
        Ok(())
    }
}
