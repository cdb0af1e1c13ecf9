//! JSON lines: an object for each superblock, record and footer.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ecps_core::clock::{Stamp, Steady};
use ecps_journal::format::{Direction, Header, Moment, Superblock};
use serde_json::{Value, json};

use super::super::message::header_json;
use super::super::{EaplogError, new_file};
use super::rebuild::Rebuild;
use super::{Row, Sink};

/// Longest line, bytes: the largest payload in base64 and in words.
const LINE_BYTES: u64 = 32 << 20;

/// The file being written.
pub(super) struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    pub(super) fn create(path: &Path) -> Result<Lines, EaplogError> {
        Ok(Lines { path: path.to_owned(), file: new_file(path)? })
    }

    fn put(&mut self, value: &Value) -> Result<(), EaplogError> {
        writeln!(self.file, "{value}").map_err(EaplogError::file(&self.path))
    }
}

impl Sink for Lines {
    fn superblock(&mut self, superblock: &Superblock, bytes: &[u8]) -> Result<(), EaplogError> {
        let robot = &superblock.identity.robot;
        self.put(&json!({ "segment": superblock.segment, "robot": robot, "superblock": BASE64.encode(bytes) }))
    }

    fn record(&mut self, row: &Row<'_>) -> Result<(), EaplogError> {
        let mut fields = header_json(row.segment, row.header);
        fields.insert("message".into(), row.message.clone().unwrap_or(Value::Null));
        fields.insert("payload".into(), BASE64.encode(row.stored).into());
        self.put(&Value::Object(fields))
    }

    fn footer(&mut self, segment: u64, bytes: &[u8]) -> Result<(), EaplogError> {
        self.put(&json!({ "segment": segment, "footer": BASE64.encode(bytes) }))
    }

    fn finish(mut self: Box<Self>) -> Result<(), EaplogError> {
        self.file.flush().map_err(EaplogError::file(&self.path))
    }
}

/// A record's header from its fields, the chain left out.
pub(super) fn header(field: impl Fn(&'static str) -> Option<String>) -> Result<Header, String> {
    fn number<T: std::str::FromStr>(name: &str, text: Option<String>) -> Result<T, String> {
        let text = text.ok_or_else(|| format!("the field '{name}' is missing"))?;
        text.parse().map_err(|_| {
            format!("the field '{name}' is '{}', which it cannot be", text.chars().take(32).collect::<String>())
        })
    }
    let direction: u8 = number("direction", field("direction"))?;
    let trace = field("trace").unwrap_or_default();
    let trace =
        u128::from_str_radix(&trace, 16).map_err(|_| "the field 'trace' is no 32 hexadecimal digits".to_owned())?;
    let moment = Moment {
        steady: Steady(Duration::from_nanos(number("steady_ns", field("steady_ns"))?)),
        wall: Stamp(number("wall_ns", field("wall_ns"))?),
        direction: Direction::try_from(direction).map_err(|error| error.to_string())?,
        trace: trace.to_be_bytes(),
    };
    let (kind, sequence) = (number("kind", field("kind"))?, number("sequence", field("sequence"))?);
    Ok(Header { length: 0, kind, sequence, moment, previous: [0; 32] })
}

pub(super) fn decode(name: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|_| format!("the field '{name}' is not base64"))
}

/// Reads a file that [`Lines`] wrote.
pub(super) fn read(path: &Path, rebuild: &mut Rebuild) -> Result<(), EaplogError> {
    let failed = EaplogError::file(path);
    let mut input = BufReader::new(File::open(path).map_err(&failed)?);
    let mut line = String::new();
    for number in 1u64.. {
        line.clear();
        if (&mut input).take(LINE_BYTES).read_line(&mut line).map_err(&failed)? == 0 {
            break;
        }
        let bad = |reason: String| EaplogError::content(path, format!("line {number}: {reason}"));
        let value: Value = serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        if let Some(bytes) = text("superblock") {
            rebuild.superblock(&decode("superblock", bytes).map_err(bad)?)?;
        } else if let Some(bytes) = text("footer") {
            rebuild.footer(&decode("footer", bytes).map_err(bad)?)?;
        } else {
            let field = |name: &'static str| match value.get(name)? {
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            let payload = text("payload").ok_or_else(|| bad("the field 'payload' is missing".into()))?;
            let header = header(field).map_err(bad)?;
            rebuild.record(header, &decode("payload", payload).map_err(bad)?)?;
        }
    }
    Ok(())
}
