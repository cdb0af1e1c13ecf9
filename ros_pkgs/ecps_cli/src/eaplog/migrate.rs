//! `eaplog migrate`, `batch-migrate`, `create` and `list-versions`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ecps_core::wire::proto::Eap;
use ecps_journal::legacy::{Header, LegacyWriter, Version};
use ecps_journal::migrate::{Migrated, migrate as to_later};
use ecps_journal::note::hex;
use ecps_journal::record::Imported;
use ecps_journal::{Identity, Journal, Moment, Options, Signer, SoftwareSigner};
use indicatif::{ProgressBar, ProgressDrawTarget};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{EaplogError, Outcome, now};
use crate::delimited;
use crate::replay::{Awaited, Replay, ReplayError, Scenario};

/// What `eaplog migrate` is told.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// An old file, which stays as it is
    source: PathBuf,
    /// The new file, which must not exist
    target: PathBuf,
    /// The version to make
    #[arg(long, default_value = "3.0")]
    to: Version,
    /// A file with a key that signs a 3.0 journal
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

fn options(sign: Option<&PathBuf>) -> Result<Options, EaplogError> {
    let signer = sign.map(|file| SoftwareSigner::load(file)).transpose()?;
    Ok(Options { signer: signer.map(|signer| -> Box<dyn Signer> { Box::new(signer) }), ..Options::default() })
}

fn describe(source: &Path, target: &Path, done: &Migrated) -> String {
    let steps: Vec<&str> = done.steps.iter().map(|version| version.name()).collect();
    let loss = done.flaw.as_ref().map_or(String::new(), |flaw| format!("; {flaw}"));
    format!(
        "{} to {}: {}, {} records, source sha256 {}{loss}",
        source.display(),
        target.display(),
        steps.join(" → "),
        done.records,
        hex(&done.source_sha256)
    )
}

pub(super) fn migrate(migrate: &Migrate) -> Outcome {
    let done = to_later(&migrate.source, &migrate.target, migrate.to, now(), options(migrate.sign.as_ref())?)?;
    writeln!(std::io::stdout().lock(), "{}", describe(&migrate.source, &migrate.target, &done))?;
    Ok(ExitCode::from(if done.flaw.is_some() { 3 } else { 0 }))
}

/// What `eaplog batch-migrate` is told.
#[derive(Debug, Args)]
pub(super) struct BatchMigrate {
    /// A folder with old .eaplog files, which stay as they are
    source: PathBuf,
    /// The folder for the new ones, under the same names
    target: PathBuf,
    /// The version to make
    #[arg(long, default_value = "3.0")]
    to: Version,
    /// A file with a key that signs 3.0 journals
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

pub(super) fn batch(batch: &BatchMigrate) -> Outcome {
    let mut sources: Vec<PathBuf> = std::fs::read_dir(&batch.source)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(EaplogError::file(&batch.source))?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "eaplog") && path.is_file());
    sources.sort();
    std::fs::create_dir_all(&batch.target).map_err(EaplogError::file(&batch.target))?;
    let on = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(sources.len() as u64), on);
    let (mut failed, mut lossy) = (0u64, 0u64);
    for source in &sources {
        let target = batch.target.join(source.file_name().unwrap_or_default());
        let line = match to_later(source, &target, batch.to, now(), options(batch.sign.as_ref())?) {
            Ok(done) => {
                lossy += u64::from(done.flaw.is_some());
                describe(source, &target, &done)
            }
            Err(error) => {
                failed += 1;
                format!("not migrated: {error}")
            }
        };
        bar.suspend(|| writeln!(std::io::stdout().lock(), "{line}"))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let all = sources.len() as u64;
    writeln!(std::io::stdout().lock(), "{} of {all} migrated, {lossy} of them with loss", all - failed)?;
    Ok(ExitCode::from(if failed > 0 {
        1
    } else if lossy > 0 {
        3
    } else {
        0
    }))
}

/// What `eaplog create` is told.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The new file, which must not exist
    target: PathBuf,
    /// Its version
    #[arg(long, default_value = "3.0")]
    version: Version,
    /// EAP messages, each after its length as a varint, as `eaplog extract --form actions` writes them; default: none
    #[arg(long, value_name = "FILE")]
    actions: Option<PathBuf>,
    /// Name of the robot
    #[arg(long, default_value = "robot")]
    robot: String,
    /// Carry the actions out in the simulator with this seed, and keep all that the executor records; 3.0 alone
    #[arg(long, value_name = "SEED")]
    simulate: Option<u64>,
    /// A file with a key that signs a 3.0 journal
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
}

pub(super) fn create(create: &Create) -> Outcome {
    let messages = |file: &PathBuf| {
        // Each must be an action.
        delimited::actions(file)?;
        delimited::messages(file)
    };
    let actions = create.actions.as_ref().map(messages).transpose()?.unwrap_or_default();
    let mut hash = Sha256::new_with_prefix(now().0.to_le_bytes()).chain_update(std::process::id().to_le_bytes());
    actions.iter().for_each(|action| hash.update(action));
    let mut session = [0; 16];
    session.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    let target = &create.target;
    if create.version == Version::V3_0 {
        let identity = Identity { robot: create.robot.clone(), session, boot: [0; 16] };
        let mut journal = Journal::create(target, identity, now(), options(create.sign.as_ref())?)?;
        if let Some(seed) = create.simulate {
            return simulate(target, seed, journal, &actions);
        }
        for (index, eap) in (0..).zip(actions) {
            journal.append(&Moment { wall: now(), ..Moment::default() }, &Imported { index, eap })?;
        }
    } else if create.simulate.is_some() {
        return Err(EaplogError::content(target, format!("version {} cannot hold a simulated run", create.version)));
    } else {
        let header = Header::new(create.version, now(), &create.robot, session);
        let failed = EaplogError::file(target);
        let mut writer =
            LegacyWriter::create(target, Some(&header).filter(|_| create.version > Version::V1_0)).map_err(&failed)?;
        for action in &actions {
            writer.write(action).map_err(&failed)?;
        }
        writer.finish().map_err(&failed)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn simulate(target: &Path, seed: u64, journal: Journal, actions: &[Vec<u8>]) -> Outcome {
    let failed = |error: ReplayError| EaplogError::content(target, error);
    let mut replay = Replay::begin(&Scenario::with_seed(seed), Awaited(journal)).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    for action in actions {
        let action = Eap::decode(action.as_slice()).map_err(|error| EaplogError::content(target, error))?;
        let ended = replay.carry_out(&action).map_err(failed)?;
        writeln!(
            out,
            "action {} ('{}') ended with {:?} in {}",
            ended.index,
            ended.id,
            ended.code,
            hex(&ended.state_sha)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list_versions() -> Outcome {
    let mut out = std::io::stdout().lock();
    for version in Version::ALL {
        let what = match version {
            Version::V1_0 => "actions alone; read, created, migrated",
            Version::V1_1 | Version::V2_0 | Version::V2_1 => "a JSON header and actions; read, created, migrated",
            Version::V3_0 => "records in a chain, signed; what a robot writes",
        };
        writeln!(out, "{version}  {what}")?;
    }
    Ok(ExitCode::SUCCESS)
}
