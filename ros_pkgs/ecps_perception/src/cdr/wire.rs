//! `ecps_msgs/LtpFrame`, `LtpChunk`, `LtpAck` and `Tensor`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ecps_core::check::{self, CheckError};
use ecps_core::limits;
use ecps_core::wire::proto::{Ltp, LtpAck, LtpFrameHeader};
use thiserror::Error;

use super::{CdrError, CdrReader, CdrWriter};
use crate::chunks::Packet;
use crate::reassembly::{ArrivedChunk, MISSING_LISTED, Piece};
use crate::tensor::{DType, Tensor, TensorError};

/// Why a message was not read.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ReadError {
    /// Its bytes are not those of the type.
    #[error(transparent)]
    Cdr(#[from] CdrError),
    /// Something in it is larger than allowed.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// It is no tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Writes a packet into memory that was used before.
pub fn packet(packet: &Packet<'_>, memory: Vec<u8>) -> Vec<u8> {
    let mut to = CdrWriter::over(memory);
    match packet {
        Packet::Frame { header, frame } => {
            to.text(&frame.spec);
            write_header(&mut to, header);
            to.sequence(&frame.tensor_zstd, 1);
            write_numbers(&mut to, &frame.shape);
            to.text(&frame.dtype).text(&frame.frame_id).u64(frame.timestamp_ns);
            to.u32(frame.compression_level).u64(frame.original_size);
            write_map(&mut to, &frame.attributes);
        }
        Packet::Chunk { header, data, is_final } => {
            write_header(&mut to, header);
            to.sequence(data, 1).bool(*is_final);
        }
    }
    to.finish()
}

/// A chunk about to be written into memory of a fixed size, its piece straight to its place.
#[derive(Debug)]
pub struct ChunkParts<'a> {
    head: Vec<u8>,
    data: &'a [u8],
    is_final: bool,
}

impl<'a> ChunkParts<'a> {
    /// The parts of a packet; none of a whole frame.
    pub fn of(packet: &'a Packet<'_>) -> Option<ChunkParts<'a>> {
        let Packet::Chunk { header, data, is_final } = packet else { return None };
        let mut to = CdrWriter::new(512);
        write_header(&mut to, header);
        to.u32(data.len() as u32);
        Some(ChunkParts { head: to.finish(), data, is_final: *is_final })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.data.len() + 1
    }

    /// Writes it to the beginning of `memory`; whether it fits there.
    pub fn write(&self, memory: &mut [u8]) -> bool {
        let Some((head, rest)) = memory.split_at_mut_checked(self.head.len()) else { return false };
        let Some((data, [is_final, ..])) = rest.split_at_mut_checked(self.data.len()) else { return false };
        head.copy_from_slice(&self.head);
        data.copy_from_slice(self.data);
        *is_final = u8::from(self.is_final);
        true
    }
}

/// Reads an `LtpFrame`. Its payload stays in the memory of the message.
///
/// # Errors
/// [`ReadError`].
pub fn read_frame(bytes: Vec<u8>) -> Result<Ltp, ReadError> {
    let mut from = CdrReader::new(&bytes)?;
    let spec = from.text("spec")?.to_owned();
    let header = read_header(&mut from)?;
    let payload = payload(&mut from, "tensor_zstd")?;
    let shape = read_numbers(&mut from, "shape", limits::TENSOR_DIMENSIONS)?;
    let (dtype, frame_id) = (from.text("dtype")?.to_owned(), from.text("frame_id")?.to_owned());
    let timestamp_ns = from.u64("timestamp_ns")?;
    let compression_level = from.u32("compression_level")?;
    let original_size = from.u64("original_size")?;
    let attributes = read_map(&mut from, "attributes")?;
    Ok(Ltp {
        spec,
        header: Some(header),
        tensor_zstd: Piece::of(bytes, payload).into_vec(),
        shape,
        dtype,
        frame_id,
        timestamp_ns,
        compression_level,
        original_size,
        attributes,
    })
}

/// Reads an `LtpChunk`. Its piece stays in the memory of the message.
///
/// # Errors
/// [`ReadError`].
pub fn read_chunk<'a>(bytes: impl Into<Cow<'a, [u8]>>) -> Result<ArrivedChunk<'a>, ReadError> {
    let bytes = bytes.into();
    let mut from = CdrReader::new(&bytes)?;
    let header = read_header(&mut from)?;
    let payload = payload(&mut from, "chunk_data")?;
    let is_final = from.bool("is_final")?;
    Ok(ArrivedChunk { header: Some(header), piece: Piece::of(bytes, payload), is_final })
}

/// Writes an `LtpAck`.
pub fn ack(ack: &LtpAck) -> Vec<u8> {
    let mut to = CdrWriter::new(256 + 4 * ack.missing_chunks.len());
    write_header(&mut to, ack.header.as_ref().unwrap_or(&LtpFrameHeader::default()));
    to.bool(ack.success).text(&ack.message).u32(ack.received_chunks);
    write_numbers(&mut to, &ack.missing_chunks);
    to.finish()
}

/// Reads an `LtpAck`.
///
/// # Errors
/// [`ReadError`].
pub fn read_ack(bytes: &[u8]) -> Result<LtpAck, ReadError> {
    let mut from = CdrReader::new(bytes)?;
    let header = Some(read_header(&mut from)?);
    let success = from.bool("success")?;
    let message = from.text("message")?;
    check::at_most("message", message.len(), limits::MAP_STRING_BYTES, "bytes")?;
    let (message, received_chunks) = (message.to_owned(), from.u32("received_chunks")?);
    let missing_chunks = read_numbers(&mut from, "missing_chunks", MISSING_LISTED)?;
    Ok(LtpAck { header, success, message, received_chunks, missing_chunks })
}

/// Writes a `Tensor`.
pub fn tensor(tensor: &Tensor, memory: Vec<u8>) -> Vec<u8> {
    let (code, bits, lanes) = tensor.dtype().to_dlpack();
    let (seconds, nanoseconds) = tensor.stamp().to_parts();
    let mut to = CdrWriter::over(memory);
    to.i32(seconds).u32(nanoseconds).text(tensor.frame_id()).text(tensor.name());
    to.u8(code).u8(bits).u16(lanes);
    let shape: Vec<u8> = tensor.shape().iter().flat_map(|&extent| i64::from(extent).to_le_bytes()).collect();
    to.sequence(&shape, 8).sequence(&[], 8).u64(0).sequence(tensor.data(), 1);
    to.finish()
}

/// Reads a `Tensor`.
///
/// # Errors
/// [`ReadError`].
pub fn read_tensor(bytes: Vec<u8>) -> Result<Tensor, ReadError> {
    let mut from = CdrReader::new(&bytes)?;
    let stamp = ecps_core::clock::Stamp::from_parts(from.i32("header.stamp.sec")?, from.u32("header.stamp.nanosec")?);
    let (frame_id, name) = (from.text("header.frame_id")?.to_owned(), from.text("name")?.to_owned());
    let (code, bits, lanes) = (from.u8("dtype_code")?, from.u8("dtype_bits")?, from.u16("dtype_lanes")?);
    let dtype = DType::from_dlpack(code, bits, lanes)?;
    let mut longs = |field| {
        let bytes = from.sequence(field, 8)?;
        check::at_most(field, bytes.len() / 8, limits::TENSOR_DIMENSIONS, "dimensions")?;
        let longs = bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect::<Vec<i64>>();
        Ok::<_, ReadError>(longs)
    };
    let (shape, strides) = (longs("shape")?, longs("strides")?);
    let byte_offset = from.u64("byte_offset")?;
    let length = from.count("data", 1)?;
    let start = from.position();
    let data = Piece::of(bytes, start..start + length).into_vec();
    Ok(Tensor::from_strided(&name, dtype, &shape, &strides, byte_offset, data)?.in_frame(&frame_id)?.at(stamp))
}

/// Where the payload lies.
fn payload(from: &mut CdrReader<'_>, field: &'static str) -> Result<Range<usize>, ReadError> {
    let length = from.count(field, 1)?;
    check::at_most(field, length, limits::LTP_FRAME_BYTES, "bytes")?;
    let start = from.position();
    from.elements(field, length, 1)?;
    Ok(start..start + length)
}

fn write_header(to: &mut CdrWriter, header: &LtpFrameHeader) {
    to.u32(header.version).u32(header.message_type).u32(header.payload_length).u32(header.sequence_number);
    to.u32(header.total_chunks).u32(header.chunk_index).sequence(&header.checksum, 1);
    write_map(to, &header.metadata);
}

fn read_header(from: &mut CdrReader<'_>) -> Result<LtpFrameHeader, ReadError> {
    Ok(LtpFrameHeader {
        version: from.u32("header.version")?,
        message_type: from.u32("header.message_type")?,
        payload_length: from.u32("header.payload_length")?,
        sequence_number: from.u32("header.sequence_number")?,
        total_chunks: from.u32("header.total_chunks")?,
        chunk_index: from.u32("header.chunk_index")?,
        checksum: from.sequence("header.checksum", 1)?.to_vec(),
        metadata: read_map(from, "header.metadata")?,
    })
}

fn write_map(to: &mut CdrWriter, map: &BTreeMap<String, String>) {
    to.u32(map.len() as u32);
    for (key, value) in map {
        to.text(key).text(value);
    }
}

fn read_map(from: &mut CdrReader<'_>, field: &'static str) -> Result<BTreeMap<String, String>, ReadError> {
    let count = from.count(field, 8)?;
    check::at_most(field, count, limits::MAP_ENTRIES, "entries")?;
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let (key, value) = (from.text(field)?, from.text(field)?);
        check::at_most(field, key.len().max(value.len()), limits::MAP_STRING_BYTES, "bytes in a key or value")?;
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

fn write_numbers(to: &mut CdrWriter, numbers: &[u32]) {
    to.u32(numbers.len() as u32);
    for number in numbers {
        to.u32(*number);
    }
}

fn read_numbers(from: &mut CdrReader<'_>, field: &'static str, limit: usize) -> Result<Vec<u32>, ReadError> {
    let bytes = from.sequence(field, 4)?;
    check::at_most(field, bytes.len() / 4, limit, "elements")?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{MaxFrame, Parcel};
    use crate::codec;
    use crate::compression::Compression;

    #[test]
    fn a_chunk_in_memory_of_a_fixed_size_is_the_same_message() {
        let tensor = Tensor::new("camera", DType::U8, vec![9000], (0..9000_u32).map(|i| i as u8).collect()).unwrap();
        let frame = codec::encode(&tensor, Compression::NONE, 7).unwrap();
        let parcel = Parcel::new(frame, MaxFrame::new(4096).unwrap()).unwrap();
        for index in 0..parcel.packets() {
            let packet = parcel.packet(index).unwrap();
            let (written, parts) = (super::packet(&packet, Vec::new()), ChunkParts::of(&packet).unwrap());
            let mut memory = vec![0xEE; parts.bytes() + 3];
            assert!(parts.write(&mut memory));
            assert_eq!(memory[..parts.bytes()], written[..]);
            assert_eq!(memory[parts.bytes()..], [0xEE; 3]);
            assert!((0..parts.bytes()).all(|short| !parts.write(&mut memory[..short])));
            let (lent, own) = (read_chunk(&written[..]).unwrap(), read_chunk(written.clone()).unwrap());
            assert_eq!(lent.piece.bytes(), own.piece.bytes());
            assert_eq!(lent.piece.into_vec(), own.piece.into_vec());
        }
    }
}
