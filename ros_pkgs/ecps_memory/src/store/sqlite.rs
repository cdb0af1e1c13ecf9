//! Records in SQLite.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};

use super::row;
use super::storage::{Read, Storage};
use crate::arena::TextScores;
use crate::error::Unavailable;
use crate::record::Record;
use crate::stats::Damage;

/// Words of a row, to be found and to be found no more.
const INSERT_TEXT: &str = "INSERT INTO record_text (rowid, text) VALUES (?1, ?2)";
const DELETE_TEXT: &str = "INSERT INTO record_text (record_text, rowid, text) VALUES ('delete', ?1, ?2)";

/// Of a transaction too, which is one of these.
impl Storage for Connection {
    fn find(&self, namespace: &str, id: &str) -> Result<Option<(i64, u64)>, Unavailable> {
        let sql = "SELECT row, version FROM record WHERE namespace = ?1 AND id = ?2";
        // What should be the version may be anything, also no number.
        let version = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1).unwrap_or_default().max(0).unsigned_abs()));
        Ok(self.prepare_cached(sql)?.query_row((namespace, id), version).optional()?)
    }

    fn read(&self, row: i64) -> Result<Option<Read>, Unavailable> {
        one(self, row::SELECT_ROW, [row], row::decode)
    }

    fn read_head(&self, row: i64) -> Result<Option<Read>, Unavailable> {
        one(self, row::SELECT_HEAD, [row], row::decode_head)
    }

    fn read_named(&self, namespace: &str, id: &str) -> Result<Option<Read>, Unavailable> {
        one(self, row::SELECT_ID, (namespace, id), row::decode)
    }

    fn read_words(&self, words: &str, most: usize) -> Result<TextScores, Unavailable> {
        let sql = "SELECT rowid, -bm25(record_text) FROM record_text WHERE record_text MATCH ?1 LIMIT ?2";
        let mut statement = self.prepare_cached(sql)?;
        let rows = statement.query_map((words, most as i64), |row| Ok((row.get(0)?, row.get::<_, f64>(1)? as f32)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn add(&self, row: i64, record: &Record) -> Result<(), Unavailable> {
        row::insert(self, row, record)?;
        if !record.text.is_empty() {
            self.prepare_cached(INSERT_TEXT)?.execute((row, &record.text))?;
        }
        Ok(())
    }

    fn change(&self, row: i64, record: &Record) -> Result<(), Unavailable> {
        Ok(row::insert(self, row, record)?)
    }

    fn remove(&self, row: i64) -> Result<bool, Unavailable> {
        let text = "SELECT CAST(text AS BLOB) FROM record WHERE row = ?1";
        let text: Option<Vec<u8>> = self.prepare_cached(text)?.query_row([row], |row| row.get(0)).optional()?;
        let Some(text) = text else { return Ok(false) };
        if !text.is_empty() {
            self.prepare_cached(DELETE_TEXT)?.execute((row, String::from_utf8_lossy(&text)))?;
        }
        self.prepare_cached("DELETE FROM record WHERE row = ?1")?.execute([row])?;
        Ok(true)
    }
}

/// One row, or none. What keeps SQLite from reading it is damage too.
fn one(
    connection: &Connection,
    sql: &str,
    key: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Read,
) -> Result<Option<Read>, Unavailable> {
    let read = connection.prepare_cached(sql)?.query_row(key, |row| Ok(decode(row))).optional();
    match read {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            let unknown = String::new();
            Ok(Some(Err(Damage { row: 0, namespace: unknown.clone(), id: unknown, reason: error.to_string() })))
        }
        other => Ok(other?),
    }
}
