//! A stage that is late on purpose is measured while it runs, and raises the event of its row in the protocol.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_testing::Ros;

#[test]
fn a_slow_encoder_breaks_the_ltp_budget() {
    let ros = Ros::new();
    let _bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[camera]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.reliability:=reliable",
            "-p",
            "camera.compression:=zstd:22",
        ],
    );
    ros.peer("lateness.py", &["ltp"]);
}

#[test]
fn a_command_that_was_long_under_way_breaks_the_eap_budget() {
    let ros = Ros::new();
    let _executor = ros.node(
        "eap_executor",
        &["-p", "enable_stamped_cmd_vel:=true", "-p", "require_odometry:=false", "-p", "require_scan:=false"],
    );
    ros.peer("lateness.py", &["eap"]);
}

#[test]
fn a_locked_file_breaks_the_mep_put_budget() {
    let ros = Ros::new();
    let database = ros.home().join("memory.db").display().to_string();
    let _server = ros.node("mep_server", &["-p", &format!("database:={database}")]);
    ros.peer("lateness.py", &["mep_put", &database]);
}
