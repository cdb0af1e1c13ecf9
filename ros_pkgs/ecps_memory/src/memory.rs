//! The memory: open, put, get, query, delete.

mod options;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use nalgebra::Isometry3;

use crate::consolidate::Consolidation;
use crate::error::{
    BATCH, BATCH_BYTES, DeleteError, GetError, KeepError, OpenError, PutError, QueryError, Unavailable,
};
use crate::lane::Lane;
use crate::query::{Answer, Query};
use crate::record::{DEFAULT_NAMESPACE, ID_BYTES, Record, Stored, namespace_or_default, needed_text, optional_text};
use crate::reply::{Answering, Reply};
use crate::stats::{Damage, Stats};
use crate::store::graph_file::{self, GraphFile};
use crate::store::keeper::Keeper;
use crate::store::reader::Reader;
use crate::store::snapshot::{self, Snapshot};
use crate::store::writer::{Apart, Batch, Deletion, Reanchor, Writer};
use crate::store::{Shared, file, reader, writer};
use crate::vector::Unit;

pub use options::Options;

/// A memory file being served. Requests are handed to its threads and answered through a [`Reply`]; a request that is
/// refused before that is answered at once. Dropping it finishes what waits, then closes the file.
///
/// ```
/// use ecps_memory::{Likeness, Memory, Options, Query, Record, uuid_ids};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let memory = Memory::open(&folder.path().join("memory.db"), Options::default(), uuid_ids())?;
/// let cup = Record { model_id: "toy".into(), embedding: vec![1.0, 0.0], labels: vec!["cup".into()], ..Record::default() };
/// let stored = memory.put(vec![cup]).wait()?; // or .await
///
/// let likeness = Likeness { model_id: "toy".into(), embedding: vec![0.9, 0.1] };
/// let answer = memory.query(Query { likeness: Some(likeness), ..Query::default() }).wait()?;
/// assert_eq!(answer.hits[0].record.id, stored[0].id);
/// # Ok(())
/// # }
/// ```
pub struct Memory {
    shared: Arc<Shared>,
    path: PathBuf,
    graph_file: GraphFile,
    /// Held while a snapshot is written, so that there is one at a time.
    snapshots: Arc<Mutex<()>>,
    /// None only while dropping: the keeper ends when this is gone, the other threads when their lanes are.
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
    lanes: Option<(Arc<Lane<writer::Job>>, Lane<reader::Job>)>,
    threads: Vec<JoinHandle<()>>,
    /// For those who ask on their own thread.
    askers: Vec<Mutex<Reader>>,
    /// Let go last.
    _lock: file::Lock,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Ids that sort by time and do not repeat (UUIDv7, RFC 9562), from the system's clock and randomness.
pub fn uuid_ids() -> impl FnMut() -> String + Send + 'static {
    || uuid::Uuid::now_v7().to_string()
}

impl Memory {
    /// Opens the file, or makes it (mode 0600, missing folders too), and reads every vector in it. Damaged rows are
    /// left out; [`damages`](Memory::damages) names them. `new_id` makes the ids of records put without one: 1 to 128
    /// bytes, never the same twice.
    pub fn open(
        path: &Path,
        options: Options,
        new_id: impl FnMut() -> String + Send + 'static,
    ) -> Result<Memory, OpenError> {
        options.validate()?;
        let (path, lock) = file::claim(path)?;
        let io = |reason| OpenError::Io { path: path.clone(), reason };
        let shared = Arc::new(Shared::new(options.clock, options.steady, options.query_limit));
        let connection = file::open_writer(&path, options.max_bytes, options.durability)?;
        let last_row = shared.load(&connection).map_err(|error| error.into_open_error(&path))?;
        let graph_path = graph_file::path(&path);
        let graph_file = {
            let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
            graph_file::adopt(&graph_path, &connection, &mut index)
        };

        let (writing, jobs) = Lane::new(options.waiting);
        let (reading, questions) = Lane::new(options.waiting);
        let writing = Arc::new(writing);
        // From here on the threads end by themselves where opening fails, since the lanes go with this function.
        let policy = options.policy;
        let writer = Writer { shared: shared.clone(), connection, new_id: Box::new(new_id), policy, last_row };
        let mut threads = vec![Builder::new().name("mep-writer".into()).spawn(|| writer.run(jobs)).map_err(io)?];
        let questions = Arc::new(Mutex::new(questions));
        let mut askers = Vec::new();
        for _ in 0..options.readers {
            askers.push(Mutex::new(Reader::new(shared.clone(), file::open_reader(&path)?)));
            let reader = Reader::new(shared.clone(), file::open_reader(&path)?);
            let questions = questions.clone();
            threads.push(Builder::new().name("mep-reader".into()).spawn(|| reader.run(questions)).map_err(io)?);
        }
        let keeper = Keeper {
            shared: shared.clone(),
            writing: writing.clone(),
            graph_path,
            graph_from: options.graph_from,
            threads: options.graph_threads,
            samples: Default::default(),
            saved: if let GraphFile::Whole(nodes) = &graph_file { *nodes } else { 0 },
        };
        let (stop, stopped) = channel();
        let keeper = Builder::new().name("mep-keeper".into()).spawn(|| keeper.run(stopped)).map_err(io)?;
        let (keeper, lanes) = (Some((stop, keeper)), Some((writing, reading)));
        Ok(Memory { shared, path, graph_file, snapshots: Arc::default(), keeper, lanes, threads, askers, _lock: lock })
    }

    /// Remembers 1 to 1024 records, all of them or none. Answered when they are on disk, in the order given; a query
    /// asked after that finds them. A record whose id is there already replaces it, with the next version; one without an
    /// id may be merged into one that it nearly repeats.
    pub fn put(&self, mut records: Vec<Record>) -> Reply<Vec<Stored>, PutError> {
        let accept = || -> Result<usize, PutError> {
            if records.is_empty() || records.len() > BATCH {
                return Err(PutError::BatchSize { records: records.len() });
            }
            let bytes = records.iter().map(Record::bytes).sum();
            if bytes > BATCH_BYTES {
                return Err(PutError::BatchBytes { bytes });
            }
            for (index, record) in records.iter().enumerate() {
                record.validate().map_err(|reason| PutError::Invalid { index, reason })?;
            }
            Ok(bytes)
        };
        let bytes = accept();
        for record in records.iter_mut().filter(|record| record.namespace.is_empty()) {
            record.namespace = DEFAULT_NAMESPACE.into();
        }
        self.hand(self.writing(), bytes, |answering| {
            let nameless = records.iter().map(|record| record.id.is_empty()).collect();
            let vectors = records.iter().map(|record| Unit::new(&record.embedding)).collect();
            writer::Job::Put(Batch { records, nameless, vectors }, answering)
        })
    }

    /// Forgets 1 to 1024 records by id and says how many were there. Answered when that is on disk.
    pub fn delete(&self, namespace: &str, ids: Vec<String>) -> Reply<u32, DeleteError> {
        self.forget(namespace, ids, false)
    }

    /// As [`delete`](Memory::delete), and answered when what they held is overwritten in the file and gone from its log, and
    /// the room is given back. A snapshot made before still holds it.
    pub fn erase(&self, namespace: &str, ids: Vec<String>) -> Reply<u32, DeleteError> {
        self.forget(namespace, ids, true)
    }

    fn forget(&self, namespace: &str, ids: Vec<String>, erase: bool) -> Reply<u32, DeleteError> {
        let accept = || -> Result<usize, DeleteError> {
            if ids.is_empty() || ids.len() > BATCH {
                return Err(DeleteError::BatchSize { ids: ids.len() });
            }
            optional_text("memory_namespace", namespace, ID_BYTES)?;
            for (index, id) in ids.iter().enumerate() {
                needed_text(&format!("ids[{index}]"), id, ID_BYTES)?;
            }
            Ok(ids.iter().map(String::len).sum())
        };
        let bytes = accept();
        let deletion = Deletion { namespace: namespace_or_default(namespace).to_owned(), ids, erase };
        self.hand(self.writing(), bytes, |answering| writer::Job::Delete(deletion, answering))
    }

    /// Fetches one record.
    pub fn get(&self, namespace: &str, id: &str) -> Reply<Record, GetError> {
        let accept = || -> Result<usize, GetError> {
            optional_text("memory_namespace", namespace, ID_BYTES)?;
            needed_text("id", id, ID_BYTES)?;
            Ok(id.len())
        };
        let bytes = accept();
        let (namespace, id) = (namespace_or_default(namespace).to_owned(), id.to_owned());
        self.hand(self.lanes.as_ref().map(|lanes| &lanes.1), bytes, |answering| {
            reader::Job::Get(namespace, id, answering)
        })
    }

    /// What have I seen like this, when and where? Sees all that was acknowledged, and a batch whole or not at all. Exact,
    /// unless [`Answer::way`] says that the graph was asked.
    pub fn query(&self, query: Query) -> Reply<Answer, QueryError> {
        let accepted = query.validate().map(|()| size_of::<Query>()).map_err(QueryError::from);
        self.hand(self.lanes.as_ref().map(|lanes| &lanes.1), accepted, |answering| {
            reader::Job::Query(Box::new(query), answering)
        })
    }

    /// As [`query`](Memory::query), on the calling thread: spares the way to another thread and back, which takes as long
    /// as many a search. Where as many do the same already as there are readers, it is queued like other queries.
    pub fn ask(&self, query: &Query) -> Result<Answer, QueryError> {
        query.validate().inspect_err(|reason| self.shared.counters.refused(reason))?;
        match self.askers.iter().find_map(|asker| asker.try_lock().ok()) {
            Some(reader) => reader.serve(query, false),
            None => self.query(query.clone()).wait(),
        }
    }

    /// As [`ask`](Memory::ask), by a walk of the graph also where a scan is cheaper: for measuring what that choice is worth.
    /// Scans where there is no graph, or where the query asks for words or weights that a walk knows nothing of.
    pub fn ask_graph(&self, query: &Query) -> Result<Answer, QueryError> {
        query.validate().inspect_err(|reason| self.shared.counters.refused(reason))?;
        let asker = self.askers.first().ok_or(Unavailable::Closed)?;
        asker.lock().unwrap_or_else(PoisonError::into_inner).serve(query, true)
    }

    /// Writes everything into one file beside the database, `<database>.snapshots/<name>.db`, while all goes on. One of
    /// that name is replaced.
    pub fn snapshot(&self, name: &str) -> Reply<Snapshot, KeepError> {
        let (answering, reply) = Reply::new();
        let to = match snapshot::path(&self.path, name) {
            Ok(to) => to,
            Err(reason) => return self.refused(reason),
        };
        let (database, one_at_a_time) = (self.path.clone(), self.snapshots.clone());
        let write = move || {
            let _turn = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            // An asker who no longer listens is no matter.
            let _ = answering.send(snapshot::write(&database, &to));
        };
        match Builder::new().name("mep-snapshot".into()).spawn(write) {
            Ok(_) => reply,
            Err(error) => self.refused(KeepError::Unavailable(Unavailable::Storage(error.to_string()))),
        }
    }

    /// Puts a snapshot in the place of everything that is remembered, and says how many records that is.
    pub fn restore(&self, name: &str) -> Reply<u64, KeepError> {
        let find = || {
            let path = snapshot::path(&self.path, name)?;
            let folder = snapshot::folder(&self.path);
            if path.is_file() { Ok(path) } else { Err(KeepError::NotFound { name: name.to_owned(), folder }) }
        };
        match find() {
            Ok(path) => {
                self.hand(self.writing(), Ok(0), |answering| writer::Job::Apart(Apart::Restore(path, answering)))
            }
            Err(reason) => self.refused(reason),
        }
    }

    /// Moves the poses of a frame of a map, as when the map was corrected: each becomes `transform` times what it was. Says
    /// how many records were moved.
    pub fn reanchor(
        &self,
        namespace: &str,
        frame_id: &str,
        map_id: &str,
        transform: Isometry3<f64>,
    ) -> Reply<u64, KeepError> {
        let accept = || -> Result<usize, KeepError> {
            optional_text("memory_namespace", namespace, ID_BYTES)?;
            needed_text("frame_id", frame_id, ecps_core::limits::NAME_BYTES)?;
            optional_text("map_id", map_id, ecps_core::limits::NAME_BYTES)?;
            let at = transform.translation;
            crate::record::position("transform.translation", [at.x, at.y, at.z])?;
            Ok(0)
        };
        let accepted = accept();
        let namespace = namespace_or_default(namespace).to_owned();
        let reanchor = Reanchor { namespace, frame_id: frame_id.into(), map_id: map_id.into(), transform };
        self.hand(self.writing(), accepted, |answering| writer::Job::Apart(Apart::Reanchor(reanchor, answering)))
    }

    /// Makes a summary of each group of memories alike, which names its members as parents; the members stay.
    pub fn consolidate(&self, consolidation: &Consolidation) -> Reply<Vec<Stored>, PutError> {
        let summaries = match crate::consolidate::summaries(&self.path, &self.shared, consolidation) {
            Ok(summaries) => summaries,
            Err(reason) => return self.refused(reason),
        };
        if summaries.is_empty() {
            let (answering, reply) = Reply::new();
            let _ = answering.send(Ok(Vec::new()));
            return reply;
        }
        self.put(summaries)
    }

    /// State at this moment.
    pub fn stats(&self) -> Stats {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let damaged = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner).len();
        let mut stats = self.shared.counters.snapshot(index.records(), damaged);
        for (_, _, arena) in index.arenas() {
            let (indexed, unindexed) = arena.indexed();
            stats.indexed += indexed as u64;
            stats.unindexed += unindexed as u64;
            stats.recall = match (stats.recall, arena.recall()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        drop(index);
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
        stats.bytes = size(&self.path) + size(log.as_ref());
        stats
    }

    /// Counts a request that was refused before it reached the memory.
    pub fn note_refusal(&self, reason: &dyn fmt::Display) {
        self.shared.counters.refused(reason);
    }

    /// What became of the graph file on opening.
    pub fn graph_file(&self) -> &GraphFile {
        &self.graph_file
    }

    /// The damaged rows met since opening that have not been replaced or deleted.
    pub fn damages(&self) -> Vec<Damage> {
        self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn writing(&self) -> Option<&Lane<writer::Job>> {
        self.lanes.as_ref().map(|lanes| lanes.0.as_ref())
    }

    fn refused<T, E: From<Unavailable> + fmt::Display>(&self, reason: E) -> Reply<T, E> {
        self.shared.counters.refused(&reason);
        Reply::refused(reason)
    }

    /// Hands an accepted request of so many bytes to a lane, or answers with the refusal.
    fn hand<J, T, E: From<Unavailable> + fmt::Display>(
        &self,
        lane: Option<&Lane<J>>,
        accepted: Result<usize, E>,
        job: impl FnOnce(Answering<T, E>) -> J,
    ) -> Reply<T, E> {
        let (answering, reply) = Reply::new();
        let sent = accepted.and_then(|bytes| {
            let lane = lane.ok_or(Unavailable::Closed)?;
            Ok(lane.send(job(answering), bytes)?)
        });
        match sent {
            Ok(()) => reply,
            Err(reason) => self.refused(reason),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some((stop, keeper)) = self.keeper.take() {
            drop(stop);
            // It writes its notes through the writer, so it ends first.
            let _ = keeper.join();
        }
        self.lanes = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::query::{Likeness, Way};

    /// Most links of the graph are taken away under its hands.
    #[test]
    fn a_graph_that_finds_too_little_is_noticed_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { graph_from: 1000, ..Options::default() };
        let memory = Memory::open(&folder.path().join("memory.db"), options, uuid_ids()).unwrap();
        let wave = |n: usize| -> Vec<f32> { (0..24).map(|i| ((n * 37 + i * 101) as f32 * 0.37).sin()).collect() };
        let one = |n| Record { model_id: "toy".into(), embedding: wave(n), ..Record::default() };
        memory.put((0..1000).map(one).collect()).wait().unwrap();
        memory.put((1000..2000).map(one).collect()).wait().unwrap();
        memory.put((2000..3000).map(one).collect()).wait().unwrap();
        let wait_for = |what: &dyn Fn(&Stats) -> bool| {
            let start = Instant::now();
            while !what(&memory.stats()) {
                assert!(start.elapsed() < Duration::from_secs(120), "{:?}", memory.stats());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for(&|stats| stats.indexed == 3000);
        let mut index = memory.shared.index.write().unwrap();
        index.arena_mut("default", "toy").unwrap().sabotage();
        drop(index);
        for n in 0..64 {
            let likeness = Some(Likeness { model_id: "toy".into(), embedding: wave(5000 + n) });
            let answer = memory.query(Query { likeness, min_sim: -1.0, ..Query::default() }).wait().unwrap();
            assert_eq!(answer.way, Way::Graph);
        }
        wait_for(&|stats| stats.rebuilds >= 2);
        wait_for(&|stats| stats.recall.is_some_and(|recall| recall > 0.9));
    }
}
