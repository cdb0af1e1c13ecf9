//! Joints of a robot with an arm.

use std::time::Duration;

use ecps_ros::r2r::builtin_interfaces::msg::Time;
use ecps_ros::r2r::sensor_msgs::msg::JointState;
use ecps_ros::r2r::std_msgs::msg::{Header, String as StringMessage};
use ecps_ros::r2r::trajectory_msgs::msg::{JointTrajectory, JointTrajectoryPoint};
use ecps_ros::{Node, Publisher, StartError, qos};

use super::Sim;
use crate::arm::{Arm, URDF, WayPoint};

/// The topics of states and description, of which the latter is told at once.
pub(super) fn outputs(
    node: &mut Node<Sim>,
    robot: &str,
) -> Result<(Publisher<JointState>, Publisher<StringMessage>), StartError> {
    let description = node.publisher(&format!("{robot}/robot_description"), qos::latched())?;
    description.publish(&StringMessage { data: URDF.to_owned() });
    Ok((node.publisher(&format!("{robot}/joint_states"), qos::reliable(10))?, description))
}

/// The topics of the two controllers.
pub(super) fn listen(node: &mut Node<Sim>, index: usize, robot: &str) -> Result<(), StartError> {
    for controller in ["joint_trajectory", "gripper_trajectory"] {
        let topic = format!("{robot}/{controller}");
        node.subscribe(&topic, qos::command(), move |sim: &mut Sim, message: JointTrajectory| {
            let points: Vec<WayPoint> = message.points.into_iter().map(way_point).collect();
            if let Err(error) = sim.world.follow(index, &message.joint_names, &points) {
                tracing::warn!("trajectory refused: {error}");
            }
        })?;
    }
    Ok(())
}

fn way_point(point: JointTrajectoryPoint) -> WayPoint {
    let time = point.time_from_start;
    let time = Duration::new(u64::try_from(time.sec).unwrap_or(0), time.nanosec.min(999_999_999));
    WayPoint { time, positions: point.positions, velocities: point.velocities }
}

pub(super) fn states(arm: &Arm, stamp: Time) -> JointState {
    JointState {
        header: Header { stamp, frame_id: String::new() },
        name: arm.joints().iter().map(|joint| joint.spec().name.to_owned()).collect(),
        position: arm.joints().iter().map(crate::arm::Joint::position).collect(),
        velocity: arm.joints().iter().map(crate::arm::Joint::velocity).collect(),
        effort: arm.joints().iter().map(crate::arm::Joint::effort).collect(),
    }
}
