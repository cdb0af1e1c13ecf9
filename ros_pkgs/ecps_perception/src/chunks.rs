//! A frame too large to travel whole, cut into chunks.
//!
//! Each chunk carries the CRC-32 of its own piece, and in `header.metadata` what the frame says of its tensor:
//! `frame_id`, `dtype`, `shape` ("480,640,3"), `timestamp_ns`, `original_size`, `compression_level`, besides `name` and
//! `payload_crc32`, eight hexadecimal digits over the whole compressed payload, and whatever else the frame's header has.
//! The first chunk alone also carries the tensor's attributes, each under "attribute." and its key.

use std::collections::BTreeMap;
use std::ops::Range;

use ecps_core::limits;
use ecps_core::wire::LTP_HEADER_VERSION;
use ecps_core::wire::proto::{Ltp, LtpChunk, LtpFrameHeader};
use prost::Message;
use thiserror::Error;

use crate::codec::{self, TYPE_CHUNK_END, TYPE_CHUNK_START, TYPE_DATA};

/// Before each attribute's key in the first chunk's metadata.
pub const ATTRIBUTE_PREFIX: &str = "attribute.";
/// Key of the whole payload's CRC-32 in the metadata.
pub const PAYLOAD_CRC_KEY: &str = "payload_crc32";
/// Most chunks that one tensor may be cut into.
pub const MAX_CHUNKS: u32 = 65_536;

/// Largest message on the wire, bytes, headers included: 2048 to [`limits::LTP_FRAME_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFrame(usize);

impl Default for MaxFrame {
    fn default() -> MaxFrame {
        MaxFrame(limits::LTP_FRAME_BYTES)
    }
}

impl MaxFrame {
    /// Refuses what is outside 2048 to 1048576 bytes.
    ///
    /// # Errors
    /// [`ChunkError::MaxFrame`].
    pub fn new(bytes: i64) -> Result<MaxFrame, ChunkError> {
        match usize::try_from(bytes) {
            Ok(size) if (2048..=limits::LTP_FRAME_BYTES).contains(&size) => Ok(MaxFrame(size)),
            _ => Err(ChunkError::MaxFrame(bytes)),
        }
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

/// Why a frame could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A largest message outside its range.
    #[error("the largest frame is {0} bytes, outside 2048 to 1048576")]
    MaxFrame(i64),
    /// A frame without header, which [`crate::codec::encode`] never makes.
    #[error("the frame has no header")]
    NoHeader,
    /// More chunks than allowed.
    #[error("the frame would need {needed} chunks, more than the {MAX_CHUNKS} allowed; a larger frame size is needed")]
    TooManyChunks {
        /// Chunks needed.
        needed: usize,
    },
    /// More attributes than the first chunk's metadata has room for.
    #[error("the frame has {found} attributes, and a chunk's metadata has room for {limit}")]
    TooManyAttributes {
        /// What it has.
        found: usize,
        /// What there is room for.
        limit: usize,
    },
    /// Attributes that fill the first chunk.
    #[error("the frame's attributes and names need {needed} bytes of the first chunk, which has {limit}")]
    AttributesTooLarge {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        limit: usize,
    },
}

/// A frame ready for the wire: whole where it fits, else cut. The pieces stay in the frame's own payload, so that cutting
/// copies nothing and any of them can be sent again.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    frame: Ltp,
    common: BTreeMap<String, String>,
    first: BTreeMap<String, String>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
struct Piece {
    range: Range<usize>,
    crc: u32,
}

/// One message of a parcel.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet<'a> {
    /// The frame, whole.
    Frame {
        /// Its header.
        header: LtpFrameHeader,
        /// The rest of it; the header in here is an older one.
        frame: &'a Ltp,
    },
    /// A chunk.
    Chunk {
        /// Its header.
        header: LtpFrameHeader,
        /// Its piece of the payload.
        data: &'a [u8],
        /// Whether it is the last.
        is_final: bool,
    },
}

impl Packet<'_> {
    /// Its header.
    pub fn header_mut(&mut self) -> &mut LtpFrameHeader {
        match self {
            Packet::Frame { header, .. } | Packet::Chunk { header, .. } => header,
        }
    }

    /// As protobuf has it: a frame or a chunk, with a copy of its piece.
    pub fn to_wire(self) -> WirePacket {
        match self {
            Packet::Frame { header, frame } => WirePacket::Frame(Ltp { header: Some(header), ..frame.clone() }),
            Packet::Chunk { header, data, is_final } => {
                WirePacket::Chunk(LtpChunk { header: Some(header), chunk_data: data.to_vec(), is_final })
            }
        }
    }
}

/// A packet that owns what it carries.
#[derive(Debug, Clone, PartialEq)]
pub enum WirePacket {
    /// A frame, whole.
    Frame(Ltp),
    /// A chunk.
    Chunk(LtpChunk),
}

/// What leaves for the wire, as protobuf has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// The frame as it was: it fits.
    Whole(Box<Ltp>),
    /// Its chunks, in order.
    Chunks(Vec<LtpChunk>),
}

/// Leaves a frame as it is when it fits `max`, and cuts it into chunks of at most `max` bytes each when it does not.
///
/// # Errors
/// [`ChunkError`]; a frame from [`crate::codec::encode`] fails only by its number of chunks or its attributes.
pub fn split(frame: Ltp, max: MaxFrame) -> Result<Outgoing, ChunkError> {
    let parcel = Parcel::new(frame, max)?;
    if parcel.pieces.is_empty() {
        return Ok(Outgoing::Whole(Box::new(parcel.frame)));
    }
    let chunks = (0..parcel.packets()).filter_map(|index| match parcel.packet(index)?.to_wire() {
        WirePacket::Chunk(chunk) => Some(chunk),
        WirePacket::Frame(_) => None,
    });
    Ok(Outgoing::Chunks(chunks.collect()))
}

impl Parcel {
    /// Leaves a frame whole when it fits `max`, and cuts it when it does not. Writes the frame's checksum where it has
    /// none.
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn new(mut frame: Ltp, max: MaxFrame) -> Result<Parcel, ChunkError> {
        let header = frame.header.as_ref().ok_or(ChunkError::NoHeader)?;
        let (sequence, sealed) = (header.sequence_number, !header.checksum.is_empty());
        // The checksum that may yet come takes 6 bytes, and up to 2 more for the header's length.
        if frame.encoded_len() + if sealed { 0 } else { 8 } <= max.0 {
            if !sealed {
                codec::seal(&mut frame);
            }
            return Ok(Parcel { frame, common: BTreeMap::new(), first: BTreeMap::new(), pieces: Vec::new() });
        }
        let mut common = metadata(&frame)?;
        let mut first = common.clone();
        first.extend(frame.attributes.iter().map(|(key, value)| (format!("{ATTRIBUTE_PREFIX}{key}"), value.clone())));
        if first.len() > limits::MAP_ENTRIES {
            let limit = limits::MAP_ENTRIES - common.len();
            return Err(ChunkError::TooManyAttributes { found: frame.attributes.len(), limit });
        }
        // Whatever the header needs beyond the room that is left free for it, the piece gives up.
        let room = |metadata: &BTreeMap<String, String>| {
            let header = header_of(u32::MAX, sequence, u32::MAX, u32::MAX, u32::MAX);
            let header = LtpFrameHeader { metadata: metadata.clone(), ..header };
            let empty = LtpChunk { header: Some(header), chunk_data: vec![], is_final: true };
            let needed = empty.encoded_len() + 8; // tag and length of the piece
            match max.0.checked_sub(needed.max(limits::LTP_CHUNK_HEADROOM_BYTES)) {
                Some(room @ 1..) => Ok(room),
                _ => Err(ChunkError::AttributesTooLarge { needed, limit: max.0 }),
            }
        };
        let (first_size, size) = (room(&first)?, room(&common)?);
        let length = frame.tensor_zstd.len();
        let (head, rest) = frame.tensor_zstd.split_at(first_size.min(length));
        let total = 1 + rest.len().div_ceil(size);
        if total > MAX_CHUNKS as usize {
            return Err(ChunkError::TooManyChunks { needed: total });
        }
        // The whole's checksum follows from those of the pieces.
        let (mut whole, mut start, mut pieces) = (crc32fast::Hasher::new(), 0, Vec::with_capacity(total));
        for piece in std::iter::once(head).chain(rest.chunks(size)) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(piece);
            whole.combine(&hasher);
            pieces.push(Piece { range: start..start + piece.len(), crc: hasher.finalize() });
            start += piece.len();
        }
        if !sealed {
            let crc = whole.finalize();
            for map in [&mut common, &mut first] {
                map.insert(PAYLOAD_CRC_KEY.to_owned(), format!("{crc:08x}"));
            }
            if let Some(header) = &mut frame.header {
                header.checksum = crc.to_be_bytes().to_vec();
            }
        }
        Ok(Parcel { frame, common, first, pieces })
    }

    /// Number of the tensor in its stream.
    pub fn sequence(&self) -> u32 {
        self.frame.header.as_ref().map_or(0, |header| header.sequence_number)
    }

    /// Chunks it was cut into; 0 where it stayed whole.
    pub fn chunks(&self) -> u32 {
        self.pieces.len() as u32 // at most MAX_CHUNKS
    }

    /// Messages it takes.
    pub fn packets(&self) -> u32 {
        self.chunks().max(1)
    }

    /// Bytes of its payload.
    pub fn payload_bytes(&self) -> usize {
        self.frame.tensor_zstd.len()
    }

    /// Bytes of message `index`, roughly: its piece and what its header takes.
    pub fn packet_bytes(&self, index: u32) -> usize {
        let piece = self.pieces.get(index as usize).map_or(self.payload_bytes(), |piece| piece.range.len());
        piece + limits::LTP_CHUNK_HEADROOM_BYTES / 4
    }

    /// Message `index`, from 0.
    pub fn packet(&self, index: u32) -> Option<Packet<'_>> {
        if self.pieces.is_empty() {
            let header = self.frame.header.clone().filter(|_| index == 0)?;
            return Some(Packet::Frame { header, frame: &self.frame });
        }
        let piece = self.pieces.get(index as usize)?;
        let data = self.frame.tensor_zstd.get(piece.range.clone())?;
        let header = header_of(data.len() as u32, self.sequence(), self.chunks(), index, piece.crc);
        let metadata = if index == 0 { self.first.clone() } else { self.common.clone() };
        let header = LtpFrameHeader { metadata, ..header };
        Some(Packet::Chunk { header, data, is_final: index + 1 == self.chunks() })
    }
}

/// What every chunk of a frame says of it.
fn metadata(frame: &Ltp) -> Result<BTreeMap<String, String>, ChunkError> {
    let header = frame.header.as_ref().ok_or(ChunkError::NoHeader)?;
    let mut metadata = header.metadata.clone();
    let shape = frame.shape.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    // Where the checksum is yet to come, its room is kept.
    let crc = match header.checksum.as_slice() {
        [] => "00000000".to_owned(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    };
    metadata.extend([
        ("frame_id".to_owned(), frame.frame_id.clone()),
        ("dtype".to_owned(), frame.dtype.clone()),
        ("shape".to_owned(), shape),
        ("timestamp_ns".to_owned(), frame.timestamp_ns.to_string()),
        ("original_size".to_owned(), frame.original_size.to_string()),
        ("compression_level".to_owned(), frame.compression_level.to_string()),
        (PAYLOAD_CRC_KEY.to_owned(), crc),
    ]);
    Ok(metadata)
}

/// A header without metadata. Frames that are not chunked have a total of 0.
fn header_of(payload_length: u32, sequence: u32, total: u32, index: u32, crc: u32) -> LtpFrameHeader {
    let message_type = match index {
        _ if total == 0 => TYPE_DATA,
        0 => TYPE_CHUNK_START,
        last if last.checked_add(1) == Some(total) => TYPE_CHUNK_END,
        _ => TYPE_DATA,
    };
    LtpFrameHeader {
        version: LTP_HEADER_VERSION,
        message_type,
        payload_length,
        sequence_number: sequence,
        total_chunks: total,
        chunk_index: index,
        checksum: crc.to_be_bytes().to_vec(),
        metadata: BTreeMap::new(),
    }
}

/// What chunks say of the frame they were cut from: the frame without its payload.
///
/// `first` is the first chunk's metadata, or any chunk's where the first is not there yet (then without attributes).
pub(crate) fn frame_from(metadata: &BTreeMap<String, String>) -> Result<Ltp, MetadataError> {
    let get = |key: &'static str| metadata.get(key).ok_or(MetadataError::Missing(key));
    let number = |key: &'static str| {
        let text = get(key)?;
        text.parse::<u64>().map_err(|_| MetadataError::NotANumber(key, text.chars().take(64).collect()))
    };
    let shape_text = get("shape")?;
    // Each extent takes two characters at least, so that this is bounded by the value's own limit.
    let shape = shape_text
        .split(',')
        .filter(|_| !shape_text.is_empty())
        .map(|extent| extent.trim().parse::<u32>())
        .collect::<Result<Vec<u32>, _>>()
        .map_err(|_| MetadataError::NotANumber("shape", shape_text.chars().take(64).collect()))?;
    let level = number("compression_level")?;
    let attributes = metadata
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(ATTRIBUTE_PREFIX)?.to_owned(), value.clone())))
        .collect();
    Ok(Ltp {
        spec: ecps_core::wire::LTP_SPEC.to_owned(),
        header: None,
        tensor_zstd: vec![],
        shape,
        dtype: get("dtype")?.clone(),
        frame_id: get("frame_id")?.clone(),
        timestamp_ns: number("timestamp_ns")?,
        compression_level: u32::try_from(level).unwrap_or(u32::MAX),
        original_size: number("original_size")?,
        attributes,
    })
}

/// The header of the frame that was cut, from what its chunks say, and the checksum that they announce for the whole.
/// Where they announce none, each piece's own has to do.
pub(crate) fn frame_header(
    metadata: BTreeMap<String, String>,
    sequence: u32,
    payload: &[u8],
    crc: u32,
) -> Result<LtpFrameHeader, MetadataError> {
    let announced = match metadata.get(PAYLOAD_CRC_KEY) {
        None => crc,
        Some(text) => u32::from_str_radix(text, 16)
            .map_err(|_| MetadataError::NotANumber(PAYLOAD_CRC_KEY, text.chars().take(64).collect()))?,
    };
    let payload_length = payload.len() as u32; // bounded by the tensor's size
    Ok(LtpFrameHeader { metadata, ..header_of(payload_length, sequence, 0, 0, announced) })
}

/// What is wrong with a chunk's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// A key that every chunk must carry.
    #[error("the chunk's metadata have no '{0}'")]
    Missing(&'static str),
    /// A number that is none.
    #[error("the chunk's '{0}' is '{1}', which is not made of numbers in range")]
    NotANumber(&'static str, String),
}
