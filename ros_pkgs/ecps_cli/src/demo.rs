//! `ecps demo`: the main job, watched. A simulated robot (or a real one's recording) perceives, remembers, recalls, and
//! moves through the guarded path; every claim in the table at the end was checked, and the exit code says so.

mod fleet;
mod journal;
mod node;
mod office;
mod recording;
mod stack;
mod swarm;

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use ecps_core::budget::{MessageKind, Profile};
use thiserror::Error;

use crate::bag::BagError;
use crate::launch::{PackageError, PlanError};
use crate::play::PlayError;
use crate::report::{Claim, Colour, Report, Verdict, claims_table, map_svg, page};
use crate::supervise::SuperviseError;

/// What `ecps demo` is told.
#[derive(Debug, Args)]
pub struct Demo {
    /// Run perception and memory on this ROS 2 bag (MCAP with /scan and /odom) instead of the simulation
    #[arg(long, value_name = "BAG.mcap")]
    bag: Option<PathBuf>,
    /// Folder of the report
    #[arg(long, default_value = "demo-report")]
    report: PathBuf,
}

/// Why the demo could not be carried through. One line.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The report's folder, or this program.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The launch files are not found.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A launch file cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A node cannot be started.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// The demo's own node cannot be started.
    #[error(transparent)]
    Ros(#[from] ecps_ros::StartError),
    /// The bag.
    #[error(transparent)]
    Bag(#[from] BagError),
    /// Playing it.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// Something that had to come did not.
    #[error("{0}")]
    Missing(String),
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> DemoError {
    let what = what.into();
    move |source| DemoError::Io { what, source }
}

/// Set in the process that runs the demo proper: it has a ROS domain to itself.
const ISOLATED: &str = "ECPS_DEMO_ISOLATED";

/// Runs `ecps demo`: exit code 0 only when every claim was checked and holds.
///
/// # Errors
/// [`DemoError`], one line.
pub fn run(demo: &Demo) -> Result<ExitCode, DemoError> {
    if let Some(bag) = &demo.bag {
        crate::bag::Bag::open(bag)?;
    }
    if std::env::var_os(ISOLATED).is_none() {
        // The domain is read once, at the start of the ROS context, so it is set for a process of its own.
        let domain = 1 + std::process::id() % 100;
        let error = Command::new(std::env::current_exe().map_err(io("this program"))?)
            .args(std::env::args_os().skip(1))
            .env(ISOLATED, "1")
            .env("ROS_DOMAIN_ID", domain.to_string())
            .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            .exec();
        return Err(io("starting the demo")(error));
    }
    let run = demo.report.join("run");
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(io(run.display().to_string()))?;
    }
    std::fs::create_dir_all(&run).map_err(io(run.display().to_string()))?;
    let run = run.canonicalize().map_err(io(run.display().to_string()))?;
    let report = match &demo.bag {
        None => {
            let mut report = office::run(&run)?;
            let (chapter, claims) = swarm::run(&run)?;
            report.chapters.push(chapter);
            report.claims.extend(claims);
            report
        }
        Some(bag) => recording::run(bag, &run)?,
    };
    conclude(&report, &demo.report)
}

fn conclude(report: &Report, folder: &Path) -> Result<ExitCode, DemoError> {
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(io(file.display().to_string()))
    };
    write("index.html", page(report))?;
    write("map.svg", map_svg(&report.map))?;
    let colour = if std::io::stdout().is_terminal() { Colour::On } else { Colour::Off };
    println!("\n{}", claims_table(&report.claims, colour));
    println!("report: {}", folder.join("index.html").display());
    let (held, all) = Claim::tally(&report.claims);
    Ok(if held == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A claim that was checked.
fn claim(name: &str, value: impl Into<String>, limit: impl Into<String>, holds: bool) -> Claim {
    let verdict = if holds { Verdict::Passed } else { Verdict::Failed };
    Claim { name: name.to_owned(), value: value.into(), limit: limit.into(), verdict }
}

/// A latency held against its budget. It is shown and decides nothing, since a busy machine may break it; the figures that
/// must be reached are measured on a quiet one, in benches/.
fn measured(name: &str, p99_ms: Option<f64>, budget: MessageKind) -> Claim {
    let budget_ms = budget.budget(Profile::Standard).latency.as_secs_f64() * 1e3;
    match p99_ms {
        Some(p99_ms) => within(name, p99_ms, budget_ms),
        None => Claim {
            name: name.to_owned(),
            value: "no sample".into(),
            limit: format!("budget {budget_ms:.0} ms"),
            verdict: Verdict::Beyond,
        },
    }
}

/// The same of a single time and a figure of its own.
fn within(name: &str, took_ms: f64, budget_ms: f64) -> Claim {
    let verdict = if took_ms <= budget_ms { Verdict::Within } else { Verdict::Beyond };
    let (value, limit) = (format!("{took_ms:.2} ms"), format!("budget {budget_ms:.0} ms"));
    Claim { name: name.to_owned(), value, limit, verdict }
}

/// Live progress.
fn progress(text: impl AsRef<str>) {
    println!("  {}", text.as_ref());
}
