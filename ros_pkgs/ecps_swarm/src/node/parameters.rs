//! The node's parameters, and what they say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ecps_core::check;
use ecps_ros::{ParameterError, Parameters, Spec, StartError};
use nalgebra::{Isometry3, Vector3};

use crate::agents::{Agent, Bounds, CAPABILITIES, ID_BYTES, Role};
use crate::allocation::Strategy;
use crate::motion::drive::DifferentialDrive;

pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::string("agent", "", "This robot's id in the swarm; empty: its namespace, or else the host's name."),
        Spec::string("role", "worker", "What it is there for; an observer is given no tasks.").choices(&[
            "worker",
            "follower",
            "leader",
            "coordinator",
            "observer",
        ]),
        Spec::strings("capabilities", &[], "What it can do; at most 64."),
        Spec::string("agents_topic", "/swarm/agents", "Where the agents of the swarm tell of themselves."),
        Spec::string("frame", "map", "Frame that the swarm shares: of poses, and of where tasks are done."),
        Spec::doubles(
            "odom_origin",
            &[],
            "Where this robot's odometry began, in 'frame': x, y in metres, heading in radians; empty: TF leads there.",
        )
        .range(-1e6, 1e6),
        Spec::double("radius", 0.3, "Of the disc around the robot.").unit("m").range(0.0, 100.0),
        Spec::strings(
            "voters",
            &[],
            "Ids of the three to five agents whose majority decides, the same list and order at all of them; empty: this one \
             alone. Others join as learners.",
        ),
        Spec::string("listen", "127.0.0.1:0", "Address and port where the voters reach this one; port 0: any."),
        Spec::string("advertise", "", "Host to tell the others instead of the one in 'listen'; empty: that one."),
        Spec::string(
            "folder",
            "",
            "Where log and queue are kept, mode 0700; empty: $HOME/.ros/ecps/swarm/<agent>. Made where it is missing.",
        ),
        Spec::string("strategy", "capability_based", "How tasks are given to agents, while this one leads.")
            .choices(&Strategy::NAMES),
        Spec::double("speed", 1.0, "Speed at which ways are reckoned, and at most that of a behaviour.")
            .unit("m/s")
            .range(0.01, 100.0),
        Spec::double(
            "max_speed",
            2.0,
            "Fastest that an agent can be; a pose that moved more than twice as fast has jumped.",
        )
        .unit("m/s")
        .range(0.01, 100.0),
        Spec::double(
            "ahead",
            0.2,
            "Way from the axle to the point ahead of it that a behaviour steers; the same at all agents.",
        )
        .unit("m")
        .range(0.05, 2.0),
        Spec::double("margin", 0.1, "By how much farther robots keep from one another than their radii ask for.")
            .unit("m")
            .range(0.0, 10.0),
        Spec::double("turn_rate", 1.5, "Fastest that a behaviour turns the robot.").unit("rad/s").range(0.01, 20.0),
        Spec::double("acceleration", 0.5, "What formations keep to, and what robots are thought to brake with.")
            .unit("m/s^2")
            .range(0.01, 100.0),
        Spec::bool("enable_stamped_cmd_vel", false, "Whether cmd_vel_swarm is TwistStamped instead of Twist."),
        Spec::double("lease", 60.0, "Silence after which an agent is lost in any case.").unit("s").range(1.0, 3600.0),
        Spec::double("tolerance", 0.2, "How near to its place a task of kind 'navigate' ends.")
            .unit("m")
            .range(0.01, 10.0),
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

/// What the parameters come to.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Itself, in its first epoch and without a pose.
    pub(super) agent: Agent,
    pub(super) bounds: Bounds,
    /// Where the odometry began, for a robot that TF does not place in the swarm's frame.
    pub(super) odom_origin: Option<Isometry3<f64>>,
    pub(super) voters: Vec<String>,
    pub(super) listen: String,
    pub(super) advertise: String,
    pub(super) folder: PathBuf,
    pub(super) strategy: Strategy,
    pub(super) speed: f64,
    pub(super) max_speed: f64,
    pub(super) tolerance: f64,
    /// How a robot moves by a behaviour.
    pub(super) drive: DifferentialDrive,
    pub(super) ahead: f64,
    pub(super) margin: f64,
    pub(super) acceleration: f64,
    pub(super) stamped: bool,
}

pub(super) fn settings(parameters: &Parameters, namespace: &str) -> Result<Settings, StartError> {
    let id = match (parameters.string("agent")?, namespace.trim_matches('/')) {
        (given, _) if !given.is_empty() => given,
        (_, "") => std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(StartError::layer)?.trim().to_owned(),
        (_, namespace) => namespace.replace('/', "_"),
    };
    let frame = parameters.string("frame")?;
    let capabilities: BTreeSet<String> = parameters.strings("capabilities")?.into_iter().collect();
    check::at_most("parameter 'capabilities'", capabilities.len(), CAPABILITIES, "entries")
        .map_err(StartError::layer)?;
    let role = match parameters.string("role")?.as_str() {
        "follower" => Role::Follower,
        "leader" => Role::Leader,
        "coordinator" => Role::Coordinator,
        "observer" => Role::Observer,
        _ => Role::Worker,
    };
    let agent =
        Agent { role, capabilities, frame: frame.clone(), radius: parameters.double("radius")?, ..Agent::new(&id, 0) };
    agent.check().map_err(StartError::layer)?;
    let mut voters = parameters.strings("voters")?;
    if voters.is_empty() {
        voters.push(id.clone());
    }
    check::at_most("parameter 'voters'", voters.len(), 7, "entries").map_err(StartError::layer)?;
    for voter in &voters {
        check::name("parameter 'voters'", voter, ID_BYTES).map_err(StartError::layer)?;
    }
    if voters.iter().collect::<BTreeSet<_>>().len() < voters.len() {
        return Err(StartError::layer(format!("parameter 'voters' names one twice: {}", voters.join(", "))));
    }
    let max_speed = parameters.double("max_speed")?;
    // Heartbeats come late now and then: twice as fast is not yet a jump.
    let bounds = Bounds { lease: parameters.seconds("lease")?, max_speed: 2.0 * max_speed, frame, ..Bounds::default() };
    Ok(Settings {
        folder: folder(parameters, &id)?,
        agent,
        bounds,
        odom_origin: odom_origin(&parameters.doubles("odom_origin")?)?,
        voters,
        listen: parameters.string("listen")?,
        advertise: parameters.string("advertise")?,
        strategy: parameters.string("strategy")?.parse().map_err(StartError::layer)?,
        speed: parameters.double("speed")?,
        max_speed,
        tolerance: parameters.double("tolerance")?,
        drive: DifferentialDrive::new(
            parameters.double("ahead")?,
            parameters.double("speed")?,
            parameters.double("turn_rate")?,
        )
        .map_err(StartError::layer)?,
        ahead: parameters.double("ahead")?,
        margin: parameters.double("margin")?,
        acceleration: parameters.double("acceleration")?,
        stamped: parameters.bool("enable_stamped_cmd_vel")?,
    })
}

fn odom_origin(numbers: &[f64]) -> Result<Option<Isometry3<f64>>, StartError> {
    match *numbers {
        [] => Ok(None),
        [x, y, heading] => Ok(Some(Isometry3::new(Vector3::new(x, y, 0.0), Vector3::z() * heading))),
        _ => {
            let count = numbers.len();
            Err(StartError::layer(format!("parameter 'odom_origin' has {count} numbers, and needs x, y and heading")))
        }
    }
}

fn folder(parameters: &Parameters, id: &str) -> Result<PathBuf, StartError> {
    let given = parameters.string("folder")?;
    if !given.is_empty() {
        return Ok(PathBuf::from(given));
    }
    let home = std::env::var("HOME")
        .map_err(|_| StartError::layer("parameter 'folder' is empty, and HOME is not set: name a folder"))?;
    Ok(PathBuf::from(home).join(".ros/ecps/swarm").join(id.replace('/', "_")))
}

/// How long a task's submission, cancellation or report may take to be in the log.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
