//! What is carried out and refused, and the record of it.

use ecps_core::limits::NAME_BYTES;
use ecps_journal::record::{self, Motion, Payload};
use ecps_journal::{Direction, Moment};

use super::Executive;
use crate::gate::{ACTION_SOURCE, Verdict};
use crate::ledger::Detail;
use crate::motion::{Now, Velocity, VelocityCommand};
use crate::reason::{Reason, Refusal};
use crate::stop::StopCause;
use crate::ticket::{Actuator, Journaled, Record};

/// Source of the executor's own zeros in the journal.
pub const WATCH_SOURCE: &str = "watch";

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Records a command and, unless it is refused, gives it to the actuator.
    pub(super) fn carry_out(
        &mut self,
        command: &VelocityCommand<'_>,
        verdict: Verdict,
        trace: [u8; 16],
        now: Now,
    ) -> Verdict {
        let (applied, reason) = match &verdict {
            Verdict::Admit(applied) => (*applied, None),
            Verdict::Limit { applied, reason } => (*applied, Some(*reason)),
            Verdict::Refuse(refusal) => {
                self.refuse(command, refusal, trace, now);
                return verdict;
            }
        };
        let passed = if reason.is_some() { record::Verdict::Limited } else { record::Verdict::Admitted };
        self.describe(command, Some(applied), passed, reason);
        match Journaled::<Velocity>::append(&mut self.journal, &moment(now, Direction::Outbound, trace), &self.motion) {
            Err(error) => {
                let refusal = Refusal::Journal { cause: error.to_string() };
                self.trip(StopCause::Journal, &error.to_string(), now);
                self.refuse(command, &refusal, trace, now);
                Verdict::Refuse(refusal)
            }
            Ok(ticket) => {
                // Counted by what is recorded, also where the actuator then fails: the stop's record tells that.
                match reason {
                    None => self.ledger.admitted += 1,
                    Some(reason) => {
                        self.ledger.limited += 1;
                        self.ledger.count(reason);
                    }
                }
                match self.actuator.drive(ticket) {
                    Ok(()) => {
                        self.gate.applied(command.source, applied, now.steady);
                        verdict
                    }
                    Err(error) => {
                        self.trip(StopCause::Actuator, &error.to_string(), now);
                        Verdict::Refuse(Refusal::Actuator { cause: error.to_string() })
                    }
                }
            }
        }
    }

    fn refuse(&mut self, command: &VelocityCommand<'_>, refusal: &Refusal, trace: [u8; 16], now: Now) {
        let reason = refusal.reason();
        if self.ledger.refused(refusal, now.steady) == Detail::Counted {
            return;
        }
        self.describe(command, None, record::Verdict::Refused, Some(reason));
        if let Err(error) = self.journal.append(&moment(now, Direction::Inbound, trace), &self.motion) {
            self.ledger.put_back(reason, 1, now.steady);
            self.trip(StopCause::Journal, &error.to_string(), now);
        }
    }

    /// Fills the motion record, reusing its strings.
    fn describe(
        &mut self,
        command: &VelocityCommand<'_>,
        applied: Option<Velocity>,
        verdict: record::Verdict,
        reason: Option<Reason>,
    ) {
        let ([x, y, _], [_, _, yaw]) = (command.linear, command.angular);
        let motion = &mut self.motion;
        motion.source.clear();
        motion.source.extend(command.source.chars().take(NAME_BYTES));
        motion.raw = Some(record::PlanarVelocity { x, y, yaw });
        motion.applied = applied.map(Velocity::to_record);
        motion.set_verdict(verdict);
        motion.reason.clear();
        motion.reason.push_str(reason.map_or("", Reason::name));
        motion.stamp_ns = command.stamp.map(|stamp| stamp.0);
        motion.action_sequence = self.goal.as_ref().filter(|_| command.source == ACTION_SOURCE).map_or(0, |g| g.id.0);
    }

    /// Records a zero that the executor itself gave.
    pub(super) fn note_halt(&mut self, reason: Reason, now: Now) {
        let zero = Velocity::ZERO.to_record();
        let payload = Motion {
            source: WATCH_SOURCE.into(),
            applied: Some(zero),
            verdict: record::Verdict::Halted.into(),
            reason: reason.name().into(),
            ..Motion::default()
        };
        // A failure has tripped the stop, which is all there is to do.
        let _ = self.note(moment(now, Direction::Outbound, [0; 16]), &payload, now);
    }

    /// Records counts of refusals whose time has come, or all.
    pub(super) fn record_refusals(&mut self, now: Now, all: bool) {
        while let Some((reason, count)) = self.ledger.take_due(now.steady, all) {
            let payload = record::Refusals { reason: reason.name().into(), count };
            if self.note(moment(now, Direction::Internal, [0; 16]), &payload, now).is_err() {
                return self.ledger.put_back(reason, count, now.steady);
            }
        }
    }

    /// Appends a record; a failure trips the stop and is returned in words.
    pub(super) fn note<P: Payload>(&mut self, moment: Moment, payload: &P, now: Now) -> Result<u64, String> {
        self.journal.append(&moment, payload).map_err(|error| {
            let text = error.to_string();
            self.trip(StopCause::Journal, &text, now);
            text
        })
    }
}

pub(super) fn moment(now: Now, direction: Direction, trace: [u8; 16]) -> Moment {
    Moment { steady: now.steady, wall: now.wall, direction, trace }
}
