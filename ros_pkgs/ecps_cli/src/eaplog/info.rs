//! `eaplog info`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ecps_core::clock::Stamp;
use ecps_journal::legacy::{LegacyReader, Version, version};
use ecps_journal::note::hex;
use ecps_journal::record::kind_name;
use ecps_journal::scan::RawStep;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::stored::open_segments;
use super::{EaplogError, Outcome, print_json, time_text};

/// What `eaplog info` is told.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// A journal's folder, one segment, or an old file
    journal: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Info) -> Outcome {
    let path = &options.journal;
    let of_path = |source| EaplogError::Legacy { path: path.clone(), source };
    let found = match version(path).map_err(of_path)? {
        Version::V3_0 => current(options)?,
        old => {
            let mut reader = LegacyReader::open(path).map_err(of_path)?;
            let mut records = 0u64;
            while reader.read().map_err(EaplogError::file(path))?.is_some() {
                records += 1;
            }
            json!({
                "version": old.name(),
                "records": records,
                "header": reader.header().and_then(|header| serde_json::from_str(&header.text()).ok()).unwrap_or(json!(null)),
                "flaw": reader.flaw().map(ToString::to_string),
            })
        }
    };
    if options.json {
        print_json(&found)?;
    } else if let Some(fields) = found.as_object() {
        let mut out = std::io::stdout().lock();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match value {
                serde_json::Value::Object(fields) => {
                    writeln!(out, "{name}:")?;
                    for (name, value) in fields {
                        writeln!(out, "  {name}: {}", value.as_str().map_or(value.to_string(), str::to_owned))?;
                    }
                }
                value => writeln!(out, "{name}: {}", value.as_str().map_or(value.to_string(), str::to_owned))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn current(options: &Info) -> Result<serde_json::Value, EaplogError> {
    let (mut segments, mut records, mut kinds) = (0u64, 0u64, BTreeMap::<u16, u64>::new());
    let (mut first, mut last, mut sequences) = (Stamp(i64::MAX), Stamp(i64::MIN), None::<(u64, u64)>);
    let (mut head, mut flaw) = (None, None);
    for opened in open_segments(&options.journal)? {
        let (path, opened) = opened?;
        segments += 1;
        let mut segment = match opened {
            Ok(segment) => segment,
            Err(found) => {
                flaw.get_or_insert(format!("{}: {found:?}", path.display()));
                continue;
            }
        };
        head = Some(segment.superblock().clone());
        loop {
            match segment.read_raw().map_err(EaplogError::file(&path))? {
                RawStep::Record(raw) => {
                    records += 1;
                    *kinds.entry(raw.header.kind).or_default() += 1;
                    (first, last) = (first.min(raw.header.moment.wall), last.max(raw.header.moment.wall));
                    let sequence = raw.header.sequence;
                    sequences = Some((sequences.map_or(sequence, |(first, _)| first), sequence));
                }
                RawStep::End => break,
                RawStep::Flaw(found) => {
                    flaw.get_or_insert(format!("{}: {found:?}", path.display()));
                    break;
                }
            }
        }
    }
    let kinds: serde_json::Map<_, _> = kinds
        .into_iter()
        .map(|(kind, count)| (kind_name(kind).map_or_else(|| format!("kind {kind}"), str::to_owned), json!(count)))
        .collect();
    let any = records > 0;
    Ok(json!({
        "version": "3.0",
        "robot": head.as_ref().map(|head| head.identity.robot.clone()),
        "session": head.as_ref().map(|head| hex(&head.identity.session)),
        "boot": head.as_ref().map(|head| hex(&head.identity.boot)),
        "segments": segments,
        "records": records,
        "sequences": sequences.map(|(first, last)| format!("{first} to {last}")),
        "from": any.then(|| time_text(first)),
        "to": any.then(|| time_text(last)),
        "kinds": kinds,
        "verifier": head.as_ref().map(|head| head.verifier.clone()).filter(|key| !key.is_empty()),
        "payload_key": head.as_ref().and_then(|head| head.encryption_key).map(|id| hex(&id)),
        "schema_sha256": head.as_ref().map(|head| hex(&Sha256::digest(&head.schema))),
        "flaw": flaw,
    }))
}
