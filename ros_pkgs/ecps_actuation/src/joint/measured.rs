//! Where the joints are, as `/joint_states` says.

use std::collections::HashMap;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::{Stamp, Steady};
use thiserror::Error;

/// Most joints in one message.
pub const STATE_JOINTS: usize = 1024;

/// One joint as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointReading {
    /// rad or m.
    pub position: f64,
    /// Per second; 0 where it is not measured.
    pub velocity: f64,
    /// N m or N, where it is measured.
    pub effort: Option<f64>,
    /// The message's stamp.
    pub stamp: Stamp,
    /// When it came.
    pub at: Steady,
}

/// A message as it came; all but `names` and `positions` may be empty.
#[derive(Debug, Clone, Copy)]
pub struct JointStates<'a> {
    /// Of the joints.
    pub names: &'a [String],
    /// rad or m.
    pub positions: &'a [f64],
    /// Per second.
    pub velocities: &'a [f64],
    /// N m or N.
    pub efforts: &'a [f64],
    /// Of the message.
    pub stamp: Stamp,
}

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum JointStateError {
    /// Too many joints, or a position that is not finite.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// Lists that do not go together.
    #[error("the message names {names} joints and has {values} {list}")]
    Length {
        /// How many are named.
        names: usize,
        /// Which list.
        list: &'static str,
        /// How long it is.
        values: usize,
    },
    /// The same measurement again: whoever publishes it does not measure any more.
    #[error("the stamp of joint '{joint}' is {stamp_ns} ns as in the message before, so it is no new measurement")]
    Repeated {
        /// Which joint.
        joint: String,
        /// The stamp.
        stamp_ns: i64,
    },
}

/// The last reading of each joint that matters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    readings: HashMap<String, Option<JointReading>>,
}

impl Measured {
    /// Waits for these joints; others are left alone.
    pub(crate) fn of<'a>(joints: impl Iterator<Item = &'a str>) -> Measured {
        Measured { readings: joints.map(|name| (name.to_owned(), None)).collect() }
    }

    /// Takes a message: all of it or nothing. Velocities and efforts that are NaN are not measured, as ros2_control says it.
    pub(crate) fn take(&mut self, states: &JointStates<'_>, now: Steady) -> Result<(), JointStateError> {
        let names = states.names.len();
        check::at_most("the message of joint states", names, STATE_JOINTS, "joints")?;
        for (list, values, needed) in [
            ("positions", states.positions, true),
            ("velocities", states.velocities, false),
            ("efforts", states.efforts, false),
        ] {
            if values.len() != names && (needed || !values.is_empty()) {
                return Err(JointStateError::Length { names, list, values: values.len() });
            }
        }
        let known = |name: &String| self.readings.get(name);
        for (name, position) in states.names.iter().zip(states.positions) {
            let Some(before) = known(name) else { continue };
            check::finite(&format!("the position of joint '{name}'"), *position)?;
            if !states.stamp.is_zero() && before.is_some_and(|last| last.stamp == states.stamp) {
                return Err(JointStateError::Repeated { joint: name.clone(), stamp_ns: states.stamp.0 });
            }
        }
        let finite = |values: &[f64], index: usize| values.get(index).copied().filter(|value| value.is_finite());
        for (index, (name, position)) in states.names.iter().zip(states.positions).enumerate() {
            if let Some(reading) = self.readings.get_mut(name) {
                *reading = Some(JointReading {
                    position: *position,
                    velocity: finite(states.velocities, index).unwrap_or(0.0),
                    effort: finite(states.efforts, index),
                    stamp: states.stamp,
                    at: now,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn of_joint(&self, name: &str) -> Option<JointReading> {
        self.readings.get(name).copied().flatten()
    }
}
