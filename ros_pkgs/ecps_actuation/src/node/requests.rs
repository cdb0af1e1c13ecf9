//! The services: stop, enable, reset, limits, zones.

use ecps_core::clock::RosClock as _;
use ecps_core::id::CallerError;
use ecps_guard::Refused;
use ecps_ros::Reply;
use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate, SetLimits, SetZones};
use ecps_ros::r2r::std_srvs::srv::Trigger;

use super::{Executor, convert, now};
use crate::executive::ResetOutcome;
use crate::motion::{Limits, Request};
use crate::stop::StopCause;

const INVALID: u8 = 1;
const JOURNAL: u8 = 3;
pub(super) const EXPIRED: u8 = 4;

impl Executor {
    pub(super) fn on_estop(&mut self, _: Trigger::Request, reply: Reply<Trigger::Service>) {
        self.executive.stop(StopCause::Requested, "the service estop was called", now(&self.clock));
        let message = "stopped; ~/enable and then ~/reset leave the stop";
        reply.send(Trigger::Response { success: true, message: message.into() });
        self.settle();
    }

    /// A refusal for callers that are malformed or too late, with its code.
    pub(super) fn refuse(&self, caller: &Caller) -> Option<(u8, String)> {
        let error = ecps_ros::caller(caller).check(self.clock.now(), self.request_lifetime).err()?;
        let code = if matches!(error, CallerError::Expired { .. }) { EXPIRED } else { INVALID };
        Some((code, error.to_string()))
    }

    /// The same for callers that may not do all that is `asked` either.
    fn refuse_unless(&self, caller: &Caller, asked: &[&str]) -> Option<(u8, String)> {
        let denied = || self.door.admit(caller, asked).err().map(|refused| (Refused::CODE, refused.to_string()));
        self.refuse(caller).or_else(denied)
    }

    /// Arming takes a token that allows to move; disarming is a way to stop, which is anybody's.
    pub(super) fn on_enable(&mut self, request: EnableGate::Request, reply: Reply<EnableGate::Service>) {
        let refused = |error_code, error_msg| EnableGate::Response { error_code, error_msg };
        let denied = match request.enable {
            true => self.refuse_unless(&request.caller, &["move:robot"]),
            false => self.refuse(&request.caller),
        };
        if let Some((code, reason)) = denied {
            return reply.send(refused(code, reason));
        }
        let caller = Request { caller: &request.caller.id, trace: convert::request(&request.caller) };
        self.enable_when_ready = false;
        let changed = if request.enable {
            self.insist_on_awaited();
            self.executive.enable(caller, now(&self.clock))
        } else {
            self.executive.disable(caller, now(&self.clock))
        };
        match changed {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(sequence) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => EnableGate::Response::default(),
                    Err(error) => refused(JOURNAL, error.to_string()),
                });
            }),
        }
        self.settle();
    }

    pub(super) fn on_reset(&mut self, request: ResetGate::Request, reply: Reply<ResetGate::Service>) {
        let refused = |error_code, error_msg| ResetGate::Response { error_code, error_msg };
        if let Some((code, reason)) = self.refuse_unless(&request.caller, &["configure:robot"]) {
            return reply.send(refused(code, reason));
        }
        let caller = Request { caller: &request.caller.id, trace: convert::request(&request.caller) };
        match self.executive.reset(caller, now(&self.clock)) {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(ResetOutcome::WasRunning) => reply.send(ResetGate::Response::default()),
            Ok(ResetOutcome::Left(sequence)) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => ResetGate::Response::default(),
                    Err(error) => refused(JOURNAL, error.to_string()),
                });
            }),
        }
        self.settle();
    }

    pub(super) fn on_set_limits(&mut self, request: SetLimits::Request, reply: Reply<SetLimits::Service>) {
        let refused = |error_code, error_msg| SetLimits::Response { error_code, error_msg };
        if let Some((code, reason)) = self.refuse_unless(&request.caller, &["configure:robot"]) {
            return reply.send(refused(code, reason));
        }
        let limits = Limits {
            max_linear_speed: request.max_linear_speed,
            max_linear_acceleration: request.max_linear_acceleration,
            max_linear_jerk: request.max_linear_jerk,
            max_angular_speed: request.max_angular_speed,
            max_angular_acceleration: request.max_angular_acceleration,
            max_angular_jerk: request.max_angular_jerk,
        };
        let joints: Vec<_> = request.joints.iter().map(convert::joint_change).collect();
        let caller = Request { caller: &request.caller.id, trace: convert::request(&request.caller) };
        match self.executive.set_limits(caller, limits, &joints, now(&self.clock)) {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(sequence) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => SetLimits::Response::default(),
                    Err(error) => refused(JOURNAL, error.to_string()),
                });
            }),
        }
        self.settle();
    }

    pub(super) fn on_set_zones(&mut self, request: SetZones::Request, reply: Reply<SetZones::Service>) {
        let refused = |error_code, error_msg| SetZones::Response { error_code, error_msg };
        if let Some((code, reason)) = self.refuse_unless(&request.caller, &["configure:robot"]) {
            return reply.send(refused(code, reason));
        }
        let caller = Request { caller: &request.caller.id, trace: convert::request(&request.caller) };
        let zones = match convert::zones(&request) {
            Ok(zones) => zones,
            Err(error) => return reply.send(refused(INVALID, error.to_string())),
        };
        match self.executive.set_zones(caller, zones, now(&self.clock)) {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(sequence) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => SetZones::Response::default(),
                    Err(error) => refused(JOURNAL, error.to_string()),
                });
            }),
        }
        self.settle();
    }
}
