//! Actions: accepted, waiting for their turn, driven on, ended.

use std::time::Duration;

use ecps_core::check;
use ecps_core::clock::Steady;
use ecps_core::limits::NAME_BYTES;
use ecps_core::wire::proto;
use ecps_journal::{Direction, Durable, record};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::Executive;
use super::records::moment;
use crate::action::{ACTION_BYTES, Action, ErrorCode, Kind, Rejection};
use crate::arming::ArmingState;
use crate::drive::Step;
use crate::errand::ErrandEvent;
use crate::gate::{ACTION_SOURCE, Verdict};
use crate::goal::{Feedback, Finished, Goal, GoalId, Progress, Work};
use crate::motion::{Now, Request, Velocity, VelocityCommand};
use crate::plan::OnFailure;
use crate::queue::{Repeat, Submitted};
use crate::stop::StopCause;
use crate::ticket::{Actuator, Record};

/// Most actions that are told how they go on.
const TOLD: usize = 64;

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Queues an action, recognises one that was queued before, or says why not. It starts when its record is on disk,
    /// its turn has come and its time is right; how it ends comes from [`Executive::take_finished`], once for each
    /// that was new.
    pub fn submit(&mut self, request: Request<'_>, message: &proto::Eap, now: Now) -> Result<Submitted, Rejection> {
        self.awake(now);
        let digest = Sha256::digest(message.encode_to_vec()).into();
        if let Some(before) = self.queue.recall(request.caller, &message.id, &digest)? {
            return Ok(before);
        }
        let checked = self.check_action(request, message, now);
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
        let goal = GoalId(recorded.map_err(|cause| Rejection::new(ErrorCode::Journal, cause))?);
        let queued = Goal::new(goal, action, request, &self.config, self.joints.fingers(), now.steady);
        // There are fingers where a grip was accepted.
        let queued = queued.ok_or_else(|| Rejection::new(ErrorCode::Unsupported, "this robot has no gripper"))?;
        self.queue.push(queued, digest);
        Ok(Submitted { goal, repeat: Repeat::First })
    }

    /// Whether the caller's action of that id was queued before, and is remembered.
    pub fn knows(&self, caller: &str, id: &str) -> bool {
        self.queue.knows(caller, id)
    }

    fn check_action(&self, request: Request<'_>, message: &proto::Eap, now: Now) -> Result<Action, Rejection> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        let action = Action::from_message(message, &self.config.frame)?;
        match (self.gate.arming().state(), self.gate.arming().first()) {
            (ArmingState::Armed, _) => {}
            (_, Some(stop)) => {
                return Err(Rejection::new(ErrorCode::Stopped, format!("a protective stop is latched ({stop})")));
            }
            (_, None) => return Err(Rejection::new(ErrorCode::NotArmed, "the gate is disarmed; call ~/enable first")),
        }
        self.queue.check_room()?;
        self.queue.check_dependencies(request.caller, &action.plan.after)?;
        if action.plan.expired(now.ros) {
            return Err(Rejection::new(ErrorCode::Expired, "action.meta.expires_at_ns is past"));
        }
        let (errands, unsupported) =
            (&self.config.errands, |text: &str| Err(Rejection::new(ErrorCode::Unsupported, text)));
        match &action.kind {
            Kind::SetPose { .. } | Kind::Navigate { .. } if self.gate.fresh_state(now.steady).is_none() => {
                return Err(Rejection::new(ErrorCode::StateStale, self.gate.state_stale()));
            }
            Kind::SetPose { .. } | Kind::Navigate { .. } => {}
            Kind::Gripper { force, .. } => self.check_grip(*force, now)?,
            Kind::Manipulate { frame, task } => self.check_task(frame, task, now)?,
            Kind::Cloud(_) if !errands.cloud => {
                return unsupported("no cloud endpoint is configured (parameter 'cloud_endpoint')");
            }
            Kind::Sim(_) if !errands.sim => {
                return unsupported("the robot is not simulated (parameter 'sim_step_service')");
            }
            Kind::Cloud(_) | Kind::Sim(_) => {}
        }
        if let Some(sha) = action.state_sha {
            let lifetime = self.config.state_lifetime;
            let fresh = |at: &Steady| now.steady.since(*at) <= lifetime;
            if !self.history.iter().rev().any(|(at, state)| fresh(at) && state.sha() == sha) {
                let text = format!("action.state_sha is of no state that was measured in the last {lifetime:?}");
                return Err(Rejection::new(ErrorCode::Expired, text));
            }
        }
        if let Some(target) = action.kind.target()
            && let Some(zone) = self.config.gate.zones.iter().find(|zone| !zone.allows([target.x, target.y]))
        {
            let text = format!("the target ({:.3}, {:.3}) is where zone '{}' bars it", target.x, target.y, zone.name());
            return Err(Rejection::new(ErrorCode::OutOfLimits, text));
        }
        Ok(action)
    }

    /// Ends an action that waits or is under way; false where it has ended already.
    pub fn cancel(&mut self, goal: GoalId, now: Now) -> bool {
        let message = "the action was canceled";
        if self.goal.as_ref().is_some_and(|g| g.id == goal) {
            self.still(now);
            self.end_goal(ErrorCode::Canceled, message.into(), now);
            return true;
        }
        let waiting = self.queue.remove_first(|waiting| waiting.id == goal);
        waiting.map(|goal| self.conclude(goal, ErrorCode::Canceled, message.into(), now)).is_some()
    }

    /// Ends since the last call, in order.
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// Ends what waited too long, and starts what may start.
    pub(super) fn advance(&mut self, now: Now) {
        while let Some(late) = self.queue.remove_first(|goal| goal.action.plan.expired(now.ros)) {
            self.conclude(late, ErrorCode::Expired, "it did not start before action.meta.expires_at_ns".into(), now);
        }
        while self.goal.is_none()
            && let Some(first) = self.queue.first()
        {
            match self.journal.durable(first.id.0) {
                Durable::OnDisk => {}
                Durable::InKernel if now.steady.since(first.accepted) <= self.config.drive.progress_timeout => return,
                Durable::InKernel => {
                    let text = format!("its record was not on disk within {:?}", self.config.drive.progress_timeout);
                    let Some(goal) = self.queue.pop() else { return };
                    self.conclude(goal, ErrorCode::Journal, text, now);
                    continue;
                }
                Durable::Failed(cause) => return self.trip(StopCause::Journal, &cause, now),
            }
            let outranked =
                self.gate.sources().find(ACTION_SOURCE).and_then(|id| self.gate.sources().outranked(id, now.steady));
            if first.action.plan.early(now.ros) || (outranked.is_some() && first.moves_base()) {
                return;
            }
            let dependencies = self.queue.check_dependencies(&first.caller, &first.action.plan.after);
            let Some(goal) = self.queue.pop() else { return };
            match dependencies {
                Err(rejection) => self.conclude(goal, rejection.code, rejection.message, now),
                Ok(()) => {
                    self.goal = Some(goal);
                    // Whatever moved the robot until now; should that fail, the stop ends the action.
                    self.still(now);
                }
            }
        }
    }

    /// Whether the executor itself drives the base at present.
    pub(super) fn is_driving(&self) -> bool {
        self.goal.as_ref().is_some_and(|goal| matches!(goal.work, Work::Drive(_)))
    }

    /// One step of the action.
    pub(super) fn step_goal(&mut self, now: Now) {
        match self.goal.as_ref().map(|goal| &goal.work) {
            Some(Work::Drive(_)) => self.drive(now),
            Some(Work::Grip { .. }) => self.step_grip(now),
            Some(Work::Manipulate { .. }) => self.step_manipulation(now),
            Some(Work::Errand { .. }) => self.hand_out(),
            None => {}
        }
    }

    fn drive(&mut self, now: Now) {
        let Some(goal) = &mut self.goal else { return };
        let elapsed = goal.stepped.map_or(Duration::ZERO, |last| now.steady.since(last));
        goal.stepped = Some(now.steady);
        let Some(state) = self.gate.fresh_state(now.steady) else {
            let text = self.gate.state_stale().to_string();
            self.halt(now);
            return self.end_goal(ErrorCode::StateStale, text, now);
        };
        let limits = goal.limits(self.gate.limits());
        let Work::Drive(driver) = &mut goal.work else { return };
        match driver.step(state.pose, &limits, elapsed) {
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

    /// How the first actions in line go on, the one under way first, at most 64.
    pub fn feedback(&self, now: Now) -> Vec<Feedback> {
        let state = self.gate.last_state();
        let active = self.goal.iter().map(|goal| (goal, Progress::Started));
        let waiting = self.queue.iter().map(|goal| (goal, Progress::Accepted));
        let describe = |(before, (goal, progress)): (usize, (&Goal, Progress))| Feedback {
            goal: goal.id,
            state,
            distance_remaining: goal.left(state.as_ref()),
            elapsed: now.steady.since(goal.accepted),
            progress,
            before,
        };
        active.chain(waiting).take(TOLD).enumerate().map(describe).collect()
    }

    /// Ends the action under way, if there is one; the caller has given the actuator its safe state.
    pub(super) fn end_goal(&mut self, code: ErrorCode, message: String, now: Now) {
        if let Some(goal) = self.goal.take() {
            self.conclude(goal, code, message, now);
        }
    }

    /// Ends the action under way, which has succeeded and brought something back.
    pub(super) fn end_goal_with(&mut self, answer: Vec<u8>, now: Now) {
        if let Some(goal) = self.goal.take() {
            self.conclude_with(goal, ErrorCode::None, String::new(), answer, now);
        }
    }

    /// Ends the action under way and all that wait.
    pub(super) fn end_all(&mut self, code: ErrorCode, message: &str, now: Now) {
        self.end_goal(code, message.into(), now);
        while let Some(goal) = self.queue.pop() {
            self.conclude(goal, code, message.into(), now);
        }
    }

    fn conclude(&mut self, goal: Goal, code: ErrorCode, message: String, now: Now) {
        self.conclude_with(goal, code, message, Vec::new(), now);
    }

    /// Records and tells how an action ended that is neither under way nor waiting any more.
    fn conclude_with(&mut self, goal: Goal, code: ErrorCode, message: String, answer: Vec<u8>, now: Now) {
        if let Work::Errand { handed_out: true, .. } = goal.work
            && code != ErrorCode::None
        {
            self.errands.push_back(ErrandEvent::Recall(goal.id));
        }
        let state = self.gate.last_state();
        let payload = record::Outcome {
            action_sequence: goal.id.0,
            error_code: code as u32,
            error_msg: message.clone(),
            state_sha: state.map(|s| s.sha().to_vec()).unwrap_or_default(),
        };
        let finished = Finished { goal: goal.id, code, message, state, answer };
        self.queue.ended(&goal, &finished);
        let failed = !matches!(code, ErrorCode::None | ErrorCode::Canceled | ErrorCode::Preempted | ErrorCode::Stopped);
        if failed && goal.action.plan.on_failure == OnFailure::Stop {
            let detail = format!("action '{}' must not fail, and did: {}", goal.action.id, finished.message);
            self.finished.push_back(finished);
            self.trip(StopCause::ActionFailed, &detail, now);
        } else {
            self.finished.push_back(finished);
        }
        let _ = self.note(moment(now, Direction::Internal, goal.trace), &payload, now);
    }
}
