//! A segment of the log as a file with zeros in wait behind what was written, so that bringing a record to the disk changes
//! neither the file's size nor where its bytes are, and costs one write to the disk instead of one to the file system's
//! journal besides. Written zeros, since blocks that are merely allocated are marked as written in that journal, too.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ecps_journal::storage::{SegmentFile, Unwritten};

/// Files grow in steps of so many bytes.
const STEP: usize = 1 << 20;

pub(crate) struct ZeroedFile {
    file: File,
    folder: File,
    /// Whether the folder's entry for the file is on disk.
    entry: AtomicBool,
    /// Bytes that were appended, and that there are with zeros.
    end: Mutex<(u64, u64)>,
}

impl ZeroedFile {
    /// Makes the file, which must not exist, in `folder`, and begins it with `superblock`.
    pub(crate) fn create(path: &Path, folder: &Path, superblock: &[u8]) -> io::Result<ZeroedFile> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let (entry, end) = (AtomicBool::new(false), Mutex::new((0, 0)));
        let zeroed = ZeroedFile { file, folder: File::open(folder)?, entry, end };
        if let Err(error) = zeroed.append(superblock) {
            // It holds no record, so nothing is lost with it; if it cannot be removed it reads as a torn tail.
            let _ = std::fs::remove_file(path);
            return Err(error.source);
        }
        Ok(zeroed)
    }
}

impl SegmentFile for ZeroedFile {
    fn append(&self, bytes: &[u8]) -> Result<(), Unwritten> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, zeroed) = *end;
        let after = written + bytes.len() as u64;
        let unwritten = |source| Unwritten { written: 0, source };
        if after <= zeroed {
            self.file.write_all_at(bytes, written).map_err(unwritten)?;
            *end = (after, zeroed);
        } else {
            // With the zeros in one write, so that they come to the disk with one sync.
            let mut longer = bytes.to_vec();
            longer.resize(bytes.len().next_multiple_of(STEP), 0);
            self.file.write_all_at(&longer, written).map_err(unwritten)?;
            *end = (after, written + longer.len() as u64);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.entry.load(Ordering::Acquire) {
            self.folder.sync_all()?;
            self.entry.store(true, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_record_changes_neither_the_size_of_the_file_nor_where_its_bytes_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let file = ZeroedFile::create(&path, folder.path(), b"head").unwrap();
        file.sync().unwrap();
        let size = || {
            let metadata = path.metadata().unwrap();
            (metadata.len(), metadata.blocks())
        };
        let (bytes, blocks) = size();
        assert!(bytes >= STEP as u64 && blocks * 512 >= bytes, "{bytes} bytes in {blocks} blocks");
        let mut written = b"head".to_vec();
        for byte in 1..=200 {
            let record = [byte; 1000];
            file.append(&record).unwrap();
            file.sync().unwrap();
            written.extend(record);
            assert_eq!(size(), (bytes, blocks));
        }
        // One that does not fit, and one that is longer than a step.
        for record in [vec![7; STEP - 1000], vec![8; 2 * STEP + 1], vec![9; 3]] {
            file.append(&record).unwrap();
            written.extend(record);
        }
        let read = std::fs::read(&path).unwrap();
        let zeros = read.strip_prefix(written.as_slice()).unwrap();
        assert!(zeros.iter().all(|byte| *byte == 0));
        assert!(ZeroedFile::create(&path, folder.path(), b"head").is_err(), "it was there");
    }
}
