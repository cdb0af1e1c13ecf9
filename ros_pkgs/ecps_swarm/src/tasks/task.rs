//! A task, as it is submitted.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use nalgebra::Vector3;
use thiserror::Error;

use crate::agents::ID_BYTES;

/// Longest payload and result, bytes.
pub const PAYLOAD_BYTES: usize = 16 << 10;
/// A deadline that is nearer raises the priority, seconds.
pub const URGENT: i64 = 300;
/// Most capabilities that a task asks for.
const REQUIRED_CAPABILITIES: usize = 16;
/// Most tasks that one depends on, and most agents that it prefers or excludes.
const NAMES: usize = 64;
/// Longest that a task may be thought to take, seconds.
const LONGEST: f64 = 30.0 * 86_400.0;

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Priority {
    /// Not said: normal.
    Unset = 0,
    /// Before everything.
    Critical = 1,
    /// Before most.
    High = 2,
    /// As usual.
    Normal = 3,
    /// After most.
    Low = 4,
    /// When there is nothing else to do.
    Background = 5,
}

/// What has become of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum State {
    /// Waits for the tasks that it depends on.
    Blocked = 0,
    /// Waits for an agent.
    Waiting = 1,
    /// Is an agent's, which has not begun.
    Awarded = 2,
    /// Its agent has begun.
    Running = 3,
    /// Done.
    Completed = 4,
    /// Its agent says that it cannot be done, or a task that it depends on did not complete.
    Failed = 5,
    /// Taken back.
    Cancelled = 6,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        self >= State::Completed
    }
}

/// Where something is done: a pose in the swarm's frame, metres and a unit quaternion.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Location {
    /// Position.
    #[prost(double, tag = "1")]
    pub x: f64,
    /// Position.
    #[prost(double, tag = "2")]
    pub y: f64,
    /// Position.
    #[prost(double, tag = "3")]
    pub z: f64,
    /// Orientation.
    #[prost(double, tag = "4")]
    pub qx: f64,
    /// Orientation.
    #[prost(double, tag = "5")]
    pub qy: f64,
    /// Orientation.
    #[prost(double, tag = "6")]
    pub qz: f64,
    /// Orientation.
    #[prost(double, tag = "7")]
    pub qw: f64,
}

impl Location {
    /// A place, with no turn.
    pub fn at(x: f64, y: f64) -> Location {
        Location { x, y, qw: 1.0, ..Location::default() }
    }

    /// The place alone.
    pub fn position(&self) -> Vector3<f64> {
        Vector3::new(self.x, self.y, self.z)
    }
}

/// Something to be done by one robot. Two are the same where all of it is the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Task {
    /// Unique in its swarm.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What kind of work it is.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// The kind's own arguments.
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// How urgent it is.
    #[prost(enumeration = "Priority", tag = "4")]
    pub priority: i32,
    /// All that an agent must be capable of.
    #[prost(string, repeated, tag = "5")]
    pub required_capabilities: Vec<String>,
    /// Tasks that must have completed before.
    #[prost(string, repeated, tag = "6")]
    pub depends_on: Vec<String>,
    /// By then it must be done, nanoseconds of ROS time; 0: whenever.
    #[prost(sint64, tag = "7")]
    pub deadline: i64,
    /// How long the work itself is thought to take, seconds; 0: not known.
    #[prost(double, tag = "8")]
    pub duration_estimate: f64,
    /// Where it is done.
    #[prost(message, optional, tag = "9")]
    pub location: Option<Location>,
    /// Agents that are chosen where they can.
    #[prost(string, repeated, tag = "10")]
    pub preferred_agents: Vec<String>,
    /// Agents that are never chosen.
    #[prost(string, repeated, tag = "11")]
    pub excluded_agents: Vec<String>,
}

/// Why a task is not one.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TaskError {
    /// Not finite, out of range, empty, or too much.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// A priority that there is none of.
    #[error("priority is {0}, and must be 0 (normal) or 1 (critical) to 5 (background)")]
    Priority(i32),
    /// It would wait for itself.
    #[error("task '{0}' depends on itself")]
    Itself(String),
    /// Wanted and not wanted.
    #[error("agent '{0}' is preferred and excluded")]
    Torn(String),
}

impl Task {
    /// Refuses what is not finite, out of range, or too much.
    ///
    /// # Errors
    /// Names the field, the value and the limit.
    pub fn check(&self) -> Result<(), TaskError> {
        check::name("id", &self.id, ID_BYTES)?;
        check::at_most("kind", self.kind.len(), ID_BYTES, "bytes")?;
        check::at_most("payload", self.payload.len(), PAYLOAD_BYTES, "bytes")?;
        Priority::try_from(self.priority).map_err(|_| TaskError::Priority(self.priority))?;
        for (field, names, limit) in [
            ("required_capabilities", &self.required_capabilities, REQUIRED_CAPABILITIES),
            ("depends_on", &self.depends_on, NAMES),
            ("preferred_agents", &self.preferred_agents, NAMES),
            ("excluded_agents", &self.excluded_agents, NAMES),
        ] {
            check::at_most(field, names.len(), limit, "entries")?;
            names.iter().try_for_each(|name| check::name(field, name, ID_BYTES))?;
        }
        check::in_range("duration_estimate", self.duration_estimate, 0.0, LONGEST)?;
        if let Some(at) = &self.location {
            for (field, value) in [("location.x", at.x), ("location.y", at.y), ("location.z", at.z)] {
                check::in_range(field, value, -1e6, 1e6)?;
            }
            check::unit_quaternion("location.orientation", [at.qx, at.qy, at.qz, at.qw])?;
        }
        if self.depends_on.contains(&self.id) {
            return Err(TaskError::Itself(self.id.clone()));
        }
        match self.preferred_agents.iter().find(|agent| self.excluded_agents.contains(agent)) {
            Some(agent) => Err(TaskError::Torn(agent.clone())),
            None => Ok(()),
        }
    }

    /// How urgent it is at `now`: one step more with a deadline that is near or over.
    pub fn urgency(&self, now: Stamp) -> Priority {
        let near = self.deadline != 0 && self.deadline.saturating_sub(now.0) <= URGENT * 1_000_000_000;
        match (self.priority(), near) {
            (Priority::Critical, _) | (Priority::High, true) => Priority::Critical,
            (Priority::High, false) | (Priority::Normal | Priority::Unset, true) => Priority::High,
            (Priority::Normal | Priority::Unset, false) | (Priority::Low, true) => Priority::Normal,
            (Priority::Low, false) | (Priority::Background, true) => Priority::Low,
            (Priority::Background, false) => Priority::Background,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task { id: "t".to_owned(), ..Task::default() }
    }

    #[test]
    fn a_deadline_within_300_seconds_raises_the_priority_by_one() {
        let with = |priority: Priority| Task { priority: priority.into(), deadline: 1_000_000_000_000, ..task() };
        let (early, late) = (Stamp(699_999_999_999), Stamp(700_000_000_000));
        use Priority::{Background, Critical, High, Low, Normal, Unset};
        for (priority, before, after) in [
            (Critical, Critical, Critical),
            (High, High, Critical),
            (Normal, Normal, High),
            (Unset, Normal, High),
            (Low, Low, Normal),
            (Background, Background, Low),
        ] {
            assert_eq!((with(priority).urgency(early), with(priority).urgency(late)), (before, after));
            assert_eq!(with(priority).urgency(Stamp(i64::MAX)), after, "also when it is over");
        }
        assert_eq!(task().urgency(Stamp(i64::MAX)), Normal, "without one nothing is near");
    }

    #[test]
    fn a_malformed_task_is_refused_with_the_field_and_the_limit() {
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        for (task, expected) in [
            (Task::default(), "id is empty"),
            (Task { id: "x".repeat(129), ..task() }, "129 bytes, more than the 128"),
            (Task { payload: vec![0; 16_385], ..task() }, "16385 bytes, more than the 16384"),
            (Task { priority: 6, ..task() }, "priority is 6"),
            (Task { required_capabilities: many(17), ..task() }, "17 entries, more than the 16"),
            (Task { depends_on: many(65), ..task() }, "65 entries, more than the 64"),
            (Task { depends_on: vec!["t".to_owned()], ..task() }, "depends on itself"),
            (Task { duration_estimate: f64::NAN, ..task() }, "must be finite"),
            (Task { location: Some(Location::at(f64::NAN, 0.0)), ..task() }, "location.x is NaN"),
            (Task { location: Some(Location::default()), ..task() }, "unit quaternion"),
            (
                Task { preferred_agents: many(2), excluded_agents: vec!["1".to_owned()], ..task() },
                "agent '1' is preferred and excluded",
            ),
        ] {
            let error = task.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(Task { location: Some(Location::at(1.0, 2.0)), ..task() }.check(), Ok(()));
    }
}
