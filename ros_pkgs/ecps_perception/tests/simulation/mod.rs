//! Two ends and the link between them, in simulated time.
#![allow(dead_code)]

use std::time::Duration;

use ecps_core::clock::{ManualClock, Steady, SteadyClock};
use ecps_core::wire::proto::LtpAck;
use ecps_perception::chunks::WirePacket;
use ecps_perception::inbox::{Inbox, Taken};
use ecps_perception::lossy::{Conditions, LossyLink};
use ecps_perception::outbox::{Next, Outbox, Settings};
use ecps_perception::reassembly::{Bounds, Event, Pool};
use ecps_perception::tensor::Tensor;
use prost::Message as _;

pub(crate) struct Simulation {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) there: LossyLink<WirePacket>,
    pub(crate) back: LossyLink<LtpAck>,
    pub(crate) clock: ManualClock,
    /// What was delivered, with its number, and when.
    pub(crate) delivered: Vec<(u32, Tensor, Steady)>,
    pub(crate) refused: Vec<String>,
    pub(crate) most_held: usize,
}

impl Simulation {
    pub(crate) fn new(settings: Settings, conditions: Conditions, seed: u64) -> Simulation {
        let bounds = Bounds::default();
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(100));
        Simulation {
            outbox: Outbox::new(settings),
            inbox: Inbox::new("s", "receiver", bounds, Pool::new(bounds.total_bytes)),
            there: LossyLink::new(conditions, seed),
            back: LossyLink::new(conditions, seed + 1000),
            clock,
            delivered: Vec::new(),
            refused: Vec::new(),
            most_held: 0,
        }
    }

    pub(crate) fn now(&self) -> Steady {
        SteadyClock::now(&self.clock)
    }

    pub(crate) fn push(&mut self, tensor: Tensor) -> u32 {
        self.outbox.push(tensor, &self.clock).unwrap()
    }

    /// Lets all happen that happens within `span`; ends early once `done`.
    pub(crate) fn run(&mut self, span: Duration, done: impl Fn(&Simulation) -> bool) {
        let end = Steady(self.now().0 + span);
        while self.now() < end && !done(self) {
            let mut wake = Steady(self.now().0 + Duration::from_millis(10)).min(end);
            loop {
                let now = self.now();
                match self.outbox.poll(now) {
                    Next::Send(packet) => {
                        let packet = packet.to_wire();
                        let bytes = match &packet {
                            WirePacket::Frame(frame) => frame.encoded_len(),
                            WirePacket::Chunk(chunk) => chunk.encoded_len(),
                        };
                        self.there.send(&packet, bytes, now);
                    }
                    Next::Wait(until) => {
                        wake = wake.min(until);
                        break;
                    }
                    Next::Idle => break,
                }
            }
            wake = self.there.next().into_iter().chain(self.back.next()).fold(wake, Steady::min);
            self.clock.advance(wake.since(self.now()).max(Duration::from_nanos(1)));
            let now = self.now();
            while let Some(packet) = self.there.receive(now) {
                let taken = match packet {
                    WirePacket::Frame(frame) => self.inbox.frame("link", frame, now),
                    WirePacket::Chunk(chunk) => self.inbox.chunk("link", chunk, now),
                };
                self.take(taken, now);
            }
            let taken = self.inbox.poll(now);
            self.take(taken, now);
            while let Some(ack) = self.back.receive(now) {
                self.outbox.acknowledge(&ack, now).unwrap();
            }
        }
    }

    fn take(&mut self, taken: Taken, now: Steady) {
        for ack in taken.acks {
            self.back.send(&ack, ack.encoded_len(), now);
        }
        for event in taken.events {
            match event {
                Event::Complete { tensor, sequence, .. } => self.delivered.push((sequence, *tensor, now)),
                Event::Refused(refusal) => self.refused.push(refusal.to_string()),
                _ => {}
            }
        }
        self.most_held = self.most_held.max(self.inbox.held_bytes());
    }
}
