//! When an action may start, and what its end means for others: the entries of `EAP.meta` that this executor reads.
//!
//! | key | value |
//! |---|---|
//! | `start_at_ns` | not before this moment of ROS time, nanoseconds |
//! | `expires_at_ns` | not started after this moment of ROS time, nanoseconds |
//! | `after` | ids of actions of the same caller, with commas between, that must have succeeded |
//! | `safety` | `stop_on_fail`: should it fail, a protective stop is latched |
//!
//! Actions run one after the other in the order they were accepted, so a sequence is a row of actions, each `after` the
//! one before.

use std::collections::BTreeMap;

use ecps_core::check::CheckError;
use ecps_core::clock::Stamp;

use crate::action::{ErrorCode, Rejection};

/// What the end of an action means for the robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nothing more than that it failed.
    #[default]
    GoOn,
    /// A protective stop is latched.
    Stop,
}

/// When an action may start, and what its end means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Not before this.
    pub start_at: Option<Stamp>,
    /// Not started after this.
    pub expires_at: Option<Stamp>,
    /// Ids that must have succeeded.
    pub after: Vec<String>,
    /// What a failure means.
    pub on_failure: OnFailure,
}

impl Plan {
    /// Reads the entries; other keys are left alone.
    pub fn from_meta(meta: &BTreeMap<String, String>) -> Result<Plan, Rejection> {
        let moment = |key: &str| {
            let parse = |text: &String| {
                let parsed = text.parse().map(Stamp);
                parsed.map_err(|_| invalid(format!("action.meta.{key} is '{}', and must be nanoseconds", short(text))))
            };
            meta.get(key).map(parse).transpose()
        };
        let after: Vec<String> = match meta.get("after").map(String::as_str) {
            None | Some("") => Vec::new(),
            Some(ids) => ids.split(',').map(|id| id.trim().to_owned()).collect(),
        };
        if after.iter().any(String::is_empty) {
            return Err(CheckError::Empty { field: "an id in action.meta.after".into() }.into());
        }
        let on_failure = match meta.get("safety").map(String::as_str) {
            None => OnFailure::GoOn,
            Some("stop_on_fail") => OnFailure::Stop,
            Some(other) => {
                return Err(invalid(format!("action.meta.safety is '{}', and may be stop_on_fail", short(other))));
            }
        };
        Ok(Plan { start_at: moment("start_at_ns")?, expires_at: moment("expires_at_ns")?, after, on_failure })
    }

    /// Whether it is too late to start.
    pub fn expired(&self, now: Stamp) -> bool {
        self.expires_at.is_some_and(|moment| now > moment)
    }

    /// Whether it is too early to start.
    pub fn early(&self, now: Stamp) -> bool {
        self.start_at.is_some_and(|moment| now < moment)
    }
}

fn invalid(message: String) -> Rejection {
    Rejection { code: ErrorCode::Invalid, message }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entries: &[(&str, &str)]) -> Result<Plan, Rejection> {
        Plan::from_meta(&entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn entries_are_read_and_nonsense_is_refused() {
        assert_eq!(plan(&[("colour", "blue")]), Ok(Plan::default()));
        let full = plan(&[("start_at_ns", "5"), ("expires_at_ns", "9"), ("after", "a, b"), ("safety", "stop_on_fail")])
            .unwrap();
        assert_eq!(full.after, ["a", "b"]);
        assert_eq!(full.on_failure, OnFailure::Stop);
        assert!(full.early(Stamp(4)) && !full.early(Stamp(5)) && !full.expired(Stamp(9)) && full.expired(Stamp(10)));
        for (key, value) in [("start_at_ns", "soon"), ("expires_at_ns", "1e99"), ("after", "a,,b"), ("safety", "maybe")]
        {
            let error = plan(&[(key, value)]).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid);
            assert!(error.message.contains(key), "{error}");
        }
    }
}
