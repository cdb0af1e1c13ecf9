//! All memories in one file, written while everything goes on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file;
use crate::error::{KeepError, OpenError, Unavailable};

/// Longest name of a snapshot, bytes.
const NAME_BYTES: usize = 64;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// Records in it, damaged ones included.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
}

/// Where the snapshot of that name lies, beside the database.
pub(crate) fn path(database: &Path, name: &str) -> Result<PathBuf, KeepError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES || name.starts_with('.') || !name.chars().all(plain) {
        return Err(KeepError::Name(name.chars().take(2 * NAME_BYTES).collect()));
    }
    Ok(folder(database).join(format!("{name}.db")))
}

pub(crate) fn folder(database: &Path) -> PathBuf {
    let mut folder = database.to_owned().into_os_string();
    folder.push(".snapshots");
    folder.into()
}

/// Writes one: compact, synced, and under its name only when it is whole.
pub(crate) fn write(database: &Path, to: &Path) -> Result<Snapshot, KeepError> {
    let io = |error: io::Error| KeepError::Unavailable(Unavailable::Storage(format!("{}: {error}", to.display())));
    let folder = to.parent().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
    fs::create_dir_all(folder).map_err(io)?;
    let partial = to.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    // Empty and of our mode; SQLite writes into it.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(io)?;
    let connection =
        file::open_reader(database).map_err(|e| KeepError::Unavailable(Unavailable::Storage(e.to_string())))?;
    connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    File::open(&partial).and_then(|file| file.sync_all()).map_err(io)?;
    let written = file::open_reader(&partial).map_err(|e| KeepError::Snapshot(e.to_string()))?;
    let records: i64 = written.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
    drop(written);
    fs::rename(&partial, to).map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    let bytes = fs::metadata(to).map_err(io)?.len();
    Ok(Snapshot { path: to.to_owned(), records: records.unsigned_abs(), bytes })
}

/// Whether a file can be restored from.
pub(crate) fn check(path: &Path) -> Result<(), KeepError> {
    let unusable = |error: OpenError| KeepError::Snapshot(error.to_string());
    let connection = file::open_onlooker(path).map_err(unusable)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(KeepError::Snapshot(format!("'{}': {found}", path.display()))) }
}
