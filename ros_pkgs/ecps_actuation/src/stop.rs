//! Why a protective stop is latched, and what a stop is called.
//!
//! IEC 60204-1 names three stop categories. What this software asks for is none of them until the robot's own drive
//! carries it out, and it is never an emergency stop: that takes hardware which works without this computer.

use std::fmt;

/// Longest detail of a stop, in characters; the rest is left out.
const DETAIL_CHARACTERS: usize = 256;

/// Stop categories of IEC 60204-1, 9.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCategory {
    /// Category 0: power is taken away at once.
    Zero,
    /// Category 1: brought to rest under power, which is then taken away.
    One,
    /// Category 2: brought to rest, and held there under power.
    Two,
}

/// Lists the causes with their stable names, so that none is left out of [`StopCause::ALL`].
macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident $name:literal,)*) => {
        /// What latched the stop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum StopCause {
            $($(#[$doc])* $cause,)*
        }

        impl StopCause {
            /// Each cause, in the order of its discriminant.
            pub const ALL: &[StopCause] = &[$(StopCause::$cause),*];

            /// The stable name, in snake_case.
            pub fn name(self) -> &'static str {
                match self { $(StopCause::$cause => $name,)* }
            }
        }
    };
}

causes! {
    /// Somebody asked for it by a service. Gone as soon as it was heard.
    Requested "requested",
    /// The topic of stop requests says stop. Gone when it says go.
    Topic "topic",
    /// The supervisor has stopped the robot or is gone. Gone when it watches again.
    Supervisor "supervisor",
    /// This process did not run for longer than its heartbeat may be late. Gone as soon as it was noticed.
    Overslept "overslept",
    /// Another part of the robot reports an error. Gone when it reports none.
    Diagnostics "diagnostics",
    /// An action that must not fail has failed. Gone as soon as it was noticed.
    ActionFailed "action_failed",
    /// A record could not be written. Gone when one can be.
    Journal "journal",
    /// The actuator did not take a command. Gone when it takes its safe state.
    Actuator "actuator",
    /// The executor is ending. Lasts.
    Shutdown "shutdown",
}

/// A latched cause with its detail: by whom, or what failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The cause.
    pub cause: StopCause,
    /// By whom, or what failed; at most 256 characters.
    pub detail: String,
}

impl Stop {
    /// With as much of the detail as fits.
    pub fn new(cause: StopCause, detail: &str) -> Stop {
        Stop { cause, detail: detail.chars().take(DETAIL_CHARACTERS).collect() }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.name(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_bounded() {
        let stop = Stop::new(StopCause::Requested, &"ä".repeat(1000));
        assert_eq!(stop.detail.chars().count(), 256);
    }
}
