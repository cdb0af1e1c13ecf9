//! How a tensor's bytes are made smaller: not at all, with zstd or with LZ4, each with or without a byte shuffle before.
//!
//! The shuffle puts the first bytes of all elements together, then the second ones, and so on: exponents of neighbouring
//! floats resemble one another, their last bytes do not. Each such plane is compressed by itself, so that noise costs
//! next to nothing and does not spoil the rest (the idea of Blosc's and HDF5's shuffle filters).
//!
//! ```
//! use ecps_perception::compression::Compression;
//!
//! let compression: Compression = "zstd:1+shuffle".parse()?;
//! assert_eq!(compression.to_string(), "zstd:1+shuffle");
//! assert!("zstd:23".parse::<Compression>().is_err());
//! # Ok::<(), ecps_perception::compression::UnknownCompression>(())
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

mod auto;
mod pack;
mod shuffle;

pub use auto::{Auto, LOCAL_BYTES_PER_SECOND};
pub use pack::{PackError, Packer, UnpackError};

pub(crate) use pack::{plausible, unpack};

/// Key in `header.metadata` of how the payload was packed; plain zstd where it is missing.
pub const COMPRESSION_KEY: &str = "compression";
/// Widest element that is shuffled, bytes; a point of a cloud may have as many.
pub const WIDEST_SHUFFLE: u8 = 64;

/// How hard zstd tries: 1 (fast) to 22 (small); 3 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u8);

impl Default for Level {
    fn default() -> Level {
        Level(3)
    }
}

impl Level {
    /// zstd's fastest level that the protocol knows.
    pub const FASTEST: Level = Level(1);

    /// Refuses what is not 1 to 22.
    ///
    /// # Errors
    /// [`UnknownCompression`].
    pub fn new(level: i64) -> Result<Level, UnknownCompression> {
        match u8::try_from(level) {
            Ok(value @ 1..=22) => Ok(Level(value)),
            _ => Err(UnknownCompression(format!("zstd:{level}"))),
        }
    }

    /// As the wire has it.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// What makes bytes fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing: the payload is the tensor's bytes.
    None,
    /// zstd.
    Zstd(Level),
    /// LZ4, block format.
    Lz4,
}

/// Whether bytes are reordered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    /// They stay as they are.
    No,
    /// By the size of the tensor's element; for elements of one byte, by the last dimension (the bytes of a point).
    Element,
    /// By this many bytes, 2 to [`WIDEST_SHUFFLE`].
    Width(u8),
}

/// A method and a shuffle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// What makes bytes fewer.
    pub method: Method,
    /// What is done to them before.
    pub shuffle: Shuffle,
}

impl Default for Compression {
    /// zstd level 3, as the protocol has it.
    fn default() -> Compression {
        Compression::new(Method::Zstd(Level::default()), Shuffle::No)
    }
}

impl Compression {
    /// No compression.
    pub const NONE: Compression = Compression::new(Method::None, Shuffle::No);

    /// A method with a shuffle.
    pub const fn new(method: Method, shuffle: Shuffle) -> Compression {
        Compression { method, shuffle }
    }

    /// `compression_level` on the wire: that of plain zstd, and 0 for all else, so that nobody who overlooks the name under
    /// [`COMPRESSION_KEY`] takes it for plain zstd.
    pub fn wire_level(self) -> u32 {
        match (self.method, self.shuffle) {
            (Method::Zstd(level), Shuffle::No) => u32::from(level.0),
            _ => 0,
        }
    }

    /// The value under [`COMPRESSION_KEY`]; none for plain zstd, which every reader of the protocol knows.
    pub(crate) fn wire_name(self) -> Option<String> {
        (self.wire_level() == 0).then(|| self.to_string())
    }

    /// From `compression_level` and the value under [`COMPRESSION_KEY`].
    pub(crate) fn from_wire(level: u32, name: Option<&str>) -> Result<Compression, UnknownCompression> {
        let unknown = || UnknownCompression(format!("{} with level {level}", cut(name.unwrap_or("zstd"))));
        let Some(name) = name else {
            let level = Level::new(i64::from(level)).map_err(|_| unknown())?;
            return Ok(Compression::new(Method::Zstd(level), Shuffle::No));
        };
        let compression: Compression = name.parse().map_err(|_| unknown())?;
        // On the wire a shuffle's width is a number.
        if level != 0 || compression.wire_level() != 0 || compression.shuffle == Shuffle::Element {
            return Err(unknown());
        }
        Ok(compression)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A compression that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the compression '{0}' is not known; known are none, zstd, zstd:1 to zstd:22, lz4, and the last two followed by \
     +shuffle or +shuffle:2 to +shuffle:{WIDEST_SHUFFLE}"
)]
pub struct UnknownCompression(pub String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Compression, UnknownCompression> {
        let unknown = || UnknownCompression(cut(text));
        let (method, shuffle) = match text.split_once('+') {
            Some((method, shuffle)) => (method, Some(shuffle)),
            None => (text, None),
        };
        let method = match (method, method.strip_prefix("zstd:")) {
            ("none", _) => Method::None,
            ("lz4", _) => Method::Lz4,
            ("zstd", _) => Method::Zstd(Level::default()),
            (_, Some(level)) => Method::Zstd(level.parse().ok().and_then(|n| Level::new(n).ok()).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        };
        let shuffle = match shuffle {
            None => Shuffle::No,
            Some("shuffle") => Shuffle::Element,
            Some(width) => match width.strip_prefix("shuffle:").and_then(|width| width.parse().ok()) {
                Some(width @ 2..=WIDEST_SHUFFLE) => Shuffle::Width(width),
                _ => return Err(unknown()),
            },
        };
        if method == Method::None && shuffle != Shuffle::No {
            return Err(unknown());
        }
        Ok(Compression { method, shuffle })
    }
}

struct Suffix(Shuffle);

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Shuffle::No => Ok(()),
            Shuffle::Element => f.write_str("+shuffle"),
            Shuffle::Width(width) => write!(f, "+shuffle:{width}"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::None => f.write_str("none")?,
            Method::Zstd(level) => write!(f, "zstd:{}", level.0)?,
            Method::Lz4 => f.write_str("lz4")?,
        }
        Suffix(self.shuffle).fmt(f)
    }
}

/// What a stream is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Always the same.
    Fixed(Compression),
    /// Whatever measures best on the stream's own tensors; see [`Auto`].
    Auto,
}

impl FromStr for Choice {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Choice, UnknownCompression> {
        if text == "auto" { Ok(Choice::Auto) } else { text.parse().map(Choice::Fixed) }
    }
}
