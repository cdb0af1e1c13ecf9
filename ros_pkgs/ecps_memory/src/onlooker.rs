//! Looking at a memory file that another process may serve: read-only, and as it was when it was opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ecps_core::clock::{SystemRos, SystemSteady};

use crate::error::{GetError, OpenError, QueryError, Unavailable};
use crate::query::{Answer, Query};
use crate::record::{Record, namespace_or_default};
use crate::stats::Damage;
use crate::store::reader::Reader;
use crate::store::{Shared, file, row};

/// Longest that one of its queries takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks at a memory file. What is put afterwards, it does not see.
pub struct Onlooker {
    reader: Reader,
}

impl std::fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Onlooker").field("records", &self.records()).finish_non_exhaustive()
    }
}

/// A row's number, and its record or what is wrong with it.
pub type NumberedRow = (i64, Result<Record, Damage>);

/// What a namespace holds of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The namespace.
    pub namespace: String,
    /// The model.
    pub model_id: String,
    /// Elements of its vectors.
    pub dimension: usize,
    /// Its records.
    pub records: usize,
}

impl Onlooker {
    /// Opens the file and reads every vector in it. Changes nothing.
    pub fn open(path: &Path) -> Result<Onlooker, OpenError> {
        let connection = file::open_onlooker(path)?;
        let shared = Arc::new(Shared::new(Arc::new(SystemRos), Arc::new(SystemSteady), LIMIT));
        shared.load(&connection).map_err(|error| error.into_open_error(path))?;
        Ok(Onlooker { reader: Reader::new(shared, connection) })
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, crate::index::Index> {
        self.reader.shared.index.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Records that can be found.
    pub fn records(&self) -> usize {
        self.index().records()
    }

    /// What is in it, by namespace and model.
    pub fn contents(&self) -> Vec<Contents> {
        let index = self.index();
        let contents = index.arenas().map(|(namespace, model_id, arena)| Contents {
            namespace: namespace.clone(),
            model_id: model_id.clone(),
            dimension: arena.dimension(),
            records: arena.len(),
        });
        contents.collect()
    }

    /// Rows that are not as they were written.
    pub fn damages(&self) -> Vec<Damage> {
        let damages = self.reader.shared.damages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        damages.values().cloned().collect()
    }

    /// As [`Memory::query`](crate::Memory::query).
    pub fn query(&self, query: &Query) -> Result<Answer, QueryError> {
        query.validate()?;
        self.reader.query(query, false)
    }

    /// As [`Memory::get`](crate::Memory::get).
    pub fn get(&self, namespace: &str, id: &str) -> Result<Record, GetError> {
        self.reader.get(namespace_or_default(namespace).to_owned(), id.to_owned())
    }

    /// Up to `count` rows from row number `from` on, whole: their numbers, and the records or what is wrong with them.
    pub fn rows(&self, from: i64, count: u32) -> Result<Vec<NumberedRow>, Unavailable> {
        let mut statement = self.reader.connection.prepare_cached(row::SELECT_FROM)?;
        let rows = statement.query_map((from, count), |row| Ok((row.get(0)?, row::decode(row))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
