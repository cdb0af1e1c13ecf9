//! The node `eap_replay`.

use std::process::ExitCode;

use ecps_actuation::replay_node::Replay;

fn main() -> ExitCode {
    ecps_ros::run::<Replay>()
}
