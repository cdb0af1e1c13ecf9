//! A planner that wants nothing but harm is let loose on the simulated robot.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use ecps_testing::Ros;
use serde_json::Value;

#[test]
fn full_speed_at_walls_nan_stale_plans_and_floods_end_before_the_wall_with_a_reason() {
    let ros = Ros::new();
    let stamped = ["-p", "enable_stamped_cmd_vel:=true"];
    let _world = ros.node("ecps_sim", &stamped);
    let guarded = ["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom"];
    let _executor = ros.node("eap_executor", &[&guarded[..], &stamped[..]].concat());
    let printed = ros.peer("reckless.py", &[]);
    let said: Value = serde_json::from_str(printed.last().unwrap()).unwrap();
    println!("{said}");
    for reason in ["obstacle", "not_finite", "unreasonable", "stale"] {
        assert!(said["reasons"][reason].as_u64().is_some_and(|count| count > 0), "no command was '{reason}': {said}");
    }
}
