//! `eaplog replay`: carries out a simulated journal's actions again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ecps_core::wire::proto::Eap;
use ecps_journal::Reader;
use ecps_journal::note::hex;
use ecps_journal::record::Entry;
use prost::Message as _;

use super::{EaplogError, Outcome, load_keys};
use crate::replay::{NoJournal, Replay, Scenario};

/// What `eaplog replay` is told.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A journal that was recorded in the simulator, as `eaplog create --simulate` makes it
    journal: PathBuf,
    /// A file with a key for encrypted payloads; may be given several times
    #[arg(long, value_name = "FILE")]
    payload_key: Vec<PathBuf>,
}

pub(super) fn run(options: &Options) -> Outcome {
    let path = &options.journal;
    let mut reader = Reader::open(path)?.with_keys(load_keys(&options.payload_key)?);
    let (mut scenario, mut actions, mut ends) = (None, Vec::new(), BTreeMap::new());
    while let Some(record) = reader.read()? {
        let sequence = record.header.sequence;
        match record.entry().map_err(|error| EaplogError::content(path, format!("record {sequence}: {error}")))? {
            Entry::Simulation(simulation) if scenario.is_none() => scenario = Some(Scenario::from_record(simulation)),
            Entry::Simulation(_) => {
                return Err(EaplogError::content(path, format!("record {sequence} begins a second simulation")));
            }
            Entry::Action(action) => {
                let eap = Eap::decode(action.eap.as_slice())
                    .map_err(|error| EaplogError::content(path, format!("record {sequence}: {error}")))?;
                actions.push((sequence, eap));
            }
            Entry::Outcome(outcome) => {
                ends.insert(outcome.action_sequence, outcome.state_sha);
            }
            _ => {}
        }
    }
    let scenario = scenario.ok_or_else(|| {
        EaplogError::content(
            path,
            "it has no Simulation record: only what was recorded in the simulator can be replayed",
        )
    })?;
    let failed = |error: crate::replay::ReplayError| EaplogError::content(path, error);
    let mut replay = Replay::begin(&scenario, NoJournal::default()).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    let mut compared = 0u64;
    for (sequence, action) in &actions {
        let ended = replay.carry_out(action).map_err(failed)?;
        // What was refused did not move anything, and has no end.
        let Some(recorded) = ends.get(sequence) else { continue };
        if *recorded != ended.state_sha {
            writeln!(out, "action {} ('{}', record {sequence}) diverges", ended.index, ended.id)?;
            writeln!(out, "- recorded {}", hex(recorded))?;
            writeln!(out, "+ replayed {}", hex(&ended.state_sha))?;
            return Ok(ExitCode::from(1));
        }
        compared += 1;
    }
    writeln!(
        out,
        "{compared} of {} actions end in the recorded state; integrity: {}",
        actions.len(),
        reader.verdict()
    )?;
    Ok(ExitCode::from(match reader.verdict() {
        ecps_journal::Verdict::Clean => 0,
        verdict if verdict.is_whole() => 3,
        _ => 4,
    }))
}
