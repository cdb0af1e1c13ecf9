//! The file, its one writer and its readers.

pub(crate) mod file;
pub(crate) mod reader;
mod row;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use rusqlite::Connection;

use crate::index::Index;
use crate::stats::{Counters, Damage};
use crate::vector::unit;

/// What the threads share. Where two locks are held at once, `gate` comes first, then `index`, then `damages`.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) index: RwLock<Index>,
    /// The writer holds it from before a commit until the index shows it; who holds it sees file and index agree.
    pub(crate) gate: Mutex<()>,
    /// By row.
    pub(crate) damages: Mutex<BTreeMap<i64, Damage>>,
    pub(crate) counters: Counters,
}

impl Shared {
    /// Takes a damaged row out of what can be found, and remembers its name.
    fn quarantine(&self, namespace: &str, damage: Damage) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(damage.row, namespace);
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).insert(damage.row, damage);
    }

    /// Fills the empty index from the file. Returns the greatest row.
    pub(crate) fn load(&self, connection: &Connection) -> Result<i64, rusqlite::Error> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = 0;
        let mut statement = connection.prepare(row::SELECT_HEADS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            match row::decode_head(row) {
                Ok(record) => {
                    let expected = index.dimension(&record.namespace, &record.model_id);
                    let found = record.embedding.len();
                    if expected.is_some_and(|expected| expected != found) {
                        let reason = format!("it has {found} elements, unlike the others of its model");
                        let (namespace, id) = (record.namespace, record.id);
                        damages.insert(last, Damage { row: last, namespace, id, reason });
                    } else {
                        index.add(last, &record, &unit(&record.embedding));
                    }
                }
                Err(damage) => {
                    damages.insert(last, damage);
                }
            }
        }
        Ok(last)
    }
}
