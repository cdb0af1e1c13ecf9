//! What the tests across processes share: a ROS of their own, its nodes, and Python peers that talk to them.
//!
//! A [`Ros`] is a DDS domain that no other test uses and a home folder that goes with it. Nodes and peers are real
//! processes; everything that is waited for has a limit, and what a process printed is shown when its test fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests use it"
)]

mod dice;
mod domain;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub use crate::dice::Dice;
use crate::domain::Domain;
pub use crate::process::{Output, Process};

/// Within which a node starts, ends, or prints what it is expected to, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Within which a peer's whole scenario is over.
pub const SCENARIO: Duration = Duration::from_secs(90);
/// The nodes that have parameters.
pub const NODES: [&str; 8] = [
    "eap_executor",
    "eap_replay",
    "eap_supervisor",
    "ecps_sim",
    "ltp_bridge",
    "mep_server",
    "swarm_coordinator",
    "trust_agent",
];

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the binaries: the one above that of the running test.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).expect("a test runs in target/<profile>/deps").to_owned()
}

/// A DDS domain and a home folder, for one test alone.
pub struct Ros {
    domain: Domain,
    home: TempDir,
}

impl Default for Ros {
    fn default() -> Ros {
        Ros::new()
    }
}

impl Ros {
    /// Takes a domain that no running test uses.
    pub fn new() -> Ros {
        Ros { domain: Domain::take(), home: tempfile::tempdir().unwrap() }
    }

    /// Its id.
    pub fn domain(&self) -> u32 {
        self.domain.id()
    }

    /// The home folder of all its processes.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("ROS_DOMAIN_ID", self.domain.id().to_string())
            .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            .env("HOME", self.home())
            .current_dir(root());
        command
    }

    /// Starts one of the project's programs with exactly these arguments.
    pub fn program(&self, name: &str, arguments: &[&str]) -> Process {
        let path = binaries().join(name);
        assert!(path.exists(), "{} is missing: run cargo build first", path.display());
        Process::start(name, self.command(path).args(arguments))
    }

    /// Starts one of the programs for tests, which are the root package's examples.
    pub fn example(&self, name: &str, arguments: &[&str]) -> Process {
        self.program(&format!("examples/{name}"), arguments)
    }

    /// Starts a node for tests with these ROS arguments, and waits until it is up.
    pub fn start_example(&self, name: &str, ros_arguments: &[&str]) -> Process {
        let arguments: Vec<&str> = std::iter::once("--ros-args").chain(ros_arguments.iter().copied()).collect();
        let node = self.example(name, &arguments);
        node.wait_for_line(&format!("{name} is up"), SOON);
        node
    }

    /// Starts a node with these ROS arguments, and waits until it is up.
    pub fn node(&self, name: &str, ros_arguments: &[&str]) -> Process {
        let arguments: Vec<&str> = std::iter::once("--ros-args").chain(ros_arguments.iter().copied()).collect();
        let node = self.program(name, &arguments);
        node.wait_for_line(&format!("{name} is up"), SOON);
        node
    }

    /// Starts a node with the fast lane's profile of Fast DDS, and waits until it is up.
    pub fn node_in_fast_lane(&self, name: &str, ros_arguments: &[&str]) -> Process {
        let mut command = self.command(binaries().join(name));
        command.arg("--ros-args").args(ros_arguments);
        let profile = root().join("config/fastdds_shared_memory.xml");
        command.env("FASTRTPS_DEFAULT_PROFILES_FILE", profile).env("ROS_DISABLE_LOANED_MESSAGES", "0");
        let node = Process::start(name, &mut command);
        node.wait_for_line(&format!("{name} is up"), SOON);
        node
    }

    /// Starts a node in a network namespace, and waits until it is up.
    pub fn node_in(&self, namespace: &str, name: &str, ros_arguments: &[&str]) -> Process {
        let mut command = self.command("ip");
        let program = binaries().join(name);
        command.args(["netns", "exec", namespace]).arg(program).arg("--ros-args").args(ros_arguments);
        let node = Process::start(name, command.env("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"));
        node.wait_for_line(&format!("{name} is up"), SOON);
        node
    }

    /// Starts `tests/peers/<script>` in a network namespace.
    pub fn start_peer_in(&self, namespace: &str, script: &str, arguments: &[&str]) -> Process {
        let mut command = self.command("bash");
        let sourced = "if [ -e setup.bash ]; then . ./setup.bash; fi; exec ip netns exec \"$1\" python3 -B \"${@:2}\"";
        let script = format!("tests/peers/{script}");
        command.args(["-c", sourced, "peer", namespace, &script]).args(arguments);
        Process::start(&script, command.env("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"))
    }

    /// Starts `tests/peers/<script>` with Python, where rclpy is found as a user finds it: by sourcing `setup.bash`.
    pub fn start_peer(&self, script: &str, arguments: &[&str]) -> Process {
        let mut command = self.command("bash");
        let sourced = "if [ -e setup.bash ]; then . ./setup.bash; fi; exec python3 -B \"$@\"";
        command.args(["-c", sourced, "peer", &format!("tests/peers/{script}")]).args(arguments);
        Process::start(script, &mut command)
    }

    /// Runs ROS's own `ros2` and gives what it printed; none where it is not installed.
    pub fn ros2(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.command("bash");
        let sourced =
            "if [ -e setup.bash ]; then . ./setup.bash; fi; command -v ros2 >/dev/null || exit 77; exec ros2 \"$@\"";
        let output = Process::start("ros2", command.args(["-c", sourced, "ros2"]).args(arguments)).finish(SCENARIO);
        if output.status.code() == Some(77) {
            return None;
        }
        Some(output.stdout.join("\n"))
    }

    /// Runs a peer to its end, which must be a good one; what it printed.
    pub fn peer(&self, script: &str, arguments: &[&str]) -> Vec<String> {
        let output = self.start_peer(script, arguments).finish(SCENARIO);
        output.assert_success();
        output.stdout
    }
}
