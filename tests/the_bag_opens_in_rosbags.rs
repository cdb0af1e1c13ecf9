//! `eaplog export --mcap`, opened by the `rosbags` library, which is no work of ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use ecps_core::clock::Stamp;
use ecps_journal::record::{Motion, PlanarVelocity, Stop};
use ecps_journal::{Identity, Journal, Moment};
use ecps_testing::{Ros, SCENARIO};
use serde_json::{Value, json};

#[test]
fn rosbags_reads_every_record_and_every_velocity_of_an_exported_journal() {
    let ros = Ros::new();
    let (folder, bag) = (ros.home().join("journal"), ros.home().join("out.mcap").display().to_string());
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (mut journal, _) = Journal::open(&folder, identity, Stamp(1)).unwrap();
    let at = |n: i64| Moment { wall: Stamp(1_700_000_000_000_000_000 + n), ..Moment::default() };
    for n in 0..100 {
        let applied = Some(PlanarVelocity { x: n as f64 / 100.0, y: 0.0, yaw: -0.5 });
        journal.append(&at(n), &Motion { source: "cmd_vel_in".into(), applied, ..Motion::default() }).unwrap();
    }
    journal.append(&at(100), &Stop { cause: "requested".into(), detail: "ä \"quoted\"".into() }).unwrap();
    drop(journal);
    ros.program("eaplog", &["export", "--mcap", &bag, folder.to_str().unwrap()]).finish(SCENARIO).assert_success();

    let output = ros.start_peer("bag.py", &[&bag]).finish(SCENARIO);
    if output.status.code() == Some(77) {
        eprintln!("skipped: Python's rosbags is not installed; ./setup brings it where it brings ROS");
        return;
    }
    output.assert_success();
    let seen: Value = serde_json::from_str(output.stdout.last().unwrap()).unwrap();
    let topics = json!({
        "/eaplog/motion": ["std_msgs/msg/String", 100],
        "/eaplog/motion/applied": ["geometry_msgs/msg/Twist", 100],
        "/eaplog/stop": ["std_msgs/msg/String", 1],
    });
    assert_eq!((&seen["topics"], &seen["last"]), (&topics, &json!(1_700_000_000_000_000_100u64)));
    assert_eq!(seen["sequences"], json!((1..=101).collect::<Vec<_>>()));
    assert_eq!(seen["speeds"], json!((0..100).map(|n| [n as f64 / 100.0, -0.5]).collect::<Vec<_>>()));
}
