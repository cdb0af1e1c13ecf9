//! The LTP bridge, as an rclpy node sees it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_testing::{Ros, SOON};
use rustix::process::Signal;

#[test]
fn every_sensor_type_comes_back_byte_for_byte() {
    let ros = Ros::new();
    let bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[scan, camera, cloud, numbers, photo, imu, joints, odometry]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.reliability:=reliable",
            "-p",
            "cloud.type:=sensor_msgs/msg/PointCloud2",
            "-p",
            "cloud.compression:=zstd:1+shuffle",
            "-p",
            "numbers.type:=std_msgs/msg/Float32MultiArray",
            "-p",
            "numbers.compression:=auto",
            "-p",
            "photo.type:=sensor_msgs/msg/CompressedImage",
            "-p",
            "imu.type:=sensor_msgs/msg/Imu",
            "-p",
            "imu.compression:=lz4",
            "-p",
            "joints.type:=sensor_msgs/msg/JointState",
            "-p",
            "odometry.type:=nav_msgs/msg/Odometry",
        ],
    );
    ros.peer("streams.py", &[]);
    bridge.interrupt().assert_success();
}

#[test]
fn damaged_messages_are_refused_and_counted() {
    let ros = Ros::new();
    let bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[scan, camera]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.max_frame_bytes:=2048",
        ],
    );
    ros.peer("damage.py", &[]);
    let output = bridge.interrupt();
    output.assert_success();
    let panics: Vec<_> = output.stderr.iter().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:?}");
}

#[test]
fn senders_under_one_name_are_told_apart_and_one_may_start_anew() {
    let ros = Ros::new();
    let bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[camera]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.compression:=none",
            "-p",
            "camera.max_frame_bytes:=2048",
        ],
    );
    ros.peer("senders.py", &[]);
    bridge.interrupt().assert_success();
}

/// A relay that loses, doubles and reorders stands between two bridges: of a reliable stream all arrives, in order.
#[test]
fn a_reliable_stream_crosses_a_bad_link_between_two_bridges_complete_and_in_order() {
    let ros = Ros::new();
    let sending = ros.node(
        "ltp_bridge",
        &[
            "-r",
            "__ns:=/a",
            "-p",
            "scan.topic:=/scan",
            "-p",
            "scan.reliability:=reliable",
            "-p",
            "scan.mode:=reliable",
            "-p",
            "scan.peer:=/b/ltp_bridge",
            "-p",
            "scan.max_frame_bytes:=2048",
            "-p",
            "scan.compression:=none",
            "-p",
            "scan.key_every:=20",
        ],
    );
    let receiving = ros.node("ltp_bridge", &["-r", "__ns:=/b", "-p", "scan.topic:=''", "-p", "scan.link:=/relay/scan"]);
    ros.peer("lossy_link.py", &[]);
    for bridge in [sending, receiving] {
        let output = bridge.interrupt();
        output.assert_success();
        assert!(!output.stderr.iter().any(|line| line.contains("panicked")));
    }
}

/// Its numbers begin at one again, and the receiver has had them all.
#[test]
fn a_sending_bridge_that_is_killed_and_starts_anew_is_heard_at_once() {
    let ros = Ros::new();
    let start = || {
        let fixed =
            ["scan.topic:=/scan", "scan.reliability:=reliable", "scan.mode:=reliable", "scan.peer:=/b/ltp_bridge"];
        let parameters = fixed.iter().flat_map(|parameter| ["-p", parameter]);
        ros.node("ltp_bridge", &["-r", "__ns:=/a"].into_iter().chain(parameters).collect::<Vec<_>>())
    };
    let sending = start();
    let link = "scan.link:=/a/ltp_bridge/scan";
    let receiving = ros.node("ltp_bridge", &["-r", "__ns:=/b", "-p", "scan.topic:=''", "-p", link]);
    ros.peer("scans_through.py", &["30"]);
    sending.signal(Signal::KILL);
    sending.finish(SOON);
    let again = start();
    ros.peer("scans_through.py", &["10"]);
    for bridge in [again, receiving] {
        bridge.interrupt().assert_success();
    }
}

#[test]
fn large_chunks_go_in_lent_memory_where_all_who_listen_hear_them_there() {
    let ros = Ros::new();
    let parameters = [
        "streams:=[camera]",
        "camera.type:=sensor_msgs/msg/Image",
        "camera.reliability:=reliable",
        "camera.compression:=none",
    ];
    let arguments: Vec<&str> =
        parameters.iter().chain(&["camera.max_frame_bytes:=524288"]).flat_map(|parameter| ["-p", parameter]).collect();
    let bridge = ros.node_in_fast_lane("ltp_bridge", &arguments);
    ros.peer("loaned.py", &[]);
    bridge.interrupt().assert_success();
}

#[test]
fn a_type_that_was_not_compiled_in_is_refused_by_name() {
    let ros = Ros::new();
    let arguments = ["--ros-args", "-p", "streams:=[gps]", "-p", "gps.type:=gps_msgs/msg/GPSFix"];
    let output = ros.program("ltp_bridge", &arguments).finish(SOON);
    assert!(!output.status.success());
    let named = |line: &String| line.contains("'gps_msgs/msg/GPSFix'") && line.contains("ltp_bridge");
    assert!(output.stderr.iter().any(named), "{:?}", output.stderr);
}
