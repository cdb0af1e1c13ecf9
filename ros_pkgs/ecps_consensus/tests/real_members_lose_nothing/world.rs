//! Network namespaces of a test's own: one for each member, a bridge between them whose ports can be cut, and a door by
//! which clients reach each member also then. All of it is gone with the test's processes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

const INSIDE: &str = "ECPS_CONSENSUS_WORLD";

/// Runs the test of this name again in namespaces of its own. True there; false where the test is over, or where
/// namespaces are not permitted.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--"]);
        command
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: network namespaces are not permitted here");
        return false;
    }
    let test_program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture"];
    let output = unshare().arg(test_program).args(arguments).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

/// Makes the namespaces `m1` to `m3`.
pub fn build() {
    sh("mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up
        ip link add name ether type bridge && ip link set ether up
        for id in 1 2 3; do
            ip netns add m$id && ip -n m$id link set lo up
            ip link add wire$id type veth peer name wire netns m$id
            ip link set wire$id master ether up
            ip -n m$id addr add 10.9.0.$id/24 dev wire && ip -n m$id link set wire up
            ip link add door$id type veth peer name door netns m$id
            ip addr add 10.8.$id.254/24 dev door$id && ip link set door$id up
            ip -n m$id addr add 10.8.$id.1/24 dev door && ip -n m$id link set door up
        done");
}

/// By which members reach each other.
pub fn addresses() -> BTreeMap<u64, String> {
    (1..=3).map(|id| (id, format!("10.9.0.{id}:7000"))).collect()
}

/// By which clients reach them.
pub fn doors() -> BTreeMap<u64, String> {
    (1..=3).map(|id| (id, format!("10.8.{id}.1:7000"))).collect()
}

/// Runs a program in the namespace of a member.
pub fn within(id: u64) -> Vec<String> {
    ["ip", "netns", "exec", &format!("m{id}")].map(str::to_owned).to_vec()
}

/// Cuts a member's wire.
pub fn cut(id: u64) {
    sh(&format!("ip link set wire{id} down"));
}

/// Mends it.
pub fn mend(id: u64) {
    sh(&format!("ip link set wire{id} up"));
}
