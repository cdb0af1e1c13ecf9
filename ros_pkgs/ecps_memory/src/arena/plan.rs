//! How the records that pass a filter are come by: through the index that leads to the fewest, or by looking at all.

use rstar::AABB;

use super::filter::{MORTAL, THERE};
use super::{Arena, Filter, TextScores};
use crate::graph::Graph;

/// Slots among which all that pass are.
#[derive(Debug)]
pub(super) enum Candidates {
    Slots(Vec<u32>),
    All,
}

/// So few that looking for fewer costs more.
const FEW: usize = 256;
/// Beyond this share of all records an index leads nowhere faster than looking at all of them.
const LARGEST_SHARE: usize = 4;
/// Records drawn to estimate how many pass.
const DRAWN: usize = 512;
/// Vectors that a walk compares for each candidate it keeps, as counted on image patches and clustered vectors.
const LOOKED_AT: f64 = 24.0;

impl Arena {
    pub(super) fn candidates(&self, filter: &Filter, text: Option<&TextScores>) -> Candidates {
        if let Some(text) = text {
            return Candidates::Slots(text.keys().filter_map(|row| self.slots.get(row).copied()).collect());
        }
        let mut best: Option<Vec<u32>> = None;
        let mut most = self.len() / LARGEST_SHARE + 1;
        let rarest = filter.labels.iter().map(|label| self.labels.get(label)).min_by_key(|s| s.map_or(0, Vec::len));
        match rarest {
            Some(None) => return Candidates::Slots(Vec::new()),
            Some(Some(slots)) if slots.len() < most => {
                most = slots.len();
                best = Some(slots.clone());
            }
            _ => {}
        }
        let within = |slots: Vec<u32>, most: usize| (slots.len() < most).then_some(slots);
        if let Some((frame, shape)) = &filter.place
            && most > FEW
        {
            let (low, high) = shape.bounds();
            let envelope = AABB::from_corners(low, high);
            let slots = self.places.get(frame).map_or_else(Vec::new, |tree| {
                tree.locate_in_envelope_intersecting(&envelope).map(|spot| spot.data).take(most).collect()
            });
            if let Some(slots) = within(slots, most) {
                most = slots.len();
                best = Some(slots);
            }
        }
        if !filter.is_open() && most > FEW {
            let range = (filter.not_before, 0)..=(filter.not_after, u32::MAX);
            let begun_earlier = self
                .spans
                .iter()
                .copied()
                .filter(|slot| self.facts.get(*slot as usize).is_some_and(|facts| facts.first < filter.not_before));
            let slots: Vec<u32> =
                self.times.range(range).map(|(_, slot)| *slot).chain(begun_earlier).take(most).collect();
            if let Some(slots) = within(slots, most) {
                best = Some(slots);
            }
        }
        best.map_or(Candidates::All, Candidates::Slots)
    }

    #[inline]
    pub(super) fn admits(&self, filter: &Filter, slot: u32) -> bool {
        let lasts = || self.lasting.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0);
        if filter.asks_nothing && lasts() {
            return true;
        }
        let mark = self.marks.get(slot as usize).copied().unwrap_or_default();
        if mark & filter.mark != filter.mark {
            return false;
        }
        (filter.by_mark && mark & MORTAL == 0) || self.admits_by_all(filter, slot)
    }

    fn admits_by_all(&self, filter: &Filter, slot: u32) -> bool {
        let passes = self.facts.get(slot as usize).is_some_and(|facts| filter.passes(facts));
        passes && (filter.unmarked.is_empty() || self.carries(slot, &filter.unmarked))
    }

    fn carries(&self, slot: u32, labels: &[u32]) -> bool {
        let details = self.details.get(slot as usize).and_then(Option::as_ref);
        details.is_some_and(|details| labels.iter().all(|label| details.labels.contains(label)))
    }

    /// How many pass: as counted where that is known, else from a regular sample.
    pub(super) fn estimate(&self, filter: &Filter) -> usize {
        let carrying = |label: &u32| self.labels.get(label).map_or(0, Vec::len);
        match filter.labels.as_slice() {
            [] if filter.by_mark => return self.len(),
            [one] if filter.by_mark => return carrying(one),
            _ => {}
        }
        let step = (self.marks.len() / DRAWN).max(1);
        let drawn = (0..self.marks.len() as u32).step_by(step);
        let (passing, all) = drawn.fold((0, 0), |(passing, all), slot| {
            (passing + usize::from(self.admits(filter, slot)), all + usize::from(self.is_there(slot)))
        });
        self.len() * passing / all.max(1)
    }

    fn is_there(&self, slot: u32) -> bool {
        self.marks.get(slot as usize).is_some_and(|mark| mark & THERE != 0)
    }

    /// The graph, where a walk that keeps `ef` compares fewer vectors than a scan of the `passing` ones.
    pub(super) fn worth_walking(&self, passing: usize, ef: usize) -> Option<&Graph> {
        let graph = self.graph.as_ref()?;
        let share = passing.max(1) as f64 / (self.len() + self.gone()).max(1) as f64;
        let walk = LOOKED_AT * ef as f64 / share + self.pending.len() as f64;
        (walk < passing as f64).then_some(graph)
    }
}
