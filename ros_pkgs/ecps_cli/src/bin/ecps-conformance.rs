//! `ecps-conformance`: what an outside test runner drives. Standard output is one JSON object.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use ecps_cli::delimited::{actions, messages};
use ecps_cli::mep_query::mep_query;
use ecps_cli::replay::{NoJournal, Replay, Scenario};
use ecps_journal::note::hex;
use serde_json::json;

#[derive(Parser)]
#[command(name = "ecps-conformance", version, about = "Conformance checks for an outside test runner")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry out actions in the simulator and compare the digest of the state after each
    EapReplay {
        /// EAP messages, each after its length as a varint
        #[arg(long, value_name = "FILE")]
        actions: PathBuf,
        /// Digests, 32 bytes each, each after its length as a varint
        #[arg(long, value_name = "FILE")]
        state_hashes: PathBuf,
    },
    /// Ask a memory of known tensors and compare the answer
    MepQuery {
        /// One QueryReq message, after its length as a varint
        #[arg(long, value_name = "FILE")]
        query: PathBuf,
        /// LTP messages, each after its length: what is remembered. Those with an attribute `similarity` are the answer, best first
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
        /// How far a similarity may be off
        #[arg(long, default_value_t = 0.01)]
        tolerance: f64,
    },
}

/// What does not conform; empty: everything does.
fn eap_replay(file: &Path, hashes: &Path) -> Result<(Vec<String>, usize), String> {
    let (actions, expected) = (actions(file).map_err(|e| e.to_string())?, messages(hashes).map_err(|e| e.to_string())?);
    let mut replay = Replay::begin(&Scenario::default(), NoJournal::default()).map_err(|e| e.to_string())?;
    let mut errors = Vec::new();
    if actions.len() != expected.len() {
        errors.push(format!("there are {} actions and {} state hashes", actions.len(), expected.len()));
    }
    for (action, expected) in actions.iter().zip(&expected) {
        let ended = replay.carry_out(action).map_err(|e| e.to_string())?;
        if ended.state_sha != expected.as_slice() {
            let (index, found, expected) = (ended.index, hex(&ended.state_sha), hex(expected));
            errors.push(format!("action {index} ('{}') ends in state {found}, and should in {expected}", ended.id));
            break;
        }
    }
    Ok((errors, actions.len()))
}

fn main() -> ExitCode {
    let start = Instant::now();
    let (result, what) = match Cli::parse().command {
        Command::EapReplay { actions, state_hashes } => {
            (eap_replay(&actions, &state_hashes), "actions end in the states given")
        }
        Command::MepQuery { query, expected, tolerance } => {
            (mep_query(&query, &expected, tolerance), "hits are those expected")
        }
    };
    let (status, code, message, errors) = match result {
        Ok((errors, count)) if errors.is_empty() => ("PASS", 0, format!("{count} {what}"), errors),
        Ok((errors, _)) => ("FAIL", 1, errors.first().cloned().unwrap_or_default(), errors),
        Err(error) => ("ERROR", 1, error.clone(), vec![error]),
    };
    let details = json!({ "execution_time_ms": start.elapsed().as_secs_f64() * 1e3, "validation_errors": errors });
    println!("{}", json!({ "status": status, "message": message, "details": details }));
    ExitCode::from(code)
}
