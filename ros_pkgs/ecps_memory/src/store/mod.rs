//! The file, its one writer, its readers, and the keeper of the index.

pub(crate) mod file;
pub(crate) mod graph_file;
pub(crate) mod keeper;
mod migrate;
pub(crate) mod reader;
pub(crate) mod row;
pub(crate) mod snapshot;
mod sqlite;
pub(crate) mod storage;
pub(crate) mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ecps_core::clock::{RosClock, SteadyClock};
use rusqlite::Connection;

use crate::index::Index;
use crate::query::Query;
use crate::stats::{Counters, Damage};
use crate::vector::Unit;

/// Queries kept to sample the recall with.
const SAMPLED: usize = 64;

/// What the threads share. Where two locks are held at once, `gate` comes first, then `index`, then `damages`.
pub(crate) struct Shared {
    pub(crate) index: RwLock<Index>,
    /// The writer holds it from before a commit until the index shows it; who holds it sees file and index agree.
    pub(crate) gate: Mutex<()>,
    /// By row.
    pub(crate) damages: Mutex<BTreeMap<i64, Damage>>,
    pub(crate) counters: Counters,
    pub(crate) clock: Arc<dyn RosClock>,
    pub(crate) steady: Arc<dyn SteadyClock>,
    /// Longest that a query may take before its answer is cut short.
    pub(crate) query_limit: Duration,
    /// Queries that the graph answered of late.
    pub(crate) asked: Mutex<VecDeque<Query>>,
    /// Nanoseconds of the steady clock at the last request.
    pub(crate) busy: AtomicU64,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn RosClock>, steady: Arc<dyn SteadyClock>, query_limit: Duration) -> Self {
        Shared {
            index: RwLock::default(),
            gate: Mutex::default(),
            damages: Mutex::default(),
            counters: Counters::default(),
            clock,
            steady,
            query_limit,
            asked: Mutex::default(),
            busy: AtomicU64::new(0),
        }
    }

    /// Notes that somebody asks for something.
    pub(crate) fn stir(&self) {
        self.busy.store(self.steady.now().0.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Time since somebody asked for something.
    pub(crate) fn idle(&self) -> Duration {
        let since = (self.steady.now().0.as_nanos() as u64).saturating_sub(self.busy.load(Ordering::Relaxed));
        Duration::from_nanos(since)
    }

    /// Keeps a query to sample the recall with.
    pub(crate) fn remember_asked(&self, query: &Query) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() == SAMPLED {
            asked.pop_front();
        }
        asked.push_back(query.clone());
    }

    /// Takes a damaged row out of what can be found, and remembers its name.
    fn quarantine(&self, namespace: &str, damage: Damage) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(damage.row, namespace);
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).insert(damage.row, damage);
    }

    /// Fills the index from the file, in place of what is in it. Returns the greatest row.
    pub(crate) fn load(&self, connection: &Connection) -> Result<i64, LoadError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        *index = Index::default();
        damages.clear();
        let touched: HashMap<i64, i64> = connection
            .prepare("SELECT row, query FROM touched")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let (mut last, mut count) = (0, 0_i64);
        let mut statement = connection.prepare(row::SELECT_HEADS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            count += 1;
            match row::decode_head(row) {
                Ok(record) => {
                    let expected = index.dimension(&record.namespace, &record.model_id);
                    let found = record.embedding.len();
                    if expected.is_some_and(|expected| expected != found) {
                        let reason = format!("it has {found} elements, unlike the others of its model");
                        let (namespace, id) = (record.namespace, record.id);
                        damages.insert(last, Damage { row: last, namespace, id, reason });
                    } else {
                        let queried = touched.get(&last).copied().unwrap_or_default().unsigned_abs();
                        index.add(last, &record, &Unit::new(&record.embedding), queried);
                    }
                }
                Err(damage) => {
                    damages.insert(last, damage);
                }
            }
        }
        // A damaged page can hide rows without SQLite's noticing; the other tree still counts them.
        let ids: i64 =
            connection.query_row("SELECT count(*) FROM record INDEXED BY record_by_id", [], |row| row.get(0))?;
        if ids != count {
            return Err(LoadError::Rows { count, ids });
        }
        Ok(last)
    }
}

/// Why the file cannot be read whole.
#[derive(Debug)]
pub(crate) enum LoadError {
    Sqlite(rusqlite::Error),
    /// The table and the index of ids do not agree.
    Rows {
        count: i64,
        ids: i64,
    },
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        LoadError::Sqlite(error)
    }
}

impl LoadError {
    /// As a reason not to open the file.
    pub(crate) fn into_open_error(self, path: &std::path::Path) -> crate::error::OpenError {
        let path = path.to_owned();
        match self {
            LoadError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                crate::error::OpenError::Damaged { path, reason: error.to_string() }
            }
            LoadError::Sqlite(reason) => crate::error::OpenError::Sqlite { path, reason },
            LoadError::Rows { count, ids } => {
                let reason = format!("its table has {count} rows, and its index of ids has {ids}");
                crate::error::OpenError::Damaged { path, reason }
            }
        }
    }
}
