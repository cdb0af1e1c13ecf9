//! Tensor to LTP frame and back: compression, a CRC-32 over what is compressed, and no size believed before it is checked.
//!
//! The wire has no brain floats: bf16 travels as u16 with the attribute [`BF16_ATTRIBUTE`]. In `header.metadata` travel the
//! tensor's name, under [`NAME_KEY`], and how it was compressed, under [`COMPRESSION_KEY`].

use std::collections::BTreeMap;

use ecps_core::check::CheckError;
use ecps_core::clock::Stamp;
use ecps_core::limits;
use ecps_core::wire::proto::{Ltp, LtpFrameHeader};
use ecps_core::wire::{self, LTP_HEADER_VERSION, LTP_SPEC, WireError};
use thiserror::Error;

use crate::compression::{
    self, COMPRESSION_KEY, Compression, PackError, Packer, Shuffle, UnknownCompression, UnpackError, WIDEST_SHUFFLE,
};
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

/// Why a tensor could not be encoded.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EncodeError {
    /// A stamp before 1970, which the wire cannot carry.
    #[error("the tensor's stamp is {0} ns, and the wire carries none before 0")]
    StampBeforeEpoch(i64),
    /// Attributes that are full, or hold the reserved key.
    #[error(
        "the attribute '{BF16_ATTRIBUTE}' is reserved for brain floats, or there is no room for it beside 64 others"
    )]
    ReservedAttribute,
    /// The compressor failed, or its shuffle does not fit the tensor.
    #[error(transparent)]
    Pack(#[from] PackError),
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
    /// A compression that there is not, or a level outside zstd's.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
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
    /// A stamp past what ROS time holds.
    #[error("the stamp is {0} ns, later than ROS time can hold")]
    Stamp(u64),
    /// Not what the compressor makes, cut short, or of another size than announced.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl DecodeError {
    /// The kind of reason, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            DecodeError::Wire(_) | DecodeError::HeaderVersion(_) => "version",
            DecodeError::NoHeader => "header",
            DecodeError::MessageType(_) => "message_type",
            DecodeError::PayloadLength { .. } | DecodeError::OriginalSize { .. } => "size",
            DecodeError::ChecksumLength(_) | DecodeError::Checksum { .. } => "checksum",
            DecodeError::Compression(_) | DecodeError::Unpack(_) => "compression",
            DecodeError::Tensor(_) | DecodeError::NotOnTheWire(_) => "tensor",
            DecodeError::Stamp(_) => "stamp",
        }
    }
}

impl From<CheckError> for DecodeError {
    fn from(error: CheckError) -> DecodeError {
        DecodeError::Tensor(TensorError::Check(error))
    }
}

/// Compresses a tensor into one frame, as yet of any size; [`crate::chunks::Parcel`] cuts what is too large.
///
/// # Errors
/// A stamp before 1970; brain floats whose attributes leave no room for the marker.
pub fn encode(tensor: &Tensor, compression: Compression, sequence: u32) -> Result<Ltp, EncodeError> {
    let mut frame = encode_unsealed(tensor.clone(), compression, sequence, &mut Packer::default())?;
    seal(&mut frame);
    Ok(frame)
}

/// The bytes by which [`Shuffle::Element`] shuffles: of an element, or, where those are single bytes, of the last
/// dimension, which is a point in a cloud and a pixel in an image.
pub(crate) fn element_width(tensor: &Tensor) -> usize {
    match (tensor.dtype().bytes(), tensor.shape()) {
        (1, [_, .., last]) if (2..=u32::from(WIDEST_SHUFFLE)).contains(last) => *last as usize,
        (bytes, _) => bytes,
    }
}

/// A frame without its checksum, from a tensor that is given up, so that one without compression costs no copy.
pub(crate) fn encode_unsealed(
    tensor: Tensor,
    compression: Compression,
    sequence: u32,
    packer: &mut Packer,
) -> Result<Ltp, EncodeError> {
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
    let shuffle = match (compression.shuffle, u8::try_from(element_width(&tensor))) {
        (Shuffle::Element, Ok(width @ 2..=WIDEST_SHUFFLE)) => Shuffle::Width(width),
        (Shuffle::Element, _) => Shuffle::No,
        (shuffle, _) => shuffle,
    };
    let compression = Compression { shuffle, ..compression };
    let mut metadata = BTreeMap::from([(NAME_KEY.to_owned(), tensor.name().to_owned())]);
    metadata.extend(compression.wire_name().map(|name| (COMPRESSION_KEY.to_owned(), name)));
    let (shape, frame_id) = (tensor.shape().to_vec(), tensor.frame_id().to_owned());
    let original_size = tensor.data().len() as u64;
    let payload = match compression {
        Compression::NONE => tensor.into_data(),
        compression => packer.pack(tensor.data(), compression)?,
    };
    let header = LtpFrameHeader {
        version: LTP_HEADER_VERSION,
        message_type: TYPE_DATA,
        payload_length: payload.len() as u32, // a tensor has at most 256 MiB
        sequence_number: sequence,
        total_chunks: 0,
        chunk_index: 0,
        checksum: Vec::new(),
        metadata,
    };
    Ok(Ltp {
        spec: LTP_SPEC.to_owned(),
        header: Some(header),
        tensor_zstd: payload,
        shape,
        dtype: wire_dtype.name().to_owned(),
        frame_id,
        timestamp_ns,
        compression_level: compression.wire_level(),
        original_size,
        attributes,
    })
}

/// Writes the checksum.
pub(crate) fn seal(frame: &mut Ltp) {
    let checksum = crc32fast::hash(&frame.tensor_zstd).to_be_bytes().to_vec();
    if let Some(header) = &mut frame.header {
        header.checksum = checksum;
    }
}

/// Checks a frame and restores its tensor. The checksum is verified before anything is decompressed, and no more is
/// allocated than shape and type need.
///
/// # Errors
/// [`DecodeError`], a variant per cause.
pub fn decode(frame: Ltp) -> Result<Tensor, DecodeError> {
    let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
    wire::check_spec(&frame.spec, LTP_SPEC)?;
    check_header(header, &frame.tensor_zstd)?;
    restore(frame)
}

/// Restores the tensor of a frame whose payload agrees with its checksum.
pub(crate) fn restore(frame: Ltp) -> Result<Tensor, DecodeError> {
    let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
    if header.message_type != TYPE_DATA {
        return Err(DecodeError::MessageType(header.message_type));
    }
    let facts = Facts::check(&frame, &header.metadata, frame.tensor_zstd.len())?;
    let data = compression::unpack(frame.tensor_zstd, facts.compression, facts.size)?;
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
    let found = crc32fast::hash(payload);
    let announced = announced_crc(header)?;
    if found != announced { Err(DecodeError::Checksum { found, announced }) } else { Ok(()) }
}

/// The checksum that a header announces.
pub(crate) fn announced_crc(header: &LtpFrameHeader) -> Result<u32, DecodeError> {
    <[u8; 4]>::try_from(header.checksum.as_slice())
        .map(u32::from_be_bytes)
        .map_err(|_| DecodeError::ChecksumLength(header.checksum.len()))
}

/// What a frame says of its tensor, once it is checked.
pub(crate) struct Facts {
    dtype: DType,
    stamp: Stamp,
    size: usize,
    compression: Compression,
}

impl Facts {
    /// Checks everything but the payload itself, of which `compressed` bytes are or will be there.
    pub(crate) fn check(
        frame: &Ltp,
        metadata: &BTreeMap<String, String>,
        compressed: usize,
    ) -> Result<Facts, DecodeError> {
        let dtype = match (DType::from_name(&frame.dtype)?, frame.attributes.get(BF16_ATTRIBUTE).map(String::as_str)) {
            (DType::U16, Some("bf16")) => DType::Bf16,
            (DType::Bf16, _) | (_, Some(_)) => return Err(DecodeError::NotOnTheWire(frame.dtype.clone())),
            (dtype, None) => dtype,
        };
        let name = metadata.get(COMPRESSION_KEY).map(String::as_str);
        let compression = Compression::from_wire(frame.compression_level, name)?;
        let size = tensor::byte_size(dtype, &frame.shape)?;
        if frame.original_size != size as u64 {
            return Err(DecodeError::OriginalSize { announced: frame.original_size, expected: size });
        }
        compression::plausible(compression, compressed, size)?;
        tensor::check_map("attributes", &frame.attributes)?;
        let stamp = i64::try_from(frame.timestamp_ns).map(Stamp).map_err(|_| DecodeError::Stamp(frame.timestamp_ns))?;
        Ok(Facts { dtype, stamp, size, compression })
    }
}
