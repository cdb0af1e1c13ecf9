//! A process of managed nodes: arguments, signals, panics, exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Args;
use crate::managed::{self, Ended, Managed};
use crate::parameter::{ParameterError, Parameters};
use crate::rosout;
use crate::start_error::StartError;

/// Panics of any thread of the process so far. A thread that panicked leaves its work undone, so every node of the
/// process goes to its safe state.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics so far.
pub(crate) fn panics() -> u64 {
    PANICS.load(Ordering::Acquire)
}

/// The whole of a node's `main`; see [`Process`].
pub fn run<M: Managed>() -> ExitCode {
    Process::new().node::<M>().run()
}

struct Entry {
    name: &'static str,
    declared: fn() -> Result<Parameters, ParameterError>,
    spin: fn(&Args, &AtomicBool) -> Result<Ended, StartError>,
}

/// Nodes that share a process, each with a spin thread of its own.
///
/// Reads the arguments, starts the nodes, and spins until SIGINT or SIGTERM, which brings every node to its safe state
/// and its end; all threads are joined before the process exits. Exit code 0 after a signal; 1 when a node could not
/// start or failed beyond recovery. `--print-config` prints the nodes' commented parameter files instead, and
/// `--print-parameters` the tables for their documentation.
#[derive(Default)]
pub struct Process {
    entries: Vec<Entry>,
}

impl Process {
    /// A process without nodes.
    pub fn new() -> Process {
        Process::default()
    }

    /// Adds a node.
    #[must_use]
    pub fn node<M: Managed>(mut self) -> Process {
        self.entries.push(Entry { name: M::NAME, declared: managed::declared::<M>, spin: managed::spin::<M> });
        self
    }

    /// Runs them all.
    pub fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(ended) => ended,
            Err(error) => {
                // Under the name of the program, which has that of its node where it has only one.
                let name = self.entries.first().map_or("ecps", |entry| entry.name);
                eprintln!("{name}: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(&self) -> Result<ExitCode, StartError> {
        let args = Args::parse(std::env::args().skip(1))?;
        match args.user.as_slice() {
            [] => self.spin(args),
            [only] if only == "--print-config" => self.print(|parameters, name| parameters.commented_yaml(name)),
            [only] if only == "--print-parameters" => self.print(|parameters, name| parameters.markdown(name)),
            [unknown, ..] => Err(StartError::Layer(format!(
                "argument '{unknown}' is not known; known are --print-config, --print-parameters, --ros-args"
            ))),
        }
    }

    fn print(&self, text: impl Fn(&Parameters, &str) -> String) -> Result<ExitCode, StartError> {
        for entry in &self.entries {
            print!("{}", text(&(entry.declared)()?, entry.name));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn spin(&self, args: Args) -> Result<ExitCode, StartError> {
        rosout::init();
        watch_for_panics();
        let stop = Arc::new(AtomicBool::new(false));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(StartError::layer)?;
        let closing = signals.handle();
        let asked = Arc::clone(&stop);
        let listener = std::thread::spawn(move || {
            for _ in signals.forever() {
                asked.store(true, Ordering::Release);
            }
        });
        let (ends, ended) = mpsc::channel();
        let mut outcome = ExitCode::SUCCESS;
        std::thread::scope(|scope| {
            for entry in &self.entries {
                let (ends, stop, args) = (ends.clone(), &stop, &args);
                let spin = move || {
                    let result = (entry.spin)(args, stop);
                    let _ = ends.send((entry.name, result));
                };
                if let Err(error) = std::thread::Builder::new().name(entry.name.to_owned()).spawn_scoped(scope, spin) {
                    eprintln!("{}: no thread for it: {error}", entry.name);
                    outcome = ExitCode::FAILURE;
                    stop.store(true, Ordering::Release);
                }
            }
            drop(ends);
            // A node that ends of itself takes the others with it: half a process is a state nobody asked for.
            for (name, result) in ended {
                stop.store(true, Ordering::Release);
                match result {
                    Ok(Ended::Asked) => {}
                    Ok(Ended::Failed) => outcome = ExitCode::FAILURE,
                    Err(error) => {
                        eprintln!("{name}: {error}");
                        outcome = ExitCode::FAILURE;
                    }
                }
            }
        });
        closing.close();
        let _ = listener.join();
        Ok(outcome)
    }
}

/// Logs each panic with its place, and counts it.
fn watch_for_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("without a message");
        tracing::error!("thread '{}' panicked{place}: {text}", thread.name().unwrap_or("unnamed"));
        PANICS.fetch_add(1, Ordering::Release);
    }));
}
