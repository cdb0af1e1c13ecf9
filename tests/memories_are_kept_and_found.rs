//! The memory server, as an rclpy node sees it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use ecps_core::campaign::rounds;
use ecps_testing::{Dice, Ros, SCENARIO, SOON};

#[test]
fn memories_are_put_got_queried_and_deleted() {
    let ros = Ros::new();
    let watch = ["-p", "standing:=[evens]", "-p", "evens.labels:=[even]"];
    let server = ros.node("mep_server", &watch);
    ros.peer("memory.py", &[]);
    server.interrupt().assert_success();
}

/// At the start of a robot nodes come up in any order. Until somebody keeps memories the bridge publishes none, and does
/// not take the place where it stands for remembered.
#[test]
fn what_is_seen_before_there_is_a_memory_is_remembered_once_there_is() {
    let ros = Ros::new();
    let _bridge = ros.node("ltp_bridge", &[]);
    let peer = ros.start_peer("late_memory.py", &[]);
    peer.wait_for_line("seen", SCENARIO);
    let _server = ros.node("mep_server", &[]);
    peer.finish(SCENARIO).assert_success();
}

/// What a namespace may hold, and for how long, as the server was told of it or of all others.
#[test]
fn a_namespace_keeps_within_its_quota_and_the_least_recently_found_goes() {
    let ros = Ros::new();
    let told = [
        "max_records:=3",
        "namespaces:=[faces, notes, brief]",
        "faces.max_records:=4",
        "notes.max_records:=0",
        "notes.max_bytes:=24000",
        "brief.retention:=1.0",
    ];
    let arguments: Vec<&str> = told.into_iter().flat_map(|parameter| ["-p", parameter]).collect();
    let server = ros.node("mep_server", &arguments);
    ros.peer("memory_quotas.py", &[]);
    server.interrupt().assert_success();
}

#[test]
fn a_namespace_that_cannot_be_is_refused_at_the_start() {
    let ros = Ros::new();
    let long = format!("namespaces:=[{}]", "x".repeat(129));
    for (told, words) in [
        ("namespaces:=['']", "parameter namespaces is empty"),
        (long.as_str(), "parameter namespaces has 129 bytes, more than the 128 allowed"),
    ] {
        let output = ros.program("mep_server", &["--ros-args", "-p", told]).finish(SOON);
        assert!(!output.status.success(), "it started with {told}");
        assert!(output.stderr.iter().any(|line| line.contains(words)), "{:?}", output.stderr);
    }
}

#[test]
fn hostile_input_is_refused_counted_and_harms_nothing() {
    let ros = Ros::new();
    let server = ros.node("mep_server", &[]);
    ros.peer("memory_hostile.py", &[]);
    server.interrupt().assert_success();
}

/// The server is killed while a client keeps putting, also while it starts; every batch that it acknowledged is there when
/// it is back, and none is torn.
#[test]
fn acknowledged_memories_survive_sigkill() {
    let ros = Ros::new();
    let mut server = ros.node("mep_server", &[]);
    let mut client = ros.start_peer("keep_putting.py", &[]);
    let mut dice = Dice::new(2);
    let mut acknowledged = 0;
    for _ in 0..rounds(4, 200) {
        acknowledged += 1 + dice.below(40) as usize;
        client.wait_for_lines("acknowledged", acknowledged, SOON);
        dice.wait_up_to(Duration::from_millis(5));
        server.kill();
        if dice.below(2) == 0 {
            let opening = ros.program("mep_server", &["--ros-args"]);
            dice.wait_up_to(Duration::from_millis(300));
            opening.kill();
        }
        server = ros.node("mep_server", &[]);
        acknowledged = client.wait_for_lines("acknowledged", acknowledged, SOON).len();
    }
    // The last server, too, has puts of its own.
    client.wait_for_lines("acknowledged", acknowledged + 10, SOON);
    client.tell("enough");
    let output = client.finish(SCENARIO);
    output.assert_success();
    let found = output.stdout.iter().filter(|line| line.starts_with("found")).collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "the client did not look");
    println!("{}", found[0]);
    server.interrupt().assert_success();
    let file = ros.home().join(".ros/ecps/memory.db");
    ros.program("ecps", &["memory", "verify", file.to_str().unwrap()]).finish(SOON).assert_success();
}

/// Four that write and four that read through the services, and processes that look at the file besides.
#[test]
fn nobody_is_told_that_the_file_is_busy() {
    let ros = Ros::new();
    let server = ros.node("mep_server", &[]);
    let file = ros.home().join(".ros/ecps/memory.db");
    let crowd = ros.start_peer("memory_crowd.py", &[&rounds(2, 30).to_string()]);
    crowd.wait_for_line("begun", SOON);
    let mut looks = 0;
    while !crowd.has_ended(Duration::ZERO) {
        let onlooker = ros.program("ecps", &["memory", "query", file.to_str().unwrap(), "-k", "3"]).finish(SOON);
        onlooker.assert_success();
        assert!(onlooker.stderr.iter().any(|line| line.starts_with("3 of")), "{:?}", onlooker.stderr);
        looks += 1;
    }
    let output = crowd.finish(SCENARIO);
    output.assert_success();
    println!("{}; looked at {looks} times from outside", output.stdout.join("; "));
    assert!(looks > 0);
    server.interrupt().assert_success();
}
