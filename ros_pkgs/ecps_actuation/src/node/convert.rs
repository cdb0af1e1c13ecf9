//! Between ROS messages and the layer's own types.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use ecps_core::limits::MAP_ENTRIES;
use ecps_core::wire::proto::{self, eap};
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, EapAction, GateState, JointLimit, Zone as ZoneMessage};
use ecps_ros::r2r::ecps_msgs::srv::SetZones;
use ecps_ros::r2r::geometry_msgs::msg::PoseStamped;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;

use crate::action::{ErrorCode, Rejection};
use crate::executive::{Mode, Snapshot};
use crate::gate::ZONES;
use crate::goal::{Feedback, Finished};
use crate::joint::JointChange;
use crate::motion::Velocity;
use crate::obstacle::Scan;
use crate::state::{MeasuredState, PlanarPose};
use crate::zone::{CORNERS, Rule, Zone, ZoneError, ZoneSet};

/// The trace id of a caller; zeros where it traces nothing.
pub(super) fn request(caller: &Caller) -> [u8; 16] {
    let mut trace = [0; 16];
    if let Some(hex) = caller.traceparent.split('-').nth(1) {
        let digits = hex.as_bytes().chunks_exact(2);
        for (byte, pair) in trace.iter_mut().zip(digits) {
            *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
        }
    }
    trace
}

/// The state in an odometry message.
pub(super) fn measured_state(odometry: &Odometry) -> Result<MeasuredState, CheckError> {
    let (p, q) = (&odometry.pose.pose.position, &odometry.pose.pose.orientation);
    let twist = &odometry.twist.twist;
    Ok(MeasuredState {
        gripper: None,
        pose: PlanarPose::from_parts("odom.pose", [p.x, p.y, p.z], [q.x, q.y, q.z, q.w])?,
        velocity: Velocity { x: twist.linear.x, y: twist.linear.y, yaw: twist.angular.z },
        stamp: ecps_ros::stamp(&odometry.header.stamp),
    })
}

/// The scan in a message.
pub(super) fn scan(scan: &LaserScan) -> Scan<'_> {
    Scan {
        angle_min: scan.angle_min.into(),
        angle_increment: scan.angle_increment.into(),
        range_min: scan.range_min.into(),
        range_max: scan.range_max.into(),
        ranges: &scan.ranges,
    }
}

/// A transform on the floor.
pub(super) fn planar(transform: &nalgebra::Isometry3<f64>) -> PlanarPose {
    let (t, (_, _, yaw)) = (transform.translation, transform.rotation.euler_angles());
    PlanarPose { x: t.x, y: t.y, yaw }
}

/// The zones and margin of a request.
pub(super) fn zones(request: &SetZones::Request) -> Result<ZoneSet, ZoneError> {
    check::at_most("zones", request.zones.len(), ZONES, "entries")?;
    let zone = |zone: &ZoneMessage| {
        let rule = match zone.rule {
            0 => Rule::StayInside,
            1 => Rule::KeepOut,
            other => return Err(ZoneError::UnknownRule(other)),
        };
        check::at_most("corners", zone.corners.len(), CORNERS, "entries")?;
        Zone::polygon(&zone.name, rule, zone.corners.iter().map(|corner| [corner.x, corner.y]).collect())
    };
    let zones = request.zones.iter().map(zone).collect::<Result<_, _>>()?;
    Ok(ZoneSet { zones, obstacle_margin: request.obstacle_margin })
}

/// What a joint's limits are to become; a range that is none and zeros are "as before".
pub(super) fn joint_change(limit: &JointLimit) -> JointChange {
    let given = |value: f64| (value != 0.0).then_some(value);
    let (lower, upper) = (limit.min_position, limit.max_position);
    JointChange {
        joint: limit.joint.clone(),
        positions: (lower != 0.0 || upper != 0.0).then_some((lower, upper)),
        velocity: given(limit.max_velocity),
        effort: given(limit.max_effort),
    }
}

fn pose(message: &PoseStamped) -> proto::RobotPose {
    let (p, q) = (&message.pose.position, &message.pose.orientation);
    proto::RobotPose {
        x: p.x,
        y: p.y,
        z: p.z,
        qw: q.w,
        qx: q.x,
        qy: q.y,
        qz: q.z,
        frame_id: message.header.frame_id.clone(),
        timestamp_ns: u64::try_from(ecps_ros::stamp(&message.header.stamp).0).unwrap_or(0),
    }
}

/// What an action of that kind takes, as docs/trust.md has it.
pub(super) fn permissions(kind: u8) -> &'static [&'static str] {
    match kind {
        11 => &["grip:gripper"],
        12 => &["call:cloud"],
        13 => &["step:world"],
        15 => &["move:robot", "grip:gripper"],
        _ => &["move:robot"],
    }
}

/// The wire form of an action; `kind` names the field that counts.
pub(super) fn action(message: EapAction) -> Result<proto::Eap, Rejection> {
    check::at_most("action.meta", message.meta.len(), MAP_ENTRIES, "entries")?;
    let kind = match message.kind {
        10 => eap::Action::SetPose(pose(&message.set_pose)),
        11 => eap::Action::Gripper(proto::GripperOp {
            command: i32::from(message.gripper.command),
            position: message.gripper.position,
            force_limit: message.gripper.force_limit,
        }),
        12 => eap::Action::Cloud(proto::CloudOp {
            api_name: message.cloud.api_name,
            method_name: message.cloud.method_name,
            json_payload: message.cloud.json_payload,
            requires_oauth2: message.cloud.requires_oauth2,
        }),
        13 => eap::Action::Sim(proto::SimStep {
            duration_s: message.sim.duration_s,
            physics_steps: message.sim.physics_steps,
            render_frame: message.sim.render_frame,
        }),
        14 => eap::Action::Navigate(proto::NavigateOp {
            target_pose: Some(pose(&message.navigate.target_pose)),
            max_velocity: message.navigate.max_velocity,
            tolerance: message.navigate.tolerance,
            planner_id: message.navigate.planner_id,
        }),
        15 => eap::Action::Manipulate(proto::ManipulateOp {
            r#type: i32::from(message.manipulate.type_),
            target_pose: Some(pose(&message.manipulate.target_pose)),
            object_id: message.manipulate.object_id,
            approach_distance: message.manipulate.approach_distance,
            force_threshold: message.manipulate.force_threshold,
        }),
        unknown => {
            let message = format!("action.kind is {unknown}, and must be one of KIND_*, 10 to 15");
            return Err(Rejection { code: ErrorCode::Invalid, message });
        }
    };
    Ok(proto::Eap {
        spec: message.spec,
        id: message.id,
        state_sha: message.state_sha,
        action: Some(kind),
        meta: message.meta.into_iter().map(|entry| (entry.key, entry.value)).collect(),
    })
}

fn pose_stamped(state: &MeasuredState, frame: &str) -> PoseStamped {
    let mut message = PoseStamped::default();
    message.header.frame_id = frame.to_owned();
    message.header.stamp = ecps_ros::time(state.stamp);
    message.pose.position.x = state.pose.x;
    message.pose.position.y = state.pose.y;
    let [x, y, z, w] = state.pose.quaternion();
    message.pose.orientation.x = x;
    message.pose.orientation.y = y;
    message.pose.orientation.z = z;
    message.pose.orientation.w = w;
    message
}

/// The result of an action that ended.
pub(super) fn result(finished: Finished, frame: &str) -> ExecuteAction::Result {
    ExecuteAction::Result {
        error_code: finished.code as u16,
        error_msg: finished.message,
        final_pose: finished.state.as_ref().map(|state| pose_stamped(state, frame)).unwrap_or_default(),
        state_sha: finished.state.map(|state| state.sha().to_vec()).unwrap_or_default(),
        journal_sequence: finished.goal.0,
        answer: finished.answer,
    }
}

/// How an action goes on.
pub(super) fn feedback(feedback: &Feedback, frame: &str) -> ExecuteAction::Feedback {
    let mut message = ExecuteAction::Feedback {
        current_pose: feedback.state.as_ref().map(|state| pose_stamped(state, frame)).unwrap_or_default(),
        distance_remaining: feedback.distance_remaining,
        progress: feedback.progress as u8,
        before: u32::try_from(feedback.before).unwrap_or(u32::MAX),
        ..Default::default()
    };
    message.elapsed.sec = i32::try_from(feedback.elapsed.as_secs()).unwrap_or(i32::MAX);
    message.elapsed.nanosec = feedback.elapsed.subsec_nanos();
    message
}

/// The gate's state.
pub(super) fn gate_state(snapshot: &Snapshot, now: Stamp, frame: &str, budget_violations: u64) -> GateState {
    let mut message = GateState {
        mode: match snapshot.mode {
            Mode::Idle => 0,
            Mode::Active => 1,
            Mode::Stopped => 2,
            Mode::Disarmed => 3,
        },
        stop_cause: snapshot.stop_cause.clone(),
        admitted: snapshot.admitted,
        limited: snapshot.limited,
        refused: snapshot.refused,
        reasons: snapshot.reasons.iter().map(|(reason, _)| reason.name().to_owned()).collect(),
        reason_counts: snapshot.reasons.iter().map(|(_, count)| *count).collect(),
        last_refusal: snapshot.last_refusal.clone(),
        journal_sequence: snapshot.journal_sequence,
        max_linear_speed: snapshot.limits.max_linear_speed,
        max_linear_acceleration: snapshot.limits.max_linear_acceleration,
        max_linear_jerk: snapshot.limits.max_linear_jerk,
        max_angular_speed: snapshot.limits.max_angular_speed,
        max_angular_acceleration: snapshot.limits.max_angular_acceleration,
        max_angular_jerk: snapshot.limits.max_angular_jerk,
        source: snapshot.source.clone(),
        queued: u32::try_from(snapshot.queued).unwrap_or(u32::MAX),
        queue_capacity: u32::try_from(snapshot.queue_capacity).unwrap_or(u32::MAX),
        budget_violations,
        ..GateState::default()
    };
    message.header.stamp = ecps_ros::time(now);
    message.header.frame_id = frame.to_owned();
    message
}
