//! What a query asks of a record besides likeness and words, and the one word that tells most of it.

use ecps_core::clock::Stamp;

use super::{Details, Facts};
use crate::place::Shape;

/// In a slot's mark: somebody is there, and not for ever. Below, a bit for each label and robot with a small number.
pub(super) const THERE: u64 = 1 << 63;
pub(super) const MORTAL: u64 = 1 << 62;
const MARKED: u32 = 62;

fn bit(label: u32) -> u64 {
    if label < MARKED { 1 << label } else { 0 }
}

/// A query's conditions in the arena's terms.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) now: Stamp,
    pub(crate) not_before: Stamp,
    pub(crate) not_after: Stamp,
    pub(crate) valid_at: Option<Stamp>,
    pub(crate) place: Option<(u32, Shape)>,
    pub(crate) labels: Vec<u32>,
}

/// Conditions, and what of them a mark tells.
#[derive(Debug)]
pub(crate) struct Filter {
    conditions: Conditions,
    pub(super) mark: u64,
    /// Labels that marks have no bit for.
    pub(super) unmarked: Vec<u32>,
    /// Whether a mark tells all, but for the end of what is mortal.
    pub(super) by_mark: bool,
    /// Whether whoever is there for ever passes.
    pub(super) asks_nothing: bool,
}

impl std::ops::Deref for Filter {
    type Target = Conditions;

    fn deref(&self) -> &Conditions {
        &self.conditions
    }
}

impl From<Conditions> for Filter {
    fn from(conditions: Conditions) -> Self {
        let mark = conditions.labels.iter().fold(THERE, |mark, label| mark | bit(*label));
        let unmarked: Vec<u32> = conditions.labels.iter().copied().filter(|label| *label >= MARKED).collect();
        let at_any_time = conditions.is_open() && conditions.valid_at.is_none();
        let by_mark = at_any_time && conditions.place.is_none() && unmarked.is_empty();
        let asks_nothing = by_mark && mark == THERE;
        Filter { conditions, mark, unmarked, by_mark, asks_nothing }
    }
}

impl Conditions {
    pub(super) fn is_open(&self) -> bool {
        self.not_before.0 == i64::MIN && self.not_after.0 == i64::MAX
    }

    pub(super) fn passes(&self, facts: &Facts) -> bool {
        let in_time = self.not_before <= facts.last && facts.first <= self.not_after && self.now < facts.expires;
        let valid = || self.valid_at.is_none_or(|at| facts.valid_from <= at && at <= facts.valid_until);
        let in_place = || match (&self.place, &facts.place) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((frame, shape)), Some(place)) => *frame == place.frame && shape.contains(place.at),
        };
        in_time && valid() && in_place()
    }
}

/// A slot's mark.
pub(super) fn mark(facts: &Facts, details: &Details) -> u64 {
    let mortal = if facts.expires.0 == i64::MAX { 0 } else { MORTAL };
    details.labels.iter().fold(THERE | mortal, |mark, label| mark | bit(*label))
}
