//! Three coordinators on the loopback, as an rclpy node sees them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ecps_testing::{Process, Ros, SCENARIO};

fn coordinator(ros: &Ros, name: &str) -> Process {
    let namespace = format!("__ns:=/{name}");
    ros.node("swarm_coordinator", &["-r", &namespace, "-p", "voters:=[r1, r2, r3]"])
}

/// What follows a word that the peer prints.
fn told(peer: &Process, word: &str) -> String {
    peer.wait_for_line(word, SCENARIO).split_whitespace().last().unwrap().to_owned()
}

#[test]
fn a_swarm_shares_its_tasks_and_outlives_its_leader_and_a_robot_in_mid_task() {
    let ros = Ros::new();
    let mut swarm: BTreeMap<String, Process> =
        ["r1", "r2", "r3"].iter().map(|&name| (name.to_owned(), coordinator(&ros, name))).collect();
    let mut peer = ros.start_peer("swarm.py", &[]);
    let leader = told(&peer, "leads");
    swarm.remove(&leader).unwrap().kill();
    told(&peer, "instead");
    // It comes back in a later epoch, and with what it knew.
    swarm.insert(leader.clone(), coordinator(&ros, &leader));
    peer.tell("back");
    let holder = told(&peer, "works");
    swarm.remove(&holder).unwrap().kill();
    peer.tell("gone");
    peer.finish(SCENARIO).assert_success();
    for (_, process) in swarm {
        process.interrupt().assert_success();
    }
}
