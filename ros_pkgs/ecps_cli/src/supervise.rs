//! Starts the processes of a plan, passes their output on, and stops every one of them, whatever happens.
//!
//! Each process runs under a guard (`ecps exec-guarded`, [`guard`]), in a process group of its own. The guard holds the
//! reading end of a pipe from the supervisor: when the supervisor is gone, be it by SIGKILL, the guard stops the group.
//! So nothing that a plan started outlives the supervisor, and what such a process started itself ends with it.
//!
//! Stopping is SIGINT, then SIGTERM, then SIGKILL to the group, each after a grace period.

pub mod guard;
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use thiserror::Error;

use crate::launch::{Plan, Process};
use running::Running;

/// How long `ecps up` and the guards give a process to end after SIGINT, and once more after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(5);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What happens to a process. Its label is [`Process::label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It was started.
    Started {
        /// Which.
        label: &'a str,
        /// The id of its guard and of their process group.
        id: u32,
    },
    /// It wrote a line, without its end. Lines beyond 64 KiB come in pieces.
    Line {
        /// Which.
        label: &'a str,
        /// Where.
        stream: Stream,
        /// The line; bytes that are no UTF-8 are replaced.
        text: &'a str,
    },
    /// It ended, after all its lines.
    Ended {
        /// Which.
        label: &'a str,
        /// How.
        exit: Exit,
    },
}

/// Receives events, from several threads. It must not block for long: processes wait while it does.
pub type Sink = dyn Fn(Event<'_>) + Send + Sync;

/// Why a process cannot be started or killed.
#[derive(Debug, Error)]
pub enum SuperviseError {
    /// The system does not start it.
    #[error("{label}: {} cannot be started: {source}", program.display())]
    Start {
        /// Which.
        label: String,
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The plan has no such process.
    #[error("there is no process `{label}`; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        label: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It has ended before.
    #[error("the process `{0}` is not running")]
    NotRunning(String),
}

struct Slot {
    process: Process,
    /// The last start of it; none after a start that failed.
    running: Option<Running>,
}

/// The processes of a plan. Dropping it stops them all.
pub struct Supervisor {
    guard: PathBuf,
    grace: Duration,
    sink: Arc<Sink>,
    slots: Vec<Slot>,
}

impl Supervisor {
    /// Starts all processes of `plan`. `guard` is the `ecps` executable, in the demo the running one; `grace` is how long
    /// a process has to end after SIGINT, and once more after SIGTERM.
    ///
    /// # Errors
    /// [`SuperviseError::Start`], after which nothing is left running.
    pub fn start(plan: Plan, guard: &Path, grace: Duration, sink: Arc<Sink>) -> Result<Self, SuperviseError> {
        let slots = plan.processes.into_iter().map(|process| Slot { process, running: None }).collect();
        let mut supervisor = Self { guard: guard.to_owned(), grace, sink, slots };
        for slot in &mut supervisor.slots {
            slot.running = Some(Running::start(&slot.process, guard, &supervisor.sink)?);
        }
        Ok(supervisor)
    }

    /// The labels of the processes that are running.
    pub fn running(&self) -> Vec<&str> {
        self.slots.iter().filter(|slot| slot.is_running()).map(|slot| slot.process.label.as_str()).collect()
    }

    /// Kills a process with SIGKILL, as a crash would, and returns when it is gone.
    ///
    /// # Errors
    /// [`SuperviseError::Unknown`], [`SuperviseError::NotRunning`].
    pub fn kill(&mut self, label: &str) -> Result<(), SuperviseError> {
        let slot = self.slot(label)?;
        match slot.running.as_ref().filter(|running| running.exit().is_none()) {
            None => Err(SuperviseError::NotRunning(label.to_owned())),
            Some(running) => {
                running.signal(Signal::KILL);
                running.wait();
                Ok(())
            }
        }
    }

    /// Stops a process with SIGINT, then SIGTERM, then SIGKILL, and says how it ended.
    ///
    /// # Errors
    /// [`SuperviseError::Unknown`], [`SuperviseError::NotRunning`].
    pub fn stop(&mut self, label: &str) -> Result<Exit, SuperviseError> {
        let grace = self.grace;
        let slot = self.slot(label)?;
        match slot.running.as_ref().filter(|running| running.exit().is_none()) {
            None => Err(SuperviseError::NotRunning(label.to_owned())),
            Some(running) => {
                stop(&[running], grace);
                Ok(running.wait())
            }
        }
    }

    /// Starts a process again that has ended, or stops it first.
    ///
    /// # Errors
    /// [`SuperviseError::Unknown`], [`SuperviseError::Start`].
    pub fn restart(&mut self, label: &str) -> Result<(), SuperviseError> {
        let (guard, grace, sink) = (self.guard.clone(), self.grace, Arc::clone(&self.sink));
        let slot = self.slot(label)?;
        if let Some(running) = slot.running.take() {
            stop(&[&running], grace);
        }
        slot.running = Some(Running::start(&slot.process, &guard, &sink)?);
        Ok(())
    }

    /// Stops all processes at once, and says how those ended of whose end the sink had not heard before.
    pub fn shutdown(&mut self) -> Vec<(String, Exit)> {
        let untold = self.slots.iter().filter_map(|slot| Some((slot, slot.running.as_ref()?)));
        let untold: Vec<_> = untold.filter(|(_, running)| running.is_untold()).collect();
        stop(&untold.iter().map(|(_, running)| *running).collect::<Vec<_>>(), self.grace);
        untold.iter().map(|(slot, running)| (slot.process.label.clone(), running.wait())).collect()
    }

    fn slot(&mut self, label: &str) -> Result<&mut Slot, SuperviseError> {
        let known = self.slots.iter().map(|slot| slot.process.label.clone()).collect();
        let found = self.slots.iter_mut().find(|slot| slot.process.label == label);
        found.ok_or_else(|| SuperviseError::Unknown { label: label.to_owned(), known })
    }
}

impl Slot {
    fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.exit().is_none())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Stops them all, in parallel.
fn stop(running: &[&Running], grace: Duration) {
    for signal in [Signal::INT, Signal::TERM] {
        running.iter().for_each(|running| running.signal(signal));
        let deadline = Instant::now() + grace;
        if running.iter().all(|running| running.wait_until(deadline).is_some()) {
            return;
        }
    }
    for running in running {
        running.signal(Signal::KILL);
        running.wait();
    }
}
