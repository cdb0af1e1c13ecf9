//! One chunk, checked by itself; and one tensor as far as its chunks are there.

use std::collections::BTreeMap;

use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::proto::Ltp;
use thiserror::Error;

use super::{ArrivedChunk, Event, Expiry, OLDEST_KEY, Piece};
use crate::chunks::{self, ATTRIBUTE_PREFIX, MAX_CHUNKS, MetadataError};
use crate::codec::{self, DecodeError, Facts, TYPE_CHUNK_END, TYPE_CHUNK_START, TYPE_DATA};
use crate::tensor::Tensor;

/// What keeping a piece costs beyond its bytes: its place in the map and the allocator's own.
const PIECE_OVERHEAD: usize = 96;
/// What a set costs before its first piece, beyond its metadata.
const SET_OVERHEAD: usize = 1024;

/// Why a chunk was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ChunkRefusal {
    /// No header.
    #[error("the chunk has no header")]
    NoHeader,
    /// Header, checksum, or what the chunk says of its tensor.
    #[error("the chunk is not acceptable: {0}")]
    Frame(#[from] DecodeError),
    /// A metadata key that is missing or unreadable.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// An acknowledgement or an unknown type.
    #[error("the chunk's message type is {0}, and 1 (DATA), 3 (CHUNK_START) or 4 (CHUNK_END) is needed")]
    MessageType(u32),
    /// No chunks, or more than allowed.
    #[error("the chunk says that its tensor has {0} chunks, outside 1 to {MAX_CHUNKS}")]
    Total(u32),
    /// An index past the last.
    #[error("the chunk's index is {index}, and its tensor has {total} chunks")]
    Index {
        /// Its index.
        index: u32,
        /// Chunks there are.
        total: u32,
    },
    /// Final and not last, or last and not final.
    #[error("chunk {index} of {total} is marked is_final = {is_final}")]
    Final {
        /// Its index.
        index: u32,
        /// Chunks there are.
        total: u32,
        /// The mark.
        is_final: bool,
    },
    /// No payload, or more than a frame may have.
    #[error("the chunk's payload has {0} bytes, outside 1 to 1048576")]
    Payload(usize),
    /// Another number of chunks than the first of the set said.
    #[error("the chunk says {found} chunks, and the others of its tensor said {expected}")]
    OtherTotal {
        /// What it says.
        found: u32,
        /// What the first said.
        expected: u32,
    },
    /// Other metadata than the first of the set had.
    #[error("the chunk's metadata differ from those of the others of its tensor in '{0}'")]
    OtherMetadata(String),
    /// More payload than the tensor can have been compressed to.
    #[error("the chunks hold more than {limit} bytes, which no compression of {original} bytes takes")]
    TooMuchPayload {
        /// Limit in bytes.
        limit: usize,
        /// The tensor's size in bytes.
        original: u64,
    },
    /// Its stream is busy with newer tensors.
    #[error("the chunk's tensor is older than all those that its stream is busy with")]
    OlderThanAll,
}

impl ChunkRefusal {
    /// The kind of reason, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            ChunkRefusal::NoHeader => "header",
            ChunkRefusal::Frame(error) => error.kind(),
            ChunkRefusal::Metadata(_) | ChunkRefusal::OtherMetadata(_) => "metadata",
            ChunkRefusal::MessageType(_) => "message_type",
            ChunkRefusal::Total(_) | ChunkRefusal::Index { .. } | ChunkRefusal::OtherTotal { .. } => "chunk_index",
            ChunkRefusal::Final { .. } => "is_final",
            ChunkRefusal::Payload(_) | ChunkRefusal::TooMuchPayload { .. } => "size",
            ChunkRefusal::OlderThanAll => "old",
        }
    }
}

/// A chunk that is sound by itself: header, checksum, index, and a tensor of allowed size.
pub(crate) struct Checked<'a> {
    sequence: u32,
    index: u32,
    total: u32,
    /// The frame without payload and, unless this is the first chunk, without attributes.
    frame: Ltp,
    /// Metadata without attributes, which only the first chunk has.
    common: BTreeMap<String, String>,
    metadata_bytes: usize,
    /// What the sender of a reliable stream still cares for.
    oldest: Option<u32>,
    crc: u32,
    piece: Piece<'a>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(chunk: ArrivedChunk<'a>) -> Result<Checked<'a>, ChunkRefusal> {
        let header = chunk.header.ok_or(ChunkRefusal::NoHeader)?;
        let (index, total) = (header.chunk_index, header.total_chunks);
        let payload = chunk.piece.bytes();
        if !(1..=limits::LTP_FRAME_BYTES).contains(&payload.len()) {
            return Err(ChunkRefusal::Payload(payload.len()));
        }
        if ![TYPE_DATA, TYPE_CHUNK_START, TYPE_CHUNK_END].contains(&header.message_type) {
            return Err(ChunkRefusal::MessageType(header.message_type));
        }
        if !(1..=MAX_CHUNKS).contains(&total) {
            return Err(ChunkRefusal::Total(total));
        }
        if index >= total {
            return Err(ChunkRefusal::Index { index, total });
        }
        if chunk.is_final != (index + 1 == total) {
            return Err(ChunkRefusal::Final { index, total, is_final: chunk.is_final });
        }
        codec::check_header(&header, payload)?;
        let crc = codec::announced_crc(&header)?;
        let mut frame = chunks::frame_from(&header.metadata)?;
        if index != 0 {
            frame.attributes.clear();
        }
        Facts::check(&frame, &header.metadata, (total as usize).saturating_mul(limits::LTP_FRAME_BYTES))?;
        let metadata_bytes = header.metadata.iter().map(|(key, value)| key.len() + value.len() + PIECE_OVERHEAD).sum();
        let mut common = header.metadata;
        // Chunks of one tensor differ in this, since time passes between them.
        let oldest = super::stream::oldest(&common)?;
        common.retain(|key, _| key != OLDEST_KEY && !key.starts_with(ATTRIBUTE_PREFIX));
        let sequence = header.sequence_number;
        Ok(Checked { sequence, index, total, frame, common, metadata_bytes, oldest, crc, piece: chunk.piece })
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.oldest
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    pub(crate) fn timestamp_ns(&self) -> u64 {
        self.frame.timestamp_ns
    }

    /// Bytes of its piece.
    pub(crate) fn bytes(&self) -> usize {
        self.piece.bytes().len()
    }

    /// Bytes that keeping it costs at most.
    pub(crate) fn cost(&self) -> usize {
        self.bytes() + PIECE_OVERHEAD + SET_OVERHEAD + 2 * self.metadata_bytes
    }
}

/// A tensor as far as its chunks are there: those from the first on without a gap joined, the others apart.
#[derive(Debug)]
pub(crate) struct Partial {
    since: Steady,
    total: u32,
    frame: Ltp,
    common: BTreeMap<String, String>,
    joined: Vec<u8>,
    joined_crc: crc32fast::Hasher,
    /// Index of the first chunk that is not joined.
    next: u32,
    ahead: BTreeMap<u32, (Vec<u8>, u32)>,
    ahead_bytes: usize,
    metadata_bytes: usize,
}

/// What came of adding a chunk.
pub(crate) enum Added {
    Duplicate(u32),
    Missing { received: u32, total: u32 },
    Whole,
}

impl Partial {
    /// An empty set of which `chunk` is about to be the first. Nothing is allocated for chunks that are not there.
    pub(crate) fn new(chunk: &Checked<'_>, now: Steady) -> Partial {
        Partial {
            since: now,
            total: chunk.total,
            frame: chunk.frame.clone(),
            common: chunk.common.clone(),
            joined: Vec::new(),
            joined_crc: crc32fast::Hasher::new(),
            next: 0,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            metadata_bytes: chunk.metadata_bytes,
        }
    }

    /// Takes in a chunk; `spare` bytes may be used beyond what [`Checked::cost`] and [`Partial::growth`] said.
    pub(crate) fn add(&mut self, mut chunk: Checked<'_>, spare: usize) -> Result<Added, ChunkRefusal> {
        if chunk.total != self.total {
            return Err(ChunkRefusal::OtherTotal { found: chunk.total, expected: self.total });
        }
        if let Some(key) = first_difference(&self.common, &chunk.common) {
            return Err(ChunkRefusal::OtherMetadata(key.chars().take(64).collect()));
        }
        if chunk.index < self.next || self.ahead.contains_key(&chunk.index) {
            return Ok(Added::Duplicate(chunk.index));
        }
        let limit = self.most_payload();
        if self.joined.len() + self.ahead_bytes + chunk.bytes() > limit {
            return Err(ChunkRefusal::TooMuchPayload { limit, original: self.frame.original_size });
        }
        if chunk.index == 0 {
            self.frame.attributes = std::mem::take(&mut chunk.frame.attributes);
            self.metadata_bytes += chunk.metadata_bytes;
        }
        if chunk.index == self.next {
            self.join(chunk.piece, chunk.crc, spare);
            while let Some((piece, crc)) = self.ahead.remove(&self.next) {
                self.ahead_bytes -= piece.len();
                self.join(piece.into(), crc, spare);
            }
        } else {
            self.ahead_bytes += chunk.bytes();
            self.ahead.insert(chunk.index, (chunk.piece.into_vec(), chunk.crc));
        }
        let received = self.received();
        Ok(if received == self.total { Added::Whole } else { Added::Missing { received, total: self.total } })
    }

    fn join(&mut self, piece: Piece<'_>, crc: u32, spare: usize) {
        let bytes = piece.bytes();
        self.joined_crc.combine(&crc32fast::Hasher::new_with_initial_len(crc, bytes.len() as u64));
        if self.joined.is_empty() && self.next + 1 == self.total {
            self.joined = piece.into_vec();
        } else {
            let grown = self.capacity_for(bytes.len(), spare);
            self.joined.reserve_exact(grown - self.joined.len());
            self.joined.extend_from_slice(bytes);
        }
        self.next += 1;
    }

    /// zstd's own bound on its output is size + size / 256 + 64 bytes; another compressor may frame it more loosely.
    fn most_payload(&self) -> usize {
        let original = self.frame.original_size;
        (original + original / 128) as usize + 4096
    }

    /// Room for so many bytes more: at least a quarter is added each time, so that growing always costs little; and out of
    /// `spare` four times what there was, up to what the tensor can need, so that it copies little, too.
    fn capacity_for(&self, more: usize, spare: usize) -> usize {
        let (needed, capacity) = (self.joined.len() + more, self.joined.capacity());
        if needed <= capacity {
            return capacity;
        }
        let generous = capacity.saturating_mul(4).min(self.most_payload()).min(capacity.saturating_add(spare));
        needed.max(capacity + capacity / 4).max(generous)
    }

    /// What joining a piece of so many bytes may add beyond the piece itself.
    pub(crate) fn growth(&self, piece: usize) -> usize {
        self.capacity_for(piece + self.ahead_bytes, 0) - self.joined.capacity()
    }

    /// Checks the whole and decompresses it. What its chunks said of it comes along.
    pub(crate) fn into_tensor(self, sequence: u32) -> Result<(Tensor, BTreeMap<String, String>), super::Refusal> {
        let found = self.joined_crc.finalize();
        let metadata = self.common.clone();
        let header =
            chunks::frame_header(self.common, sequence, &self.joined, found).map_err(ChunkRefusal::Metadata)?;
        let announced = codec::announced_crc(&header)?;
        if found != announced {
            return Err(DecodeError::Checksum { found, announced }.into());
        }
        let tensor = codec::restore(Ltp { header: Some(header), tensor_zstd: self.joined, ..self.frame })?;
        Ok((tensor, metadata))
    }

    pub(crate) fn since(&self) -> Steady {
        self.since
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn received(&self) -> u32 {
        self.next + self.ahead.len() as u32 // at most MAX_CHUNKS
    }

    pub(crate) fn bytes(&self) -> usize {
        let apart = self.ahead_bytes + self.ahead.len() * PIECE_OVERHEAD;
        SET_OVERHEAD + self.metadata_bytes + self.joined.capacity() + apart
    }

    /// Indices of the first `limit` chunks that are missing.
    pub(crate) fn missing(&self, limit: usize) -> Vec<u32> {
        (self.next..self.total).filter(|index| !self.ahead.contains_key(index)).take(limit).collect()
    }

    pub(crate) fn expired(&self, sequence: u32, reason: Expiry) -> Event {
        Event::Expired { sequence, received: self.received(), total: self.total, reason }
    }
}

/// The first key that only one of two maps has, or that differs.
fn first_difference<'a>(a: &'a BTreeMap<String, String>, b: &'a BTreeMap<String, String>) -> Option<&'a str> {
    a.keys().chain(b.keys()).find(|key| a.get(*key) != b.get(*key)).map(String::as_str)
}
