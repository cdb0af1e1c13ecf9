//! Messages and the library's types, field by field.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::{Stamp, Steady};
use ecps_ros::r2r::builtin_interfaces::msg::{Duration as RosDuration, Time};
use ecps_ros::r2r::ecps_msgs::msg::{SwarmAgent, SwarmPeer, SwarmTask, SwarmTaskState};
use ecps_ros::r2r::geometry_msgs::msg::Pose;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion, Vector3};

use crate::agents::{Agent, CAPABILITIES, HELD_TASKS, Health, MemberAt, Peer, Phase, Role};
use crate::tasks::{Entry, Location, Task};

pub(super) fn pose_from_ros(pose: &Pose) -> Result<Isometry3<f64>, CheckError> {
    let (p, q) = (&pose.position, &pose.orientation);
    check::unit_quaternion("pose.orientation", [q.x, q.y, q.z, q.w])?;
    let turn = UnitQuaternion::from_quaternion(Quaternion::new(q.w, q.x, q.y, q.z));
    Ok(Isometry3::from_parts(Translation3::new(p.x, p.y, p.z), turn))
}

pub(super) fn pose_to_ros(pose: &Isometry3<f64>) -> Pose {
    let mut message = Pose::default();
    let (p, q) = (pose.translation.vector, pose.rotation.coords);
    (message.position.x, message.position.y, message.position.z) = (p.x, p.y, p.z);
    (message.orientation.x, message.orientation.y, message.orientation.z, message.orientation.w) = (q.x, q.y, q.z, q.w);
    message
}

/// A pose as agents tell it: one with an orientation of all zeros, which is none, stands for no place.
pub(super) fn place_from_ros(pose: &Pose) -> Result<Option<Isometry3<f64>>, CheckError> {
    let q = &pose.orientation;
    if [q.x, q.y, q.z, q.w] == [0.0; 4] { Ok(None) } else { pose_from_ros(pose).map(Some) }
}

fn place_to_ros(place: Option<&Isometry3<f64>>) -> Pose {
    let mut pose = place.map_or_else(Pose::default, pose_to_ros);
    if place.is_none() {
        // Where nothing is said it is 1.
        pose.orientation.w = 0.0;
    }
    pose
}

const ROLES: [Role; 5] = [Role::Worker, Role::Follower, Role::Leader, Role::Coordinator, Role::Observer];
const PHASES: [Phase; 6] =
    [Phase::Discovering, Phase::Forming, Phase::Coordinating, Phase::Executing, Phase::Completed, Phase::Failed];

/// A number from a message that stands for one of `all`.
fn one_of<T: Copy>(field: &str, number: u8, all: &[T]) -> Result<T, CheckError> {
    let max = all.len().saturating_sub(1) as f64;
    let outside = CheckError::OutOfRange { field: field.into(), value: number.into(), min: 0.0, max };
    all.get(usize::from(number)).copied().ok_or(outside)
}

/// The number that stands for one of `all`.
fn place_of<T: PartialEq>(one: T, all: &[T]) -> u8 {
    all.iter().position(|other| *other == one).unwrap_or_default() as u8
}

/// What an agent tells; the rest of the checks is [`Agent::check`]'s.
pub(super) fn agent_from_ros(message: SwarmAgent) -> Result<Agent, CheckError> {
    check::at_most("capabilities", message.capabilities.len(), CAPABILITIES, "entries")?;
    check::at_most("tasks", message.tasks.len(), HELD_TASKS, "entries")?;
    let v = &message.velocity.linear;
    let member = MemberAt { id: message.member_id, address: message.consensus_address };
    Ok(Agent {
        role: one_of("role", message.role, &ROLES)?,
        phase: one_of("state", message.state, &PHASES)?,
        pose: place_from_ros(&message.pose)?,
        id: message.id,
        epoch: message.epoch,
        sequence: message.sequence,
        capabilities: message.capabilities.into_iter().collect(),
        frame: message.header.frame_id,
        velocity: Vector3::new(v.x, v.y, v.z),
        yaw_rate: message.velocity.angular.z,
        radius: message.radius,
        load: message.load.into(),
        battery: (!message.battery.is_nan()).then_some(message.battery.into()),
        tasks: message.tasks,
        member: (member.id != 0).then_some(member),
        leaving: message.leaving,
    })
}

pub(super) fn agent_to_ros(agent: &Agent, stamp: Stamp) -> SwarmAgent {
    let mut message = SwarmAgent {
        id: agent.id.clone(),
        epoch: agent.epoch,
        sequence: agent.sequence,
        role: place_of(agent.role, &ROLES),
        state: place_of(agent.phase, &PHASES),
        capabilities: agent.capabilities.iter().cloned().collect(),
        pose: place_to_ros(agent.pose.as_ref()),
        radius: agent.radius,
        load: agent.load as f32,
        battery: agent.battery.map_or(f32::NAN, |battery| battery as f32),
        tasks: agent.tasks.clone(),
        member_id: agent.member.as_ref().map_or(0, |member| member.id),
        consensus_address: agent.member.as_ref().map_or_else(String::new, |member| member.address.clone()),
        leaving: agent.leaving,
        ..SwarmAgent::default()
    };
    message.header.stamp = ecps_ros::time(stamp);
    message.header.frame_id.clone_from(&agent.frame);
    let linear = &mut message.velocity.linear;
    (linear.x, linear.y, linear.z) = (agent.velocity.x, agent.velocity.y, agent.velocity.z);
    message.velocity.angular.z = agent.yaw_rate;
    message
}

pub(super) fn peer_to_ros(peer: &Peer, now: Steady, stamp: Stamp) -> SwarmPeer {
    SwarmPeer {
        agent: agent_to_ros(&peer.agent, stamp),
        health: place_of(peer.health, &[Health::Alive, Health::Suspect, Health::Lost, Health::Left]),
        phi: peer.phi(now),
        silence: now.since(peer.heard).as_secs_f64(),
    }
}

fn seconds(duration: &RosDuration) -> f64 {
    f64::from(duration.sec) + f64::from(duration.nanosec) * 1e-9
}

/// A task as it is submitted; the rest of the checks is [`Task::check`]'s.
pub(super) fn task_from_ros(message: SwarmTask) -> Task {
    let (p, q) = (&message.location.position, &message.location.orientation);
    let location = Location { x: p.x, y: p.y, z: p.z, qx: q.x, qy: q.y, qz: q.z, qw: q.w };
    Task {
        id: message.id,
        kind: message.kind,
        payload: message.payload,
        priority: message.priority.into(),
        required_capabilities: message.required_capabilities,
        depends_on: message.depends_on,
        deadline: ecps_ros::stamp(&message.deadline).0,
        duration_estimate: seconds(&message.duration_estimate),
        location: message.has_location.then_some(location),
        preferred_agents: message.preferred_agents,
        excluded_agents: message.excluded_agents,
    }
}

fn task_to_ros(task: Task) -> SwarmTask {
    let estimate = task.duration_estimate;
    let location = task.location;
    let mut message = SwarmTask {
        id: task.id,
        kind: task.kind,
        payload: task.payload,
        priority: u8::try_from(task.priority).unwrap_or_default(),
        required_capabilities: task.required_capabilities,
        depends_on: task.depends_on,
        deadline: ecps_ros::time(Stamp(task.deadline)),
        duration_estimate: RosDuration { sec: estimate as i32, nanosec: (estimate.fract() * 1e9) as u32 },
        has_location: location.is_some(),
        preferred_agents: task.preferred_agents,
        excluded_agents: task.excluded_agents,
        ..SwarmTask::default()
    };
    if let Some(at) = location {
        message.location = location_to_ros(&at);
    }
    message
}

pub(super) fn location_to_ros(at: &Location) -> Pose {
    let mut pose = Pose::default();
    (pose.position.x, pose.position.y, pose.position.z) = (at.x, at.y, at.z);
    (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w) = (at.qx, at.qy, at.qz, at.qw);
    pose
}

pub(super) fn entry_to_ros(entry: Entry) -> SwarmTaskState {
    let time = |ns: i64| if ns == 0 { Time::default() } else { ecps_ros::time(Stamp(ns)) };
    SwarmTaskState {
        task: task_to_ros(entry.task),
        state: entry.state as u8,
        reason: entry.reason,
        agent: entry.agent,
        award: entry.award,
        progress: entry.progress as f32,
        submitted: time(entry.submitted),
        finished: time(entry.finished),
        result: entry.result,
    }
}
