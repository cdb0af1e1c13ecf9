//! Three coordinators on the loopback, as an rclpy node sees them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::Instant;

use ecps_core::campaign::rounds;
use ecps_testing::{Process, Ros, SCENARIO};

fn coordinator(ros: &Ros, name: &str) -> Process {
    let namespace = format!("__ns:=/{name}");
    ros.node("swarm_coordinator", &["-r", &namespace, "-p", "voters:=[r1, r2, r3]"])
}

/// What follows a word that the peer prints.
fn told(peer: &Process, word: &str) -> String {
    peer.wait_for_line(word, SCENARIO).split_whitespace().last().unwrap().to_owned()
}

/// What `ecps swarm` prints.
fn ecps_swarm(ros: &Ros, via: &str, words: &[&str]) -> Vec<String> {
    let output = ros.program("ecps", &[&["swarm", "--namespace", via], words].concat()).finish(SCENARIO);
    output.assert_success();
    output.stdout
}

#[test]
fn a_swarm_shares_its_tasks_and_outlives_its_leader_and_a_robot_in_mid_task() {
    let ros = Ros::new();
    let mut swarm: BTreeMap<String, Process> =
        ["r1", "r2", "r3"].iter().map(|&name| (name.to_owned(), coordinator(&ros, name))).collect();
    let mut peer = ros.start_peer("swarm.py", &[]);
    let leader = told(&peer, "leads");
    swarm.remove(&leader).unwrap().kill();
    let second = told(&peer, "instead");
    let agents = ecps_swarm(&ros, &second, &["agents"]);
    assert!(agents[0].starts_with(&format!("{second} leads, term ")), "{agents:?}");
    assert!(agents.iter().any(|line| line.starts_with(&leader)), "{agents:?}");
    let id =
        ecps_swarm(&ros, &second, &["submit", "--kind", "dig", "--needs", "dig", "--priority", "high", "--id", "hole"]);
    assert_eq!(id, ["hole"]);
    let waits = |line: &String| line.starts_with("hole") && line.contains("high") && line.contains("capable of 'dig'");
    let begun = Instant::now();
    while !ecps_swarm(&ros, &second, &["tasks"]).iter().any(waits) {
        assert!(begun.elapsed() < SCENARIO, "the task that nobody can do does not say so");
    }
    ecps_swarm(&ros, &second, &["cancel", "hole"]);
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

#[test]
fn who_joins_is_seen_by_all_and_a_restart_of_all_loses_nothing() {
    let ros = Ros::new();
    let count = rounds(5, 20);
    let mut swarm: Vec<Process> = (1..count).map(|number| coordinator(&ros, &format!("r{number}"))).collect();
    let mut peer = ros.start_peer("swarm_joins.py", &[&count.to_string()]);
    peer.wait_for_line("all but one", SCENARIO);
    swarm.push(coordinator(&ros, &format!("r{count}")));
    peer.wait_for_line("done", SCENARIO);
    swarm.drain(..).for_each(Process::kill);
    swarm.extend((1..=count).map(|number| coordinator(&ros, &format!("r{number}"))));
    peer.tell("restarted");
    let output = peer.finish(SCENARIO);
    output.assert_success();
    output.stdout.iter().for_each(|line| println!("{line}"));
}

#[test]
fn a_hundred_agents_are_kept_apart_and_known() {
    let ros = Ros::new();
    let _coordinator = ros.node("swarm_coordinator", &["-r", "__ns:=/r1"]);
    ros.peer("swarm_many.py", &["agents"]);
}

#[test]
fn each_of_many_submissions_is_taken_once_or_refused_as_busy() {
    let ros = Ros::new();
    let _coordinator = ros.node("swarm_coordinator", &["-r", "__ns:=/r1"]);
    ros.peer("swarm_many.py", &["submissions"]).iter().for_each(|line| println!("{line}"));
}

/// Where the plan has room: the corridor, several metres of it.
#[test]
fn a_robot_drives_where_its_task_is_and_reports_it() {
    let ros = Ros::new();
    let _world = ros.node("ecps_sim", &["-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let _executor = ros.node("eap_executor", &["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom"]);
    let _coordinator = ros.node("swarm_coordinator", &["-r", "__ns:=/robot1", "-p", "odom_origin:=[2.0, 5.85, 0.0]"]);
    ros.peer("swarm_drive.py", &[]);
}
