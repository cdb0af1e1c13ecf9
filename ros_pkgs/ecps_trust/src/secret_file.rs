//! Files that only their owner may read, in folders that only their owner may enter. Anything else is refused.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;
use zeroize::Zeroizing;

/// Largest secret file, bytes.
pub const SECRET_FILE_BYTES: u64 = 4096;

/// Why a secret file cannot be used.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// There is none.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The system refused. A symbolic link is such a case: none is followed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what it should be.
    #[error("{}: it is not a {expected}", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// Others may read it.
    #[error("{}: mode {mode:03o} lets others in; run chmod {wanted:03o} on it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it should be.
        wanted: u32,
    },
    /// Somebody else's.
    #[error("{}: it belongs to user {owner}, and this process runs as {user}", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs.
        user: u32,
    },
    /// Too large.
    #[error("{}: it has more than {limit} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// What is read.
        limit: u64,
    },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SecretFileError + '_ {
    |source| SecretFileError::Io { path: path.to_owned(), source }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check(path: &Path, found: &std::fs::Metadata, wanted: u32) -> Result<(), SecretFileError> {
    let (mode, user) = (found.mode() & 0o7777, rustix::process::geteuid().as_raw());
    if found.uid() != user {
        return Err(SecretFileError::Owner { path: path.to_owned(), owner: found.uid(), user });
    }
    if mode & !wanted != 0 {
        return Err(SecretFileError::Open { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

fn check_folder(path: &Path) -> Result<(), SecretFileError> {
    let folder = folder(path);
    let found = std::fs::symlink_metadata(folder).map_err(failed(folder))?;
    if !found.is_dir() {
        return Err(SecretFileError::Kind { path: folder.to_owned(), expected: "folder" });
    }
    check(folder, &found, 0o700)
}

/// Reads a file of mode 0600 in a folder of mode 0700, both of this process's user. What is checked is what is read.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    read_up_to(path, SECRET_FILE_BYTES)
}

/// The same for files that may be larger or smaller than a key.
pub fn read_up_to(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let file: File = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SecretFileError::Missing(path.to_owned())),
        opened => opened.map_err(failed(path))?,
    };
    let found = file.metadata().map_err(failed(path))?;
    if !found.is_file() {
        return Err(SecretFileError::Kind { path: path.to_owned(), expected: "file" });
    }
    check(path, &found, 0o600)?;
    check_folder(path)?;
    // Large enough from the start: what grows leaves copies behind.
    let size = found.len().min(limit).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed(path))?;
    if bytes.len() as u64 > limit {
        return Err(SecretFileError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Writes a new file of mode 0600, in a folder that is made with mode 0700 where it is missing. It is on disk, and whole, or not there.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    // Unlike a rename, a link replaces nothing.
    write(path, bytes, |partial| std::fs::hard_link(partial, path).and_then(|()| std::fs::remove_file(partial)))
}

/// Writes a file of mode 0600 in place of the one that may be there: what is found is whole, the old or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    write(path, bytes, |partial| std::fs::rename(partial, path))
}

fn write(path: &Path, bytes: &[u8], put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), SecretFileError> {
    let folder = folder(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    check_folder(path)?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let _ = std::fs::remove_file(&partial); // of a run that was cut short
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed(&partial))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed(&partial))?;
    let put = put(&partial);
    if put.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    put.and_then(|()| File::open(folder)?.sync_all()).map_err(failed(path))
}
