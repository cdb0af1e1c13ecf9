//! A journal put together again.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ecps_journal::format::{Digest, Header, PAYLOAD_BYTES, Superblock, digest, encode_record, record_digest};

use super::super::{EaplogError, new_file};

/// A folder of segments being written.
pub(super) struct Rebuild {
    folder: PathBuf,
    current: Option<(PathBuf, BufWriter<File>)>,
    previous: Digest,
    records: u64,
}

impl Rebuild {
    /// In a new folder.
    pub(super) fn create(folder: &Path) -> Result<Rebuild, EaplogError> {
        std::fs::create_dir(folder).map_err(EaplogError::file(folder))?;
        Ok(Rebuild { folder: folder.to_owned(), current: None, previous: [0; 32], records: 0 })
    }

    /// Begins a segment.
    pub(super) fn superblock(&mut self, bytes: &[u8]) -> Result<(), EaplogError> {
        self.close()?;
        let head = Superblock::decode(bytes).map_err(|error| EaplogError::content(&self.folder, error))?;
        let path = self.folder.join(format!("{:06}.eaplog", head.segment));
        let mut file = new_file(&path)?;
        file.write_all(bytes).map_err(EaplogError::file(&path))?;
        self.previous = digest(bytes);
        self.current = Some((path, file));
        Ok(())
    }

    /// Adds a record, after the last.
    pub(super) fn record(&mut self, header: Header, payload: &[u8]) -> Result<(), EaplogError> {
        if payload.len() > PAYLOAD_BYTES {
            let text = format!(
                "record {} has {} bytes, more than the {PAYLOAD_BYTES} allowed",
                header.sequence,
                payload.len()
            );
            return Err(EaplogError::content(&self.folder, text));
        }
        let bytes = encode_record(Header { previous: self.previous, ..header }, payload);
        self.previous = record_digest(&bytes);
        self.records += 1;
        self.write(&bytes)
    }

    /// Ends a segment.
    pub(super) fn footer(&mut self, bytes: &[u8]) -> Result<(), EaplogError> {
        self.write(bytes)?;
        self.close()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EaplogError> {
        let Some((path, file)) = &mut self.current else {
            return Err(EaplogError::content(&self.folder, "a record or footer comes before any superblock"));
        };
        file.write_all(bytes).map_err(EaplogError::file(path))
    }

    fn close(&mut self) -> Result<(), EaplogError> {
        let Some((path, file)) = self.current.take() else { return Ok(()) };
        let failed = EaplogError::file(&path);
        file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(&failed)
    }

    /// Brings all to the disk; records written.
    pub(super) fn finish(mut self) -> Result<u64, EaplogError> {
        self.close()?;
        Ok(self.records)
    }
}
