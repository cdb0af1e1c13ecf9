//! Actions, as a server and a client on services and topics.
//!
//! r2r's own action server spins without rest ten seconds after its first goal and never frees goals; this one keeps its
//! goals itself, answers a cancel at once, and forgets results after a while.

mod client;
mod goal;
mod ledger;
mod server;

pub use client::{ActionClient, ActionError};
pub use goal::{Acceptance, CancelingGoal, ExecutingGoal, RequestedGoal};
pub use server::CancelDecision;

/// A goal's UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GoalId(pub [u8; 16]);

impl GoalId {
    /// From the message; none when it has not 16 bytes.
    pub(crate) fn from_message(message: &r2r::unique_identifier_msgs::msg::UUID) -> Option<GoalId> {
        message.uuid.as_slice().try_into().ok().map(GoalId)
    }

    pub(crate) fn to_message(self) -> r2r::unique_identifier_msgs::msg::UUID {
        r2r::unique_identifier_msgs::msg::UUID { uuid: self.0.to_vec() }
    }
}

/// How a goal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoalOutcome {
    /// It reached what it was to reach.
    Succeeded,
    /// A client canceled it.
    Canceled,
    /// It ended for another reason, which the result tells.
    Aborted,
}

impl GoalOutcome {
    /// The constant of `action_msgs/GoalStatus`.
    pub(crate) fn status(self) -> i8 {
        match self {
            GoalOutcome::Succeeded => 4,
            GoalOutcome::Canceled => 5,
            GoalOutcome::Aborted => 6,
        }
    }

    pub(crate) fn from_status(status: i8) -> Option<GoalOutcome> {
        [GoalOutcome::Succeeded, GoalOutcome::Canceled, GoalOutcome::Aborted]
            .into_iter()
            .find(|outcome| outcome.status() == status)
    }
}
