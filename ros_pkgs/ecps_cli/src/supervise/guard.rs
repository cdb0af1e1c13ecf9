//! `ecps exec-guarded -- PROGRAM ARGUMENT…`: runs a program, and stops it when standard input ends.
//!
//! The supervisor holds the other end of that pipe and never writes to it, so its end is the supervisor's end. A parent's
//! death signal would not do: it comes when the *thread* that started the program ends, it cannot be followed by a harder
//! one, and it does not reach what the program has started.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use thiserror::Error;

use super::GRACE;

/// Why a program is not run.
#[derive(Debug, Error)]
pub enum GuardError {
    /// No program named.
    #[error("exec-guarded needs a program after --")]
    NoProgram,
    /// Started by hand: stopping the program would stop the shell's other programs, too.
    #[error("exec-guarded is started by `ecps up`, in a process group of its own")]
    NoGroup,
    /// The system does not start it.
    #[error("{} cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

enum Message {
    Ended(ExitStatus),
    SupervisorGone,
}

/// Runs the program, the first of `command`, and returns its exit code, or 128 + the signal that ended it.
///
/// # Errors
/// [`GuardError`], with nothing started.
pub fn run(command: &[OsString]) -> Result<ExitCode, GuardError> {
    let (program, arguments) = command.split_first().ok_or(GuardError::NoProgram)?;
    if getpgrp() != getpid() {
        return Err(GuardError::NoGroup);
    }
    let failed = |source| GuardError::Start { program: PathBuf::from(program), source };
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Signals go to the whole group, and the guard must outlive the program. Unlike an ignored signal, a handled one
        // is back at its default in the program.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().map_err(failed)?;

    let (sender, receiver) = channel();
    let at_end = sender.clone();
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _ = at_end.send(Message::Ended(status));
        }
    });
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
        let _ = sender.send(Message::SupervisorGone);
    });
    match receiver.recv() {
        Ok(Message::Ended(status)) => Ok(code_of(status)),
        Ok(Message::SupervisorGone) | Err(_) => Ok(stop_group(&receiver)),
    }
}

/// Stops all of the group; the last step ends this process, too.
fn stop_group(receiver: &Receiver<Message>) -> ExitCode {
    for signal in [Signal::INT, Signal::TERM] {
        let _ = kill_current_process_group(signal);
        if receiver.recv_timeout(GRACE).is_ok() {
            break;
        }
    }
    let _ = kill_current_process_group(Signal::KILL);
    ExitCode::FAILURE
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
