//! Chunks put together again: out of order, twice, damaged, never complete, and always within bounded memory and time.
//!
//! Streams are best effort and the newest tensor wins: what is older than a finished one is late. State is held per
//! sender and stream, so that two senders under one stream name do not mix.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::LTP_HEADER_VERSION;
use ecps_core::wire::proto::{Ltp, LtpAck, LtpChunk, LtpFrameHeader};
use thiserror::Error;

use crate::codec::{self, DecodeError, TYPE_ACK};
use crate::reassembly::partial::{Added, Partial};
use crate::tensor::Tensor;

mod partial;

pub use partial::ChunkRefusal;

/// What a reassembler may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A set that is not whole this long after its first chunk is given up.
    pub timeout: Duration,
    /// Bytes that the partial sets of one sender may hold.
    pub sender_bytes: usize,
    /// Bytes that all partial sets may hold.
    pub total_bytes: usize,
    /// Partial sets that one stream may hold; the oldest makes way for a newer one.
    pub sets_per_stream: usize,
    /// Streams, counted over all senders.
    pub streams: usize,
}

impl Default for Bounds {
    /// 5 s as in the protocol's LTP budget, room for one tensor of the greatest size, two sets (so that reordering across
    /// two tensors costs neither), 256 streams.
    fn default() -> Bounds {
        Bounds {
            timeout: Duration::from_secs(5),
            sender_bytes: limits::TENSOR_BYTES + (32 << 20),
            total_bytes: limits::TENSOR_BYTES * 2,
            sets_per_stream: 2,
            streams: 256,
        }
    }
}

/// Who sent something, and on which stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The sender: a publisher's id, a client's address.
    pub sender: String,
    /// The stream's name.
    pub stream: String,
}

/// What came of a chunk, a frame or the passing of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A tensor is whole and verified.
    Complete {
        /// The tensor.
        tensor: Box<Tensor>,
        /// Its number in the stream.
        sequence: u32,
        /// Chunks it came in; 0 for a frame that came whole.
        chunks: u32,
        /// When its first part arrived.
        first_arrival: Steady,
    },
    /// A chunk was taken in; others are missing.
    Progress {
        /// Number of the tensor.
        sequence: u32,
        /// Chunks received.
        received: u32,
        /// Chunks there are.
        total: u32,
    },
    /// The chunk was already there.
    Duplicate {
        /// Number of the tensor.
        sequence: u32,
        /// The chunk's index.
        index: u32,
    },
    /// A part of a tensor that is finished, or older than one that is.
    Late {
        /// Number of the tensor.
        sequence: u32,
    },
    /// Not acceptable.
    Refused(Refusal),
    /// A tensor given up.
    Expired {
        /// Number of the tensor.
        sequence: u32,
        /// Chunks received.
        received: u32,
        /// Chunks there are.
        total: u32,
        /// Why.
        reason: Expiry,
    },
}

/// Why a partial set was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Expiry {
    /// Chunks were missing for longer than the timeout.
    #[error("chunks were still missing after {0:?}")]
    Timeout(Duration),
    /// A newer tensor of the stream was finished, or needed the room.
    #[error("a newer tensor of the stream took its place")]
    Superseded,
    /// The sender started anew.
    #[error("the sender started its stream anew")]
    Restarted,
}

/// Why a chunk, a set or a frame was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// A sender's or stream's name is empty or too long.
    #[error(transparent)]
    Name(#[from] CheckError),
    /// The chunk itself, or beside the others of its set.
    #[error(transparent)]
    Chunk(#[from] ChunkRefusal),
    /// The frame, or what the chunks came to.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// More streams than allowed.
    #[error("there are {0} streams already, which is the limit")]
    TooManyStreams(usize),
    /// The sender's share of memory is used up.
    #[error("the sender's partial tensors hold {held} bytes, {more} more exceed the {limit} allowed per sender")]
    SenderMemory {
        /// Bytes held.
        held: usize,
        /// Bytes the chunk needs.
        more: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Memory for partial tensors is used up.
    #[error("all partial tensors hold {held} bytes, {more} more exceed the {limit} allowed in total")]
    TotalMemory {
        /// Bytes held.
        held: usize,
        /// Bytes the chunk needs.
        more: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// The newest tensor that was finished, by which late parts are known.
#[derive(Debug, Clone, Copy)]
struct Finished {
    sequence: u32,
    timestamp_ns: u64,
    at: Steady,
}

#[derive(Debug, Default)]
struct Stream {
    sets: BTreeMap<u32, Partial>,
    finished: Option<Finished>,
}

/// How a tensor's number stands to the newest finished one of its stream.
enum Standing {
    New,
    Late,
    Restart,
}

/// A tensor this far behind the newest finished one is not late: its sender counts anew.
const LATE_SEQUENCES: u32 = 64;

/// Puts chunks together. Time is handed in; nothing here reads a clock.
#[derive(Debug)]
pub struct Reassembler {
    bounds: Bounds,
    streams: BTreeMap<Source, Stream>,
}

impl Reassembler {
    /// A reassembler within these bounds.
    pub fn new(bounds: Bounds) -> Reassembler {
        Reassembler { bounds, streams: BTreeMap::new() }
    }

    /// Takes in a chunk. The last event is the chunk's own; tensors given up for it come before.
    pub fn chunk(&mut self, source: &Source, chunk: LtpChunk, now: Steady) -> Vec<Event> {
        let mut events = Vec::with_capacity(1);
        let own = self.take_chunk(source, chunk, now, &mut events).unwrap_or_else(Event::Refused);
        events.push(own);
        events
    }

    /// Takes in a frame that came whole. The last event is the frame's own.
    pub fn frame(&mut self, source: &Source, frame: Ltp, now: Steady) -> Vec<Event> {
        let mut events = Vec::with_capacity(1);
        let own = self.take_frame(source, frame, now, &mut events).unwrap_or_else(Event::Refused);
        events.push(own);
        events
    }

    /// Gives up what has waited longer than the timeout, and forgets streams on which nothing happens any more. Call it
    /// several times a second.
    pub fn expire(&mut self, now: Steady) -> Vec<(Source, Event)> {
        let timeout = self.bounds.timeout;
        let mut events = Vec::new();
        for (source, stream) in &mut self.streams {
            stream.sets.retain(|&sequence, set| {
                let keep = now.since(set.since()) <= timeout;
                if !keep {
                    events.push((source.clone(), set.expired(sequence, Expiry::Timeout(timeout))));
                }
                keep
            });
        }
        self.streams.retain(|_, stream| {
            stream.finished.take_if(|finished| now.since(finished.at) > timeout);
            !stream.sets.is_empty() || stream.finished.is_some()
        });
        events
    }

    /// For each partial tensor of a stream, oldest first, what is there and what is missing.
    pub fn missing(&self, source: &Source) -> Vec<LtpAck> {
        let sets = self.streams.get(source).map(|stream| stream.sets.iter()).into_iter().flatten();
        sets.map(|(&sequence, set)| {
            let missing = set.missing();
            let message = format!("{} of {} chunks are missing", missing.len(), set.total());
            LtpAck {
                header: Some(ack_header(sequence, set.total())),
                success: false,
                message,
                received_chunks: set.received(),
                missing_chunks: missing,
            }
        })
        .collect()
    }

    /// Bytes that partial tensors hold, overhead included.
    pub fn held_bytes(&self) -> usize {
        self.streams.values().flat_map(|stream| stream.sets.values()).map(Partial::bytes).sum()
    }

    fn take_frame(
        &mut self,
        source: &Source,
        frame: Ltp,
        now: Steady,
        events: &mut Vec<Event>,
    ) -> Result<Event, Refusal> {
        let sequence = frame.header.as_ref().map_or(0, |header| header.sequence_number);
        let timestamp_ns = frame.timestamp_ns;
        self.admit(source)?;
        let standing = self.standing(source, sequence, timestamp_ns, now);
        if matches!(standing, Standing::Late) {
            return Ok(Event::Late { sequence });
        }
        // Decoded before it changes anything, so that a damaged frame cannot end a stream.
        let tensor = Box::new(codec::decode(frame)?);
        if matches!(standing, Standing::Restart) {
            self.restart(source, events);
        }
        self.finish(source, Finished { sequence, timestamp_ns, at: now }, events);
        Ok(Event::Complete { tensor, sequence, chunks: 0, first_arrival: now })
    }

    fn take_chunk(
        &mut self,
        source: &Source,
        chunk: LtpChunk,
        now: Steady,
        events: &mut Vec<Event>,
    ) -> Result<Event, Refusal> {
        let chunk = partial::Checked::new(chunk)?;
        let (sequence, timestamp_ns) = (chunk.sequence(), chunk.timestamp_ns());
        self.admit(source)?;
        match self.standing(source, sequence, timestamp_ns, now) {
            Standing::Late => return Ok(Event::Late { sequence }),
            Standing::Restart => self.restart(source, events),
            Standing::New => {}
        }
        self.make_room(source, &chunk, events)?;
        let stream = self.streams.entry(source.clone()).or_default();
        let set = match stream.sets.get_mut(&sequence) {
            Some(set) => set,
            None => stream.sets.entry(sequence).or_insert(Partial::new(&chunk, now)),
        };
        match set.add(chunk)? {
            Added::Duplicate(index) => return Ok(Event::Duplicate { sequence, index }),
            Added::Missing { received, total } => return Ok(Event::Progress { sequence, received, total }),
            Added::Whole => {}
        }
        let Some(set) = stream.sets.remove(&sequence) else { return Ok(Event::Late { sequence }) };
        let (chunks, first_arrival) = (set.total(), set.since());
        let tensor = Box::new(set.into_tensor(sequence)?);
        self.finish(source, Finished { sequence, timestamp_ns, at: now }, events);
        Ok(Event::Complete { tensor, sequence, chunks, first_arrival })
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

    /// Serial numbers wrap (RFC 1982). An old number with a newer stamp, or far behind, or after a pause as long as the
    /// timeout, comes from a sender that was restarted.
    fn standing(&self, source: &Source, sequence: u32, timestamp_ns: u64, now: Steady) -> Standing {
        let Some(finished) = self.streams.get(source).and_then(|stream| stream.finished) else { return Standing::New };
        let behind = finished.sequence.wrapping_sub(sequence);
        if behind > u32::MAX / 2 {
            return Standing::New;
        }
        let pause = now.since(finished.at) > self.bounds.timeout;
        if behind > LATE_SEQUENCES || timestamp_ns > finished.timestamp_ns || pause {
            Standing::Restart
        } else {
            Standing::Late
        }
    }

    /// Forgets what a sender sent before it was restarted.
    fn restart(&mut self, source: &Source, events: &mut Vec<Event>) {
        if let Some(stream) = self.streams.get_mut(source) {
            let sets = std::mem::take(&mut stream.sets);
            events.extend(sets.iter().map(|(&sequence, set)| set.expired(sequence, Expiry::Restarted)));
            stream.finished = None;
        }
    }

    /// Sees to it that the chunk fits into every bound, giving up older sets of the same stream where that helps.
    fn make_room(&mut self, source: &Source, chunk: &partial::Checked, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let more = chunk.cost();
        loop {
            let held = self.held_bytes();
            let sender_held: usize = self
                .streams
                .iter()
                .filter(|(other, _)| other.sender == source.sender)
                .flat_map(|(_, stream)| stream.sets.values())
                .map(Partial::bytes)
                .sum();
            let stream = self.streams.get(source);
            let is_new = stream.is_none_or(|stream| !stream.sets.contains_key(&chunk.sequence()));
            let crowded = is_new && stream.is_some_and(|stream| stream.sets.len() >= self.bounds.sets_per_stream);
            let refusal = if sender_held.saturating_add(more) > self.bounds.sender_bytes {
                Refusal::SenderMemory { held: sender_held, more, limit: self.bounds.sender_bytes }
            } else if held.saturating_add(more) > self.bounds.total_bytes {
                Refusal::TotalMemory { held, more, limit: self.bounds.total_bytes }
            } else if !crowded {
                return Ok(());
            } else {
                Refusal::Chunk(ChunkRefusal::OlderThanAll)
            };
            let stream = self.streams.get_mut(source).ok_or_else(|| refusal.clone())?;
            let oldest = stream.sets.keys().copied().find(|&held| is_older(held, chunk.sequence())).ok_or(refusal)?;
            if let Some(set) = stream.sets.remove(&oldest) {
                events.push(set.expired(oldest, Expiry::Superseded));
            }
        }
    }

    /// Notes a finished tensor and gives up the older partial ones of its stream.
    fn finish(&mut self, source: &Source, finished: Finished, events: &mut Vec<Event>) {
        let stream = self.streams.entry(source.clone()).or_default();
        stream.sets.retain(|&sequence, set| {
            let keep = is_older(finished.sequence, sequence);
            if !keep {
                events.push(set.expired(sequence, Expiry::Superseded));
            }
            keep
        });
        stream.finished = Some(finished);
    }
}

/// The acknowledgement of a tensor that came in whole and verified.
pub fn complete_ack(sequence: u32, chunks: u32) -> LtpAck {
    LtpAck {
        header: Some(ack_header(sequence, chunks)),
        success: true,
        message: String::new(),
        received_chunks: chunks,
        missing_chunks: vec![],
    }
}

fn ack_header(sequence_number: u32, total_chunks: u32) -> LtpFrameHeader {
    LtpFrameHeader {
        version: LTP_HEADER_VERSION,
        message_type: TYPE_ACK,
        sequence_number,
        total_chunks,
        ..LtpFrameHeader::default()
    }
}

/// Whether serial number `a` comes before `b`, with wrapping.
fn is_older(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) <= u32::MAX / 2
}
