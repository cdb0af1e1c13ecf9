//! Arm and fingers of a manipulation, one phase after the other.

use std::time::Duration;

use ecps_core::clock::Steady;

use super::Executive;
use crate::action::{ErrorCode, Rejection};
use crate::gate::ACTION_SOURCE;
use crate::goal::Work;
use crate::joint::manipulate::{Manipulation, Phase, UnderWay};
use crate::joint::{GripStep, JointCommand, JointReading, JointVerdict, Task};
use crate::motion::Now;
use crate::ticket::{Actuator, Record};

/// How an action ends, or that it goes on.
type Step = Result<(), (ErrorCode, String)>;

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Refuses a task that the arm cannot carry out.
    pub(super) fn check_task(&self, frame: &str, task: &Task, now: Now) -> Result<(), Rejection> {
        let (reach, _, readings) = self.joints.arm(now.steady)?;
        self.joints.hand(now.steady)?;
        let base = reach.chain.base();
        if frame != base && !frame.ends_with(&format!("/{base}")) {
            let found: String = frame.chars().take(64).collect();
            let text = format!("manipulate.target_pose is in frame '{found}', and the arm works in '{base}'");
            return Err(Rejection::new(ErrorCode::Invalid, text));
        }
        if task.force.is_some() && readings.iter().any(|reading| reading.effort.is_none()) {
            let text = "manipulate.force_threshold is set, and the arm's efforts are not measured";
            return Err(Rejection::new(ErrorCode::Unsupported, text));
        }
        let positions = positions(&readings);
        for (what, pose) in task.places() {
            if reach.chain.solve(&pose, &positions).is_none() {
                let at = pose.translation;
                let text = format!("the {what} ({:.3}, {:.3}, {:.3}) is out of the arm's reach", at.x, at.y, at.z);
                return Err(Rejection::new(ErrorCode::OutOfLimits, text));
            }
        }
        Ok(())
    }

    /// One step of the manipulation under way.
    pub(super) fn step_manipulation(&mut self, now: Now) {
        // Taken out meanwhile, so that it and the joints can be used together.
        let Some(mut goal) = self.goal.take() else { return };
        let trace = goal.trace;
        let step = match &mut goal.work {
            Work::Manipulate { manipulation, left } => self.manipulate(manipulation, left, now),
            _ => Ok(None),
        };
        self.goal = Some(goal);
        let ended = match step {
            Ok(None) => return,
            Ok(Some(Next::Send(way))) => {
                let command = JointCommand { source: ACTION_SOURCE, trajectory: &way, stamp: None };
                let verdict = self.admit_joints(&command, now);
                match self.send_on(&command, verdict, trace, now) {
                    // Where sending it tripped the stop, that has ended the action already.
                    JointVerdict::Refuse(refusal) => Err((ErrorCode::OutOfLimits, refusal.to_string())),
                    JointVerdict::Limit { applied, .. } => return self.expect_end(applied.duration_ns(), now),
                    JointVerdict::Admit { .. } => return self.expect_end(way.duration_ns(), now),
                }
            }
            Ok(Some(Next::Done)) => Ok(()),
            Err(ended) => Err(ended),
        };
        match ended {
            Ok(()) => self.end_goal(ErrorCode::None, String::new(), now),
            Err((code, text)) => {
                self.still(now);
                self.end_goal(code, text, now);
            }
        }
    }

    /// When what was sent ends at the latest.
    fn expect_end(&mut self, duration_ns: i64, now: Now) {
        let patience = self.config.drive.progress_timeout;
        if let Some(Work::Manipulate { manipulation, .. }) = self.goal.as_mut().map(|goal| &mut goal.work)
            && let Some(UnderWay::Arm { ends, .. }) = &mut manipulation.under_way
        {
            let length = Duration::from_nanos(u64::try_from(duration_ns).unwrap_or(0));
            *ends = Steady(now.steady.0 + length + patience);
        }
    }

    fn manipulate(
        &self,
        manipulation: &mut Manipulation,
        left: &mut f64,
        now: Now,
    ) -> Result<Option<Next>, (ErrorCode, String)> {
        let rejected = |rejection: Rejection| (rejection.code, rejection.message);
        let (reach, joints, arm) = self.joints.arm(now.steady).map_err(rejected)?;
        let (fingers, finger_limits, hand) = self.joints.hand(now.steady).map_err(rejected)?;
        let at = positions(&arm);
        let force = manipulation.task.force;
        match &mut manipulation.under_way {
            Some(UnderWay::Fingers(grip)) => {
                let begins = !grip.has_begun();
                match grip.step(finger_limits, &hand, now.steady) {
                    GripStep::Going { left: still } => {
                        *left = still;
                        return Ok(begins.then(|| Next::Send(grip.way(finger_limits, &hand))));
                    }
                    GripStep::Done | GripStep::Held => {}
                    GripStep::Blocked { left } => {
                        let text = format!("something is in the way of the fingers, with {left:.4} still to go");
                        return Err((ErrorCode::NoProgress, text));
                    }
                }
            }
            Some(UnderWay::Arm { to, line, ends }) => {
                if *line {
                    self.feel(force, &at, &arm)?;
                }
                *left = Manipulation::left(to, &at);
                if !Manipulation::is_there(*left) {
                    let late = now.steady > *ends;
                    let text = format!("the arm does not get there, with {left:.4} (rad or m) still to go");
                    return if late { Err((ErrorCode::NoProgress, text)) } else { Ok(None) };
                }
            }
            None => {}
        }
        let Some(phase) = manipulation.next() else { return Ok(Some(Next::Done)) };
        if let Phase::Fingers(order) = phase {
            manipulation.fingers(order, fingers);
            return Ok(None);
        }
        let way = reach.way(&phase, joints, &at).ok_or_else(|| {
            (ErrorCode::OutOfLimits, "the arm cannot go in a straight line from there to there".to_owned())
        })?;
        let to = way.points.last().map(|point| point.positions.clone()).unwrap_or_default();
        let line = matches!(phase, Phase::Line(_));
        manipulation.under_way = Some(UnderWay::Arm { to, line, ends: now.steady });
        Ok(Some(Next::Send(way)))
    }

    /// Ends it where the tip feels more than it may.
    fn feel(&self, force: Option<f64>, at: &[f64], arm: &[JointReading]) -> Step {
        let Some(limit) = force else { return Ok(()) };
        let efforts: Vec<f64> = arm.iter().map(|reading| reading.effort.unwrap_or_default()).collect();
        let Ok((reach, ..)) = self.joints.arm(arm.first().map(|reading| reading.at).unwrap_or_default()) else {
            return Ok(());
        };
        let felt = reach.chain.force(at, &efforts);
        if felt < limit {
            return Ok(());
        }
        Err((ErrorCode::Failed, format!("the tip feels {felt:.1} N, and manipulate.force_threshold is {limit} N")))
    }
}

/// What comes next.
enum Next {
    Send(crate::joint::Trajectory),
    Done,
}

fn positions(readings: &[JointReading]) -> Vec<f64> {
    readings.iter().map(|reading| reading.position).collect()
}
