//! An executor that is killed while it writes a hundred records a second: every command that somebody saw on `cmd_vel`, every
//! goal that was accepted and every limit that was answered has its record. And the journal is kept as its parameters say.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use ecps_core::campaign::rounds;
use ecps_core::wire::proto::Eap;
use ecps_journal::record::{Entry, PlanarVelocity};
use ecps_journal::{Expectations, PayloadKey, Reader, audit};
use ecps_testing::{Dice, Process, Ros, SCENARIO, SOON};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::Value;

/// Longest from the first command that comes out to the kill.
const LONGEST: Duration = Duration::from_millis(400);

fn executor(ros: &Ros, more: &[&str]) -> Process {
    let journal = format!("journal:={}", ros.home().join("journal").display());
    // Topics go before actions, so that the hundred commands a second pass.
    let own = ["-p", &journal, "-p", "require_scan:=false", "-p", "action_priority:=5", "-p", "heartbeat_timeout:=1.0"];
    ros.node("eap_executor", &[&own[..], more].concat())
}

/// What a journal says was done, in order.
#[derive(Default)]
struct Recorded {
    applied: Vec<PlanarVelocity>,
    goals: HashSet<String>,
    speeds: HashSet<u64>,
}

fn read(journal: &Path, key: &PayloadKey) -> Recorded {
    let mut reader = Reader::open(journal).unwrap().with_keys(vec![key.clone()]);
    let mut recorded = Recorded::default();
    while let Some(record) = reader.read().unwrap() {
        match record.entry().unwrap() {
            Entry::Motion(motion) => recorded.applied.extend(motion.applied),
            Entry::Action(action) => {
                recorded.goals.insert(Eap::decode(action.eap.as_slice()).unwrap().id);
            }
            Entry::LimitsChanged(changed) => {
                recorded.speeds.insert(changed.after.unwrap().max_linear_speed.to_bits());
            }
            _ => {}
        }
    }
    assert!(reader.verdict().is_whole(), "{}", reader.verdict());
    recorded
}

#[test]
fn nothing_that_was_seen_or_answered_is_missing_after_kills() {
    let ros = Ros::new();
    let (journal, key_file) = (ros.home().join("journal"), ros.home().join("payload.key"));
    let key = PayloadKey::generate(&key_file).unwrap();
    let with_key = format!("journal_payload_key:={}", key_file.display());
    let mut peer = ros.start_peer("killed.py", &[]);
    peer.wait_for_line("ready", SOON);
    let (mut dice, mut moves) = (Dice::new(11), 0);
    let kills = rounds(8, 1000);
    for _ in 0..kills {
        let executor = executor(&ros, &["-p", &with_key, "-p", "journal_compression:=zstd"]);
        moves = peer.wait_for_lines("moving", moves + 1, SOON).len();
        dice.wait_up_to(LONGEST);
        executor.signal(Signal::KILL);
        executor.finish(SOON);
    }
    peer.tell("end");
    let output = peer.finish(SCENARIO);
    output.assert_success();
    let told: Value = serde_json::from_str(output.stdout.last().unwrap()).unwrap();
    let list = |name: &str| told[name].as_array().unwrap();

    let recorded = read(&journal, &key);
    // In order, since motion is recorded before it is published; a topic may lose one on the way to the peer.
    let mut applied = recorded.applied.iter();
    for command in list("seen") {
        let [x, yaw] = [0, 1].map(|axis| command[axis].as_u64().unwrap());
        let same = |applied: &PlanarVelocity| (applied.x.to_bits(), applied.yaw.to_bits()) == (x, yaw);
        let (speed, turn) = (f64::from_bits(x), f64::from_bits(yaw));
        assert!(applied.any(same), "({speed} m/s, {turn} rad/s) was driven without a record");
    }
    for goal in list("goals") {
        assert!(recorded.goals.contains(goal.as_str().unwrap()), "{goal} was accepted and is lost");
    }
    for speed in list("limits") {
        let speed = speed.as_u64().unwrap();
        assert!(recorded.speeds.contains(&speed), "a limit of {} was set and is lost", f64::from_bits(speed));
    }
    let counts = ["seen", "goals", "limits"].map(|name| list(name).len());
    println!("{kills} kills: of commands seen, goals accepted, limits set {counts:?}, each has its record");
    assert!(counts.iter().all(|count| *count as u32 >= kills / 2), "{counts:?}");

    // Segments that are named by number are told apart, those of earlier runs are compressed, and all name the key.
    let packed = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".eaplog.zst");
    assert!(std::fs::read_dir(&journal).unwrap().any(|entry| packed(&entry.unwrap())), "nothing was compressed");
    let mut reader = Reader::open(&journal).unwrap();
    while reader.read().unwrap().is_some() {
        assert_eq!(reader.superblock().unwrap().encryption_key, Some(key.id()));
    }
}

#[test]
fn a_journal_that_is_full_loses_its_oldest_segments_and_says_so() {
    let ros = Ros::new();
    for _ in 0..4 {
        // Each run begins a segment, of some 10 kB.
        executor(&ros, &["-p", "journal_retain:=0.02"]).interrupt().assert_success();
    }
    let journal = ros.home().join("journal");
    assert!(!journal.join("000001.eaplog").exists() && journal.join("000004.eaplog").exists());
    let audit = audit(&journal, &Expectations::default(), 1).unwrap();
    assert!(audit.completeness.is_complete() && audit.completeness.start.retired, "{}", audit.completeness);
    assert_eq!(audit.exit_code(), 0);
}

#[test]
fn a_payload_key_that_is_not_there_is_named() {
    let ros = Ros::new();
    let refused = ros.program("eap_executor", &["--ros-args", "-p", "journal_payload_key:=/nowhere/key"]).finish(SOON);
    assert_eq!(refused.status.code(), Some(1));
    let said = refused.stderr.join("\n");
    assert!(said.contains("/nowhere/key"), "{said}");
}
