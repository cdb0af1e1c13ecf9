//! The executor's parameters, and the configuration they make.

use ecps_core::budget::SAFETY_TIMEOUT;
use ecps_journal::{Compression, Options, PayloadKey};
use ecps_ros::{ParameterError, Parameters, Spec, StartError, realtime};

use super::{errands, joints};
use crate::Config;
use crate::drive::DriveConfig;
use crate::gate::{ACTION_SOURCE, Base, GateConfig, StateNeed};
use crate::motion::Limits;
use crate::obstacle::ObstacleConfig;
use crate::source::Source;
use crate::zone::{Rule, Zone};

/// The node's parameters.
pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    let timeout = |name: &str, description: &str| {
        Spec::double(name, 0.5, description).unit("s").range(0.01, SAFETY_TIMEOUT.as_secs_f64())
    };
    for spec in [
        Spec::string("profile", "standard", "Timing budgets and limits.").choices(&[
            "edge-lite",
            "standard",
            "cloud-fleet",
        ]),
        Spec::string("robot", "", "Name of the robot in the journal; empty: the namespace, or else the host's name."),
        Spec::string("journal", "", "Folder of the journal; empty: $HOME/.ros/ecps/journal/<robot>."),
        Spec::string(
            "journal_key",
            "",
            "Key that signs the journal; empty: <journal>.key. Made with mode 0600 where it is missing.",
        ),
        Spec::double("journal_retain", 0.0, "Size of the journal above which its oldest segments go; 0: all is kept.")
            .unit("MiB")
            .range(0.0, 1e7),
        Spec::string("journal_compression", "none", "Compression of segments that are full or of an earlier run.")
            .choices(&["none", "zstd"]),
        Spec::string(
            "journal_payload_key",
            "",
            "Key that encrypts what records hold, a file of mode 0600 as `eaplog keys` makes it; empty: none.",
        ),
        Spec::string("odom_frame", "odom", "Frame of odometry, targets and workspace."),
        Spec::bool(
            "enable_stamped_cmd_vel",
            false,
            "Whether cmd_vel_in and cmd_vel are TwistStamped instead of Twist.",
        ),
        Spec::string("base", "differential", "What the base can do.").choices(&["differential", "omnidirectional"]),
        Spec::double("max_linear_speed", 0.8, "Highest speed.").unit("m/s").range(0.01, 10.0),
        Spec::double("max_linear_acceleration", 1.5, "Greatest change of speed.").unit("m/s^2").range(0.01, 100.0),
        Spec::double("max_linear_jerk", 30.0, "How fast speeding up may set in; braking is never delayed.")
            .unit("m/s^3")
            .range(0.01, 10_000.0),
        Spec::double("max_angular_speed", 1.5, "Highest turning speed.").unit("rad/s").range(0.01, 20.0),
        Spec::double("max_angular_acceleration", 4.0, "Greatest change of turning speed.")
            .unit("rad/s^2")
            .range(0.01, 1000.0),
        Spec::double("max_angular_jerk", 80.0, "How fast turning up may set in.").unit("rad/s^3").range(0.01, 10_000.0),
        Spec::double(
            "refuse_above",
            2.0,
            "A speed above this many times the highest is refused; up to it, it is limited.",
        )
        .range(1.0, 100.0),
        Spec::strings(
            "sources",
            &["cmd_vel_in"],
            "Topics of velocity commands, each with <topic>.priority and <topic>.timeout.",
        ),
        Spec::integer("action_priority", 20, "Priority of actions among the sources.").range(0.0, 255.0),
        timeout("command_lifetime", "Age of a stamped command after which it is refused."),
        Spec::bool("require_odometry", true, "Whether nothing moves without fresh odometry."),
        timeout("odometry_timeout", "Silence of odometry after which it is stale."),
        Spec::bool(
            "require_scan",
            true,
            "Whether nothing moves without a fresh scan, nor further than the scan shows room.",
        ),
        timeout("scan_timeout", "Silence of the scan after which it is stale."),
        Spec::double("robot_radius", 0.25, "Radius of the disc that holds the robot.").unit("m").range(0.01, 10.0),
        Spec::double("obstacle_margin", 0.05, "Way that stays between the disc and an obstacle.")
            .unit("m")
            .range(0.0, 10.0),
        Spec::double("blind_speed", 0.0, "Highest speed in directions that the scan does not cover.")
            .unit("m/s")
            .range(0.0, 10.0),
        Spec::double("reaction_time", 0.1, "Time to the brakes that zones and obstacles reckon with.")
            .unit("s")
            .range(0.0, 1.0),
        Spec::doubles(
            "workspace",
            &[],
            "Corners x1, y1, x2, y2, ... of the polygon that the robot's centre stays in; empty: none.",
        )
        .unit("m")
        .range(-1e5, 1e5),
        Spec::strings(
            "keep_out",
            &[],
            "Names of zones that the robot's centre stays out of, each with <name>.corners.",
        ),
        Spec::strings(
            "stop_topics",
            &["stop_request"],
            "Topics of std_msgs/Bool that stop the robot while they say true, each with <topic>.timeout.",
        ),
        Spec::strings("stop_on_diagnostics", &[], "Beginnings of names in /diagnostics whose errors stop the robot."),
        Spec::bool("require_supervisor", false, "Whether nothing moves unless eap_supervisor watches."),
        Spec::double(
            "heartbeat_timeout",
            0.1,
            "Pause of this process, or of the supervisor, after which the robot is stopped.",
        )
        .unit("s")
        .range(0.05, SAFETY_TIMEOUT.as_secs_f64()),
        Spec::integer("queue_capacity", 64, "Most actions that wait for their turn.").range(1.0, 10_000.0),
        Spec::double(
            "goal_tolerance",
            0.05,
            "Way to the target that counts as arrived, where the action does not say.",
        )
        .unit("m")
        .range(0.005, 10.0),
        Spec::double("heading_tolerance", 0.05, "Angle to the target's heading that counts as arrived.")
            .unit("rad")
            .range(0.005, 3.2),
        Spec::double("progress_timeout", 10.0, "Time without progress after which an action fails.")
            .unit("s")
            .range(0.1, 3600.0),
        Spec::double("control_period", 0.02, "Period of the control loop.").unit("s").range(0.005, 0.1),
        realtime::spec(),
    ] {
        parameters.declare(spec)?;
    }
    joints::declare(parameters)?;
    errands::declare(parameters)?;
    ecps_guard::declare(parameters)?;
    for source in parameters.strings("sources")? {
        let sentence = "The source with the highest is heard.";
        parameters.declare(Spec::integer(format!("{source}.priority"), 10, sentence).range(0.0, 255.0))?;
        parameters.declare(timeout(&format!("{source}.timeout"), "Silence after which the robot is stopped."))?;
    }
    for topic in parameters.strings("stop_topics")? {
        let sentence =
            "Silence after which the robot is stopped, which is not armed before the first message; 0: none.";
        let most = SAFETY_TIMEOUT.as_secs_f64();
        parameters.declare(Spec::double(format!("{topic}.timeout"), 0.0, sentence).unit("s").range(0.0, most))?;
    }
    for zone in parameters.strings("keep_out")? {
        let sentence = "Corners x1, y1, x2, y2, ... of the polygon.";
        parameters.declare(Spec::doubles(format!("{zone}.corners"), &[], sentence).unit("m").range(-1e5, 1e5))?;
    }
    Ok(())
}

/// What the parameters say.
pub(super) fn config(parameters: &Parameters) -> Result<Config, StartError> {
    let limits = Limits {
        max_linear_speed: parameters.double("max_linear_speed")?,
        max_linear_acceleration: parameters.double("max_linear_acceleration")?,
        max_linear_jerk: parameters.double("max_linear_jerk")?,
        max_angular_speed: parameters.double("max_angular_speed")?,
        max_angular_acceleration: parameters.double("max_angular_acceleration")?,
        max_angular_jerk: parameters.double("max_angular_jerk")?,
    };
    let heartbeat_timeout = parameters.seconds("heartbeat_timeout")?;
    let gate = GateConfig {
        base: match parameters.string("base")?.as_str() {
            "omnidirectional" => Base::Omnidirectional,
            _ => Base::Differential,
        },
        refuse_above: parameters.double("refuse_above")?,
        sources: sources(parameters)?,
        command_lifetime: parameters.seconds("command_lifetime")?,
        state_need: if parameters.bool("require_odometry")? { StateNeed::Required } else { StateNeed::Optional },
        state_timeout: parameters.seconds("odometry_timeout")?,
        reaction: parameters.seconds("reaction_time")?,
        zones: zones(parameters)?,
        obstacles: parameters.bool("require_scan")?.then_some(ObstacleConfig {
            robot_radius: parameters.double("robot_radius")?,
            margin: parameters.double("obstacle_margin")?,
            blind_speed: parameters.double("blind_speed")?,
        }),
        scan_timeout: parameters.seconds("scan_timeout")?,
        ..GateConfig::new(limits)
    };
    Ok(Config {
        gate,
        drive: DriveConfig {
            tolerance: parameters.double("goal_tolerance")?,
            heading_tolerance: parameters.double("heading_tolerance")?,
            progress_timeout: parameters.seconds("progress_timeout")?,
        },
        frame: parameters.string("odom_frame")?,
        state_lifetime: std::time::Duration::from_secs(5),
        heartbeat_timeout,
        queue_capacity: parameters.size("queue_capacity")?,
        errands: errands::offered(parameters)?,
    })
}

/// How the journal is kept; who signs it is another matter.
pub(super) fn journal(parameters: &Parameters) -> Result<Options, StartError> {
    let retained = parameters.double("journal_retain")? * f64::from(1 << 20);
    let payload_key = match parameters.string("journal_payload_key")? {
        none if none.is_empty() => None,
        path => Some(PayloadKey::load(path.as_ref()).map_err(StartError::layer)?),
    };
    Ok(Options {
        retain_bytes: (retained > 0.0).then_some(retained as u64),
        compression: match parameters.string("journal_compression")?.as_str() {
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        },
        payload_key,
        ..Options::default()
    })
}

fn sources(parameters: &Parameters) -> Result<Vec<Source>, StartError> {
    let priority = |name: &str| parameters.integer(name).map(|value| u8::try_from(value).unwrap_or(u8::MAX));
    let mut sources = Vec::new();
    for name in parameters.strings("sources")? {
        let (priority, timeout) =
            (priority(&format!("{name}.priority"))?, parameters.seconds(&format!("{name}.timeout"))?);
        sources.push(Source { name, priority, timeout });
    }
    // Driven on in each period of the control loop, which is at most 0.1 s.
    let timeout = std::time::Duration::from_millis(500);
    sources.push(Source { name: ACTION_SOURCE.into(), priority: priority("action_priority")?, timeout });
    Ok(sources)
}

fn zones(parameters: &Parameters) -> Result<Vec<Zone>, StartError> {
    let mut zones = Vec::new();
    if !parameters.doubles("workspace")?.is_empty() {
        zones.push(zone(parameters, "workspace", "workspace", Rule::StayInside)?);
    }
    for name in parameters.strings("keep_out")? {
        zones.push(zone(parameters, &name, &format!("{name}.corners"), Rule::KeepOut)?);
    }
    Ok(zones)
}

fn zone(parameters: &Parameters, name: &str, parameter: &str, rule: Rule) -> Result<Zone, StartError> {
    let numbers = parameters.doubles(parameter)?;
    let (corners, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        let count = numbers.len();
        return Err(StartError::layer(format!(
            "parameter '{parameter}' has {count} numbers, and needs x and y of each corner"
        )));
    }
    Zone::polygon(name, rule, corners.to_vec()).map_err(|e| StartError::layer(format!("parameter '{parameter}': {e}")))
}
