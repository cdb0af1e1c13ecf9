//! The node `eap_supervisor`.

use std::process::ExitCode;

use ecps_actuation::supervisor_node::Supervisor;

fn main() -> ExitCode {
    ecps_ros::run::<Supervisor>()
}
