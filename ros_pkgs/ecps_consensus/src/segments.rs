//! The log's records on segments of the journal: written, brought to the disk, read back, and told apart where they end:
//! what a crash tore off was never answered for; what changed after it was synced means that the disk cannot be trusted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ecps_core::clock::Stamp;
use ecps_journal::format::{
    Digest, HEADER_BYTES, Header, Identity, Moment, PAYLOAD_BYTES, Superblock, digest, encode_record, payload_of,
    record_digest,
};
use ecps_journal::scan::{Flaw, RawStep, Segment};
use ecps_journal::storage::SegmentFile;
use ecps_journal::tree::Tree;
use prost::Message as _;
use thiserror::Error;

use crate::disk::Disk;
use crate::types::MemberId;
use crate::wire::{Record, SCHEMA, record::What};

/// Kind of the log's records, beside the journal's own.
const KIND: u16 = 0x4000;
/// Why a log cannot be opened. The member must not take part: it may have forgotten what it promised.
#[derive(Debug, Error)]
pub enum LogError {
    /// The system refused.
    #[error("segment {segment} of the log cannot be read: {source}")]
    Read {
        /// Which.
        segment: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were on disk are others now.
    #[error("segment {segment} of the log is damaged at byte {offset} ({reason}), and what is there was synced once")]
    Damaged {
        /// Which.
        segment: u64,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A segment between others is gone.
    #[error("segment {segment} of the log does not follow the one before: {reason}")]
    Gap {
        /// Which.
        segment: u64,
        /// What does not fit.
        reason: String,
    },
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    offset: u64,
    length: usize,
}

/// Reads one record again.
pub(crate) fn read_back(disk: &dyn Disk, place: Place) -> Result<What, LogError> {
    let Place { segment, offset, length } = place;
    let bytes = disk.read_at(segment, offset, length).map_err(|source| LogError::Read { segment, source })?;
    let damaged = |reason: String| LogError::Damaged { segment, offset, reason };
    let payload = payload_of(&bytes).map_err(|e| damaged(e.to_string()))?;
    let record = Record::decode(payload).map_err(|e| damaged(e.to_string()))?;
    record.what.ok_or_else(|| damaged("it says nothing".to_owned()))
}

/// Appends records to segments.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    member: MemberId,
    /// Highest number of a segment, 0: none.
    segment: u64,
    sequence: u64,
    previous: Digest,
    tree: Tree,
    open: Option<(Arc<dyn SegmentFile>, u64)>,
    /// Bytes of each segment, without what follows its last record.
    sizes: BTreeMap<u64, u64>,
    /// Set by the first failure. What reached the disk is not known then, so nothing follows.
    failed: bool,
}

impl Segments {
    /// Reads all records, oldest first, into `each` with their places.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        member: MemberId,
        mut each: impl FnMut(Place, What),
    ) -> Result<Segments, LogError> {
        let read = |segment, source| LogError::Read { segment, source };
        let numbers: Vec<u64> = disk.list().map_err(|e| read(0, e))?.into_iter().map(|(number, _)| number).collect();
        let mut segments = Segments {
            disk: Arc::clone(&disk),
            member,
            segment: 0,
            sequence: 0,
            previous: Digest::default(),
            tree: Tree::default(),
            open: None,
            sizes: BTreeMap::new(),
            failed: false,
        };
        let mut first = true;
        for &number in &numbers {
            let bytes = disk.read(number).map_err(|e| read(number, e))?;
            let size = segments.read_segment(number, &bytes, first, &mut each)?;
            segments.sizes.insert(number, size);
            first &= size == 0;
        }
        // What a killed process left in the kernel counts as written, so it has to be. Nothing follows it in this segment.
        if let Some((&last, &size)) = segments.sizes.last_key_value() {
            disk.close(last, size).map_err(|e| read(last, e))?;
        }
        Ok(segments)
    }

    /// Reads a segment, the `first` with a beginning if none before had one. Bytes of it that are whole records.
    fn read_segment(
        &mut self,
        number: u64,
        bytes: &[u8],
        first: bool,
        each: &mut impl FnMut(Place, What),
    ) -> Result<u64, LogError> {
        let gap = |reason: &str| LogError::Gap { segment: number, reason: reason.to_owned() };
        if self.segment != 0 && number != self.segment + 1 {
            return Err(gap(&format!("the one before is {}", self.segment)));
        }
        let mut segment = match Segment::open(bytes).map_err(|source| LogError::Read { segment: number, source })? {
            Ok(segment) => segment,
            Err(flaw) => {
                // It was torn off as it began, unless what is in it says otherwise.
                self.segment = number;
                return judge(number, bytes, &flaw, self.sequence).map(|()| 0);
            }
        };
        let head = segment.superblock().clone();
        if head.segment != number {
            return Err(gap(&format!("it says it is number {}", head.segment)));
        }
        if first {
            (self.sequence, self.previous, self.tree) = (head.first_sequence.wrapping_sub(1), head.previous, head.tree);
        } else if head.first_sequence != self.sequence + 1 || head.previous != self.previous {
            return Err(gap(&format!("it begins with record {}, after {}", head.first_sequence, self.sequence)));
        }
        self.segment = number;
        self.previous = digest(segment.superblock_bytes());
        let mut size = segment.superblock_bytes().len() as u64;
        loop {
            let step = segment.read_raw().map_err(|source| LogError::Read { segment: number, source })?;
            match step {
                RawStep::Record(raw) => {
                    (self.sequence, self.previous) = (raw.header.sequence, record_digest(raw.bytes));
                    self.tree.push(self.previous);
                    size = raw.offset + raw.bytes.len() as u64;
                    if raw.header.kind == KIND
                        && let Some(what) = Record::decode(raw.stored_payload()).ok().and_then(|record| record.what)
                    {
                        each(Place { segment: number, offset: raw.offset, length: raw.bytes.len() }, what);
                    }
                }
                RawStep::End => return Ok(size),
                RawStep::Flaw(flaw) => return judge(number, bytes, &flaw, self.sequence).map(|()| size),
            }
        }
    }

    /// Sequence of the last record appended.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number of the segment written to, or last written to.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// Whether the next record begins a new segment.
    pub(crate) fn is_full(&self) -> bool {
        self.open.as_ref().is_none_or(|(_, size)| *size >= self.disk.segment_bytes())
    }

    /// Appends records with one write(2), in the present segment, or in a new one where `is_full`. Where each is now.
    pub(crate) fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a What>) -> io::Result<Vec<Place>> {
        self.guarded(|segments| {
            if segments.is_full() {
                // Or a crash could take the end of this segment and leave the next one.
                if let Some((file, _)) = &segments.open {
                    file.sync()?;
                }
                segments.begin()?;
            }
            let Some((file, size)) = &mut segments.open else { return Err(io::Error::other("no segment is open")) };
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            for what in records {
                let payload = Record { what: Some(what.clone()) }.encode_to_vec();
                if payload.len() > PAYLOAD_BYTES {
                    let size = payload.len();
                    return Err(io::Error::other(format!("a record has {size} bytes, more than {PAYLOAD_BYTES}")));
                }
                let sequence = segments.sequence + 1;
                let moment = Moment::default();
                let header = Header { length: 0, kind: KIND, sequence, moment, previous: segments.previous };
                let record = encode_record(header, &payload);
                (segments.sequence, segments.previous) = (sequence, record_digest(&record));
                segments.tree.push(segments.previous);
                let offset = *size + bytes.len() as u64;
                places.push(Place { segment: segments.segment, offset, length: record.len() });
                bytes.extend(record);
            }
            *size += bytes.len() as u64;
            segments.sizes.insert(segments.segment, *size);
            file.append(&bytes).map_err(|unwritten| unwritten.source)?;
            Ok(places)
        })
    }

    /// Returns when all that was appended is on disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.guarded(|segments| segments.open.as_ref().map_or(Ok(()), |(file, _)| file.sync()))
    }

    /// Removes segment `number`.
    pub(crate) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.sizes.remove(&number);
        self.disk.remove(number)
    }

    /// Numbers of all segments.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.sizes.keys().copied()
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Segments) -> io::Result<T>) -> io::Result<T> {
        if self.failed {
            return Err(io::Error::other("the log failed before, and what reached the disk is not known"));
        }
        let result = work(self);
        self.failed = result.is_err();
        result
    }

    fn begin(&mut self) -> io::Result<()> {
        let number = self.segment + 1;
        let bytes = Superblock {
            identity: Identity { robot: format!("member-{}", self.member), session: [0; 16], boot: [0; 16] },
            created: Stamp(0),
            segment: number,
            first_sequence: self.sequence + 1,
            previous: self.previous,
            tree: self.tree.clone(),
            encryption_key: None,
            verifier: String::new(),
            schema: SCHEMA.to_vec(),
        }
        .encode();
        let file = self.disk.create(number, &bytes)?;
        (self.segment, self.previous) = (number, digest(&bytes));
        self.open = Some((file, bytes.len() as u64));
        Ok(())
    }
}

/// Whether what follows a flaw may be left out. A record that says that it was synced proves it wrong. So does, in a
/// segment that is not the last, the next one, which begins after what was known then.
fn judge(segment: u64, bytes: &[u8], flaw: &Flaw, sequence: u64) -> Result<(), LogError> {
    let (offset, reason) = match flaw {
        Flaw::Torn { offset } => (*offset, "it ends within a record".to_owned()),
        Flaw::Damaged { offset, reason, .. } => (*offset, reason.to_string()),
        Flaw::ChainBroken { offset, reason, .. } => (*offset, reason.to_string()),
    };
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let foreign = matches!(flaw, Flaw::ChainBroken { .. });
    if foreign || settled_after(rest).is_some_and(|settled| settled > sequence) {
        return Err(LogError::Damaged { segment, offset, reason });
    }
    Ok(())
}

/// The highest sequence that any whole record in `bytes` says was synced.
fn settled_after(bytes: &[u8]) -> Option<u64> {
    let at = |start: usize| {
        let rest = bytes.get(start..)?;
        let header = Header::decode(rest.first_chunk::<HEADER_BYTES>()?).ok()?;
        let payload = payload_of(rest.get(..header.length)?).ok()?;
        match Record::decode(payload).ok()?.what? {
            What::Settled(sequence) => Some(sequence),
            _ => None,
        }
    };
    // No record begins in the zeros at the end.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (0..end).filter_map(at).max()
}
