//! The file on disk: who may open it, and what must be in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

use crate::error::OpenError;

/// "ECPM", so that `file` and we tell a memory from other SQLite files.
const APPLICATION_ID: i32 = 0x4543_504d;
/// Newest schema that this code knows.
const SCHEMA_VERSION: i64 = 2;
/// How long to wait for another program that is writing, such as a person's `sqlite3`.
const BUSY: Duration = Duration::from_secs(5);
/// Most of the file that readers map, bytes.
const MAPPED_BYTES: i64 = 1 << 36;
/// SQLite's page, bytes.
const PAGE_BYTES: u64 = 4096;

/// A row keeps its vector as long as it lives: a record that is put again gets a new row, so that a row number names one
/// vector. Merging and moving change what lies around it. The payload comes last: SQLite then reads a row's head without
/// touching the pages that its payload overflows to. Stamps are nanoseconds, 0 where not set.
const RECORD: &str = "
    CREATE TABLE record (
        row            INTEGER PRIMARY KEY,
        namespace      TEXT NOT NULL,
        id             TEXT NOT NULL,
        version        INTEGER NOT NULL,
        model_id       TEXT NOT NULL,
        time_ns        INTEGER NOT NULL,
        last_ns        INTEGER NOT NULL,
        observed_ns    INTEGER NOT NULL,
        valid_from_ns  INTEGER NOT NULL,
        valid_until_ns INTEGER NOT NULL,
        expires_ns     INTEGER NOT NULL,
        importance     REAL NOT NULL,
        pinned         INTEGER NOT NULL,
        sightings      INTEGER NOT NULL,
        frame_id       TEXT NOT NULL,
        map_id         TEXT NOT NULL,
        pose           BLOB,              -- f64 little-endian: x y z, qx qy qz qw
        covariance     BLOB NOT NULL,     -- f64 little-endian, 36 or none
        labels         TEXT NOT NULL,     -- JSON array
        text           TEXT NOT NULL,
        robot          TEXT NOT NULL,
        node           TEXT NOT NULL,
        topic          TEXT NOT NULL,
        bag            TEXT NOT NULL,
        bag_offset     INTEGER NOT NULL,
        parents        TEXT NOT NULL,     -- JSON array
        payload_type   TEXT NOT NULL,
        embedding      BLOB NOT NULL,     -- f32 little-endian
        payload_crc    INTEGER NOT NULL,  -- CRC-32 of the payload
        head_crc       INTEGER NOT NULL,  -- CRC-32 of everything else, the payload's CRC and length included
        payload        BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX record_by_id ON record (namespace, id);
";
/// What leads to records, and what is known of the graph file beside this one.
const AROUND: &str = "
    CREATE VIRTUAL TABLE record_text USING fts5(text, content='record', content_rowid='row');
    INSERT INTO record_text (record_text, rank) VALUES ('secure-delete', 1);
    CREATE TABLE touched (row INTEGER PRIMARY KEY, query INTEGER NOT NULL) STRICT;
    CREATE TABLE graph_file (one INTEGER PRIMARY KEY CHECK (one = 1), digest BLOB NOT NULL, nodes INTEGER NOT NULL) STRICT;
";

/// How sure an acknowledgement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On disk: survives a loss of power.
    #[default]
    Full,
    /// With the operating system: survives the end of this process, however it ends, but not a loss of power.
    Process,
}

/// Held as long as the file is served; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, since a child process between fork and exec still has the file open, and with it the lock.
        // Where it fails, closing the file lets go.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Claims the file for this process. Returns its path without symbolic links.
pub(crate) fn claim(path: &Path) -> Result<(PathBuf, Lock), OpenError> {
    let io = |reason| OpenError::Io { path: path.to_owned(), reason };
    let path = resolve(path).map_err(io)?;
    let mut lock_path = path.clone().into_os_string();
    lock_path.push(".lock");
    // Beside it, not on it: closing any descriptor of the file itself would drop SQLite's own locks.
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_path)
        .map_err(io)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // The number is only for the reader of the message; without it the refusal stands.
            let _ = (&mut lock).take(64).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
            return Err(OpenError::InUse { path, holder });
        }
        Err(errno) => return Err(io(errno.into())),
    }
    lock.set_len(0).and_then(|()| write!(lock, "process {}", std::process::id())).map_err(io)?;
    // Made here for its mode, which SQLite passes on to the files it puts beside it.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => {}
        Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => {}
        Err(reason) => return Err(io(reason)),
    }
    Ok((path, Lock { file: lock }))
}

/// The path without symbolic links, so that two names of one file have one lock. Missing folders are made.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(path) = fs::canonicalize(path) {
        return Ok(path);
    }
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    Ok(fs::canonicalize(folder)?.join(name))
}

/// Opens the file to write it, and brings it to our schema. `max_bytes` bounds how far it may grow.
pub(crate) fn open_writer(
    path: &Path,
    max_bytes: Option<u64>,
    durability: Durability,
) -> Result<Connection, OpenError> {
    let sqlite = |reason| OpenError::Sqlite { path: path.to_owned(), reason };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    // Before anything is written: a foreign or newer file is left as it is.
    let found = schema_version(&connection, path)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(sqlite)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(sqlite)?;
    // What is forgotten is overwritten, and its pages can be given back.
    connection.pragma_update(None, "secure_delete", true).map_err(sqlite)?;
    if found == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(sqlite)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(sqlite)?;
    if !mode.eq_ignore_ascii_case("wal") {
        let reason = io::Error::other(format!("its file system allows journal mode '{mode}' only, and WAL is needed"));
        return Err(OpenError::Io { path: path.to_owned(), reason });
    }
    // FULL: a commit returns when the log is on disk.
    let synchronous = if durability == Durability::Full { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous).map_err(sqlite)?;
    match found {
        0 => create(&mut connection).map_err(sqlite)?,
        1 => super::migrate::from_1(&mut connection).map_err(sqlite)?,
        _ => {}
    }
    if let Some(max_bytes) = max_bytes {
        let pages = i64::try_from(max_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(sqlite)?;
    }
    Ok(connection)
}

/// Opens the file to read it; after [`open_writer`].
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |reason| OpenError::Sqlite { path: path.to_owned(), reason };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(sqlite)?;
    // Rows of hits are then read from the page cache without a system call each.
    connection.pragma_update_and_check(None, "mmap_size", MAPPED_BYTES, |_| Ok(())).map_err(sqlite)?;
    Ok(connection)
}

/// Opens the file to look at it as it is now, whatever another process that serves it writes meanwhile.
pub(crate) fn open_onlooker(path: &Path) -> Result<Connection, OpenError> {
    if !path.is_file() {
        let reason = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
        return Err(OpenError::Io { path: path.to_owned(), reason });
    }
    let connection = open_reader(path)?;
    // The first read, of the version, holds what all others see.
    connection.execute_batch("BEGIN").map_err(|reason| OpenError::Sqlite { path: path.to_owned(), reason })?;
    match schema_version(&connection, path)? {
        SCHEMA_VERSION => Ok(connection),
        found => Err(OpenError::Older { path: path.to_owned(), found, needed: SCHEMA_VERSION }),
    }
}

/// Gives what is no longer used back to the disk, and empties the log, so that what was forgotten is in neither.
pub(crate) fn give_back(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    drop(steps);
    let (busy, _, _): (i64, i64, i64) = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if busy != 0 {
        // Somebody reads what was there before; their end comes, and a later checkpoint with it.
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// The file's schema version, 0 for an empty file.
fn schema_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let number = |sql| {
        let got = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        got.map_err(|reason| OpenError::Sqlite { path: path.to_owned(), reason })
    };
    let application = number("PRAGMA application_id")?;
    let found = number("PRAGMA user_version")?;
    let empty = application == 0 && found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if empty {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) {
        // SQLite holds it in 32 bits, so this keeps it all.
        return Err(OpenError::Foreign { path: path.to_owned(), found: application as i32, expected: APPLICATION_ID });
    }
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    Ok(found)
}

fn create(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    lay_out(&transaction)?;
    transaction.commit()
}

/// Makes the newest schema in an open transaction.
pub(super) fn lay_out(transaction: &Connection) -> Result<(), rusqlite::Error> {
    transaction.execute_batch(RECORD)?;
    transaction.execute_batch(AROUND)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_syncs_every_commit_also_in_a_file_made_before() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _lock) = claim(&folder.path().join("new folder/memory.db")).unwrap();
        for _ in 0..2 {
            let writer = open_writer(&path, None, Durability::Full).unwrap();
            let setting = |sql| writer.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
            assert_eq!(setting("PRAGMA synchronous"), 2.into(), "FULL");
            assert_eq!(setting("PRAGMA journal_mode"), "wal".to_owned().into());
        }
    }
}
