//! The bridge's parameters, and what they say of how a stream is sent.

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::limits;
use ecps_ros::{Node, ParameterError, Parameters, Spec, StartError};

use super::Bridge;
use crate::chunks::MaxFrame;
use crate::compression::{Choice, Compression};
use crate::link::Mode;
use crate::outbox::Settings;

pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    const STREAMS: &str = "Names of the streams; each has parameters below its name.";
    parameters.declare(Spec::strings("streams", &["scan"], STREAMS))?;
    let text = Spec::string;
    let profiles = ["edge-lite", "standard", "cloud-fleet"];
    parameters.declare(text("profile", "standard", "Timing budgets and limits.").choices(&profiles))?;
    parameters.declare(text("odom_topic", "odom", "Odometry that gives memories their pose; empty: none."))?;
    parameters.declare(text("observe_topic", "mep_server/observe", "Where memories are published."))?;
    // Declared here for the default stream, so that the printed configuration shows them.
    for name in parameters.strings("streams")? {
        stream(&name).into_iter().try_for_each(|spec| parameters.declare(spec))?;
    }
    Ok(())
}

/// What each stream has.
fn stream(name: &str) -> [Spec; 12] {
    let text = |field: &str, default: &str, about: &str| Spec::string(format!("{name}.{field}"), default, about);
    let whole = |field: &str, default: i64, about: &str| Spec::integer(format!("{name}.{field}"), default, about);
    let real = |field: &str, default: f64, about: &str| Spec::double(format!("{name}.{field}"), default, about);
    let modes = ["best_effort", "reliable"];
    [
        text("topic", name, "Topic that the sending end takes messages from; empty: this end only receives."),
        text(
            "type",
            "sensor_msgs/msg/LaserScan",
            "Type of the messages, of any package that was compiled in; those without a tensor of their own travel as bytes.",
        ),
        text(
            "reliability",
            "best_effort",
            "How the topic is subscribed: best_effort to any publisher, which may lose what is larger than 0.5 MB; reliable to reliable publishers alone.",
        )
        .choices(&modes),
        text("link", "", "Name below which the other bridge publishes frames and chunks; empty: this bridge's own."),
        text(
            "compression",
            "zstd:3",
            "none, zstd:1 to zstd:22, lz4, either of the two with +shuffle, or auto: what measures best for link_rate. Compressed images are passed through.",
        ),
        whole("max_frame_bytes", 65536, "Largest message on the link; larger tensors travel as chunks.")
            .unit("bytes")
            .range(2048.0, 1_048_576.0),
        text(
            "mode",
            "best_effort",
            "best_effort: the newest tensor wins. reliable: all arrive at the peer and in order, or are given up after the timeout.",
        )
        .choices(&modes),
        text(
            "peer",
            "",
            "Full name of the bridge that is to receive, as in /base/ltp_bridge; empty: all who listen, which only best_effort can.",
        ),
        real("link_rate", 0.0, "What the link takes, by which packets are spread out; 0: as many as come.")
            .unit("bytes/s")
            .range(0.0, 1e12),
        whole(
            "key_every",
            1,
            "One tensor in so many goes whole, those between as their difference to it: for what changes slowly. 1: all whole.",
        )
        .range(1.0, 10_000.0),
        text(
            "encoder",
            if name == "scan" { "place" } else { "none" },
            "Descriptor that turns tensors into memories: place (from scans), appearance (from images).",
        )
        .choices(&["none", "place", "appearance"]),
        real("remember_distance", 0.5, "Way between two memories; 0 remembers every tensor.").unit("m").range(0.0, 1000.0),
    ]
}

/// What the parameters say of how a stream is sent.
pub(super) fn settings(
    node: &Node<Bridge>,
    name: &str,
    profile: Profile,
    is_compressed: bool,
) -> Result<Settings, StartError> {
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
        sender: super::endpoint::sender_mark(node.fully_qualified_name()),
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
