//! `ecps memory`: looks at a memory file, takes it apart and puts it together, without a server.

mod lines;
mod npy;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ecps_core::clock::Stamp;
use ecps_memory::{GraphFile, Likeness, Memory, Onlooker, Options, Place, PutError, Query, Record, uuid_ids};
use nalgebra::Point3;
use thiserror::Error;

use crate::say::say;

/// What `ecps memory` is told.
#[derive(Debug, Args)]
pub struct MemoryCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is in it; also while a server serves it
    Info {
        /// The memory file
        file: PathBuf,
    },
    /// Asks it; prints hits as JSON lines, best first, or else newest first; also while a server serves it
    Query(Ask),
    /// Writes all records as JSON lines, or one model's vectors as .npy with their ids beside it
    Export {
        /// The memory file
        file: PathBuf,
        /// Where to: NAME.jsonl or NAME.npy
        to: PathBuf,
        /// Model of the vectors (.npy)
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Puts records from JSON lines, or vectors from .npy
    Import {
        /// The memory file; made where it is missing
        file: PathBuf,
        /// Where from: NAME.jsonl or NAME.npy
        from: PathBuf,
        /// Model of the vectors (.npy)
        #[arg(long, default_value = "")]
        model: String,
        /// Their namespace (.npy); empty: default
        #[arg(long, default_value = "")]
        namespace: String,
    },
    /// Compares every byte with its checksum; exit code 1 where something is wrong
    Verify {
        /// The memory file
        file: PathBuf,
        /// Write every record that can still be read into this new file
        #[arg(long, value_name = "NEW")]
        salvage: Option<PathBuf>,
    },
    /// Gives what is no longer used back to the disk
    Vacuum {
        /// The memory file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Ask {
    /// The memory file
    file: PathBuf,
    /// Namespace; empty: default
    #[arg(long, default_value = "")]
    namespace: String,
    /// Like the record of this id
    #[arg(long, value_name = "ID")]
    like: Option<String>,
    /// Words that it holds
    #[arg(long, default_value = "")]
    text: String,
    /// A label that it carries; may be given again
    #[arg(long)]
    label: Vec<String>,
    /// Robot that it comes from
    #[arg(long, default_value = "")]
    robot: String,
    /// Not before this event time: seconds since 1970, or as in 2026-11-25T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = event_time)]
    after: Option<Stamp>,
    /// Not after this event time
    #[arg(long, value_name = "TIME", value_parser = event_time)]
    before: Option<Stamp>,
    /// Frame of the place
    #[arg(long, default_value = "map")]
    frame: String,
    /// Place: x, y, z and radius, metres
    #[arg(long, value_name = "X,Y,Z,R", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    near: Vec<f64>,
    /// Most hits
    #[arg(short, default_value_t = 10)]
    k: u32,
    /// Least cosine similarity
    #[arg(long, default_value_t = 0.7, allow_hyphen_values = true)]
    min_sim: f32,
    /// Prints embedding and payload too
    #[arg(long)]
    whole: bool,
}

fn event_time(text: &str) -> Result<Stamp, String> {
    let nanos = match text.parse::<f64>() {
        Ok(seconds) => seconds * 1e9,
        Err(_) => {
            let time = humantime::parse_rfc3339_weak(text).map_err(|e| e.to_string())?;
            time.duration_since(std::time::UNIX_EPOCH).map_err(|e| e.to_string())?.as_secs_f64() * 1e9
        }
    };
    // Beyond that nanoseconds since 1970 have no room in 64 bits.
    if (-9.2e18..9.2e18).contains(&nanos) {
        Ok(Stamp(nanos as i64))
    } else {
        Err("beyond the years 1678 to 2262".into())
    }
}

/// Why it cannot be done. One line.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// A file that is read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The memory file.
    #[error(transparent)]
    Open(#[from] ecps_memory::OpenError),
    /// A put.
    #[error(transparent)]
    Put(#[from] ecps_memory::PutError),
    /// A query.
    #[error(transparent)]
    Query(#[from] ecps_memory::QueryError),
    /// A get.
    #[error(transparent)]
    Get(#[from] ecps_memory::GetError),
    /// Salvage.
    #[error(transparent)]
    Keep(#[from] ecps_memory::KeepError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> MemoryError {
    move |source| MemoryError::Io { path: path.to_owned(), source }
}

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npy")
}

/// Runs `ecps memory`.
///
/// # Errors
/// [`MemoryError`], one line.
pub fn run(command: &MemoryCommand) -> Result<ExitCode, MemoryError> {
    match &command.action {
        Action::Info { file } => info(file),
        Action::Query(ask) => query(ask),
        Action::Export { file, to, model } if is_npy(to) => export_vectors(file, to, model),
        Action::Export { file, to, .. } => export_lines(file, to),
        Action::Import { file, from, model, namespace } => import(file, from, model, namespace),
        Action::Verify { file, salvage } => verify(file, salvage.as_deref()),
        Action::Vacuum { file } => vacuum(file),
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn info(file: &Path) -> Result<ExitCode, MemoryError> {
    let memory = Onlooker::open(file)?;
    let bytes = std::fs::metadata(file).map_err(io(file))?.len();
    let log = std::fs::metadata(beside(file, "-wal")).map_or(0, |data| data.len());
    let (records, damaged) = (memory.records(), memory.damages().len());
    say!("{}: {records} records, {damaged} damaged, {bytes} bytes and {log} in its log", file.display());
    for contents in memory.contents() {
        let (namespace, model, dimension) = (contents.namespace, contents.model_id, contents.dimension);
        say!("  {namespace}: {} of model {model}, {dimension} dimensions", contents.records);
    }
    memory.damages().iter().for_each(|damage| say!("  {damage}"));
    Ok(ExitCode::SUCCESS)
}

fn query(ask: &Ask) -> Result<ExitCode, MemoryError> {
    let memory = Onlooker::open(&ask.file)?;
    let likeness = match &ask.like {
        None => None,
        Some(id) => {
            let record = memory.get(&ask.namespace, id)?;
            Some(Likeness { model_id: record.model_id, embedding: record.embedding })
        }
    };
    let place = match ask.near.as_slice() {
        [] => None,
        [x, y, z, radius] => Some(Place::ball(&ask.frame, Point3::new(*x, *y, *z), *radius)),
        other => return Err(MemoryError::Other(format!("--near has {} numbers, and needs x,y,z,radius", other.len()))),
    };
    let query = Query {
        namespace: ask.namespace.clone(),
        likeness,
        k: ask.k,
        min_sim: ask.min_sim,
        place,
        text: ask.text.clone(),
        labels: ask.label.clone(),
        robot: ask.robot.clone(),
        not_before: ask.after,
        not_after: ask.before,
        heads_only: !ask.whole,
        ..Query::default()
    };
    let answer = memory.query(&query)?;
    for hit in &answer.hits {
        let mut line = lines::to_json(&hit.record);
        if let Some(fields) = line.as_object_mut() {
            if !ask.whole {
                fields.retain(|field, _| field != "embedding" && field != "payload");
            }
            fields.insert("score".into(), hit.score.into());
            fields.insert("similarity".into(), hit.similarity.into());
        }
        say!("{line}");
    }
    eprintln!("{} of {} that match", answer.hits.len(), answer.total_matched);
    Ok(ExitCode::SUCCESS)
}

/// All records in order, a page at a time; damaged ones are named and left out.
fn each(memory: &Onlooker, mut take: impl FnMut(Record) -> Result<(), MemoryError>) -> Result<u64, MemoryError> {
    const PAGE: u32 = 256;
    let (mut from, mut lost) = (i64::MIN, 0);
    loop {
        let rows = memory.rows(from, PAGE).map_err(|e| MemoryError::Other(e.to_string()))?;
        let Some((last, _)) = rows.last() else { return Ok(lost) };
        from = last.saturating_add(1);
        for (_, record) in rows {
            match record {
                Ok(record) => take(record)?,
                Err(damage) => {
                    lost += 1;
                    eprintln!("{damage}");
                }
            }
        }
    }
}

fn done(records: u64, what: &str, path: &Path, lost: u64) -> Result<ExitCode, MemoryError> {
    eprintln!("{records} {what} {}", path.display());
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn export_lines(file: &Path, to: &Path) -> Result<ExitCode, MemoryError> {
    let memory = Onlooker::open(file)?;
    let mut out = BufWriter::new(File::create(to).map_err(io(to))?);
    let mut count = 0;
    let lost = each(&memory, |record| {
        count += 1;
        writeln!(out, "{}", lines::to_json(&record)).map_err(io(to))
    })?;
    out.flush().map_err(io(to))?;
    done(count, "records to", to, lost)
}

fn export_vectors(file: &Path, to: &Path, model: &str) -> Result<ExitCode, MemoryError> {
    let memory = Onlooker::open(file)?;
    let (mut vectors, mut ids) = (Vec::new(), String::new());
    let lost = each(&memory, |record| {
        if record.model_id == model {
            ids += &serde_json::json!([record.namespace, record.id]).to_string();
            ids.push('\n');
            vectors.push(record.embedding);
        }
        Ok(())
    })?;
    if vectors.is_empty() {
        let models: Vec<String> = memory.contents().into_iter().map(|contents| contents.model_id).collect();
        return Err(MemoryError::Other(format!("--model is '{model}', and the file holds {models:?}")));
    }
    std::fs::write(to, npy::write(&vectors).map_err(MemoryError::Other)?).map_err(io(to))?;
    let beside = to.with_extension("ids.jsonl");
    std::fs::write(&beside, ids).map_err(io(&beside))?;
    done(vectors.len() as u64, "vectors to", to, lost)
}

fn import(file: &Path, from: &Path, model: &str, namespace: &str) -> Result<ExitCode, MemoryError> {
    /// Records of a put; with payloads of the largest size they stay within what a put may hold.
    const BATCH: usize = 32;
    let records: Box<dyn Iterator<Item = Result<Record, MemoryError>>> = if is_npy(from) {
        if model.is_empty() {
            return Err(MemoryError::Other("--model is not given, and vectors (.npy) need the name of theirs".into()));
        }
        let bytes = std::fs::read(from).map_err(io(from))?;
        let vectors = npy::read(&bytes).map_err(|e| MemoryError::Other(format!("{}: {e}", from.display())))?;
        let (model_id, namespace) = (model.to_owned(), namespace.to_owned());
        Box::new(vectors.into_iter().map(move |embedding| {
            Ok(Record { model_id: model_id.clone(), namespace: namespace.clone(), embedding, ..Record::default() })
        }))
    } else {
        let lines = BufReader::new(File::open(from).map_err(io(from))?).lines();
        Box::new(lines.enumerate().map(|(number, line)| {
            lines::from_json(&line.map_err(io(from))?).map_err(|reason| at(from, number, &reason))
        }))
    };
    let memory = Memory::open(file, Options::default(), uuid_ids())?;
    let (mut batch, mut count) = (Vec::new(), 0);
    let mut records = records.peekable();
    while let Some(record) = records.next() {
        batch.push(record?);
        if batch.len() == BATCH || records.peek().is_none() {
            count += match memory.put(std::mem::take(&mut batch)).wait() {
                Ok(stored) => stored.len(),
                Err(PutError::Invalid { index, reason }) => return Err(at(from, count + index, &reason)),
                Err(error) => return Err(error.into()),
            };
        }
    }
    done(count as u64, "records from", from, 0)
}

/// What is wrong with a record of a file.
fn at(from: &Path, number: usize, reason: &dyn std::fmt::Display) -> MemoryError {
    let kind = if is_npy(from) { "vector" } else { "line" };
    MemoryError::Other(format!("{}, {kind} {}: {reason}", from.display(), number + 1))
}

fn verify(file: &Path, salvage: Option<&Path>) -> Result<ExitCode, MemoryError> {
    let report = ecps_memory::verify(file)?;
    say!("{}: {} records as they were written", file.display(), report.whole);
    report.damages.iter().for_each(|damage| say!("  {damage}"));
    report.pages.iter().for_each(|page| say!("  page: {page}"));
    match &report.graph {
        GraphFile::Missing => say!("  no graph beside it: none was needed so far"),
        GraphFile::Whole(nodes) => say!("  the graph beside it is as it was written, with {nodes} records"),
        GraphFile::Unusable(reason) => say!("  the graph beside it is not used, and made again: {reason}"),
    }
    if let Some(to) = salvage {
        if to.exists() {
            return Err(MemoryError::Other(format!("--salvage: {} is there already; name a new file", to.display())));
        }
        let (saved, lost) = ecps_memory::salvage(file, to)?;
        say!("{}: {saved} records saved, {} lost", to.display(), lost.len());
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn vacuum(file: &Path) -> Result<ExitCode, MemoryError> {
    let size = || std::fs::metadata(file).map_or(0, |data| data.len());
    let before = size();
    ecps_memory::vacuum(file)?;
    say!("{}: {before} bytes before, {} now", file.display(), size());
    Ok(ExitCode::SUCCESS)
}
