//! The folder of a journal: its lock, and its segments as files. Behind a trait, so that tests can let a disk fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::input::Input;
use crate::packed::pack;
use crate::window::fill_up;

/// Most segments that one journal may have.
pub const SEGMENTS: usize = 1_000_000;
/// File that a writer holds locked as long as it lives.
const LOCK: &str = "lock";

/// Where segments are.
pub trait Storage: Send + Sync {
    /// Makes segment `number`, which must not exist, and writes its superblock. Leaves nothing behind on failure.
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>>;
    /// Numbers of all segments and their sizes in bytes, ascending.
    fn list(&self) -> io::Result<Vec<(u64, u64)>>;
    /// Removes segment `number`.
    fn remove(&self, number: u64) -> io::Result<()>;
    /// Compresses segment `number`, which nothing is appended to any more, unless it is so already. On failure, as after a
    /// loss of power, it is there as it was.
    fn pack(&self, number: u64) -> io::Result<()>;
}

/// A segment being written.
pub trait SegmentFile: Send + Sync {
    /// Appends all of `bytes` with one write(2).
    fn append(&self, bytes: &[u8]) -> Result<(), Unwritten>;
    /// Returns when everything appended before is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// Not all of it was written.
#[derive(Debug, Error)]
#[error("{source}")]
pub struct Unwritten {
    /// Bytes that were, from the front.
    pub written: usize,
    /// What the system said.
    pub source: io::Error,
}

/// A journal's folder, locked for one writer until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock; the kernel releases it also when the process is killed.
    lock: File,
}

impl Folder {
    /// Makes the folder (mode 0700) where it is missing, and locks it. An error of kind [`io::ErrorKind::WouldBlock`]
    /// means that another writer holds it.
    pub fn lock(path: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Folder { path: path.to_owned(), lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Said aloud, since a child process between fork and exec still has the file open, and with it the lock.
        // Where it fails, closing the file lets go.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// Whether a writer has the journal in `folder` at present.
pub fn is_being_written(folder: &Path) -> bool {
    let held = |lock: File| flock(&lock, FlockOperation::NonBlockingLockShared).is_err();
    File::open(folder.join(LOCK)).is_ok_and(held)
}

/// Path of segment `number`.
pub fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.eaplog"))
}

/// Path of segment `number` once it is compressed.
pub(crate) fn packed_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.eaplog.zst"))
}

/// Numbers and paths of a folder's segments, ascending. Other files are passed over, and so is a compressed segment where
/// it is also there as it was: the work was cut short.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).map(|n| n.strip_suffix(".zst").unwrap_or(n));
        let stem = name.and_then(|n| n.strip_suffix(".eaplog"));
        let named = |&n: &u64| segment_path(folder, n) == path || packed_path(folder, n) == path;
        let Some(number) = stem.and_then(|s| s.parse().ok()).filter(named) else {
            continue;
        };
        if found.len() >= SEGMENTS {
            return Err(io::Error::other(format!("{} has more than {SEGMENTS} segments", folder.display())));
        }
        found.push((number, path));
    }
    found.sort_unstable();
    found.dedup_by_key(|(number, _)| *number);
    Ok(found)
}

impl Storage for Folder {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        create_file(&segment_path(&self.path, number), &self.path, superblock)
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let sized = |(number, path): (u64, PathBuf)| Ok((number, std::fs::metadata(path)?.len()));
        segments(&self.path)?.into_iter().map(sized).collect()
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        let absent = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
        // In this order, so that what is left by a loss of power in between is whole.
        std::fs::remove_file(packed_path(&self.path, number)).or_else(absent)?;
        std::fs::remove_file(segment_path(&self.path, number)).or_else(absent)
    }

    fn pack(&self, number: u64) -> io::Result<()> {
        let plain = segment_path(&self.path, number);
        if !plain.exists() {
            return Ok(());
        }
        let packed = packed_path(&self.path, number);
        let part = packed.with_extension("part");
        let made = make_packed(&plain, &part).and_then(|()| {
            std::fs::rename(&part, &packed)?;
            File::open(&self.path)?.sync_all()
        });
        if made.is_err() {
            // What cannot be removed is overwritten the next time.
            let _ = std::fs::remove_file(&part);
        }
        made.and_then(|()| std::fs::remove_file(&plain))
    }
}

/// A journal of one segment in a new file of any name, as tools make it from others.
#[derive(Debug)]
pub struct SingleFile(
    /// The file.
    pub PathBuf,
);

impl Storage for SingleFile {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        if number != 1 {
            return Err(io::Error::other(format!("{} cannot hold a second segment", self.0.display())));
        }
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create_file(&self.0, folder, superblock)
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(Vec::new())
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        Err(io::Error::other(format!("segment {number} is the only one")))
    }

    fn pack(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses a segment to a new file, reads that back, and brings it to the disk.
fn make_packed(plain: &Path, part: &Path) -> io::Result<()> {
    let target = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(part)?;
    let mut output = BufWriter::new(target);
    pack(&mut File::open(plain)?, &mut output)?;
    output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let (mut one, mut other) = (File::open(plain)?, Input::open(part)?);
    let [mut ours, mut theirs] = [(); 2].map(|()| vec![0; 1 << 16]);
    loop {
        let size = fill_up(&mut one, &mut ours)?;
        if fill_up(&mut other, &mut theirs)? != size || ours.get(..size) != theirs.get(..size) {
            return Err(io::Error::other(format!("{} is not what was compressed", part.display())));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn create_file(path: &Path, folder: &Path, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let segment = DiskFile { file, folder: File::open(folder)?, entry: AtomicBool::new(false) };
    if let Err(error) = segment.append(superblock) {
        // It holds no record, so nothing is lost with it; if it cannot be removed it reads as a torn tail.
        let _ = std::fs::remove_file(path);
        return Err(error.source);
    }
    Ok(Arc::new(segment))
}

/// A segment on disk.
struct DiskFile {
    file: File,
    folder: File,
    /// Whether the folder's entry for the file is on disk.
    entry: AtomicBool,
}

impl SegmentFile for DiskFile {
    fn append(&self, bytes: &[u8]) -> Result<(), Unwritten> {
        loop {
            match (&self.file).write(bytes) {
                Ok(written) if written == bytes.len() => return Ok(()),
                Ok(written) => {
                    let text = format!("only {written} of {} bytes were written", bytes.len());
                    return Err(Unwritten { written, source: io::Error::other(text) });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Unwritten { written: 0, source }),
            }
        }
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
