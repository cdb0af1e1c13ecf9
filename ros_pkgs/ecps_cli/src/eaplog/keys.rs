//! `eaplog keys`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ecps_journal::cipher::PayloadKey;
use ecps_journal::note::hex;
use ecps_journal::{Signer as _, SoftwareSigner};

use super::{EaplogError, Outcome};

/// What `eaplog keys` is told.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key that signs checkpoints, in a new file that only its owner can read; print what checks them
    Generate {
        /// The key's name, of which each robot has its own
        #[arg(long)]
        name: String,
        /// The new file
        file: PathBuf,
    },
    /// Make a key that encrypts payloads, in a new file that only its owner can read; print its id
    GeneratePayload {
        /// The new file
        file: PathBuf,
    },
    /// Print what a key file's public part is: the verifier key, or the id of a payload key
    Show {
        /// The file
        file: PathBuf,
    },
    /// Print the public parts of all key files in a folder
    List {
        /// The folder
        folder: PathBuf,
    },
}

fn public(file: &std::path::Path) -> Result<String, EaplogError> {
    match SoftwareSigner::load(file) {
        Ok(signer) => Ok(signer.verifier().to_string()),
        Err(ecps_journal::sign::KeyError::Malformed { .. }) => {
            Ok(format!("payload key {}", hex(&PayloadKey::load(file)?.id())))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn run(options: Keys) -> Outcome {
    let mut out = std::io::stdout().lock();
    match options.command {
        Command::Generate { name, file } => writeln!(out, "{}", SoftwareSigner::generate(&name, &file)?.verifier())?,
        Command::GeneratePayload { file } => writeln!(out, "payload key {}", hex(&PayloadKey::generate(&file)?.id()))?,
        Command::Show { file } => writeln!(out, "{}", public(&file)?)?,
        Command::List { folder } => {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
                .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
                .map_err(EaplogError::file(&folder))?;
            files.retain(|file| file.is_file());
            files.sort();
            for file in files {
                // A folder may hold other things.
                let text = public(&file).unwrap_or_else(|error| error.to_string());
                writeln!(out, "{}: {text}", file.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
