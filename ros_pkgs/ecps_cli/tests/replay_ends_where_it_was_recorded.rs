//! Replaying gives the same state after each action, in any process, and names the first that differs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use ecps_actuation::ErrorCode;
use ecps_cli::replay::{NoJournal, Replay, Scenario};
use ecps_core::wire::proto::{CloudOp, Eap, GripperOp, RobotPose, eap, gripper_op};
use prost::Message as _;

fn drive(id: &str, x: f64, y: f64) -> Eap {
    let pose = RobotPose { x, y, qw: 1.0, frame_id: "odom".into(), ..RobotPose::default() };
    Eap { spec: "eap/0.1".into(), id: id.into(), action: Some(eap::Action::SetPose(pose)), ..Eap::default() }
}

/// Two that arrive, one that opens the gripper, one that nothing here can do, and one into a wall.
fn actions() -> Vec<Eap> {
    let open = GripperOp { command: gripper_op::Command::Open.into(), ..GripperOp::default() };
    let gripper = Eap { action: Some(eap::Action::Gripper(open)), ..drive("grip", 0.0, 0.0) };
    let call = CloudOp { api_name: "lift".into(), method_name: "call".into(), ..CloudOp::default() };
    let cloud = Eap { action: Some(eap::Action::Cloud(call)), ..drive("lift", 0.0, 0.0) };
    vec![drive("there", 0.5, 0.2), drive("back", 0.0, 0.0), gripper, cloud, drive("wall", 100.0, 0.0)]
}

fn write<'a>(path: &Path, messages: impl IntoIterator<Item = &'a [u8]>) {
    let mut bytes = Vec::new();
    for message in messages {
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend(message);
    }
    std::fs::write(path, bytes).unwrap();
}

fn states() -> Vec<[u8; 32]> {
    let mut replay = Replay::begin(&Scenario::default(), NoJournal::default()).unwrap();
    actions().iter().map(|action| replay.carry_out(action).unwrap().state_sha).collect()
}

fn conformance(actions: &Path, hashes: &Path) -> (i32, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_ecps-conformance"))
        .args(["eap-replay", "--actions"])
        .arg(actions)
        .arg("--state-hashes")
        .arg(hashes)
        .output()
        .unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn eaplog(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_eaplog")).args(arguments).output().unwrap()
}

#[test]
fn actions_end_as_they_must_and_the_same_in_every_thread() {
    let mut replay = Replay::begin(&Scenario::default(), NoJournal::default()).unwrap();
    let codes: Vec<ErrorCode> = actions().iter().map(|action| replay.carry_out(action).unwrap().code).collect();
    assert_eq!(
        codes,
        [ErrorCode::None, ErrorCode::None, ErrorCode::None, ErrorCode::Unsupported, ErrorCode::NoProgress]
    );
    let here = states();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(states)).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), here);
    }
    assert_ne!(here[0], here[1]);
    // The same way without a gripper ends in the same place at the same time, and its digest tells the two apart.
    let mut bare = Scenario::default().record().clone();
    bare.arm = false;
    let mut replay = Replay::begin(&Scenario::from_record(bare), NoJournal::default()).unwrap();
    assert_ne!(replay.carry_out(&actions()[0]).unwrap().state_sha, here[0], "the gripper is in the digest");
}

#[test]
fn the_conformance_command_passes_the_right_hashes_and_names_the_first_wrong_one() {
    let home = tempfile::tempdir().unwrap();
    let (file, hashes) = (home.path().join("actions"), home.path().join("hashes"));
    let encoded: Vec<Vec<u8>> = actions().iter().map(|action| action.encode_to_vec()).collect();
    write(&file, encoded.iter().map(Vec::as_slice));
    let mut states = states();
    write(&hashes, states.iter().map(<[u8; 32]>::as_slice));
    let (code, json) = conformance(&file, &hashes);
    assert_eq!(
        (code, &json["status"], &json["details"]["validation_errors"]),
        (0, &"PASS".into(), &serde_json::json!([]))
    );
    states[1][0] ^= 1;
    write(&hashes, states.iter().map(<[u8; 32]>::as_slice));
    let (code, json) = conformance(&file, &hashes);
    assert_eq!((code, &json["status"]), (1, &"FAIL".into()));
    assert!(json["message"].as_str().unwrap().starts_with("action 1 ('back')"), "{json}");
    write(&hashes, states[..1].iter().map(<[u8; 32]>::as_slice));
    assert_eq!(conformance(&file, &hashes).0, 1, "one hash for five actions");
    std::fs::write(&file, [0xff; 40]).unwrap();
    assert_eq!(conformance(&file, &hashes).1["status"], "ERROR");
}

#[test]
fn a_simulated_journal_replays_and_another_does_not() {
    let home = tempfile::tempdir().unwrap();
    let (file, journal) = (home.path().join("actions"), home.path().join("journal.eaplog"));
    let encoded: Vec<Vec<u8>> = actions().iter().map(|action| action.encode_to_vec()).collect();
    write(&file, encoded.iter().map(Vec::as_slice));
    let create = ["create", "--simulate", "7", "--actions"].map(Path::new);
    let made = eaplog(&[create.as_slice(), &[&file, &journal]].concat());
    assert!(made.status.success(), "{made:?}");
    let replayed = eaplog(&[Path::new("replay"), &journal]);
    let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && text.starts_with("4 of 5 actions"), "{text} {replayed:?}");

    // One that says it drove within other limits.
    let lines = home.path().join("changed.jsonl");
    assert!(eaplog(&[Path::new("convert"), &journal, &lines]).status.success());
    let text = std::fs::read_to_string(&lines).unwrap();
    let mut slower = Scenario::with_seed(7).record().clone();
    slower.limits.as_mut().unwrap().max_linear_speed = 0.2;
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let (right, wrong) =
        (engine.encode(Scenario::with_seed(7).record().encode_to_vec()), engine.encode(slower.encode_to_vec()));
    assert!(text.contains(&right));
    std::fs::write(&lines, text.replace(&right, &wrong)).unwrap();
    let changed = home.path().join("changed");
    eaplog(&[Path::new("convert"), &lines, &changed]);
    let replayed = eaplog(&[Path::new("replay"), &changed]);
    let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert_eq!(replayed.status.code(), Some(1), "{text}");
    assert!(text.starts_with("action 0 ('there', record"), "{text}");

    let plain = home.path().join("plain.eaplog");
    assert!(eaplog(&[Path::new("create"), &plain]).status.success());
    let refused = eaplog(&[Path::new("replay"), &plain]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no Simulation record"));
}
