//! `eaplog validate`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ecps_journal::audit::{Authenticity, Ending, Freshness};
use ecps_journal::legacy::{LegacyFlaw, LegacyReader, Version, version};
use ecps_journal::note::{NOTE_BYTES, Note, VerifierKey, hex};
use ecps_journal::{Audit, Expectations, audit};
use serde_json::{Value, json};

use super::{EaplogError, Outcome, now, print_json, time_text};

/// What `eaplog validate` is told.
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// A journal's folder, one segment, or an old file
    journal: PathBuf,
    /// A key that is trusted to sign, as `eaplog keys show` prints it; may be given several times
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A file with a checkpoint that was got earlier, elsewhere than from this journal
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Greatest age of the last checkpoint, as in 10min
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_age: Option<std::time::Duration>,
    /// Write the last good checkpoint to this file, to be kept elsewhere
    #[arg(long, value_name = "FILE")]
    save_checkpoint: Option<PathBuf>,
    /// Threads that read; default: one per core
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Validate) -> Outcome {
    let path = &options.journal;
    if version(path).map_err(|source| EaplogError::Legacy { path: path.clone(), source })? != Version::V3_0 {
        return old(options);
    }
    let parsed = |text: &String| VerifierKey::parse(text).map_err(|e| EaplogError::content(text.as_ref(), e));
    let checkpoint = options.checkpoint.as_ref().map(|file| {
        let size = std::fs::metadata(file).map_err(EaplogError::file(file))?.len();
        if size > NOTE_BYTES as u64 {
            return Err(EaplogError::content(
                file,
                format!("it has {size} bytes, more than the {NOTE_BYTES} of a checkpoint"),
            ));
        }
        let text = std::fs::read_to_string(file).map_err(EaplogError::file(file))?;
        Note::parse(&text).map_err(|error| EaplogError::content(file, error))
    });
    let expected = Expectations {
        keys: options.key.iter().map(parsed).collect::<Result<_, _>>()?,
        checkpoint: checkpoint.transpose()?,
        max_age: options.max_age.map(|limit| (limit, now())),
    };
    // A checkpoint that is to prove something must itself be signed.
    if let Some(note) = expected.checkpoint.as_ref().filter(|_| !expected.keys.is_empty())
        && !expected.keys.iter().any(|key| note.verify(key).is_ok())
    {
        let file = options.checkpoint.clone().unwrap_or_default();
        return Err(EaplogError::content(&file, "no trusted key signed this checkpoint"));
    }
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let found = audit(path, &expected, threads)?;
    if let Some((file, text)) =
        options.save_checkpoint.as_ref().zip(found.authenticity.vouched().and_then(|v| v.note.as_ref()).map(Note::text))
    {
        std::fs::write(file, text).map_err(EaplogError::file(file))?;
    }
    if options.json {
        print_json(&to_json(&found))?;
    } else {
        let mut out = std::io::stdout().lock();
        let last = found.end.as_ref().map_or(0, |end| end.sequence);
        writeln!(out, "{} records in {} segments, the last with sequence {last}", found.records, found.segments)?;
        writeln!(out, "integrity:    {}", found.integrity)?;
        writeln!(out, "authenticity: {}", found.authenticity)?;
        for (first, last) in &found.adopted {
            writeln!(
                out,
                "              records {first} to {last} were unsigned when a later run found them, as a kill leaves them"
            )?;
        }
        writeln!(out, "completeness: {}", found.completeness)?;
        writeln!(out, "freshness:    {}", found.freshness)?;
    }
    Ok(ExitCode::from(found.exit_code()))
}

fn to_json(found: &Audit) -> Value {
    let authenticity = match &found.authenticity {
        Authenticity::Unsigned => "unsigned",
        Authenticity::SelfSigned { .. } => "self-signed",
        Authenticity::Signed { .. } => "signed",
        Authenticity::Bad { .. } => "bad",
    };
    let freshness = match &found.freshness {
        Freshness::NotAsked => "not asked",
        Freshness::Fresh => "fresh",
        Freshness::Behind { .. } => "behind",
        Freshness::Forked => "forked",
        Freshness::BeforeStart { .. } => "before start",
        Freshness::Stale { .. } => "stale",
    };
    let ending = match found.completeness.ending {
        Ending::Closed => "closed",
        Ending::Live => "live",
        Ending::Open => "open",
    };
    let vouched = found.authenticity.vouched();
    json!({
        "exit_code": found.exit_code(),
        "robot": found.identity.as_ref().map(|identity| &identity.robot),
        "segments": found.segments,
        "records": found.records,
        "last_sequence": found.end.as_ref().map(|end| end.sequence),
        "root": found.end.as_ref().map(|end| hex(&end.tree.root())),
        "integrity": { "clean": found.integrity == ecps_journal::Verdict::Clean, "text": found.integrity.to_string() },
        "authenticity": {
            "verdict": authenticity,
            "key": vouched.map(|vouched| &vouched.key),
            "signed_records": vouched.map(|vouched| vouched.size),
            "signed_at": vouched.map(|vouched| time_text(vouched.time)),
            "adopted": found.adopted,
            "text": found.authenticity.to_string(),
        },
        "completeness": {
            "complete": found.completeness.is_complete(),
            "first_sequence": found.completeness.start.sequence,
            "retired": found.completeness.start.retired,
            "missing": found.completeness.missing,
            "doubtful": found.completeness.doubtful,
            "dropped": found.completeness.dropped,
            "ending": ending,
            "text": found.completeness.to_string(),
        },
        "freshness": { "verdict": freshness, "text": found.freshness.to_string() },
    })
}

/// An old file has no checksums: that it is whole and decodes is all there is to say.
fn old(options: &Validate) -> Outcome {
    let path = &options.journal;
    let mut reader = LegacyReader::open(path).map_err(|source| EaplogError::Legacy { path: path.clone(), source })?;
    let mut records = 0u64;
    while reader.read().map_err(EaplogError::file(path))?.is_some() {
        records += 1;
    }
    let code = match reader.flaw() {
        None => 0,
        Some(LegacyFlaw::Torn { .. }) => 3,
        Some(LegacyFlaw::Length { .. } | LegacyFlaw::NotAnAction { .. }) => 4,
    };
    let code = if !options.key.is_empty() { 5 } else { code };
    let flaw = reader.flaw().map(ToString::to_string);
    let version = reader.version();
    if options.json {
        print_json(&json!({ "exit_code": code, "version": version.name(), "records": records, "flaw": flaw }))?;
    } else {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{records} records of version {version}")?;
        writeln!(
            out,
            "integrity:    {}",
            flaw.as_deref().unwrap_or("whole; this version has no checksums that could show more")
        )?;
        writeln!(out, "authenticity: this version has no signatures")?;
        writeln!(out, "completeness: this version cannot show it")?;
        writeln!(out, "freshness:    this version cannot show it")?;
    }
    Ok(ExitCode::from(code))
}
