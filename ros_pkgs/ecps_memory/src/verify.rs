//! Is a memory file as it was written? And saving what can be read of one that is not.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use crate::error::{KeepError, OpenError, Unavailable};
use crate::stats::Damage;
use crate::store::file::{self, Durability};
use crate::store::graph_file::{self, GraphFile};
use crate::store::row;
use crate::store::storage::Storage;

/// Most problems of pages that are named.
const NAMED: u32 = 100;

/// What is wrong with a file, if anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Rows that are as they were written.
    pub whole: u64,
    /// Rows that are not.
    pub damages: Vec<Damage>,
    /// What SQLite finds wrong with the pages.
    pub pages: Vec<String>,
    /// The file of the graphs.
    pub graph: GraphFile,
}

impl Report {
    /// Whether nothing is wrong. A graph file that is unusable is no harm: it is made again.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty() && self.pages.is_empty()
    }
}

/// Reads everything and compares it with its checksums. Changes nothing.
pub fn verify(path: &Path) -> Result<Report, OpenError> {
    let connection = file::open_onlooker(path)?;
    let sqlite = |reason| OpenError::Sqlite { path: path.to_owned(), reason };
    let mut pages = Vec::new();
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({NAMED})")).map_err(sqlite)?;
    let mut found = check.query([]).map_err(sqlite)?;
    loop {
        match found.next() {
            Ok(Some(line)) => pages.push(line.get::<_, String>(0).map_err(sqlite)?),
            Ok(None) => break,
            Err(error) => {
                pages.push(error.to_string());
                break;
            }
        }
    }
    pages.retain(|line| line != "ok");
    let (mut whole, mut damages) = (0, Vec::new());
    for number in rows(&connection) {
        match connection.query_row(row::SELECT_ROW, [number], |row| Ok(row::decode(row))) {
            Ok(Ok(_)) => whole += 1,
            Ok(Err(damage)) => damages.push(damage),
            Err(error) => damages.push(unread(number, &error)),
        }
    }
    let graph = graph_file::look(&graph_file::path(path), &connection);
    Ok(Report { whole, damages, pages, graph })
}

/// Every row number that either tree still leads to, from either end.
fn rows(connection: &Connection) -> BTreeSet<i64> {
    let ways = [
        "SELECT row FROM record NOT INDEXED ORDER BY row",
        "SELECT row FROM record NOT INDEXED ORDER BY row DESC",
        "SELECT row FROM record INDEXED BY record_by_id ORDER BY namespace, id",
        "SELECT row FROM record INDEXED BY record_by_id ORDER BY namespace DESC, id DESC",
    ];
    let mut all = BTreeSet::new();
    for way in ways {
        let Ok(mut statement) = connection.prepare(way) else { continue };
        let Ok(rows) = statement.query_map([], |row| row.get::<_, i64>(0)) else { continue };
        all.extend(rows.map_while(Result::ok));
    }
    all
}

fn unread(row: i64, error: &rusqlite::Error) -> Damage {
    Damage { row, namespace: String::new(), id: String::new(), reason: error.to_string() }
}

/// Writes every record that can still be read whole into a new file at `to`, and says how many, and which cannot.
pub fn salvage(path: &Path, to: &Path) -> Result<(u64, Vec<Damage>), KeepError> {
    let failed = |error: OpenError| KeepError::Unavailable(Unavailable::Storage(error.to_string()));
    if to.exists() {
        return Err(KeepError::Snapshot(format!("'{}' is there already", to.display())));
    }
    let old = file::open_onlooker(path).map_err(failed)?;
    let (claimed, _lock) = file::claim(to).map_err(failed)?;
    let mut new = file::open_writer(&claimed, None, Durability::Full).map_err(failed)?;
    let transaction = new.transaction()?;
    let (mut saved, mut lost) = (0, Vec::new());
    for number in rows(&old) {
        match old.query_row(row::SELECT_ROW, [number], |row| Ok(row::decode(row))) {
            Ok(Ok(record)) => {
                transaction.add(number, &record)?;
                saved += 1;
            }
            Ok(Err(damage)) => lost.push(damage),
            Err(error) => lost.push(unread(number, &error)),
        }
    }
    transaction.commit()?;
    file::give_back(&new)?;
    Ok((saved, lost))
}

/// Gives what is no longer used back to the disk. The file may not be served meanwhile.
pub fn vacuum(path: &Path) -> Result<(), KeepError> {
    let failed = |error: OpenError| KeepError::Unavailable(Unavailable::Storage(error.to_string()));
    file::open_onlooker(path).map_err(failed)?;
    let (claimed, _lock) = file::claim(path).map_err(failed)?;
    let connection = file::open_writer(&claimed, None, Durability::Full).map_err(failed)?;
    connection.execute_batch("VACUUM")?;
    file::give_back(&connection)?;
    Ok(())
}
