//! Simulated disks: what was not synced when the power fails reaches them in any order, in part, or not at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ecps_journal::storage::{SegmentFile, Storage, Unwritten};
use rusqlite::Connection;

use super::runtime::below;
use crate::disk::Disk;

const PAGE: usize = 512;

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    /// Bytes on disk; none until the folder's entry is.
    synced: Option<usize>,
}

#[derive(Default)]
struct Contents {
    files: BTreeMap<u64, File>,
    snapshot: Option<Vec<u8>>,
    /// Planted fault: says that it synced, and does not sync.
    lies: bool,
}

#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Contents>>);

struct Segment(SimDisk, u64);

impl SimDisk {
    pub(crate) fn set_lies(&self) {
        self.0.lock().unwrap().lies = true;
    }

    /// What was not synced is torn, or gone.
    pub(crate) fn power_fails(&self) {
        let mut contents = self.0.lock().unwrap();
        let numbers: Vec<u64> = contents.files.keys().copied().collect();
        for number in numbers {
            let clean = contents.lies;
            let file = contents.files.get_mut(&number).unwrap();
            if file.synced.is_none() && (clean || below(2) == 0) {
                contents.files.remove(&number);
                continue;
            }
            let synced = file.synced.unwrap_or(0);
            // A fault that the log itself sees would not show whether the others see it.
            let most = if clean { 0 } else { file.bytes.len() - synced };
            let size = synced + below(most as u64 + 1) as usize;
            file.bytes.truncate(size);
            for (page, bytes) in file.bytes.chunks_mut(PAGE).enumerate() {
                if below(3) == 0 {
                    let known = synced.saturating_sub(page * PAGE).min(bytes.len());
                    bytes[known..].fill(0);
                }
            }
            file.synced = Some(size);
        }
    }
}

impl Storage for SimDisk {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        let file = File { bytes: superblock.to_vec(), synced: None };
        assert!(self.0.lock().unwrap().files.insert(number, file).is_none(), "segment {number} is there already");
        Ok(Arc::new(Segment(self.clone(), number)))
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let contents = self.0.lock().unwrap();
        Ok(contents.files.iter().map(|(number, file)| (*number, file.bytes.len() as u64)).collect())
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        self.0.lock().unwrap().files.remove(&number);
        Ok(())
    }

    fn pack(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentFile for Segment {
    fn append(&self, bytes: &[u8]) -> Result<(), Unwritten> {
        let mut contents = self.0.0.lock().unwrap();
        contents.files.get_mut(&self.1).unwrap().bytes.extend(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        if contents.lies {
            return Ok(());
        }
        let file = contents.files.get_mut(&self.1).unwrap();
        file.synced = Some(file.bytes.len());
        Ok(())
    }
}

impl Disk for SimDisk {
    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let contents = self.0.lock().unwrap();
        contents.files.get(&number).map(|file| file.bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self, number: u64) -> io::Result<()> {
        Segment(self.clone(), number).sync()
    }

    fn put_snapshot(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().snapshot = Some(bytes.to_vec());
        Ok(())
    }

    fn snapshot(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().snapshot.clone())
    }

    /// The worst that a loss of power may do to it: all of it is gone, and comes back from snapshot and log.
    fn database(&self) -> rusqlite::Result<Connection> {
        Connection::open_in_memory()
    }
}
