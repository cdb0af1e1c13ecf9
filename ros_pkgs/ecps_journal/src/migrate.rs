//! Making a later version of an old file. The old one stays as it is, and the new one says what it was made from.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::audit::{Expectations, audit};
use crate::format::{Digest, Identity, Moment, ROBOT_BYTES};
use crate::journal::{Journal, OpenError, Options};
use crate::legacy::{Header, LegacyError, LegacyFlaw, LegacyReader, LegacyWriter, Version};
use crate::note::hex;
use crate::reader::{ReadError, Verdict};
use crate::record::{Imported, Source};
use crate::writer::AppendError;

/// Why nothing was migrated. No new file is left behind.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The old file.
    #[error("{}: {source}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: LegacyError,
    },
    /// The new file.
    #[error("{}: {source}", path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a later version.
    #[error("{} has version {from}; version {to} is not a later one", path.display())]
    NotLater {
        /// The old file.
        path: PathBuf,
        /// Its version.
        from: Version,
        /// The version wanted.
        to: Version,
    },
    /// The new journal cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The new journal cannot be read back.
    #[error(transparent)]
    ReadBack(#[from] ReadError),
    /// What was written is not what should have been.
    #[error("{} was written and then read back as {found} records instead of {expected}: {verdict}", path.display())]
    Mismatch {
        /// The new file.
        path: PathBuf,
        /// Records read back.
        found: u64,
        /// Records written.
        expected: u64,
        /// What was thought of it.
        verdict: Verdict,
    },
}

/// What was migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Versions gone through, the old one first.
    pub steps: Vec<Version>,
    /// Records, all of which are in the new file, byte for byte.
    pub records: u64,
    /// SHA-256 of the old file.
    pub source_sha256: Digest,
    /// What is wrong with the old file. Bytes that it says are lost are not in the new one.
    pub flaw: Option<LegacyFlaw>,
}

/// SHA-256 of a file.
fn sha256(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hash, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads `source` and makes `target`, which must not exist. `now` is wall time; `options` are those of a 3.0 journal.
pub fn migrate(
    source: &Path,
    target: &Path,
    to: Version,
    now: Stamp,
    options: Options,
) -> Result<Migrated, MigrateError> {
    let of_source = |error: LegacyError| MigrateError::Source { path: source.to_owned(), source: error };
    let from = crate::legacy::version(source).map_err(of_source)?;
    if to <= from {
        return Err(MigrateError::NotLater { path: source.to_owned(), from, to });
    }
    if std::fs::symlink_metadata(target).is_ok() {
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(MigrateError::Target { path: target.to_owned(), source: error });
    }
    let result = write(source, target, from, to, now, options);
    if result.is_err() {
        // It was made here, and it is not whole.
        let _ = std::fs::remove_file(target);
    }
    result
}

fn write(
    source: &Path,
    target: &Path,
    from: Version,
    to: Version,
    now: Stamp,
    options: Options,
) -> Result<Migrated, MigrateError> {
    let of_source = |error: LegacyError| MigrateError::Source { path: source.to_owned(), source: error };
    let failed = |error: io::Error| MigrateError::Target { path: target.to_owned(), source: error };
    let source_sha256 = sha256(source).map_err(|error| of_source(error.into()))?;
    let mut session = [0; 16];
    session.iter_mut().zip(source_sha256).for_each(|(to, from)| *to = from);

    let mut reader = LegacyReader::open(source).map_err(of_source)?;
    let original = reader.header().map(Header::text).unwrap_or_default();
    let (mut steps, mut header) = (vec![from], reader.header().cloned());
    while let Some(next) = steps.last().and_then(|version| version.next()).filter(|next| *next <= to) {
        header = step(header, next, now, session);
        steps.push(next);
    }
    let mut records = 0u64;
    if to == Version::V3_0 {
        let count = survey(source).map_err(of_source)?;
        let robot = header.as_ref().and_then(|header| header.text_field("robot_id")).filter(|robot| !robot.is_empty());
        let robot = robot.map(|robot| robot.chars().take(ROBOT_BYTES / 4).collect()).unwrap_or("unknown".into());
        let identity = Identity { robot, session, boot: [0; 16] };
        let mut journal = Journal::create(target, identity, now, options)?;
        let about = Source {
            name: source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version: from.name().into(),
            sha256: source_sha256.to_vec(),
            records: count.0,
            lost_bytes: count.1,
            header: original,
        };
        journal.append(&Moment::default(), &about)?;
        while let Some(record) = reader.read().map_err(|error| of_source(error.into()))? {
            journal.append_relaxed(&Moment::default(), &Imported { index: record.index, eap: record.bytes })?;
            records += 1;
        }
        drop(journal);
        let found = audit(target, &Expectations::default(), 1)?;
        let own = found.records - found.completeness.dropped;
        if found.exit_code() != 0 || own < records + 1 {
            let (found, expected, verdict) = (found.records, records + 1, found.integrity);
            return Err(MigrateError::Mismatch { path: target.to_owned(), found, expected, verdict });
        }
    } else {
        let header = header.map(|header| {
            header.with_metadata("source_sha256", &hex(&source_sha256)).with_metadata("source_version", from.name())
        });
        let mut writer = LegacyWriter::create(target, header.as_ref()).map_err(failed)?;
        while let Some(record) = reader.read().map_err(|error| of_source(error.into()))? {
            writer.write(&record.bytes).map_err(failed)?;
            records += 1;
        }
        writer.finish().map_err(failed)?;
    }
    Ok(Migrated { steps, records, source_sha256, flaw: reader.flaw().cloned() })
}

/// The header of the next version.
fn step(header: Option<Header>, next: Version, now: Stamp, session: [u8; 16]) -> Option<Header> {
    match (next, header) {
        // What it knew is kept in the journal's first record.
        (Version::V3_0, header) => header,
        (next, Some(header)) => Some(header.with_version(next)),
        (next, None) => Some(Header::new(next, now, "unknown", session)),
    }
}

/// Whole records and lost bytes of an old file.
fn survey(source: &Path) -> Result<(u64, u64), LegacyError> {
    let mut reader = LegacyReader::open(source)?;
    let mut records = 0;
    while reader.read()?.is_some() {
        records += 1;
    }
    Ok((records, reader.flaw().map_or(0, LegacyFlaw::lost_bytes)))
}
