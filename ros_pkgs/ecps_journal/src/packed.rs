//! Segments that nothing is appended to any more, compressed: the bytes of a segment in independent zstd frames, and behind
//! them the table of zstd's seekable format, so that `zstd -d` gives the segment back, and a reader can begin anywhere.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take, Write};

use zstd::stream::read::Decoder;

use crate::window::fill_up;

/// How a zstd frame begins.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a segment in one frame, except in the last.
const FRAME_BYTES: usize = 1 << FRAME_LOG;
const FRAME_LOG: u32 = 18;
/// zstd's own default.
const LEVEL: i32 = 3;
/// How the skippable frame with the table begins, and how it ends.
const TABLE_MAGIC: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();
const SEEKABLE_MAGIC: [u8; 4] = 0x8f92_eab1_u32.to_le_bytes();
/// Bytes of the table before its entries: magic, length; of an entry; and after the last: count, descriptor, magic.
const TABLE_HEAD: u64 = 8;
const ENTRY: u64 = 8;
const TABLE_TAIL: u64 = 9;

/// Compresses all of `input`.
pub(crate) fn pack(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let (mut entries, mut chunk) = (Vec::new(), vec![0; FRAME_BYTES]);
    loop {
        let size = fill_up(input, &mut chunk)?;
        if size == 0 {
            break;
        }
        let frame = compressor.compress(chunk.get(..size).unwrap_or_default())?;
        output.write_all(&frame)?;
        entries.extend((frame.len() as u32).to_le_bytes());
        entries.extend((size as u32).to_le_bytes());
    }
    let count = entries.len() as u64 / ENTRY;
    output.write_all(&TABLE_MAGIC)?;
    output.write_all(&((entries.len() as u64 + TABLE_TAIL) as u32).to_le_bytes())?;
    output.write_all(&entries)?;
    output.write_all(&(count as u32).to_le_bytes())?;
    output.write_all(&[0])?;
    output.write_all(&SEEKABLE_MAGIC)
}

/// Where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    packed: u64,
    plain: u64,
}

/// Where all frames begin, and where the last ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    frames: Vec<Frame>,
    end: Frame,
}

impl Table {
    /// Reads the table at the end of a file; none where it is damaged or missing. Allocates what the file has.
    fn read(file: &mut File) -> io::Result<Option<Table>> {
        let size = file.metadata()?.len();
        let mut tail = [0; TABLE_TAIL as usize];
        let Some(at) = size.checked_sub(TABLE_TAIL) else { return Ok(None) };
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut tail)?;
        let Some((count, rest)) = tail.split_first_chunk::<4>() else { return Ok(None) };
        let entries = u64::from(u32::from_le_bytes(*count)) * ENTRY;
        let Some(begin) =
            at.checked_sub(entries + TABLE_HEAD).filter(|_| rest.strip_prefix(&[0]) == Some(&SEEKABLE_MAGIC))
        else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = vec![0; (TABLE_HEAD + entries) as usize];
        file.read_exact(&mut bytes)?;
        let Some((head, bytes)) = bytes.split_first_chunk::<{ TABLE_HEAD as usize }>() else { return Ok(None) };
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if !head.starts_with(&TABLE_MAGIC) || u64::from(length) != entries + TABLE_TAIL {
            return Ok(None);
        }
        let (mut frames, mut end) = (Vec::with_capacity(bytes.len() / ENTRY as usize), Frame { packed: 0, plain: 0 });
        for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<{ ENTRY as usize }>().0 {
            frames.push(end);
            end.packed += u64::from(u32::from_le_bytes([a, b, c, d]));
            end.plain += u64::from(u32::from_le_bytes([e, f, g, h]));
        }
        Ok((end.packed == begin).then_some(Table { frames, end }))
    }
}

/// A compressed segment being read. Bytes that cannot be uncompressed are an error of kind [`io::ErrorKind::InvalidData`],
/// after all that could; the file's end within a frame is an end.
pub(crate) struct Packed {
    decoder: Decoder<'static, BufReader<Take<File>>>,
    file: File,
    table: Option<Table>,
    /// Offset in the segment of the next byte.
    at: u64,
    ended: bool,
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn decoder(file: &File, from: u64, size: u64) -> io::Result<Decoder<'static, BufReader<Take<File>>>> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(from))?;
    let mut decoder = Decoder::with_buffer(BufReader::new(file.take(size)))?;
    // What a frame may ask of memory.
    decoder.window_log_max(FRAME_LOG)?;
    Ok(decoder)
}

impl Packed {
    pub(crate) fn open(mut file: File) -> io::Result<Packed> {
        let table = Table::read(&mut file)?;
        let end = table.as_ref().map_or(u64::MAX, |table| table.end.packed);
        Ok(Packed { decoder: decoder(&file, 0, end)?, file, table, at: 0, ended: false })
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        match self.decoder.read(buffer) {
            Ok(0) => {
                self.ended = true;
                match &self.table {
                    Some(table) if table.end.plain == self.at => Ok(0),
                    _ => Err(damaged("the table behind its frames is damaged or missing")),
                }
            }
            Ok(read) => {
                self.at += read as u64;
                Ok(read)
            }
            // Cut: what there is of it was read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.ended = true;
                Ok(0)
            }
            Err(error) if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.ended = true;
                Err(damaged(error))
            }
        }
    }
}

impl Seek for Packed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.table.as_ref().map(|table| table.end);
        let offset = match (to, end) {
            (SeekFrom::Start(offset), _) => Some(offset),
            (SeekFrom::Current(by), _) => self.at.checked_add_signed(by),
            (SeekFrom::End(by), Some(end)) => end.plain.checked_add_signed(by),
            (SeekFrom::End(_), None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        let begin = self.table.as_ref().and_then(|table| {
            table.frames.iter().take(table.frames.partition_point(|frame| frame.plain <= offset)).next_back()
        });
        let Frame { packed, plain } = begin.copied().unwrap_or(Frame { packed: 0, plain: 0 });
        let size = end.map_or(u64::MAX, |end| end.packed.saturating_sub(packed));
        (self.decoder, self.at, self.ended) = (decoder(&self.file, packed, size)?, plain, false);
        io::copy(&mut self.take(offset.saturating_sub(plain)), &mut io::sink())?;
        Ok(self.at)
    }
}
