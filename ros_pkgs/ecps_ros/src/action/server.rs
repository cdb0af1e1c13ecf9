//! The serving end of an action.

use std::time::Duration;

use ecps_core::clock::RosClock;
use futures::{FutureExt, StreamExt};
use r2r::action_msgs::msg::GoalInfo;
use r2r::action_msgs::srv::CancelGoal;

use super::GoalId;
use super::goal::RequestedGoal;
use super::ledger::{GATHERING, Ledger};
use crate::interface::Action;
use crate::node::{Gate, Node};
use crate::qos;
use crate::service::respond;
use crate::start_error::StartError;

/// How often results that nobody fetched are looked through.
const FORGETTING: Duration = Duration::from_secs(1);

/// Answer to a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelDecision {
    /// The goal will be canceled.
    Accept,
    /// It goes on.
    Reject,
}

impl<S: 'static> Node<S> {
    /// Serves the action `name`.
    ///
    /// `goal` is called for each new goal and answers it, at once or later; a request sent again gets the first one's
    /// answer. `cancel` is called for each running goal that a client wants canceled. While the node is not active, goals
    /// are rejected; what runs may still be canceled, and results fetched.
    pub fn action_server<A: Action>(
        &mut self,
        name: &str,
        mut goal: impl FnMut(&mut S, RequestedGoal<A>, A::Goal) + Send + 'static,
        mut cancel: impl FnMut(&mut S, GoalId) -> CancelDecision + Send + 'static,
    ) -> Result<(), StartError> {
        let ledger = Ledger::<A>::new(
            self.publisher(&format!("{name}/_action/feedback"), qos::default())?,
            self.publisher(&format!("{name}/_action/status"), qos::action_status())?,
        );
        let clock = self.clock();

        let mut goal_requests = self.requests::<A::SendGoal>(&format!("{name}/_action/send_goal"))?;
        let goals = ledger.clone();
        self.poll(move |state, gate| {
            while let Some(Some(request)) = goal_requests.next().now_or_never() {
                let (uuid, message) = A::destructure_goal_request_msg(request.message.clone());
                let stamp = crate::convert::time(clock.now());
                let Some(id) = GoalId::from_message(&uuid) else {
                    respond(request, A::make_goal_response_msg(false, stamp));
                    continue;
                };
                goals.forget_old();
                if goals.take_in(id, stamp, request).is_some() {
                    let requested = RequestedGoal::new(goals.clone(), id);
                    match gate {
                        Gate::Open => goal(state, requested, message),
                        Gate::Closed => requested.reject("the node is not active"),
                    }
                }
            }
        });

        let mut cancel_requests = self.requests::<CancelGoal::Service>(&format!("{name}/_action/cancel_goal"))?;
        let goals = ledger.clone();
        self.poll(move |state, _| {
            while let Some(Some(request)) = cancel_requests.next().now_or_never() {
                let meant = goals.meant(&request.message.goal_info);
                let canceled: Vec<GoalId> =
                    meant.iter().copied().filter(|id| cancel(state, *id) == CancelDecision::Accept).collect();
                let goals_canceling: Vec<GoalInfo> =
                    canceled.iter().filter_map(|id| goals.mark_canceling(*id)).collect();
                // 1: rejected, 2: unknown goal.
                let return_code = match (meant.is_empty(), goals_canceling.is_empty()) {
                    (true, _) => 2,
                    (false, true) => 1,
                    (false, false) => 0,
                };
                respond(request, CancelGoal::Response { return_code, goals_canceling });
                goals.publish_status();
            }
        });

        let mut result_requests = self.requests::<A::GetResult>(&format!("{name}/_action/get_result"))?;
        let goals = ledger.clone();
        self.poll(move |_, _| {
            while let Some(Some(request)) = result_requests.next().now_or_never() {
                let id = GoalId::from_message(&A::destructure_result_request_msg(request.message.clone()));
                goals.get_result(id, request);
            }
        });

        let goals = ledger.clone();
        self.steady_timer(GATHERING, move |_| goals.publish_gathered());
        self.steady_timer(FORGETTING, move |_| ledger.forget_old());
        Ok(())
    }
}
