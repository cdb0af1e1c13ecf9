//! The action `~/execute`.

use ecps_guard::Refused;
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::{CancelDecision, ExecutingGoal, RequestedGoal};

use super::{Execute, Executor, convert, now};
use crate::action::{ErrorCode, Rejection};
use crate::goal::Finished;
use crate::motion::Request;
use crate::queue::{Repeat, Submitted};

/// Most ROS goals that ask for one action.
const REPEATS: usize = 16;

impl Executor {
    /// A goal that cannot be executed is accepted and aborted, since only a result carries the reason. One that repeats an
    /// action gets that action's result.
    pub(super) fn on_goal(&mut self, request: RequestedGoal<Execute>, goal: ExecuteAction::Goal) {
        if let Some((code, reason)) = self.refuse(&goal.caller) {
            let code = if code == super::requests::EXPIRED { ErrorCode::Expired } else { ErrorCode::Invalid };
            return request.accept().abort(refusal(code, reason));
        }
        let caller = Request { caller: &goal.caller.id, trace: convert::request(&goal.caller) };
        let asked = convert::permissions(goal.action.kind);
        let submitted = convert::action(goal.action).and_then(|message| {
            // One that is known already acts no second time, so that it may be asked for again.
            let admitted = match self.executive.knows(&goal.caller.id, &message.id) {
                true => self.door.admit_again(&goal.caller, asked),
                false => self.door.admit(&goal.caller, asked),
            };
            let denied = |refused: Refused| Rejection { code: ErrorCode::Unauthorized, message: refused.to_string() };
            admitted.map_err(denied)?;
            self.executive.submit(caller, &message, now(&self.clock))
        });
        match submitted {
            Err(rejection) => request.accept().abort(refusal(rejection.code, rejection.message)),
            Ok(Submitted { repeat: Repeat::Ended(finished), .. }) => end(request.accept(), finished, &self.frame),
            Ok(Submitted { goal: execution, .. }) => {
                let waiting = self.goals.entry(execution).or_default();
                if waiting.len() >= REPEATS {
                    let text = format!("{REPEATS} goals ask for this action already");
                    request.accept().abort(refusal(ErrorCode::QueueFull, text));
                } else {
                    let (acceptance, goal) = request.accept_later();
                    waiting.push(goal);
                    self.acknowledger.when_durable(execution.0, move |synced| match synced {
                        Ok(()) => acceptance.tell(),
                        Err(error) => acceptance.reject(&error.to_string()),
                    });
                }
            }
        }
        self.settle();
    }

    pub(super) fn on_cancel(&mut self, goal: ecps_ros::GoalId) -> CancelDecision {
        let asked = |goals: &Vec<ExecutingGoal<Execute>>| goals.iter().any(|running| running.id() == goal);
        let execution = self.goals.iter().find(|(_, goals)| asked(goals)).map(|(execution, _)| *execution);
        let canceled = execution.is_some_and(|execution| self.executive.cancel(execution, now(&self.clock)));
        // Settled by the next tick, so that the client hears of the cancel before its result.
        if canceled { CancelDecision::Accept } else { CancelDecision::Reject }
    }

    pub(super) fn finish(&mut self, finished: Finished) {
        for goal in self.goals.remove(&finished.goal).into_iter().flatten() {
            end(goal, finished.clone(), &self.frame);
        }
    }

    pub(super) fn publish_feedback(&mut self) {
        for feedback in self.executive.feedback(now(&self.clock)) {
            for goal in self.goals.get(&feedback.goal).into_iter().flatten() {
                goal.feedback(convert::feedback(&feedback, &self.frame));
            }
        }
    }
}

fn end(goal: ExecutingGoal<Execute>, finished: Finished, frame: &str) {
    let code = finished.code;
    let result = convert::result(finished, frame);
    match code {
        ErrorCode::None => goal.succeed(result),
        ErrorCode::Canceled => match goal.canceling() {
            Ok(goal) => goal.canceled(result),
            Err(goal) => goal.abort(result),
        },
        _ => goal.abort(result),
    }
}

fn refusal(code: ErrorCode, message: String) -> ExecuteAction::Result {
    ExecuteAction::Result { error_code: code as u16, error_msg: message, ..Default::default() }
}
