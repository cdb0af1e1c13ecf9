//! `ecps eap send`: one action, sent and waited for.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ecps_core::clock::{RosClock as _, SystemRos};
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, EapAction};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::{GoalId, qos};

use crate::asking::{Last, PATIENCE};
use crate::say::say;

use super::{EapError, Robot, caller};

/// Within which an action ends.
const LONGEST: Duration = Duration::from_secs(3600);

/// One of a place, `--gripper`, `--sim-step` and `--cloud`.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// Metres
    #[arg(allow_negative_numbers = true, requires = "y")]
    x: Option<f64>,
    /// Metres
    #[arg(allow_negative_numbers = true)]
    y: Option<f64>,
    /// Heading, radians
    #[arg(allow_negative_numbers = true, default_value_t = 0.0)]
    heading: f64,
    /// Frame of the place; by default that of the odometry
    #[arg(long)]
    frame: Option<String>,
    /// Have the gripper open, close, or grip down to a share of open: open, close, or 0 to 1
    #[arg(long, conflicts_with = "x")]
    gripper: Option<String>,
    /// Force at which gripping ends, N
    #[arg(long, requires = "gripper", default_value_t = 0.0)]
    force: f32,
    /// Step the simulated world, which is paused, by this many seconds
    #[arg(long, conflicts_with_all = ["x", "gripper"])]
    sim_step: Option<f64>,
    /// Call a method of a cloud service: <api>/<method>
    #[arg(long, conflicts_with_all = ["x", "gripper", "sim_step"])]
    cloud: Option<String>,
    /// What to tell the cloud service, JSON
    #[arg(long, requires = "cloud", default_value = "")]
    json: String,
    /// Show the cloud service the executor's bearer token
    #[arg(long, requires = "cloud")]
    oauth2: bool,
    /// Id of the action; the same id and content act once, however often they are sent
    #[arg(long)]
    id: Option<String>,
}

fn refused(reason: String) -> EapError {
    EapError::Refused { what: "the action", reason }
}

impl Order {
    /// What is asked for; a place still lacks its frame.
    fn action(&self) -> Result<EapAction, EapError> {
        let id = self.id.clone().unwrap_or_else(|| format!("ecps-eap-{}", SystemRos.now().0));
        let mut action = EapAction { spec: "eap/0.1".into(), id, ..EapAction::default() };
        match (self.x.zip(self.y), &self.gripper, self.sim_step, &self.cloud) {
            (Some((x, y)), ..) => {
                action.kind = 10;
                let pose = &mut action.set_pose.pose;
                (pose.position.x, pose.position.y) = (x, y);
                (pose.orientation.z, pose.orientation.w) = (self.heading / 2.0).sin_cos();
            }
            (_, Some(order), ..) => {
                action.kind = 11;
                action.gripper.force_limit = self.force;
                action.gripper.command = match order.as_str() {
                    "open" => 1,
                    "close" => 2,
                    share => {
                        action.gripper.position = share.parse().map_err(|_| {
                            refused(format!("--gripper is '{share}', and must be open, close, or a number from 0 to 1"))
                        })?;
                        3
                    }
                };
            }
            (_, _, Some(seconds), _) => {
                action.kind = 13;
                action.sim.duration_s = seconds;
            }
            (_, _, _, Some(call)) => {
                action.kind = 12;
                let (api, method) = call
                    .split_once('/')
                    .ok_or_else(|| refused(format!("--cloud is '{call}', and must be <api>/<method>")))?;
                (action.cloud.api_name, action.cloud.method_name) = (api.into(), method.into());
                action.cloud.json_payload = self.json.clone().into_bytes();
                action.cloud.requires_oauth2 = self.oauth2;
            }
            _ => return Err(refused("name a place, --gripper, --sim-step or --cloud".into())),
        }
        Ok(action)
    }
}

pub(super) fn send(mut robot: Robot, order: &Order) -> Result<ExitCode, EapError> {
    let mut action = order.action()?;
    let topic = robot.name("odom");
    let odometry: Last<Odometry> = Last::default();
    let heard = odometry.clone();
    robot.node.subscribe(&topic, qos::any_sensor(1), move |(), message: Odometry| heard.keep(message))?;
    let client = robot.node.action_client::<ExecuteAction::Action>(&robot.executor("execute"))?;
    let clock = robot.clock.clone();
    let _spinning = robot.spin();
    if action.kind == 10 {
        let odometry = odometry.wait(PATIENCE).ok_or(EapError::Silent { topic })?;
        action.set_pose.header.frame_id = order.frame.clone().unwrap_or(odometry.header.frame_id);
    }
    // The same caller each time, so that the same id is the same action.
    let caller = Caller { id: "/ecps_eap".into(), ..caller(&clock) };
    let place = action.kind == 10;
    // Time and process: unique enough for one robot's clients.
    let unique = SystemRos.now().0.to_le_bytes().into_iter().chain(std::process::id().to_le_bytes());
    let mut goal = [0; 16];
    goal.iter_mut().zip(unique).for_each(|(to, from)| *to = from);
    let goal = GoalId(goal);
    client.send(goal, ExecuteAction::Goal { caller, action }, PATIENCE, |feedback| {
        say!("{:.2} to go, {} actions before it", feedback.distance_remaining, feedback.before);
    })?;
    let (_, result) = client.result(goal, LONGEST)?;
    if result.error_code != 0 {
        return Err(refused(result.error_msg));
    }
    if !result.answer.is_empty() {
        say!("{}", String::from_utf8_lossy(&result.answer));
    }
    let end = &result.final_pose.pose.position;
    let at = if place { format!(" at ({:.2}, {:.2})", end.x, end.y) } else { String::new() };
    say!("done{at}; record {} of the journal", result.journal_sequence);
    Ok(ExitCode::SUCCESS)
}
