//! Zones set while the robot drives, a stop topic whose publisher dies, and simulated time that stands still and jumps back.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use ecps_journal::Reader;
use ecps_journal::record::Entry;
use ecps_testing::Ros;

#[test]
fn a_zone_set_while_driving_stops_the_robot_at_its_border_and_is_journaled() {
    let ros = Ros::new();
    let _world = ros.node("ecps_sim", &["-p", "enable_stamped_cmd_vel:=true", "-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let journal = ros.home().join("journal");
    let place = format!("journal:={}", journal.display());
    let executor = ros.node(
        "eap_executor",
        &[
            ["-r", "__ns:=/robot1"],
            ["-p", "odom_frame:=robot1/odom"],
            ["-p", "enable_stamped_cmd_vel:=true"],
            ["-p", &place],
        ]
        .concat(),
    );
    ros.peer("zones.py", &[]);
    executor.interrupt().assert_success();

    let mut reader = Reader::open(&journal).unwrap();
    let mut changes = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if let Entry::ZonesChanged(change) = record.entry().unwrap() {
            let zones = |set: &Option<ecps_journal::record::ZoneSet>| set.as_ref().unwrap().zones.len();
            changes.push((change.caller.clone(), zones(&change.before), zones(&change.after)));
        }
    }
    assert_eq!(changes, [("/peer".to_owned(), 0, 1), ("/peer".to_owned(), 1, 0)], "those that were accepted");
}

#[test]
fn a_stop_topic_that_falls_silent_counts_as_a_stop_and_so_does_an_error_of_a_part() {
    let ros = Ros::new();
    let _executor = ros.node(
        "eap_executor",
        &[
            ["-r", "__ns:=/robot1"],
            ["-p", "require_scan:=false"],
            ["-p", "stop_topics:=[guard]"],
            ["-p", "guard.timeout:=0.4"],
            ["-p", "stop_on_diagnostics:=[lidar]"],
        ]
        .concat(),
    );
    ros.peer("silence.py", &[]);
}

#[test]
fn simulated_time_that_stands_still_or_jumps_back_moves_nothing_by_itself() {
    let ros = Ros::new();
    let _executor = ros.node(
        "eap_executor",
        &[
            ["-r", "__ns:=/robot1"],
            ["-p", "require_scan:=false"],
            ["-p", "enable_stamped_cmd_vel:=true"],
            ["-p", "use_sim_time:=true"],
        ]
        .concat(),
    );
    ros.peer("sim_time.py", &[]);
}
