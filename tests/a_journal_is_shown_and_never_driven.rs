//! `eap_replay`: a journal told again on topics of its own, as an rclpy node sees it, and on no actuator's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};
use ecps_journal::record::{Motion, PlanarVelocity, Stop, Verdict};
use ecps_journal::{Identity, Journal, Moment};
use ecps_testing::{Ros, SCENARIO, SOON};
use serde_json::{Value, json};

#[test]
fn what_was_asked_applied_and_refused_is_shown_at_the_rate_asked_for() {
    let ros = Ros::new();
    let folder = ros.home().join("journal");
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (mut journal, _) = Journal::open(&folder, identity, Stamp(1)).unwrap();
    let at = |ms: u64| Moment { steady: Steady(Duration::from_millis(50_000 + ms)), ..Moment::default() };
    let speed = |x: f64| Some(PlanarVelocity { x, y: 0.0, yaw: 0.0 });
    // Four metres straight on, in eight seconds; one command too fast in each.
    for n in 0..400u64 {
        let mut motion =
            Motion { source: "cmd_vel_in".into(), raw: speed(0.5), applied: speed(0.5), ..Motion::default() };
        motion.set_verdict(Verdict::Admitted);
        journal.append(&at(n * 20), &motion).unwrap();
        if n % 50 == 10 {
            let mut motion = Motion { raw: speed(9.0), reason: "unreasonable".into(), ..Motion::default() };
            motion.set_verdict(Verdict::Refused);
            journal.append(&at(n * 20), &motion).unwrap();
        }
    }
    journal.append(&at(8000), &Stop { cause: "requested".into(), detail: "operator".into() }).unwrap();
    drop(journal);

    let peer = ros.start_peer("replay.py", &[]);
    peer.wait_for_line("listening", SOON);
    let started = std::time::Instant::now();
    let replay = ros.node("eap_replay", &["-p", &format!("journal:={}", folder.display()), "-p", "rate:=4.0"]);
    replay.wait_for_line("replayed 409 records to the end: clean", SOON);
    assert!(started.elapsed() > Duration::from_secs(2), "eight seconds, four times as fast");
    let printed = peer.finish(SCENARIO);
    printed.assert_success();
    replay.interrupt().assert_success();

    let seen: Value = serde_json::from_str(printed.stdout.last().unwrap()).unwrap();
    for (what, expected) in [
        ("fastest", json!(0.5)),
        ("asked", json!(9.0)),
        ("admitted", json!(400)),
        ("refused", json!(8)),
        ("reasons", json!(["unreasonable"])),
        ("mode", json!(2)),
        ("sequence", json!(409)),
        ("frames", json!(["replay"])),
        ("driven", json!(0)),
        ("clocks", json!(0)),
    ] {
        assert_eq!(seen[what], expected, "{what} of {seen}");
    }
    assert!(seen["applied"].as_u64().unwrap() > 200, "{seen}");
    assert!((seen["end"][0].as_f64().unwrap() - 4.0).abs() < 0.05, "{seen}");
    let texts: Vec<&str> = seen["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts.iter().filter(|text| **text == "refused: unreasonable").count(), 8, "{texts:?}");
    assert!(texts.contains(&"stopped: requested operator"), "{texts:?}");
}
