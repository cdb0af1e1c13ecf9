//! The LTP bridge as a ROS node: parameters and wiring.
//!
//! Each stream of the `streams` parameter has two ends. The sending end takes sensor messages from `<stream>.topic` and
//! publishes `~/<stream>/frames` and `~/<stream>/chunks`. The receiving end listens to the link named by
//! `<stream>.link` (its own by default), and publishes what arrived whole and verified as `~/<stream>/tensor`, as the
//! original type on `~/<stream>/original`, and, where an encoder is set, as a memory to `observe_topic`.

mod convert;
mod receiving;
mod sending;
mod statistics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::bus::{Overflow, TelemetryLane};
use ecps_core::clock::RosClock;
use ecps_ros::r2r::ecps_msgs::msg::{LtpAck, LtpChunk, LtpFrame, LtpStats, MemoryRecord, Tensor};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::{sensor_msgs, std_msgs};
use ecps_ros::{
    BudgetEvents, Managed, Message, Node, NodeClock, ParameterError, Parameters, Publisher, Queue, Spec, StartError,
    qos,
};

pub use self::convert::SensorRos;

use crate::chunks::MaxFrame;
use crate::codec::Level;
use crate::node::receiving::{Arrived, Encoder, Outputs, Receiver};
use crate::node::sending::{Sender, Sending};
use crate::node::statistics::Statistics;
use crate::poses::Poses;
use crate::reassembly::{Bounds, Reassembler, Source};

/// Messages waiting for the thread that works on them; older ones make way and are counted.
const QUEUE: usize = 64;
/// Sensor messages waiting to be sent.
const WAITING: usize = 16;

const TYPES: [&str; 4] = [
    "sensor_msgs/msg/LaserScan",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/PointCloud2",
    "std_msgs/msg/Float32MultiArray",
];

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
        Spec::string(key("type"), "sensor_msgs/msg/LaserScan", "Type of the messages.").choices(&TYPES),
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
        Spec::integer(key("compression_level"), 3, "zstd level.").range(1.0, 22.0),
        Spec::integer(key("max_frame_bytes"), 65536, "Largest message on the link; larger tensors travel as chunks.")
            .unit("bytes")
            .range(2048.0, 1_048_576.0),
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
    for (index, name) in names.iter().enumerate() {
        let statistics = Arc::new(Mutex::new(Statistics::new(name, budgets.meter(node, MessageKind::Ltp))));
        let context =
            Context { index, name, statistics, observations: observations.clone(), poses: Arc::clone(&poses), profile };
        let parameters = node.parameters();
        let stream = match parameters.string(&format!("{name}.type"))?.as_str() {
            "sensor_msgs/msg/LaserScan" => start_stream::<sensor_msgs::msg::LaserScan>(node, context),
            "sensor_msgs/msg/Image" => start_stream::<sensor_msgs::msg::Image>(node, context),
            "sensor_msgs/msg/PointCloud2" => start_stream::<sensor_msgs::msg::PointCloud2>(node, context),
            _ => start_stream::<std_msgs::msg::Float32MultiArray>(node, context),
        }?;
        streams.push(stream);
    }
    node.steady_timer(Duration::from_millis(100), |bridge: &mut Bridge| {
        // Wakes the receiving threads, so that partial tensors are given up in time.
        bridge.streams.iter().for_each(|stream| stream.arrivals.offer(Arrived::Tick));
    });
    node.steady_timer(Duration::from_secs(1), |bridge: &mut Bridge| {
        let message = |stream: &Stream| {
            let statistics = stream.statistics.lock().unwrap_or_else(PoisonError::into_inner);
            statistics.message(stream.arrivals.counters().dropped)
        };
        let streams = bridge.streams.iter().map(message).collect();
        bridge.stats.publish(&LtpStats { stamp: ecps_ros::time(bridge.clock.now()), streams });
    });
    Ok(Bridge { streams, poses, stats: node.publisher("~/stats", qos::default())?, clock: node.clock() })
}

struct Context<'a> {
    index: usize,
    name: &'a str,
    statistics: Arc<Mutex<Statistics>>,
    observations: Publisher<MemoryRecord>,
    poses: Arc<Mutex<Poses>>,
    profile: Profile,
}

fn start_stream<M: SensorRos + Message>(node: &mut Node<Bridge>, context: Context<'_>) -> Result<Stream, StartError> {
    let Context { index, name, statistics, observations, poses, profile } = context;
    let key = |field: &str| format!("{name}.{field}");
    let parameters = node.parameters();
    let topic = parameters.string(&key("topic"))?;
    let reliability = parameters.string(&key("reliability"))?;
    let link = parameters.string(&key("link"))?;
    let level = Level::new(parameters.integer(&key("compression_level"))?).map_err(StartError::layer)?;
    let max = parameters.integer(&key("max_frame_bytes"))?;
    let largest = profile.max_message_bytes().min(ecps_core::limits::LTP_FRAME_BYTES);
    if max > largest as i64 {
        return Err(StartError::layer(format!(
            "parameter '{name}.max_frame_bytes' is {max}, more than the {largest} bytes of profile {profile}"
        )));
    }
    let max = MaxFrame::new(max).map_err(StartError::layer)?;
    let encoder = Encoder::parse(&parameters.string(&key("encoder"))?, M::TYPE).map_err(StartError::layer)?;
    let remember_distance = parameters.double(&key("remember_distance"))?;

    let sending = if !topic.is_empty() {
        let sender = Sender {
            name: name.to_owned(),
            level,
            max,
            frames: node.publisher::<LtpFrame>(&format!("~/{name}/frames"), qos::reliable(QUEUE))?,
            chunks: node.publisher::<LtpChunk>(&format!("~/{name}/chunks"), qos::reliable(1024))?,
            statistics: Arc::clone(&statistics),
        };
        let qos = match reliability.as_str() {
            "reliable" => qos::reliable(QUEUE),
            _ => qos::any_sensor(QUEUE),
        };
        // A fresher reading is worth more than an old one.
        Some(sender.start::<M>(node.subscription(&topic, qos).queue(Queue::DropOldest(WAITING))?)?)
    } else {
        None
    };

    let own_link = link.is_empty();
    let link = if own_link { format!("~/{name}") } else { link };
    let source = Source { sender: link.clone(), stream: name.to_owned() };
    let outputs = Outputs::<M> {
        tensor: node.publisher::<Tensor>(&format!("~/{name}/tensor"), qos::reliable(QUEUE))?,
        original: node.publisher::<M>(&format!("~/{name}/original"), qos::reliable(QUEUE))?,
        acks: node.publisher::<LtpAck>(&format!("~/{name}/acks"), qos::default())?,
        observations,
    };
    let arrivals = TelemetryLane::new(1024, Overflow::DropOldest);
    let receiver = Receiver::start(
        receiving::Work {
            source,
            reassembler: Reassembler::new(Bounds {
                timeout: MessageKind::Ltp.budget(profile).timeout,
                ..Bounds::default()
            }),
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
        },
        arrivals.clone(),
    )?;
    node.subscribe(&format!("{link}/frames"), qos::reliable(QUEUE), move |bridge: &mut Bridge, frame: LtpFrame| {
        bridge.arrived(index, Arrived::Frame(Box::new(frame)));
    })?;
    node.subscribe(&format!("{link}/chunks"), qos::reliable(1024), move |bridge: &mut Bridge, chunk: LtpChunk| {
        bridge.arrived(index, Arrived::Chunk(Box::new(chunk)));
    })?;
    let waiting = arrivals.clone();
    node.note_queue(&format!("{link}/frames"), move || waiting.depth());
    Ok(Stream { statistics, arrivals, _sending: sending, _receiver: receiver })
}

impl Bridge {
    fn arrived(&self, stream: usize, arrived: Arrived) {
        if let Some(stream) = self.streams.get(stream) {
            stream.arrivals.offer(arrived);
        }
    }
}
