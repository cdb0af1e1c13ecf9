//! ROS messages as they lie in DDS (CDR, the OMG's Common Data Representation, version 1), read and written without the
//! generated types and the two copies that those cost.
//!
//! Nothing is read beyond the message, and no size in it is believed beyond what is there: whatever a message claims, no
//! more is allocated than it has bytes.

use thiserror::Error;

pub mod wire;

/// Before the message: little-endian CDR, no options.
const ENCAPSULATION: [u8; 4] = [0, 1, 0, 0];

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CdrError {
    /// Another encoding than little-endian CDR.
    #[error("the message begins with {0:02x?}, and little-endian CDR with [00, 01]")]
    Encapsulation(Vec<u8>),
    /// It ends too early.
    #[error("{field} needs {needed} bytes at byte {at} of the message, and {left} are left")]
    Short {
        /// What was to be read.
        field: &'static str,
        /// Where, in bytes.
        at: usize,
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Text without its end, or not UTF-8.
    #[error("{0} is not UTF-8 whose first zero byte is its last")]
    Text(&'static str),
}

/// Reads a message field by field.
#[derive(Debug, Clone)]
pub struct CdrReader<'a> {
    body: &'a [u8],
    at: usize,
}

macro_rules! numbers {
    ($($name:ident),*) => {
        /// Numbers, each aligned to its size.
        #[allow(missing_docs)]
        impl CdrReader<'_> {
            $(pub fn $name(&mut self, field: &'static str) -> Result<$name, CdrError> {
                Ok($name::from_le_bytes(self.array(field)?))
            })*
        }

        /// Numbers, each aligned to its size.
        #[allow(missing_docs)]
        impl CdrWriter {
            $(pub fn $name(&mut self, value: $name) -> &mut CdrWriter {
                self.align(size_of::<$name>());
                self.bytes.extend_from_slice(&value.to_le_bytes());
                self
            })*
        }
    };
}

numbers!(u8, i8, u16, u32, i32, u64, i64, f32, f64);

impl<'a> CdrReader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`CdrError::Encapsulation`].
    pub fn new(bytes: &'a [u8]) -> Result<CdrReader<'a>, CdrError> {
        match bytes.split_at_checked(ENCAPSULATION.len()) {
            Some(([0, 1, ..], body)) => Ok(CdrReader { body, at: 0 }),
            _ => Err(CdrError::Encapsulation(bytes.iter().take(2).copied().collect())),
        }
    }

    fn take(&mut self, field: &'static str, count: usize, align: usize) -> Result<&'a [u8], CdrError> {
        let at = self.at.next_multiple_of(align.max(1));
        let end = at.saturating_add(count);
        let left = self.body.len().saturating_sub(at);
        let bytes = self.body.get(at..end).ok_or(CdrError::Short { field, at, needed: count, left })?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CdrError> {
        let bytes = self.take(field, N, N)?;
        Ok(<[u8; N]>::try_from(bytes).unwrap_or([0; N]))
    }

    /// A boolean.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, CdrError> {
        Ok(self.u8(field)? != 0)
    }

    /// Text.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, CdrError> {
        let length = self.u32(field)? as usize;
        let bytes = self.take(field, length, 1)?;
        let text = match bytes {
            [] => bytes,
            // What comes after another zero byte would not come back.
            [text @ .., 0] if !text.contains(&0) => text,
            _ => return Err(CdrError::Text(field)),
        };
        std::str::from_utf8(text).map_err(|_| CdrError::Text(field))
    }

    /// How many elements follow, each of at least `least` bytes.
    pub fn count(&mut self, field: &'static str, least: usize) -> Result<usize, CdrError> {
        let count = self.u32(field)? as usize;
        let (left, needed) = (self.body.len() - self.at, count.saturating_mul(least));
        if needed > left {
            return Err(CdrError::Short { field, at: self.at, needed, left });
        }
        Ok(count)
    }

    /// A sequence of elements of `size` bytes each, as bytes.
    pub fn sequence(&mut self, field: &'static str, size: usize) -> Result<&'a [u8], CdrError> {
        let count = self.count(field, size)?;
        if count == 0 {
            return Ok(&[]);
        }
        self.take(field, count.saturating_mul(size), size)
    }

    /// So many elements of `size` bytes each, as bytes.
    pub fn elements(&mut self, field: &'static str, count: usize, size: usize) -> Result<&'a [u8], CdrError> {
        self.take(field, count.saturating_mul(size), size)
    }

    /// Where in the message the next byte is read.
    fn position(&self) -> usize {
        ENCAPSULATION.len() + self.at
    }
}

/// Writes a message field by field.
#[derive(Debug, Clone)]
pub struct CdrWriter {
    bytes: Vec<u8>,
}

impl CdrWriter {
    /// Begins a message of about `capacity` bytes.
    pub fn new(capacity: usize) -> CdrWriter {
        CdrWriter::over(Vec::with_capacity(capacity + 64))
    }

    /// Begins a message in memory that was used before.
    pub fn over(mut bytes: Vec<u8>) -> CdrWriter {
        bytes.clear();
        bytes.extend_from_slice(&ENCAPSULATION);
        CdrWriter { bytes }
    }

    fn align(&mut self, to: usize) {
        let body = self.bytes.len() - ENCAPSULATION.len();
        self.bytes.resize(ENCAPSULATION.len() + body.next_multiple_of(to), 0);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) -> &mut CdrWriter {
        self.u8(u8::from(value))
    }

    /// Text; what follows a zero byte in it is left out, since CDR ends there.
    pub fn text(&mut self, text: &str) -> &mut CdrWriter {
        let text = text.split('\0').next().unwrap_or_default();
        self.u32(text.len() as u32 + 1);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self
    }

    /// A sequence of elements of `size` bytes each.
    pub fn sequence(&mut self, data: &[u8], size: usize) -> &mut CdrWriter {
        self.u32((data.len() / size.max(1)) as u32);
        if !data.is_empty() {
            self.elements(data, size);
        }
        self
    }

    /// Elements of `size` bytes each, without their count.
    pub fn elements(&mut self, data: &[u8], size: usize) -> &mut CdrWriter {
        self.align(size.max(1));
        self.bytes.extend_from_slice(data);
        self
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
