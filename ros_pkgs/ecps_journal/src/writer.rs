//! Appending records to segments, and leaving a segment that failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::cipher::{PayloadKey, TAG_BYTES};
use crate::format::{
    Digest, HEADER_BYTES, Header, Identity, Moment, OVERHEAD_BYTES, PAYLOAD_BYTES, Superblock, digest, record_digest,
};
use crate::index::Builder;
use crate::record::{self, Count, Dropout, Fault, Payload};
use crate::scan::CHECKPOINT_REACH;
use crate::storage::{SegmentFile, Storage};
use crate::sync::Lost;
use crate::tree::Tree;

/// Records that are not written at once gather up to this size, bytes.
const BATCH_BYTES: usize = 64 << 10;
/// Most failures told apart; more become one.
const FAULTS: usize = 16;

/// Why a record was not written. Nothing may move on a command whose record was not.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Larger than a record can be.
    #[error("the record's payload has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The system refused, in the old segment and in a new one.
    #[error("record {sequence} could not be written to segment {segment}: {source}")]
    Write {
        /// Sequence that the record would have had.
        sequence: u64,
        /// Segment that failed last.
        segment: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a record must survive once it is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// The end of the process.
    Process,
    /// Nothing, for up to a second.
    Nothing,
}

/// A record was appended.
pub(crate) struct Appended<'a> {
    pub(crate) sequence: u64,
    /// The file, where the record is in the kernel; none where it waits in the batch.
    pub(crate) file: Option<&'a Arc<dyn SegmentFile>>,
}

/// Where a writer goes on: after the last whole record of all segments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct End {
    /// Highest number of a segment, 0: none.
    pub(crate) segment: u64,
    /// Sequence of the last whole record, 0: none.
    pub(crate) sequence: u64,
    /// Its digest, or that of a superblock without records.
    pub(crate) digest: Digest,
    /// All records up to it.
    pub(crate) tree: Tree,
}

/// What every segment of a journal has in common.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) identity: Identity,
    pub(crate) segment_bytes: u64,
    pub(crate) payload_key: Option<PayloadKey>,
    /// Text of the signer's key; empty: none.
    pub(crate) verifier: String,
}

/// A segment that gets no more records and waits for its footer.
pub(crate) struct Sealing {
    pub(crate) file: Arc<dyn SegmentFile>,
    pub(crate) segment: u64,
    pub(crate) index: record::Index,
    pub(crate) root: Digest,
    pub(crate) time: Stamp,
}

/// The segment written to.
struct Open {
    file: Arc<dyn SegmentFile>,
    size: u64,
    superblock: Digest,
    first_sequence: u64,
    index: Builder,
}

/// A record in the batch.
struct Staged {
    end: usize,
    kind: u16,
    moment: Moment,
    digest: Digest,
}

/// Appends to the segments of one journal.
pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    style: Style,
    /// What is in the kernel.
    end: End,
    /// None before the first record and after a failure.
    open: Option<Open>,
    /// Records that are not in the kernel yet; kept, so that none is allocated per record.
    bytes: Vec<u8>,
    staged: Vec<Staged>,
    /// Failures that the next segment has to tell of.
    faults: Vec<Lost>,
    /// Records that it has to tell of, by kind, and why they are missing.
    dropped: BTreeMap<u16, u64>,
    cause: String,
    sealings: Vec<Sealing>,
    /// Sequence of the last record that is not itself a checkpoint.
    substantial: u64,
    /// Records that the last checkpoint covers.
    signed: u64,
    last: Moment,
}

impl Writer {
    pub(crate) fn new(storage: Arc<dyn Storage>, style: Style, end: End) -> Writer {
        Writer {
            storage,
            style,
            substantial: end.sequence,
            signed: end.sequence,
            end,
            open: None,
            bytes: Vec::with_capacity(2 * BATCH_BYTES),
            staged: Vec::with_capacity(BATCH_BYTES / OVERHEAD_BYTES),
            faults: Vec::new(),
            dropped: BTreeMap::new(),
            cause: String::new(),
            sealings: Vec::new(),
            last: Moment::default(),
        }
    }

    /// Sequence of the last record appended.
    pub(crate) fn sequence(&self) -> u64 {
        self.end.sequence + self.staged.len() as u64
    }

    /// The segment written to.
    pub(crate) fn file(&self) -> Option<Arc<dyn SegmentFile>> {
        self.open.as_ref().map(|open| Arc::clone(&open.file))
    }

    /// Number of the segment written to, or last written to.
    pub(crate) fn segment(&self) -> u64 {
        self.end.segment
    }

    /// Records after the last checkpoint, or still in the batch.
    pub(crate) fn unsettled(&self) -> u64 {
        let unsigned = if self.style.verifier.is_empty() { 0 } else { self.substantial.saturating_sub(self.signed) };
        unsigned + self.staged.len() as u64
    }

    /// Moment of the last record.
    pub(crate) fn last_moment(&self) -> Moment {
        self.last.internal()
    }

    /// Records in the kernel, the head of the tree over them, and the wall time of the last.
    pub(crate) fn head(&self) -> (u64, Digest, Stamp) {
        (self.end.sequence, self.end.tree.root(), self.last.wall)
    }

    /// Segments that wait for their footers.
    pub(crate) fn take_sealings(&mut self) -> Vec<Sealing> {
        std::mem::take(&mut self.sealings)
    }

    /// Leaves the present segment for good; the next one begins with a record of why.
    pub(crate) fn abandon(&mut self, lost: Lost) {
        self.drop_batch(0, &lost.cause);
        self.open = None;
        let many = self.faults.len() >= FAULTS;
        match self.faults.last_mut() {
            Some(last) if many => {
                *last = Lost { first: last.first.min(lost.first), last: last.last.max(lost.last), ..lost };
            }
            _ => self.faults.push(lost),
        }
    }

    /// Appends one record; a second time, in a new segment, where the first failed. Gives the file where it went to the
    /// kernel.
    pub(crate) fn append<P: Payload>(
        &mut self,
        moment: &Moment,
        payload: &P,
        tier: Tier,
    ) -> Result<Appended<'_>, AppendError> {
        let size = payload.encoded_len();
        let limit = PAYLOAD_BYTES - if self.style.payload_key.is_some() { TAG_BYTES } else { 0 };
        if size > limit {
            return Err(AppendError::TooLarge { size, limit });
        }
        if self.attempt(moment, payload, tier).is_err()
            && let Err(source) = self.attempt(moment, payload, tier)
        {
            *self.dropped.entry(P::KIND).or_default() += 1;
            self.cause = source.to_string();
            return Err(AppendError::Write { sequence: self.end.sequence + 1, segment: self.end.segment, source });
        }
        let sequence = self.sequence();
        let file = self.open.as_ref().filter(|_| self.staged.is_empty()).map(|open| &open.file);
        Ok(Appended { sequence, file })
    }

    fn attempt<P: Payload>(&mut self, moment: &Moment, payload: &P, tier: Tier) -> std::io::Result<()> {
        let limit = self.style.segment_bytes;
        if self.open.as_ref().is_some_and(|open| open.size + self.bytes.len() as u64 >= limit) {
            self.close_segment()?;
        }
        if self.open.is_none() {
            self.begin_segment(moment.wall)?;
        }
        let telling = self.tell(moment)?;
        self.stage(moment, payload)?;
        if tier == Tier::Process || telling || self.bytes.len() >= BATCH_BYTES {
            self.write_batch(1)?;
            if telling {
                self.told();
            }
        }
        Ok(())
    }

    /// Writes what is in the batch, and what is to be told of where nothing was appended since; the file, if there was
    /// anything.
    pub(crate) fn flush(&mut self) -> std::io::Result<Option<(Arc<dyn SegmentFile>, u64)>> {
        let moment = self.last;
        let untold = !self.faults.is_empty() || !self.dropped.is_empty();
        if self.staged.is_empty() && !untold {
            return Ok(None);
        }
        if self.open.is_none() {
            self.begin_segment(moment.wall)?;
        }
        self.tell(&moment)?;
        self.write_batch(0)?;
        self.told();
        Ok(self.open.as_ref().map(|open| (Arc::clone(&open.file), self.end.sequence)))
    }

    /// Ends the present segment, which then waits for its footer.
    pub(crate) fn close_segment(&mut self) -> std::io::Result<()> {
        self.write_batch(0)?;
        if let Some(Open { file, first_sequence, index, .. }) = self.open.take() {
            self.sealings.push(Sealing {
                file,
                segment: self.end.segment,
                index: index.finish(first_sequence, self.end.sequence, self.end.digest),
                root: self.end.tree.root(),
                time: self.last.wall,
            });
            self.signed = self.end.sequence;
        }
        Ok(())
    }

    /// Begins a new segment after the last whole record.
    pub(crate) fn begin_segment(&mut self, created: Stamp) -> std::io::Result<()> {
        self.open = None;
        let segment = self.end.segment + 1;
        let bytes = Superblock {
            identity: self.style.identity.clone(),
            created,
            segment,
            first_sequence: self.end.sequence + 1,
            previous: self.end.digest,
            tree: self.end.tree.clone(),
            encryption_key: self.style.payload_key.as_ref().map(PayloadKey::id),
            verifier: self.style.verifier.clone(),
            schema: record::SCHEMA.to_vec(),
        }
        .encode();
        let file = self.storage.create(segment, &bytes)?;
        let superblock = digest(&bytes);
        self.open = Some(Open {
            file,
            size: bytes.len() as u64,
            superblock,
            first_sequence: self.end.sequence + 1,
            index: Builder::default(),
        });
        (self.end.segment, self.end.digest) = (segment, superblock);
        // Before the first record of a run, the journal's own are of this time, and so are their checkpoints.
        if self.last == Moment::default() {
            self.last.wall = created;
        }
        Ok(())
    }

    /// Appends a checkpoint over the first `size` records, to the present segment alone; false where it could not be
    /// checked there, since the segment is full or the checkpoint comes too late.
    pub(crate) fn append_checkpoint(&mut self, size: u64, note: String) -> std::io::Result<bool> {
        let limit = self.style.segment_bytes;
        let fits = |open: &Open| {
            let room = open.size + (self.bytes.len() as u64) < limit;
            room && size + 1 >= open.first_sequence && self.sequence() - size < CHECKPOINT_REACH
        };
        if !self.open.as_ref().is_some_and(fits) {
            return Ok(false);
        }
        // Not tried again where it fails: it would stand in another segment.
        self.attempt(&self.last_moment(), &record::Checkpoint { size, note }, Tier::Process)?;
        self.signed = size;
        Ok(true)
    }

    /// Puts into the batch what is to be told of; whether there was anything.
    fn tell(&mut self, moment: &Moment) -> std::io::Result<bool> {
        let moment = moment.internal();
        let faults = std::mem::take(&mut self.faults);
        for lost in &faults {
            let fault = Fault { cause: lost.cause.clone(), first_sequence: lost.first, last_sequence: lost.last };
            self.stage(&moment, &fault)?;
        }
        self.faults = faults;
        if !self.dropped.is_empty() {
            let count = |(kind, records): (&u16, &u64)| Count { kind: (*kind).into(), records: *records };
            let dropout = Dropout { counts: self.dropped.iter().map(count).collect(), cause: self.cause.clone() };
            self.stage(&moment, &dropout)?;
        }
        Ok(!self.faults.is_empty() || !self.dropped.is_empty())
    }

    fn told(&mut self) {
        self.faults.clear();
        self.dropped.clear();
    }

    /// Puts a record into the batch.
    fn stage<P: Payload>(&mut self, moment: &Moment, payload: &P) -> std::io::Result<()> {
        let Some(open) = &self.open else {
            return Err(std::io::Error::other("no segment is open"));
        };
        let key = self.style.payload_key.as_ref().filter(|_| !record::is_housekeeping(P::KIND));
        let tag = if key.is_some() { TAG_BYTES } else { 0 };
        let previous = self.staged.last().map_or(self.end.digest, |staged| staged.digest);
        let sequence = self.end.sequence + self.staged.len() as u64 + 1;
        let length = OVERHEAD_BYTES + payload.encoded_len() + tag;
        let header = Header { length, kind: P::KIND, sequence, moment: *moment, previous }.encode();
        let start = self.bytes.len();
        self.bytes.extend(header);
        payload.encode(&mut self.bytes).map_err(std::io::Error::other)?;
        if let (Some(key), Some(payload)) = (key, self.bytes.get_mut(start + HEADER_BYTES..)) {
            let tag = key.seal(&open.superblock, sequence, &header, payload)?;
            self.bytes.extend(tag);
        }
        // Its own checksum is that of all before it; only the rest is left to do.
        let (_, head_sum) = header.split_last_chunk().unwrap_or((&[], &[0; 4]));
        let rest = self.bytes.get(start + HEADER_BYTES - head_sum.len()..).unwrap_or_default();
        let sum = crc32c::crc32c_append(u32::from_le_bytes(*head_sum), rest);
        self.bytes.extend(sum.to_le_bytes());
        let digest = record_digest(self.bytes.get(start..).unwrap_or_default());
        self.staged.push(Staged { end: self.bytes.len(), kind: P::KIND, moment: *moment, digest });
        Ok(())
    }

    /// Writes the batch. Where that fails, the segment is left and the batch dropped, and counted as such save for its
    /// last `tried` records, which are tried again.
    fn write_batch(&mut self, tried: usize) -> std::io::Result<()> {
        let Some(open) = &self.open else {
            return if self.staged.is_empty() { Ok(()) } else { Err(std::io::Error::other("no segment is open")) };
        };
        if self.staged.is_empty() {
            return Ok(());
        }
        let file = Arc::clone(&open.file);
        let result = file.append(&self.bytes);
        let written = result.as_ref().map_or_else(|unwritten| unwritten.written, |()| self.bytes.len());
        self.commit(written);
        let Err(unwritten) = result else {
            self.bytes.clear();
            return Ok(());
        };
        let cause = unwritten.source.to_string();
        self.drop_batch(tried, &cause);
        self.abandon(Lost { cause, first: self.end.sequence + 1, last: self.end.sequence });
        Err(unwritten.source)
    }

    /// Takes note of the records in the first `written` bytes of the batch.
    fn commit(&mut self, written: usize) {
        let Some(open) = &mut self.open else { return };
        let whole = self.staged.iter().take_while(|staged| staged.end <= written).count();
        let mut start = 0;
        for staged in self.staged.drain(..whole) {
            self.end.sequence += 1;
            self.end.digest = staged.digest;
            self.end.tree.push(staged.digest);
            open.index.note(staged.kind, self.end.sequence, open.size, &staged.moment);
            open.size += (staged.end - start) as u64;
            start = staged.end;
            if staged.kind != record::Checkpoint::KIND {
                self.substantial = self.end.sequence;
            }
            self.last = staged.moment;
        }
    }

    /// Drops the batch and counts what was in it, save for its last `tried` records.
    fn drop_batch(&mut self, tried: usize, cause: &str) {
        self.bytes.clear();
        let counted = self.staged.len().saturating_sub(tried);
        for staged in self.staged.drain(..).take(counted) {
            if !matches!(staged.kind, Fault::KIND | Dropout::KIND) {
                *self.dropped.entry(staged.kind).or_default() += 1;
                self.cause = cause.to_owned();
            }
        }
    }
}
