//! Tensor to LTP frame and back: zstd, a CRC-32 over what is compressed, and no size believed before it is checked.
//!
//! The wire has no brain floats: bf16 travels as u16 with the attribute [`BF16_ATTRIBUTE`]. The tensor's name travels in
//! `header.metadata` under [`NAME_KEY`].

use std::collections::BTreeMap;

use ecps_core::check::CheckError;
use ecps_core::clock::Stamp;
use ecps_core::limits;
use ecps_core::wire::proto::{Ltp, LtpFrameHeader};
use ecps_core::wire::{self, LTP_HEADER_VERSION, LTP_SPEC, WireError};
use thiserror::Error;

use crate::tensor::{self, DType, Tensor, TensorError};

/// `message_type` of a frame, and of a chunk that is neither first nor last.
pub const TYPE_DATA: u32 = 1;
/// `message_type` of an acknowledgement.
pub const TYPE_ACK: u32 = 2;
/// `message_type` of the first chunk.
pub const TYPE_CHUNK_START: u32 = 3;
/// `message_type` of the last chunk.
pub const TYPE_CHUNK_END: u32 = 4;

/// Key of the tensor's name in `header.metadata`.
pub const NAME_KEY: &str = "name";
/// Attribute that turns the wire's u16 into bf16; its value is "bf16".
pub const BF16_ATTRIBUTE: &str = "ecps.dtype";
/// Name of a tensor whose sender gave it none.
const NAMELESS: &str = "tensor";

/// Most bytes that one compressed byte can become: zstd's smallest block, 3 bytes of header and one of content, repeats
/// that byte for 128 KiB.
const ZSTD_MAX_RATIO: usize = 32 * 1024;

/// How hard zstd tries: 1 (fast) to 22 (small); 3 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u8);

impl Default for Level {
    fn default() -> Level {
        Level(3)
    }
}

impl Level {
    /// Refuses what is not 1 to 22.
    ///
    /// # Errors
    /// [`EncodeError::Level`].
    pub fn new(level: i64) -> Result<Level, EncodeError> {
        match u8::try_from(level) {
            Ok(value @ 1..=22) => Ok(Level(value)),
            _ => Err(EncodeError::Level(level)),
        }
    }
}

/// Why a tensor could not be encoded.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EncodeError {
    /// A compression level outside zstd's.
    #[error("the compression level is {0}, outside 1 to 22")]
    Level(i64),
    /// A stamp before 1970, which the wire cannot carry.
    #[error("the tensor's stamp is {0} ns, and the wire carries none before 0")]
    StampBeforeEpoch(i64),
    /// Attributes that are full, or hold the reserved key.
    #[error(
        "the attribute '{BF16_ATTRIBUTE}' is reserved for brain floats, or there is no room for it beside 64 others"
    )]
    ReservedAttribute,
    /// zstd failed.
    #[error("zstd could not compress the tensor: {0}")]
    Zstd(String),
}

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DecodeError {
    /// Not a protobuf message, too large, or another protocol version.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No header.
    #[error("the frame has no header")]
    NoHeader,
    /// A header of another version.
    #[error("the header's version is {0}, and {LTP_HEADER_VERSION} is needed")]
    HeaderVersion(u32),
    /// Not a data frame.
    #[error("the frame's message type is {0}, and {TYPE_DATA} (DATA) is needed")]
    MessageType(u32),
    /// The payload is not as long as the header says.
    #[error("the payload has {found} bytes, and the header says {announced}")]
    PayloadLength {
        /// Bytes there are.
        found: usize,
        /// Bytes announced.
        announced: u32,
    },
    /// The checksum is not 4 bytes long.
    #[error("the checksum has {0} bytes, and must have 4")]
    ChecksumLength(usize),
    /// The payload was damaged on its way.
    #[error("the payload's CRC-32 is {found:08x}, and the header says {announced:08x}: it was damaged on its way")]
    Checksum {
        /// Computed.
        found: u32,
        /// Announced.
        announced: u32,
    },
    /// Compression level outside zstd's.
    #[error("the compression level is {0}, outside 1 to 22")]
    Level(u32),
    /// Shape, type, name or attributes are not a tensor's.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A brain float on the wire, or an unknown marker.
    #[error(
        "the wire type '{0}' is not one of the protocol's, or its attribute '{BF16_ATTRIBUTE}' does not belong to it"
    )]
    NotOnTheWire(String),
    /// The original size is not what shape and type need.
    #[error("the original size is {announced} bytes, and shape and type need {expected}")]
    OriginalSize {
        /// What the frame says.
        announced: u64,
        /// What shape and type need.
        expected: usize,
    },
    /// More than zstd can possibly make of so few bytes.
    #[error("{compressed} compressed bytes cannot become the {announced} bytes announced")]
    ImpossibleRatio {
        /// Bytes there are.
        compressed: usize,
        /// Bytes announced.
        announced: usize,
    },
    /// A stamp past what ROS time holds.
    #[error("the stamp is {0} ns, later than ROS time can hold")]
    Stamp(u64),
    /// Not zstd, cut short, or more than the frame announced (a bomb).
    #[error("zstd refused the payload, which must become {expected} bytes: {reason}")]
    Zstd {
        /// Bytes needed.
        expected: usize,
        /// What zstd said.
        reason: String,
    },
    /// Less than the frame announced.
    #[error("the payload became {found} bytes, and {expected} were announced")]
    DecompressedLength {
        /// Bytes it became.
        found: usize,
        /// Bytes announced.
        expected: usize,
    },
}

impl From<CheckError> for DecodeError {
    fn from(error: CheckError) -> DecodeError {
        DecodeError::Tensor(TensorError::Check(error))
    }
}

/// Compresses a tensor into one frame, as yet of any size; [`crate::chunks::split`] cuts what is too large.
///
/// # Errors
/// A stamp before 1970; brain floats whose attributes leave no room for the marker.
pub fn encode(tensor: &Tensor, level: Level, sequence: u32) -> Result<Ltp, EncodeError> {
    let timestamp_ns = u64::try_from(tensor.stamp().0).map_err(|_| EncodeError::StampBeforeEpoch(tensor.stamp().0))?;
    let mut attributes = tensor.attributes().clone();
    let reserved = attributes.contains_key(BF16_ATTRIBUTE);
    let wire_dtype = if tensor.dtype() == DType::Bf16 { DType::U16 } else { tensor.dtype() };
    let full = tensor.dtype() != wire_dtype && attributes.len() >= limits::MAP_ENTRIES;
    if reserved || full {
        return Err(EncodeError::ReservedAttribute);
    }
    if tensor.dtype() != wire_dtype {
        attributes.insert(BF16_ATTRIBUTE.to_owned(), tensor.dtype().name().to_owned());
    }
    let payload =
        zstd::bulk::compress(tensor.data(), i32::from(level.0)).map_err(|e| EncodeError::Zstd(e.to_string()))?;
    let header = LtpFrameHeader {
        version: LTP_HEADER_VERSION,
        message_type: TYPE_DATA,
        payload_length: payload.len() as u32, // a tensor has at most 256 MiB
        sequence_number: sequence,
        total_chunks: 0,
        chunk_index: 0,
        checksum: crc32fast::hash(&payload).to_be_bytes().to_vec(),
        metadata: BTreeMap::from([(NAME_KEY.to_owned(), tensor.name().to_owned())]),
    };
    Ok(Ltp {
        spec: LTP_SPEC.to_owned(),
        header: Some(header),
        tensor_zstd: payload,
        shape: tensor.shape().to_vec(),
        dtype: wire_dtype.name().to_owned(),
        frame_id: tensor.frame_id().to_owned(),
        timestamp_ns,
        compression_level: u32::from(level.0),
        original_size: tensor.data().len() as u64,
        attributes,
    })
}

/// Checks a frame and restores its tensor. The checksum is verified before anything is decompressed, and no more is
/// allocated than shape and type need.
///
/// # Errors
/// [`DecodeError`], a variant per cause.
pub fn decode(frame: Ltp) -> Result<Tensor, DecodeError> {
    wire::check_spec(&frame.spec, LTP_SPEC)?;
    let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
    check_header(header, &frame.tensor_zstd)?;
    if header.message_type != TYPE_DATA {
        return Err(DecodeError::MessageType(header.message_type));
    }
    let facts = Facts::check(&frame, frame.tensor_zstd.len())?;
    let data = decompress(&frame.tensor_zstd, facts.size)?;
    let name = header.metadata.get(NAME_KEY).map_or(NAMELESS, String::as_str);
    let mut attributes = frame.attributes;
    attributes.remove(BF16_ATTRIBUTE);
    let tensor = Tensor::new(name, facts.dtype, frame.shape, data)?;
    Ok(tensor.in_frame(&frame.frame_id)?.at(facts.stamp).with_attributes(attributes)?)
}

/// Reads a frame from protobuf bytes and restores its tensor.
///
/// # Errors
/// More than [`limits::LTP_FRAME_BYTES`], not protobuf, and whatever [`decode`] refuses.
pub fn decode_bytes(bytes: &[u8]) -> Result<Tensor, DecodeError> {
    decode(wire::decode(bytes, limits::LTP_FRAME_BYTES)?)
}

/// What version, length, checksum and metadata of a header must satisfy beside its payload.
pub(crate) fn check_header(header: &LtpFrameHeader, payload: &[u8]) -> Result<(), DecodeError> {
    if header.version != LTP_HEADER_VERSION {
        return Err(DecodeError::HeaderVersion(header.version));
    }
    tensor::check_map("metadata", &header.metadata)?;
    if header.payload_length as usize != payload.len() {
        return Err(DecodeError::PayloadLength { found: payload.len(), announced: header.payload_length });
    }
    let announced = <[u8; 4]>::try_from(header.checksum.as_slice())
        .map(u32::from_be_bytes)
        .map_err(|_| DecodeError::ChecksumLength(header.checksum.len()))?;
    let found = crc32fast::hash(payload);
    if found != announced { Err(DecodeError::Checksum { found, announced }) } else { Ok(()) }
}

/// What a frame says of its tensor, once it is checked.
pub(crate) struct Facts {
    dtype: DType,
    stamp: Stamp,
    size: usize,
}

impl Facts {
    /// Checks everything but the payload itself, of which `compressed` bytes are or will be there.
    pub(crate) fn check(frame: &Ltp, compressed: usize) -> Result<Facts, DecodeError> {
        let dtype = match (DType::from_name(&frame.dtype)?, frame.attributes.get(BF16_ATTRIBUTE).map(String::as_str)) {
            (DType::U16, Some("bf16")) => DType::Bf16,
            (DType::Bf16, _) | (_, Some(_)) => return Err(DecodeError::NotOnTheWire(frame.dtype.clone())),
            (dtype, None) => dtype,
        };
        if !(1..=22).contains(&frame.compression_level) {
            return Err(DecodeError::Level(frame.compression_level));
        }
        let size = tensor::byte_size(dtype, &frame.shape)?;
        if frame.original_size != size as u64 {
            return Err(DecodeError::OriginalSize { announced: frame.original_size, expected: size });
        }
        if size > compressed.saturating_mul(ZSTD_MAX_RATIO) {
            return Err(DecodeError::ImpossibleRatio { compressed, announced: size });
        }
        tensor::check_map("attributes", &frame.attributes)?;
        let stamp = i64::try_from(frame.timestamp_ns).map(Stamp).map_err(|_| DecodeError::Stamp(frame.timestamp_ns))?;
        Ok(Facts { dtype, stamp, size })
    }
}

/// Decompresses into exactly `size` bytes; a payload that would become more is refused by zstd at that limit.
fn decompress(payload: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    let data = zstd::bulk::decompress(payload, size)
        .map_err(|e| DecodeError::Zstd { expected: size, reason: e.to_string() })?;
    if data.len() != size {
        return Err(DecodeError::DecompressedLength { found: data.len(), expected: size });
    }
    Ok(data)
}
