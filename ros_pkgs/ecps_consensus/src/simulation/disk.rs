//! Simulated disks: what was not synced when the power fails reaches them in any order, in part, or not at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ecps_journal::format::{HEADER_BYTES, Header, payload_of};
use ecps_journal::storage::{SegmentFile, Storage, Unwritten};
use prost::Message as _;
use rusqlite::Connection;

use super::executor::below;
use crate::disk::Disk;
use crate::wire::{Record, record::What};

const PAGE: usize = 512;
/// Files grow by so many bytes, with zeros behind what was appended.
const STEP: usize = 2 << 10;

/// Planted faults: what a disk says it synced, and did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    Nothing,
    Everything,
    /// A vote by itself. It reaches the disk with whatever is written after it.
    Votes,
}

#[derive(Default)]
struct File {
    /// Without the zeros.
    bytes: Vec<u8>,
    /// Bytes on disk; none until the folder's entry is.
    synced: Option<usize>,
    /// The last that was appended is a vote.
    vote: bool,
}

#[derive(Default)]
struct Contents {
    files: BTreeMap<u64, File>,
    snapshot: Option<Vec<u8>>,
    lie: Lie,
}

#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Contents>>);

struct Segment(SimDisk, u64);

/// What became of what was not synced.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Damage {
    /// Bytes are missing at the end.
    pub(crate) lost: bool,
    /// Some are there of what others are missing of.
    pub(crate) torn: bool,
}

impl SimDisk {
    pub(crate) fn lying(lie: Lie) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Contents { lie, ..Contents::default() })))
    }

    /// Flips a bit in the middle of the snapshot.
    pub(crate) fn flip_snapshot(&self) {
        let mut contents = self.0.lock().unwrap();
        let bytes = contents.snapshot.as_mut().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    }

    /// What was not synced is torn, or gone.
    pub(crate) fn power_fails(&self) -> Damage {
        let mut contents = self.0.lock().unwrap();
        // A fault that the log itself sees would not show whether the others see it.
        let clean = contents.lie != Lie::Nothing;
        let mut damage = Damage::default();
        contents.files.retain(|_, file| {
            let gone = file.synced.is_none() && (clean || below(2) == 0);
            damage.lost |= gone;
            !gone
        });
        for file in contents.files.values_mut() {
            let synced = file.synced.unwrap_or(0);
            let unsynced = file.bytes.len() - synced;
            let kept = if clean { 0 } else { below(unsynced as u64 + 1) as usize };
            damage.lost |= kept < unsynced;
            damage.torn |= 0 < kept && kept < unsynced;
            let size = synced + kept;
            file.bytes.truncate(size);
            for (page, bytes) in file.bytes.chunks_mut(PAGE).enumerate() {
                if below(3) == 0 {
                    let known = synced.saturating_sub(page * PAGE).min(bytes.len());
                    damage.torn |= known < bytes.len();
                    bytes[known..].fill(0);
                }
            }
            // The zeros are there as far as they were synced, and it may be further.
            let zeros = if below(2) == 0 { synced } else { synced + unsynced };
            file.bytes.resize(size.max(zeros.next_multiple_of(STEP)), 0);
            file.synced = Some(file.bytes.len());
        }
        damage
    }
}

/// Whether these records are votes, and nothing else.
fn are_votes(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(head) = rest.first_chunk::<HEADER_BYTES>() {
        let (record, after) = rest.split_at(Header::decode(head).unwrap().length);
        let what = Record::decode(payload_of(record).unwrap()).unwrap().what;
        if !matches!(what, Some(What::Ballot(_))) {
            return false;
        }
        rest = after;
    }
    true
}

impl Storage for SimDisk {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        let file = File { bytes: superblock.to_vec(), synced: None, vote: false };
        assert!(superblock.len() < 6 << 10, "a superblock has {} bytes", superblock.len());
        let mut contents = self.0.lock().unwrap();
        if contents.lie == Lie::Votes {
            contents.files.values_mut().for_each(|file| file.synced = Some(file.bytes.len()));
        }
        assert!(contents.files.insert(number, file).is_none(), "segment {number} is there already");
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
        let lie = contents.lie;
        let file = contents.files.get_mut(&self.1).unwrap();
        file.vote = lie == Lie::Votes && are_votes(bytes);
        if file.vote {
            file.synced = Some(file.bytes.len());
        }
        file.bytes.extend(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        let lie = contents.lie;
        let file = contents.files.get_mut(&self.1).unwrap();
        if lie == Lie::Nothing || lie == Lie::Votes && !file.vote {
            file.synced = Some(file.bytes.len());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let contents = self.0.lock().unwrap();
        let mut bytes = contents.files.get(&number).ok_or(io::ErrorKind::NotFound)?.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(STEP), 0);
        Ok(bytes)
    }

    fn read_at(&self, number: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(number)?;
        let part = bytes.get(offset as usize..).and_then(|rest| rest.get(..length));
        part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn close(&self, number: u64, length: u64) -> io::Result<()> {
        let (mut contents, length) = (self.0.lock().unwrap(), length as usize);
        let file = contents.files.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        file.bytes.truncate(length);
        file.synced = file.synced.map(|synced| synced.min(length));
        drop(contents);
        Segment(self.clone(), number).sync()
    }

    /// So few that a schedule has many.
    fn segment_bytes(&self) -> u64 {
        8 << 10
    }

    /// So few that most of the log is read from the segments.
    fn window_bytes(&self) -> usize {
        1 << 10
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
