//! The node `ecps_sim`: one simulated world.

use std::process::ExitCode;

use ecps_sim::node;

fn main() -> ExitCode {
    ecps_ros::run("ecps_sim", node::declare, node::build)
}
