//! Groups of real processes: killed, stopped, cut off from each other, and with bytes flipped on their disks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may panic"
)]

mod group;
mod world;

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ecps_consensus::wire::{Proposal, reply, request};
use ecps_core::campaign::rounds;
use rustix::process::Signal;

use crate::group::{Client, Group, Load, PATIENCE, runtime};

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice_when_members_are_killed_or_stopped() {
    let runtime = runtime();
    let mut group = Group::new();
    let (first, load) = (Client::new(&group, 100), Load::on(&group));
    // Of the full 300, 200 kill.
    for round in 0..rounds(6, 300) {
        match round % 3 {
            0 => {
                let leader = runtime.block_on(first.leader());
                group.kill(leader);
                group.spawn(leader, false);
            }
            1 => {
                (1..=3).for_each(|id| group.kill(id));
                (1..=3).for_each(|id| group.spawn(id, false));
            }
            // The leader falls silent, another takes over, and it comes back thinking that it leads.
            _ => {
                let leader = runtime.block_on(first.leader());
                group.signal(leader, Signal::STOP);
                std::thread::sleep(Duration::from_millis(900));
                group.signal(leader, Signal::CONT);
            }
        }
        load.goes_on(20);
    }
    load.finish(&group);
}

#[test]
fn a_minority_serves_nothing_and_nothing_acknowledged_is_lost_when_networks_are_cut() {
    if !world::enter("a_minority_serves_nothing_and_nothing_acknowledged_is_lost_when_networks_are_cut") {
        return;
    }
    world::build();
    let runtime = runtime();
    let mut group = Group::begin(world::addresses(), world::doors(), world::within, Some("0.0.0.0:7000"));
    let (first, load) = (Client::new(&group, 100), Load::on(&group));
    let mut minority = Client::new(&group, 101);
    let mut majority = Client::new(&group, 102);
    let rounds = rounds(4, 200);
    for round in 0..rounds {
        let leader = runtime.block_on(first.leader());
        let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
        let (cut, killed): (Vec<u64>, Option<u64>) = match round % 4 {
            0 => (vec![leader], None),
            1 => (vec![others[0]], None),
            2 => (vec![1, 2, 3], None),
            // Of the two that are left to each other, one is killed.
            _ => (vec![leader], Some(others[0])),
        };
        cut.iter().for_each(|id| world::cut(*id));
        if let Some(id) = killed {
            group.kill(id);
        }
        // Ids that no load has.
        let id = 1_000_000_000 + u64::from(round) * 10;
        let left: Vec<u64> = (1..=3).filter(|id| !cut.contains(id) && Some(*id) != killed).collect();
        let alone = cut.iter().chain(&left).filter(|id| left.len() < 2 || cut.contains(id));
        for member in alone {
            let served = runtime.block_on(minority.serves(*member, id + member));
            assert!(!served, "round {round}: member {member} serves without a majority");
        }
        if left.len() == 2 {
            majority = majority.of(&left);
            assert_eq!(runtime.block_on(majority.put(id, PATIENCE)), Some(1), "round {round}");
            majority = Client::new(&group, 103 + u64::from(round));
        }
        cut.iter().for_each(|id| world::mend(*id));
        if let Some(id) = killed {
            group.spawn(id, false);
        }
        load.goes_on(20);
    }
    // What a minority was asked for may have been carried out since, and not twice.
    let asked: Vec<u64> = (0..u64::from(rounds) * 10).map(|id| 1_000_000_000 + id).collect();
    let seen = runtime.block_on(Client::new(&group, 99).look(&asked));
    assert!(seen.iter().all(|count| *count <= 1), "{seen:?}");
    load.finish(&group);
}

#[test]
fn a_minority_of_one_refuses_until_another_is_back() {
    let runtime = runtime();
    let mut group = Group::new();
    let mut client = Client::new(&group, 1);
    assert_eq!(runtime.block_on(client.put(1, PATIENCE)), Some(1));
    group.kill(1);
    group.kill(2);
    assert_eq!(runtime.block_on(client.put(2, Duration::from_secs(3))), None);
    group.spawn(2, false);
    assert_eq!(runtime.block_on(client.put(3, PATIENCE)), Some(1));
}

#[test]
fn a_proposal_beyond_its_bounds_is_refused_with_the_bound_and_costs_nothing() {
    let runtime = runtime();
    let group = Group::new();
    let mut client = Client::new(&group, 1);
    let leader = runtime.block_on(client.leader());
    let last = |client: &Client| runtime.block_on(client.status(leader)).unwrap().last;
    // A leader that is new appends an entry of its own.
    assert_eq!(runtime.block_on(client.put(1, PATIENCE)), Some(1));
    let before = last(&client);
    for (client_bytes, command_bytes, expected) in [(16, (256 << 10) + 1, "262144"), (17, 1, "ids have 16")] {
        let proposal = Proposal { client: vec![9; client_bytes], sequence: 1, command: vec![0; command_bytes] };
        match runtime.block_on(client.ask(leader, request::What::Propose(proposal))) {
            Some(reply::What::Refused(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last(&client), before, "nothing came to the log");
}

/// Flips a bit in the middle of what was written to a file, which zeros may follow.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_member_with_a_flipped_byte_says_so_and_stays_away_and_the_others_go_on() {
    let runtime = runtime();
    let mut group = Group::new();
    let mut client = Client::new(&group, 1);
    for id in 1..50 {
        assert_eq!(runtime.block_on(client.put(id, PATIENCE)), Some(1));
    }
    for id in [2, 3] {
        runtime.block_on(client.ask(id, request::What::MakeSnapshot(true))).unwrap();
        let begun = Instant::now();
        while !group.disk(id).join("snapshot").exists() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    for (member, file) in [(2, "000001.eaplog"), (3, "snapshot")] {
        group.kill(member);
        let path = group.disk(member).join(file);
        let whole = std::fs::read(&path).unwrap();
        flip(&path);
        let mut refused = group.command(member).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while refused.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One that goes on is not waited for.
        refused.kill().unwrap();
        let mut said = String::new();
        refused.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!refused.wait().unwrap().success());
        assert!(said.contains("damaged"), "{said}");
        // The others go on without it.
        assert_eq!(runtime.block_on(client.put(1_000 + member, PATIENCE)), Some(1));
        std::fs::write(&path, whole).unwrap();
        group.spawn(member, false);
    }
}
