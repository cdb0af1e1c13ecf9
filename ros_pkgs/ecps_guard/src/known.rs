//! The number of the last revocation list, across restarts: or an old list would let those come back who were revoked since.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file with the number.
#[derive(Debug, Clone)]
pub struct Known(PathBuf);

impl Known {
    /// In the file `path`, which need not be there yet.
    pub fn of(path: &Path) -> Known {
        Known(path.to_owned())
    }

    /// The number; 0 where none was kept.
    pub fn number(&self) -> Result<u64, String> {
        match fs::read_to_string(&self.0) {
            Ok(text) => text.trim().parse().map_err(|_| format!("{}: there is no number in it", self.0.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(format!("{}: {error}", self.0.display())),
        }
    }

    /// Keeps a higher one. What cannot be kept is logged: the list holds for this run in any case.
    pub fn keep(&self, number: u64) {
        if let Err(error) = self.write(number) {
            tracing::warn!("the number of the last revocation list is not kept: {}: {error}", self.0.display());
        }
    }

    fn write(&self, number: u64) -> io::Result<()> {
        let part = self.0.with_extension("part");
        let folder = self.0.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        writeln!(file, "{number}")?;
        file.sync_all()?;
        fs::rename(part, &self.0)?;
        File::open(folder)?.sync_all()
    }
}
