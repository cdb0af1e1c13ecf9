//! Simulated loss of power: what was not synced reaches the disk in any order, in part, or not at all.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_core::campaign::rounds;
use ecps_core::clock::Stamp;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use crate::packed::pack;
use crate::record::{Entry, Stop};
use crate::storage::{SegmentFile, Storage, Unwritten, packed_path, segment_path};
use crate::writer::End;
use crate::{Compression, Durable, Identity, Journal, Moment, Options, Reader, SoftwareSigner, audit};

const PAGE: usize = 512;

/// A segment as the kernel has it, and how much of it is on disk.
#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// None until the folder's entry is on disk.
    synced: Option<usize>,
}

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<File>>>);

struct OnDisk(Disk, usize);

impl Storage for Disk {
    fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
        let mut files = self.0.lock().unwrap();
        assert_eq!(number as usize, files.len() + 1);
        files.push(File { bytes: superblock.to_vec(), synced: None });
        Ok(Arc::new(OnDisk(self.clone(), files.len() - 1)))
    }

    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(Vec::new())
    }

    fn remove(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn pack(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentFile for OnDisk {
    fn append(&self, bytes: &[u8]) -> Result<(), Unwritten> {
        self.0.0.lock().unwrap()[self.1].bytes.extend(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let before = self.0.0.lock().unwrap()[self.1].bytes.len();
        // What is appended while the disk works is not covered.
        std::thread::yield_now();
        self.0.0.lock().unwrap()[self.1].synced = Some(before);
        Ok(())
    }
}

fn below(dice: &mut Pcg64, limit: usize) -> usize {
    (dice.next_u64() % limit as u64) as usize
}

/// What is left of a file: all that was synced; after that, each page or its absence.
fn left(file: &File, dice: &mut Pcg64) -> Option<Vec<u8>> {
    if file.synced.is_none() && below(dice, 2) == 0 {
        return None;
    }
    let synced = file.synced.unwrap_or(0);
    let size = synced + below(dice, file.bytes.len() - synced + 1);
    let mut left = file.bytes[..size].to_vec();
    for (number, page) in left.chunks_mut(PAGE).enumerate() {
        if below(dice, 3) == 0 {
            let known = synced.saturating_sub(number * PAGE).min(page.len());
            page[known..].fill(0);
        }
    }
    Some(left)
}

/// What a loss of power leaves of a segment that was being compressed: itself, and none or some or all of its compressed
/// bytes; or those alone, under a name that they got only once they were on disk.
fn pack_in_part(folder: &Path, number: u64, bytes: &[u8], dice: &mut Pcg64) {
    let (plain, packed) = (segment_path(folder, number), packed_path(folder, number));
    let mut compressed = Vec::new();
    pack(&mut &bytes[..], &mut compressed).unwrap();
    match below(dice, 4) {
        0 => std::fs::write(packed, compressed).unwrap(),
        1 => {
            std::fs::write(packed, compressed).unwrap();
            std::fs::write(plain, bytes).unwrap();
        }
        2 => {
            compressed.truncate(below(dice, compressed.len() + 1));
            std::fs::write(packed.with_extension("part"), compressed).unwrap();
            std::fs::write(plain, bytes).unwrap();
        }
        _ => std::fs::write(plain, bytes).unwrap(),
    }
}

/// The details of all stops, and whether records are missing before the last that is there.
fn details(folder: &Path) -> (Vec<String>, bool) {
    let mut reader = Reader::open(folder).unwrap();
    let (mut found, mut records, mut last) = (Vec::new(), 0, 0);
    while let Some(record) = reader.read().unwrap() {
        (records, last) = (records + 1, record.header.sequence);
        if let Entry::Stop(stop) = record.entry().unwrap() {
            found.push(stop.detail);
        }
    }
    (found, last != records)
}

fn case(seed: u64) {
    let mut dice = Pcg64::new(seed.into(), 1);
    let disk = Disk::default();
    let identity = Identity { robot: "r".into(), session: [0; 16], boot: [0; 16] };
    let options = |segment_bytes| Options {
        signer: Some(Box::new(SoftwareSigner::from_seed("r", &[1; 32]).unwrap())),
        checkpoint_records: 8,
        checkpoint_period: Duration::from_millis(1),
        segment_bytes,
        compression: if seed.is_multiple_of(2) { Compression::Zstd } else { Compression::None },
        ..Options::default()
    };
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut journal =
        Journal::on(storage, identity.clone(), End::default(), options(16 << 10), Some(Stamp(1))).unwrap();
    let durability = journal.durability();
    let mut appended = Vec::new();
    for n in 0..below(&mut dice, 60) {
        let stop = Stop { cause: "x".repeat(below(&mut dice, 800)), detail: n.to_string() };
        let relaxed = below(&mut dice, 2) == 0;
        if relaxed {
            journal.append_relaxed(&Moment::default(), &stop).unwrap();
        } else {
            let sequence = journal.append(&Moment::default(), &stop).unwrap();
            appended.push((sequence, n));
            if below(&mut dice, 6) == 0 {
                durability.wait(sequence, Duration::from_secs(20)).unwrap();
                // Right after somebody was told that it is safe.
                if below(&mut dice, 4) == 0 {
                    break;
                }
            }
        }
    }
    let safe = appended.iter().rev().find(|(sequence, _)| durability.of(*sequence) == Durable::OnDisk).map(|(_, n)| *n);
    let files = disk.0.lock().unwrap().clone();
    drop(journal);

    let folder = tempfile::tempdir().unwrap();
    for (index, file) in files.iter().enumerate() {
        let number = index as u64 + 1;
        if let Some(left) = left(file, &mut dice) {
            // What may be compressed was closed, and on disk.
            if left == file.bytes && file.synced == Some(left.len()) && left.ends_with(b"EAPLEND\n") {
                pack_in_part(folder.path(), number, &left, &mut dice);
            } else {
                std::fs::write(segment_path(folder.path(), number), left).unwrap();
            }
        }
    }
    let before = if files.is_empty() || std::fs::read_dir(folder.path()).unwrap().next().is_none() {
        Vec::new()
    } else {
        details(folder.path()).0
    };
    let numbers: Vec<usize> = before.iter().map(|detail| detail.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: {numbers:?}");
    // What was on disk is there, and all before it.
    let least = safe.map_or(0, |n| n + 1);
    assert!(numbers.iter().copied().take(least).eq(0..least), "seed {seed}: {least} were on disk of {numbers:?}");

    // And it goes on from there, with nothing lost that was there.
    let (mut journal, recovered) = Journal::open_with(folder.path(), identity, Stamp(2), options(1 << 20)).unwrap();
    journal.append(&Moment::default(), &Stop { cause: String::new(), detail: "after".into() }).unwrap();
    assert_eq!(journal.sequence(), recovered.sequence + 1);
    drop(journal);
    let mut expected = before;
    expected.push("after".into());
    let (found, gap) = details(folder.path());
    assert_eq!(found, expected, "seed {seed}");
    // A segment may have reached the disk before the end of the one before it. That is named.
    let audit = audit(folder.path(), &crate::Expectations::default(), 1).unwrap();
    let named = !audit.completeness.missing.is_empty() || audit.completeness.start.sequence > 1;
    assert_eq!(named, gap, "seed {seed}: {}", audit.completeness);
    assert!(matches!(audit.exit_code(), 0 | 3 | 4), "seed {seed}: {audit:?}");
}

#[test]
fn what_was_on_disk_is_there_after_a_loss_of_power_and_writing_goes_on() {
    for seed in 0..rounds(300, 10_000) {
        case(seed.into());
    }
}
