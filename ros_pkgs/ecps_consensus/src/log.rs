//! openraft's log and vote: on segments for keeping, the latest of it in memory for reading. Nothing is answered before it
//! is on disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::ahead::Ahead;
use crate::counters::Counters;
use crate::disk::Disk;
use crate::runtime::{Runtime, Worker};
use crate::segments::{LogError, Place, Segments, read_back};
use crate::types::{Entry, LogId, MemberId, StorageError, StorageIOError, Types, Vote};
use crate::window::{Found, Window};
use crate::wire::{self, record::What, some_id};

/// Locks, also after a panic elsewhere: what is guarded is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Where each of the entries among them is now.
    fn append(&mut self, records: &[What]) -> io::Result<Vec<(LogId, Place)>> {
        // Each segment says what the ones before it do, besides entries, so that those can go.
        let ballot = self.vote.map(What::Ballot);
        let purged = self.purged.map(What::Purged);
        let head = if self.segments.is_full() { [ballot, purged] } else { [None, None] };
        let head: Vec<What> = head.into_iter().flatten().collect();
        let places = self.segments.append(head.iter().chain(records))?;
        self.counters.log_bytes.set(self.segments.bytes());
        let segment = self.segments.segment();
        records.iter().for_each(|record| self.note(segment, record));
        let written = records.iter().zip(places.into_iter().skip(head.len()));
        Ok(written.filter_map(|(record, place)| Some((entry_id(record)?, place))).collect())
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
        self.segments.append([&settled]).map(drop)
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
    disk: Arc<dyn Disk>,
    memory: Arc<Mutex<Window<R>>>,
    writer: Arc<Mutex<Writer>>,
    worker: Worker,
    counters: Arc<Counters>,
    ahead: Option<Arc<Ahead>>,
}

impl<R: Runtime> Clone for Log<R> {
    fn clone(&self) -> Log<R> {
        let (memory, writer) = (Arc::clone(&self.memory), Arc::clone(&self.writer));
        let (disk, counters) = (Arc::clone(&self.disk), Arc::clone(&self.counters));
        let (worker, ahead) = (self.worker.clone(), self.ahead.clone());
        Log { member: self.member, disk, memory, writer, worker, counters, ahead }
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
        let mut memory: Window<R> = Window::new(disk.window_bytes());
        let (mut noted, mut meaningless) = (Vec::new(), None);
        let segments = Segments::open(Arc::clone(&disk), member, |place, what| {
            let segment = place.segment;
            // Segments whose entries are gone have to be known as well.
            noted.push((segment, outline(&what)));
            match what {
                What::Ballot(ballot) => memory.vote = Some((&ballot).into()),
                What::Truncated(since) => memory.truncate(since.index),
                What::Purged(upto) => memory.purge((&upto).into()),
                What::Settled(_) => {}
                What::Entry(entry) => match entry.try_into() {
                    Ok(entry) => {
                        let entry: Entry<R> = entry;
                        let id = entry.log_id;
                        memory.push(entry);
                        memory.placed(id, place);
                    }
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
        if !memory.is_whole() {
            let reason = "entries are missing from the log".to_owned();
            return Err(LogError::Gap { segment: writer.segments.segment(), reason });
        }
        let (memory, writer) = (Arc::new(Mutex::new(memory)), Arc::new(Mutex::new(writer)));
        Ok(Log { member, disk, memory, writer, worker, counters, ahead: None })
    }

    /// Sends what a leader writes to the others meanwhile.
    #[must_use]
    pub(crate) fn sending(self, ahead: Arc<Ahead>) -> Log<R> {
        Log { ahead: Some(ahead), ..self }
    }

    /// Writes and syncs on the worker, and then says how it went.
    fn write(&self, records: Vec<What>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let writer = Arc::clone(&self.writer);
        let memory = Arc::clone(&self.memory);
        self.worker.submit(move || {
            // A failure stays, so that the sync reports it.
            let Ok(places) = lock(&writer).append(&records) else { return };
            let mut memory = lock(&memory);
            places.into_iter().for_each(|(id, place)| memory.placed(id, place));
        });
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

    /// Reads entries that are not in memory any more. None for what was purged meanwhile.
    async fn read_old(&self, entries: Vec<(LogId, Place)>) -> Result<Vec<Option<Entry<R>>>, StorageError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, wait) = oneshot::channel();
        let disk = Arc::clone(&self.disk);
        let places: Vec<Place> = entries.iter().map(|(_, place)| *place).collect();
        self.worker.submit(move || {
            let read: Vec<_> = places.into_iter().map(|place| read_back(disk.as_ref(), place)).collect();
            drop(answer.send(read));
        });
        let read = wait.await.unwrap_or_default();
        let first = lock(&self.memory).first();
        let mut found = Vec::with_capacity(read.len());
        for ((id, _), what) in entries.into_iter().zip(read) {
            found.push(match what {
                Ok(What::Entry(entry)) if entry.id.as_ref().map(LogId::from) == Some(id) => {
                    Some(entry.try_into().map_err(|e: wire::Missing| StorageIOError::read_log_entry(id, &e))?)
                }
                _ if id.index < first => None,
                Ok(_) => Err(StorageIOError::read_log_entry(id, &wire::Missing("entry where one was written")))?,
                Err(error) => Err(StorageIOError::read_log_entry(id, &error))?,
            });
        }
        Ok(found)
    }

    async fn write_and_wait(&self, records: Vec<What>) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.write(records, |result| drop(done.send(result)));
        wait.await.unwrap_or_else(|_| Err(io::Error::other("the worker of the log is gone")))
    }
}

/// The id of the entry that a record is.
fn entry_id(record: &What) -> Option<LogId> {
    match record {
        What::Entry(entry) => entry.id.as_ref().map(LogId::from),
        _ => None,
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
        let found = lock(&self.memory).read(&range);
        let there: Vec<(LogId, Place)> = found
            .iter()
            .filter_map(|found| if let Found::There(id, place) = found { Some((*id, *place)) } else { None })
            .collect();
        let mut old = self.read_old(there).await?.into_iter();
        let entry = |found| match found {
            Found::Here(entry) => Some(entry),
            Found::There(..) => old.next().flatten(),
        };
        Ok(found.into_iter().filter_map(entry).collect())
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
        let (vote, previous) = {
            let mut memory = lock(&self.memory);
            let before = (memory.vote, memory.last());
            for entry in entries {
                records.push(What::Entry((&entry).into()));
                memory.push(entry);
            }
            before
        };
        if let Some(vote) = vote.filter(|vote| vote.committed && vote.leader_id.voted_for == Some(self.member))
            && let Some(ahead) = &self.ahead
        {
            ahead.send::<R>((&vote).into(), some_id(previous.as_ref()), &records);
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
