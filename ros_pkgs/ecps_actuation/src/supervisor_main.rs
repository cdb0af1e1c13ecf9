//! The node `eap_supervisor`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use ecps_actuation::supervisor_node::Supervisor;

/// Which transports Fast DDS uses.
const TRANSPORTS: &str = "FASTDDS_BUILTIN_TRANSPORTS";

/// A process that is killed can leave Fast DDS's shared memory locked, and then whoever publishes through it waits for up to
/// a second. The stop of a killed executor must not, so it goes by UDP; unless somebody has chosen otherwise. Fast DDS
/// reads its environment before `main`, so this process begins once more.
fn main() -> ExitCode {
    if std::env::var_os(TRANSPORTS).is_none() {
        let again = std::env::current_exe()
            .map(|this| Command::new(this).args(std::env::args_os().skip(1)).env(TRANSPORTS, "UDPv4").exec());
        let (Ok(error) | Err(error)) = again;
        eprintln!("eap_supervisor: {error}");
        return ExitCode::FAILURE;
    }
    ecps_ros::run::<Supervisor>()
}
