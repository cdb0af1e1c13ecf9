//! The node `mep_server`.

use std::process::ExitCode;

use ecps_memory::node;

fn main() -> ExitCode {
    ecps_ros::run("mep_server", node::declare, node::build)
}
