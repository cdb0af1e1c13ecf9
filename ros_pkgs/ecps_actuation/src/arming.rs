//! Whether anything may move at all.
//!
//! *Disarmed* is where it begins; `enable` leads to *armed*, the only state in which anything moves, and `disable` back.
//! Any cause leads from anywhere to *stopped*, at once. *Stopped* gathers further causes, and is left by `reset` alone,
//! which needs that every cause is gone and that somebody has enabled since the last cause, a short while ago. A reset
//! leads to *armed*, at rest: what moves next is a new command.

use std::time::Duration;

use ecps_core::clock::Steady;
use thiserror::Error;

use crate::stop::{Stop, StopCause};

/// How long an `enable` lets a reset follow.
pub const ENABLE_LIFETIME: Duration = Duration::from_secs(10);

/// The three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArmingState {
    /// Nothing moves until somebody enables.
    Disarmed,
    /// Commands are carried out.
    Armed,
    /// A protective stop is latched.
    Stopped,
}

/// Whether a cause was new to the latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// It was not latched before.
    Newly,
    /// It was latched already.
    Again,
}

/// Why the stop stays latched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StaysStopped {
    /// The cause lasts, or is still there.
    #[error("its cause is there ({0})")]
    Cause(Stop),
    /// Nobody has enabled since the last cause.
    #[error("nobody has enabled since; call ~/enable first")]
    NotEnabled,
    /// The enable is too old.
    #[error("the enable is {0:?} old, and may be {ENABLE_LIFETIME:?}; call ~/enable again")]
    EnableExpired(Duration),
}

/// The state machine; see the module.
#[derive(Debug, Clone, Default)]
pub struct Arming {
    /// Latched causes in the order they came, each once.
    causes: Vec<Stop>,
    /// Causes that are still there.
    present: Vec<StopCause>,
    armed: bool,
    /// When somebody enabled while stopped.
    enabled: Option<Steady>,
}

impl Arming {
    /// Where it stands.
    pub fn state(&self) -> ArmingState {
        match (self.causes.is_empty(), self.armed) {
            (false, _) => ArmingState::Stopped,
            (true, true) => ArmingState::Armed,
            (true, false) => ArmingState::Disarmed,
        }
    }

    /// Latches. A cause that comes again also takes back an enable.
    pub fn trip(&mut self, cause: StopCause, detail: &str) -> Tripped {
        self.armed = false;
        self.enabled = None;
        if self.has(cause) {
            return Tripped::Again;
        }
        self.causes.push(Stop::new(cause, detail));
        Tripped::Newly
    }

    /// Tells whether a cause is there. One that is there does not latch by this; [`Arming::trip`] does.
    pub fn set_present(&mut self, cause: StopCause, present: bool) {
        self.present.retain(|other| *other != cause);
        if present {
            self.present.push(cause);
        }
    }

    /// Whether `cause` is there.
    pub fn is_present(&self, cause: StopCause) -> bool {
        self.present.contains(&cause)
    }

    /// Whether `cause` is latched.
    pub fn has(&self, cause: StopCause) -> bool {
        self.causes.iter().any(|stop| stop.cause == cause)
    }

    /// The first cause; none unless stopped.
    pub fn first(&self) -> Option<&Stop> {
        self.causes.first()
    }

    /// Arms; while stopped, lets a reset follow.
    pub fn enable(&mut self, now: Steady) {
        if self.causes.is_empty() {
            self.armed = true;
        } else {
            self.enabled = Some(now);
        }
    }

    /// Disarms, and takes an enable back.
    pub fn disable(&mut self) {
        self.armed = false;
        self.enabled = None;
    }

    /// What keeps the stop from being left at present.
    pub fn check_reset(&self, now: Steady) -> Result<(), StaysStopped> {
        if let Some(stop) = self.causes.iter().find(|stop| stop.cause == StopCause::Shutdown) {
            return Err(StaysStopped::Cause(stop.clone()));
        }
        if let Some(cause) = self.present.first() {
            let latched = self.causes.iter().find(|stop| stop.cause == *cause);
            return Err(StaysStopped::Cause(latched.cloned().unwrap_or_else(|| Stop::new(*cause, "it came since"))));
        }
        match self.enabled {
            None => Err(StaysStopped::NotEnabled),
            Some(at) if now.since(at) > ENABLE_LIFETIME => Err(StaysStopped::EnableExpired(now.since(at))),
            Some(_) => Ok(()),
        }
    }

    /// Leaves the stop and arms, using up the enable. Changes nothing unless stopped.
    pub fn reset(&mut self, now: Steady) -> Result<(), StaysStopped> {
        if self.causes.is_empty() {
            return Ok(());
        }
        self.check_reset(now)?;
        self.causes.clear();
        self.enabled = None;
        self.armed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Input {
        Trip(usize),
        Present(usize, bool),
        Enable,
        Disable,
        Reset,
        /// Past the enable's lifetime.
        Wait,
    }

    /// What the module's words say, held as sets: an independent account of the machine.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
    struct Model {
        latched: BTreeSet<usize>,
        present: BTreeSet<usize>,
        armed: bool,
        enabled: bool,
        fresh: bool,
    }

    /// An instant cause, one that stays until it is told to be gone, and the one that lasts.
    const CAUSES: [StopCause; 3] = [StopCause::Requested, StopCause::Topic, StopCause::Shutdown];

    impl Model {
        fn step(&self, input: Input) -> Model {
            let mut next = self.clone();
            match input {
                Input::Trip(cause) => {
                    next.latched.insert(cause);
                    (next.armed, next.enabled, next.fresh) = (false, false, false);
                }
                Input::Present(cause, true) => drop(next.present.insert(cause)),
                Input::Present(cause, false) => drop(next.present.remove(&cause)),
                Input::Enable if self.latched.is_empty() => next.armed = true,
                Input::Enable => (next.enabled, next.fresh) = (true, true),
                Input::Disable => (next.armed, next.enabled, next.fresh) = (false, false, false),
                Input::Wait => next.fresh = false,
                Input::Reset => {
                    let may = !self.latched.contains(&2) && self.present.is_empty() && self.enabled && self.fresh;
                    if !self.latched.is_empty() && may {
                        next.latched.clear();
                        (next.armed, next.enabled, next.fresh) = (true, false, false);
                    }
                }
            }
            next
        }

        fn state(&self) -> ArmingState {
            if !self.latched.is_empty() {
                ArmingState::Stopped
            } else if self.armed {
                ArmingState::Armed
            } else {
                ArmingState::Disarmed
            }
        }
    }

    fn apply(arming: &mut Arming, now: &mut Steady, input: Input) {
        match input {
            Input::Trip(cause) => drop(arming.trip(CAUSES[cause], "x")),
            Input::Present(cause, present) => arming.set_present(CAUSES[cause], present),
            Input::Enable => arming.enable(*now),
            Input::Disable => arming.disable(),
            Input::Reset => drop(arming.reset(*now)),
            Input::Wait => now.0 += ENABLE_LIFETIME + Duration::from_millis(1),
        }
    }

    /// Every state that any history reaches, and from each every input: the machine does as the model, and the rules hold.
    #[test]
    fn every_transition_from_every_reachable_state_is_the_documented_one() {
        let mut inputs = vec![Input::Enable, Input::Disable, Input::Reset, Input::Wait];
        for cause in 0..CAUSES.len() {
            inputs.extend([Input::Trip(cause), Input::Present(cause, true), Input::Present(cause, false)]);
        }
        let start = (Model::default(), Arming::default(), Steady(Duration::ZERO));
        let mut seen = BTreeSet::from([start.0.clone()]);
        let (mut waiting, mut transitions) = (VecDeque::from([start]), 0);
        while let Some((model, arming, now)) = waiting.pop_front() {
            for input in &inputs {
                let (mut next, mut then) = (arming.clone(), now);
                apply(&mut next, &mut then, *input);
                let expected = model.step(*input);
                transitions += 1;
                assert_eq!(next.state(), expected.state(), "{model:?} {input:?}");
                for (index, cause) in CAUSES.iter().enumerate() {
                    assert_eq!(next.has(*cause), expected.latched.contains(&index), "{model:?} {input:?}");
                    assert_eq!(next.is_present(*cause), expected.present.contains(&index), "{model:?} {input:?}");
                }
                let (before, after) = (arming.state(), next.state());
                if before == ArmingState::Stopped && after != before {
                    assert!(matches!(input, Input::Reset), "only a reset leaves the stop: {model:?} {input:?}");
                }
                if matches!(input, Input::Trip(_)) {
                    assert_eq!(after, ArmingState::Stopped, "from {before:?}");
                }
                if after == ArmingState::Armed && before != after {
                    assert!(matches!(input, Input::Enable | Input::Reset), "{model:?} {input:?}");
                }
                if seen.insert(expected.clone()) {
                    waiting.push_back((expected, next, then));
                }
            }
        }
        // 8 subsets present × (disarmed, armed, and 7 subsets latched × (none, old, fresh enable)).
        assert_eq!(seen.len(), 8 * (2 + 7 * 3), "{transitions} transitions");
    }

    #[test]
    fn each_reason_to_stay_stopped_is_told() {
        let at = |s| Steady(Duration::from_secs(s));
        let mut arming = Arming::default();
        arming.trip(StopCause::Topic, "/stop_request");
        arming.set_present(StopCause::Topic, true);
        arming.enable(at(0));
        assert_eq!(arming.reset(at(1)).unwrap_err().to_string(), "its cause is there (topic: /stop_request)");
        arming.set_present(StopCause::Topic, false);
        assert!(arming.reset(at(11)).unwrap_err().to_string().contains("11s old, and may be 10s"));
        arming.disable();
        assert_eq!(arming.reset(at(11)), Err(StaysStopped::NotEnabled));
        arming.enable(at(12));
        arming.trip(StopCause::Topic, "again");
        assert_eq!(arming.reset(at(13)), Err(StaysStopped::NotEnabled), "an enable from before the last cause");
        arming.enable(at(14));
        assert_eq!((arming.reset(at(15)), arming.state()), (Ok(()), ArmingState::Armed));
    }
}
