//! Chunks put together again: out of order, twice, damaged, never complete, and always within bounded memory and time.
//!
//! On a best-effort stream the newest tensor wins: what is older than a finished one is late. On a reliable one, whose
//! packets say which tensor is the oldest that their sender still cares for, each waits for those before it. State is held
//! per sender and stream, so that two senders under one stream name do not mix.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::LTP_HEADER_VERSION;
use ecps_core::wire::proto::{Ltp, LtpAck, LtpChunk, LtpFrameHeader};
use thiserror::Error;

use crate::chunks::MetadataError;
use crate::codec::{self, DecodeError, TYPE_ACK};
use crate::delta::{DeltaError, DeltaReceiver};
use crate::reassembly::order::{Order, Whole};
use crate::reassembly::partial::{Added, Checked, Partial};
use crate::tensor::Tensor;

mod order;
mod partial;

pub use order::OLDEST_KEY;
pub use partial::ChunkRefusal;

/// Most missing chunks that one acknowledgement names.
pub const MISSING_LISTED: usize = 1024;

/// What a reassembler may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A set that is not whole this long after its first chunk is given up.
    pub timeout: Duration,
    /// Bytes that the partial sets of one sender may hold, with its key frames and what waits for its turn.
    pub sender_bytes: usize,
    /// Bytes that those of all senders may hold.
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
        /// Tensors of the stream right before it that will never come.
        lost: u32,
    },
    /// A tensor of a reliable stream is whole and verified; its turn may be yet to come.
    Settled {
        /// Its number in the stream.
        sequence: u32,
        /// Chunks it came in; 0 for a frame that came whole.
        chunks: u32,
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
        /// Chunks it has; 0 for a frame that came whole.
        chunks: u32,
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
    /// A difference to a key frame that is not here.
    #[error(transparent)]
    Delta(#[from] DeltaError),
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

impl Refusal {
    /// The kind of reason, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Name(_) => "name",
            Refusal::Chunk(error) => error.kind(),
            Refusal::Frame(error) => error.kind(),
            Refusal::Delta(_) => "key_missing",
            Refusal::TooManyStreams(_) => "streams",
            Refusal::SenderMemory { .. } | Refusal::TotalMemory { .. } => "memory",
        }
    }
}

impl From<MetadataError> for Refusal {
    fn from(error: MetadataError) -> Refusal {
        Refusal::Chunk(error.into())
    }
}

/// What several reassemblers may hold together, bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    used: Arc<AtomicUsize>,
    limit: usize,
}

impl Pool {
    /// Of this many bytes.
    pub fn new(limit: usize) -> Pool {
        Pool { used: Arc::default(), limit }
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
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
    /// On a reliable stream.
    order: Option<Order>,
    delta: DeltaReceiver,
    heard: Steady,
}

impl Stream {
    fn held_bytes(&self) -> usize {
        let partial: usize = self.sets.values().map(Partial::bytes).sum();
        partial + self.order.as_ref().map_or(0, Order::held_bytes) + self.delta.held_bytes()
    }

    /// What becomes of a whole tensor whose turn has come.
    fn deliver(&mut self, whole: Whole) -> Event {
        let Whole { tensor, metadata, sequence, chunks, first_arrival, lost, .. } = whole;
        match self.delta.restore(&metadata, tensor, sequence) {
            Ok(tensor) => Event::Complete { tensor: Box::new(tensor), sequence, chunks, first_arrival, lost },
            Err(error) => Event::Refused(error.into()),
        }
    }
}

/// The oldest tensor that a reliable sender still cares for, as its packets say.
fn oldest(metadata: &BTreeMap<String, String>) -> Result<Option<u32>, MetadataError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| MetadataError::NotANumber(OLDEST_KEY, text.chars().take(64).collect()))
    };
    metadata.get(OLDEST_KEY).map(parse).transpose()
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
    pool: Pool,
    /// What this one holds of the pool.
    charged: usize,
    streams: BTreeMap<Source, Stream>,
}

impl Drop for Reassembler {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.charged, Ordering::Relaxed);
    }
}

impl Reassembler {
    /// A reassembler within these bounds.
    pub fn new(bounds: Bounds) -> Reassembler {
        Reassembler::sharing(bounds, Pool::new(bounds.total_bytes))
    }

    /// One that shares its bound on all senders' bytes with others.
    pub fn sharing(bounds: Bounds, pool: Pool) -> Reassembler {
        Reassembler { bounds, pool, charged: 0, streams: BTreeMap::new() }
    }

    /// Takes in a chunk. Its own event comes last, except that a reliable stream's tensors follow it whose turn has come;
    /// tensors given up for it come before.
    pub fn chunk(&mut self, source: &Source, chunk: LtpChunk, now: Steady) -> Vec<Event> {
        let mut events = Vec::with_capacity(1);
        if let Err(refusal) = self.take_chunk(source, chunk, now, &mut events) {
            events.push(Event::Refused(refusal));
        }
        self.settle_charge();
        events
    }

    /// Takes in a frame that came whole; events as of [`Reassembler::chunk`].
    pub fn frame(&mut self, source: &Source, frame: Ltp, now: Steady) -> Vec<Event> {
        let mut events = Vec::with_capacity(1);
        if let Err(refusal) = self.take_frame(source, frame, now, &mut events) {
            events.push(Event::Refused(refusal));
        }
        self.settle_charge();
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
            let overdue = stream.order.as_mut().map(|order| order.overdue(|at| now.since(at) > timeout));
            for whole in overdue.unwrap_or_default() {
                events.push((source.clone(), stream.deliver(whole)));
            }
        }
        self.streams.retain(|_, stream| {
            stream.finished.take_if(|finished| now.since(finished.at) > timeout);
            // A reliable or a delta stream is worth remembering for longer than a best-effort one without news.
            let kept = stream.order.is_some() || stream.delta.held_bytes() > 0;
            let patience = if kept { timeout * 10 } else { timeout };
            let waits = stream.order.as_ref().is_some_and(Order::is_waiting);
            waits || !stream.sets.is_empty() || stream.finished.is_some() || now.since(stream.heard) <= patience
        });
        self.settle_charge();
        events
    }

    /// For each partial tensor of a stream, oldest first, what is there and what is missing.
    pub fn missing(&self, source: &Source) -> Vec<LtpAck> {
        let sets = self.streams.get(source).map(|stream| stream.sets.iter()).into_iter().flatten();
        sets.map(|(&sequence, set)| {
            let missing = set.missing(MISSING_LISTED);
            let message = format!("{} of {} chunks are missing", set.total() - set.received(), set.total());
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

    /// Bytes that partial tensors hold, key frames and what waits for its turn, overhead included.
    pub fn held_bytes(&self) -> usize {
        self.streams.values().map(Stream::held_bytes).sum()
    }

    /// Tells the pool what is held now.
    fn settle_charge(&mut self) {
        let held = self.held_bytes();
        self.pool.used.fetch_add(held, Ordering::Relaxed);
        self.pool.used.fetch_sub(self.charged, Ordering::Relaxed);
        self.charged = held;
    }

    fn take_frame(&mut self, source: &Source, frame: Ltp, now: Steady, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
        let (sequence, timestamp_ns) = (header.sequence_number, frame.timestamp_ns);
        self.admit(source)?;
        let oldest = oldest(&header.metadata)?;
        let standing = match oldest {
            Some(oldest) => self.ordered_standing(source, sequence, oldest),
            None => self.standing(source, sequence, timestamp_ns, now),
        };
        if matches!(standing, Standing::Late) {
            self.hear(source, oldest, now, events);
            events.push(Event::Late { sequence, chunks: 0 });
            return Ok(());
        }
        let metadata = header.metadata.clone();
        // Decoded before it changes anything, so that a damaged frame cannot end a stream.
        let tensor = codec::decode(frame)?;
        if matches!(standing, Standing::Restart) {
            self.restart(source, events);
        }
        let whole = Whole { tensor, metadata, sequence, chunks: 0, first_arrival: now, at: now, lost: 0 };
        self.whole(source, whole, oldest, timestamp_ns, events);
        Ok(())
    }

    fn take_chunk(
        &mut self,
        source: &Source,
        chunk: LtpChunk,
        now: Steady,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let chunk = Checked::new(chunk)?;
        let (sequence, timestamp_ns, oldest) = (chunk.sequence(), chunk.timestamp_ns(), chunk.oldest());
        self.admit(source)?;
        let standing = match oldest {
            Some(oldest) => self.ordered_standing(source, sequence, oldest),
            None => self.standing(source, sequence, timestamp_ns, now),
        };
        if matches!(standing, Standing::Restart) {
            self.restart(source, events);
        }
        self.hear(source, oldest, now, events);
        if matches!(standing, Standing::Late) {
            events.push(Event::Late { sequence, chunks: chunk.total() });
            return Ok(());
        }
        self.make_room(source, &chunk, events)?;
        let stream = self.streams.entry(source.clone()).or_default();
        let set = match stream.sets.get_mut(&sequence) {
            Some(set) => set,
            None => stream.sets.entry(sequence).or_insert(Partial::new(&chunk, now)),
        };
        match set.add(chunk)? {
            Added::Duplicate(index) => events.push(Event::Duplicate { sequence, index }),
            Added::Missing { received, total } => events.push(Event::Progress { sequence, received, total }),
            Added::Whole => {
                let Some(set) = stream.sets.remove(&sequence) else { return Ok(()) };
                let (chunks, first_arrival) = (set.total(), set.since());
                let (tensor, metadata) = set.into_tensor(sequence)?;
                let whole = Whole { tensor, metadata, sequence, chunks, first_arrival, at: now, lost: 0 };
                self.whole(source, whole, oldest, timestamp_ns, events);
            }
        }
        Ok(())
    }

    /// A tensor is whole: delivers it, or what its stream's order allows.
    fn whole(
        &mut self,
        source: &Source,
        mut whole: Whole,
        oldest: Option<u32>,
        timestamp_ns: u64,
        events: &mut Vec<Event>,
    ) {
        let (sequence, chunks, at) = (whole.sequence, whole.chunks, whole.at);
        let Some(oldest) = oldest else {
            let finished = Finished { sequence, timestamp_ns, at };
            whole.lost = self.finish(source, finished, events);
            events.push(self.streams.entry(source.clone()).or_default().deliver(whole));
            return;
        };
        let stream = self.streams.entry(source.clone()).or_default();
        stream.heard = at;
        events.push(Event::Settled { sequence, chunks });
        let order = stream.order.get_or_insert_with(|| Order::new(oldest));
        order.add(whole);
        for whole in order.ready(oldest) {
            events.push(stream.deliver(whole));
        }
    }

    /// Notes that a sender is alive, and on a reliable stream what it still cares for.
    fn hear(&mut self, source: &Source, oldest: Option<u32>, now: Steady, events: &mut Vec<Event>) {
        let Some(oldest) = oldest else {
            if let Some(stream) = self.streams.get_mut(source) {
                stream.heard = now;
            }
            return;
        };
        let stream = self.streams.entry(source.clone()).or_default();
        stream.heard = now;
        let order = stream.order.get_or_insert_with(|| Order::new(oldest));
        for whole in order.ready(oldest) {
            events.push(stream.deliver(whole));
        }
        if let Some(order) = &stream.order {
            stream.sets.retain(|&sequence, set| {
                let given_up = order.is_settled(sequence);
                if given_up {
                    events.push(set.expired(sequence, Expiry::Superseded));
                }
                !given_up
            });
        }
    }

    fn ordered_standing(&self, source: &Source, sequence: u32, oldest: u32) -> Standing {
        match self.streams.get(source).and_then(|stream| stream.order.as_ref()) {
            Some(order) if order.is_restart(oldest) => Standing::Restart,
            Some(order) if order.is_settled(sequence) => Standing::Late,
            _ => Standing::New,
        }
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
            *stream = Stream { heard: stream.heard, ..Stream::default() };
        }
    }

    /// Sees to it that the chunk fits into every bound, giving up other sets of the same stream where that helps: older
    /// ones where the newest tensor wins, newer ones where they wait for older.
    fn make_room(&mut self, source: &Source, chunk: &Checked, events: &mut Vec<Event>) -> Result<(), Refusal> {
        loop {
            let set = self.streams.get(source).and_then(|stream| stream.sets.get(&chunk.sequence()));
            let more = chunk.cost() + set.map_or(0, |set| set.growth(chunk.bytes()));
            let held = self.held_bytes();
            let everywhere = (self.pool.used() + held).saturating_sub(self.charged);
            let senders = self.streams.iter().filter(|(other, _)| other.sender == source.sender);
            let sender_held: usize = senders.map(|(_, stream)| stream.held_bytes()).sum();
            let stream = self.streams.get(source);
            let is_new = stream.is_none_or(|stream| !stream.sets.contains_key(&chunk.sequence()));
            let crowded = is_new
                && stream
                    .is_some_and(|stream| stream.order.is_none() && stream.sets.len() >= self.bounds.sets_per_stream);
            let refusal = if sender_held.saturating_add(more) > self.bounds.sender_bytes {
                Refusal::SenderMemory { held: sender_held, more, limit: self.bounds.sender_bytes }
            } else if everywhere.saturating_add(more) > self.pool.limit {
                Refusal::TotalMemory { held: everywhere, more, limit: self.pool.limit }
            } else if !crowded {
                return Ok(());
            } else {
                Refusal::Chunk(ChunkRefusal::OlderThanAll)
            };
            let stream = self.streams.get_mut(source).ok_or_else(|| refusal.clone())?;
            let sequences = stream.sets.keys().copied();
            let gives_way = match &stream.order {
                None => sequences.into_iter().find(|&held| is_older(held, chunk.sequence())),
                Some(order) => {
                    sequences.filter(|&held| is_older(chunk.sequence(), held)).max_by_key(|&held| order.distance(held))
                }
            };
            let gives_way = gives_way.ok_or(refusal)?;
            if let Some(set) = stream.sets.remove(&gives_way) {
                events.push(set.expired(gives_way, Expiry::Superseded));
            }
        }
    }

    /// Notes a finished tensor and gives up the older partial ones of its stream. Returns how many were skipped.
    fn finish(&mut self, source: &Source, finished: Finished, events: &mut Vec<Event>) -> u32 {
        let stream = self.streams.entry(source.clone()).or_default();
        stream.sets.retain(|&sequence, set| {
            let keep = is_older(finished.sequence, sequence);
            if !keep {
                events.push(set.expired(sequence, Expiry::Superseded));
            }
            keep
        });
        stream.heard = finished.at;
        let before = stream.finished.replace(finished);
        before.map_or(0, |before| finished.sequence.wrapping_sub(before.sequence).saturating_sub(1))
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
