//! The node `trust_agent`.

use std::process::ExitCode;

use ecps_trust::node::Agent;

fn main() -> ExitCode {
    ecps_ros::run::<Agent>()
}
