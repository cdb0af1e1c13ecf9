//! The serving end of an action.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemSteady};
use futures::{FutureExt, StreamExt};
use r2r::action_msgs::msg::{GoalInfo, GoalStatus, GoalStatusArray};
use r2r::action_msgs::srv::CancelGoal;
use r2r::builtin_interfaces::msg::Time;
use r2r::{ServiceRequest, WrappedActionTypeSupport};

use super::{GoalId, GoalOutcome};
use crate::interface::{Action, Service};
use crate::node::{Node, StartError};
use crate::publisher::Publisher;
use crate::qos;

/// How long a result is kept for a client that asks late.
const RESULT_KEPT: Duration = Duration::from_secs(15 * 60);
/// Goals remembered; beyond that the oldest finished ones are forgotten early.
const GOALS_KEPT: usize = 1024;

const EXECUTING: i8 = 2;
const CANCELING: i8 = 3;

/// Answer to a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelDecision {
    /// The goal will be canceled.
    Accept,
    /// It goes on.
    Reject,
}

type SendGoalRequest<A> = ServiceRequest<<A as WrappedActionTypeSupport>::SendGoal>;
type ResultRequest<A> = ServiceRequest<<A as WrappedActionTypeSupport>::GetResult>;

struct Goal<A: Action> {
    stamp: Time,
    admission: Admission<A>,
    stage: Stage<A>,
}

/// Whether the client was told that its goal is taken on.
enum Admission<A: Action> {
    /// Not yet; these requests (the first, and repetitions of it) wait for it.
    Waiting(Vec<SendGoalRequest<A>>),
    Told,
}

enum Stage<A: Action> {
    Running { status: i8, waiting: Vec<ResultRequest<A>> },
    Finished { outcome: GoalOutcome, result: A::Result, at: Steady },
}

impl<A: Action> Goal<A> {
    fn status(&self) -> i8 {
        match &self.stage {
            Stage::Running { status, .. } => *status,
            Stage::Finished { outcome, .. } => outcome.status(),
        }
    }
}

type Goals<A> = BTreeMap<GoalId, Goal<A>>;

/// A handle to the server: feedback and results may come from any thread.
pub struct ActionServer<A: Action> {
    goals: Arc<Mutex<Goals<A>>>,
    feedback: Publisher<A::FeedbackMessage>,
    status: Publisher<GoalStatusArray>,
}

impl<A: Action> Clone for ActionServer<A> {
    fn clone(&self) -> Self {
        ActionServer { goals: Arc::clone(&self.goals), feedback: self.feedback.clone(), status: self.status.clone() }
    }
}

/// A goal that a client asks for. Answer it now or later, from any thread; dropped, it is rejected.
pub struct GoalRequest<A: Action> {
    server: Option<ActionServer<A>>,
    id: GoalId,
    stamp: Time,
}

impl<A: Action> GoalRequest<A> {
    /// The goal's id.
    pub fn id(&self) -> GoalId {
        self.id
    }

    /// Tells the client that the goal is taken on.
    pub fn accept(mut self) {
        if let Some(server) = self.server.take() {
            for request in server.admit(self.id) {
                answer(request, A::make_goal_response_msg(true, self.stamp.clone()));
            }
            server.publish_status();
        }
    }

    /// Tells the client that it is not; the reason goes to the log, since a rejection carries none.
    pub fn reject(mut self, reason: &str) {
        tracing::warn!("goal rejected: {reason}");
        self.refuse();
    }

    fn refuse(&mut self) {
        if let Some(server) = self.server.take() {
            let goal = server.goals().remove(&self.id);
            if let Some(Goal { admission: Admission::Waiting(requests), .. }) = goal {
                for request in requests {
                    answer(request, A::make_goal_response_msg(false, self.stamp.clone()));
                }
            }
        }
    }
}

impl<A: Action> Drop for GoalRequest<A> {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl<A: Action> ActionServer<A> {
    fn goals(&self) -> MutexGuard<'_, Goals<A>> {
        self.goals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells clients how far a goal is.
    pub fn publish_feedback(&self, goal: GoalId, feedback: A::Feedback) {
        self.feedback.publish(&A::make_feedback_msg(goal.to_message(), feedback));
    }

    /// Ends a goal: every client that waits, and each that asks later, gets this result. The first end counts.
    pub fn finish(&self, id: GoalId, outcome: GoalOutcome, result: A::Result) {
        let waiting = {
            let mut goals = self.goals();
            let Some(goal) = goals.get_mut(&id) else { return };
            let Stage::Running { waiting, .. } = &mut goal.stage else { return };
            let waiting = std::mem::take(waiting);
            goal.stage = Stage::Finished { outcome, result: result.clone(), at: SystemSteady.now() };
            waiting
        };
        for request in waiting {
            answer(request, A::make_result_response_msg(outcome.status(), result.clone()));
        }
        self.publish_status();
    }

    fn publish_status(&self) {
        let status = |(id, goal): (&GoalId, &Goal<A>)| GoalStatus {
            goal_info: GoalInfo { goal_id: id.to_message(), stamp: goal.stamp.clone() },
            status: goal.status(),
        };
        let told = |(_, goal): &(&GoalId, &Goal<A>)| matches!(goal.admission, Admission::Told);
        let status_list = self.goals().iter().filter(told).map(status).collect();
        self.status.publish(&GoalStatusArray { status_list });
    }

    /// Notes a goal request; none when it repeats one that is known, which then gets the same answer.
    fn take_in(&self, id: GoalId, stamp: Time, request: SendGoalRequest<A>) -> Option<GoalRequest<A>> {
        let mut goals = self.goals();
        match goals.get_mut(&id) {
            None => {
                let admission = Admission::Waiting(vec![request]);
                let stage = Stage::Running { status: EXECUTING, waiting: Vec::new() };
                goals.insert(id, Goal { stamp: stamp.clone(), admission, stage });
                Some(GoalRequest { server: Some(self.clone()), id, stamp })
            }
            Some(Goal { admission: Admission::Waiting(requests), .. }) => {
                requests.push(request);
                None
            }
            Some(Goal { admission: Admission::Told, stamp, .. }) => {
                let stamp = stamp.clone();
                drop(goals);
                answer(request, A::make_goal_response_msg(true, stamp));
                None
            }
        }
    }

    fn admit(&self, id: GoalId) -> Vec<SendGoalRequest<A>> {
        let mut goals = self.goals();
        let Some(goal) = goals.get_mut(&id) else { return Vec::new() };
        match std::mem::replace(&mut goal.admission, Admission::Told) {
            Admission::Waiting(requests) => requests,
            Admission::Told => Vec::new(),
        }
    }

    fn get_result(&self, id: Option<GoalId>, request: ResultRequest<A>) {
        let mut goals = self.goals();
        let response = match id.and_then(|id| goals.get_mut(&id)).map(|goal| &mut goal.stage) {
            // Status 0, unknown: the goal was never accepted or is forgotten.
            None => A::make_result_response_msg(0, A::Result::default()),
            Some(Stage::Running { waiting, .. }) => {
                waiting.push(request);
                return;
            }
            Some(Stage::Finished { outcome, result, .. }) => {
                A::make_result_response_msg(outcome.status(), result.clone())
            }
        };
        drop(goals);
        answer(request, response);
    }

    /// Goals that a cancel request means: one id, all accepted up to a time, both, or all.
    fn meant(&self, info: &GoalInfo) -> Vec<GoalId> {
        let any_id = info.goal_id.uuid.iter().all(|b| *b == 0);
        let any_time = info.stamp.sec == 0 && info.stamp.nanosec == 0;
        let up_to = crate::convert::stamp(&info.stamp);
        let meant = |(id, goal): &(&GoalId, &Goal<A>)| {
            let early = !any_time && crate::convert::stamp(&goal.stamp) <= up_to;
            let named = !any_id && id.0.as_slice() == info.goal_id.uuid.as_slice();
            matches!(goal.stage, Stage::Running { .. }) && ((any_id && any_time) || early || named)
        };
        self.goals().iter().filter(meant).map(|(id, _)| *id).collect()
    }

    fn mark_canceling(&self, id: GoalId) -> Option<GoalInfo> {
        let mut goals = self.goals();
        let goal = goals.get_mut(&id)?;
        if let Stage::Running { status, .. } = &mut goal.stage {
            *status = CANCELING;
        }
        Some(GoalInfo { goal_id: id.to_message(), stamp: goal.stamp.clone() })
    }

    fn forget_old(&self) {
        let now = SystemSteady.now();
        let mut goals = self.goals();
        let before = goals.len();
        goals.retain(|_, goal| !matches!(&goal.stage, Stage::Finished { at, .. } if now.since(*at) > RESULT_KEPT));
        while goals.len() > GOALS_KEPT {
            let finished = goals.iter().filter_map(|(id, goal)| match &goal.stage {
                Stage::Finished { at, .. } => Some((*at, *id)),
                Stage::Running { .. } => None,
            });
            let Some((_, oldest)) = finished.min() else { break };
            goals.remove(&oldest);
        }
        let changed = goals.len() != before;
        drop(goals);
        if changed {
            self.publish_status();
        }
    }
}

fn answer<T: Service>(request: ServiceRequest<T>, response: T::Response) {
    if let Err(error) = request.respond(response) {
        tracing::warn!("an action's answer could not be sent: {error}");
    }
}

impl<S: 'static> Node<S> {
    /// Serves the action `name`.
    ///
    /// `goal` is called for each new goal and answers it, at once or later; a request sent again gets the first one's
    /// answer. `cancel` is called for each running goal that a client wants canceled.
    pub fn action_server<A: Action>(
        &mut self,
        name: &str,
        mut goal: impl FnMut(&mut S, GoalRequest<A>, A::Goal) + Send + 'static,
        mut cancel: impl FnMut(&mut S, GoalId) -> CancelDecision + Send + 'static,
    ) -> Result<ActionServer<A>, StartError> {
        let server = ActionServer::<A> {
            goals: Arc::default(),
            feedback: self.publisher(&format!("{name}/_action/feedback"), qos::default())?,
            status: self.publisher(&format!("{name}/_action/status"), qos::action_status())?,
        };
        let clock = self.clock();

        let mut goal_requests = self.requests::<A::SendGoal>(&format!("{name}/_action/send_goal"))?;
        let handle = server.clone();
        self.poll(move |state| {
            while let Some(Some(request)) = goal_requests.next().now_or_never() {
                let (uuid, message) = A::destructure_goal_request_msg(request.message.clone());
                let stamp = crate::convert::time(clock.now());
                match GoalId::from_message(&uuid) {
                    None => answer(request, A::make_goal_response_msg(false, stamp)),
                    Some(id) => {
                        handle.forget_old();
                        if let Some(new) = handle.take_in(id, stamp, request) {
                            goal(state, new, message);
                        }
                    }
                }
            }
        });

        let mut cancel_requests = self.requests::<CancelGoal::Service>(&format!("{name}/_action/cancel_goal"))?;
        let handle = server.clone();
        self.poll(move |state| {
            while let Some(Some(request)) = cancel_requests.next().now_or_never() {
                let meant = handle.meant(&request.message.goal_info);
                let canceled: Vec<GoalId> =
                    meant.iter().copied().filter(|id| cancel(state, *id) == CancelDecision::Accept).collect();
                let goals_canceling: Vec<GoalInfo> =
                    canceled.iter().filter_map(|id| handle.mark_canceling(*id)).collect();
                // 1: rejected, 2: unknown goal.
                let return_code = match (meant.is_empty(), goals_canceling.is_empty()) {
                    (true, _) => 2,
                    (false, true) => 1,
                    (false, false) => 0,
                };
                answer(request, CancelGoal::Response { return_code, goals_canceling });
                handle.publish_status();
            }
        });

        let mut result_requests = self.requests::<A::GetResult>(&format!("{name}/_action/get_result"))?;
        let handle = server.clone();
        self.poll(move |_| {
            while let Some(Some(request)) = result_requests.next().now_or_never() {
                let id = GoalId::from_message(&A::destructure_result_request_msg(request.message.clone()));
                handle.get_result(id, request);
            }
        });

        let handle = server.clone();
        self.timer(Duration::from_secs(10), move |_| handle.forget_old());
        Ok(server)
    }
}
