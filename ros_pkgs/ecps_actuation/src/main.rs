//! The node `eap_executor`.

use std::process::ExitCode;

use ecps_actuation::node::Executor;

fn main() -> ExitCode {
    if let Err(error) = ecps_ros::leave_shared_memory() {
        eprintln!("eap_executor: {error}");
        return ExitCode::FAILURE;
    }
    ecps_ros::run::<Executor>()
}
