//! An `EAP` message to a typed action. Error codes are those of `ecps_msgs/ExecuteAction`.

use ecps_core::check::{self, CheckError};
use ecps_core::limits::{MAP_ENTRIES, MAP_STRING_BYTES, NAME_BYTES};
use ecps_core::wire::proto::{self, eap};
use ecps_core::wire::{EAP_SPEC, check_spec};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use prost::Message as _;

use crate::drive::TOLERANCE_RANGE;
use crate::errand::{CloudCall, WorldSteps};
use crate::joint::limits::JOINT_LIMIT_RANGE;
use crate::joint::{GripOrder, Handling, Task};
use crate::motion::LIMIT_RANGE;
use crate::plan::Plan;
use crate::state::PlanarPose;

/// Longest id of an action, bytes.
pub const ID_BYTES: usize = 128;
/// Largest action, bytes.
pub const ACTION_BYTES: usize = 256 << 10;
/// Largest payload of a cloud operation, bytes.
pub const CLOUD_BYTES: usize = 64 << 10;
/// Entry of `EAP.meta` that says where the object of PICK_AND_PLACE is.
pub const PICK_POSE: &str = "pick_pose";
/// Most simulated time of one action, seconds, and most steps.
const MOST_SECONDS: f64 = 3600.0;
const MOST_STEPS: f64 = 1e6;
/// Height of a target that is still on the floor, metres, and greatest tilt, radians.
const FLOOR: f64 = 0.01;

/// Why an action was not accepted or did not succeed; numbers of `ecps_msgs/ExecuteAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// Succeeded.
    None = 0,
    /// Malformed, not finite, or out of range.
    Invalid = 1,
    /// Nothing here can do this kind of action.
    Unsupported = 2,
    /// Decided on a state that is too old, or not started in time.
    Expired = 3,
    /// Leaves the workspace.
    OutOfLimits = 4,
    /// A protective stop is latched, or came while executing.
    Stopped = 5,
    /// Canceled by a client.
    Canceled = 6,
    /// A source of higher priority took over.
    Preempted = 7,
    /// The journal could not be written.
    Journal = 8,
    /// The robot's state is silent.
    StateStale = 9,
    /// No progress towards the target.
    NoProgress = 10,
    /// Its caller shows no token that allows it.
    Unauthorized = 11,
    /// As many actions wait as may.
    QueueFull = 12,
    /// Was to come after an action that failed or is not known.
    Dependency = 13,
    /// Nobody has enabled the gate.
    NotArmed = 14,
    /// What carries it out says that it failed, or does not answer.
    Failed = 15,
}

/// An action that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Its cause.
    pub code: ErrorCode,
    /// A sentence that names the value and the limit.
    pub message: String,
}

impl Rejection {
    pub(crate) fn new(code: ErrorCode, message: impl ToString) -> Rejection {
        Rejection { code, message: message.to_string() }
    }
}

impl From<CheckError> for Rejection {
    fn from(error: CheckError) -> Rejection {
        Rejection::new(ErrorCode::Invalid, error)
    }
}

/// An action whose every field is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its id.
    pub id: String,
    /// Digest of the state it was decided on, see [`crate::state::MeasuredState::sha`].
    pub state_sha: Option<[u8; 32]>,
    /// When, and what its end means.
    pub plan: Plan,
    /// What to do.
    pub kind: Kind,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Drive to a pose, with the speed and tolerance of the parameters; ends with its heading.
    SetPose {
        /// Where to.
        target: PlanarPose,
    },
    /// Drive to a pose; ends with its heading.
    Navigate {
        /// Where to.
        target: PlanarPose,
        /// m/s; the gate's limit holds where it is lower.
        max_speed: f64,
        /// Metres from the target that count as arrived.
        tolerance: f64,
    },
    /// Open, close or grip.
    Gripper {
        /// Which of them.
        order: GripOrder,
        /// N, or N m of a joint that turns; none: no other than the joints' own.
        force: Option<f64>,
    },
    /// Call a cloud service.
    Cloud(CloudCall),
    /// Step the simulated world.
    Sim(WorldSteps),
    /// Pick, place, push or pull; the target is in the frame of this name.
    Manipulate {
        /// Frame of the target.
        frame: String,
        /// What, and where.
        task: Task,
    },
}

impl Kind {
    /// Where the base goes; none where it stays.
    pub fn target(&self) -> Option<PlanarPose> {
        match self {
            Kind::SetPose { target } | Kind::Navigate { target, .. } => Some(*target),
            Kind::Gripper { .. } | Kind::Cloud(_) | Kind::Sim(_) | Kind::Manipulate { .. } => None,
        }
    }
}

impl Action {
    /// Checks a message. Targets must be in `frame`, on the floor.
    pub fn from_message(message: &proto::Eap, frame: &str) -> Result<Action, Rejection> {
        check::at_most("action", message.encoded_len(), ACTION_BYTES, "bytes")?;
        check_spec(&message.spec, EAP_SPEC).map_err(|e| Rejection::new(ErrorCode::Invalid, e))?;
        check::name("action.id", &message.id, ID_BYTES)?;
        check::at_most("action.meta", message.meta.len(), MAP_ENTRIES, "entries")?;
        for text in message.meta.iter().flat_map(|(key, value)| [key, value]) {
            check::at_most("action.meta", text.len(), MAP_STRING_BYTES, "bytes in an entry")?;
        }
        let state_sha = match message.state_sha.as_slice() {
            [] => None,
            bytes => Some(<[u8; 32]>::try_from(bytes).map_err(|_| {
                let text = format!("action.state_sha has {} bytes, and must have 0 or 32", bytes.len());
                Rejection::new(ErrorCode::Invalid, text)
            })?),
        };
        let unsupported =
            |what: &str| Err(Rejection::new(ErrorCode::Unsupported, format!("{what}, which nothing here can do")));
        let kind = match &message.action {
            None => return Err(CheckError::Empty { field: "action".into() }.into()),
            Some(eap::Action::SetPose(pose)) => Kind::SetPose { target: target("set_pose", pose, frame)? },
            Some(eap::Action::Navigate(navigate)) => {
                let Some(pose) = &navigate.target_pose else {
                    return Err(CheckError::Empty { field: "navigate.target_pose".into() }.into());
                };
                check::at_most("navigate.planner_id", navigate.planner_id.len(), NAME_BYTES, "bytes")?;
                if !navigate.planner_id.is_empty() {
                    return unsupported(&format!("navigate.planner_id asks for planner '{}'", navigate.planner_id));
                }
                let (least, most) = LIMIT_RANGE;
                Kind::Navigate {
                    target: target("navigate.target_pose", pose, frame)?,
                    max_speed: check::in_range("navigate.max_velocity", navigate.max_velocity.into(), least, most)?,
                    tolerance: check::in_range(
                        "navigate.tolerance",
                        navigate.tolerance.into(),
                        TOLERANCE_RANGE.0,
                        TOLERANCE_RANGE.1,
                    )?,
                }
            }
            Some(eap::Action::Gripper(gripper)) => self::gripper(gripper)?,
            Some(eap::Action::Cloud(cloud)) => Kind::Cloud(self::cloud(cloud)?),
            Some(eap::Action::Sim(step)) => Kind::Sim(WorldSteps {
                duration: check::in_range("sim.duration_s", step.duration_s, 1e-6, MOST_SECONDS)?,
                steps: {
                    check::in_range("sim.physics_steps", step.physics_steps.into(), 0.0, MOST_STEPS)?;
                    step.physics_steps
                },
                render: step.render_frame,
            }),
            Some(eap::Action::Manipulate(op)) => manipulate(op, message.meta.get(PICK_POSE).map(String::as_str))?,
        };
        Ok(Action { id: message.id.clone(), state_sha, plan: Plan::from_meta(&message.meta)?, kind })
    }
}

fn gripper(op: &proto::GripperOp) -> Result<Kind, Rejection> {
    let order = match op.command() {
        proto::gripper_op::Command::Unspecified => {
            let text = format!("gripper.command is {}, and must be OPEN 1, CLOSE 2 or GRIP 3", op.command);
            return Err(Rejection::new(ErrorCode::Invalid, text));
        }
        proto::gripper_op::Command::Open => GripOrder::Open,
        proto::gripper_op::Command::Close => GripOrder::Close,
        proto::gripper_op::Command::Grip => {
            GripOrder::Grip(check::in_range("gripper.position", op.position.into(), 0.0, 1.0)?)
        }
    };
    let force = check::in_range("gripper.force_limit", op.force_limit.into(), 0.0, JOINT_LIMIT_RANGE.1)?;
    Ok(Kind::Gripper { order, force: (force > 0.0).then_some(force) })
}

fn manipulate(op: &proto::ManipulateOp, pick: Option<&str>) -> Result<Kind, Rejection> {
    use proto::manipulate_op::Type;
    let invalid = |text: String| Err(Rejection::new(ErrorCode::Invalid, text));
    let handling = match (op.r#type(), pick) {
        (Type::Pick, None) => Handling::Pick,
        (Type::Place, None) => Handling::Place,
        (Type::Push, None) => Handling::Push,
        (Type::Pull, None) => Handling::Pull,
        (Type::PickAndPlace, Some(text)) => Handling::PickAndPlace { from: pick_pose(text)? },
        (Type::PickAndPlace, None) => {
            return invalid(format!(
                "manipulate.type is PICK_AND_PLACE, and action.meta.{PICK_POSE} must say where the object is"
            ));
        }
        (Type::Unspecified, _) => {
            return invalid(format!(
                "manipulate.type is {}, and must be PICK 1, PLACE 2, PICK_AND_PLACE 3, PUSH 4 or PULL 5",
                op.r#type
            ));
        }
        (_, Some(_)) => return invalid(format!("action.meta.{PICK_POSE} is only for PICK_AND_PLACE")),
    };
    check::at_most("manipulate.object_id", op.object_id.len(), ID_BYTES, "bytes")?;
    let Some(pose) = &op.target_pose else {
        return Err(CheckError::Empty { field: "manipulate.target_pose".into() }.into());
    };
    let (position, quaternion) = ([pose.x, pose.y, pose.z], [pose.qx, pose.qy, pose.qz, pose.qw]);
    let target = tip_pose("manipulate.target_pose", position, quaternion)?;
    let approach = check::in_range("manipulate.approach_distance", op.approach_distance.into(), 0.0, 1.0)?;
    let force = check::in_range("manipulate.force_threshold", op.force_threshold.into(), 0.0, JOINT_LIMIT_RANGE.1)?;
    let task = Task { handling, target, approach, force: (force > 0.0).then_some(force) };
    Ok(Kind::Manipulate { frame: pose.frame_id.clone(), task })
}

/// Where the object of PICK_AND_PLACE is, in the target's frame: the message has room for one pose only.
fn pick_pose(text: &str) -> Result<Isometry3<f64>, Rejection> {
    let field = format!("action.meta.{PICK_POSE}");
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    let Ok([x, y, z, qw, qx, qy, qz]) = numbers.as_deref() else {
        let text: String = text.chars().take(64).collect();
        return Err(Rejection::new(
            ErrorCode::Invalid,
            format!("{field} is '{text}', and must be 'x y z qw qx qy qz'"),
        ));
    };
    tip_pose(&field, [*x, *y, *z], [*qx, *qy, *qz, *qw])
}

fn tip_pose(field: &str, position: [f64; 3], quaternion: [f64; 4]) -> Result<Isometry3<f64>, Rejection> {
    for value in position {
        check::in_range(&format!("{field}.position"), value, -100.0, 100.0)?;
    }
    check::unit_quaternion(&format!("{field}.orientation"), quaternion)?;
    let [qx, qy, qz, qw] = quaternion;
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(qw, qx, qy, qz));
    Ok(Isometry3::from_parts(Translation3::from(position), rotation))
}

/// Names become parts of an address, so that they are letters, digits, `_`, `-` and single dots between them.
fn cloud(op: &proto::CloudOp) -> Result<CloudCall, Rejection> {
    for (field, name) in [("cloud.api_name", &op.api_name), ("cloud.method_name", &op.method_name)] {
        check::name(field, name, ID_BYTES)?;
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        if !name.split('.').all(part) {
            let text = format!("{field} is {name:?}, and may have letters, digits, _, - and dots between them");
            return Err(Rejection::new(ErrorCode::Invalid, text));
        }
    }
    check::at_most("cloud.json_payload", op.json_payload.len(), CLOUD_BYTES, "bytes")?;
    if !op.json_payload.is_empty() {
        serde_json::from_slice::<serde::de::IgnoredAny>(&op.json_payload)
            .map_err(|e| Rejection::new(ErrorCode::Invalid, format!("cloud.json_payload is no JSON: {e}")))?;
    }
    Ok(CloudCall {
        api: op.api_name.clone(),
        method: op.method_name.clone(),
        payload: op.json_payload.clone(),
        authorized: op.requires_oauth2,
    })
}

fn target(field: &str, pose: &proto::RobotPose, frame: &str) -> Result<PlanarPose, Rejection> {
    if pose.frame_id != frame {
        let found: String = pose.frame_id.chars().take(64).collect();
        let text = format!("{field} is in frame '{found}', and this executor works in '{frame}'");
        return Err(Rejection::new(ErrorCode::Invalid, text));
    }
    let planar = PlanarPose::from_parts(field, [pose.x, pose.y, pose.z], [pose.qx, pose.qy, pose.qz, pose.qw])?;
    check::in_range(&format!("{field}.position.z"), pose.z, -FLOOR, FLOOR)?;
    // The z axis of the robot leans by twice the length of (qx, qy), for small angles.
    check::in_range(&format!("{field}, tilt in radians,"), 2.0 * pose.qx.hypot(pose.qy), 0.0, FLOOR)?;
    Ok(planar)
}
