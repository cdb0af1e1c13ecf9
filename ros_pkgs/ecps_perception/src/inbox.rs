//! The receiving end: packets in; tensors, refusals and acknowledgements out.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Steady;
use ecps_core::wire::proto::{Ltp, LtpAck, LtpFrameHeader};

use crate::link::{NEED_KEY, PEER_KEY, RECEIVER_KEY, SENDER_KEY};
use crate::reassembly::{ArrivedChunk, Bounds, Event, OLDEST_KEY, Pool, Reassembler, Refusal, Source, complete_ack};

/// Chunks of a reliable stream after which what is missing is told.
const CHUNKS_TOLD: u32 = 32;
/// Time after which it is told.
const TOLD_EVERY: Duration = Duration::from_millis(10);
/// Silence after which a best-effort stream tells what its newest tensor lacks, once.
const NACK_AFTER: Duration = Duration::from_millis(20);
/// Senders that are told from one another; beyond, all count.
const SENDERS: usize = 256;

/// What came of a packet, or of time passing.
#[derive(Debug, Default)]
pub struct Taken {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What is to be said to senders.
    pub acks: Vec<LtpAck>,
}

/// What an inbox has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceivedCounters {
    /// Tensors that came whole.
    pub tensors: u64,
    /// Tensors that were numbered and never will.
    pub lost: u64,
    /// Tensors given up with chunks missing.
    pub incomplete: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Chunks that were already there.
    pub duplicates: u64,
    /// Packets of tensors that were settled.
    pub late: u64,
    /// Packets refused.
    pub refused: u64,
    /// Packets refused, for each kind of reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Senders heard; each start counts.
    pub senders: u32,
}

#[derive(Debug, Default)]
struct Talk {
    is_reliable: bool,
    answers: bool,
    told: Steady,
    untold: u32,
    heard: Steady,
    nacked: bool,
}

/// The receiving end of a stream, of all who send on it.
#[derive(Debug)]
pub struct Inbox {
    stream: String,
    receiver: String,
    reassembler: Reassembler,
    talks: BTreeMap<Source, Talk>,
    counters: ReceivedCounters,
}

impl Inbox {
    /// The end called `receiver` of `stream`. Bytes of all senders are bounded by what `pool` still has.
    pub fn new(stream: &str, receiver: &str, bounds: Bounds, pool: Pool) -> Inbox {
        Inbox {
            stream: stream.to_owned(),
            receiver: receiver.to_owned(),
            reassembler: Reassembler::sharing(bounds, pool),
            talks: BTreeMap::new(),
            counters: ReceivedCounters::default(),
        }
    }

    /// Takes in a frame that came whole by `link`.
    pub fn frame(&mut self, link: &str, frame: Ltp, now: Steady) -> Taken {
        let (source, bytes) = (self.meet(link, frame.header.as_ref(), now), frame.tensor_zstd.len());
        let events = self.reassembler.frame(&source, frame, now);
        self.answer(source, events, bytes, now)
    }

    /// Takes in a chunk that came by `link`.
    pub fn chunk<'a>(&mut self, link: &str, chunk: impl Into<ArrivedChunk<'a>>, now: Steady) -> Taken {
        let chunk = chunk.into();
        let (source, bytes) = (self.meet(link, chunk.header.as_ref(), now), chunk.piece.bytes().len());
        let events = self.reassembler.chunk(&source, chunk, now);
        self.answer(source, events, bytes, now)
    }

    /// Counts what could not even be read.
    pub fn unreadable(&mut self, kind: &'static str) {
        self.counters.refused += 1;
        *self.counters.refusals.entry(kind).or_default() += 1;
    }

    /// Lets time pass: call it every 10 ms while [`Inbox::is_busy`], and several times a second otherwise.
    pub fn poll(&mut self, now: Steady) -> Taken {
        let mut taken = Taken::default();
        let sources: Vec<Source> = self.talks.keys().cloned().collect();
        for source in &sources {
            let Some(talk) = self.talks.get(source).filter(|talk| talk.answers) else { continue };
            let due = if talk.is_reliable { now.since(talk.told) >= TOLD_EVERY } else { nack_due(talk, now) };
            if due {
                let missing = self.reassembler.missing(source);
                let nacked = !missing.is_empty();
                let newest = if talk.is_reliable { missing.len() } else { 1 };
                for ack in missing.into_iter().rev().take(newest) {
                    taken.acks.push(self.address(ack, source));
                }
                if let Some(talk) = self.talks.get_mut(source) {
                    (talk.told, talk.untold) = (now, 0);
                    talk.nacked |= nacked;
                }
            }
        }
        for (source, event) in self.reassembler.expire(now) {
            self.note(&source, &event, &mut taken.acks);
            taken.events.push(event);
        }
        let timeout = Duration::from_secs(60);
        self.talks.retain(|_, talk| now.since(talk.heard) <= timeout);
        taken
    }

    /// Whether something is partly there.
    pub fn is_busy(&self) -> bool {
        self.reassembler.held_bytes() > 0
    }

    /// What was counted.
    pub fn counters(&self) -> &ReceivedCounters {
        &self.counters
    }

    /// Bytes held.
    pub fn held_bytes(&self) -> usize {
        self.reassembler.held_bytes()
    }

    /// Who sent this, and how to talk to it.
    fn meet(&mut self, link: &str, header: Option<&LtpFrameHeader>, now: Steady) -> Source {
        let says = |key: &str| header.and_then(|header| header.metadata.get(key));
        let sender = says(SENDER_KEY).map_or(link, String::as_str).to_owned();
        let source = Source { sender, stream: self.stream.clone() };
        if !self.talks.contains_key(&source) {
            self.counters.senders = self.counters.senders.saturating_add(1);
            if self.talks.len() >= SENDERS {
                return source;
            }
        }
        let talk = self.talks.entry(source.clone()).or_default();
        talk.is_reliable = says(OLDEST_KEY).is_some();
        talk.answers = says(PEER_KEY).is_none_or(|peer| *peer == self.receiver);
        talk.heard = now;
        source
    }

    fn answer(&mut self, source: Source, events: Vec<Event>, bytes: usize, now: Steady) -> Taken {
        self.counters.bytes += bytes as u64;
        let mut acks = Vec::new();
        for event in &events {
            self.note(&source, event, &mut acks);
        }
        let Some(talk) = self.talks.get_mut(&source) else { return Taken { events, acks } };
        if !talk.answers {
            return Taken { events, acks: Vec::new() };
        }
        if events.iter().any(|event| matches!(event, Event::Progress { .. })) {
            talk.untold += 1;
            talk.nacked = false;
        }
        let due = talk.untold >= CHUNKS_TOLD || (talk.untold > 0 && now.since(talk.told) >= TOLD_EVERY);
        if talk.is_reliable && due {
            (talk.told, talk.untold) = (now, 0);
            let missing = self.reassembler.missing(&source);
            acks.extend(missing.into_iter().map(|ack| self.address(ack, &source)));
        }
        Taken { events, acks }
    }

    /// Counts an event, and says what it makes necessary.
    fn note(&mut self, source: &Source, event: &Event, acks: &mut Vec<LtpAck>) {
        let is_reliable = self.talks.get(source).is_some_and(|talk| talk.is_reliable);
        match event {
            Event::Complete { lost, sequence, chunks, .. } => {
                self.counters.tensors += 1;
                self.counters.lost += u64::from(*lost);
                if !is_reliable && *chunks > 0 {
                    acks.push(self.address(complete_ack(*sequence, *chunks), source));
                }
            }
            Event::Settled { sequence, chunks } => {
                acks.push(self.address(complete_ack(*sequence, *chunks), source));
            }
            Event::Late { sequence, chunks } => {
                self.counters.late += 1;
                // It was acknowledged, and the acknowledgement was lost.
                if is_reliable {
                    acks.push(self.address(complete_ack(*sequence, *chunks), source));
                }
            }
            Event::Duplicate { .. } => self.counters.duplicates += 1,
            Event::Expired { .. } => self.counters.incomplete += 1,
            Event::Refused(refusal) => {
                self.unreadable(refusal.kind());
                if let Refusal::Delta(error) = refusal {
                    let ack = LtpAck { success: false, message: error.to_string(), ..complete_ack(0, 0) };
                    let mut ack = self.address(ack, source);
                    if let Some(header) = &mut ack.header {
                        header.metadata.insert(NEED_KEY.to_owned(), String::from("1"));
                    }
                    acks.push(ack);
                }
            }
            Event::Progress { .. } => {}
        }
    }

    fn address(&self, mut ack: LtpAck, source: &Source) -> LtpAck {
        if let Some(header) = &mut ack.header {
            header.metadata.insert(SENDER_KEY.to_owned(), source.sender.clone());
            header.metadata.insert(RECEIVER_KEY.to_owned(), self.receiver.clone());
        }
        ack
    }
}

fn nack_due(talk: &Talk, now: Steady) -> bool {
    !talk.nacked && now.since(talk.heard) >= NACK_AFTER
}
