//! The executor's action, as an rclpy node sees it, with the simulated robot behind it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_testing::Ros;

#[test]
fn goals_are_driven_to_canceled_refused_and_taken_once() {
    let ros = Ros::new();
    // In the corridor, which leaves it several metres ahead.
    let _world = ros.node("ecps_sim", &["-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let executor = ros.node("eap_executor", &["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom"]);
    ros.peer("actions.py", &[]);
    executor.interrupt().assert_success();
}
