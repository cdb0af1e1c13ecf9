//! The demo's own ROS node: what it hears, and whom it asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ecps_core::clock::{RosClock, Stamp, Steady, SteadyClock, SystemSteady};
use ecps_ros::r2r::WrappedTypesupport;
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, EapAction, LtpStats, MemoryStats};
pub(super) use ecps_ros::r2r::ecps_msgs::msg::{GateState, MemoryHit, MemoryRecord};
pub(super) use ecps_ros::r2r::ecps_msgs::srv::QueryMemory;
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, TwistStamped};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
pub(super) use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{
    ActionClient, Args, Client, GoalId, GoalOutcome, Node, NodeClock, Parameters, Publisher, Spinning, qos,
};
use nalgebra::{Isometry2, UnitQuaternion, Vector2};

use super::DemoError;
use crate::play::Player;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long memories may be under way.
const UNDER_WAY: Duration = Duration::from_secs(20);
/// Memories asked for at once: 0.2 MB.
const PAGE: u32 = 100;

/// A latency and when it was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Steady,
    pub(super) ms: f64,
}

impl Sample {
    fn between(from: Steady, at: Steady) -> Sample {
        Sample { at, ms: at.since(from).as_secs_f64() * 1e3 }
    }
}

/// What the demo has heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Odometry: stamp and pose.
    pub(super) path: Vec<(Stamp, Isometry2<f64>)>,
    /// Scans as published, with the moment they were heard; the newest 200.
    pub(super) scans: VecDeque<(Steady, LaserScan)>,
    /// Scans as restored by LTP.
    pub(super) restored: Vec<LaserScan>,
    /// Latency from the scan heard to the restored scan heard.
    pub(super) ltp: Vec<Sample>,
    pub(super) gate: Option<GateState>,
    pub(super) commands: Vec<(Steady, TwistStamped)>,
    pub(super) memory: Option<MemoryStats>,
    pub(super) bridge: Option<LtpStats>,
}

type Shared = Arc<(Mutex<Heard>, Condvar)>;

/// The demo's node, spinning in the background.
pub(super) struct Peer {
    heard: Shared,
    clock: NodeClock,
    commands: Publisher<TwistStamped>,
    execute: ActionClient<ExecuteAction::Action>,
    query: Client<QueryMemory::Service>,
    estop: Client<Trigger::Service>,
    enable: Client<EnableGate::Service>,
    reset: Client<ResetGate::Service>,
    supervisor_reset: Client<ResetGate::Service>,
    requests: AtomicU64,
    player: Option<Player>,
    _spinning: Spinning,
}

/// A scan as a bag holds it.
pub(super) fn scan_from_cdr(cdr: &[u8]) -> Result<LaserScan, String> {
    LaserScan::from_serialized_bytes(cdr).map_err(|e| e.to_string())
}

/// A pose in a message, on the floor.
pub(super) fn planar(pose: &ecps_ros::r2r::geometry_msgs::msg::Pose) -> Isometry2<f64> {
    let q = nalgebra::Quaternion::new(pose.orientation.w, pose.orientation.x, pose.orientation.y, pose.orientation.z);
    let (_, _, yaw) = UnitQuaternion::from_quaternion(q).euler_angles();
    Isometry2::new(Vector2::new(pose.position.x, pose.position.y), yaw)
}

impl Peer {
    /// Starts the node beside the stack in `namespace`; with a player for `bag` where there is one.
    pub(super) fn start(namespace: &str, use_sim_time: bool, bag: Option<&std::path::Path>) -> Result<Peer, DemoError> {
        let args = Args::parse(["--ros-args".to_owned(), "-p".to_owned(), format!("use_sim_time:={use_sim_time}")])
            .map_err(ecps_ros::StartError::from)?;
        let mut node = Node::<Shared>::start("ecps_demo", &args, |_: &mut Parameters| Ok(()))?;
        let heard = Shared::default();
        let at = |name: &str| format!("{namespace}/{name}");

        hear(&mut node, &at("odom"), |heard, odometry: Odometry| {
            heard.path.push((ecps_ros::stamp(&odometry.header.stamp), planar(&odometry.pose.pose)));
        })?;
        hear(&mut node, &at("scan"), |heard, scan| {
            if heard.scans.len() >= 200 {
                heard.scans.pop_front();
            }
            heard.scans.push_back((SystemSteady.now(), scan));
        })?;
        hear(&mut node, &at("ltp_bridge/scan/original"), |heard, scan: LaserScan| {
            let sent = heard.scans.iter().rev().find(|(_, sent)| sent.header.stamp == scan.header.stamp);
            if let Some((when, _)) = sent {
                heard.ltp.push(Sample::between(*when, SystemSteady.now()));
            }
            heard.restored.push(scan);
        })?;
        hear(&mut node, &at("cmd_vel"), |heard, command| heard.commands.push((SystemSteady.now(), command)))?;
        hear(&mut node, &at("mep_server/stats"), |heard, stats| heard.memory = Some(stats))?;
        hear(&mut node, &at("ltp_bridge/stats"), |heard, stats| heard.bridge = Some(stats))?;
        node.subscribe(&at("eap_executor/state"), qos::latched(), |shared: &mut Shared, state: GateState| {
            tell(shared, |heard| heard.gate = Some(state));
        })?;
        let player = bag.map(|bag| Player::new(&mut node, bag, namespace)).transpose()?;
        Ok(Peer {
            clock: node.clock(),
            commands: node.publisher(&at("cmd_vel_in"), qos::command())?,
            execute: node.action_client(&at("eap_executor/execute"))?,
            query: node.client(&at("mep_server/query"))?,
            estop: node.client(&at("eap_executor/estop"))?,
            enable: node.client(&at("eap_executor/enable"))?,
            reset: node.client(&at("eap_executor/reset"))?,
            supervisor_reset: node.client(&at("eap_supervisor/reset"))?,
            requests: AtomicU64::new(1),
            player,
            _spinning: node.spin_in_background(Arc::clone(&heard)),
            heard,
        })
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` finds something in what was heard.
    pub(super) fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut found: impl FnMut(&Heard) -> Option<T>,
    ) -> Result<T, DemoError> {
        let deadline = Instant::now() + limit;
        let mut heard = self.heard();
        loop {
            if let Some(thing) = found(&heard) {
                return Ok(thing);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(DemoError::Missing(format!("waited {limit:?} in vain for {what}")));
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The bag's player.
    pub(super) fn player(&self) -> Option<&Player> {
        self.player.as_ref()
    }

    /// Whether the executor listens to this node's commands.
    pub(super) fn commands_are_heard(&self) -> bool {
        self.commands.subscribers() > 0
    }

    fn caller(&self) -> Caller {
        Caller {
            id: "/ecps_demo".into(),
            sequence: self.requests.fetch_add(1, Ordering::Relaxed),
            stamp: ecps_ros::time(self.clock.now()),
            // As long as the answer is waited for.
            lifetime: ecps_ros::r2r::builtin_interfaces::msg::Duration { sec: PATIENCE.as_secs() as i32, nanosec: 0 },
            ..Caller::default()
        }
    }

    /// Publishes a velocity, stamped `age` ago.
    pub(super) fn command(&self, linear: f64, angular: f64, age: Duration) {
        let stamp = Stamp(self.clock.now().0 - i64::try_from(age.as_nanos()).unwrap_or(0));
        let mut command = TwistStamped { twist: Twist::default(), ..TwistStamped::default() };
        command.header.stamp = ecps_ros::time(stamp);
        command.twist.linear.x = linear;
        command.twist.angular.z = angular;
        self.commands.publish(&command);
    }

    /// Drives to `target`, in the odometry frame, through the guarded way.
    pub(super) fn drive(
        &self,
        frame: &str,
        target: &Isometry2<f64>,
        tolerance: f64,
    ) -> Result<(GoalOutcome, ExecuteAction::Result), DemoError> {
        let number = self.requests.load(Ordering::Relaxed);
        let mut action =
            EapAction { spec: "eap/0.1".into(), id: format!("demo-{number}"), kind: 14, ..EapAction::default() };
        let goal = &mut action.navigate.target_pose;
        goal.header.frame_id = frame.to_owned();
        goal.pose.position.x = target.translation.x;
        goal.pose.position.y = target.translation.y;
        goal.pose.orientation.z = (target.rotation.angle() / 2.0).sin();
        goal.pose.orientation.w = (target.rotation.angle() / 2.0).cos();
        action.navigate.max_velocity = 1.2;
        action.navigate.tolerance = tolerance as f32;
        let mut id = [0; 16];
        id.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        let id = GoalId(id);
        let failed = |e: ecps_ros::ActionError| DemoError::Missing(e.to_string());
        self.execute
            .send(id, ExecuteAction::Goal { caller: self.caller(), action }, PATIENCE, |_| {})
            .map_err(failed)?;
        self.execute.result(id, Duration::from_secs(60)).map_err(failed)
    }

    /// Asks the memory, and tells how long the answer took.
    pub(super) fn query(&self, mut request: QueryMemory::Request) -> Result<(Vec<MemoryHit>, Sample), DemoError> {
        request.caller = self.caller();
        let started = SystemSteady.now();
        let response = self.query.call(&request, PATIENCE).map_err(|e| DemoError::Missing(e.to_string()))?;
        let took = Sample::between(started, SystemSteady.now());
        if response.error_code != 0 {
            return Err(DemoError::Missing(format!("the memory refused a query: {}", response.error_msg)));
        }
        Ok((response.hits, took))
    }

    /// The memories kept, by time, and the number that the bridge published: as soon as the two agree, or after
    /// [`UNDER_WAY`]. This node listens to neither end of their way, so that the bridge waits for the memory alone.
    pub(super) fn memories(&self) -> Result<(Vec<MemoryRecord>, u64), DemoError> {
        let deadline = Instant::now() + UNDER_WAY;
        loop {
            let kept = self.kept()?;
            let told = self.heard().bridge.as_ref().map(|stats| stats.stamp.clone());
            // Told after the answer, so that a memory that was lost is in it.
            let published = self.wait_for("LTP's statistics", PATIENCE, |heard| {
                let stats = heard.bridge.as_ref().filter(|stats| Some(&stats.stamp) != told.as_ref())?;
                Some(stats.streams.iter().map(|stream| stream.memories).sum::<u64>())
            })?;
            if kept.len() as u64 == published || Instant::now() >= deadline {
                return Ok((kept, published));
            }
        }
    }

    /// All that the memory keeps, asked for page by page from the newest, in the order of time.
    fn kept(&self) -> Result<Vec<MemoryRecord>, DemoError> {
        let mut kept = BTreeMap::new();
        let mut not_after = ecps_ros::time(Stamp::default());
        loop {
            let known = kept.len();
            let request = QueryMemory::Request { k: PAGE, not_after, ..QueryMemory::Request::default() };
            let (hits, _) = self.query(request)?;
            let oldest = hits.last().map(|hit| hit.record.header.stamp.clone());
            for MemoryHit { record, .. } in hits {
                kept.insert((ecps_ros::stamp(&record.header.stamp), record.id.clone()), record);
            }
            match oldest {
                // The pages overlap, since several may be of one moment.
                Some(oldest) if kept.len() > known => not_after = oldest,
                _ => return Ok(kept.into_values().collect()),
            }
        }
    }

    /// Requests a protective stop.
    pub(super) fn stop(&self) -> Result<(), DemoError> {
        let response =
            self.estop.call(&Trigger::Request {}, PATIENCE).map_err(|e| DemoError::Missing(e.to_string()))?;
        if response.success { Ok(()) } else { Err(DemoError::Missing(response.message)) }
    }

    /// Leaves the stop: somebody enables, and then resets.
    pub(super) fn reset(&self) -> Result<(), DemoError> {
        let request = EnableGate::Request { caller: self.caller(), enable: true };
        let response = self.enable.call(&request, PATIENCE).map_err(|e| DemoError::Missing(e.to_string()))?;
        if response.error_code != 0 {
            return Err(DemoError::Missing(response.error_msg));
        }
        self.leave(&self.reset)
    }

    /// Leaves the supervisor's stop, once the executor runs again.
    pub(super) fn reset_supervisor(&self) -> Result<(), DemoError> {
        self.leave(&self.supervisor_reset)
    }

    fn leave(&self, stop: &Client<ResetGate::Service>) -> Result<(), DemoError> {
        let request = ResetGate::Request { caller: self.caller() };
        let response = stop.call(&request, PATIENCE).map_err(|e| DemoError::Missing(e.to_string()))?;
        if response.error_code == 0 { Ok(()) } else { Err(DemoError::Missing(response.error_msg)) }
    }
}

fn tell(shared: &Shared, note: impl FnOnce(&mut Heard)) {
    note(&mut shared.0.lock().unwrap_or_else(PoisonError::into_inner));
    shared.1.notify_all();
}

fn hear<T: ecps_ros::Message>(
    node: &mut Node<Shared>,
    topic: &str,
    mut note: impl FnMut(&mut Heard, T) + Send + 'static,
) -> Result<(), DemoError> {
    node.subscribe(topic, qos::reliable(100), move |shared: &mut Shared, message: T| {
        tell(shared, |heard| note(heard, message));
    })?;
    Ok(())
}
