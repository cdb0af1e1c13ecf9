//! The LTP bridge as a ROS node: parameters and wiring.
//!
//! Each stream of the `streams` parameter has two ends. The sending end takes messages from `<stream>.topic` and publishes
//! `~/<stream>/frames` and `~/<stream>/chunks`. The receiving end listens to the link named by `<stream>.link` (its own by
//! default), answers on its `acks`, and publishes what arrived whole and verified as `~/<stream>/tensor`, as the original
//! type on `~/<stream>/original`, and, where an encoder is set, as a memory to `observe_topic`.
//!
//! All of this moves messages as they lie in DDS; see [`crate::cdr`].

mod convert;
mod endpoint;
mod link;
mod parameters;
mod receiving;
mod sending;
mod statistics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::clock::RosClock;
use ecps_ros::r2r::ecps_msgs::msg::{LtpStats, MemoryRecord};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::shared_memory::{self, Released};
use ecps_ros::{
    BudgetEvents, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, Report, StartError, qos,
};

pub use self::convert::SensorRos;
pub use self::endpoint::{Received, TensorPublisher, subscribe_tensors};

use crate::inbox::Inbox;
use crate::link::Mode;
use crate::node::link::{AckPublisher, Arrived, PacketPublisher};
use crate::node::receiving::{Encoder, Outputs, Receiver};
use crate::node::sending::{Inlet, Sender, Sending};
use crate::node::statistics::Statistics;
use crate::outbox::Outbox;
use crate::poses::Poses;
use crate::reassembly::{Bounds, Pool};
use crate::sensor::Conversion;

/// Packets waiting for the thread that works on them; older ones make way and are counted.
const ARRIVALS: usize = 256;
/// Messages of the source, and of what came out, that wait in DDS.
const SOURCE: usize = 64;
/// The same of pictures and their like where the newest wins anyway: what DDS has once taken for them it keeps.
const BULK: usize = 8;
/// Messages that wait for the sending thread.
const WAITING: usize = 16;

/// The node's state: its threads end when it is dropped.
#[derive(Debug)]
pub struct Bridge {
    streams: Vec<Stream>,
    poses: Arc<Mutex<Poses>>,
    stats: Publisher<LtpStats>,
    clock: NodeClock,
}

#[derive(Debug)]
struct Stream {
    statistics: Arc<Mutex<Statistics>>,
    arrivals: TelemetryLane<Arrived<'static>>,
    inlet: Option<Inlet>,
    /// Kept for their threads.
    _sending: Option<Sending>,
    _receiver: Receiver,
}

impl Managed for Bridge {
    const NAME: &'static str = "ltp_bridge";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Bridge>) -> Result<Bridge, StartError> {
        configure(node)
    }
}

fn configure(node: &mut Node<Bridge>) -> Result<Bridge, StartError> {
    give_back_shared_memory();
    let parameters = node.parameters();
    let profile: Profile = parameters.string("profile")?.parse().map_err(StartError::layer)?;
    let (names, odom) = (parameters.strings("streams")?, parameters.string("odom_topic")?);
    let observations =
        node.publisher::<MemoryRecord>(&node.parameters().string("observe_topic")?, qos::reliable(100))?;
    let budgets = BudgetEvents::new(node, profile)?;
    let poses = Arc::new(Mutex::new(Poses::default()));
    if !odom.is_empty() {
        node.subscribe(&odom, qos::any_sensor(50), |bridge: &mut Bridge, odometry: Odometry| {
            bridge.poses.lock().unwrap_or_else(PoisonError::into_inner).push(convert::pose(&odometry));
        })?;
    }

    let mut streams = Vec::new();
    let pool = Pool::new(Bounds::default().total_bytes);
    for (index, name) in names.iter().enumerate() {
        let (observations, poses, pool) = (observations.clone(), Arc::clone(&poses), pool.clone());
        let context = Context { index, name, budgets: &budgets, observations, poses, profile, pool };
        streams.push(start_stream(node, context)?);
    }
    node.steady_timer(Duration::from_secs(1), |bridge: &mut Bridge| {
        let message = |stream: &Stream| stream.statistics().message(stream.arrivals.counters().dropped);
        let streams = bridge.streams.iter().map(message).collect();
        bridge.stats.publish(&LtpStats { stamp: ecps_ros::time(bridge.clock.now()), streams });
    });
    node.diagnose("streams", |bridge: &Bridge, report: &mut Report| {
        bridge.streams.iter().for_each(|stream| stream.statistics().report(report));
    });
    Ok(Bridge { streams, poses, stats: node.publisher("~/stats", qos::default())?, clock: node.clock() })
}

/// With the fast lane's profile each killed bridge leaves 64 MiB behind.
fn give_back_shared_memory() {
    let Released { segments, bytes } = shared_memory::release_orphans();
    if segments > 0 {
        tracing::info!(
            "{segments} segments of shared memory removed, whose processes were killed: {} MiB",
            bytes >> 20
        );
    }
}

impl Stream {
    fn statistics(&self) -> std::sync::MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Context<'a> {
    index: usize,
    name: &'a str,
    budgets: &'a BudgetEvents,
    observations: Publisher<MemoryRecord>,
    poses: Arc<Mutex<Poses>>,
    profile: Profile,
    pool: Pool,
}

fn start_stream(node: &mut Node<Bridge>, context: Context<'_>) -> Result<Stream, StartError> {
    let Context { index, name, budgets, observations, poses, profile, pool } = context;
    let key = |field: &str| format!("{name}.{field}");
    let parameters = node.parameters();
    let conversion = Conversion::of(&parameters.string(&key("type"))?);
    let type_name = conversion.type_name().to_owned();
    let (topic, link) = (parameters.string(&key("topic"))?, parameters.string(&key("link"))?);
    let reliability = parameters.string(&key("reliability"))?;
    let encoder = Encoder::parse(&parameters.string(&key("encoder"))?, &type_name).map_err(StartError::layer)?;
    let remember_distance = parameters.double(&key("remember_distance"))?;
    let settings = parameters::settings(node, name, profile, conversion.is_compressed())?;
    // An end that only receives does not know how much its sender insists.
    let newest_wins = settings.mode != Mode::Reliable && !topic.is_empty();
    let depth = if conversion.is_bulk() && newest_wins { BULK } else { SOURCE };
    let meter = budgets.meter(node, MessageKind::Ltp);
    let statistics = Arc::new(Mutex::new(Statistics::new(name, &type_name, settings.mode, meter)));
    let own = format!("~/{name}");

    let sending = if topic.is_empty() {
        None
    } else {
        let sender = Sender {
            name: name.to_owned(),
            conversion: conversion.clone(),
            packets: PacketPublisher::new(node, &own, settings.max)?,
            outbox: Outbox::new(settings),
            statistics: Arc::clone(&statistics),
            clock: node.clock(),
            waiting: depth.min(WAITING),
        };
        let sending = sender.start()?;
        let qos = match reliability.as_str() {
            "reliable" => qos::reliable(depth),
            _ => qos::any_sensor(depth),
        };
        let inlet = sending.inlet.clone();
        node.subscribe_cdr(&topic, &type_name, qos, move |_, cdr| inlet.message(cdr))?;
        link::hear_acks(node, &own, move |bridge: &mut Bridge, cdr| {
            if let Some(inlet) = bridge.streams.get(index).and_then(|stream| stream.inlet.as_ref()) {
                inlet.ack(cdr);
            }
        })?;
        Some(sending)
    };

    let own_link = link.is_empty();
    let link = if own_link { own.clone() } else { link };
    let outputs = Outputs {
        tensor: node.cdr_publisher(&format!("{own}/tensor"), "ecps_msgs/msg/Tensor", qos::reliable(depth))?,
        original: node.cdr_publisher(&format!("{own}/original"), &type_name, qos::reliable(depth))?,
        acks: AckPublisher::new(node, &link)?,
        observations,
    };
    let bounds = Bounds { timeout: MessageKind::Ltp.budget(profile).timeout, ..Bounds::default() };
    let arrivals = TelemetryLane::new(ARRIVALS, Overflow::DropOldest);
    let receiver = Receiver::start(
        receiving::Work {
            inbox: Inbox::new(name, node.fully_qualified_name(), bounds, pool),
            link: link.clone(),
            conversion,
            outputs,
            encoder,
            remember_distance,
            remembered_at: None,
            poses,
            statistics: Arc::clone(&statistics),
            robot: node.namespace().to_owned(),
            topic,
            own_link,
            clock: node.clock(),
            memory: Vec::new(),
        },
        arrivals.clone(),
    )?;
    let arrived = arrivals.clone();
    link::hear_packets(node, &link, move |_: &mut Bridge, packet| arrived.offer(packet.into_owned()))?;
    let waiting = arrivals.clone();
    node.note_queue(&format!("{link}/frames"), move || waiting.depth());
    let inlet = sending.as_ref().map(|sending| sending.inlet.clone());
    Ok(Stream { statistics, arrivals, inlet, _sending: sending, _receiver: receiver })
}
