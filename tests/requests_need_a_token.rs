//! Where `trust_level` asks for tokens: who has none is refused and who has one is admitted, until it is revoked; and anybody stops.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use ecps_testing::{Process, Ros, SCENARIO, SOON};

/// A fleet whose authority and devices were made by `ecps trust`.
struct Fleet {
    ros: Ros,
    authority: PathBuf,
    anchor: String,
}

impl Fleet {
    fn new() -> Fleet {
        let ros = Ros::new();
        let authority = ros.home().join("authority");
        let anchor = format!("trust_anchor:={}", authority.join("anchor.pem").display());
        let fleet = Fleet { ros, authority, anchor };
        let folder = fleet.authority.to_str().unwrap();
        fleet.says(&["provision", "authority", "--folder", folder, "--fleet", "test"]);
        fleet
    }

    /// What `ecps trust` prints.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.ros.program("ecps", &[&["trust"], arguments].concat()).finish(SCENARIO);
        output.assert_success();
        output.stdout.join("\n")
    }

    fn folder(&self, name: &str) -> String {
        self.ros.home().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a device and takes it in; its id.
    fn device(&self, name: &str, role: &str) -> String {
        let (folder, authority) = (self.folder(name), self.authority.to_str().unwrap());
        let made = self.says(&["provision", "device", "--folder", &folder]);
        self.says(&["enroll", "--authority", authority, "--folder", &folder, "--name", name, "--role", role]);
        made.lines().last().unwrap().trim_start_matches("device ").to_owned()
    }

    fn agent(&self, namespace: &str, device: &str, parameters: &[&str]) -> Process {
        let (ns, folder) = (format!("__ns:={namespace}"), format!("folder:={}", self.folder(device)));
        let own = ["-r", &ns, "-p", &folder, "-p", "provider:=software", "-p", &self.anchor];
        self.ros.node("trust_agent", &[&own[..], parameters].concat())
    }

    fn authority(&self) -> Process {
        let books = format!("authority:={}", self.authority.display());
        self.agent("/fleet", "base", &["-p", &books, "-p", "trust_level:=AUDITED"])
    }
}

#[test]
fn who_has_no_token_is_refused_and_who_has_one_until_it_is_revoked() {
    let fleet = Fleet::new();
    fleet.device("base", "none");
    let robot = fleet.device("robot1", "robot_operator");
    let authority = fleet.authority();
    let tokens = ["-p", "tokens:=[executor, memory]", "-p", "executor.audience:=/robot1/eap_executor"];
    let memory = ["-p", "memory.audience:=/robot1/mep_server", "-p", "authority_node:=/fleet/trust_agent"];
    let agent = fleet.agent("/robot1", "robot1", &[&tokens[..], &memory[..]].concat());
    let guarded = ["-r", "__ns:=/robot1", "-p", &fleet.anchor];
    let blind = ["-p", "require_odometry:=false", "-p", "require_scan:=false", "-p", "trust_level:=AUDITED"];
    let executor = fleet.ros.node("eap_executor", &[&guarded[..], &blind[..]].concat());
    let policy = fleet.ros.home().join("policy.yaml");
    std::fs::write(&policy, "roles: {robot_operator: ['put:memory/kitchen', 'get:memory/kitchen']}").unwrap();
    let policy = format!("trust_policy:={}", policy.display());
    let rights = ["-p", "trust_level:=AUTHORIZED", "-p", &policy];
    let memory = fleet.ros.node("mep_server", &[&guarded[..], &rights[..]].concat());

    let kept = format!("{}/tokens", fleet.folder("robot1"));
    let mut peer = fleet.ros.start_peer("trust.py", &[&robot, &kept]);
    let folder = fleet.authority.to_str().unwrap();
    peer.wait_for_line("rotate", SCENARIO);
    peer.tell("");
    fleet.says(&["rotate", "--authority", folder]);
    // Some of these are signed before the new key is, and some after.
    for _ in 0..4 {
        let (device, fresh) = (fleet.folder("robot1"), format!("{kept}/fresh"));
        let of = ["token", "--folder", &device, "--agent", "/fleet/trust_agent"];
        fleet.says(&[&of[..], &["--audience", "/robot1/eap_executor", "--out", &fresh]].concat());
    }
    peer.wait_for_line("revoke", SCENARIO);
    fleet.says(&["revoke", "--authority", folder, "device", &robot]);
    peer.tell("");
    let output = peer.finish(SCENARIO);
    output.assert_success();
    println!("{}", output.stdout.join("\n"));
    assert!(
        fleet.says(&["status", "--authority", folder]).contains(&format!("{robot}  robot1  robot_operator  revoked"))
    );
    for node in [authority, agent, executor, memory] {
        node.interrupt().assert_success();
    }

    // Each decision is on record.
    let decided = fleet.ros.home().join(".ros/ecps/audit/robot1_eap_executor");
    let listed = fleet.ros.program("eaplog", &["list", decided.to_str().unwrap()]).finish(SOON);
    listed.assert_success();
    let listed = listed.stdout.join("\n");
    for words in ["carries no token", "is revoked", "configure:robot is denied", "\"granted\":true"] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    assert!(!listed.contains("eyJ"), "a token is on record");
}

#[test]
fn agents_attest_each_other_and_see_a_revocation() {
    let fleet = Fleet::new();
    fleet.device("base", "none");
    let ids = ["robot1", "robot2"].map(|name| fleet.device(name, "robot_operator"));
    let authority = fleet.authority();
    let around = ["-p", "attest_period:=1.0", "-p", "authority_node:=/fleet/trust_agent"];
    let one = fleet.agent("/robot1", "robot1", &[&around[..], &["-p", "peers:=[/robot2/trust_agent]"]].concat());
    let two = fleet.agent("/robot2", "robot2", &[&around[..], &["-p", "peers:=[/robot1/trust_agent]"]].concat());
    let until = |agent: &str, words: &str| {
        let deadline = std::time::Instant::now() + SCENARIO;
        loop {
            let said = fleet.says(&["status", "--agent", agent]);
            if said.contains(words) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{agent} does not say '{words}': {said}");
        }
    };
    until("/robot1/trust_agent", &format!("{}  trusted", ids[1]));
    until("/robot2/trust_agent", &format!("{}  trusted", ids[0]));
    let judged = fleet.says(&["attest", "/robot1/trust_agent", "--judge", "/robot2/trust_agent"]);
    assert!(judged.contains("is trusted"), "{judged}");

    // The authority is gone when somebody comes who missed the revocation: others hand it on.
    fleet.says(&["revoke", "--authority", fleet.authority.to_str().unwrap(), "device", &ids[1]]);
    until("/robot1/trust_agent", &format!("{}  revoked", ids[1]));
    authority.interrupt().assert_success();
    two.interrupt().assert_success();
    let late = fleet.agent("/robot3", "robot1", &["-p", "peers:=[/robot1/trust_agent]", "-p", "attest_period:=1.0"]);
    until("/robot3/trust_agent", &format!("{}  trusted", ids[0]));
    for node in [one, late] {
        node.interrupt().assert_success();
    }
}
