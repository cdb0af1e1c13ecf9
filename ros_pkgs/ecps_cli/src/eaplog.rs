//! `eaplog`: what is done with a journal but writing it.
//!
//! | module | command |
//! |---|---|
//! | `info`, `validate` | what a journal is, and what is to be thought of it |
//! | `list` | `list` and `extract`: records by time, id and kind |
//! | `convert` | to JSON, CSV and MCAP, and back |
//! | `migrate` | `migrate`, `batch-migrate`, `create`, `list-versions` |
//! | `diff`, `recover` | what differs, and what can be saved |
//! | `replay` | carries out a simulated journal's actions again |
//! | `report` | a page that draws a journal |
//! | `keys` | keys that sign and encrypt |
//!
//! Exit codes: 0 clean, 1 hard failure, 2 usage, 3 recovered with loss, 4 chain broken, 5 signature bad.

mod convert;
mod diff;
mod info;
mod keys;
mod list;
mod message;
mod migrate;
mod recover;
mod replay;
mod report;

mod stored;
mod validate;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ecps_core::clock::{RosClock as _, Stamp, SystemRos};
use ecps_journal::cipher::PayloadKey;
use ecps_journal::legacy::LegacyError;
use ecps_journal::migrate::MigrateError;
use ecps_journal::sign::KeyError;
use ecps_journal::{AppendError, OpenError, ReadError};
use thiserror::Error;

use crate::delimited::DelimitedError;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "eaplog", version, about = "Reads, judges and converts .eaplog journals")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a journal is: version, robot, records by kind, times, keys
    Info(info::Info),
    /// Judge integrity, authenticity, completeness and freshness
    Validate(validate::Validate),
    /// Print records, one a line
    List(list::List),
    /// Write the records, or the actions, that are wanted to a file
    Extract(list::Extract),
    /// Convert to JSON lines, CSV or MCAP, or from them back to the journal they came from
    Convert(convert::Convert),
    /// Convert to a ROS 2 bag
    Export(convert::Export),
    /// Make a file of any version from actions
    Create(migrate::Create),
    /// Make a later version of an old file, which stays as it is
    Migrate(migrate::Migrate),
    /// Migrate every .eaplog file of a folder
    BatchMigrate(migrate::BatchMigrate),
    /// Print the versions there are
    ListVersions,
    /// Compare two journals
    Diff(diff::Diff),
    /// Copy what is whole out of a damaged journal
    Recover(recover::Recover),
    /// Carry out a simulated journal's actions again and compare the state after each
    Replay(replay::Options),
    /// Draw a journal as a page that needs no network
    Report(report::Options),
    /// Make and show keys
    Keys(keys::Keys),
}

/// Why a command was not carried out. One line.
#[derive(Debug, Error)]
pub enum EaplogError {
    /// A file that is not a journal, or that something could not be done with.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing more can be printed.
    #[error("the output: {0}")]
    Output(#[from] io::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An old file cannot be read.
    #[error("{}: {source}", path.display())]
    Legacy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LegacyError,
    },
    /// Nothing was migrated.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A journal cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file of actions.
    #[error(transparent)]
    Delimited(#[from] DelimitedError),
    /// Something in a file that cannot be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        reason: String,
    },
}

impl EaplogError {
    fn content(path: &Path, reason: impl ToString) -> EaplogError {
        EaplogError::Content { path: path.to_owned(), reason: reason.to_string() }
    }

    fn file(path: &Path) -> impl Fn(io::Error) -> EaplogError {
        let path = path.to_owned();
        move |source| EaplogError::File { path: path.clone(), source }
    }
}

type Outcome = Result<ExitCode, EaplogError>;

/// Runs the command.
///
/// # Errors
/// [`EaplogError`], one line; exit code 1.
pub fn run(cli: Cli) -> Outcome {
    let outcome = match cli.command {
        Command::Info(options) => info::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::List(options) => list::list(&options),
        Command::Extract(options) => list::extract(&options),
        Command::Convert(options) => convert::run(&options),
        Command::Export(options) => convert::export(&options),
        Command::Create(options) => migrate::create(&options),
        Command::Migrate(options) => migrate::migrate(&options),
        Command::BatchMigrate(options) => migrate::batch(&options),
        Command::ListVersions => migrate::list_versions(),
        Command::Diff(options) => diff::run(&options),
        Command::Recover(options) => recover::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Keys(options) => keys::run(options),
    };
    match outcome {
        // Whoever reads the output has seen enough, as `head` does.
        Err(EaplogError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

fn now() -> Stamp {
    SystemRos.now()
}

/// A stamp as people write it, in UTC.
fn time_text(stamp: Stamp) -> String {
    let time = u64::try_from(stamp.0).ok().map(std::time::Duration::from_nanos);
    let time = time.and_then(|since| std::time::UNIX_EPOCH.checked_add(since));
    time.map_or_else(|| format!("{} ns", stamp.0), |time| humantime::format_rfc3339_nanos(time).to_string())
}

fn parse_time(text: &str) -> Result<Stamp, String> {
    if let Ok(nanos) = text.parse() {
        return Ok(Stamp(nanos));
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!("'{text}' is no time: {error}; write 2026-03-01T12:00:00Z, or nanoseconds since 1970")
    })?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| format!("'{text}' is before 1970"))?;
    i64::try_from(since.as_nanos()).map(Stamp).map_err(|_| format!("'{text}' is after 2262"))
}

fn load_keys(paths: &[PathBuf]) -> Result<Vec<PayloadKey>, EaplogError> {
    paths.iter().map(|path| Ok(PayloadKey::load(path)?)).collect()
}

/// A writer to a file that must not exist.
fn new_file(path: &Path) -> Result<io::BufWriter<std::fs::File>, EaplogError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.map(io::BufWriter::new).map_err(EaplogError::file(path))
}

fn print_json(value: &serde_json::Value) -> Result<(), EaplogError> {
    Ok(writeln!(io::stdout().lock(), "{value:#}")?)
}
