//! The executor's parameters, and the configuration they make.

use ecps_core::budget::SAFETY_TIMEOUT;
use ecps_ros::{ParameterError, Parameters, Spec, StartError};

use crate::Config;
use crate::drive::DriveConfig;
use crate::gate::{Base, GateConfig, StateNeed};
use crate::motion::Limits;
use crate::workspace::Workspace;

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
        Spec::string("odom_frame", "odom", "Frame of odometry, targets and workspace."),
        Spec::bool(
            "enable_stamped_cmd_vel",
            false,
            "Whether cmd_vel_in and cmd_vel are TwistStamped instead of Twist.",
        ),
        Spec::string("base", "differential", "What the base can do.").choices(&["differential", "omnidirectional"]),
        Spec::double("max_linear_speed", 0.8, "Highest speed.").unit("m/s").range(0.01, 10.0),
        Spec::double("max_linear_acceleration", 1.5, "Greatest change of speed.").unit("m/s^2").range(0.01, 100.0),
        Spec::double("max_angular_speed", 1.5, "Highest turning speed.").unit("rad/s").range(0.01, 20.0),
        Spec::double("max_angular_acceleration", 4.0, "Greatest change of turning speed.")
            .unit("rad/s^2")
            .range(0.01, 1000.0),
        Spec::double(
            "refuse_above",
            2.0,
            "A speed above this many times the highest is refused; up to it, it is limited.",
        )
        .range(1.0, 100.0),
        timeout("command_timeout", "Silence on cmd_vel_in after which the robot is stopped."),
        timeout("command_lifetime", "Age of a stamped command after which it is refused."),
        Spec::bool("require_odometry", true, "Whether nothing moves without fresh odometry."),
        timeout("odometry_timeout", "Silence of odometry after which it is stale."),
        Spec::doubles(
            "workspace",
            &[],
            "Corners x1, y1, x2, y2, ... of the polygon that the robot stays in; empty: none.",
        )
        .unit("m")
        .range(-1e5, 1e5),
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
    ] {
        parameters.declare(spec)?;
    }
    Ok(())
}

/// What the parameters say.
pub(super) fn config(parameters: &Parameters) -> Result<Config, StartError> {
    let mut gate = GateConfig::new(Limits {
        max_linear_speed: parameters.double("max_linear_speed")?,
        max_linear_acceleration: parameters.double("max_linear_acceleration")?,
        max_angular_speed: parameters.double("max_angular_speed")?,
        max_angular_acceleration: parameters.double("max_angular_acceleration")?,
    });
    gate.base = match parameters.string("base")?.as_str() {
        "omnidirectional" => Base::Omnidirectional,
        _ => Base::Differential,
    };
    gate.refuse_above = parameters.double("refuse_above")?;
    gate.command_timeout = parameters.seconds("command_timeout")?;
    gate.command_lifetime = parameters.seconds("command_lifetime")?;
    gate.state_need = if parameters.bool("require_odometry")? { StateNeed::Required } else { StateNeed::Optional };
    gate.state_timeout = parameters.seconds("odometry_timeout")?;
    gate.workspace = workspace(&parameters.doubles("workspace")?)?;
    Ok(Config {
        gate,
        drive: DriveConfig {
            tolerance: parameters.double("goal_tolerance")?,
            heading_tolerance: parameters.double("heading_tolerance")?,
            progress_timeout: parameters.seconds("progress_timeout")?,
        },
        frame: parameters.string("odom_frame")?,
        state_lifetime: std::time::Duration::from_secs(5),
    })
}

fn workspace(corners: &[f64]) -> Result<Option<Workspace>, StartError> {
    if corners.is_empty() {
        return Ok(None);
    }
    if !corners.len().is_multiple_of(2) {
        let count = corners.len();
        return Err(StartError::layer(format!(
            "parameter 'workspace' has {count} numbers, and needs x and y of each corner"
        )));
    }
    let points = corners.chunks_exact(2).filter_map(|pair| <[f64; 2]>::try_from(pair).ok()).collect();
    Workspace::polygon(points).map(Some).map_err(|e| StartError::layer(format!("parameter 'workspace': {e}")))
}
