//! The node `mep_server`.

use std::process::ExitCode;

use ecps_memory::node::Server;

fn main() -> ExitCode {
    ecps_ros::run::<Server>()
}
