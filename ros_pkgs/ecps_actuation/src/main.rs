//! The node `eap_executor`.

use std::process::ExitCode;

use ecps_actuation::node::Executor;

fn main() -> ExitCode {
    ecps_ros::run::<Executor>()
}
