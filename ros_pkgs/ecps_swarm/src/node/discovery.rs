//! Hearing the others, and telling of oneself.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::{RosClock as _, Stamp, Steady};
use ecps_ros::r2r::ecps_msgs::msg::SwarmAgent;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::tf::Transforms;
use nalgebra::Vector3;

use super::convert::{agent_from_ros, agent_to_ros, pose_from_ros};
use super::{Coordinator, Shared, lock, now};
use crate::agents::{Agent, HELD_TASKS, Heard, Phase};

/// Between two of its messages while robots move by a behaviour; less than a control period, since it is asked for every 50 ms.
const PERIOD: Duration = Duration::from_millis(80);
/// Silence of odometry after which this agent tells no place any more: others reckon its age from when they heard it.
const FORGOTTEN: Duration = Duration::from_millis(250);
/// Between two warnings about refused messages of one kind.
const WARNINGS: Duration = Duration::from_secs(10);

/// Warnings, of each kind one in a while.
#[derive(Default)]
pub(super) struct Warnings(BTreeMap<&'static str, (Steady, u64)>);

impl Warnings {
    fn warn(&mut self, reason: &'static str, text: &dyn std::fmt::Display) {
        match self.0.get_mut(reason) {
            Some((at, more)) if now().since(*at) < WARNINGS => *more += 1,
            known => {
                let more = known.map_or(0, |(_, more)| *more);
                let more = if more > 0 { format!(" ({more} like it before)") } else { String::new() };
                tracing::warn!("a message was refused: {text}{more}");
                self.0.insert(reason, (now(), 0));
            }
        }
    }
}

/// What this agent tells of itself, and when it last did.
pub(super) struct Announced {
    agent: Agent,
    told: Option<(Steady, Phase, Vec<String>)>,
    /// When odometry last said where it is.
    located: Option<Steady>,
    /// It said good-bye, and says nothing after that.
    left: bool,
    /// Odometry that could not be used, so that it is logged once.
    lost: bool,
}

impl Announced {
    pub(super) fn new(agent: Agent) -> Announced {
        Announced { agent, told: None, located: None, left: false, lost: false }
    }

    /// Where the robot is, in the swarm's frame.
    pub(super) fn locate(&mut self, odometry: &Odometry, shared: &Shared, transforms: &Transforms) {
        let (frame, from) = (&shared.settings.bounds.frame, &odometry.header.frame_id);
        let there = match pose_from_ros(&odometry.pose.pose) {
            Ok(pose) => pose,
            Err(error) => return self.complain(&error),
        };
        shared.work.know_odom_frame(from);
        let stamp = ecps_ros::stamp(&odometry.header.stamp);
        let to_frame = match shared.settings.odom_origin {
            Some(origin) => origin,
            None if frame == from => nalgebra::Isometry3::identity(),
            // Frames drift apart slowly; the latest is as good as that of the stamp, and always there.
            None => match transforms.lookup(frame, from, stamp).or_else(|_| transforms.lookup(frame, from, Stamp(0))) {
                Ok(transform) => transform,
                Err(error) => return self.complain(&error),
            },
        };
        let pose = to_frame * there;
        let twist = &odometry.twist.twist;
        // Odometry's twist is in the robot's own frame (REP 105).
        let velocity = pose.rotation * Vector3::new(twist.linear.x, twist.linear.y, twist.linear.z);
        let located = Agent { pose: Some(pose), velocity, yaw_rate: twist.angular.z, ..self.agent.clone() };
        match located.check() {
            Ok(()) => {
                (self.agent, self.lost) = (located, false);
                if self.located.replace(now()).is_none() {
                    // The first place is news.
                    self.told = None;
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.lost, true) {
            tracing::warn!("where this robot is cannot be told: {error}");
        }
    }

    /// The next message, where it is time for one.
    fn next(&mut self, tasks: Vec<String>, active: bool, moving: bool, at: Steady) -> Option<Agent> {
        if self.left {
            return None;
        }
        let phase = match (active, tasks.is_empty()) {
            // An inactive node is given nothing.
            (false, _) => Phase::Failed,
            (true, true) if moving => Phase::Forming,
            (true, true) => Phase::Discovering,
            (true, false) => Phase::Executing,
        };
        // Neighbours that move have to know where it is, also where it does not take part.
        let period = if moving { PERIOD } else { phase.heartbeat() };
        if let Some((told, before, held)) = &self.told
            && at.since(*told) < period
            && phase == *before
            && tasks == *held
        {
            return None;
        }
        self.told = Some((at, phase, tasks.clone()));
        self.agent.sequence += 1;
        self.agent.load = tasks.len() as f64 / HELD_TASKS as f64;
        (self.agent.phase, self.agent.tasks) = (phase, tasks);
        let pose = self.agent.pose.filter(|_| self.located.is_some_and(|located| at.since(located) < FORGOTTEN));
        Some(Agent { pose, ..self.agent.clone() })
    }

    /// As it is, and how old its place is; none where it does not know its place.
    pub(super) fn placed(&self, at: Steady) -> Option<(&Agent, Duration)> {
        Some((&self.agent, at.since(self.located?)))
    }
}

impl Coordinator {
    pub(super) fn hear(&mut self, message: SwarmAgent) {
        let settings = &self.shared.settings;
        if message.id == settings.agent.id {
            // Our own words; or another robot under our name.
            if message.epoch != self.announced.agent.epoch {
                lock(&self.shared.registry).refuse("same_id");
                let text = format!("another agent calls itself '{}', in epoch {}", message.id, message.epoch);
                self.warnings.warn("same_id", &text);
            }
            return;
        }
        let mut registry = lock(&self.shared.registry);
        let agent = match agent_from_ros(message) {
            Ok(agent) => agent,
            Err(error) => {
                registry.refuse("invalid");
                return self.warnings.warn("invalid", &error);
            }
        };
        let (id, member) = (agent.id.clone(), agent.member.clone());
        match registry.hear(agent, now()) {
            Ok(heard) => {
                if member.is_some_and(|at| !self.shared.group.knows(&at)) {
                    self.shared.group.learn(registry.peers().filter_map(|peer| peer.agent.member.as_ref()));
                }
                drop(registry);
                match heard {
                    Heard::Beat => {}
                    Heard::Joined => tracing::info!("agent '{id}' joined"),
                    Heard::Jumped => tracing::warn!("the pose of agent '{id}' jumped and is not believed yet"),
                    other => tracing::info!("agent '{id}': {other:?}"),
                }
                self.shown.agents_changed |= heard != Heard::Beat;
            }
            Err(error) => {
                drop(registry);
                self.warnings.warn(error.reason(), &error);
            }
        }
    }

    /// Tells of this agent, when it is time.
    pub(super) fn speak(&mut self) {
        let at = now();
        if let Some(agent) =
            self.announced.next(self.shared.work.held(), self.shared.work.is_active(), self.shared.moves(), at)
        {
            self.tell(agent);
        }
        let changes = lock(&self.shared.registry).look(at);
        for (id, health) in &changes {
            tracing::info!("agent '{id}' is {health:?}");
        }
        self.shown.agents_changed |= !changes.is_empty();
    }

    fn tell(&mut self, agent: Agent) {
        let stamp = self.shared.clock.now();
        self.agent.publish(&agent_to_ros(&agent, stamp));
        match lock(&self.shared.registry).hear(agent, now()) {
            // What it says every time is no news.
            Ok(heard) => self.shown.agents_changed |= heard != Heard::Beat || !self.shared.moves(),
            Err(error) => tracing::error!("what this agent tells of itself is refused: {error}"),
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        self.announced.left = true;
        // What follows in the last moments moves nothing.
        self.shared.work.set_active(false);
        self.announced.agent.sequence += 1;
        let agent = Agent { leaving: true, tasks: Vec::new(), ..self.announced.agent.clone() };
        self.tell(agent);
    }
}
