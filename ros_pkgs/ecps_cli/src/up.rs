//! `ecps up`: starts a launch file and runs until all of it has ended or a signal comes.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use thiserror::Error;

use crate::launch::{
    Assignment, AssignmentError, DeclaredArgument, PackageError, Packages, ParseError, PlanError, World,
    declared_arguments, plan,
};
use crate::supervise::{Event, Exit, GRACE, Stream, SuperviseError, Supervisor};

/// What `ecps up` is told.
#[derive(Debug, Args)]
pub struct Up {
    /// FILE.launch.xml (a path, or the name of one of ours; ecps.launch.xml if left out), then name:=value …
    #[arg(value_name = "FILE.launch.xml | name:=value")]
    pub words: Vec<String>,
    /// List the arguments that the launch file takes, and start nothing
    #[arg(short, long)]
    pub show_args: bool,
}

/// Why nothing was started, or not all.
#[derive(Debug, Error)]
pub enum UpError {
    /// The system does not say which program this is, or takes no signal handlers.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A word that is neither the file nor `name:=value`.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// Our launch files are not found.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A launch file cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A launch file cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A process cannot be started.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

/// The packages and the environment as this process sees them.
///
/// # Errors
/// When the system does not say which program this is.
pub fn this_world() -> std::io::Result<World> {
    let environment: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let executable = std::env::current_exe()?;
    let packages = Packages::discover(
        &executable,
        environment.get("AMENT_PREFIX_PATH").map(String::as_str),
        environment.get("ECPS_ROOT").map(Path::new),
    );
    Ok(World { packages, environment })
}

/// Runs `ecps up`. The exit code is 0 when every process ended with 0, or was stopped by us and obeyed.
///
/// # Errors
/// [`UpError`], whose message is one line for the user.
pub fn run(up: &Up) -> Result<ExitCode, UpError> {
    let world = this_world()?;
    let (file, words) = match up.words.split_first() {
        Some((first, rest)) if !first.contains(":=") => (first.as_str(), rest),
        _ => ("ecps.launch.xml", up.words.as_slice()),
    };
    let file = launch_file(file, &world)?;
    let arguments: Vec<Assignment> = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    if up.show_args {
        let text = describe(&file, &declared_arguments(&file, &world)?);
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = plan(&file, &arguments, &world)?;
    let labels = plan.processes.iter().map(|process| process.label.clone()).collect();
    let (sender, happenings) = channel();
    send_signals(sender.clone())?;
    let console = Console::new(labels, sender);
    let count = plan.processes.len();
    let sink = Arc::new(move |event: Event<'_>| console.show(event));
    let mut supervisor = Supervisor::start(plan, &std::env::current_exe()?, GRACE, sink)?;

    let (mut ended, mut failed) = (0, false);
    while ended < count {
        match happenings.recv() {
            Ok(Happening::Ended(exit)) => {
                ended += 1;
                failed |= exit != Exit::Code(0);
            }
            Ok(Happening::Signal) | Err(_) => {
                // SIGKILL is what those get that do not obey.
                failed |= supervisor.shutdown().iter().any(|(_, exit)| !was_asked_to(*exit));
                // Some may have ended before, but after the signal came.
                failed |= happenings.try_iter().any(|h| matches!(h, Happening::Ended(exit) if !was_asked_to(exit)));
                break;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

enum Happening {
    Ended(Exit),
    Signal,
}

/// Whether this is how a process ends that is told to: with 0, or by the signal itself.
fn was_asked_to(exit: Exit) -> bool {
    matches!(exit, Exit::Code(0) | Exit::Signal(SIGINT | SIGTERM))
}

fn send_signals(sender: Sender<Happening>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = sender.send(Happening::Signal);
        }
    });
    Ok(())
}

/// A path, or the name of a launch file of the package `ecps`.
fn launch_file(file: &str, world: &World) -> Result<PathBuf, PackageError> {
    let path = Path::new(file);
    if file.contains('/') || path.exists() {
        return Ok(path.to_owned());
    }
    Ok(world.packages.share("ecps")?.join("launch").join(file))
}

fn describe(file: &Path, arguments: &[DeclaredArgument]) -> String {
    let mut text = format!("Arguments of {} (name:=value):\n", file.display());
    for argument in arguments {
        let default =
            argument.default.as_ref().map_or("must be given".to_owned(), |default| format!("default '{default}'"));
        text.push_str(&format!("\n  {}: {default}\n      {}", argument.name, argument.description));
        if !argument.choices.is_empty() {
            text.push_str(&format!(" (one of {})", argument.choices.join(", ")));
        }
        text.push('\n');
    }
    text
}

/// Prints events, each line under the name of its process.
struct Console {
    labels: Vec<String>,
    ends: Mutex<Sender<Happening>>,
    colour: bool,
}

/// Foreground colours that are legible on light and on dark: cyan, green, yellow, magenta, blue.
const COLOURS: [u8; 5] = [36, 32, 33, 35, 34];

impl Console {
    fn new(labels: Vec<String>, ends: Sender<Happening>) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { labels, ends: Mutex::new(ends), colour }
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Started { label, id } => self.print(label, Stream::Out, &format!("started as process {id}")),
            Event::Line { label, stream, text } => self.print(label, stream, text),
            Event::Ended { label, exit } => {
                let stream = if was_asked_to(exit) { Stream::Out } else { Stream::Err };
                self.print(label, stream, &format!("ended with {exit}"));
                let _ = self.ends.lock().unwrap_or_else(PoisonError::into_inner).send(Happening::Ended(exit));
            }
        }
    }

    /// A terminal that is gone is no reason to stop.
    fn print(&self, label: &str, stream: Stream, text: &str) {
        let number = self.labels.iter().position(|other| other == label).unwrap_or_default();
        let line = match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.colour => format!("\x1b[{colour}m[{label}]\x1b[0m {text}\n"),
            _ => format!("[{label}] {text}\n"),
        };
        let _ = match stream {
            Stream::Out => std::io::stdout().lock().write_all(line.as_bytes()),
            Stream::Err => std::io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}
