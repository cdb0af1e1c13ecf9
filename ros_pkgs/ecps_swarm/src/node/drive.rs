//! Carrying out tasks of kind `navigate` through the robot's `eap_executor`.

use std::sync::Arc;
use std::time::Duration;

use ecps_core::clock::RosClock as _;
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, EapAction};
use ecps_ros::{ActionClient, GoalId};

use super::convert::{location_to_ros, pose_from_ros, pose_to_ros};
use super::{Shared, now};
use crate::tasks::{Outcome, Task};

/// The kind of task that is carried out here.
pub(super) const NAVIGATE: &str = "navigate";
/// Within which the executor takes a goal or its cancellation.
const TAKEN: Duration = Duration::from_secs(10);
/// Longest way.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Code of an action that was canceled.
const CANCELED: u16 = 6;

pub(super) type Driver = ActionClient<ExecuteAction::Action>;

/// Drives to where a task is done, on a thread that may wait.
pub(super) fn begin(shared: Arc<Shared>, driver: Arc<Driver>, task: Task, award: u64, goal: GoalId) {
    tokio::task::spawn_blocking(move || {
        let (outcome, text) = match drive(&shared, &driver, &task, goal) {
            Ok(Some(text)) => (Outcome::Completed, text),
            // Stopped: it goes on later, or somebody else does it.
            Ok(None) => return,
            Err(reason) => (Outcome::Failed, reason),
        };
        tracing::info!("task '{}', award {award}: {outcome:?}: {text}", task.id);
        let todo = shared.work.with(|worker| worker.ended(award, outcome, text.into_bytes(), now()));
        super::work::act(&shared, todo);
    });
}

fn drive(shared: &Shared, driver: &Driver, task: &Task, goal: GoalId) -> Result<Option<String>, String> {
    let Some(place) = &task.location else {
        return Err("a task of kind 'navigate' needs a location".to_owned());
    };
    let settings = &shared.settings;
    // An id of its own for each time that it is begun: a goal that was canceled does not act again.
    let unique: String = goal.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut action =
        EapAction { spec: "eap/0.1".to_owned(), id: format!("swarm-{unique}"), kind: 14, ..EapAction::default() };
    action.navigate.max_velocity = settings.max_speed as f32;
    action.navigate.tolerance = settings.tolerance as f32;
    let target = &mut action.navigate.target_pose;
    (target.header.frame_id, target.pose) = match &settings.odom_origin {
        None => (settings.bounds.frame.clone(), location_to_ros(place)),
        // TF does not know the swarm's frame, so the executor is told in its own.
        Some(origin) => {
            let there = pose_from_ros(&location_to_ros(place)).map_err(|error| error.to_string())?;
            (shared.work.odom_frame(), pose_to_ros(&(origin.inverse() * there)))
        }
    };
    let caller = Caller {
        id: format!("/{}/swarm_coordinator", settings.agent.id),
        sequence: u64::from_le_bytes(goal.0.first_chunk().copied().unwrap_or_default()) | 1,
        stamp: ecps_ros::time(shared.clock.now()),
        ..Caller::default()
    };
    driver
        .send(goal, ExecuteAction::Goal { caller, action }, TAKEN, |_| {})
        .map_err(|error| format!("the executor did not take it: {error}"))?;
    let (_, result) = driver.result(goal, LONGEST).map_err(|error| error.to_string())?;
    match result.error_code {
        0 => {
            let at = &result.final_pose.pose.position;
            Ok(Some(format!("at ({:.2}, {:.2}); record {} of the journal", at.x, at.y, result.journal_sequence)))
        }
        CANCELED => Ok(None),
        _ => Err(result.error_msg),
    }
}

/// Stops driving for a task.
pub(super) fn stop(driver: Arc<Driver>, goal: GoalId) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = driver.cancel(goal, TAKEN) {
            tracing::warn!("the executor did not answer to a cancellation: {error}");
        }
    });
}
