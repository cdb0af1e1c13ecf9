//! The asking end of an action, for threads other than the spin thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use r2r::WrappedActionTypeSupport;
use r2r::action_msgs::msg::GoalInfo;
use r2r::action_msgs::srv::CancelGoal;
use thiserror::Error;

use super::{GoalId, GoalOutcome};
use crate::client::{CallError, Client};
use crate::interface::Action;
use crate::node::Node;
use crate::qos;
use crate::start_error::StartError;

/// Why a goal has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActionError {
    /// No answer in time.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server did not take the goal.
    #[error("{action}: the goal was rejected")]
    Rejected {
        /// The action.
        action: String,
    },
    /// The server does not know the goal any more.
    #[error("{action}: the goal is not known (status {status})")]
    Unknown {
        /// The action.
        action: String,
        /// What the server said.
        status: i8,
    },
}

type OnFeedback<A> = Box<dyn FnMut(<A as WrappedActionTypeSupport>::Feedback) + Send>;
type Watching<A> = Arc<Mutex<HashMap<GoalId, OnFeedback<A>>>>;

/// Sends goals to one action.
pub struct ActionClient<A: Action> {
    action: String,
    send_goal: Client<A::SendGoal>,
    get_result: Client<A::GetResult>,
    cancel_goal: Client<CancelGoal::Service>,
    watching: Watching<A>,
}

impl<A: Action> ActionClient<A> {
    /// Sends a goal under an id of the caller's choosing; returns once it is accepted. `on_feedback` is called on the
    /// spin thread until the goal's result is there.
    pub fn send(
        &self,
        id: GoalId,
        goal: A::Goal,
        limit: Duration,
        on_feedback: impl FnMut(A::Feedback) + Send + 'static,
    ) -> Result<(), ActionError> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Box::new(on_feedback));
        let response = self.send_goal.call(&A::make_goal_request_msg(id.to_message(), goal), limit)?;
        let (accepted, _) = A::destructure_goal_response_msg(response);
        if accepted {
            return Ok(());
        }
        self.forget(id);
        Err(ActionError::Rejected { action: self.action.clone() })
    }

    /// Waits for a goal's end.
    pub fn result(&self, id: GoalId, limit: Duration) -> Result<(GoalOutcome, A::Result), ActionError> {
        let response = self.get_result.call(&A::make_result_request_msg(id.to_message()), limit)?;
        self.forget(id);
        let (status, result) = A::destructure_result_response_msg(response);
        let outcome = GoalOutcome::from_status(status)
            .ok_or_else(|| ActionError::Unknown { action: self.action.clone(), status })?;
        Ok((outcome, result))
    }

    fn forget(&self, id: GoalId) {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Asks for a goal to be canceled; its result tells when it is.
    pub fn cancel(&self, id: GoalId, limit: Duration) -> Result<(), ActionError> {
        let goal_info = GoalInfo { goal_id: id.to_message(), ..GoalInfo::default() };
        self.cancel_goal.call(&CancelGoal::Request { goal_info }, limit)?;
        Ok(())
    }
}

impl<S: 'static> Node<S> {
    /// A client of the action `name`.
    pub fn action_client<A>(&mut self, name: &str) -> Result<ActionClient<A>, StartError>
    where
        A: Action,
    {
        let watching: Watching<A> = Arc::default();
        let watched = Arc::clone(&watching);
        self.subscribe(&format!("{name}/_action/feedback"), qos::default(), move |_, message: A::FeedbackMessage| {
            let (uuid, feedback) = A::destructure_feedback_msg(message);
            let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(on_feedback) = GoalId::from_message(&uuid).and_then(|id| watched.get_mut(&id)) {
                on_feedback(feedback);
            }
        })?;
        Ok(ActionClient {
            action: name.to_owned(),
            send_goal: self.client(&format!("{name}/_action/send_goal"))?,
            get_result: self.client(&format!("{name}/_action/get_result"))?,
            cancel_goal: self.client(&format!("{name}/_action/cancel_goal"))?,
            watching,
        })
    }
}
