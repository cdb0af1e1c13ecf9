//! The node `eap_supervisor`.

use std::process::ExitCode;

use ecps_actuation::supervisor_node::Supervisor;

fn main() -> ExitCode {
    if let Err(error) = ecps_ros::leave_shared_memory() {
        eprintln!("eap_supervisor: {error}");
        return ExitCode::FAILURE;
    }
    ecps_ros::run::<Supervisor>()
}
