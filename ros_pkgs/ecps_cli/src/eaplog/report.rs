//! `eaplog report`: a journal drawn on one page: verdicts, a timeline, refusals by reason, latencies, gaps.

mod page;
mod story;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ecps_journal::{Expectations, audit};

use self::story::Story;
use super::{EaplogError, Outcome, load_keys, new_file};

/// What `eaplog report` is told.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A journal's folder, or one segment
    journal: PathBuf,
    /// The new page
    #[arg(long, default_value = "eaplog-report.html")]
    html: PathBuf,
    /// A file with a key for encrypted payloads; may be given several times
    #[arg(long, value_name = "FILE")]
    payload_key: Vec<PathBuf>,
}

pub(super) fn run(options: &Options) -> Outcome {
    let judged = audit(&options.journal, &Expectations::default(), 1)?;
    let story = Story::read(&options.journal, &load_keys(&options.payload_key)?)?;
    let html = page::page(&options.journal.display().to_string(), &judged, &story);
    let mut file = new_file(&options.html)?;
    file.write_all(html.as_bytes()).and_then(|()| file.flush()).map_err(EaplogError::file(&options.html))?;
    writeln!(std::io::stdout().lock(), "{} records drawn in {}", judged.records, options.html.display())?;
    Ok(ExitCode::from(judged.exit_code()))
}
