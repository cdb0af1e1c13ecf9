//! The demo's node beside the swarm: where the robots are, what one coordinator tells, and what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecps_ros::r2r::ecps_msgs::msg::{SwarmAgents, SwarmLeader, SwarmSlots, SwarmTask, SwarmTaskState, SwarmTasks};
use ecps_ros::r2r::ecps_msgs::srv::{SetFormation, SubmitTask};
use ecps_ros::r2r::geometry_msgs::msg::Pose;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::{Client, NodeClock, Spinning, qos};

use crate::asking::{self, PATIENCE};
use crate::demo::DemoError;
use crate::report::Point;

pub(super) const RUNNING: u8 = 3;
pub(super) const COMPLETED: u8 = 4;
/// Way after which a robot's place is drawn.
const DRAWN: f64 = 0.02;

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    places: BTreeMap<String, Point>,
    paths: BTreeMap<String, Vec<Point>>,
    pub(super) least_distance: f64,
    pub(super) agents: Option<SwarmAgents>,
    leader: Option<SwarmLeader>,
    tasks: Option<SwarmTasks>,
    slots: Option<SwarmSlots>,
    /// Slots as they were when each robot had one last.
    last_slots: BTreeMap<String, Point>,
}

impl Heard {
    fn place_at(&mut self, name: &str, at: Point) {
        let others = self.places.iter().filter(|(other, _)| *other != name);
        let nearest = others.map(|(_, other)| other.distance(at)).fold(self.least_distance, f64::min);
        self.least_distance = nearest;
        self.places.insert(name.to_owned(), at);
        let path = self.paths.entry(name.to_owned()).or_default();
        if path.last().is_none_or(|last| last.distance(at) >= DRAWN) {
            path.push(at);
        }
    }

    /// Whether everybody is there and heard, and somebody leads.
    pub(super) fn complete(&self, count: usize) -> bool {
        let placed = |agents: &SwarmAgents| {
            agents.agents.iter().filter(|peer| peer.health == 0 && peer.agent.pose.orientation.w != 0.0).count()
        };
        let leads = self.leader.as_ref().is_some_and(|leader| leader.mode == 0 && !leader.leader.is_empty());
        leads && self.places.len() == count && self.agents.as_ref().is_some_and(|agents| placed(agents) == count)
    }

    pub(super) fn place(&self, name: &str) -> Option<Point> {
        self.places.get(name).copied()
    }

    pub(super) fn path(&self, name: &str) -> &[Point] {
        self.paths.get(name).map_or(&[], Vec::as_slice)
    }

    /// Of all robots, metres.
    pub(super) fn way(&self) -> f64 {
        let of = |path: &Vec<Point>| path.iter().zip(path.iter().skip(1)).map(|(a, b)| a.distance(*b)).sum::<f64>();
        self.paths.values().map(of).sum()
    }

    pub(super) fn lost_at(&self, name: &str) -> Option<Point> {
        self.path(name).last().copied()
    }

    /// Agents and their slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = (String, Point)> + '_ {
        let pairs = self.slots.iter().flat_map(|slots| slots.agents.iter().zip(&slots.slots));
        pairs.map(|(name, slot)| (name.clone(), Point { x: slot.x, y: slot.y }))
    }

    /// The slot that a robot had last.
    pub(super) fn slot_before(&self, name: &str) -> Option<Point> {
        self.last_slots.get(name).copied()
    }

    /// Who is nearest to a place by its slot, other than `but`.
    pub(super) fn nearest(&self, to: Point, but: &str) -> Option<String> {
        let others = self.slots().filter(|(name, _)| name != but);
        others.min_by(|(_, a), (_, b)| a.distance(to).total_cmp(&b.distance(to))).map(|(name, _)| name)
    }

    /// How far the farthest robot is from its slot, or the centre from where it is sent; none unless as many have a slot.
    pub(super) fn farthest(&self, count: usize, around: Point) -> Option<f64> {
        let centre = &self.slots.as_ref()?.centre.position;
        let centre = Point { x: centre.x, y: centre.y }.distance(around);
        let off: Vec<f64> = self.slots().filter_map(|(name, slot)| Some(self.place(&name)?.distance(slot))).collect();
        (off.len() == count).then(|| off.into_iter().fold(centre, f64::max))
    }

    pub(super) fn task(&self, id: &str) -> Option<&SwarmTaskState> {
        self.tasks.as_ref()?.tasks.iter().find(|task| task.task.id == id)
    }

    /// Tasks by their state.
    pub(super) fn counts(&self) -> [u64; 7] {
        let counts = self.tasks.as_ref().map(|tasks| tasks.counts.clone()).unwrap_or_default();
        counts.first_chunk().copied().unwrap_or_default()
    }
}

/// The node, spinning in the background.
pub(super) struct Peer {
    heard: Arc<Mutex<Heard>>,
    clock: NodeClock,
    form: Client<SetFormation::Service>,
    submit: Client<SubmitTask::Service>,
    _spinning: Spinning,
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// Listens to robots, whose odometry begins at these places, and to the coordinator of `via`.
    pub(super) fn start(via: &str, starts: Vec<(String, Point)>) -> Result<Peer, DemoError> {
        let mut node = asking::node("ecps_demo_swarm", true)?;
        let heard = Arc::new(Mutex::new(Heard { least_distance: f64::INFINITY, ..Heard::default() }));
        for (name, start) in starts {
            let (topic, heard) = (format!("/{name}/odom"), Arc::clone(&heard));
            node.subscribe(&topic, qos::reliable(100), move |(), odometry: Odometry| {
                let at = &odometry.pose.pose.position;
                lock(&heard).place_at(&name, Point { x: start.x + at.x, y: start.y + at.y });
            })?;
        }
        let at = |name: &str| format!("/{via}/swarm_coordinator/{name}");
        let keep = Arc::clone(&heard);
        node.subscribe(&at("agents"), qos::latched(), move |(), agents| lock(&keep).agents = Some(agents))?;
        let keep = Arc::clone(&heard);
        node.subscribe(&at("leader"), qos::latched(), move |(), leader| lock(&keep).leader = Some(leader))?;
        let keep = Arc::clone(&heard);
        node.subscribe(&at("tasks"), qos::latched(), move |(), tasks| lock(&keep).tasks = Some(tasks))?;
        let keep = Arc::clone(&heard);
        node.subscribe(&at("slots"), qos::latched(), move |(), slots: SwarmSlots| {
            let mut heard = lock(&keep);
            heard.slots = Some(slots);
            let slots: Vec<_> = heard.slots().collect();
            heard.last_slots.extend(slots);
        })?;
        Ok(Peer {
            clock: node.clock(),
            form: node.client(&at("set_formation"))?,
            submit: node.client(&at("submit_task"))?,
            _spinning: node.spin_in_background(()),
            heard,
        })
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    fn caller(&self) -> ecps_ros::r2r::ecps_msgs::msg::Caller {
        asking::caller("ecps_demo_swarm", &self.clock)
    }

    /// Has the swarm take up a formation, with its centre going to `at`.
    pub(super) fn form(&self, formation: u8, scale: f64, separation: f64, at: Point) -> Result<(), DemoError> {
        let mut pose = Pose::default();
        (pose.position.x, pose.position.y) = (at.x, at.y);
        let caller = self.caller();
        let request = SetFormation::Request {
            caller,
            formation,
            scale,
            separation,
            path: vec![pose],
            ..SetFormation::Request::default()
        };
        let answer = self.form.call(&request, PATIENCE).map_err(|error| DemoError::Missing(error.to_string()))?;
        if answer.error_code == 0 { Ok(()) } else { Err(DemoError::Missing(answer.error_msg)) }
    }

    /// Gives the swarm a task to be done at a place, by `prefer` where it can.
    pub(super) fn submit(&self, id: &str, at: Point, prefer: &str) -> Result<(), DemoError> {
        let mut task =
            SwarmTask { id: id.to_owned(), kind: "navigate".to_owned(), has_location: true, ..SwarmTask::default() };
        task.preferred_agents = vec![prefer.to_owned()];
        (task.location.position.x, task.location.position.y, task.location.orientation.w) = (at.x, at.y, 1.0);
        let request = SubmitTask::Request { caller: self.caller(), task };
        let answer = self.submit.call(&request, PATIENCE).map_err(|error| DemoError::Missing(error.to_string()))?;
        if answer.error_code == 0 { Ok(()) } else { Err(DemoError::Missing(answer.error_msg)) }
    }
}
