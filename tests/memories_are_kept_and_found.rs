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

/// The server is killed while a client keeps putting; every put that it acknowledged is there when it is back.
#[test]
fn acknowledged_memories_survive_sigkill() {
    let ros = Ros::new();
    let mut server = ros.node("mep_server", &[]);
    let mut client = ros.start_peer("keep_putting.py", &[]);
    let mut dice = Dice::new(2);
    let mut acknowledged = 0;
    for _ in 0..rounds(4, 60) {
        acknowledged += 1 + dice.below(40) as usize;
        client.wait_for_lines("acknowledged", acknowledged, SOON);
        dice.wait_up_to(Duration::from_millis(5));
        server.kill();
        server = ros.node("mep_server", &[]);
        acknowledged = client.wait_for_lines("acknowledged", acknowledged, SOON).len();
    }
    // The last server, too, has puts of its own.
    client.wait_for_lines("acknowledged", acknowledged + 10, SOON);
    client.tell("enough");
    let output = client.finish(SCENARIO);
    output.assert_success();
    let found = output.stdout.iter().filter(|line| line.starts_with("found")).count();
    assert_eq!(found, 1, "the client did not look");
    server.interrupt().assert_success();
}
