//! `ecps`: brings the stack up where `ros2 launch` is not installed.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ecps_cli::{demo, eap, ltp, memory, play, raft, supervise::guard, swarm, trust, up};

#[derive(Parser)]
#[command(name = "ecps", version, about = "ECPS for ROS 2 from the command line")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a launch file, as `ros2 launch` does, and stop all of it on Ctrl-C
    Up(up::Up),
    /// Publish a ROS 2 bag (MCAP) on the topics it was recorded on
    Play(play::Play),
    /// Watch a simulated robot, or a recording, go through the whole stack, and check every claim
    Demo(demo::Demo),
    /// Look at a robot's gate, stop it, leave the stop, set limits, send the robot to a place
    Eap(eap::Eap),
    /// Look at a memory file, ask it, export, import, verify and salvage it
    Memory(memory::MemoryCommand),
    /// Make frames of NumPy files, restore them, look into them
    Ltp(ltp::LtpCommand),
    /// Look at a consensus group, have it make snapshots, change who belongs to it
    Raft(raft::Raft),
    /// Look at a swarm's agents and tasks, give it tasks, take them back
    Swarm(swarm::Swarm),
    /// Make a fleet's keys and certificates, take devices in, take trust away
    Trust(trust::Trust),
    /// Run a program that ends with the supervisor that started it
    #[command(hide = true)]
    ExecGuarded {
        /// The program and its arguments
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(options) => up::run(&options).map_err(|e| e.to_string()),
        Command::Play(options) => play::run(&options).map_err(|e| e.to_string()),
        Command::Demo(options) => demo::run(&options).map_err(|e| e.to_string()),
        Command::Eap(options) => eap::run(&options).map_err(|e| e.to_string()),
        Command::Memory(options) => memory::run(&options).map_err(|e| e.to_string()),
        Command::Ltp(options) => ltp::run(&options).map_err(|e| e.to_string()),
        Command::Raft(options) => raft::run(&options).map_err(|e| e.to_string()),
        Command::Swarm(options) => swarm::run(&options).map_err(|e| e.to_string()),
        Command::Trust(options) => trust::run(&options).map_err(|e| e.to_string()),
        Command::ExecGuarded { command } => guard::run(&command).map_err(|e| e.to_string()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ecps: {error}");
        ExitCode::FAILURE
    })
}
