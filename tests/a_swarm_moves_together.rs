//! Three coordinators on the loopback move robots that have no motors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ecps_testing::{Process, Ros, SCENARIO};

#[test]
fn robots_take_up_a_formation_close_up_and_stand_where_nothing_is_agreed() {
    let ros = Ros::new();
    let coordinator = |name: &str| {
        let namespace = format!("__ns:=/{name}");
        ros.node("swarm_coordinator", &["-r", &namespace, "-p", "voters:=[r1, r2, r3]", "-p", "radius:=0.25"])
    };
    let mut swarm: BTreeMap<String, Process> =
        ["r1", "r2", "r3"].iter().map(|&name| (name.to_owned(), coordinator(name))).collect();
    let mut peer = ros.start_peer("swarm_moves.py", &[]);
    let leader = peer.wait_for_line("leads", SCENARIO).split_whitespace().last().unwrap().to_owned();
    swarm.remove(&leader).unwrap().kill();
    peer.tell("gone");
    peer.wait_for_line("closed up", SCENARIO);
    let (_, last) = swarm.pop_last().unwrap();
    last.kill();
    peer.tell("alone");
    peer.finish(SCENARIO).assert_success();
}
