//! A goal's life as types, so that what is wrong in a state does not compile: requested, then executing, then perhaps
//! canceling, and at its end gone.

use super::ledger::Ledger;
use super::{GoalId, GoalOutcome};
use crate::interface::Action;

/// A goal that a client asks for. Answer it now or later, from any thread; dropped, it is rejected.
pub struct RequestedGoal<A: Action> {
    goal: Option<(Ledger<A>, GoalId)>,
    id: GoalId,
}

impl<A: Action> RequestedGoal<A> {
    pub(super) fn new(ledger: Ledger<A>, id: GoalId) -> RequestedGoal<A> {
        RequestedGoal { goal: Some((ledger, id)), id }
    }

    /// The goal's id.
    pub fn id(&self) -> GoalId {
        self.id
    }

    /// Takes the goal on, and tells the client so.
    pub fn accept(self) -> ExecutingGoal<A> {
        let (acceptance, goal) = self.accept_later();
        acceptance.tell();
        goal
    }

    /// Takes the goal on, and tells the client so when something is done that must come first, such as a record on disk.
    pub fn accept_later(mut self) -> (Acceptance<A>, ExecutingGoal<A>) {
        let goal = self.goal.take();
        (Acceptance(goal.clone()), ExecutingGoal { running: Running(goal), id: self.id })
    }

    /// Tells the client that it is not taken on; the reason goes to the log, since a rejection carries none.
    pub fn reject(self, reason: &str) {
        tracing::warn!("goal rejected: {reason}");
    }
}

impl<A: Action> Drop for RequestedGoal<A> {
    fn drop(&mut self) {
        if let Some((ledger, id)) = self.goal.take() {
            ledger.reject(id);
        }
    }
}

/// The client's answer, still to be given. Dropped, the goal is rejected after all.
pub struct Acceptance<A: Action>(Option<(Ledger<A>, GoalId)>);

impl<A: Action> Acceptance<A> {
    /// Tells the client that its goal is taken on.
    pub fn tell(mut self) {
        if let Some((ledger, id)) = self.0.take() {
            ledger.admit(id);
        }
    }

    /// Tells the client that it is not; the reason goes to the log.
    pub fn reject(self, reason: &str) {
        tracing::warn!("goal rejected: {reason}");
    }
}

impl<A: Action> Drop for Acceptance<A> {
    fn drop(&mut self) {
        if let Some((ledger, id)) = self.0.take() {
            ledger.reject(id);
        }
    }
}

/// A goal that somebody works on. Dropped without an end it counts as aborted, so that no client waits for ever.
struct Running<A: Action>(Option<(Ledger<A>, GoalId)>);

impl<A: Action> Running<A> {
    fn finish(&mut self, outcome: GoalOutcome, result: A::Result) {
        if let Some((ledger, id)) = self.0.take() {
            ledger.finish(id, outcome, result);
        }
    }

    fn feedback(&self, feedback: A::Feedback) {
        if let Some((ledger, id)) = &self.0 {
            ledger.publish_feedback(*id, feedback);
        }
    }
}

impl<A: Action> Drop for Running<A> {
    fn drop(&mut self) {
        if self.0.is_some() {
            tracing::warn!("a goal was given up without a result");
            self.finish(GoalOutcome::Aborted, A::Result::default());
        }
    }
}

/// A goal that is being worked on, and that nobody has canceled as far as its worker knows.
pub struct ExecutingGoal<A: Action> {
    running: Running<A>,
    id: GoalId,
}

impl<A: Action> ExecutingGoal<A> {
    /// The goal's id.
    pub fn id(&self) -> GoalId {
        self.id
    }

    /// Tells clients how far it is.
    pub fn feedback(&self, feedback: A::Feedback) {
        self.running.feedback(feedback);
    }

    /// It has reached what it was to reach.
    pub fn succeed(mut self, result: A::Result) {
        self.running.finish(GoalOutcome::Succeeded, result);
    }

    /// It cannot reach it, or another goal took its place; the result says why.
    pub fn abort(mut self, result: A::Result) {
        self.running.finish(GoalOutcome::Aborted, result);
    }

    /// The goal as one to be canceled, when a client's cancel was accepted; else as it is.
    pub fn canceling(self) -> Result<CancelingGoal<A>, ExecutingGoal<A>> {
        match &self.running.0 {
            Some((ledger, id)) if ledger.is_canceling(*id) => Ok(CancelingGoal(self)),
            _ => Err(self),
        }
    }
}

/// A goal that is to be canceled, and may still succeed or fail.
pub struct CancelingGoal<A: Action>(ExecutingGoal<A>);

impl<A: Action> CancelingGoal<A> {
    /// It was canceled.
    pub fn canceled(mut self, result: A::Result) {
        self.0.running.finish(GoalOutcome::Canceled, result);
    }

    /// It had reached its end before.
    pub fn succeed(self, result: A::Result) {
        self.0.succeed(result);
    }

    /// It failed before it could be canceled.
    pub fn abort(self, result: A::Result) {
        self.0.abort(result);
    }
}
