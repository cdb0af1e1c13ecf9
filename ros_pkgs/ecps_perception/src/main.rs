//! The node `ltp_bridge`.

use std::process::ExitCode;

use ecps_perception::node;

fn main() -> ExitCode {
    ecps_ros::run("ltp_bridge", node::declare, node::build)
}
