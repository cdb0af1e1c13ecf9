//! What a layer makes of its node, and the parameters it is made from.

use crate::alarm::Alarm;
use crate::budget::BudgetMeter;
use crate::diagnostics::Report;
use crate::parameter::{Parameters, Value};
use crate::stream::StreamMeter;

type OnChange<S> = Box<dyn FnMut(&mut S, &[(String, Value)]) -> Result<(), String> + Send>;

/// A node's parameters, and who may refuse their change.
pub(crate) struct Core<S> {
    pub(crate) parameters: Parameters,
    pub(super) on_change: Option<OnChange<S>>,
}

impl<S> Core<S> {
    /// Sets checked values, all or none: the node's own code, where there is any yet, may refuse them.
    pub(crate) fn apply(&mut self, state: Option<&mut S>, changes: Vec<(String, Value)>) -> Result<(), String> {
        if let (Some(on_change), Some(state)) = (&mut self.on_change, state) {
            on_change(state, &changes)?;
        }
        for (name, value) in changes {
            if let ("log_level", Value::String(level)) = (name.as_str(), &value) {
                crate::rosout::set_level(level);
            }
            self.parameters.set(&name, value);
        }
        Ok(())
    }
}

/// Whether the node does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It is active.
    Open,
    /// It is not: what comes in is drained, so that nothing stale waits for its activation, and left alone.
    Closed,
}

pub(super) type Poll<S> = Box<dyn FnMut(&mut S, Gate) + Send>;
type Describe<S> = Box<dyn FnMut(&S, &mut Report) + Send>;

/// An alarm, and whether it rings in every state or in the active one alone.
pub(super) struct Scheduled<S> {
    pub(super) alarm: Box<dyn Alarm<S>>,
    pub(super) always: bool,
}

/// What a layer has made of its node; released when it is cleaned up.
pub(crate) struct Entities<S> {
    pub(super) polls: Vec<Poll<S>>,
    pub(super) alarms: Vec<Scheduled<S>>,
    /// What diagnostics tell of.
    pub(crate) meters: Vec<StreamMeter>,
    pub(crate) queues: Vec<(String, Box<dyn Fn() -> usize + Send>)>,
    pub(crate) budgets: Vec<BudgetMeter>,
    pub(crate) reports: Vec<(String, Describe<S>)>,
    /// Streams that other threads wait on.
    pub(super) ends: Vec<Box<dyn FnOnce() + Send>>,
}

impl<S> Default for Entities<S> {
    fn default() -> Self {
        Entities {
            polls: Vec::new(),
            alarms: Vec::new(),
            meters: Vec::new(),
            queues: Vec::new(),
            budgets: Vec::new(),
            reports: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl<S> Drop for Entities<S> {
    fn drop(&mut self) {
        self.ends.drain(..).for_each(|end| end());
    }
}
