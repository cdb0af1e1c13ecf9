//! Moving with the swarm: the leader's plans, and this robot's velocity, which goes to its executor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecps_consensus::Outcome;
use ecps_core::clock::{RosClock as _, Steady};
use ecps_ros::r2r::ecps_msgs::msg::SwarmSlots;
use ecps_ros::r2r::geometry_msgs::msg::{Point, Twist, TwistStamped};
use ecps_ros::r2r::visualization_msgs::msg::MarkerArray;
use ecps_ros::{Managed, Node, Publisher, StartError, qos};
use nalgebra::{Isometry2, Vector2};

use super::parameters::Settings;
use super::{Coordinator, Shared, lock, now};
use crate::agents::{Agent, Health, Peer, Phase, Role};
use crate::motion::drive::Command as Drive;
use crate::motion::formation;
use crate::movement::{Body, Current, Marshal, Movement, Other, Pilot, Still, pilot, table};
use crate::tasks::{Code, Command, What};

/// The control period.
pub(super) const PERIOD: Duration = Duration::from_millis(100);
/// Between two looks whether something else counts.
const LOOK: Duration = Duration::from_millis(20);
/// How long a plan may take to be in the log; then it is made anew.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a quorum's word for so long a robot stands still.
const CUT_OFF: Duration = Duration::from_secs(1);
/// Zeros that are sent when a robot ceases to move by a behaviour.
const ZEROS: u32 = 3;
/// Between two messages on `~/slots` while the formation's centre moves, and between two on `~/markers` while anything does.
const SHOWN: Duration = Duration::from_millis(500);

/// A robot's pose on the floor.
pub(super) fn planar(agent: &Agent) -> Option<Isometry2<f64>> {
    let pose = agent.pose.as_ref()?;
    let (_, _, yaw) = pose.rotation.euler_angles();
    Some(Isometry2::new(pose.translation.vector.xy(), yaw))
}

/// Its middle, and the disc that is steered, around the point ahead of the axle.
pub(super) fn body(agent: &Agent, settings: &Settings) -> Option<Body> {
    let pose = planar(agent)?;
    let arm = pose.rotation * Vector2::new(settings.ahead, 0.0);
    Some(Body {
        place: pose.translation.vector,
        point: settings.drive.point(&pose),
        velocity: agent.velocity.xy() + Vector2::new(-arm.y, arm.x) * agent.yaw_rate,
        radius: settings.drive.radius(agent.radius) + settings.margin,
    })
}

/// Whether an agent can move by a behaviour. A task comes first: who holds one is out until it is done.
fn is_free(agent: &Agent) -> bool {
    agent.tasks.is_empty() && agent.phase != Phase::Failed && agent.role != Role::Observer
}

/// Those that can take part in a movement, with their places.
pub(super) fn members(shared: &Shared, movement: &Movement) -> Vec<(String, Vector2<f64>)> {
    let member = |peer: &Peer| {
        let agent = &peer.agent;
        let takes_part = !peer.is_gone() && is_free(agent) && movement.includes(&agent.id);
        Some((agent.id.clone(), body(agent, &shared.settings).filter(|_| takes_part)?.place))
    };
    lock(&shared.registry).peers().filter_map(member).collect()
}

/// Knows what counts, and plans the formation while this member leads, as long as the node runs.
pub(super) async fn agree(shared: Arc<Shared>) {
    let mut seen = None;
    let mut marshal: Option<Marshal> = None;
    let mut planned = now();
    let mut complained = String::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let applied = shared.group.applied();
        if seen != Some(applied) {
            match shared.group.read_stale(table::read).await {
                Ok(current) => {
                    seen = Some(applied);
                    know(&shared, current);
                }
                Err(reason) => tracing::error!("how robots move cannot be read: {reason}"),
            }
        }
        let Some(epoch) = shared.group.leads() else {
            marshal = None;
            continue;
        };
        if now().since(planned) < PERIOD {
            continue;
        }
        planned = now();
        let leading = match &mut marshal {
            Some(marshal) if marshal.epoch() == epoch => marshal,
            other => {
                // All that earlier leaders planned is known first.
                let Ok(current) = shared.group.read(PATIENCE, table::read).await else { continue };
                know(&shared, current);
                let settings = formation::Settings {
                    max_speed: shared.settings.speed,
                    acceleration: shared.settings.acceleration,
                    ..formation::Settings::default()
                };
                other.insert(Marshal::new(epoch, settings))
            }
        };
        let (current, since) = shared.movement();
        let members = members(&shared, &current.movement);
        let plan = match leading.plan(&current, &members, since, now()) {
            Ok(None) => continue,
            Ok(Some(plan)) => plan,
            Err(error) => {
                if complained != error.to_string() {
                    complained = error.to_string();
                    tracing::warn!("the formation is not planned: {complained}");
                }
                continue;
            }
        };
        let command = Command::new(shared.clock.now(), What::Plan(plan));
        match shared.group.propose(&command, PATIENCE).await {
            Outcome::Applied { reply, .. } if reply.code() == Code::Done => {}
            other => {
                tracing::debug!("a plan is not in the log: {other:?}");
                leading.was_not_told();
            }
        }
    }
}

/// Takes over what counts.
fn know(shared: &Shared, current: Current) {
    let mut known = lock(&shared.movement);
    if known.0.revision < current.revision {
        if known.0.number != current.number {
            tracing::info!("movement {}: {:?}", current.number, current.movement.behavior());
        }
        *known = (Arc::new(current), now());
    }
}

enum Velocities {
    Plain(Publisher<Twist>),
    Stamped(Publisher<TwistStamped>),
}

/// How this robot moves, and what it shows of that.
pub(super) struct Moving {
    pilot: Pilot,
    velocities: Velocities,
    slots: Publisher<SwarmSlots>,
    pub(super) markers: Publisher<MarkerArray>,
    /// Why it stands still; empty while it does not.
    why: String,
    /// Zeros yet to be sent.
    zeros: u32,
    shown_slots: Option<(u64, Vec<String>, Steady)>,
    shown_markers: Option<(u64, Steady)>,
}

impl Moving {
    pub(super) fn new<S: Managed>(node: &mut Node<S>, settings: &Settings) -> Result<Moving, StartError> {
        let topic = "cmd_vel_swarm";
        Ok(Moving {
            pilot: Pilot::new(&settings.agent.id, settings.speed, settings.acceleration),
            velocities: match settings.stamped {
                true => Velocities::Stamped(node.publisher(topic, qos::command())?),
                false => Velocities::Plain(node.publisher(topic, qos::command())?),
            },
            slots: node.publisher("~/slots", qos::latched())?,
            markers: node.publisher("~/markers", qos::latched())?,
            why: String::new(),
            zeros: 0,
            shown_slots: None,
            shown_markers: None,
        })
    }
}

/// Why nothing is sent, or zero.
enum Pause {
    /// The robot is not the swarm's to move now.
    Leave(String),
    /// It is, and stands still.
    Stand(String),
}

impl From<Still> for Pause {
    fn from(still: Still) -> Pause {
        if still.leaves_it() { Pause::Leave(still.to_string()) } else { Pause::Stand(still.to_string()) }
    }
}

impl Coordinator {
    /// One control period.
    pub(super) fn control(&mut self) {
        let at = now();
        let (current, since) = self.shared.movement();
        self.moving.pilot.see(&current, since, at);
        let (command, why) = match self.drive(&current, at) {
            Ok(command) => {
                self.moving.zeros = ZEROS;
                (Some(command), String::new())
            }
            Err(Pause::Stand(why)) => (Some(Drive::default()), why),
            Err(Pause::Leave(why)) => {
                let last = self.moving.zeros > 0;
                self.moving.zeros = self.moving.zeros.saturating_sub(1);
                (last.then(Drive::default), why)
            }
        };
        if let Some(command) = command {
            self.send(command);
        }
        // A sentence with an age in it is not news each time.
        let kind = |why: &str| why.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        if kind(&self.moving.why) != kind(&why) {
            if why.is_empty() {
                tracing::info!("moves with the swarm: {:?}", current.movement.behavior());
            } else {
                tracing::info!("does not move with the swarm: {why}");
            }
        }
        self.moving.why = why;
        self.show_slots(&current, at);
        self.show_markers(&current, at);
    }

    fn drive(&mut self, current: &Current, at: Steady) -> Result<Drive, Pause> {
        let shared = &self.shared;
        if !shared.work.is_active() {
            return Err(Pause::Leave("the node is not active".to_owned()));
        }
        if let Some(task) = shared.work.held().first() {
            return Err(Pause::Leave(format!("task '{task}' comes first")));
        }
        let movement = &current.movement;
        let (me, age) = match self.announced.placed(at) {
            Some((agent, age)) if age <= pilot::STALE => (agent, age),
            _ if !shared.moves() => return Err(Still::Holds.into()),
            _ => return Err(Pause::Stand("odometry does not say where this robot is".to_owned())),
        };
        let (Some(pose), Some(mut own)) = (planar(me), body(me, &shared.settings)) else {
            return Err(Pause::Stand("odometry does not say where this robot is".to_owned()));
        };
        let moved = own.velocity * age.as_secs_f64();
        own.place += moved;
        own.point += moved;
        let (confirmed, reason) = shared.work.confirmed();
        if shared.moves() && confirmed.is_none_or(|confirmed| at.since(confirmed) > CUT_OFF) {
            return Err(Pause::Stand(format!("no quorum is reached: {reason}")));
        }
        let others = self.others(at);
        let velocity = self.moving.pilot.velocity(movement, &own, &others)?;
        self.shared.settings.drive.command(&pose, &velocity).map_err(|error| Pause::Stand(error.to_string()))
    }

    /// All others that told where they are and may be there still.
    fn others(&self, at: Steady) -> Vec<Other> {
        let settings = &self.shared.settings;
        let other = |peer: &Peer| {
            let agent = &peer.agent;
            let age = peer.place_age(at)?;
            let known = agent.id != settings.agent.id && age < settings.bounds.lease;
            Some(Other {
                id: agent.id.clone(),
                body: body(agent, settings).filter(|_| known)?,
                age,
                is_gone: peer.is_gone(),
                is_free: is_free(agent) && peer.health != Health::Lost,
            })
        };
        lock(&self.shared.registry).peers().filter_map(other).collect()
    }

    fn send(&self, command: Drive) {
        let mut twist = Twist::default();
        (twist.linear.x, twist.angular.z) = (command.linear, command.angular);
        match &self.moving.velocities {
            Velocities::Plain(publisher) => publisher.publish(&twist),
            Velocities::Stamped(publisher) => {
                let mut stamped = TwistStamped { twist, ..TwistStamped::default() };
                stamped.header.stamp = ecps_ros::time(self.shared.clock.now());
                publisher.publish(&stamped);
            }
        }
    }

    fn show_slots(&mut self, current: &Current, at: Steady) {
        let formation = self.moving.pilot.formation();
        let agents: BTreeSet<&String> = formation.iter().flat_map(|formation| formation.members()).collect();
        let plans = formation.map_or(0, |formation| formation.plans());
        // Each movement has numbers of its own.
        let version = (current.number << 32) | plans;
        let travels = formation.is_some_and(|formation| !formation.route().is_done());
        if let Some((shown, who, since)) = &self.moving.shown_slots
            && *shown == version
            && who.iter().eq(agents.iter().copied())
            && !(travels && at.since(*since) >= SHOWN)
        {
            return;
        }
        let mut message = SwarmSlots { header: self.header(), version, ..SwarmSlots::default() };
        message.centre.orientation.w = 1.0;
        if let Some(formation) = formation {
            let centre = formation.route().pose();
            message.formation = format!("{:?}", current.movement.form()).to_lowercase();
            message.scale = formation.scale();
            (message.centre.position.x, message.centre.position.y) = (centre.translation.x, centre.translation.y);
            let half = centre.rotation.angle() / 2.0;
            (message.centre.orientation.z, message.centre.orientation.w) = half.sin_cos();
            for id in &agents {
                // One that has just joined has none yet.
                if let Some((_, slot)) = formation.slot(id) {
                    message.agents.push((*id).clone());
                    message.slots.push(Point { x: slot.x, y: slot.y, z: 0.0 });
                }
            }
        }
        let who = agents.into_iter().cloned().collect();
        self.moving.slots.publish(&message);
        self.moving.shown_slots = Some((version, who, at));
    }

    fn show_markers(&mut self, current: &Current, at: Steady) {
        let due = match self.moving.shown_markers {
            Some((revision, since)) => {
                let goes_on = self.shared.moves() && self.moving.markers.subscribers() > 0;
                at.since(since) >= SHOWN && (goes_on || revision != current.revision)
            }
            None => true,
        };
        if due {
            self.moving.shown_markers = Some((current.revision, at));
            let markers = super::markers::markers(&self.shared, self.moving.pilot.formation());
            self.moving.markers.publish(&markers);
        }
    }
}
