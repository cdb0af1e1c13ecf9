//! The handle that writes a journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::cipher::PayloadKey;
use crate::format::{Identity, Moment, ROBOT_BYTES};
use crate::notary::{Desk, Pace};
use crate::reader::{ReadError, Reader, Verdict};
use crate::record::Payload;
use crate::sign::Signer;
use crate::storage::{Folder, SingleFile, Storage, segments};
use crate::sync::{Durability, Syncer};
use crate::writer::{AppendError, End, Style, Tier, Writer};

/// Least size of a segment, bytes.
const LEAST_SEGMENT_BYTES: u64 = 64 << 10;
/// Greatest size of a segment, bytes.
const MOST_SEGMENT_BYTES: u64 = 1 << 40;

/// How a journal is kept. The default signs nothing, keeps everything, and begins a new segment after 64 MiB.
pub struct Options {
    /// A segment past this size is followed by a new one, bytes; 64 KiB to 1 TiB.
    pub segment_bytes: u64,
    /// Whole segments are removed, the oldest first, while all together are larger than this, bytes. The one being
    /// written stays. None: nothing is ever removed.
    pub retain_bytes: Option<u64>,
    /// Signs checkpoints.
    pub signer: Option<Box<dyn Signer>>,
    /// A checkpoint is made at least after so many records.
    pub checkpoint_records: u64,
    /// And at least after this time, within which also what [`Journal::append_relaxed`] took is written.
    pub checkpoint_period: Duration,
    /// Encrypts payloads.
    pub payload_key: Option<PayloadKey>,
    /// What becomes of segments that nothing is appended to any more.
    pub compression: Compression,
}

/// What becomes of segments that nothing is appended to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// They stay as they are.
    #[default]
    None,
    /// Each is compressed as a whole, in the background, and is gone only once its compressed bytes were read back and are on
    /// disk. What is being written never is: it must survive the end of the process at any byte.
    Zstd,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            retain_bytes: None,
            signer: None,
            checkpoint_records: 1024,
            checkpoint_period: Duration::from_secs(1),
            payload_key: None,
            compression: Compression::None,
        }
    }
}

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
    /// A segment size outside its range.
    #[error("segment_bytes is {0}, and must be {LEAST_SEGMENT_BYTES} to {MOST_SEGMENT_BYTES}")]
    SegmentBytes(u64),
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
    /// Verdict on the segments that had to be read to find it; [`crate::audit`] judges the whole journal.
    pub verdict: Verdict,
}

/// A journal being written. One thread appends; two more, inside, sync and sign.
///
/// When [`Journal::append`] returns, the record is in the kernel, so it survives SIGKILL; syncing follows in the
/// background: at once when someone waits for it, otherwise two milliseconds later, so that the motion goes out first.
/// [`Journal::durability`] tells when a record also survives a power failure. Dropping signs and syncs what is left, and
/// closes the segment.
pub struct Journal {
    desk: Arc<Desk>,
    notary: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in `folder` with default [`Options`].
    pub fn open(folder: &Path, identity: Identity, now: Stamp) -> Result<(Journal, Recovered), OpenError> {
        Journal::open_with(folder, identity, now, Options::default())
    }

    /// Opens the journal in `folder`, which is made where it is missing, and locks it against other writers. What is
    /// there stays as it is: writing goes on in a new segment, after the last whole record. `now` is wall time.
    pub fn open_with(
        folder: &Path,
        identity: Identity,
        now: Stamp,
        options: Options,
    ) -> Result<(Journal, Recovered), OpenError> {
        check(&identity, &options)?;
        let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
        let storage = Folder::lock(folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Locked(folder.to_owned()),
            _ => failed(source),
        })?;
        let (end, verdict) = recover(folder)?;
        let sequence = end.sequence;
        let journal = Journal::on(Arc::new(storage), identity, end, options, Some(now)).map_err(failed)?;
        Ok((journal, Recovered { sequence, verdict }))
    }

    /// Makes a journal of one segment in a new file, as tools do that make one from something else.
    pub fn create(file: &Path, identity: Identity, now: Stamp, options: Options) -> Result<Journal, OpenError> {
        check(&identity, &options)?;
        let options = Options { segment_bytes: MOST_SEGMENT_BYTES, ..options };
        Journal::on(Arc::new(SingleFile(file.to_owned())), identity, End::default(), options, Some(now))
            .map_err(|source| OpenError::Folder { path: file.to_owned(), source })
    }

    /// On storage of any kind. Begins a segment where the time is given, so that what cannot be written is an error of the
    /// start and not of the first motion.
    pub(crate) fn on(
        storage: Arc<dyn Storage>,
        identity: Identity,
        end: End,
        options: Options,
        now: Option<Stamp>,
    ) -> std::io::Result<Journal> {
        let Options {
            segment_bytes,
            retain_bytes,
            signer,
            checkpoint_records,
            checkpoint_period,
            payload_key,
            compression,
        } = options;
        let verifier = signer.as_ref().map(|signer| signer.verifier().to_string()).unwrap_or_default();
        let style = Style { identity, segment_bytes, payload_key, verifier };
        let (syncer, first) = (Syncer::start(end.sequence)?, end.segment + 1);
        let mut writer = Writer::new(Arc::clone(&storage), style, end);
        if let Some(now) = now {
            writer.begin_segment(now)?;
        }
        let desk = Arc::new(Desk::new(
            syncer,
            writer,
            Pace { checkpoint_records, checkpoint_period, retain_bytes, compression },
        ));
        let theirs = Arc::clone(&desk);
        let notary = std::thread::Builder::new()
            .name("journal-notary".into())
            .spawn(move || theirs.work(storage.as_ref(), signer.as_deref(), first))?;
        Ok(Journal { desk, notary: Some(notary) })
    }

    /// Appends one record with one write(2) and returns its sequence. Where that or an earlier sync failed, the record
    /// goes to a new segment, which begins with a [`crate::record::Fault`].
    pub fn append<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<u64, AppendError> {
        self.desk.append(moment, payload, Tier::Process)
    }

    /// Appends one record that may be lost with the process, as telemetry may: it is written with the next that may not,
    /// or with enough of its like, within the checkpoint period at the latest, and nobody syncs for its sake. What cannot
    /// be written then is counted in a [`crate::record::Dropout`].
    pub fn append_relaxed<P: Payload>(&mut self, moment: &Moment, payload: &P) -> Result<(), AppendError> {
        self.desk.append(moment, payload, Tier::Nothing).map(drop)
    }

    /// Sequence of the last record; 0: none.
    pub fn sequence(&self) -> u64 {
        self.desk.writer().sequence()
    }

    /// Tells, from any thread, when records are on disk.
    pub fn durability(&self) -> Durability {
        self.desk.syncer.durability()
    }

    /// Why the last checkpoint was not signed; none while checkpoints are signed, or nobody signs.
    pub fn signing_fault(&self) -> Option<String> {
        self.desk.signing_fault()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.close();
        if let Some(notary) = self.notary.take() {
            // A panic there is already on stderr, and there is nobody left to tell.
            let _ = notary.join();
        }
    }
}

fn check(identity: &Identity, options: &Options) -> Result<(), OpenError> {
    let size = identity.robot.len();
    if size == 0 || size > ROBOT_BYTES {
        return Err(OpenError::RobotName { size });
    }
    let bytes = options.segment_bytes;
    if !(LEAST_SEGMENT_BYTES..=MOST_SEGMENT_BYTES).contains(&bytes) {
        return Err(OpenError::SegmentBytes(bytes));
    }
    Ok(())
}

/// Finds where writing goes on: reads backwards until a segment has a whole superblock.
fn recover(folder: &Path) -> Result<(End, Verdict), OpenError> {
    let listed = segments(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
    let segment = listed.last().map_or(0, |(number, _)| *number);
    let listed: Vec<_> = listed.into_iter().map(|(number, path)| (Some(number), path)).collect();
    let mut verdict = Verdict::Clean;
    for start in (0..listed.len()).rev() {
        let report = Reader::over(listed.get(start..).unwrap_or_default().to_vec()).finish()?;
        verdict = report.verdict;
        if let Some(end) = report.end {
            return Ok((End { segment, sequence: end.sequence, digest: end.digest, tree: end.tree }, verdict));
        }
    }
    Ok((End { segment, ..End::default() }, verdict))
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
    use crate::storage::{SegmentFile, Unwritten};
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
        fn create(&self, number: u64, superblock: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
            let mut segments = self.segments.lock().unwrap();
            assert_eq!(number as usize, segments.len() + 1);
            segments.push(superblock.to_vec());
            Ok(Arc::new(FailingFile { disk: self.clone(), number: segments.len() - 1 }))
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

    impl SegmentFile for FailingFile {
        fn append(&self, bytes: &[u8]) -> Result<(), Unwritten> {
            let bad = self.disk.bad_writes.contains(&(self.disk.writes.fetch_add(1, Ordering::SeqCst) + 1));
            let written = if bad { bytes.len() / 2 } else { bytes.len() };
            self.disk.segments.lock().unwrap()[self.number].extend(&bytes[..written]);
            if bad { Err(Unwritten { written, source: io::Error::other("the disk is full") }) } else { Ok(()) }
        }

        fn sync(&self) -> io::Result<()> {
            let count = self.disk.syncs.fetch_add(1, Ordering::SeqCst) + 1;
            if count == self.disk.bad_sync { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        }
    }

    fn journal(disk: &FailingDisk) -> Journal {
        let identity = Identity { robot: "r".into(), session: [0; 16], boot: [0; 16] };
        Journal::on(Arc::new(disk.clone()), identity, End::default(), Options::default(), None).unwrap()
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
        // After records of the two faults, and of the stop that is missing.
        assert_eq!(journal.append(&Moment::default(), &stop(3)).unwrap(), 5);
        drop(journal);
        let dropout = crate::record::Dropout {
            counts: vec![crate::record::Count { kind: 4, records: 1 }],
            cause: "the disk is full".into(),
        };
        assert_eq!(entries(&disk)[3..], [(3, 4, Entry::Dropout(dropout)), (3, 5, Entry::Stop(stop(3)))]);
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

    #[test]
    fn relaxed_records_that_the_disk_did_not_take_are_counted_and_the_others_are_there() {
        let disk = FailingDisk { bad_writes: vec![1], ..FailingDisk::default() };
        let mut journal = journal(&disk);
        for n in 1..=4 {
            journal.append_relaxed(&Moment::default(), &stop(n)).unwrap();
        }
        assert_eq!(disk.writes.load(Ordering::SeqCst), 0, "nothing was urgent");
        journal.append(&Moment::default(), &stop(5)).unwrap();
        drop(journal);
        let found = entries(&disk);
        let stops = |n| found.iter().filter(|(_, _, entry)| *entry == Entry::Stop(stop(n))).count();
        assert_eq!([1, 2, 3, 4, 5].map(stops), [1, 1, 0, 0, 1], "half the bytes are two and a half records");
        let lost: u64 = found
            .iter()
            .filter_map(|(_, _, entry)| match entry {
                Entry::Dropout(dropout) => Some(dropout.counts.iter().map(|count| count.records).sum::<u64>()),
                _ => None,
            })
            .sum();
        assert_eq!(lost, 2);
        let sequences: Vec<u64> = found.iter().map(|(_, sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=5).collect::<Vec<_>>(), "two before, then fault, dropout and the urgent one");
    }
}
