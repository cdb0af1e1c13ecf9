//! `eaplog convert` and `eaplog export`: to JSON lines, CSV and MCAP, and back, byte for byte.
//!
//! Every form keeps superblocks, footers and stored payloads as they are, and beside them what a person or another tool
//! reads. Coming back, records are chained anew from what is there: the outcome is the journal it was made from, or, if
//! something was changed, one whose footer or signatures say so.

mod bag;
mod lines;
mod rebuild;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ecps_journal::cipher::PayloadKey;
use ecps_journal::format::{Header, Superblock};
use ecps_journal::legacy::{Version, version};
use ecps_journal::scan::RawStep;
use ecps_journal::{Expectations, audit};
use serde_json::Value;

use self::rebuild::Rebuild;
use super::message::Messages;
use super::stored::open_segments;
use super::{EaplogError, Outcome, load_keys};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object a line
    Json,
    /// A table
    Csv,
    /// A ROS 2 bag
    Mcap,
}

impl Form {
    fn of(path: &Path) -> Option<Form> {
        match path.extension()?.to_str()? {
            "json" | "jsonl" => Some(Form::Json),
            "csv" => Some(Form::Csv),
            "mcap" => Some(Form::Mcap),
            _ => None,
        }
    }
}

/// What `eaplog convert` is told.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// A journal; or a file that one was converted to, .json, .jsonl, .csv or .mcap
    source: PathBuf,
    /// The new file, whose extension says the form; or the new folder, for the journal that comes back
    target: PathBuf,
    /// The form, where the extension does not say it
    #[arg(long, value_enum)]
    to: Option<Form>,
    /// A file with a key for encrypted payloads, so that they can be put into words; may be given several times
    #[arg(long, value_name = "FILE")]
    payload_key: Vec<PathBuf>,
}

/// What `eaplog export` is told.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// A journal
    source: PathBuf,
    /// The new bag, for Foxglove, rosbags and ros2 bag
    #[arg(long, value_name = "FILE")]
    mcap: PathBuf,
    /// A file with a key for encrypted payloads; may be given several times
    #[arg(long, value_name = "FILE")]
    payload_key: Vec<PathBuf>,
}

pub(super) fn export(options: &Export) -> Outcome {
    to_form(&options.source, &options.mcap, Form::Mcap, &load_keys(&options.payload_key)?)
}

pub(super) fn run(options: &Convert) -> Outcome {
    let (source, target) = (&options.source, &options.target);
    if let Some(form) = Form::of(source).filter(|_| !source.is_dir()) {
        return from_form(source, target, form);
    }
    let form = options.to.or_else(|| Form::of(target)).ok_or_else(|| {
        EaplogError::content(target, "its extension is none of .json, .jsonl, .csv and .mcap: say --to")
    })?;
    to_form(source, target, form, &load_keys(&options.payload_key)?)
}

/// A record on its way.
struct Row<'a> {
    segment: u64,
    header: &'a Header,
    /// As stored.
    bytes: &'a [u8],
    stored: &'a [u8],
    /// The payload in words, where it can be read.
    message: Option<Value>,
    /// The payload, where it can be read.
    payload: Option<&'a [u8]>,
}

/// Takes a journal in parts.
trait Sink {
    fn superblock(&mut self, superblock: &Superblock, bytes: &[u8]) -> Result<(), EaplogError>;
    fn record(&mut self, row: &Row<'_>) -> Result<(), EaplogError>;
    fn footer(&mut self, segment: u64, bytes: &[u8]) -> Result<(), EaplogError>;
    fn finish(self: Box<Self>) -> Result<(), EaplogError>;
}

fn to_form(source: &Path, target: &Path, form: Form, keys: &[PayloadKey]) -> Outcome {
    let found = version(source).map_err(|error| EaplogError::Legacy { path: source.to_owned(), source: error })?;
    if found != Version::V3_0 {
        return Err(EaplogError::content(source, format!("it has version {found}: run eaplog migrate first")));
    }
    let judged = audit(source, &Expectations::default(), 1)?;
    let mut sink: Box<dyn Sink> = match form {
        Form::Json => Box::new(lines::Lines::create(target)?),
        Form::Csv => Box::new(table::Table::create(target)?),
        Form::Mcap => Box::new(bag::Bag::create(target)?),
    };
    let mut records = 0u64;
    for opened in open_segments(source)? {
        let (path, Ok(segment)) = opened? else { continue };
        let mut segment = segment.with_keys(keys);
        let head = segment.superblock().clone();
        let messages = Messages::new(&head.schema);
        sink.superblock(&head, segment.superblock_bytes())?;
        let opener = segment.opener();
        while let RawStep::Record(raw) = segment.read_raw().map_err(EaplogError::file(&path))? {
            let payload = opener.open(&raw);
            let message = payload.as_deref().and_then(|payload| messages.to_json(raw.header.kind, payload));
            sink.record(&Row {
                segment: head.segment,
                header: &raw.header,
                bytes: raw.bytes,
                stored: raw.stored_payload(),
                message,
                payload: payload.as_deref(),
            })?;
            records += 1;
        }
        if let Some(footer) = segment.footer() {
            sink.footer(head.segment, &footer.bytes)?;
        }
    }
    sink.finish()?;
    writeln!(std::io::stdout().lock(), "{records} records to {}; integrity: {}", target.display(), judged.integrity)?;
    Ok(ExitCode::from(judged.exit_code()))
}

fn from_form(source: &Path, target: &Path, form: Form) -> Outcome {
    let mut rebuild = Rebuild::create(target)?;
    match form {
        Form::Json => lines::read(source, &mut rebuild)?,
        Form::Csv => table::read(source, &mut rebuild)?,
        Form::Mcap => bag::read(source, &mut rebuild)?,
    }
    let records = rebuild.finish()?;
    let judged = audit(target, &Expectations::default(), 1)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{records} records to {}", target.display())?;
    writeln!(out, "integrity: {}; authenticity: {}", judged.integrity, judged.authenticity)?;
    Ok(ExitCode::from(judged.exit_code()))
}
