//! The node `swarm_coordinator`.

use std::process::ExitCode;

use ecps_swarm::node::Coordinator;

fn main() -> ExitCode {
    ecps_ros::run::<Coordinator>()
}
