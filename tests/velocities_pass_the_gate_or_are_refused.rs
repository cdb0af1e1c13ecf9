//! The gate between `cmd_vel_in` and `cmd_vel`, as an rclpy node sees it, and the journal's account of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use ecps_journal::record::{Entry, Motion, Verdict};
use ecps_journal::{Reader, Verdict as Soundness};
use ecps_testing::Ros;
use serde_json::Value;

/// What the journal says of the commands.
#[derive(Default, Debug, PartialEq)]
struct Account {
    admitted: u64,
    limited: u64,
    refused: u64,
}

#[test]
fn the_journal_accounts_for_every_velocity_that_was_sent() {
    let ros = Ros::new();
    let _world = ros.node("ecps_sim", &["-p", "enable_stamped_cmd_vel:=true", "-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let journal = ros.home().join("journal");
    let executor = ros.node(
        "eap_executor",
        &[
            "-r",
            "__ns:=/robot1",
            "-p",
            "odom_frame:=robot1/odom",
            "-p",
            "enable_stamped_cmd_vel:=true",
            "-p",
            &format!("journal:={}", journal.display()),
        ],
    );
    let printed = ros.peer("velocities.py", &[]);
    executor.interrupt().assert_success();

    let said: Value = serde_json::from_str(printed.last().unwrap()).unwrap();
    let number = |name: &str| said[name].as_u64().unwrap();
    let (account, passed) = read(&journal);
    let told = Account { admitted: number("admitted"), limited: number("limited"), refused: number("refused") };
    assert_eq!(account, told, "the journal and the gate's state");
    assert_eq!(account.admitted + account.limited + account.refused, number("sent"), "each command sent, once");

    // In order, since motion is recorded before it is published; a topic may lose one on the way to the peer.
    let mut recorded = passed.iter();
    let driven = said["driven"].as_array().unwrap();
    assert!(driven.len() > 8, "the peer saw {} commands", driven.len());
    for command in driven {
        let [x, yaw] = [0, 1].map(|axis| command[axis].as_f64().unwrap());
        let same = |motion: &&Motion| {
            let applied = motion.applied.unwrap();
            (applied.x - x).abs() < 1e-9 && (applied.yaw - yaw).abs() < 1e-9
        };
        assert!(recorded.any(|motion| same(&motion)), "({x} m/s, {yaw} rad/s) was driven without a record");
    }
}

/// Counts, and the motions that passed.
fn read(journal: &Path) -> (Account, Vec<Motion>) {
    let mut reader = Reader::open(journal).unwrap();
    let (mut account, mut passed) = (Account::default(), Vec::new());
    while let Some(record) = reader.read().unwrap() {
        match record.entry().unwrap() {
            Entry::Motion(motion) => match motion.verdict() {
                Verdict::Admitted => {
                    account.admitted += 1;
                    passed.push(motion);
                }
                Verdict::Limited => {
                    account.limited += 1;
                    passed.push(motion);
                }
                Verdict::Refused => account.refused += 1,
                Verdict::Halted | Verdict::Unspecified => {}
            },
            Entry::Refusals(more) => account.refused += more.count,
            _ => {}
        }
    }
    assert_eq!(reader.verdict(), &Soundness::Clean);
    (account, passed)
}
