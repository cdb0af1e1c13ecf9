//! `ecps eap` on a simulated robot with executor and supervisor.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Instant;

use ecps_testing::{Output, Ros, SCENARIO};

struct CommandLine(Ros);

impl CommandLine {
    fn eap(&self, arguments: &[&str]) -> Output {
        self.0.program("ecps", &[&["eap", "--namespace", "robot1"], arguments].concat()).finish(SCENARIO)
    }

    /// What it prints where it succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.eap(arguments);
        output.assert_success();
        output.stdout.join("\n")
    }

    /// The one line in which it fails.
    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.eap(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        output.stderr.last().unwrap().clone()
    }
}

#[test]
fn state_estop_reset_limits_and_send_do_as_they_say() {
    let ros = Ros::new();
    let _world = ros.node("ecps_sim", &["-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let guarded = ["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom", "-p", "require_supervisor:=true"];
    // This machine may be busy with other tests.
    let patient = ["-p", "heartbeat_timeout:=1.0", "-p", "scan_timeout:=1.0", "-p", "odometry_timeout:=1.0"];
    let supervisor = ros.node("eap_supervisor", &["-r", "__ns:=/robot1", "-p", "heartbeat_timeout:=1.0"]);
    let _executor = ros.node("eap_executor", &[&guarded[..], &patient[..]].concat());
    supervisor.wait_for_line("the executor is being watched", SCENARIO);
    let line = CommandLine(ros);

    // It arms when the supervisor is sure that the robot hears it.
    let deadline = Instant::now() + SCENARIO;
    let mut state = line.says(&["state"]);
    while state.contains("gate        disarmed") && Instant::now() < deadline {
        state = line.says(&["state"]);
    }
    assert!(state.contains("gate        idle") && state.contains("supervisor  watching"), "{state}");
    assert!(line.says(&["estop"]).contains("stopped"));
    let state = line.says(&["state"]);
    assert!(state.contains("gate        stopped: requested"), "{state}");
    assert!(line.refuses(&["send", "0.5", "0.0"]).contains("a protective stop is latched"));
    assert!(line.says(&["reset"]).contains("armed"));

    assert!(line.says(&["limits"]).contains("linear   0.8 m/s, 1.5 m/s², 30 m/s³"));
    assert!(line.says(&["limits", "--linear-speed", "0.4"]).contains("linear   0.4 m/s, 1.5 m/s²"));
    assert!(line.says(&["limits"]).contains("linear   0.4 m/s"));
    let refusal = line.refuses(&["limits", "--linear-speed", "9"]);
    assert!(refusal.contains("max_linear_speed is 9, outside 0.001 to 0.8"), "{refusal}");

    let went = line.says(&["send", "0.5", "0.0", "--id", "there"]);
    assert!(went.contains("done at (0."), "{went}");
    let again = line.says(&["send", "0.5", "0.0", "--id", "there"]);
    assert_eq!(went.lines().last(), again.lines().last(), "the same action, and the same record of it");
    assert!(line.refuses(&["send", "0.5", "0.0", "--frame", "moon"]).contains("'moon'"));
}
