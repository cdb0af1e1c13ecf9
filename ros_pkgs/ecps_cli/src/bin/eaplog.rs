//! `eaplog`: everything that is done with a journal but writing it.

use std::process::ExitCode;

use clap::Parser;
use ecps_cli::eaplog::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("eaplog: {error}");
        ExitCode::FAILURE
    })
}
