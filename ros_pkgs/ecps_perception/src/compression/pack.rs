//! A tensor's bytes to a payload and back.
//!
//! | method | without shuffle | with a shuffle of N bytes |
//! |---|---|---|
//! | none | the bytes | – |
//! | zstd | one zstd frame | N zstd frames, one after another, a plane each |
//! | lz4 | one LZ4 block | N times a length (u32, little-endian) and an LZ4 block, a plane each |

use std::io::Cursor;

use lz4::block::{self, CompressionMode};
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};

use super::shuffle::{scatter, shuffle};
use super::{Compression, Level, Method, Shuffle};

/// Most bytes that one byte of zstd can become: its smallest block, 3 bytes of header and one of content, repeats that
/// byte for 128 KiB.
const ZSTD_MAX_RATIO: usize = 32 * 1024;
/// Most bytes that one byte of LZ4 can become: a run's length grows by 255 with each byte.
const LZ4_MAX_RATIO: usize = 255;
/// What one plane may need beyond its part of the whole's bound.
const PLANE_ROOM: usize = 512;

/// Why bytes could not be packed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackError {
    /// A compressor failed.
    #[error("{method} could not compress the tensor: {reason}")]
    Compressor {
        /// Which.
        method: &'static str,
        /// What it said.
        reason: String,
    },
    /// A shuffle that does not divide the bytes.
    #[error("a shuffle of {width} bytes does not divide a tensor of {size} bytes")]
    Width {
        /// Its width.
        width: u8,
        /// Bytes of the tensor.
        size: usize,
    },
}

/// Why a payload could not be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnpackError {
    /// More than the method can possibly make of so few bytes.
    #[error("{compressed} compressed bytes cannot become the {announced} bytes announced")]
    ImpossibleRatio {
        /// Bytes there are.
        compressed: usize,
        /// Bytes announced.
        announced: usize,
    },
    /// A shuffle that does not divide the bytes.
    #[error("a shuffle of {width} bytes does not divide a tensor of {size} bytes")]
    Width {
        /// Its width.
        width: u8,
        /// Bytes of the tensor.
        size: usize,
    },
    /// Not what the method makes, cut short, or more than was announced (a bomb).
    #[error("{method} refused the payload, which must become {expected} bytes: {reason}")]
    Refused {
        /// Which.
        method: &'static str,
        /// Bytes needed.
        expected: usize,
        /// What it said.
        reason: String,
    },
    /// Less than was announced.
    #[error("the payload became {found} bytes, and {expected} were announced")]
    Length {
        /// Bytes it became.
        found: usize,
        /// Bytes announced.
        expected: usize,
    },
}

/// Packs one payload after another, and keeps the compressors' memory between them.
#[derive(Default)]
pub struct Packer {
    zstd: Option<(Level, Compressor<'static>)>,
    shuffled: Vec<u8>,
    /// Where LZ4 writes.
    packed: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("level", &self.zstd.as_ref().map(|(level, _)| level)).finish_non_exhaustive()
    }
}

impl Packer {
    /// Packs `data`; a shuffle by [`Shuffle::Element`] must have become one by a width.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn pack(&mut self, data: &[u8], compression: Compression) -> Result<Vec<u8>, PackError> {
        let Shuffle::Width(width) = compression.shuffle else {
            return match compression.method {
                Method::None => Ok(data.to_vec()),
                Method::Zstd(level) => {
                    let mut payload = Cursor::new(Vec::new());
                    self.zstd(data, level, &mut payload)?;
                    Ok(payload.into_inner())
                }
                Method::Lz4 => self.lz4(data).map(<[u8]>::to_vec),
            };
        };
        if !data.len().is_multiple_of(usize::from(width)) {
            return Err(PackError::Width { width, size: data.len() });
        }
        let mut shuffled = std::mem::take(&mut self.shuffled);
        shuffle(data, usize::from(width), &mut shuffled);
        let mut payload = Cursor::new(Vec::with_capacity(
            zstd::zstd_safe::compress_bound(data.len()) + usize::from(width) * PLANE_ROOM,
        ));
        let plane = data.len() / usize::from(width);
        let result = shuffled.chunks(plane.max(1)).try_for_each(|plane| {
            match compression.method {
                Method::Zstd(level) => self.zstd(plane, level, &mut payload)?,
                Method::Lz4 => {
                    let block = self.lz4(plane)?;
                    let payload = payload.get_mut();
                    payload.extend_from_slice(&(block.len() as u32).to_le_bytes()); // a tensor has at most 256 MiB
                    payload.extend_from_slice(block);
                }
                Method::None => payload.get_mut().extend_from_slice(plane),
            }
            Ok(())
        });
        self.shuffled = shuffled;
        result.map(|()| payload.into_inner())
    }

    /// Compresses to the payload's end, without a place between.
    fn zstd(&mut self, data: &[u8], level: Level, payload: &mut Cursor<Vec<u8>>) -> Result<(), PackError> {
        let failed = |error: std::io::Error| PackError::Compressor { method: "zstd", reason: error.to_string() };
        let (_, compressor) = match self.zstd.take().filter(|(kept, _)| *kept == level) {
            Some(kept) => self.zstd.insert(kept),
            None => {
                let compressor = Compressor::new(i32::from(level.number())).map_err(failed)?;
                self.zstd.insert((level, compressor))
            }
        };
        payload.get_mut().reserve(zstd::zstd_safe::compress_bound(data.len()));
        payload.set_position(payload.get_ref().len() as u64);
        compressor.compress_to_buffer(data, payload).map(drop).map_err(failed)
    }

    fn lz4(&mut self, data: &[u8]) -> Result<&[u8], PackError> {
        let failed = |error: std::io::Error| PackError::Compressor { method: "LZ4", reason: error.to_string() };
        let bound = block::compress_bound(data.len()).map_err(failed)?;
        if self.packed.len() < bound {
            self.packed.resize(bound, 0);
        }
        let length =
            block::compress_to_buffer(data, Some(CompressionMode::DEFAULT), false, &mut self.packed).map_err(failed)?;
        Ok(self.packed.get(..length).unwrap_or_default())
    }
}

/// Whether so few bytes can become so many: asked before anything is allocated.
pub(crate) fn plausible(compression: Compression, compressed: usize, size: usize) -> Result<(), UnpackError> {
    let ratio = match compression.method {
        Method::None => 1,
        Method::Zstd(_) => ZSTD_MAX_RATIO,
        Method::Lz4 => LZ4_MAX_RATIO,
    };
    if size > compressed.saturating_mul(ratio) {
        return Err(UnpackError::ImpossibleRatio { compressed, announced: size });
    }
    Ok(())
}

/// Unpacks into exactly `size` bytes. What would become more is refused at that limit.
pub(crate) fn unpack(payload: Vec<u8>, compression: Compression, size: usize) -> Result<Vec<u8>, UnpackError> {
    plausible(compression, payload.len(), size)?;
    let Shuffle::Width(width) = compression.shuffle else {
        let data = match compression.method {
            Method::None => payload,
            Method::Zstd(_) => zstd::bulk::decompress(&payload, size).map_err(|e| refused("zstd", size, &e))?,
            Method::Lz4 => {
                let mut data = vec![0; size];
                let length = lz4_into(&payload, &mut data)?;
                data.truncate(length);
                data
            }
        };
        return exactly(data.len(), size).map(|()| data);
    };
    let divisor = usize::from(width);
    if !size.is_multiple_of(divisor) {
        return Err(UnpackError::Width { width, size });
    }
    if size == 0 && payload.is_empty() {
        return Ok(payload);
    }
    let length = size / divisor;
    let (mut data, mut plane, mut rest) = (vec![0; size], vec![0; length], payload.as_slice());
    let mut decompressor = Decompressor::new().map_err(|e| refused("zstd", size, &e))?;
    for byte in 0..divisor {
        let packed;
        let found = match compression.method {
            Method::Zstd(_) => {
                let end = zstd::zstd_safe::find_frame_compressed_size(rest)
                    .map_err(|code| other("zstd", length, zstd::zstd_safe::get_error_name(code)))?;
                (packed, rest) = rest.split_at_checked(end).ok_or_else(|| other("zstd", length, "it is cut short"))?;
                decompressor
                    .decompress_to_buffer(packed, plane.as_mut_slice())
                    .map_err(|e| refused("zstd", length, &e))?
            }
            Method::Lz4 | Method::None => {
                let cut_short = || other("LZ4", length, "it is cut short");
                let (bytes, after) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
                let end = u32::from_le_bytes(*bytes) as usize;
                (packed, rest) = after.split_at_checked(end).ok_or_else(cut_short)?;
                lz4_into(packed, &mut plane)?
            }
        };
        exactly(found, length)?;
        scatter(&plane, byte, divisor, &mut data);
    }
    if !rest.is_empty() {
        return Err(other("the shuffle", size, &format!("{} bytes come after its last plane", rest.len())));
    }
    Ok(data)
}

fn lz4_into(packed: &[u8], data: &mut [u8]) -> Result<usize, UnpackError> {
    let expected = data.len();
    if expected == 0 {
        return Ok(0); // an empty block is one zero byte, or none
    }
    let size = i32::try_from(expected).map_err(|_| other("LZ4", expected, "it is too large"))?;
    block::decompress_to_buffer(packed, Some(size), data).map_err(|e| refused("LZ4", expected, &e))
}

fn exactly(found: usize, expected: usize) -> Result<(), UnpackError> {
    if found == expected { Ok(()) } else { Err(UnpackError::Length { found, expected }) }
}

fn refused(method: &'static str, expected: usize, error: &std::io::Error) -> UnpackError {
    other(method, expected, &error.to_string())
}

fn other(method: &'static str, expected: usize, reason: &str) -> UnpackError {
    UnpackError::Refused { method, expected, reason: reason.to_owned() }
}
