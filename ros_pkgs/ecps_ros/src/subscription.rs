//! A subscription in the making: its queue, its watchdogs, and who handles its messages.

use std::marker::PhantomData;
use std::time::Duration;

use ecps_core::clock::{SteadyClock, SystemSteady};
use r2r::QosProfile;

use crate::alarm::{Alarm, Deadline, Lease};
use crate::interface::Message;
use crate::node::Node;
use crate::start_error::StartError;
use crate::stream::{DeadlineWatch, Liveliness, LivelinessWatch, Lost, Missed, Queue, Stream, StreamMeter};

type Refused<S> = Box<dyn FnMut(&mut S, usize) + Send>;

/// Made by [`Node::subscription`]; ends in [`handle`](Subscription::handle), [`latest`](Subscription::latest) or
/// [`queue`](Subscription::queue).
pub struct Subscription<'n, S, T> {
    node: &'n mut Node<S>,
    topic: String,
    qos: QosProfile,
    meter: StreamMeter,
    watches: Vec<Box<dyn Alarm<S>>>,
    refused: Option<Refused<S>>,
    message: PhantomData<T>,
}

impl<'n, S: 'static, T: Message> Subscription<'n, S, T> {
    pub(crate) fn new(node: &'n mut Node<S>, topic: &str, qos: QosProfile) -> Self {
        let meter = StreamMeter::new(topic);
        Subscription {
            node,
            topic: topic.to_owned(),
            qos,
            meter,
            watches: Vec::new(),
            refused: None,
            message: PhantomData,
        }
    }

    /// Calls `missed` for each `period` of steady time in which no message came.
    #[must_use]
    pub fn deadline(mut self, period: Duration, missed: impl FnMut(&mut S, Missed) + Send + 'static) -> Self {
        let watch = DeadlineWatch::new(period, SystemSteady.now());
        self.watches.push(Box::new(Deadline { watch, meter: self.meter.clone(), run: missed }));
        self
    }

    /// Calls `changed` when no message has come for `lease` of steady time, and when one comes again.
    #[must_use]
    pub fn liveliness(mut self, lease: Duration, changed: impl FnMut(&mut S, Liveliness) + Send + 'static) -> Self {
        let watch = LivelinessWatch::new(lease, SystemSteady.now());
        self.watches.push(Box::new(Lease { watch, meter: self.meter.clone(), run: changed }));
        self
    }

    /// Calls `refused` for each message that [`Queue::PushBack`] had no room for, with how many wait.
    #[must_use]
    pub fn refused(mut self, refused: impl FnMut(&mut S, usize) + Send + 'static) -> Self {
        self.refused = Some(Box::new(refused));
        self
    }

    /// Calls `handler` on the spin thread for each message, in order.
    pub fn handle(self, mut handler: impl FnMut(&mut S, T) + Send + 'static) -> Result<StreamMeter, StartError> {
        self.attach(move |state, batch, _| batch.for_each(|message| handler(state, message)))
    }

    /// Calls `handler` on the spin thread for the newest message alone; older ones that came with it count as dropped.
    pub fn latest(self, mut handler: impl FnMut(&mut S, T) + Send + 'static) -> Result<StreamMeter, StartError> {
        self.attach(move |state, batch, meter| {
            if let Some(first) = batch.next() {
                let (newest, older) = batch.fold((first, 0), |(_, older), message| (message, older + 1));
                meter.dropped(older);
                handler(state, newest);
            }
        })
    }

    /// Queues messages for another thread.
    pub fn queue(mut self, queue: Queue) -> Result<Stream<T>, StartError> {
        let stream = Stream::new(queue, self.meter.clone());
        let (offered, closed, shown) = (stream.clone(), stream.clone(), stream.clone());
        self.node.when_it_ends(move || closed.close());
        self.node.note_queue(&self.topic, move || shown.waiting());
        let mut refused = self.refused.take().filter(|_| matches!(queue, Queue::PushBack(_)));
        self.attach(move |state, batch, _| {
            for message in batch {
                if offered.offer(message) == Lost::One
                    && let Some(refused) = &mut refused
                {
                    refused(state, offered.waiting());
                }
            }
        })?;
        Ok(stream)
    }

    fn attach(
        self,
        mut handle: impl FnMut(&mut S, &mut dyn Iterator<Item = T>, &StreamMeter) + Send + 'static,
    ) -> Result<StreamMeter, StartError> {
        let Subscription { node, topic, qos, meter, watches, .. } = self;
        let stream = node.typed_stream::<T>(&topic, qos)?;
        let counted = meter.clone();
        node.drain(stream, meter.clone(), move |state, batch| handle(state, batch, &counted));
        for watch in watches {
            node.alarm(watch);
        }
        Ok(meter)
    }
}
