//! The bytes of a segment, whether its file is as it was written or compressed since.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::packed::{MAGIC, Packed};
use crate::window::fill_up;

/// A segment's file, opened for reading.
pub struct Input(Kind);

enum Kind {
    Plain(File),
    // Large, and there are few.
    Packed(Box<Packed>),
}

impl Input {
    /// Opens a segment. Where it is not there, it may have been compressed a moment ago, to the same name and `.zst`.
    pub fn open(path: &Path) -> io::Result<Input> {
        let mut file = File::open(path).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            let mut packed = OsString::from(path);
            packed.push(".zst");
            File::open(packed).map_err(|_| error)
        })?;
        let mut start = [0; MAGIC.len()];
        let size = fill_up(&mut file, &mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let packed = size == start.len() && start == MAGIC;
        Ok(Input(if packed { Kind::Packed(Box::new(Packed::open(file)?)) } else { Kind::Plain(file) }))
    }

    /// Whether the file is compressed.
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Kind::Packed(_))
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("packed", &self.is_packed()).finish_non_exhaustive()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(file) => file.read(buffer),
            Kind::Packed(packed) => packed.read(buffer),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Kind::Plain(file) => file.seek(to),
            Kind::Packed(packed) => packed.seek(to),
        }
    }
}
