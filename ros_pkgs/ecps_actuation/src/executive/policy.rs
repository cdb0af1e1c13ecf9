//! What somebody changes while the robot runs: limits and zones, within the parameters. Checked, journaled, and only then in
//! force.

use ecps_core::check;
use ecps_core::limits::NAME_BYTES;
use ecps_journal::{Direction, record};

use super::Executive;
use super::answers::PolicyError;
use super::records::moment;
use crate::action::ErrorCode;
use crate::joint::{JointChange, JointGate, JointLimits};
use crate::motion::{Limits, Now, Request};
use crate::ticket::{Actuator, Record};
use crate::zone::ZoneSet;

impl<R: Record, A: Actuator> Executive<R, A> {
    /// Sets the limits of the base, and of joints those that are named, at most to those of the parameters and of the
    /// robot's description: all of it or nothing. What is under way beyond them comes to rest. The record's sequence.
    pub fn set_limits(
        &mut self,
        request: Request<'_>,
        limits: Limits,
        joints: &[JointChange],
        now: Now,
    ) -> Result<u64, PolicyError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        limits.check_within(&self.config.gate.ceiling)?;
        let changed = self.joints.changed(joints)?;
        let recorded = |joints: &[JointLimits]| joints.iter().map(JointLimits::to_record).collect();
        let payload = record::LimitsChanged {
            caller: request.caller.into(),
            before: Some(self.gate.limits().to_record()),
            after: Some(limits.to_record()),
            joints_before: recorded(&changed.before),
            joints_after: recorded(&changed.after),
        };
        let moment = moment(now, Direction::Inbound, request.trace);
        let sequence = self.note(moment, &payload, now).map_err(PolicyError::Journal)?;
        self.gate.set_limits(limits);
        self.joints.take(changed);
        self.rest_what_is_beyond(now);
        Ok(sequence)
    }

    /// The base comes to rest with the next period, see [`crate::Gate::watch`]; joints at once, since only a change of their
    /// limits makes a way that has passed break them.
    fn rest_what_is_beyond(&mut self, now: Now) {
        let beyond = self.joints.gate().map(|gate| gate.beyond(now.steady)).unwrap_or_default();
        for way in beyond {
            self.halt_group(way.group, way.reason, now);
            if way.by_action {
                let text = format!("a limit was lowered below what it does ({})", way.reason.name());
                self.still(now);
                self.end_goal(ErrorCode::OutOfLimits, text, now);
            }
        }
    }

    /// The joints, with the limits that hold now.
    pub fn joint_limits(&self) -> impl Iterator<Item = &JointLimits> {
        self.joints.gate().into_iter().flat_map(JointGate::limits)
    }

    /// Sets the zones and the margin that hold besides those of the parameters; the record's sequence.
    pub fn set_zones(&mut self, request: Request<'_>, zones: ZoneSet, now: Now) -> Result<u64, PolicyError> {
        check::name("caller.id", request.caller, NAME_BYTES)?;
        self.gate.check_added(&zones)?;
        let payload = record::ZonesChanged {
            caller: request.caller.into(),
            before: Some(self.gate.added().to_record()),
            after: Some(zones.to_record()),
        };
        let moment = moment(now, Direction::Inbound, request.trace);
        let sequence = self.note(moment, &payload, now).map_err(PolicyError::Journal)?;
        self.gate.set_added(zones);
        Ok(sequence)
    }
}
