//! CSV: a row for each superblock, record and footer.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ecps_journal::format::Superblock;
use ecps_journal::note::hex;
use ecps_journal::record::kind_name;

use super::super::{EaplogError, new_file, time_text};
use super::lines::{decode, header};
use super::rebuild::Rebuild;
use super::{Row, Sink};

const COLUMNS: [&str; 12] = [
    "row",
    "segment",
    "sequence",
    "kind",
    "name",
    "direction",
    "steady_ns",
    "wall_ns",
    "wall",
    "trace",
    "message",
    "bytes",
];

/// The file being written.
pub(super) struct Table {
    path: PathBuf,
    writer: csv::Writer<BufWriter<File>>,
}

fn failed(path: &Path, error: csv::Error) -> EaplogError {
    EaplogError::content(path, error)
}

impl Table {
    pub(super) fn create(path: &Path) -> Result<Table, EaplogError> {
        let mut writer = csv::Writer::from_writer(new_file(path)?);
        writer.write_record(COLUMNS).map_err(|error| failed(path, error))?;
        Ok(Table { path: path.to_owned(), writer })
    }

    fn put(&mut self, row: [&str; COLUMNS.len()]) -> Result<(), EaplogError> {
        self.writer.write_record(row).map_err(|error| failed(&self.path, error))
    }

    fn part(&mut self, row: &str, segment: u64, bytes: &[u8]) -> Result<(), EaplogError> {
        self.put([row, &segment.to_string(), "", "", "", "", "", "", "", "", "", &BASE64.encode(bytes)])
    }
}

impl Sink for Table {
    fn superblock(&mut self, superblock: &Superblock, bytes: &[u8]) -> Result<(), EaplogError> {
        self.part("superblock", superblock.segment, bytes)
    }

    fn record(&mut self, row: &Row<'_>) -> Result<(), EaplogError> {
        let (header, moment) = (row.header, &row.header.moment);
        self.put([
            "record",
            &row.segment.to_string(),
            &header.sequence.to_string(),
            &header.kind.to_string(),
            kind_name(header.kind).unwrap_or_default(),
            &(moment.direction as u8).to_string(),
            &moment.steady.0.as_nanos().to_string(),
            &moment.wall.0.to_string(),
            &time_text(moment.wall),
            &hex(&moment.trace),
            &row.message.as_ref().map(ToString::to_string).unwrap_or_default(),
            &BASE64.encode(row.stored),
        ])
    }

    fn footer(&mut self, segment: u64, bytes: &[u8]) -> Result<(), EaplogError> {
        self.part("footer", segment, bytes)
    }

    fn finish(mut self: Box<Self>) -> Result<(), EaplogError> {
        self.writer.flush().map_err(EaplogError::file(&self.path))
    }
}

/// Reads a file that [`Table`] wrote; columns may have been moved, and others added.
pub(super) fn read(path: &Path, rebuild: &mut Rebuild) -> Result<(), EaplogError> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| failed(path, error))?;
    let columns = reader.headers().map_err(|error| failed(path, error))?.clone();
    for row in reader.records() {
        let row = row.map_err(|error| failed(path, error))?;
        let line = row.position().map_or(0, csv::Position::line);
        let bad = |reason: String| EaplogError::content(path, format!("line {line}: {reason}"));
        let field = |name: &'static str| {
            let column = columns.iter().position(|column| column == name)?;
            row.get(column).map(str::to_owned)
        };
        let bytes = decode("bytes", &field("bytes").unwrap_or_default()).map_err(bad)?;
        match field("row").as_deref() {
            Some("superblock") => rebuild.superblock(&bytes)?,
            Some("record") => rebuild.record(header(field).map_err(bad)?, &bytes)?,
            Some("footer") => rebuild.footer(&bytes)?,
            _ => return Err(bad("the field 'row' is none of superblock, record and footer".into())),
        }
    }
    Ok(())
}
