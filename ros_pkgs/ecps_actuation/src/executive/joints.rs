//! Joints: what is sent to them and recorded, and the grip of an action.

use ecps_core::limits::NAME_BYTES;
use ecps_journal::Direction;
use ecps_journal::record::{self, JointMotion};

use super::Executive;
use super::records::{WATCH_SOURCE, moment};
use crate::action::{ErrorCode, Kind, Rejection};
use crate::gate::ACTION_SOURCE;
use crate::goal::Work;
use crate::joint::limbs::{AttachError, Limbs};
use crate::joint::shape::{JOINTS_KEPT, NUMBERS, POINTS};
use crate::joint::{
    GripConfig, GripStep, JointCommand, JointConfig, JointGate, JointStateError, JointStates, JointVerdict, Reach,
    Trajectory,
};
use crate::ledger::Detail;
use crate::motion::Now;
use crate::reason::{Reason, Refusal};
use crate::stop::StopCause;
use crate::ticket::{Actuator, JointActuator, Journaled, Record};

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Gives the executor joints to move: one actuator for each group, in their order. From the first measurement on they
    /// can be brought to their safe states; before that nothing is sent to them.
    pub fn attach(
        &mut self,
        config: JointConfig,
        actuators: Vec<Box<dyn JointActuator>>,
        gripper: Option<GripConfig>,
        reach: Option<Reach>,
    ) -> Result<(), AttachError> {
        self.joints = Limbs::new(config, actuators, gripper, reach)?;
        Ok(())
    }

    /// Joint states arrived.
    pub fn on_joint_states(&mut self, states: &JointStates<'_>, now: Now) -> Result<(), JointStateError> {
        self.joints.measured(states, now.steady)
    }

    /// A trajectory arrived. One of a source that outranks actions ends the action that has the joints.
    pub fn on_trajectory(&mut self, command: &JointCommand<'_>, now: Now) -> JointVerdict {
        self.awake(now);
        if self.tokens {
            let topic = command.source.chars().take(NAME_BYTES).collect();
            return self.send_on(command, JointVerdict::Refuse(Refusal::NoToken { topic }), [0; 16], now);
        }
        let mut verdict = self.admit_joints(command, now);
        if !matches!(verdict, JointVerdict::Refuse(_))
            && let Some(goal) = self.goal.as_ref().filter(|goal| goal.moves_joints())
        {
            let sources = self.joints.gate().map(JointGate::sources).unwrap_or_default();
            let priority = |name: &str| sources.iter().find(|source| source.name == name).map(|source| source.priority);
            if priority(command.source) > priority(ACTION_SOURCE) {
                let text = format!("source '{}' has a higher priority and took over", command.source);
                self.still(now);
                self.end_goal(ErrorCode::Preempted, text, now);
                verdict = self.admit_joints(command, now);
            } else {
                verdict = JointVerdict::Refuse(Refusal::GoalActive { id: goal.action.id.clone() });
            }
        }
        self.send_on(command, verdict, [0; 16], now)
    }

    pub(super) fn admit_joints(&self, command: &JointCommand<'_>, now: Now) -> JointVerdict {
        match self.joints.gate() {
            Some(gate) => gate.admit(command, self.gate.arming(), now),
            None => JointVerdict::Refuse(Refusal::UnknownSource { source_name: command.source.into() }),
        }
    }

    /// Records a trajectory and, unless it is refused, gives it to its actuator.
    pub(super) fn send_on(
        &mut self,
        command: &JointCommand<'_>,
        verdict: JointVerdict,
        trace: [u8; 16],
        now: Now,
    ) -> JointVerdict {
        let (group, applied, reason) = match &verdict {
            JointVerdict::Admit { group } => (*group, command.trajectory.clone(), None),
            JointVerdict::Limit { group, applied, reason } => (*group, applied.clone(), Some(*reason)),
            JointVerdict::Refuse(refusal) => {
                self.refuse_joints(command, refusal, trace, now);
                return verdict;
            }
        };
        let passed = if reason.is_some() { record::Verdict::Limited } else { record::Verdict::Admitted };
        let motion = JointMotion {
            group: self.group_name(group),
            applied: Some(applied.to_record()),
            ..self.describe_joints(command, passed, reason)
        };
        match Journaled::<Trajectory>::append(
            &mut self.journal,
            &moment(now, Direction::Outbound, trace),
            &motion,
            applied,
        ) {
            Err(error) => {
                let refusal = Refusal::Journal { cause: error.to_string() };
                self.trip(StopCause::Journal, &error.to_string(), now);
                self.refuse_joints(command, &refusal, trace, now);
                JointVerdict::Refuse(refusal)
            }
            Ok(ticket) => {
                match reason {
                    None => self.ledger.admitted += 1,
                    Some(reason) => {
                        self.ledger.limited += 1;
                        self.ledger.count(reason);
                    }
                }
                match self.joints.follow(group, command.source, ticket, now.steady) {
                    Ok(()) => verdict,
                    Err(error) => {
                        self.trip(StopCause::Actuator, &error.to_string(), now);
                        JointVerdict::Refuse(Refusal::Actuator { cause: error.to_string() })
                    }
                }
            }
        }
    }

    fn group_name(&self, group: usize) -> String {
        let groups = self.joints.gate().map(JointGate::groups).unwrap_or_default();
        groups.get(group).map(|group| group.name.clone()).unwrap_or_default()
    }

    fn refuse_joints(&mut self, command: &JointCommand<'_>, refusal: &Refusal, trace: [u8; 16], now: Now) {
        let reason = refusal.reason();
        if self.ledger.refused(refusal, now.steady) == Detail::Counted {
            return;
        }
        let motion = self.describe_joints(command, record::Verdict::Refused, Some(reason));
        if let Err(error) = self.journal.append(&moment(now, Direction::Inbound, trace), &motion) {
            self.ledger.put_back(reason, 1, now.steady);
            self.trip(StopCause::Journal, &error.to_string(), now);
        }
    }

    fn describe_joints(
        &self,
        command: &JointCommand<'_>,
        verdict: record::Verdict,
        reason: Option<Reason>,
    ) -> JointMotion {
        let goal = self.goal.as_ref().filter(|_| command.source == ACTION_SOURCE);
        // What is too large is refused, and its names alone are kept of it.
        let way = command.trajectory;
        let shorten = |name: &String| name.chars().take(NAME_BYTES).collect();
        let joints = || way.joints.iter().take(JOINTS_KEPT).map(shorten).collect();
        let raw = if way.numbers() <= NUMBERS && way.points.len() <= POINTS {
            record::JointTrajectory { joints: joints(), ..way.to_record() }
        } else {
            record::JointTrajectory { joints: joints(), points: Vec::new() }
        };
        JointMotion {
            source: command.source.chars().take(NAME_BYTES).collect(),
            raw: Some(raw),
            verdict: verdict.into(),
            reason: reason.map_or("", Reason::name).into(),
            stamp_ns: command.stamp.map(|stamp| stamp.0),
            action_sequence: goal.map_or(0, |goal| goal.id.0),
            ..JointMotion::default()
        }
    }

    /// The safe states to all joints, without a latch.
    pub(super) fn rest_joints(&mut self, now: Now) {
        if let Err(error) = self.joints.rest_all(now.steady) {
            self.latch(StopCause::Actuator, &error.to_string(), now);
        }
    }

    /// Brings to rest what the action under way moves.
    pub(super) fn still(&mut self, now: Now) {
        let Some(goal) = &self.goal else { return };
        let (base, fingers) = (goal.moves_base(), goal.moves_joints());
        let arm = matches!(goal.work, Work::Manipulate { .. });
        if base {
            self.halt(now);
        }
        if arm {
            return self.rest_joints(now);
        }
        if fingers && let Some(group) = self.joints.fingers().map(|fingers| fingers.group) {
            self.rest_group(group, now);
        }
    }

    pub(super) fn rest_group(&mut self, group: usize, now: Now) {
        if let Err(error) = self.joints.rest(group, now.steady) {
            self.trip(StopCause::Actuator, &error.to_string(), now);
        }
    }

    /// Brings to rest what moves and is not seen any more.
    pub(super) fn watch_joints(&mut self, now: Now) {
        while let Some((group, reason)) = self.joints.gate().and_then(|gate| gate.watch(now.steady)) {
            self.halt_group(group, reason, now);
        }
    }

    /// Brings a group to rest, and records that.
    pub(super) fn halt_group(&mut self, group: usize, reason: Reason, now: Now) {
        self.rest_group(group, now);
        self.ledger.count(reason);
        let payload = JointMotion {
            source: WATCH_SOURCE.into(),
            group: self.group_name(group),
            verdict: record::Verdict::Halted.into(),
            reason: reason.name().into(),
            ..JointMotion::default()
        };
        // A failure has tripped the stop, which is all there is to do.
        let _ = self.note(moment(now, Direction::Outbound, [0; 16]), &payload, now);
    }

    /// Refuses a grip that the fingers cannot make.
    pub(super) fn check_grip(&self, force: Option<f64>, now: Now) -> Result<(), Rejection> {
        let (_, limits, readings) = self.joints.hand(now.steady)?;
        let Some(force) = force else { return Ok(()) };
        for (joint, reading) in limits.iter().zip(&readings) {
            let name = &joint.name;
            if force > joint.effort {
                let text = format!("gripper.force_limit is {force}, and joint '{name}' may give {}", joint.effort);
                return Err(Rejection::new(ErrorCode::OutOfLimits, text));
            }
            if reading.effort.is_none() {
                let text = format!("gripper.force_limit is {force}, and the effort of joint '{name}' is not measured");
                return Err(Rejection::new(ErrorCode::Unsupported, text));
            }
        }
        Ok(())
    }

    /// One step of the grip under way.
    pub(super) fn step_grip(&mut self, now: Now) {
        let Some(goal) = &mut self.goal else { return };
        let Work::Grip { grip, left } = &mut goal.work else { return };
        let trace = goal.trace;
        let hand = self.joints.hand(now.steady);
        let (fingers, limits, readings) = match hand {
            Ok(hand) => hand,
            Err(rejection) => {
                self.still(now);
                return self.end_goal(rejection.code, rejection.message, now);
            }
        };
        let group = fingers.group;
        let begins = !grip.has_begun();
        match grip.step(limits, &readings, now.steady) {
            GripStep::Going { left: still } => {
                *left = still;
                if begins {
                    let way = grip.way(limits, &readings);
                    let command = JointCommand { source: ACTION_SOURCE, trajectory: &way, stamp: None };
                    let verdict = self.admit_joints(&command, now);
                    if let JointVerdict::Refuse(refusal) = self.send_on(&command, verdict, trace, now) {
                        // Where sending it tripped the stop, that has ended the action already.
                        self.still(now);
                        self.end_goal(ErrorCode::OutOfLimits, refusal.to_string(), now);
                    }
                }
            }
            GripStep::Done => self.end_goal(ErrorCode::None, String::new(), now),
            GripStep::Held => {
                if matches!(
                    self.goal.as_ref().map(|goal| &goal.action.kind),
                    Some(Kind::Gripper { force: Some(_), .. })
                ) {
                    self.rest_group(group, now);
                }
                self.end_goal(ErrorCode::None, String::new(), now);
            }
            GripStep::Blocked { left } => {
                self.still(now);
                let text = format!("something is in the way of the fingers, with {left:.4} (rad or m) still to go");
                self.end_goal(ErrorCode::NoProgress, text, now);
            }
        }
    }
}
