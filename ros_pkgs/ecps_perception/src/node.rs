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
mod receiving;
mod sending;
mod statistics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::limits;
use ecps_ros::r2r::ecps_msgs::msg::{LtpStats, MemoryRecord};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::{
    BudgetEvents, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, Report, Spec, StartError, qos,
};

pub use self::convert::SensorRos;
pub use self::endpoint::{Received, TensorPublisher, subscribe_tensors};

use crate::chunks::MaxFrame;
use crate::compression::{Choice, Compression};
use crate::inbox::Inbox;
use crate::link::Mode;
use crate::node::link::{AckPublisher, Arrived, PacketPublisher};
use crate::node::receiving::{Encoder, Outputs, Receiver};
use crate::node::sending::{Inlet, Sender, Sending};
use crate::node::statistics::Statistics;
use crate::outbox::{Outbox, Settings};
use crate::poses::Poses;
use crate::reassembly::{Bounds, Pool};
use crate::sensor::Conversion;
use ecps_core::clock::RosClock;

/// Packets waiting for the thread that works on them; older ones make way and are counted.
const ARRIVALS: usize = 256;
/// Messages of the source that wait in DDS.
const SOURCE: usize = 64;

fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    parameters.declare(Spec::strings(
        "streams",
        &["scan"],
        "Names of the streams; each has parameters below its name.",
    ))?;
    parameters.declare(Spec::string("profile", "standard", "Timing budgets and limits.").choices(&[
        "edge-lite",
        "standard",
        "cloud-fleet",
    ]))?;
    parameters.declare(Spec::string("odom_topic", "odom", "Odometry that gives memories their pose; empty: none."))?;
    parameters.declare(Spec::string("observe_topic", "mep_server/observe", "Where memories are published."))?;
    // Declared here for the default stream, so that the printed configuration shows them.
    for name in parameters.strings("streams")? {
        declare_stream(parameters, &name)?;
    }
    Ok(())
}

fn declare_stream(parameters: &mut Parameters, name: &str) -> Result<(), ParameterError> {
    let key = |field: &str| format!("{name}.{field}");
    for spec in [
        Spec::string(
            key("topic"),
            name,
            "Topic that the sending end takes messages from; empty: this end only receives.",
        ),
        Spec::string(
            key("type"),
            "sensor_msgs/msg/LaserScan",
            "Type of the messages, of any package that was compiled in; those without a tensor of their own travel as bytes.",
        ),
        Spec::string(
            key("reliability"),
            "best_effort",
            "How the topic is subscribed: best_effort to any publisher, which may lose what is larger than 0.5 MB; reliable to reliable publishers alone.",
        )
        .choices(&["best_effort", "reliable"]),
        Spec::string(
            key("link"),
            "",
            "Name below which the other bridge publishes frames and chunks; empty: this bridge's own.",
        ),
        Spec::string(
            key("compression"),
            "zstd:3",
            "none, zstd:1 to zstd:22, lz4, either of the two with +shuffle, or auto: what measures best for link_rate. Compressed images are passed through.",
        ),
        Spec::integer(key("max_frame_bytes"), 65536, "Largest message on the link; larger tensors travel as chunks.")
            .unit("bytes")
            .range(2048.0, 1_048_576.0),
        Spec::string(
            key("mode"),
            "best_effort",
            "best_effort: the newest tensor wins. reliable: all arrive at the peer and in order, or are given up after the timeout.",
        )
        .choices(&["best_effort", "reliable"]),
        Spec::string(
            key("peer"),
            "",
            "Full name of the bridge that is to receive, as in /base/ltp_bridge; empty: all who listen, which only best_effort can.",
        ),
        Spec::double(key("link_rate"), 0.0, "What the link takes, by which packets are spread out; 0: as many as come.")
            .unit("bytes/s")
            .range(0.0, 1e12),
        Spec::integer(
            key("key_every"),
            1,
            "One tensor in so many goes whole, those between as their difference to it: for what changes slowly. 1: all whole.",
        )
        .range(1.0, 10_000.0),
        Spec::string(
            key("encoder"),
            if name == "scan" { "place" } else { "none" },
            "Descriptor that turns tensors into memories: place (from scans), appearance (from images).",
        )
        .choices(&["none", "place", "appearance"]),
        Spec::double(key("remember_distance"), 0.5, "Way between two memories; 0 remembers every tensor.")
            .unit("m")
            .range(0.0, 1000.0),
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

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
    arrivals: TelemetryLane<Arrived>,
    inlet: Option<Inlet>,
    /// Kept for their threads.
    _sending: Option<Sending>,
    _receiver: Receiver,
}

impl Managed for Bridge {
    const NAME: &'static str = "ltp_bridge";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        declare(parameters)
    }

    fn configure(node: &mut Node<Bridge>) -> Result<Bridge, StartError> {
        configure(node)
    }
}

fn configure(node: &mut Node<Bridge>) -> Result<Bridge, StartError> {
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

/// What the parameters say of how a stream is sent.
fn settings(node: &Node<Bridge>, name: &str, profile: Profile, is_compressed: bool) -> Result<Settings, StartError> {
    let key = |field: &str| format!("{name}.{field}");
    let parameters = node.parameters();
    let max = parameters.integer(&key("max_frame_bytes"))?;
    let largest = profile.max_message_bytes().min(limits::LTP_FRAME_BYTES);
    if max > largest as i64 {
        return Err(StartError::layer(format!(
            "parameter '{name}.max_frame_bytes' is {max}, more than the {largest} bytes of profile {profile}"
        )));
    }
    let compression = parameters.string(&key("compression"))?;
    let compression: Choice =
        compression.parse().map_err(|error| StartError::layer(format!("parameter '{name}.compression': {error}")))?;
    let budget = MessageKind::Ltp.budget(profile);
    let peer = parameters.string(&key("peer"))?;
    let mode = match parameters.string(&key("mode"))?.as_str() {
        "reliable" if peer.is_empty() => {
            return Err(StartError::layer(format!(
                "parameter '{name}.peer' is empty, and a reliable stream needs the name of who is to receive it"
            )));
        }
        "reliable" => Mode::Reliable,
        _ => Mode::BestEffort { retries: budget.retries },
    };
    let (rate, key_every) = (parameters.double(&key("link_rate"))?, parameters.integer(&key("key_every"))?);
    Ok(Settings {
        sender: endpoint::sender_mark(node.fully_qualified_name()),
        peer,
        mode,
        compression: if is_compressed { Choice::Fixed(Compression::NONE) } else { compression },
        max: MaxFrame::new(max).map_err(StartError::layer)?,
        bytes_per_second: (rate > 0.0).then_some(rate),
        key_every: u32::try_from(key_every).ok().filter(|every| *every > 1),
        timeout: budget.timeout,
        ..Settings::default()
    })
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
    let settings = settings(node, name, profile, conversion.is_compressed())?;
    let meter = budgets.meter(node, MessageKind::Ltp);
    let statistics = Arc::new(Mutex::new(Statistics::new(name, &type_name, settings.mode, meter)));
    let own = format!("~/{name}");

    let sending = if topic.is_empty() {
        None
    } else {
        let sender = Sender {
            name: name.to_owned(),
            conversion: conversion.clone(),
            outbox: Outbox::new(settings),
            packets: PacketPublisher::new(node, &own)?,
            statistics: Arc::clone(&statistics),
            clock: node.clock(),
        };
        let sending = sender.start()?;
        let qos = match reliability.as_str() {
            "reliable" => qos::reliable(SOURCE),
            _ => qos::any_sensor(SOURCE),
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
        tensor: node.cdr_publisher(&format!("{own}/tensor"), "ecps_msgs/msg/Tensor", qos::reliable(SOURCE))?,
        original: node.cdr_publisher(&format!("{own}/original"), &type_name, qos::reliable(SOURCE))?,
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
    link::hear_packets(node, &link, move |_: &mut Bridge, packet| arrived.offer(packet))?;
    let waiting = arrivals.clone();
    node.note_queue(&format!("{link}/frames"), move || waiting.depth());
    let inlet = sending.as_ref().map(|sending| sending.inlet.clone());
    Ok(Stream { statistics, arrivals, inlet, _sending: sending, _receiver: receiver })
}
