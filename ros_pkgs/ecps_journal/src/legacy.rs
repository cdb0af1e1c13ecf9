//! Versions 1.0, 1.1, 2.0 and 2.1: serialised `EAP` messages, each after its length, and in all but 1.0 a JSON header. They
//! have no checksums, whatever their headers say: what is whole and decodes passes, and nobody can tell more.

mod header;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ecps_core::wire::proto::Eap;
use prost::Message as _;
use thiserror::Error;

pub use header::{Header, HeaderError};

use crate::format::MAGIC;
use crate::packed::MAGIC as PACKED_MAGIC;

/// Longest record that is read, bytes: an action has at most 256 KiB.
pub const RECORD_BYTES: usize = 1 << 19;
/// Longest header that is taken for one, bytes.
const HEADER_BYTES: usize = 1 << 20;

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Records alone.
    V1_0,
    /// With a header.
    V1_1,
    /// As 1.1.
    V2_0,
    /// As 1.1.
    V2_1,
    /// This library's own.
    V3_0,
}

impl Version {
    /// Every version, the oldest first.
    pub const ALL: [Version; 5] = [Version::V1_0, Version::V1_1, Version::V2_0, Version::V2_1, Version::V3_0];

    /// As in a header.
    pub fn name(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V2_0 => "2.0",
            Version::V2_1 => "2.1",
            Version::V3_0 => "3.0",
        }
    }

    /// The version after it.
    pub fn next(self) -> Option<Version> {
        Version::ALL.into_iter().find(|later| *later > self)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// No version has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no version '{0}' of .eaplog; there are 1.0, 1.1, 2.0, 2.1 and 3.0")]
pub struct NoSuchVersion(
    /// The name, cut at 32 characters.
    pub String,
);

impl std::str::FromStr for Version {
    type Err = NoSuchVersion;

    fn from_str(name: &str) -> Result<Version, NoSuchVersion> {
        let found = Version::ALL.into_iter().find(|version| version.name() == name);
        found.ok_or_else(|| NoSuchVersion(name.chars().take(32).collect()))
    }
}

/// Why an old file cannot be read.
#[derive(Debug, Error)]
pub enum LegacyError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A version 3 file, or a folder of such.
    #[error("this is not an old version: it begins as version 3.0 does")]
    NotLegacy,
    /// A header that cannot be.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// What is wrong with an old file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LegacyFlaw {
    /// The last record is not whole.
    #[error("record {index} at byte {offset} is cut: {lost} bytes are lost")]
    Torn {
        /// Which, from 0.
        index: u64,
        /// Where its length is.
        offset: u64,
        /// Bytes from there to the end.
        lost: u64,
    },
    /// A length that no action has; where the next record begins cannot be told.
    #[error(
        "record {index} at byte {offset} claims {length} bytes, outside 1 to {RECORD_BYTES}; the {lost} bytes from there are lost"
    )]
    Length {
        /// Which, from 0.
        index: u64,
        /// Where its length is.
        offset: u64,
        /// What it claims.
        length: u32,
        /// Bytes from there to the end.
        lost: u64,
    },
    /// Bytes that are no action. They are handed out as they are, and reading goes on.
    #[error("record {index} at byte {offset} is no EAP message")]
    NotAnAction {
        /// Which, from 0.
        index: u64,
        /// Where its length is.
        offset: u64,
    },
}

impl LegacyFlaw {
    /// Bytes that could not be read.
    pub fn lost_bytes(&self) -> u64 {
        match self {
            LegacyFlaw::Torn { lost, .. } | LegacyFlaw::Length { lost, .. } => *lost,
            LegacyFlaw::NotAnAction { .. } => 0,
        }
    }
}

/// A record of an old file.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyRecord {
    /// Which, from 0.
    pub index: u64,
    /// Where its length is, bytes.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The action; none where the bytes are none.
    pub action: Option<Eap>,
}

/// An old file being read.
#[derive(Debug)]
pub struct LegacyReader {
    input: BufReader<File>,
    header: Option<Header>,
    version: Version,
    size: u64,
    offset: u64,
    index: u64,
    flaw: Option<LegacyFlaw>,
    ended: bool,
}

/// Version of the file at `path`, a folder being 3.0.
pub fn version(path: &Path) -> Result<Version, LegacyError> {
    if std::fs::metadata(path)?.is_dir() {
        return Ok(Version::V3_0);
    }
    match LegacyReader::open(path) {
        Ok(reader) => Ok(reader.version()),
        Err(LegacyError::NotLegacy) => Ok(Version::V3_0),
        Err(error) => Err(error),
    }
}

impl LegacyReader {
    /// Opens a file. If its first `u32` L fits it and the L bytes after are JSON with the magic, they are its header; else it
    /// is 1.0.
    pub fn open(path: &Path) -> Result<LegacyReader, LegacyError> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
        if start == MAGIC || start.starts_with(&PACKED_MAGIC) {
            return Err(LegacyError::NotLegacy);
        }
        let length = start.first_chunk().map_or(u64::MAX, |length| u32::from_le_bytes(*length).into());
        let mut header = None;
        if length <= HEADER_BYTES as u64 && length + 4 <= size {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(4))?;
            (&mut file).take(length).read_to_end(&mut bytes)?;
            header = Header::parse(&bytes)?;
        }
        let offset = if header.is_some() { length + 4 } else { 0 };
        file.seek(SeekFrom::Start(offset))?;
        let version = header.as_ref().map_or(Version::V1_0, Header::version);
        let input = BufReader::new(file);
        Ok(LegacyReader { input, header, version, size, offset, index: 0, flaw: None, ended: false })
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its header; none in 1.0.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The first thing that is wrong with what was read so far; a loss of bytes outweighs a record that is no action.
    pub fn flaw(&self) -> Option<&LegacyFlaw> {
        self.flaw.as_ref()
    }

    /// The next record; none at the end or where no further one can be found.
    pub fn read(&mut self) -> io::Result<Option<LegacyRecord>> {
        if self.ended || self.offset >= self.size {
            return Ok(None);
        }
        let (index, offset, lost) = (self.index, self.offset, self.size - self.offset);
        let mut length = [0; 4];
        if lost < 4 {
            return self.end(LegacyFlaw::Torn { index, offset, lost });
        }
        self.input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if u64::from(length) + 4 > lost {
            return self.end(LegacyFlaw::Torn { index, offset, lost });
        }
        if length == 0 || length as usize > RECORD_BYTES {
            return self.end(LegacyFlaw::Length { index, offset, length, lost });
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        self.index += 1;
        self.offset += 4 + u64::from(length);
        let action = Eap::decode(bytes.as_slice()).ok();
        if action.is_none() {
            self.flaw.get_or_insert(LegacyFlaw::NotAnAction { index, offset });
        }
        Ok(Some(LegacyRecord { index, offset, bytes, action }))
    }

    fn end(&mut self, flaw: LegacyFlaw) -> io::Result<Option<LegacyRecord>> {
        self.ended = true;
        self.flaw = Some(flaw);
        Ok(None)
    }
}

/// An old file being written, for tools that know no other.
#[derive(Debug)]
pub struct LegacyWriter(BufWriter<File>);

impl LegacyWriter {
    /// Makes a new file, of version 1.0 where there is no header.
    pub fn create(path: &Path, header: Option<&Header>) -> io::Result<LegacyWriter> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut writer = LegacyWriter(BufWriter::new(file));
        if let Some(header) = header {
            writer.write(header.text().as_bytes())?;
        }
        Ok(writer)
    }

    /// Writes a record, whose bytes an `EAP` message serialises to.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|length| (1..=RECORD_BYTES as u32).contains(length));
        let length = length.ok_or_else(|| {
            io::Error::other(format!("a record has {} bytes, and must have 1 to {RECORD_BYTES}", bytes.len()))
        })?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(bytes)
    }

    /// Brings it to the disk.
    pub fn finish(self) -> io::Result<()> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}
