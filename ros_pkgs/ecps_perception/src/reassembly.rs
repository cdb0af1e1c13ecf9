//! Chunks put together again: out of order, twice, damaged, never complete, and always within bounded memory and time.
//!
//! On a best-effort stream the newest tensor wins: what is older than a finished one is late. On a reliable one, whose
//! packets say which tensor is the oldest that their sender still cares for, each waits for those before it. State is held
//! per sender and stream, so that two senders under one stream name do not mix.

use std::collections::BTreeMap;

use ecps_core::check;
use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::proto::{Ltp, LtpAck};

use crate::codec::{self, DecodeError};
use crate::reassembly::bounds::Share;
use crate::reassembly::order::Whole;
use crate::reassembly::partial::Checked;
use crate::reassembly::stream::{Arrival, Standing, Stream};

mod ack;
mod bounds;
mod event;
mod order;
mod partial;
mod piece;
mod stream;

pub use ack::{MISSING_LISTED, complete_ack};
pub use bounds::{Bounds, Pool};
pub use event::{Event, Expiry, Refusal};
pub use order::OLDEST_KEY;
pub use partial::ChunkRefusal;
pub use piece::{ArrivedChunk, Piece};

/// Who sent something, and on which stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The sender: a publisher's id, a client's address.
    pub sender: String,
    /// The stream's name.
    pub stream: String,
}

/// Puts chunks together. Time is handed in; nothing here reads a clock.
#[derive(Debug)]
pub struct Reassembler {
    bounds: Bounds,
    share: Share,
    streams: BTreeMap<Source, Stream>,
}

impl Reassembler {
    /// A reassembler within these bounds.
    pub fn new(bounds: Bounds) -> Reassembler {
        Reassembler::sharing(bounds, Pool::new(bounds.total_bytes))
    }

    /// One that shares its bound on all senders' bytes with others.
    pub fn sharing(bounds: Bounds, pool: Pool) -> Reassembler {
        Reassembler { bounds, share: Share::of(pool), streams: BTreeMap::new() }
    }

    /// Takes in a chunk. Its own event comes last, except that a reliable stream's tensors follow it whose turn has come;
    /// tensors given up for it come before.
    pub fn chunk<'a>(&mut self, source: &Source, chunk: impl Into<ArrivedChunk<'a>>, now: Steady) -> Vec<Event> {
        self.taking(|this, events| this.take_chunk(source, chunk.into(), now, events))
    }

    /// Takes in a frame that came whole; events as of [`Reassembler::chunk`].
    pub fn frame(&mut self, source: &Source, frame: Ltp, now: Steady) -> Vec<Event> {
        self.taking(|this, events| this.take_frame(source, frame, now, events))
    }

    /// Gives up what has waited longer than the timeout, and forgets streams on which nothing happens any more. Call it
    /// several times a second.
    pub fn expire(&mut self, now: Steady) -> Vec<(Source, Event)> {
        let (timeout, mut events) = (self.bounds.timeout, Vec::new());
        self.streams.retain(|source, stream| {
            events.extend(stream.expire(now, timeout).into_iter().map(|event| (source.clone(), event)));
            stream.is_alive(now, timeout)
        });
        self.share.settle(self.held_bytes());
        events
    }

    /// For each partial tensor of a stream, oldest first, what is there and what is missing.
    pub fn missing(&self, source: &Source) -> Vec<LtpAck> {
        let sets = self.streams.get(source).map(Stream::sets).into_iter().flatten();
        sets.map(|(sequence, set)| ack::partial_ack(sequence, set)).collect()
    }

    /// Bytes that partial tensors hold, key frames and what waits for its turn, overhead included.
    pub fn held_bytes(&self) -> usize {
        self.streams.values().map(Stream::held_bytes).sum()
    }

    fn taking(&mut self, take: impl FnOnce(&mut Self, &mut Vec<Event>) -> Result<(), Refusal>) -> Vec<Event> {
        let mut events = Vec::with_capacity(1);
        if let Err(refusal) = take(self, &mut events) {
            events.push(Event::Refused(refusal));
        }
        self.share.settle(self.held_bytes());
        events
    }

    fn take_frame(&mut self, source: &Source, frame: Ltp, now: Steady, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
        let (sequence, timestamp_ns) = (header.sequence_number, frame.timestamp_ns);
        self.admit(source)?;
        let arrival = Arrival { sequence, timestamp_ns, oldest: stream::oldest(&header.metadata)?, at: now };
        let standing = self.standing(source, &arrival);
        if matches!(standing, Standing::Late) {
            self.stream(source).hear(&arrival, events);
            events.push(Event::Late { sequence, chunks: 0 });
            return Ok(());
        }
        let metadata = header.metadata.clone();
        // Decoded before it changes anything, so that a damaged frame cannot end a stream.
        let tensor = codec::decode(frame)?;
        let whole = Whole { tensor, metadata, sequence, chunks: 0, first_arrival: now, at: now, lost: 0 };
        let stream = self.stream(source);
        if matches!(standing, Standing::Restart) {
            stream.restart(events);
        }
        stream.whole(whole, &arrival, events);
        Ok(())
    }

    fn take_chunk(
        &mut self,
        source: &Source,
        chunk: ArrivedChunk<'_>,
        now: Steady,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let chunk = Checked::new(chunk)?;
        self.admit(source)?;
        let sequence = chunk.sequence();
        let arrival = Arrival { sequence, timestamp_ns: chunk.timestamp_ns(), oldest: chunk.oldest(), at: now };
        let standing = self.standing(source, &arrival);
        // A best-effort stream begins with its first chunk for which there is room.
        if arrival.oldest.is_some() || self.streams.contains_key(source) {
            let stream = self.stream(source);
            if matches!(standing, Standing::Restart) {
                stream.restart(events);
            }
            stream.hear(&arrival, events);
        }
        if matches!(standing, Standing::Late) {
            events.push(Event::Late { sequence, chunks: chunk.total() });
            return Ok(());
        }
        let spare = self.make_room(source, &chunk, events)?;
        self.stream(source).add(chunk, &arrival, spare, events)
    }

    fn stream(&mut self, source: &Source) -> &mut Stream {
        self.streams.entry(source.clone()).or_default()
    }

    fn standing(&self, source: &Source, arrival: &Arrival) -> Standing {
        self.streams.get(source).map_or(Standing::New, |stream| stream.standing(arrival, self.bounds.timeout))
    }

    /// Refuses unusable names and streams beyond the limit.
    fn admit(&self, source: &Source) -> Result<(), Refusal> {
        check::name("sender", &source.sender, limits::NAME_BYTES)?;
        check::name("stream", &source.stream, limits::NAME_BYTES)?;
        if !self.streams.contains_key(source) && self.streams.len() >= self.bounds.streams {
            return Err(Refusal::TooManyStreams(self.bounds.streams));
        }
        Ok(())
    }

    /// Sees to it that the chunk fits into every bound, giving up other sets of the same stream where that helps.
    /// Returns the bytes that are still free beyond.
    fn make_room(&mut self, source: &Source, chunk: &Checked<'_>, events: &mut Vec<Event>) -> Result<usize, Refusal> {
        let Bounds { sender_bytes, sets_per_stream, .. } = self.bounds;
        loop {
            let stream = self.streams.get(source);
            let set = stream.and_then(|stream| stream.set(chunk.sequence()));
            let more = chunk.cost() + set.map_or(0, |set| set.growth(chunk.bytes()));
            let crowded = set.is_none() && stream.is_some_and(|stream| stream.is_crowded(sets_per_stream));
            let everywhere = self.share.everywhere(self.held_bytes());
            let senders = self.streams.iter().filter(|(other, _)| other.sender == source.sender);
            let sender_held: usize = senders.map(|(_, stream)| stream.held_bytes()).sum();
            let refusal = if sender_held.saturating_add(more) > sender_bytes {
                Refusal::SenderMemory { held: sender_held, more, limit: sender_bytes }
            } else if everywhere.saturating_add(more) > self.share.limit() {
                Refusal::TotalMemory { held: everywhere, more, limit: self.share.limit() }
            } else if crowded {
                Refusal::Chunk(ChunkRefusal::OlderThanAll)
            } else {
                return Ok((sender_bytes - sender_held - more).min(self.share.limit() - everywhere - more));
            };
            let given_up = self.streams.get_mut(source).and_then(|stream| stream.make_way(chunk.sequence()));
            events.push(given_up.ok_or(refusal)?);
        }
    }
}
