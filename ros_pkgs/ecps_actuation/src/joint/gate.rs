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

use super::config::{GROUP_JOINTS, JointConfig, JointConfigError, JointGroup, JointSource};
use super::limits::JointLimits;
use super::measured::{JointReading, JointStateError, JointStates, Measured};
use super::pace::{Stretch, stretches, worst};
use super::trajectory::{Knot, Trajectory, seconds};
use crate::arming::{Arming, ArmingState};
use crate::motion::Now;
use crate::reason::{Reason, Refusal};
use crate::ticket::SafeState;

/// Most points of a trajectory.
pub const POINTS: usize = 4096;
/// Most numbers in a trajectory: raw and applied together fit a record of the journal.
pub const NUMBERS: usize = 16_384;
/// Most names that the record of a refused trajectory keeps.
pub(crate) const JOINTS_KEPT: usize = 64;
/// Longest trajectory.
pub const LONGEST: Duration = Duration::from_secs(600);
/// Least time in which a joint is held or brought to rest.
const HOLD: Duration = Duration::from_millis(100);
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
struct Run {
    trajectory: Trajectory,
    from: Vec<Knot>,
    started: Steady,
    ends: Steady,
    source: String,
    priority: u8,
}

/// The gate. [`JointGate::admit`] decides and changes nothing; what was carried out is told by [`JointGate::applied`].
#[derive(Debug, Clone)]
pub struct JointGate {
    config: JointConfig,
    measured: Measured,
    runs: Vec<Option<Run>>,
}

impl JointGate {
    /// A gate before joints of which nothing is measured yet.
    pub fn new(config: JointConfig) -> Result<JointGate, JointConfigError> {
        config.check()?;
        let joints = config.groups.iter().flat_map(|group| group.joints.iter().map(|joint| joint.name.as_str()));
        Ok(JointGate { measured: Measured::of(joints), runs: vec![None; config.groups.len()], config })
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

    fn running(&self, group: usize, now: Steady) -> Option<&Run> {
        self.runs.get(group)?.as_ref().filter(|run| now < run.ends)
    }

    /// The group that a trajectory moves, and its limits in the trajectory's order.
    fn group_of<'a>(&'a self, trajectory: &Trajectory) -> Result<(usize, Vec<&'a JointLimits>), Refusal> {
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
    fn limit(
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

    /// The way of a group into its safe state; none where nobody knows where its joints are and nothing moves them.
    ///
    /// ros2_control's joint trajectory controller refuses an empty trajectory, so that holding is a way of one point. A
    /// joint that moves is held where braking ends, since a controller would otherwise turn it back.
    pub fn rest(&self, group: usize, now: Steady) -> Option<Trajectory> {
        let joints = self.config.groups.get(group)?;
        let mut positions = Vec::with_capacity(joints.joints.len());
        let mut longest = HOLD.as_secs_f64();
        for (index, joint) in joints.joints.iter().enumerate() {
            let known = self.reading(&joint.name, now).map(|reading| (reading.position, reading.velocity));
            let (position, velocity) = known.or_else(|| Some((self.estimate(group, &joint.name, now)?, 0.0)))?;
            let (target, time) = match (joints.safe, joints.open.get(index)) {
                (SafeState::Open, Some(open)) => (*open, 1.5 * (open - position).abs() / joint.velocity),
                _ => {
                    let brake = joint.braking();
                    let ahead = position + velocity * velocity.abs() / (2.0 * brake);
                    // Where it is, it may stay; only braking does not lead out of the limits.
                    let target = ahead.clamp(joint.lower.min(position), joint.upper.max(position));
                    (target, velocity.abs() / brake)
                }
            };
            positions.push(target);
            longest = longest.max(time);
        }
        let names = joints.joints.iter().map(|joint| joint.name.clone()).collect();
        Some(Trajectory::to_rest(names, positions, (longest * 1e9).ceil() as i64))
    }

    /// Where a joint should be that is not measured any more.
    fn estimate(&self, group: usize, joint: &str, now: Steady) -> Option<f64> {
        let run = self.runs.get(group)?.as_ref()?;
        let index = run.trajectory.joints.iter().position(|name| name == joint)?;
        run.trajectory.sample(index, *run.from.get(index)?, nanos(now.since(run.started)))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The rules on sizes, numbers and times.
fn check_shape(trajectory: &Trajectory) -> Result<(), Refusal> {
    let malformed = |what: String| Err(Refusal::JointMalformed { what });
    let (joints, points) = (trajectory.joints.len(), trajectory.points.len());
    if joints > GROUP_JOINTS {
        return malformed(format!("it names {joints} joints, and may name {GROUP_JOINTS}"));
    }
    if points == 0 || points > POINTS {
        return malformed(format!("it has {points} points, and must have 1 to {POINTS}"));
    }
    let numbers = trajectory.numbers();
    if numbers > NUMBERS {
        return malformed(format!("it has {numbers} numbers, and may have {NUMBERS}"));
    }
    let mut before = None;
    for (nth, point) in trajectory.points.iter().enumerate() {
        for (list, values, needed) in [
            ("positions", &point.positions, true),
            ("velocities", &point.velocities, false),
            ("accelerations", &point.accelerations, false),
            ("effort", &point.effort, false),
        ] {
            if values.len() != joints && (needed || !values.is_empty()) {
                let found = values.len();
                return malformed(format!("point {nth} has {found} {list} for {joints} joints"));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Refusal::JointNotFinite { point: nth, list, value: *value });
            }
        }
        if point.time_ns < 0 || before.is_some_and(|before| point.time_ns <= before) {
            let seconds = seconds(point.time_ns);
            return malformed(format!("time_from_start of point {nth} is {seconds} s, which does not rise from 0"));
        }
        if point.time_ns > nanos(LONGEST) {
            let seconds = seconds(point.time_ns);
            return malformed(format!("point {nth} comes after {seconds} s, and {LONGEST:?} are the most"));
        }
        before = Some(point.time_ns);
    }
    match trajectory.points.last().and_then(|last| last.velocities.iter().find(|velocity| velocity.abs() > ROUNDING)) {
        Some(velocity) => malformed(format!("it ends while moving, at {velocity} per second")),
        None => Ok(()),
    }
}
