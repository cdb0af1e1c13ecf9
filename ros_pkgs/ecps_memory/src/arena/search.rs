//! A query over one arena.

use super::plan::Candidates;
use super::{Arena, Filter, TextScores};
use crate::best::{Best, Candidate};
use crate::graph::{Near, Scratch};
use crate::query::{Ranking, Way};
use crate::vector::Unit;

/// Slots compared between two looks at the clock.
const STRETCH: usize = 8192;
/// The constant of reciprocal rank fusion (Cormack and others, 2009).
const FUSION: f32 = 60.0;

/// A query in the arena's terms.
pub(crate) struct Ask<'a> {
    pub(crate) filter: &'a Filter,
    /// The vector and the least similarity.
    pub(crate) like: Option<(&'a Unit, f32)>,
    pub(crate) text: Option<&'a TextScores>,
    pub(crate) k: usize,
    pub(crate) exact: bool,
    /// Whether the graph is walked, where there is one, also if a scan is cheaper.
    pub(crate) walk: bool,
    pub(crate) ranking: Ranking,
    /// Whether it has taken too long.
    pub(crate) late: &'a dyn Fn() -> bool,
}

/// What the hits do not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    pub(crate) way: Way,
    /// Whether the count of matches is a lower bound.
    pub(crate) lower_bound: bool,
    pub(crate) cut_short: bool,
}

/// A record that met every condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hitting {
    slot: u32,
    similarity: Option<f32>,
    text: Option<f32>,
}

impl Arena {
    /// Offers what meets the conditions to `best`.
    pub(crate) fn search<'a>(&'a self, ask: &Ask<'_>, best: &mut Best<'a>, scratch: &mut Scratch) -> Found {
        let mut found = Found::default();
        let hits = match ask.like {
            None => {
                let slots = self.passing(ask);
                slots.into_iter().map(|slot| Hitting { slot, similarity: None, text: self.text(ask, slot) }).collect()
            }
            Some((query, min_sim)) => self.alike(ask, query, min_sim, &mut found, scratch),
        };
        self.rank(ask, hits, best);
        found
    }

    fn alike(
        &self,
        ask: &Ask<'_>,
        query: &Unit,
        min_sim: f32,
        found: &mut Found,
        scratch: &mut Scratch,
    ) -> Vec<Hitting> {
        let hitting = |near: Near| Hitting {
            slot: near.slot,
            similarity: Some(near.similarity),
            text: self.text(ask, near.slot),
        };
        let candidates = self.candidates(ask.filter, ask.text);
        let passing = match &candidates {
            Candidates::Slots(slots) => slots.len(),
            Candidates::All => self.estimate(ask.filter),
        };
        let ef = (self.ef() as usize).max(2 * ask.k);
        let may_walk = !ask.exact && ask.text.is_none() && ask.ranking.by_fit_alone();
        let (graph, patience) = match ask.walk {
            true => (self.graph.as_ref(), usize::MAX),
            false => (self.worth_walking(passing, ef), 2 * passing),
        };
        if may_walk && let Some(graph) = graph {
            let passes = |slot| self.admits(ask.filter, slot);
            if let Some(mut near) = graph.search(&self.vectors, query, ef, patience, scratch, passes) {
                near.extend(self.compare(query, self.pending.iter().copied().filter(|slot| passes(*slot)), ask, found));
                found.way = Way::Graph;
                found.lower_bound = true;
                return near.into_iter().filter(|near| near.reaches(min_sim)).map(hitting).collect();
            }
        }
        found.way = Way::Scan;
        let near = match candidates {
            Candidates::Slots(slots) => {
                self.compare(query, slots.into_iter().filter(|slot| self.admits(ask.filter, *slot)), ask, found)
            }
            Candidates::All => {
                let all = 0..self.facts.len() as u32;
                self.compare(query, all.filter(|slot| self.admits(ask.filter, *slot)), ask, found)
            }
        };
        near.into_iter().filter(|near| near.reaches(min_sim)).map(hitting).collect()
    }

    /// Slots that pass, in no order.
    fn passing(&self, ask: &Ask<'_>) -> Vec<u32> {
        let admitted = |slot: &u32| self.admits(ask.filter, *slot);
        match self.candidates(ask.filter, ask.text) {
            Candidates::Slots(slots) => slots.into_iter().filter(admitted).collect(),
            Candidates::All => (0..self.facts.len() as u32).filter(admitted).collect(),
        }
    }

    fn compare(&self, query: &Unit, slots: impl Iterator<Item = u32>, ask: &Ask<'_>, found: &mut Found) -> Vec<Near> {
        let slots: Vec<u32> = slots.collect();
        let mut near = Vec::with_capacity(slots.len());
        let mut similarities = Vec::new();
        for stretch in slots.chunks(STRETCH) {
            if !near.is_empty() && (ask.late)() {
                found.cut_short = true;
                break;
            }
            self.vectors.similarities(query, stretch, &mut similarities);
            near.extend(similarities.iter().zip(stretch).map(|(s, slot)| Near { similarity: *s, slot: *slot }));
        }
        near
    }

    fn text(&self, ask: &Ask<'_>, slot: u32) -> Option<f32> {
        let scores = ask.text?;
        scores.get(&self.details.get(slot as usize)?.as_ref()?.row).copied()
    }

    /// Scores what was found and offers it.
    fn rank<'a>(&'a self, ask: &Ask<'_>, hits: Vec<Hitting>, best: &mut Best<'a>) {
        if let (Some(_), Some(_)) = (ask.like, ask.text) {
            let ranks = |value: fn(&Hitting) -> Option<f32>| {
                let mut order: Vec<(f32, usize)> =
                    hits.iter().enumerate().map(|(i, hit)| (value(hit).unwrap_or(f32::MIN), i)).collect();
                order.sort_unstable_by(|(a, i), (b, j)| b.total_cmp(a).then(i.cmp(j)));
                let mut ranks = vec![0.0_f32; order.len()];
                for (rank, (_, i)) in order.into_iter().enumerate() {
                    if let Some(place) = ranks.get_mut(i) {
                        *place = 1.0 / (FUSION + 1.0 + rank as f32);
                    }
                }
                ranks
            };
            let (by_likeness, by_text) = (ranks(|hit| hit.similarity), ranks(|hit| hit.text));
            let fused = by_likeness.into_iter().zip(by_text).map(|(a, b)| (a + b) * (FUSION + 1.0) / 2.0);
            hits.iter().zip(fused).for_each(|(hit, relevance)| self.offer(ask, *hit, relevance, relevance, best));
            return;
        }
        let best_text =
            ask.text.into_iter().flat_map(|scores| scores.values()).copied().fold(f32::MIN_POSITIVE, f32::max);
        for hit in hits {
            let (fit, relevance) = match (hit.similarity, hit.text) {
                (Some(similarity), _) => (similarity, similarity.clamp(0.0, 1.0)),
                (None, Some(text)) => (text / best_text, (text / best_text).clamp(0.0, 1.0)),
                (None, None) => (0.0, 0.0),
            };
            self.offer(ask, hit, fit, relevance, best);
        }
    }

    fn offer<'a>(&'a self, ask: &Ask<'_>, hit: Hitting, fit: f32, relevance: f32, best: &mut Best<'a>) {
        if ask.ranking.by_fit_alone() && best.rejects(fit) {
            return;
        }
        let slot = hit.slot as usize;
        let (Some(facts), Some(Some(details))) = (self.facts.get(slot), self.details.get(slot)) else { return };
        let recency = ask.ranking.recency(ask.filter.now, facts.last);
        let score = match ask.ranking.by_fit_alone() {
            true => fit,
            false => ask.ranking.score(relevance, recency, facts.importance),
        };
        best.offer(Candidate {
            score,
            time: facts.last,
            id: &details.id,
            row: details.row,
            similarity: hit.similarity,
            text: hit.text,
            relevance,
            recency,
            importance: facts.importance,
        });
    }
}
