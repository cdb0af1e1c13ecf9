//! The memory: open, put, get, query, delete.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use ecps_core::check;

use crate::error::{BATCH, BATCH_BYTES, DeleteError, GetError, OpenError, PutError, QueryError, Unavailable};
use crate::lane::Lane;
use crate::query::{Answer, Query};
use crate::record::{DEFAULT_NAMESPACE, ID_BYTES, Record, Stored, namespace_or_default, needed_text, optional_text};
use crate::reply::{Answering, Reply};
use crate::stats::{Damage, Stats};
use crate::store::reader::Reader;
use crate::store::writer::Writer;
use crate::store::{Shared, file, reader, writer};

/// How a memory is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most requests that may wait to be written, and as many again to be read, 1 to 65536.
    pub waiting: usize,
    /// Threads that read, 1 to 16.
    pub readers: usize,
    /// How far the file may grow, bytes; None leaves that to the disk. The log beside it comes on top.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { waiting: 256, readers: 2, max_bytes: None }
    }
}

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
    /// None only while dropping: the threads end when their lanes are gone.
    lanes: Option<(Lane<writer::Job>, Lane<reader::Job>)>,
    threads: Vec<JoinHandle<()>>,
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
        check::in_range("waiting", options.waiting as f64, 1.0, 65536.0)?;
        check::in_range("readers", options.readers as f64, 1.0, 16.0)?;
        let (path, lock) = file::claim(path)?;
        let io = |reason| OpenError::Io { path: path.clone(), reason };
        let shared = Arc::new(Shared::default());
        let connection = file::open_writer(&path, options.max_bytes)?;
        let last_row = shared.load(&connection).map_err(|reason| OpenError::Sqlite { path: path.clone(), reason })?;

        let (writing, jobs) = Lane::new(options.waiting);
        let (reading, questions) = Lane::new(options.waiting);
        // From here on the threads end by themselves where opening fails, since the lanes go with this function.
        let writer = Writer { shared: shared.clone(), connection, new_id: Box::new(new_id), last_row };
        let mut threads = vec![Builder::new().name("mep-writer".into()).spawn(|| writer.run(jobs)).map_err(io)?];
        let questions = Arc::new(Mutex::new(questions));
        for _ in 0..options.readers {
            let reader = Reader { shared: shared.clone(), connection: file::open_reader(&path)? };
            let questions = questions.clone();
            threads.push(Builder::new().name("mep-reader".into()).spawn(|| reader.run(questions)).map_err(io)?);
        }
        Ok(Memory { shared, lanes: Some((writing, reading)), threads, _lock: lock })
    }

    /// Remembers 1 to 1024 records, all of them or none. Answered when they are on disk, in the order given; a query
    /// asked after that finds them. A record whose id is there already replaces it, with the next version.
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
        self.hand(self.lanes.as_ref().map(|lanes| &lanes.0), bytes, |answering| writer::Job::Put(records, answering))
    }

    /// Forgets 1 to 1024 records by id and says how many were there. Answered when that is on disk.
    pub fn delete(&self, namespace: &str, ids: Vec<String>) -> Reply<u32, DeleteError> {
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
        let namespace = namespace_or_default(namespace).to_owned();
        self.hand(self.lanes.as_ref().map(|lanes| &lanes.0), bytes, |answering| {
            writer::Job::Delete(namespace, ids, answering)
        })
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

    /// What have I seen like this, when and where? Exact; sees all that was acknowledged, and a batch whole or not at all.
    pub fn query(&self, query: Query) -> Reply<Answer, QueryError> {
        let accepted = query.validate().map(|()| size_of::<Query>()).map_err(QueryError::from);
        self.hand(self.lanes.as_ref().map(|lanes| &lanes.1), accepted, |answering| reader::Job::Query(query, answering))
    }

    /// State at this moment.
    pub fn stats(&self) -> Stats {
        let records = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).records();
        let damaged = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shared.counters.snapshot(records, damaged)
    }

    /// The damaged rows met since opening that have not been replaced or deleted.
    pub fn damages(&self) -> Vec<Damage> {
        self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
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
            Err(reason) => {
                self.shared.counters.refused(&reason);
                Reply::refused(reason)
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.lanes = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}
