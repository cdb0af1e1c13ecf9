//! The journal's second thread beside the one that syncs: it signs checkpoints, closes segments with their index, writes
//! out what was not urgent, and removes what retention no longer keeps. Whoever appends waits for none of it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;

use crate::format::{Footer, Moment, digest};
use crate::journal::Compression;
use crate::note::Checkpoint;
use crate::record::{Payload, Retired};
use crate::sign::{Signer, note};
use crate::storage::Storage;
use crate::sync::Syncer;
use crate::writer::{AppendError, Appended, Sealing, Tier, Writer};

/// Longest time until a record that retention waits for is on disk.
const LONGEST_SYNC: Duration = Duration::from_secs(60);

/// How often, and how much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) checkpoint_records: u64,
    pub(crate) checkpoint_period: Duration,
    pub(crate) retain_bytes: Option<u64>,
    pub(crate) compression: Compression,
}

/// What waits for the notary.
#[derive(Default)]
struct Duties {
    /// There are records without a checkpoint, or not in the kernel.
    unsettled: bool,
    /// So many that the period is not waited for.
    many: bool,
    sealings: Vec<Sealing>,
    closing: bool,
}

/// The writer, and what its threads share.
pub(crate) struct Desk {
    // Before the writer, since fields drop in this order: the lock is released after the last sync.
    pub(crate) syncer: Syncer,
    writer: Mutex<Writer>,
    duties: Mutex<Duties>,
    wake: Condvar,
    pace: Pace,
    signing_fault: Mutex<Option<String>>,
}

/// Each of these is consistent after every assignment, so that a panic elsewhere does not make it unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(crate) fn new(syncer: Syncer, writer: Writer, pace: Pace) -> Desk {
        Desk {
            syncer,
            writer: Mutex::new(writer),
            duties: Mutex::default(),
            wake: Condvar::new(),
            pace,
            signing_fault: Mutex::default(),
        }
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Why the last checkpoint was not signed.
    pub(crate) fn signing_fault(&self) -> Option<String> {
        lock(&self.signing_fault).clone()
    }

    pub(crate) fn append<P: Payload>(&self, moment: &Moment, payload: &P, tier: Tier) -> Result<u64, AppendError> {
        let mut writer = self.writer();
        if let Some(lost) = self.syncer.take_failure() {
            writer.abandon(lost);
        }
        let before = writer.unsettled();
        let appended = writer
            .append(moment, payload, tier)
            .map(|Appended { sequence, file }| (sequence, file.filter(|_| tier == Tier::Process).map(Arc::clone)));
        let (unsettled, many, sealings) = (writer.unsettled(), self.pace.checkpoint_records, writer.take_sealings());
        // First, so that no record counts as on disk before those in the segment before it are.
        for sealing in &sealings {
            self.syncer.written(&sealing.file, sealing.index.last_sequence);
        }
        if let Ok((sequence, Some(file))) = &appended {
            self.syncer.written(file, *sequence);
        }
        drop(writer);
        let first = before == 0 && unsettled > 0;
        let full = before < many && unsettled >= many;
        if first || full || !sealings.is_empty() {
            let mut duties = lock(&self.duties);
            duties.unsettled |= unsettled > 0;
            duties.many |= full;
            duties.sealings.extend(sealings);
            drop(duties);
            self.wake.notify_one();
        }
        appended.map(|(sequence, _)| sequence)
    }

    /// Lets the notary finish: what is in the batch, the last segment's footer.
    pub(crate) fn close(&self) {
        lock(&self.duties).closing = true;
        self.wake.notify_one();
    }

    /// The notary's work, until [`Desk::close`]. `first` is the number of the first segment of this run.
    pub(crate) fn work(&self, storage: &dyn Storage, signer: Option<&dyn Signer>, first: u64) {
        self.retain(storage);
        let compresses = self.pace.compression == Compression::Zstd;
        let mut to_pack: VecDeque<u64> = match storage.list() {
            Ok(listed) if compresses => listed.into_iter().map(|(number, _)| number).filter(|n| *n < first).collect(),
            _ => VecDeque::new(),
        };
        let mut duties = lock(&self.duties);
        loop {
            let packing = !to_pack.is_empty();
            let idle = |d: &mut Duties| !packing && !d.unsettled && !d.closing && d.sealings.is_empty();
            duties = self.wake.wait_while(duties, idle).unwrap_or_else(PoisonError::into_inner);
            let period = if packing { Duration::ZERO } else { self.pace.checkpoint_period };
            let calm = |d: &mut Duties| !d.many && !d.closing && d.sealings.is_empty();
            let waited = self.wake.wait_timeout_while(duties, period, calm);
            duties = waited.unwrap_or_else(PoisonError::into_inner).0;
            let (sealings, closing) = (std::mem::take(&mut duties.sealings), duties.closing);
            // Sealing alone leaves the period to run anew, which delays a checkpoint by at most that.
            let settling = duties.many || closing || sealings.is_empty();
            if settling {
                (duties.unsettled, duties.many) = (false, false);
            }
            drop(duties);
            let rotated = !sealings.is_empty();
            for sealing in sealings {
                to_pack.extend(compresses.then_some(sealing.segment));
                self.seal(sealing, signer);
            }
            if rotated {
                self.retain(storage);
            }
            if closing {
                return self.finish(signer);
            }
            if settling {
                self.settle(signer);
            }
            // One at a time, so that a checkpoint waits for no more than that. What cannot be compressed stays as it is, and
            // is tried again by the next run, which also does the last segment of this one.
            if let Some(number) = to_pack.pop_front() {
                let _ = storage.pack(number);
            }
            duties = lock(&self.duties);
        }
    }

    /// Writes out the batch and signs what is in the kernel.
    fn settle(&self, signer: Option<&dyn Signer>) {
        let mut writer = self.writer();
        if let Ok(Some((file, sequence))) = writer.flush() {
            self.syncer.written(&file, sequence);
        }
        let Some(signer) = signer.filter(|_| writer.unsettled() > 0) else { return };
        let (size, root, time) = writer.head();
        drop(writer);
        let origin = signer.verifier().name().to_owned();
        let signed = note(signer, &Checkpoint { origin, size, root, time, index: None });
        *lock(&self.signing_fault) = signed.as_ref().err().map(ToString::to_string);
        let Ok(signed) = signed else {
            // Tried again after a period.
            lock(&self.duties).unsettled = true;
            return;
        };
        let mut writer = self.writer();
        if let Some(lost) = self.syncer.take_failure() {
            writer.abandon(lost);
        }
        // Where it does not get there, the next one, or the footer, covers the same records.
        if matches!(writer.append_checkpoint(size, signed), Ok(true))
            && let (Some(file), sequence) = (writer.file(), writer.sequence())
        {
            self.syncer.written(&file, sequence);
        }
        let (sealings, left) = (writer.take_sealings(), writer.unsettled());
        drop(writer);
        let mut duties = lock(&self.duties);
        duties.sealings.extend(sealings);
        duties.unsettled |= left > 0;
        duties.many |= left >= self.pace.checkpoint_records;
    }

    /// Closes a segment with its index.
    fn seal(&self, sealing: Sealing, signer: Option<&dyn Signer>) {
        let index_bytes = sealing.index.encode_to_vec();
        let signed = signer.map(|signer| {
            let index = Some((sealing.segment, digest(&index_bytes)));
            let (origin, size) = (signer.verifier().name().to_owned(), sealing.index.last_sequence);
            note(signer, &Checkpoint { origin, size, root: sealing.root, time: sealing.time, index })
        });
        let signed = signed.transpose();
        *lock(&self.signing_fault) = signed.as_ref().err().map(ToString::to_string);
        let footer = Footer::encode(index_bytes, signed.ok().flatten().unwrap_or_default());
        // Without a footer the segment is read from its start, and says that it was not closed.
        let _ = sealing.file.append(&footer).is_ok() && sealing.file.sync().is_ok();
    }

    /// Removes the oldest segments, after saying so.
    fn retain(&self, storage: &dyn Storage) {
        let (Some(limit), Ok(listed)) = (self.pace.retain_bytes, storage.list()) else { return };
        let current = self.writer().segment();
        let mut kept = 0u64;
        let newest_too_many = listed.iter().rev().find(|(number, size)| {
            kept = kept.saturating_add(*size);
            kept > limit && *number < current
        });
        let Some((newest, _)) = newest_too_many else { return };
        let moment = self.writer().last_moment();
        let Ok(sequence) = self.append(&moment, &Retired { kept_from: newest + 1 }, Tier::Process) else { return };
        if self.syncer.durability().wait(sequence, LONGEST_SYNC).is_err() {
            return;
        }
        for (number, _) in listed.iter().take_while(|(number, _)| number <= newest) {
            // What cannot be removed now is tried again at the next rotation.
            let _ = storage.remove(*number);
        }
    }

    fn finish(&self, signer: Option<&dyn Signer>) {
        let mut writer = self.writer();
        if let Some(lost) = self.syncer.take_failure() {
            writer.abandon(lost);
        }
        if let Ok(Some((file, sequence))) = writer.flush() {
            self.syncer.written(&file, sequence);
        }
        // Fails only where the disk does, which then shows as a segment that was not closed.
        let _ = writer.close_segment();
        let sealings = writer.take_sealings();
        drop(writer);
        for sealing in sealings {
            self.seal(sealing, signer);
        }
    }
}
