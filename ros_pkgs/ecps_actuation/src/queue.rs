//! Actions that wait, in order, and those that are remembered so that a repeated request acts once.

use std::collections::{HashMap, VecDeque};

use crate::action::{ErrorCode, Rejection};
use crate::goal::{Finished, Goal, GoalId};

/// How many actions that have ended are remembered.
pub const REMEMBERED: usize = 4096;

/// Digest of a request's content.
pub(crate) type Digest = [u8; 32];

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Which execution.
    pub goal: GoalId,
    /// Whether this request is its first.
    pub repeat: Repeat,
}

/// Whether a request came before.
#[derive(Debug, Clone, PartialEq)]
pub enum Repeat {
    /// It is new, and queued.
    First,
    /// It came before and has not ended.
    Underway,
    /// It came before and ended like this.
    Ended(Finished),
}

/// An action by who asked for it and what it was called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    caller: String,
    id: String,
}

#[derive(Debug)]
struct Known {
    goal: GoalId,
    digest: Digest,
    finished: Option<Finished>,
}

/// The queue and the memory.
#[derive(Debug)]
pub(crate) struct Queue {
    capacity: usize,
    waiting: VecDeque<Goal>,
    known: HashMap<Key, Known>,
    /// Ended actions, the oldest first.
    ended: VecDeque<Key>,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Queue {
        Queue { capacity, waiting: VecDeque::new(), known: HashMap::new(), ended: VecDeque::new() }
    }

    /// What is known of a request; an error if its id names another action.
    pub(crate) fn recall(&self, caller: &str, id: &str, digest: &Digest) -> Result<Option<Submitted>, Rejection> {
        let Some(known) = self.find(caller, id) else { return Ok(None) };
        if known.digest != *digest {
            let text = format!("action.id '{id}' was used by this caller for another action");
            return Err(Rejection::new(ErrorCode::Invalid, text));
        }
        let repeat = known.finished.clone().map_or(Repeat::Underway, Repeat::Ended);
        Ok(Some(Submitted { goal: known.goal, repeat }))
    }

    /// Whether a request of that caller and id is known.
    pub(crate) fn knows(&self, caller: &str, id: &str) -> bool {
        self.find(caller, id).is_some()
    }

    fn find(&self, caller: &str, id: &str) -> Option<&Known> {
        self.known.get(&Key { caller: caller.to_owned(), id: id.to_owned() })
    }

    /// Refuses what would not fit.
    pub(crate) fn check_room(&self) -> Result<(), Rejection> {
        if self.waiting.len() < self.capacity {
            return Ok(());
        }
        let text = format!("{} actions wait already, which is all that may; send it again later", self.waiting.len());
        Err(Rejection::new(ErrorCode::QueueFull, text))
    }

    /// Refuses dependencies that are not known or have failed.
    pub(crate) fn check_dependencies(&self, caller: &str, after: &[String]) -> Result<(), Rejection> {
        for id in after {
            let why = match self.find(caller, id).map(|known| &known.finished) {
                None => "is not known".to_owned(),
                Some(Some(ended)) if ended.code != ErrorCode::None => format!("failed: {}", ended.message),
                Some(_) => continue,
            };
            let text = format!("it is to come after action '{id}', which {why}");
            return Err(Rejection::new(ErrorCode::Dependency, text));
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, goal: Goal, digest: Digest) {
        let key = Key { caller: goal.caller.clone(), id: goal.action.id.clone() };
        self.known.insert(key, Known { goal: goal.id, digest, finished: None });
        self.waiting.push_back(goal);
    }

    pub(crate) fn first(&self) -> Option<&Goal> {
        self.waiting.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Goal> {
        self.waiting.pop_front()
    }

    /// The first that waits and of which `unfit` is true.
    pub(crate) fn remove_first(&mut self, unfit: impl Fn(&Goal) -> bool) -> Option<Goal> {
        let position = self.waiting.iter().position(unfit)?;
        self.waiting.remove(position)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Goal> {
        self.waiting.iter()
    }

    /// Remembers how an action ended, and forgets the oldest beyond [`REMEMBERED`].
    pub(crate) fn ended(&mut self, goal: &Goal, finished: &Finished) {
        let key = Key { caller: goal.caller.clone(), id: goal.action.id.clone() };
        if let Some(known) = self.known.get_mut(&key) {
            known.finished = Some(finished.clone());
            self.ended.push_back(key);
        }
        while self.ended.len() > REMEMBERED {
            if let Some(oldest) = self.ended.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}
