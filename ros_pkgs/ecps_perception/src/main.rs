//! The node `ltp_bridge`.

use std::process::ExitCode;

use ecps_perception::node::Bridge;

fn main() -> ExitCode {
    ecps_ros::run::<Bridge>()
}
