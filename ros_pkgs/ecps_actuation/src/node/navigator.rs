//! Navigation by Nav2: the goal, its feedback and its cancel are relayed; what the planner commands passes the gate as one of
//! its sources.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ecps_ros::{Node, StartError};

use super::Executor;
use crate::errand::ErrandFailure;
use crate::state::PlanarPose;

#[cfg(nav2)]
pub(super) use relay::Navigator;

/// Where this was built without nav2_msgs there is no planner.
#[cfg(not(nav2))]
#[derive(Clone)]
pub(super) enum Navigator {}

#[cfg(not(nav2))]
impl Navigator {
    pub(super) fn new(_: &mut Node<Executor>, action: &str, _: &str, _: Duration) -> Result<Navigator, StartError> {
        Err(StartError::layer(format!(
            "parameter 'navigate_action' is '{action}', and this executor was built where nav2_msgs was not found"
        )))
    }

    pub(super) fn navigate(
        &self,
        _: PlanarPose,
        _: &AtomicBool,
        _: impl Fn(f64) + Send + 'static,
    ) -> Result<(), ErrandFailure> {
        match *self {}
    }
}

#[cfg(nav2)]
mod relay {
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Instant;

    use ecps_ros::r2r::nav2_msgs::action::NavigateToPose;
    use ecps_ros::{ActionClient, ActionError, CallError, GoalId, GoalOutcome};

    use super::*;
    use crate::action::ErrorCode;

    /// Within which the server takes a goal.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// How often an unanswered goal is looked after.
    const LOOK: Duration = Duration::from_millis(100);

    /// The asking end of a NavigateToPose server.
    #[derive(Clone)]
    pub(in super::super) struct Navigator {
        client: Arc<ActionClient<NavigateToPose::Action>>,
        action: Arc<str>,
        frame: Arc<str>,
        /// Silence of the server after which it is given up.
        patience: Duration,
    }

    /// Says that nobody waits any more, when it goes.
    #[derive(Default)]
    struct Over(Arc<AtomicBool>);

    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    impl Navigator {
        pub(in super::super) fn new(
            node: &mut Node<Executor>,
            action: &str,
            frame: &str,
            patience: Duration,
        ) -> Result<Navigator, StartError> {
            let client = Arc::new(node.action_client(action)?);
            Ok(Navigator { client, action: action.into(), frame: frame.into(), patience })
        }

        /// Sends the goal and waits for its end; cancels it once `recalled` is set, or when the server falls silent.
        pub(in super::super) fn navigate(
            &self,
            target: PlanarPose,
            recalled: &AtomicBool,
            progress: impl Fn(f64) + Send + 'static,
        ) -> Result<(), ErrandFailure> {
            let failed = |message: String| ErrandFailure { code: ErrorCode::Failed, message };
            let id = GoalId(uuid::Uuid::now_v7().into_bytes());
            let mut goal = NavigateToPose::Goal::default();
            goal.pose.header.frame_id = self.frame.to_string();
            (goal.pose.pose.position.x, goal.pose.pose.position.y) = (target.x, target.y);
            let [x, y, z, w] = target.quaternion();
            let orientation = &mut goal.pose.pose.orientation;
            (orientation.x, orientation.y, orientation.z, orientation.w) = (x, y, z, w);
            let heard = Arc::new(Mutex::new(Instant::now()));
            let hearing = Arc::clone(&heard);
            let on_feedback = move |feedback: NavigateToPose::Feedback| {
                *hearing.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                progress(feedback.distance_remaining.into());
            };
            self.client.send(id, goal, PATIENCE, on_feedback).map_err(|error| match error {
                ActionError::Rejected { .. } => failed(format!("the planner {} rejected the goal", self.action)),
                other => failed(format!("the planner {} does not answer: {other}", self.action)),
            })?;
            let mut canceled = None;
            // One asks, and the other looks after it; the one ends soon after the other.
            let (tell, told) = std::sync::mpsc::channel();
            let (asking, over) = (Arc::clone(&self.client), Over::default());
            let given_up = Arc::clone(&over.0);
            let ask = move || {
                let mut answer = asking.result(id, PATIENCE);
                while matches!(answer, Err(ActionError::Call(CallError::Expired { .. })))
                    && !given_up.load(Ordering::Acquire)
                {
                    answer = asking.result(id, PATIENCE);
                }
                drop(tell.send(answer));
            };
            std::thread::Builder::new().name("eap-planner".into()).spawn(ask).map_err(|e| failed(e.to_string()))?;
            loop {
                match told.recv_timeout(LOOK) {
                    Ok(Ok((GoalOutcome::Succeeded, _))) => return Ok(()),
                    Ok(Ok((outcome, result))) => {
                        let code = result.error_code;
                        return Err(failed(format!(
                            "the planner {} ended {outcome:?}, error code {code}",
                            self.action
                        )));
                    }
                    Ok(Err(error)) => return Err(failed(error.to_string())),
                    Err(_) => {}
                }
                let silence = heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
                if canceled.is_none() && (recalled.load(Ordering::Acquire) || silence > self.patience) {
                    canceled = Some(Instant::now());
                    if let Err(CallError::Expired { .. }) = self.client.cancel(id, PATIENCE).map_err(|e| match e {
                        ActionError::Call(call) => call,
                        other => CallError::Ros { service: self.action.to_string(), reason: other.to_string() },
                    }) {
                        return Err(failed(format!("the planner {} is gone", self.action)));
                    }
                }
                if canceled.is_some_and(|at| at.elapsed() > PATIENCE) {
                    return Err(failed(format!("the planner {} was silent for {silence:?}", self.action)));
                }
            }
        }
    }
}
