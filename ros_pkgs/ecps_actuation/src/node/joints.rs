//! Joints as the node has them: their parameters, `/joint_states` in, and `joint_trajectory` and `gripper_trajectory` out,
//! which is what joint trajectory controllers of ros2_control listen to.

use std::time::Duration;

use ecps_core::clock::{SteadyClock as _, SystemSteady};
use ecps_ros::r2r::sensor_msgs::msg::JointState;
use ecps_ros::r2r::trajectory_msgs::msg::{JointTrajectory, JointTrajectoryPoint};
use ecps_ros::{Node, ParameterError, Parameters, Publisher, Spec, StartError, qos};

use super::{Executor, now};
use crate::gate::ACTION_SOURCE;
use crate::joint::limits::JOINT_LIMIT_RANGE;
use crate::joint::urdf::{Description, URDF_BYTES};
use crate::joint::{
    AttachError, GripConfig, JointCommand, JointConfig, JointGroup, JointLimits, JointSource, JointStates,
    JointVerdict, Reach, Trajectory, TrajectoryPoint,
};
use crate::ticket::{ActuatorError, JointActuator, Journaled, SafeState};

/// The groups and the topics of their controllers.
const GROUPS: [(&str, &str); 2] = [("arm", "joint_trajectory"), ("gripper", "gripper_trajectory")];

/// Parameters that executor and supervisor share.
pub(crate) fn declare_groups(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for (group, topic) in GROUPS {
        let text = format!("Joints of the {group}, whose controller listens on {topic}; empty: there is none.");
        parameters.declare(Spec::strings(format!("{group}_joints"), &[], text))?;
    }
    for spec in [
        Spec::string("robot_description", "", "The robot's URDF; empty: as 'urdf' says."),
        Spec::string(
            "urdf",
            "",
            "File with the robot's URDF; empty: joints have the limits of their parameters alone.",
        ),
        Spec::doubles("gripper_closed", &[], "Positions of the gripper's joints that are closed; empty: their least.")
            .range(-1e6, 1e6),
        Spec::doubles("gripper_open", &[], "Positions of the gripper's joints that are open; empty: their greatest.")
            .range(-1e6, 1e6),
        Spec::string("gripper_safe_state", "hold", "What the gripper does on a stop.").choices(&["hold", "open"]),
        Spec::double("joint_state_timeout", 0.25, "Silence of a joint's state after which it is stale.")
            .unit("s")
            .range(0.01, 1.0),
    ] {
        parameters.declare(spec)?;
    }
    for (group, _) in GROUPS {
        for joint in parameters.strings(&format!("{group}_joints"))? {
            let limit = |what: &str, text: &str| {
                Spec::double(format!("{joint}.{what}"), 0.0, text).range(0.0, JOINT_LIMIT_RANGE.1)
            };
            let text = "Least and greatest position, rad or m; empty: as the URDF says. The strictest holds.";
            parameters.declare(Spec::doubles(format!("{joint}.position"), &[], text).range(-1e6, 1e6))?;
            parameters.declare(limit("velocity", "Greatest velocity; 0: as the URDF says."))?;
            parameters.declare(limit("acceleration", "Greatest acceleration; 0: as the URDF says."))?;
            parameters.declare(limit("effort", "Greatest effort; 0: as the URDF says."))?;
        }
    }
    Ok(())
}

/// The executor's own parameters of joints.
pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    declare_groups(parameters)?;
    let text = "Topics of joint trajectories, each with <topic>.priority.";
    parameters.declare(Spec::strings("joint_sources", &["joint_trajectory_in"], text))?;
    let text = "Link of the URDF that the targets of manipulate actions are in; empty: they are refused.";
    parameters.declare(Spec::string("arm_base", "", text))?;
    parameters.declare(Spec::string("arm_tip", "", "Link of the URDF that manipulate actions bring there."))?;
    let text = "How far from the measured position a trajectory may begin at once, rad or m.";
    parameters.declare(Spec::double("start_tolerance", 0.02, text).range(0.0, 1.0))?;
    for source in parameters.strings("joint_sources")? {
        let text = "The source with the highest is heard.";
        parameters.declare(Spec::integer(format!("{source}.priority"), 10, text).range(0.0, 255.0))?;
    }
    Ok(())
}

/// What the parameters say: the groups that have joints, and the topic of each.
pub(crate) fn groups(parameters: &Parameters) -> Result<Vec<(JointGroup, &'static str)>, StartError> {
    let description = description(parameters)?;
    let mut groups = Vec::new();
    for (name, topic) in GROUPS {
        let parameter = format!("{name}_joints");
        let limits = |joint: &String| {
            limits(parameters, description.as_ref(), joint)
                .map_err(|e| StartError::layer(format!("parameter '{parameter}': {e}")))
        };
        let joints = parameters.strings(&parameter)?.iter().map(limits).collect::<Result<Vec<_>, _>>()?;
        if joints.is_empty() {
            continue;
        }
        let gripper = name == "gripper";
        let opens = gripper && parameters.string("gripper_safe_state")? == "open";
        let open =
            if gripper { positions(parameters, "gripper_open", &joints, |joint| joint.upper)? } else { Vec::new() };
        let safe = if opens { SafeState::Open } else { SafeState::Hold };
        groups.push((JointGroup { name: name.into(), joints, safe, open }, topic));
    }
    Ok(groups)
}

fn positions(
    parameters: &Parameters,
    name: &str,
    joints: &[JointLimits],
    default: impl Fn(&JointLimits) -> f64,
) -> Result<Vec<f64>, StartError> {
    let given = parameters.doubles(name)?;
    Ok(if given.is_empty() { joints.iter().map(default).collect() } else { given })
}

fn description(parameters: &Parameters) -> Result<Option<Description>, StartError> {
    let (mut xml, path) = (parameters.string("robot_description")?, parameters.string("urdf")?);
    if xml.is_empty() && !path.is_empty() {
        let read = |e: std::io::Error| StartError::layer(format!("parameter 'urdf': {path}: {e}"));
        let size = std::fs::metadata(&path).map_err(read)?.len();
        if size > URDF_BYTES as u64 {
            return Err(StartError::layer(format!(
                "parameter 'urdf': {path} has {size} bytes, and may have {URDF_BYTES}"
            )));
        }
        xml = std::fs::read_to_string(&path).map_err(read)?;
    }
    let parsed = (!xml.is_empty()).then(|| Description::parse(&xml));
    parsed.transpose().map_err(|e| StartError::layer(format!("parameter 'robot_description' or 'urdf': {e}")))
}

/// The strictest of URDF and parameters.
fn limits(parameters: &Parameters, urdf: Option<&Description>, joint: &str) -> Result<JointLimits, StartError> {
    let own = |what: &str| -> Result<f64, StartError> {
        let value = parameters.double(&format!("{joint}.{what}"))?;
        Ok(if value == 0.0 { f64::INFINITY } else { value })
    };
    let (lower, upper) = match parameters.doubles(&format!("{joint}.position"))?.as_slice() {
        [] => (f64::NEG_INFINITY, f64::INFINITY),
        [lower, upper] => (*lower, *upper),
        other => {
            let text = format!("'{joint}.position' has {} numbers, and must have 2", other.len());
            return Err(StartError::layer(text));
        }
    };
    let given = JointLimits {
        lower,
        upper,
        velocity: own("velocity")?,
        acceleration: own("acceleration")?,
        effort: own("effort")?,
        ..JointLimits::unlimited(joint)
    };
    let known = urdf.map(|urdf| urdf.limits(joint)).transpose().map_err(StartError::layer)?;
    let limits = known.map_or_else(|| given.clone(), |known| known.strictest(&given));
    limits.check().map_err(StartError::layer)?;
    Ok(limits)
}

/// What the executor needs of its joints; none where it has none.
pub(super) struct Made {
    config: JointConfig,
    topics: Vec<&'static str>,
    gripper: Option<GripConfig>,
    reach: Option<Reach>,
}

pub(super) fn made(parameters: &Parameters) -> Result<Option<Made>, StartError> {
    let (groups, topics): (Vec<_>, Vec<_>) = groups(parameters)?.into_iter().unzip();
    if groups.is_empty() {
        return Ok(None);
    }
    let mut gripper = None;
    if let Some((group, fingers)) = groups.iter().enumerate().find(|(_, group)| group.name == "gripper") {
        let closed = positions(parameters, "gripper_closed", &fingers.joints, |joint| joint.lower)?;
        gripper = Some(GripConfig { group, closed, open: fingers.open.clone() });
    }
    let priority = |name: &str| parameters.integer(name).map(|value| u8::try_from(value).unwrap_or(u8::MAX));
    let mut sources = vec![JointSource { name: ACTION_SOURCE.into(), priority: priority("action_priority")? }];
    for name in parameters.strings("joint_sources")? {
        let priority = priority(&format!("{name}.priority"))?;
        sources.push(JointSource { name, priority });
    }
    let config = JointConfig {
        groups,
        sources,
        state_timeout: parameters.seconds("joint_state_timeout")?,
        command_lifetime: parameters.seconds("command_lifetime")?,
        future_tolerance: Duration::from_millis(100),
        refuse_above: parameters.double("refuse_above")?,
        start_tolerance: parameters.double("start_tolerance")?,
    };
    let reach = reach(parameters, &config.groups)?;
    Ok(Some(Made { config, topics, gripper, reach }))
}

fn reach(parameters: &Parameters, groups: &[JointGroup]) -> Result<Option<Reach>, StartError> {
    let (base, tip) = (parameters.string("arm_base")?, parameters.string("arm_tip")?);
    if base.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| StartError::layer(format!("parameters 'arm_base' and 'arm_tip': {why}"));
    let arm = groups.iter().position(|group| group.name == "arm");
    let group = arm.ok_or_else(|| wrong("there are no 'arm_joints'".into()))?;
    let description = description(parameters)?.ok_or_else(|| wrong("there is no URDF".into()))?;
    let joints = groups.get(group).map(|group| group.joints.as_slice()).unwrap_or_default();
    let chain = description.chain(&base, &tip, joints).map_err(|e| wrong(e.to_string()))?;
    Ok(Some(Reach { group, chain }))
}

impl Made {
    /// Subscribes, and gives the joints to `attach`.
    pub(super) fn listen(
        self,
        node: &mut Node<Executor>,
        too_late: Duration,
        attach: impl FnOnce(
            JointConfig,
            Vec<Box<dyn JointActuator>>,
            Option<GripConfig>,
            Option<Reach>,
        ) -> Result<(), AttachError>,
    ) -> Result<(), StartError> {
        let actuators = outputs(node, &self.config.groups, &self.topics, too_late)?;
        let sources = self.config.sources.iter().map(|source| source.name.clone()).filter(|name| name != ACTION_SOURCE);
        for source in sources.collect::<Vec<_>>() {
            let name = source.clone();
            node.subscribe(&source, qos::command(), move |executor: &mut Executor, message: JointTrajectory| {
                executor.on_trajectory(&name, &message);
            })?;
        }
        attach(self.config, actuators, self.gripper, self.reach).map_err(StartError::layer)?;
        // Where the joints are is worth knowing before they may be moved.
        node.in_any_state(|node| node.subscribe("joint_states", qos::any_sensor(10), Executor::on_joint_states))?;
        Ok(())
    }
}

/// One actuator for each group.
pub(crate) fn outputs<S: 'static>(
    node: &mut Node<S>,
    groups: &[JointGroup],
    topics: &[&'static str],
    too_late: Duration,
) -> Result<Vec<Box<dyn JointActuator>>, StartError> {
    let mut actuators: Vec<Box<dyn JointActuator>> = Vec::new();
    for (group, topic) in groups.iter().zip(topics) {
        let output = node.publisher(topic, qos::command())?;
        actuators.push(Box::new(Controller { output, topic, safe: group.safe, too_late }));
    }
    Ok(actuators)
}

/// The topic of a joint trajectory controller as an actuator.
#[derive(Debug)]
struct Controller {
    output: Publisher<JointTrajectory>,
    topic: &'static str,
    safe: SafeState,
    /// Age of a decision at which it is too late to carry it out.
    too_late: Duration,
}

impl Controller {
    fn publish(&self, way: &Trajectory) -> Result<(), ActuatorError> {
        let sent = self.output.try_publish(&to_message(way));
        sent.map_err(|reason| ActuatorError(format!("{} could not be published: {reason}", self.topic)))
    }
}

impl JointActuator for Controller {
    fn safe_state(&self) -> SafeState {
        self.safe
    }

    fn follow(&mut self, way: Journaled<Trajectory>) -> Result<(), ActuatorError> {
        let age = SystemSteady.now().since(way.decided());
        if age > self.too_late {
            return Err(ActuatorError(format!("the decision was {age:?} old, and may be {:?}", self.too_late)));
        }
        self.publish(way.value())
    }

    fn rest(&mut self, way: &Trajectory) -> Result<(), ActuatorError> {
        self.publish(way)
    }
}

/// The header's stamp stays zero: it begins at once, and not by another clock.
fn to_message(way: &Trajectory) -> JointTrajectory {
    let point = |point: &TrajectoryPoint| {
        let mut message = JointTrajectoryPoint {
            positions: point.positions.clone(),
            velocities: point.velocities.clone(),
            accelerations: point.accelerations.clone(),
            effort: point.effort.clone(),
            ..JointTrajectoryPoint::default()
        };
        message.time_from_start.sec = i32::try_from(point.time_ns.div_euclid(1_000_000_000)).unwrap_or(i32::MAX);
        message.time_from_start.nanosec = u32::try_from(point.time_ns.rem_euclid(1_000_000_000)).unwrap_or(0);
        message
    };
    JointTrajectory {
        joint_names: way.joints.clone(),
        points: way.points.iter().map(point).collect(),
        ..JointTrajectory::default()
    }
}

fn from_message(message: &JointTrajectory) -> Trajectory {
    let point = |point: &JointTrajectoryPoint| {
        let time = &point.time_from_start;
        TrajectoryPoint {
            positions: point.positions.clone(),
            velocities: point.velocities.clone(),
            accelerations: point.accelerations.clone(),
            effort: point.effort.clone(),
            time_ns: i64::from(time.sec) * 1_000_000_000 + i64::from(time.nanosec),
        }
    };
    Trajectory { joints: message.joint_names.clone(), points: message.points.iter().map(point).collect() }
}

/// The joint states in a message.
pub(crate) fn joint_states(message: &JointState) -> JointStates<'_> {
    JointStates {
        names: &message.name,
        positions: &message.position,
        velocities: &message.velocity,
        efforts: &message.effort,
        stamp: ecps_ros::stamp(&message.header.stamp),
    }
}

impl Executor {
    fn on_joint_states(&mut self, message: JointState) {
        let now = now(&self.clock);
        if let Err(reason) = self.executive.on_joint_states(&joint_states(&message), now) {
            self.complain(format!("joint states refused: {reason}"));
        }
    }

    fn on_trajectory(&mut self, source: &str, message: &JointTrajectory) {
        let (now, trajectory) = (now(&self.clock), from_message(message));
        let stamp = Some(ecps_ros::stamp(&message.header.stamp)).filter(|stamp| !stamp.is_zero());
        let command = JointCommand { source, trajectory: &trajectory, stamp };
        if let JointVerdict::Refuse(refusal) = self.executive.on_trajectory(&command, now) {
            self.complain(format!("trajectory of {source} refused: {refusal}"));
        }
        self.settle();
    }
}
