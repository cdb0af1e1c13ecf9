//! The LTP bridge, as an rclpy node sees it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_testing::Ros;

#[test]
fn every_sensor_type_comes_back_byte_for_byte() {
    let ros = Ros::new();
    let bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[scan, camera, cloud, numbers]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.reliability:=reliable",
            "-p",
            "cloud.type:=sensor_msgs/msg/PointCloud2",
            "-p",
            "numbers.type:=std_msgs/msg/Float32MultiArray",
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
