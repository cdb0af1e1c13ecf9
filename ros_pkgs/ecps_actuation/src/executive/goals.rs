//! Actions: accepted, driven on, ended.

use std::time::Duration;

use ecps_core::check;
use ecps_core::clock::Steady;
use ecps_core::limits::NAME_BYTES;
use ecps_core::wire::proto;
use ecps_journal::{Direction, Durable, record};
use prost::Message as _;

use super::Executive;
use super::records::moment;
use crate::action::{ACTION_BYTES, Action, ErrorCode, Rejection};
use crate::drive::Step;
use crate::gate::Verdict;
use crate::goal::{Feedback, Finished, Goal, GoalId, Phase};
use crate::motion::{Now, Request, Velocity, VelocityCommand};
use crate::stop::StopCause;
use crate::ticket::{Actuator, Record};

/// Source of an action's velocities in the journal.
pub const ACTION_SOURCE: &str = "execute";

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Accepts an action, which ends the one before, or says why not. It starts when its record is on disk; how it ends
    /// comes from [`Executive::take_finished`].
    pub fn start_goal(&mut self, request: Request<'_>, message: &proto::Eap, now: Now) -> Result<GoalId, Rejection> {
        let checked = self.check_goal(request, message, now);
        let (verdict, code, text) = match &checked {
            Ok(_) => (record::Verdict::Admitted, ErrorCode::None, String::new()),
            Err(rejection) => (record::Verdict::Refused, rejection.code, rejection.message.clone()),
        };
        let kept = message.encoded_len() <= ACTION_BYTES;
        let payload = record::Action {
            caller: request.caller.chars().take(NAME_BYTES).collect(),
            eap: if kept { message.encode_to_vec() } else { Vec::new() },
            verdict: verdict.into(),
            error_code: code as u32,
            error_msg: text,
        };
        let recorded = self.note(moment(now, Direction::Inbound, request.trace), &payload, now);
        let action = checked?;
        let sequence = recorded.map_err(|cause| Rejection::new(ErrorCode::Journal, cause))?;
        if let Some(before) = &self.goal {
            let message = format!("action '{}' took over from '{}'", action.id, before.action.id);
            self.end_goal(ErrorCode::Preempted, message, now);
        }
        let id = GoalId(sequence);
        self.goal = Some(Goal::new(id, action, request.trace, self.config.drive, now.steady));
        // Whatever moved the robot until now; should that fail, the stop ends the action.
        self.halt(now);
        Ok(id)
    }

    fn check_goal(&self, request: Request<'_>, message: &proto::Eap, now: Now) -> Result<Action, Rejection> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        let action = Action::from_message(message, &self.config.frame)?;
        if let Some(stop) = self.gate.latch().first() {
            return Err(Rejection::new(ErrorCode::Stopped, format!("a protective stop is latched ({stop})")));
        }
        if self.gate.fresh_state(now.steady).is_none() {
            return Err(Rejection::new(ErrorCode::StateStale, self.gate.state_stale()));
        }
        if let Some(sha) = action.state_sha {
            let lifetime = self.config.state_lifetime;
            let fresh = |at: &Steady| now.steady.since(*at) <= lifetime;
            if !self.history.iter().rev().any(|(at, state)| fresh(at) && state.sha() == sha) {
                let text = format!("action.state_sha is of no state that was measured in the last {lifetime:?}");
                return Err(Rejection::new(ErrorCode::Expired, text));
            }
        }
        let target = action.kind.target();
        if let Some(workspace) = &self.config.gate.workspace
            && !workspace.contains([target.x, target.y])
        {
            let text = format!("the target ({:.3}, {:.3}) is outside the workspace", target.x, target.y);
            return Err(Rejection::new(ErrorCode::OutOfLimits, text));
        }
        Ok(action)
    }

    /// Ends an action; false where it has ended already.
    pub fn cancel(&mut self, goal: GoalId, now: Now) -> bool {
        let active = self.goal.as_ref().is_some_and(|g| g.id == goal);
        if active {
            self.halt(now);
            self.end_goal(ErrorCode::Canceled, "the action was canceled".into(), now);
        }
        active
    }

    /// Ends since the last call, in order.
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// One step of the action.
    pub(super) fn drive(&mut self, now: Now) {
        let Some(goal) = &mut self.goal else { return };
        let elapsed = match goal.phase {
            Phase::Driving(last) => now.steady.since(last),
            Phase::Recorded => match self.journal.durable(goal.id.0) {
                Durable::OnDisk => Duration::ZERO,
                Durable::InKernel if now.steady.since(goal.started) <= self.config.drive.progress_timeout => return,
                Durable::InKernel => {
                    let text = format!("its record was not on disk within {:?}", self.config.drive.progress_timeout);
                    return self.end_goal(ErrorCode::Journal, text, now);
                }
                Durable::Failed(cause) => return self.trip(StopCause::Journal, &cause, now),
            },
        };
        goal.phase = Phase::Driving(now.steady);
        let Some(state) = self.gate.fresh_state(now.steady) else {
            let text = self.gate.state_stale().to_string();
            self.halt(now);
            return self.end_goal(ErrorCode::StateStale, text, now);
        };
        let limits = goal.limits(self.gate.limits());
        match goal.driver.step(state.pose, &limits, elapsed) {
            Ok(Step::Drive(Velocity { x, y, yaw })) => {
                let trace = goal.trace;
                let command = VelocityCommand {
                    source: ACTION_SOURCE,
                    linear: [x, y, 0.0],
                    angular: [0.0, 0.0, yaw],
                    stamp: None,
                };
                let verdict = self.gate.admit(&command, now);
                if let Verdict::Refuse(refusal) = self.carry_out(&command, verdict, trace, now) {
                    // Where carrying it out tripped the stop, that has ended the action already.
                    self.halt(now);
                    self.end_goal(ErrorCode::OutOfLimits, refusal.to_string(), now);
                }
            }
            Ok(Step::Arrived) => {
                self.halt(now);
                self.end_goal(ErrorCode::None, String::new(), now);
            }
            Err(no_progress) => {
                self.halt(now);
                self.end_goal(ErrorCode::NoProgress, no_progress.to_string(), now);
            }
        }
    }

    /// How the action goes on; none without one, or before the first state.
    pub fn feedback(&self, now: Now) -> Option<Feedback> {
        let (goal, state) = (self.goal.as_ref()?, self.gate.last_state()?);
        Some(Feedback {
            goal: goal.id,
            state,
            distance_remaining: state.pose.distance(goal.driver.target()),
            elapsed: now.steady.since(goal.started),
        })
    }

    /// Ends the action, if there is one; the caller has given the actuator a zero.
    pub(super) fn end_goal(&mut self, code: ErrorCode, message: String, now: Now) {
        let Some(goal) = self.goal.take() else { return };
        let state = self.gate.last_state();
        let payload = record::Outcome {
            action_sequence: goal.id.0,
            error_code: code as u32,
            error_msg: message.clone(),
            state_sha: state.map(|s| s.sha().to_vec()).unwrap_or_default(),
        };
        let _ = self.note(moment(now, Direction::Internal, goal.trace), &payload, now);
        self.finished.push_back(Finished { goal: goal.id, code, message, state });
    }
}
