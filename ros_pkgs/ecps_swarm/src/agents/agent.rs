//! One agent, as it tells of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_core::check::{self, CheckError};
use nalgebra::{Isometry3, Vector3};

/// Longest id of an agent or a task, and longest name of a capability, bytes.
pub const ID_BYTES: usize = 128;
/// Most capabilities of an agent.
pub const CAPABILITIES: usize = 64;
/// Most tasks that an agent holds.
pub const HELD_TASKS: usize = 5;
/// Farthest place from the origin of the swarm's frame, metres.
const FARTHEST: f64 = 1e6;

/// What an agent is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Does tasks.
    #[default]
    Worker,
    /// Follows another one, and does tasks.
    Follower,
    /// Is followed, and does tasks.
    Leader,
    /// Leads the group, and does tasks.
    Coordinator,
    /// Looks on, and is given nothing.
    Observer,
}

/// How far an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Looks who is there.
    #[default]
    Discovering,
    /// Goes to its place in a formation.
    Forming,
    /// Awaits its part.
    Coordinating,
    /// Has tasks.
    Executing,
    /// Did all it had.
    Completed,
    /// Cannot go on.
    Failed,
}

impl Phase {
    /// Time between two of its messages (source: protocol, A2A).
    pub fn heartbeat(self) -> Duration {
        match self {
            Phase::Forming | Phase::Coordinating | Phase::Executing => Duration::from_millis(500),
            Phase::Discovering | Phase::Completed | Phase::Failed => Duration::from_secs(10),
        }
    }
}

/// A member of the consensus, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAt {
    /// Its name in the group, not 0.
    pub id: u64,
    /// As `address:port`.
    pub address: String,
}

/// What an agent tells of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Unique in its swarm.
    pub id: String,
    /// Counts its starts. What an older start says is no longer heard.
    pub epoch: u64,
    /// Number of the message since that start.
    pub sequence: u64,
    /// What it is there for.
    pub role: Role,
    /// How far it is.
    pub phase: Phase,
    /// What it can do.
    pub capabilities: BTreeSet<String>,
    /// Frame of the pose, which all agents of a swarm share.
    pub frame: String,
    /// Where it is, metres; none where it does not know.
    pub pose: Option<Isometry3<f64>>,
    /// Along the axes of the frame, m/s.
    pub velocity: Vector3<f64>,
    /// About the axis that points up, rad/s.
    pub yaw_rate: f64,
    /// Of the disc around it, metres.
    pub radius: f64,
    /// 0 idle, 1 fully loaded.
    pub load: f64,
    /// 0 empty, 1 full; none where it has no battery.
    pub battery: Option<f64>,
    /// Ids of the tasks that it holds.
    pub tasks: Vec<String>,
    /// Where its member of the consensus is reached.
    pub member: Option<MemberAt>,
    /// It says good-bye.
    pub leaving: bool,
}

impl Agent {
    /// An agent that has said nothing but its name.
    pub fn new(id: impl Into<String>, epoch: u64) -> Agent {
        Agent {
            id: id.into(),
            epoch,
            sequence: 0,
            role: Role::default(),
            phase: Phase::default(),
            capabilities: BTreeSet::new(),
            frame: "map".to_owned(),
            pose: None,
            velocity: Vector3::zeros(),
            yaw_rate: 0.0,
            radius: 0.0,
            load: 0.0,
            battery: None,
            tasks: Vec::new(),
            member: None,
            leaving: false,
        }
    }

    /// Refuses what is not finite, out of range, or too much.
    ///
    /// # Errors
    /// Names the field, the value and the limit.
    pub fn check(&self) -> Result<(), CheckError> {
        check::name("id", &self.id, ID_BYTES)?;
        check::at_most("capabilities", self.capabilities.len(), CAPABILITIES, "entries")?;
        for capability in &self.capabilities {
            check::name("capabilities", capability, ID_BYTES)?;
        }
        check::at_most("tasks", self.tasks.len(), HELD_TASKS, "entries")?;
        for task in &self.tasks {
            check::name("tasks", task, ID_BYTES)?;
        }
        if let Some(pose) = &self.pose {
            let place = pose.translation.vector;
            for (field, value) in
                [("pose.position.x", place.x), ("pose.position.y", place.y), ("pose.position.z", place.z)]
            {
                check::in_range(field, value, -FARTHEST, FARTHEST)?;
            }
            let turned = pose.rotation.coords;
            check::unit_quaternion("pose.orientation", [turned.x, turned.y, turned.z, turned.w])?;
        }
        for value in [self.velocity.x, self.velocity.y, self.velocity.z, self.yaw_rate] {
            check::in_range("velocity", value, -1e3, 1e3)?;
        }
        check::in_range("radius", self.radius, 0.0, 1e3)?;
        check::in_range("load", self.load, 0.0, 1.0)?;
        if let Some(battery) = self.battery {
            check::in_range("battery", battery, 0.0, 1.0)?;
        }
        if let Some(member) = &self.member {
            check::name("consensus_address", &member.address, ID_BYTES)?;
        }
        Ok(())
    }
}
