//! openraft's log and vote: in memory for reading, on segments for keeping. Nothing is answered before it is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::disk::Disk;
use crate::runtime::{Runtime, Worker};
use crate::segments::{LogError, Segments};
use crate::types::{Entry, LogId, MemberId, StorageError, StorageIOError, Types, Vote};
use crate::wire::{self, record::What};

/// Locks, also after a panic elsewhere: what is guarded is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is in the log, as it is read.
struct Memory<R: Runtime> {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Without gaps, the first right after what was purged.
    entries: VecDeque<Entry<R>>,
}

impl<R: Runtime> Memory<R> {
    fn first(&self) -> u64 {
        self.entries.front().map_or_else(|| self.purged.map_or(0, |id| id.index + 1), |entry| entry.log_id.index)
    }

    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// Drops entry `index` and all after it.
    fn truncate(&mut self, index: u64) {
        let keep = index.saturating_sub(self.first());
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Drops entry `upto` and all before it.
    fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            self.entries.pop_front();
        }
        self.purged = self.purged.max(Some(upto));
    }

    fn push(&mut self, entry: Entry<R>) {
        self.truncate(entry.log_id.index);
        self.entries.push_back(entry);
    }
}

/// What the worker writes with.
struct Writer {
    segments: Segments,
    /// As the latest records say.
    vote: Option<wire::Ballot>,
    purged: Option<wire::EntryId>,
    /// Highest index of an entry in each segment.
    tops: BTreeMap<u64, u64>,
    /// Highest segment that is on disk with what it begins with.
    synced: u64,
    counters: Arc<Counters>,
}

impl Writer {
    fn append(&mut self, records: Vec<What>) -> io::Result<()> {
        // Each segment says what the ones before it do, besides entries, so that those can go.
        let ballot = self.vote.map(What::Ballot);
        let purged = self.purged.map(What::Purged);
        let head = if self.segments.is_full() { [ballot, purged] } else { [None, None] };
        let full = head.into_iter().flatten().chain(records.iter().cloned());
        self.segments.append(full)?;
        self.counters.log_bytes.set(self.segments.bytes());
        let segment = self.segments.segment();
        records.iter().for_each(|record| self.note(segment, record));
        Ok(())
    }

    fn note(&mut self, segment: u64, record: &What) {
        match record {
            What::Ballot(ballot) => self.vote = Some(*ballot),
            What::Purged(upto) => self.purged = Some(*upto),
            What::Entry(entry) => {
                let index = entry.id.map_or(0, |id| id.index);
                let top = self.tops.entry(segment).or_default();
                *top = index.max(*top);
            }
            What::Truncated(_) | What::Settled(_) => {}
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segments.sync()?;
        self.synced = self.segments.segment();
        Ok(())
    }

    /// Says that all was synced, for whoever reads after a crash. Need not be synced itself, and begins no segment.
    fn settle(&mut self) -> io::Result<()> {
        if self.segments.is_full() {
            return Ok(());
        }
        let settled = What::Settled(self.segments.sequence());
        self.segments.append([settled])
    }

    /// Removes the oldest segments that hold nothing any more.
    fn remove_void(&mut self) -> io::Result<()> {
        let Some(upto) = self.purged.map(|id| id.index) else { return Ok(()) };
        while let Some((&segment, &top)) = self.tops.first_key_value()
            && segment < self.synced
            && top <= upto
        {
            self.segments.remove(segment)?;
            self.tops.remove(&segment);
        }
        self.counters.log_bytes.set(self.segments.bytes());
        Ok(())
    }
}

/// The log of one member. Clones are handles to the same.
pub struct Log<R: Runtime> {
    member: MemberId,
    memory: Arc<Mutex<Memory<R>>>,
    writer: Arc<Mutex<Writer>>,
    worker: Worker,
    counters: Arc<Counters>,
}

impl<R: Runtime> Clone for Log<R> {
    fn clone(&self) -> Log<R> {
        let (memory, writer) = (Arc::clone(&self.memory), Arc::clone(&self.writer));
        let counters = Arc::clone(&self.counters);
        Log { member: self.member, memory, writer, worker: self.worker.clone(), counters }
    }
}

impl<R: Runtime> Log<R> {
    /// Reads the log of `member` and goes on after its end.
    ///
    /// # Errors
    /// Where what was synced once cannot be read back as it was.
    pub fn open(
        disk: Arc<dyn Disk>,
        member: MemberId,
        worker: Worker,
        counters: Arc<Counters>,
    ) -> Result<Log<R>, LogError> {
        let mut memory: Memory<R> = Memory { vote: None, purged: None, entries: VecDeque::new() };
        let (mut noted, mut meaningless) = (Vec::new(), None);
        let segments = Segments::open(disk, member, |segment, what| {
            // Segments whose entries are gone have to be known as well.
            noted.push((segment, outline(&what)));
            match what {
                What::Ballot(ballot) => memory.vote = Some((&ballot).into()),
                What::Truncated(since) => memory.truncate(since.index),
                What::Purged(upto) => memory.purge((&upto).into()),
                What::Settled(_) => {}
                What::Entry(entry) => match entry.try_into() {
                    Ok(entry) => memory.push(entry),
                    Err(missing) => meaningless = Some((segment, missing)),
                },
            }
        })?;
        if let Some((segment, missing)) = meaningless {
            return Err(LogError::Gap { segment, reason: missing.to_string() });
        }
        // A leader that comes back does not go on leading: openraft (0.9.25) would then serve reads that miss what this
        // member committed in the same term and has not applied again yet. It asks for votes as anybody else.
        if let Some(vote) = memory.vote.as_mut().filter(|vote| vote.leader_id.voted_for == Some(member)) {
            vote.committed = false;
        }
        counters.log_bytes.set(segments.bytes());
        // One that was torn off as it began holds nothing, and is removed in its turn.
        let tops = segments.numbers().map(|number| (number, 0)).collect();
        let mut writer =
            Writer { segments, vote: None, purged: None, tops, synced: 0, counters: Arc::clone(&counters) };
        noted.iter().for_each(|(segment, what)| writer.note(*segment, what));
        // Entries are without gaps, or something is missing that was there.
        let first = memory.first();
        let holes = memory.entries.iter().zip(first..).find(|(entry, index)| entry.log_id.index != *index);
        let late = memory.purged.map_or(0, |id| id.index + 1) != first;
        if holes.is_some() || late {
            let reason = "entries are missing from the log".to_owned();
            return Err(LogError::Gap { segment: writer.segments.segment(), reason });
        }
        let (memory, writer) = (Arc::new(Mutex::new(memory)), Arc::new(Mutex::new(writer)));
        Ok(Log { member, memory, writer, worker, counters })
    }

    /// Writes and syncs on the worker, and then says how it went.
    fn write(&self, records: Vec<What>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let writer = Arc::clone(&self.writer);
        // A failure stays, so that the sync reports it.
        self.worker.submit(move || drop(lock(&writer).append(records)));
        let writer = Arc::clone(&self.writer);
        self.worker.submit(move || {
            let mut writer = lock(&writer);
            let result = writer.sync();
            let synced = result.is_ok();
            done(result);
            if synced && let Err(error) = writer.settle() {
                tracing::error!("the log cannot be written any more: {error}");
            }
        });
    }

    async fn write_and_wait(&self, records: Vec<What>) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.write(records, |result| drop(done.send(result)));
        wait.await.unwrap_or_else(|_| Err(io::Error::other("the worker of the log is gone")))
    }
}

/// A record without what makes it large.
fn outline(what: &What) -> What {
    match what {
        What::Entry(entry) => What::Entry(wire::Entry { id: entry.id, payload: None }),
        other => other.clone(),
    }
}

impl<R: Runtime> RaftLogReader<Types<R>> for Log<R> {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry<R>>, StorageError> {
        let memory = lock(&self.memory);
        let first = memory.first();
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        Ok(memory.entries.iter().skip(skip).take(take).cloned().collect())
    }
}

impl<R: Runtime> RaftLogStorage<Types<R>> for Log<R> {
    type LogReader = Log<R>;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, StorageError> {
        let memory = lock(&self.memory);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last() })
    }

    async fn get_log_reader(&mut self) -> Log<R> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let ballot = What::Ballot(vote.into());
        self.write_and_wait(vec![ballot]).await.map_err(|e| StorageIOError::write_vote(&e))?;
        lock(&self.memory).vote = Some(*vote);
        if vote.leader_id.voted_for == Some(self.member) && !vote.committed {
            self.counters.elections.add(1);
        }
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(lock(&self.memory).vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types<R>>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut memory = lock(&self.memory);
            for entry in entries {
                records.push(What::Entry((&entry).into()));
                memory.push(entry);
            }
        }
        self.write(records, |result| callback.log_io_completed(result));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        lock(&self.memory).truncate(since.index);
        let record = What::Truncated((&since).into());
        Ok(self.write_and_wait(vec![record]).await.map_err(|e| StorageIOError::write_logs(&e))?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        lock(&self.memory).purge(upto);
        let record = What::Purged((&upto).into());
        self.write_and_wait(vec![record]).await.map_err(|e| StorageIOError::write_logs(&e))?;
        let writer = Arc::clone(&self.writer);
        self.worker.submit(move || {
            if let Err(error) = lock(&writer).remove_void() {
                tracing::warn!("a segment that holds nothing any more could not be removed: {error}");
            }
        });
        Ok(())
    }
}
