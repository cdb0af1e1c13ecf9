//! Actions that others carry out: handed out when their turn has come, and called back when they end here.

use super::Executive;
use crate::action::{ErrorCode, Kind};
use crate::errand::{ANSWER_BYTES, ErrandEvent, ErrandFailure};
use crate::goal::{GoalId, Work};
use crate::motion::Now;
use crate::ticket::{Actuator, Record};

impl<R: Record, A: Actuator> Executive<R, A> {
    /// What there is for whoever carries out errands, in order.
    pub fn take_errand(&mut self) -> Option<ErrandEvent> {
        self.errands.pop_front()
    }

    /// How far an errand is: metres still to go. One that has ended already is left alone.
    pub fn on_errand_progress(&mut self, goal: GoalId, distance: f64) {
        if let Some(Work::Errand { left, .. }) =
            self.goal.as_mut().filter(|active| active.id == goal).map(|active| &mut active.work)
            && distance.is_finite()
        {
            *left = distance.max(0.0);
        }
    }

    /// How an errand ended. One that has ended already is left alone.
    pub fn on_errand(&mut self, goal: GoalId, outcome: Result<Vec<u8>, ErrandFailure>, now: Now) {
        self.awake(now);
        let Some(active) = self.goal.as_ref().filter(|active| active.id == goal) else { return };
        let arrived = match (&active.action.kind, self.gate.fresh_state(now.steady)) {
            (Kind::Navigate { target, tolerance, .. }, Some(state)) => {
                let left = state.pose.distance(*target);
                let text = format!(
                    "the planner says that it has arrived, and {left:.3} m are left of which {tolerance} m are tolerated"
                );
                if left <= *tolerance { Ok(()) } else { Err((ErrorCode::Failed, text)) }
            }
            (Kind::Navigate { .. }, None) => Err((ErrorCode::StateStale, self.gate.state_stale().to_string())),
            _ => Ok(()),
        };
        let outcome = match outcome {
            Err(failure) => Err((failure.code, failure.message)),
            Ok(answer) if answer.len() > ANSWER_BYTES => {
                let text = format!("the answer has {} bytes, and may have {ANSWER_BYTES}", answer.len());
                Err((ErrorCode::Failed, text))
            }
            Ok(answer) => arrived.map(|()| answer),
        };
        // It has ended there, so that there is nothing to call back.
        if let Some(Work::Errand { handed_out, .. }) = self.goal.as_mut().map(|active| &mut active.work) {
            *handed_out = false;
        }
        self.still(now);
        match outcome {
            Ok(answer) => self.end_goal_with(answer, now),
            Err((code, message)) => self.end_goal(code, message, now),
        }
    }

    /// Whether `source` is the planner that drives for the action under way.
    pub(super) fn is_planner(&self, source: &str) -> bool {
        let planned = self.goal.as_ref().is_some_and(|goal| matches!(goal.work, Work::Errand { .. }));
        planned && self.config.errands.navigate.as_deref() == Some(source)
    }

    /// Hands the errand of the action under way out, once.
    pub(super) fn hand_out(&mut self) {
        if let Some(goal) = &mut self.goal
            && let Work::Errand { errand, handed_out, .. } = &mut goal.work
            && !*handed_out
        {
            *handed_out = true;
            self.errands.push_back(ErrandEvent::Begin(goal.id, errand.clone()));
        }
    }
}
