//! Where a member keeps its log, its snapshot and its state. Behind a trait, so that a simulation can lose and tear what
//! was not synced.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecps_journal::storage::{Folder, SegmentFile, Storage, segment_path};
use rusqlite::Connection;

use crate::zeroed::ZeroedFile;

/// Largest segment read, bytes.
const SEGMENT_LIMIT: u64 = 1 << 30;
/// Largest snapshot read, bytes.
const SNAPSHOT_LIMIT: u64 = 1 << 30;

/// A member's disk: segments of the log, one snapshot, the database of the state machine. Zeros may follow what was written
/// to a segment.
pub trait Disk: Storage {
    /// All bytes of segment `number`.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, number: u64) -> io::Result<Vec<u8>>;

    /// `length` bytes of segment `number` from `offset` on.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, number: u64, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Cuts what follows the first `length` bytes of segment `number`, and returns when it is on disk as it can be read.
    ///
    /// # Errors
    /// As the system says.
    fn close(&self, number: u64, length: u64) -> io::Result<()>;

    /// Size from which on a segment is followed by a new one, bytes.
    fn segment_bytes(&self) -> u64 {
        16 << 20
    }

    /// Bytes of the latest entries that stay in memory. Older ones are read from the segments.
    fn window_bytes(&self) -> usize {
        32 << 20
    }

    /// Replaces the snapshot. On disk when this returns; on failure, as after a loss of power, the one before is there.
    ///
    /// # Errors
    /// As the system says.
    fn put_snapshot(&self, bytes: &[u8]) -> io::Result<()>;

    /// The snapshot, if there is one.
    ///
    /// # Errors
    /// As the system says.
    fn snapshot(&self) -> io::Result<Option<Vec<u8>>>;

    /// Opens the database of the state machine. It may have lost its latest transactions, but none in between.
    ///
    /// # Errors
    /// As SQLite says.
    fn database(&self) -> rusqlite::Result<Connection>;
}

/// A folder that belongs to one member, locked until this is dropped.
#[derive(Debug)]
pub struct MemberFolder {
    folder: Folder,
    path: PathBuf,
}

impl MemberFolder {
    /// Makes the folder (mode 0700) where it is missing, and locks it.
    ///
    /// # Errors
    /// Of kind [`io::ErrorKind::WouldBlock`] where another process holds it.
    pub fn lock(path: &Path) -> io::Result<MemberFolder> {
        Ok(MemberFolder { folder: Folder::lock(path)?, path: path.to_owned() })
    }
}

impl Storage for MemberFolder {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        let path = segment_path(&self.path, number);
        Ok(Arc::new(ZeroedFile::create(&path, &self.path, superblock)?))
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        self.folder.list()
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        self.folder.remove(number)
    }

    fn pack(&self, number: u64) -> io::Result<()> {
        self.folder.pack(number)
    }
}

impl Disk for MemberFolder {
    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        read_bounded(&segment_path(&self.path, number), SEGMENT_LIMIT)
    }

    fn read_at(&self, number: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(segment_path(&self.path, number))?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn close(&self, number: u64, length: u64) -> io::Result<()> {
        let file = File::options().write(true).open(segment_path(&self.path, number))?;
        file.set_len(length)?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    fn put_snapshot(&self, bytes: &[u8]) -> io::Result<()> {
        let part = self.path.join("snapshot.part");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(part, self.path.join("snapshot"))?;
        File::open(&self.path)?.sync_all()
    }

    fn snapshot(&self) -> io::Result<Option<Vec<u8>>> {
        match read_bounded(&self.path.join("snapshot"), SNAPSHOT_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn database(&self) -> rusqlite::Result<Connection> {
        let database = Connection::open(self.path.join("state.db"))?;
        // With a write-ahead log a loss of power costs the latest transactions and nothing else; the log has them.
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "normal")?;
        Ok(database)
    }
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > limit {
        return Err(io::Error::other(format!("{} has {size} bytes, more than the {limit} allowed", path.display())));
    }
    std::fs::read(path)
}
