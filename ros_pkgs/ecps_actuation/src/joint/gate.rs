//! The gate before the joints: (trajectory, joints, limits, time) to admit, slow down or refuse.
//!
//! Rules, in this order; the first that refuses decides: latched stop, arming, source, shape (sizes, finite, times that
//! rise, an end at rest), one group and all of its joints, age, priority, fresh states of the joints, start near the
//! measured position, positions, efforts; then velocity and acceleration, which limit: the same way is gone more slowly,
//! as a whole, so that no joint leaves its path. What would have to be slowed down by more than `refuse_above` is refused.
//!
//! A way out of the positions' limits is refused and not cut: cut it would be another way, which nobody has planned.
//! Limits hold between the points too, along the polynomial that the controller makes of them.

use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};

use super::config::{JointConfig, JointConfigError, JointGroup, JointSource};
use super::limits::JointLimits;
use super::measured::{JointReading, JointStateError, JointStates, Measured};
use super::pace::{Stretch, stretches, worst};
use super::shape::{LONGEST, check_shape};
use super::trajectory::{Knot, Trajectory};
use crate::arming::{Arming, ArmingState};
use crate::motion::Now;
use crate::reason::{Reason, Refusal};

/// Rounding of planners that is no violation, rad or m, and the share of it.
pub(crate) const ROUNDING: f64 = 1e-6;
/// How often a way is slowed down before it is refused: the first stretch begins at a speed that is given.
const ATTEMPTS: usize = 8;

/// A trajectory as it came, nothing checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointCommand<'a> {
    /// Topic or part that asks.
    pub source: &'a str,
    /// Where to.
    pub trajectory: &'a Trajectory,
    /// When it was to begin; none, or zero in the message: at once.
    pub stamp: Option<Stamp>,
}

/// What the gate decides.
#[derive(Debug, Clone, PartialEq)]
pub enum JointVerdict {
    /// Passes as it came.
    Admit {
        /// Which group it moves.
        group: usize,
    },
    /// Passes more slowly.
    Limit {
        /// Which group it moves.
        group: usize,
        /// What passes.
        applied: Trajectory,
        /// The rule that asked for the most time.
        reason: Reason,
    },
    /// Does not pass. What was commanded before goes on.
    Refuse(Refusal),
}

/// What a group was last given.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) trajectory: Trajectory,
    pub(super) from: Vec<Knot>,
    pub(super) started: Steady,
    ends: Steady,
    pub(super) source: String,
    priority: u8,
}

/// The gate. [`JointGate::admit`] decides and changes nothing; what was carried out is told by [`JointGate::applied`].
#[derive(Debug, Clone)]
pub struct JointGate {
    config: JointConfig,
    /// The limits at the start, within which they may change.
    given: Vec<JointLimits>,
    measured: Measured,
    runs: Vec<Option<Run>>,
}

impl JointGate {
    /// A gate before joints of which nothing is measured yet.
    pub fn new(config: JointConfig) -> Result<JointGate, JointConfigError> {
        config.check()?;
        let given: Vec<JointLimits> = config.groups.iter().flat_map(|group| group.joints.iter().cloned()).collect();
        let measured = Measured::of(given.iter().map(|joint| joint.name.as_str()));
        Ok(JointGate { given, measured, runs: vec![None; config.groups.len()], config })
    }

    pub(super) fn config(&self) -> &JointConfig {
        &self.config
    }

    pub(super) fn given(&self) -> impl Iterator<Item = &JointLimits> {
        self.given.iter()
    }

    /// Takes parameters of [`JointGate::changed`].
    pub(crate) fn set_config(&mut self, config: JointConfig) {
        self.config = config;
    }

    /// The joints with the limits that hold now.
    pub fn limits(&self) -> impl Iterator<Item = &JointLimits> {
        self.config.groups.iter().flat_map(|group| &group.joints)
    }

    /// The groups.
    pub fn groups(&self) -> &[JointGroup] {
        &self.config.groups
    }

    /// Who may send.
    pub fn sources(&self) -> &[JointSource] {
        &self.config.sources
    }

    /// Joint states arrived. Those of joints in no group are left alone.
    pub fn measured(&mut self, states: &JointStates<'_>, now: Steady) -> Result<(), JointStateError> {
        self.measured.take(states, now)
    }

    /// Where a joint is, if that is fresh.
    pub fn reading(&self, joint: &str, now: Steady) -> Option<JointReading> {
        self.measured.of_joint(joint).filter(|reading| now.since(reading.at) <= self.config.state_timeout)
    }

    /// Decides on a trajectory.
    pub fn admit(&self, command: &JointCommand<'_>, arming: &Arming, now: Now) -> JointVerdict {
        self.decide(command, arming, now).unwrap_or_else(JointVerdict::Refuse)
    }

    fn decide(&self, command: &JointCommand<'_>, arming: &Arming, now: Now) -> Result<JointVerdict, Refusal> {
        match (arming.state(), arming.first()) {
            (ArmingState::Armed, _) => {}
            (_, Some(stop)) => return Err(Refusal::Stopped { cause: stop.to_string() }),
            (_, None) => return Err(Refusal::NotArmed),
        }
        let Some(priority) = self.priority(command.source) else {
            return Err(Refusal::UnknownSource { source_name: command.source.chars().take(64).collect() });
        };
        check_shape(command.trajectory)?;
        let (group, limits) = self.group_of(command.trajectory)?;
        if let Some(stamp) = command.stamp {
            let age = now.ros.nanos_since(stamp);
            if age > nanos(self.config.command_lifetime) {
                let limit_ms = self.config.command_lifetime.as_millis();
                return Err(Refusal::Stale { age_ms: age / 1_000_000, limit_ms });
            }
            if age < -nanos(self.config.future_tolerance) {
                let limit_ms = self.config.future_tolerance.as_millis();
                return Err(Refusal::FromFuture { ahead_ms: -(age / 1_000_000), limit_ms });
            }
        }
        if let Some(run) = self.running(group, now.steady).filter(|run| run.priority > priority) {
            return Err(Refusal::Outranked { by: run.source.clone() });
        }
        let from = self.start(&limits, now.steady)?;
        self.limit(command.trajectory, &limits, &from).map(|limited| match limited {
            None => JointVerdict::Admit { group },
            Some((applied, reason)) => JointVerdict::Limit { group, applied, reason },
        })
    }

    fn priority(&self, source: &str) -> Option<u8> {
        self.config.sources.iter().find(|known| known.name == source).map(|source| source.priority)
    }

    /// What a group was last given, unless it was brought to rest since.
    pub(super) fn run(&self, group: usize) -> Option<&Run> {
        self.runs.get(group)?.as_ref()
    }

    pub(super) fn running(&self, group: usize, now: Steady) -> Option<&Run> {
        self.run(group).filter(|run| now < run.ends)
    }

    /// The group that a trajectory moves, and its limits in the trajectory's order.
    pub(super) fn group_of<'a>(&'a self, trajectory: &Trajectory) -> Result<(usize, Vec<&'a JointLimits>), Refusal> {
        let named = |name: &String| {
            let place = |(index, group): (usize, &'a JointGroup)| {
                group.joints.iter().find(|joint| joint.name == *name).map(|joint| (index, joint))
            };
            let found = self.config.groups.iter().enumerate().find_map(place);
            found.ok_or_else(|| Refusal::JointUnknown { joint: name.chars().take(64).collect() })
        };
        let mut group = None;
        let mut limits = Vec::with_capacity(trajectory.joints.len());
        for name in &trajectory.joints {
            let (index, joint) = named(name)?;
            if group.is_some_and(|other| other != index) {
                let what = format!("joint '{}' belongs to another group than those before it", joint.name);
                return Err(Refusal::JointMalformed { what });
            }
            if limits.iter().any(|other: &&JointLimits| other.name == joint.name) {
                return Err(Refusal::JointMalformed { what: format!("joint '{}' is named twice", joint.name) });
            }
            group = Some(index);
            limits.push(joint);
        }
        let found = group.and_then(|index| self.config.groups.get(index).map(|group| (index, group)));
        let Some((index, group)) = found else {
            return Err(Refusal::JointMalformed { what: "it names no joint".into() });
        };
        if limits.len() != group.joints.len() {
            let (named, all, name) = (limits.len(), group.joints.len(), &group.name);
            let what = format!("it names {named} of the {all} joints of group '{name}', and must name all");
            return Err(Refusal::JointMalformed { what });
        }
        Ok((index, limits))
    }

    /// Where the joints are at present.
    fn start(&self, limits: &[&JointLimits], now: Steady) -> Result<Vec<Knot>, Refusal> {
        let knot = |joint: &&JointLimits| match self.reading(&joint.name, now) {
            // A speed measured above the limit is none that a trajectory could be blamed for.
            Some(r) => Ok(Knot::measured(r.position, r.velocity.clamp(-joint.velocity, joint.velocity))),
            None => {
                let limit_ms = self.config.state_timeout.as_millis();
                Err(Refusal::JointStateStale { joint: joint.name.clone(), limit_ms })
            }
        };
        limits.iter().map(knot).collect()
    }

    /// The rules on positions, efforts, velocities and accelerations: none where all hold as it came.
    pub(super) fn limit(
        &self,
        trajectory: &Trajectory,
        limits: &[&JointLimits],
        from: &[Knot],
    ) -> Result<Option<(Trajectory, Reason)>, Refusal> {
        self.check_places(trajectory, limits, from)?;
        let mut applied: Option<(Trajectory, Reason)> = None;
        let (mut total, mut attempts) = (1.0, 0);
        loop {
            let way = applied.as_ref().map_or(trajectory, |(slower, _)| slower);
            let Some(excess) = worst(way, limits, from) else { break };
            (total, attempts) = (total * excess.factor, attempts + 1);
            let too_long = way.duration_ns() as f64 * excess.factor > nanos(LONGEST) as f64;
            if total > self.config.refuse_above || attempts > ATTEMPTS || too_long {
                let limit = self.config.refuse_above;
                return Err(Refusal::JointTooFast { joint: excess.joint, by: total, limit, reason: excess.reason });
            }
            applied = Some((way.slower(excess.factor), excess.reason));
        }
        if let Some((slower, _)) = &applied {
            // A joint that moves already goes further where it has more time.
            self.check_places(slower, limits, from)?;
        }
        Ok(applied)
    }

    /// Start, positions and efforts, which slowing down does not mend.
    fn check_places(&self, trajectory: &Trajectory, limits: &[&JointLimits], from: &[Knot]) -> Result<(), Refusal> {
        for (index, (joint, start)) in limits.iter().zip(from).enumerate() {
            if let Some(point) = trajectory.points.first().filter(|point| point.time_ns == 0)
                && let Some(first) = Knot::of(point, index)
            {
                let mut apart = (first.position - start.position).abs();
                if joint.is_continuous() {
                    let turned = apart.rem_euclid(std::f64::consts::TAU);
                    apart = turned.min(std::f64::consts::TAU - turned);
                }
                if apart > self.config.start_tolerance {
                    let (joint, limit) = (joint.name.clone(), self.config.start_tolerance);
                    return Err(Refusal::JointStart { joint, apart, limit });
                }
            }
            let (lower, upper) = (joint.lower, joint.upper);
            let outside = |value: f64| Err(Refusal::JointPosition { joint: joint.name.clone(), value, lower, upper });
            for position in trajectory.points.iter().filter_map(|point| point.positions.get(index)) {
                if !(lower - ROUNDING..=upper + ROUNDING).contains(position) {
                    return outside(*position);
                }
            }
            for (nth, Stretch { curve, .. }) in stretches(trajectory, index, *start).enumerate() {
                // A joint that is outside may come back in.
                let widened = (lower.min(start.position), upper.max(start.position));
                let (lower, upper) = if nth == 0 { widened } else { (lower, upper) };
                let (least, greatest) = (curve.least(lower), curve.greatest(upper));
                if least < lower - ROUNDING {
                    return outside(least);
                }
                if greatest > upper + ROUNDING {
                    return outside(greatest);
                }
            }
            let efforts = trajectory.points.iter().filter_map(|point| point.effort.get(index));
            if let Some(value) = efforts.copied().find(|effort| effort.abs() > joint.effort) {
                return Err(Refusal::JointEffort { joint: joint.name.clone(), value, limit: joint.effort });
            }
        }
        Ok(())
    }

    /// A trajectory was given to a group.
    pub fn applied(&mut self, group: usize, source: &str, trajectory: &Trajectory, now: Steady) {
        let from = self.config.groups.get(group).map(|_| {
            let knot = |name: &String| {
                let reading = self.measured.of_joint(name);
                reading.map_or(Knot::measured(0.0, 0.0), |r| Knot::measured(r.position, r.velocity))
            };
            trajectory.joints.iter().map(knot).collect()
        });
        let ends = Steady(now.0 + Duration::from_nanos(u64::try_from(trajectory.duration_ns()).unwrap_or(0)));
        let (source, priority) = (source.to_owned(), self.priority(source).unwrap_or(0));
        if let (Some(run), Some(from)) = (self.runs.get_mut(group), from) {
            *run = Some(Run { trajectory: trajectory.clone(), from, started: now, ends, source, priority });
        }
    }

    /// A group was given its safe state.
    pub fn rested(&mut self, group: usize) {
        if let Some(run) = self.runs.get_mut(group) {
            *run = None;
        }
    }

    /// Whether a group is on its way.
    pub fn is_moving(&self, group: usize, now: Steady) -> bool {
        self.running(group, now).is_some()
    }

    /// Who moves a group at present.
    pub fn driving(&self, now: Steady) -> Option<&str> {
        (0..self.runs.len()).find_map(|group| self.running(group, now)).map(|run| run.source.as_str())
    }

    /// A group that has to be brought to rest: it is on its way, and nobody knows where its joints are.
    pub fn watch(&self, now: Steady) -> Option<(usize, Reason)> {
        let blind = |group: &usize| {
            let joints = self.config.groups.get(*group).map(|group| group.joints.as_slice()).unwrap_or_default();
            self.is_moving(*group, now) && joints.iter().any(|joint| self.reading(&joint.name, now).is_none())
        };
        (0..self.runs.len()).find(blind).map(|group| (group, Reason::JointStateStale))
    }
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
