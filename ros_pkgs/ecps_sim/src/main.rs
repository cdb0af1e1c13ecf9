//! The node `ecps_sim`.

use std::process::ExitCode;

use ecps_sim::node::Sim;

fn main() -> ExitCode {
    ecps_ros::run::<Sim>()
}
