//! `ecps-conformance`: what an outside test runner drives. Standard output is one JSON object.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use ecps_cli::conformance::{compression, validate};
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
    /// Check one message; exit status 0 valid, 1 invalid, 2 could not be checked
    ValidateMessage {
        /// Its type
        #[arg(long = "type", value_name = "TYPE")]
        kind: validate::Type,
        /// The message, binary protobuf
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Exchange 0 and 1
        #[arg(long)]
        expect_failure: bool,
    },
    /// Check a frame's compression; exit status 0 pass, 1 fail
    LtpCompression {
        /// An LTP message, binary protobuf
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Compress it again by every method, and compare
        #[arg(long)]
        verify_integrity: bool,
    },
    /// Send tensors over a transport; exit status 0 pass, 1 fail, 2 not supported, 3 bad configuration
    TransportTest {
        /// Which
        #[arg(long)]
        transport: Transport,
        /// YAML: topic, count, bytes, max_frame_bytes, compression, timeout_s
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// LTP messages to send, each after its length as a varint; made-up ones unless given
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Transport {
    Dds,
    Grpc,
    Mqtt,
}

/// What goes to standard output, and the exit status.
struct Verdict {
    status: &'static str,
    code: u8,
    message: String,
    errors: Vec<String>,
    facts: serde_json::Value,
}

impl Verdict {
    /// Passed where nothing is wrong.
    fn of(errors: Vec<String>, passed: String) -> Verdict {
        match errors.first().cloned() {
            None => Verdict { status: "PASS", code: 0, message: passed, errors, facts: serde_json::Value::Null },
            Some(message) => Verdict { status: "FAIL", code: 1, message, errors, facts: serde_json::Value::Null },
        }
    }

    fn error(code: u8, message: String) -> Verdict {
        let errors = vec![message.clone()];
        Verdict { status: "ERROR", code, message, errors, facts: serde_json::Value::Null }
    }
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

fn validate_message(kind: validate::Type, input: &Path, expect_failure: bool) -> Verdict {
    let bytes = match std::fs::read(input) {
        Ok(bytes) => bytes,
        Err(error) => return Verdict::error(2, format!("{}: {error}", input.display())),
    };
    let errors = validate::validate(kind, &bytes);
    if !expect_failure {
        return Verdict::of(errors, "the message is valid".to_owned());
    }
    match errors.first() {
        Some(error) => {
            let verdict = Verdict::of(Vec::new(), format!("the message is invalid, as expected: {error}"));
            Verdict { errors, ..verdict }
        }
        None => Verdict::of(vec!["the message is valid, and should not be".to_owned()], String::new()),
    }
}

fn ltp_compression(input: &Path, integrity: bool) -> Verdict {
    match std::fs::read(input) {
        Err(error) => Verdict::error(1, format!("{}: {error}", input.display())),
        Ok(bytes) => {
            let outcome = compression::check(&bytes, integrity);
            let passed = format!("{} holds", input.display());
            Verdict { facts: outcome.facts, ..Verdict::of(outcome.errors, passed) }
        }
    }
}

#[cfg(feature = "ros")]
fn over_dds(config: &Path, input: Option<&Path>) -> Verdict {
    use ecps_cli::conformance::transport;
    let config = match transport::config(config) {
        Ok(config) => config,
        Err(error) => return Verdict::error(3, error),
    };
    let frames = match input.map(messages).transpose() {
        Ok(frames) => frames.unwrap_or_default(),
        Err(error) => return Verdict::error(3, error.to_string()),
    };
    match transport::dds(&config, &frames) {
        Ok((errors, count)) => Verdict::of(errors, format!("{count} tensors crossed DDS whole")),
        Err(error) => Verdict::error(1, error),
    }
}

#[cfg(not(feature = "ros"))]
fn over_dds(_: &Path, _: Option<&Path>) -> Verdict {
    unsupported("dds, in a program built without ROS,")
}

fn unsupported(what: &str) -> Verdict {
    Verdict { status: "SKIP", ..Verdict::error(2, format!("the transport {what} is not supported")) }
}

fn main() -> ExitCode {
    let start = Instant::now();
    let verdict = match Cli::parse().command {
        Command::EapReplay { actions, state_hashes } => match eap_replay(&actions, &state_hashes) {
            Ok((errors, count)) => Verdict::of(errors, format!("{count} actions end in the states given")),
            Err(error) => Verdict::error(1, error),
        },
        Command::MepQuery { query, expected, tolerance } => match mep_query(&query, &expected, tolerance) {
            Ok((errors, count)) => Verdict::of(errors, format!("{count} hits are those expected")),
            Err(error) => Verdict::error(1, error),
        },
        Command::ValidateMessage { kind, input, expect_failure } => validate_message(kind, &input, expect_failure),
        Command::LtpCompression { input, verify_integrity } => ltp_compression(&input, verify_integrity),
        Command::TransportTest { transport, config, input } => match transport {
            Transport::Dds => over_dds(&config, input.as_deref()),
            Transport::Grpc => unsupported("grpc"),
            Transport::Mqtt => unsupported("mqtt"),
        },
    };
    let Verdict { status, code, message, errors, facts } = verdict;
    let mut details = json!({ "execution_time_ms": start.elapsed().as_secs_f64() * 1e3, "validation_errors": errors });
    if let (Some(details), serde_json::Value::Object(facts)) = (details.as_object_mut(), facts) {
        details.extend(facts);
    }
    println!("{}", json!({ "status": status, "message": message, "details": details }));
    ExitCode::from(code)
}
