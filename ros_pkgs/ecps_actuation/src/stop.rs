//! The latched stop.
//!
//! Two states. *Running* becomes *stopped* by any cause, at once and from anywhere. *Stopped* gathers further causes, and
//! becomes *running* only by an explicit reset, when no cause is there that lasts. Nothing resumes by a reset: the
//! output stays at rest until a new command comes.

use std::fmt;

/// Longest detail of a stop, in characters; the rest is left out.
const DETAIL_CHARACTERS: usize = 256;

/// What latched the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopCause {
    /// Somebody asked for it. Gone as soon as it was heard.
    Requested,
    /// A record could not be written. Gone when one can be.
    Journal,
    /// The actuator did not take a command. Gone when it takes a zero.
    Actuator,
    /// The executor is ending. Lasts.
    Shutdown,
}

impl StopCause {
    /// The stable name, in snake_case.
    pub fn name(self) -> &'static str {
        match self {
            StopCause::Requested => "requested",
            StopCause::Journal => "journal",
            StopCause::Actuator => "actuator",
            StopCause::Shutdown => "shutdown",
        }
    }
}

/// A latched cause with its detail: by whom, or what failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The cause.
    pub cause: StopCause,
    /// By whom, or what failed; at most 256 characters.
    pub detail: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.name(), self.detail)
    }
}

/// Whether a cause was new to the latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// It was not latched before.
    Newly,
    /// It was latched already.
    Again,
}

/// The latch; see the module for its states.
#[derive(Debug, Clone, Default)]
pub struct StopLatch {
    /// Causes in the order they came, each once.
    causes: Vec<Stop>,
}

impl StopLatch {
    /// Latches.
    pub fn trip(&mut self, cause: StopCause, detail: &str) -> Tripped {
        if self.has(cause) {
            return Tripped::Again;
        }
        self.causes.push(Stop { cause, detail: detail.chars().take(DETAIL_CHARACTERS).collect() });
        Tripped::Newly
    }

    /// Whether `cause` is latched.
    pub fn has(&self, cause: StopCause) -> bool {
        self.causes.iter().any(|stop| stop.cause == cause)
    }

    /// The first cause; none while running.
    pub fn first(&self) -> Option<&Stop> {
        self.causes.first()
    }

    /// Back to running; the caller has made sure that the causes which can go are gone. Refused, with it, by a cause
    /// that lasts.
    pub fn reset(&mut self) -> Result<(), Stop> {
        if let Some(lasting) = self.lasting() {
            return Err(lasting.clone());
        }
        self.causes.clear();
        Ok(())
    }

    /// A latched cause that no reset leaves.
    pub fn lasting(&self) -> Option<&Stop> {
        self.causes.iter().find(|stop| stop.cause == StopCause::Shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [StopCause; 4] = [StopCause::Requested, StopCause::Journal, StopCause::Actuator, StopCause::Shutdown];

    /// Every sequence of up to five trips and resets, against a model that holds what the module says.
    #[test]
    fn every_short_history_follows_the_documented_states() {
        let steps: Vec<Option<StopCause>> = CAUSES.iter().copied().map(Some).chain([None]).collect();
        for mut history in 0..steps.len().pow(5) {
            let (mut latch, mut model) = (StopLatch::default(), Vec::new());
            for _ in 0..5 {
                match steps[history % steps.len()] {
                    Some(cause) => {
                        let newly = !model.contains(&cause);
                        assert_eq!(latch.trip(cause, "x") == Tripped::Newly, newly);
                        if newly {
                            model.push(cause);
                        }
                    }
                    None => {
                        let lasts = model.contains(&StopCause::Shutdown);
                        assert_eq!(latch.reset().is_err(), lasts);
                        if !lasts {
                            model.clear();
                        }
                    }
                }
                history /= steps.len();
                assert_eq!(latch.first().map(|s| s.cause), model.first().copied());
                assert!(CAUSES.iter().all(|c| latch.has(*c) == model.contains(c)));
            }
        }
    }

    #[test]
    fn a_detail_is_bounded() {
        let mut latch = StopLatch::default();
        latch.trip(StopCause::Requested, &"ä".repeat(1000));
        assert_eq!(latch.first().unwrap().detail.chars().count(), 256);
    }
}
