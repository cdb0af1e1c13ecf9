//! The node `eap_executor`.

use std::process::ExitCode;

use ecps_actuation::node;

fn main() -> ExitCode {
    ecps_ros::run("eap_executor", node::declare, node::build)
}
