//! The probe on its own.
#![allow(clippy::panic, reason = "a node for tests, that panics when it is told to")]

mod probe;

fn main() -> std::process::ExitCode {
    ecps_ros::run::<probe::Probe>()
}
