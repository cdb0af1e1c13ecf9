//! The handle that writes a journal.

use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::format::{Identity, Moment, ROBOT_BYTES};
use crate::reader::{ReadError, Verdict, verify_from};
use crate::record::Payload;
use crate::storage::{Folder, Storage, segments};
use crate::sync::{Durability, Syncer};
use crate::writer::{AppendError, End, Writer};

/// Why a journal cannot be written.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another writer has it.
    #[error("the journal {} is being written by another process; a robot has one executor", .0.display())]
    Locked(PathBuf),
    /// No robot name, or too long a one.
    #[error("the robot's name has {size} bytes, and must have 1 to {ROBOT_BYTES}")]
    RobotName {
        /// Its bytes.
        size: usize,
    },
    /// The folder cannot be made, locked or listed.
    #[error("the journal {} cannot be opened: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is there already cannot be read.
    #[error(transparent)]
    Existing(#[from] ReadError),
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Sequence of the last whole record, after which writing goes on; 0: none.
    pub sequence: u64,
    /// Verdict on the segments that had to be read to find it; [`crate::verify`] judges the whole journal.
    pub verdict: Verdict,
}

/// A journal being written. One thread appends; another, inside, syncs.
///
/// When [`Journal::append`] returns, the record is in the kernel, so it survives SIGKILL; syncing follows in the
/// background: at once when someone waits for it, otherwise two milliseconds later, so that the motion goes out first. [`Journal::durability`] tells when a record also survives a power failure. Dropping syncs what is left.
pub struct Journal {
    // Before the writer, since fields drop in this order: the lock is released after the last sync.
    syncer: Syncer,
    writer: Writer,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in `folder`, which is made where it is missing, and locks it against other writers. What is
    /// there stays as it is: writing goes on in a new segment, after the last whole record. `now` is wall time.
    pub fn open(folder: &Path, identity: Identity, now: Stamp) -> Result<(Journal, Recovered), OpenError> {
        let size = identity.robot.len();
        if size == 0 || size > ROBOT_BYTES {
            return Err(OpenError::RobotName { size });
        }
        let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
        let storage = Folder::lock(folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Locked(folder.to_owned()),
            _ => failed(source),
        })?;
        let (end, verdict) = recover(folder)?;
        let mut journal = Journal::on(Box::new(storage), identity, end).map_err(failed)?;
        // At once, so that a folder that cannot be written is an error of the start and not of the first motion.
        journal.writer.begin_segment(now).map_err(failed)?;
        Ok((journal, Recovered { sequence: end.sequence, verdict }))
    }

    /// On storage of any kind.
    pub(crate) fn on(storage: Box<dyn Storage>, identity: Identity, end: End) -> std::io::Result<Journal> {
        Ok(Journal { syncer: Syncer::start(end.sequence)?, writer: Writer::new(storage, identity, end) })
    }

    /// Appends one record with one write(2) and returns its sequence. Where that or an earlier sync failed, the record
    /// goes to a new segment, which begins with a [`crate::record::Fault`].
    pub fn append<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<u64, AppendError> {
        if let Some(lost) = self.syncer.take_failure() {
            self.writer.abandon(lost);
        }
        let (file, sequence) = self.writer.append(moment, payload)?;
        self.syncer.written(file, sequence);
        Ok(sequence)
    }

    /// Sequence of the last record; 0: none.
    pub fn sequence(&self) -> u64 {
        self.writer.sequence()
    }

    /// Tells, from any thread, when records are on disk.
    pub fn durability(&self) -> Durability {
        self.syncer.durability()
    }
}

/// Finds where writing goes on: reads backwards until a segment has a whole superblock.
fn recover(folder: &Path) -> Result<(End, Verdict), OpenError> {
    let listed = segments(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
    let highest = listed.last().map_or(0, |(number, _)| *number);
    let mut verdict = Verdict::Clean;
    for start in (0..listed.len()).rev() {
        let report = verify_from(listed.get(start..).unwrap_or_default().to_vec())?;
        verdict = report.verdict;
        if let Some((sequence, digest)) = report.end {
            return Ok((End { segment: highest, sequence, digest }, verdict));
        }
    }
    Ok((End { segment: highest, ..End::default() }, verdict))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::record::{Entry, Stop};
    use crate::scan::{Segment, Step};
    use crate::storage::SegmentFile;
    use crate::{Durable, SyncError};

    /// A disk in memory of which the given write or sync fails; writes and syncs count from 1 over all segments.
    #[derive(Clone, Default)]
    struct FailingDisk {
        segments: Arc<Mutex<Vec<Vec<u8>>>>,
        writes: Arc<AtomicUsize>,
        syncs: Arc<AtomicUsize>,
        bad_writes: Vec<usize>,
        bad_sync: usize,
    }

    struct FailingFile {
        disk: FailingDisk,
        number: usize,
    }

    impl Storage for FailingDisk {
        fn create(&mut self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
            let mut segments = self.segments.lock().unwrap();
            assert_eq!(number as usize, segments.len() + 1);
            segments.push(superblock.to_vec());
            Ok(Arc::new(FailingFile { disk: self.clone(), number: segments.len() - 1 }))
        }
    }

    impl SegmentFile for FailingFile {
        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            let bad = self.disk.bad_writes.contains(&(self.disk.writes.fetch_add(1, Ordering::SeqCst) + 1));
            let kept = if bad { &bytes[..bytes.len() / 2] } else { bytes };
            self.disk.segments.lock().unwrap()[self.number].extend(kept);
            if bad { Err(io::Error::other("the disk is full")) } else { Ok(()) }
        }

        fn sync(&self) -> io::Result<()> {
            let count = self.disk.syncs.fetch_add(1, Ordering::SeqCst) + 1;
            if count == self.disk.bad_sync { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        }
    }

    fn journal(disk: &FailingDisk) -> Journal {
        let identity = Identity { robot: "r".into(), session: [0; 16], boot: [0; 16] };
        Journal::on(Box::new(disk.clone()), identity, End::default()).unwrap()
    }

    fn stop(n: u64) -> Stop {
        Stop { cause: "requested".into(), detail: n.to_string() }
    }

    fn entries(disk: &FailingDisk) -> Vec<(usize, u64, Entry)> {
        let mut found = Vec::new();
        for (number, bytes) in disk.segments.lock().unwrap().iter().enumerate() {
            let mut segment = Segment::open(bytes.as_slice()).unwrap().unwrap();
            while let Step::Record(record) = segment.read().unwrap() {
                found.push((number + 1, record.header.sequence, record.entry().unwrap()));
            }
        }
        found
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_failed_write_goes_to_a_new_segment_that_says_so() {
        let disk = FailingDisk { bad_writes: vec![2], ..FailingDisk::default() };
        let mut journal = journal(&disk);
        assert_eq!(journal.append(&Moment::default(), &stop(1)).unwrap(), 1);
        assert_eq!(journal.append(&Moment::default(), &stop(2)).unwrap(), 3);
        drop(journal);
        let fault = crate::record::Fault { cause: "the disk is full".into(), first_sequence: 2, last_sequence: 1 };
        assert_eq!(
            entries(&disk),
            [(1, 1, Entry::Stop(stop(1))), (2, 2, Entry::Fault(fault)), (2, 3, Entry::Stop(stop(2)))]
        );
    }

    #[test]
    fn a_disk_that_stays_full_is_an_error_and_writing_goes_on_when_it_recovers() {
        let disk = FailingDisk { bad_writes: vec![2, 3], ..FailingDisk::default() };
        let mut journal = journal(&disk);
        journal.append(&Moment::default(), &stop(1)).unwrap();
        let error = journal.append(&Moment::default(), &stop(2)).unwrap_err();
        assert_eq!(error.to_string(), "record 2 could not be written to segment 2: the disk is full");
        assert_eq!(journal.append(&Moment::default(), &stop(3)).unwrap(), 3, "after a record of the fault");
        assert_eq!(journal.sequence(), 3);
    }

    #[test]
    fn a_record_that_nobody_waits_for_reaches_the_disk_all_the_same() {
        let mut journal = journal(&FailingDisk::default());
        let durability = journal.durability();
        let sequence = journal.append(&Moment::default(), &stop(1)).unwrap();
        let deadline = std::time::Instant::now() + LONG;
        while durability.of(sequence) != Durable::OnDisk {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn after_a_failed_sync_the_segment_is_left_and_its_records_are_named_as_in_doubt() {
        let disk = FailingDisk { bad_sync: 2, ..FailingDisk::default() };
        let mut journal = journal(&disk);
        let durability = journal.durability();
        assert_eq!(durability.wait(journal.append(&Moment::default(), &stop(1)).unwrap(), LONG), Ok(()));
        let second = journal.append(&Moment::default(), &stop(2)).unwrap();
        let cause = "the disk is gone".to_string();
        assert_eq!(durability.wait(second, LONG), Err(SyncError::Failed { sequence: 2, cause: cause.clone() }));
        assert_eq!(durability.fault(), Some(cause.clone()));
        let fourth = journal.append(&Moment::default(), &stop(4)).unwrap();
        assert_eq!(durability.wait(fourth, LONG), Ok(()));
        assert_eq!(durability.fault(), None);
        assert_eq!(durability.of(1), Durable::OnDisk);
        assert_eq!(durability.of(2), Durable::Failed(cause.clone()));
        let fault = crate::record::Fault { cause, first_sequence: 2, last_sequence: 2 };
        assert_eq!(
            entries(&disk)[2..],
            [(2, 3, Entry::Fault(fault)), (2, 4, Entry::Stop(stop(4)))],
            "the failed segment got no further record"
        );
    }

    #[test]
    fn a_payload_over_its_limit_is_refused_and_costs_nothing() {
        let disk = FailingDisk::default();
        let mut journal = journal(&disk);
        let huge = Stop { cause: "x".repeat(crate::format::PAYLOAD_BYTES), detail: String::new() };
        assert!(matches!(journal.append(&Moment::default(), &huge), Err(AppendError::TooLarge { .. })));
        assert_eq!(journal.append(&Moment::default(), &stop(1)).unwrap(), 1);
    }
}
