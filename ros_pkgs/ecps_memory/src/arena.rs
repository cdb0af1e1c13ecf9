//! The memories of one model in one namespace: vectors side by side, and what filters ask for.

mod filter;
mod plan;
mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ecps_core::clock::Stamp;
use rstar::RTree;
use rstar::primitives::GeomWithData;

use crate::graph::{Graph, Near};
use crate::vector::{Unit, Vectors};
use filter::mark;

pub(crate) use filter::{Conditions, Filter};
pub(crate) use search::Ask;

/// Candidates that a walk of the graph keeps, before a live recall is known.
const FIRST_EF: u32 = 96;
/// Most candidates that a walk keeps; where that is not enough, the graph is built anew.
pub(crate) const MOST_EF: u32 = 512;

/// What filters read first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Facts {
    pub(crate) first: Stamp,
    /// Later than `first` where observations were merged.
    pub(crate) last: Stamp,
    pub(crate) valid_from: Stamp,
    pub(crate) valid_until: Stamp,
    /// The least stamp for what is no longer there.
    pub(crate) expires: Stamp,
    pub(crate) importance: f32,
    pub(crate) place: Option<Placed>,
}

const GONE: Stamp = Stamp(i64::MIN);

/// A position (metres) in a frame (by number).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    pub(crate) frame: u32,
    pub(crate) at: [f64; 3],
}

/// What is read of the few that passed.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) row: i64,
    pub(crate) id: Box<str>,
    /// Numbers of its labels and of its robot.
    pub(crate) labels: Box<[u32]>,
    pub(crate) bytes: u32,
    pub(crate) pinned: bool,
    /// When it was last a hit, in queries of this memory; 0: never.
    pub(crate) queried: AtomicU64,
}

impl Details {
    fn copy(&self) -> Details {
        Details {
            row: self.row,
            id: self.id.clone(),
            labels: self.labels.clone(),
            bytes: self.bytes,
            pinned: self.pinned,
            queried: AtomicU64::new(self.queried.load(Ordering::Relaxed)),
        }
    }
}

type Spot = GeomWithData<[f64; 3], u32>;

/// Vectors, facts and details in parallel by slot, and what leads to slots: row, label, time, place, and likeness.
#[derive(Debug)]
pub(crate) struct Arena {
    vectors: Vectors,
    /// What decides about most records, in one word each: the rest of a record then need not come from memory.
    marks: Vec<u64>,
    /// A bit for each slot: somebody is there, and for ever. All that a walk without a filter asks, in so little that it
    /// stays near the processor.
    lasting: Vec<u64>,
    facts: Vec<Facts>,
    details: Vec<Option<Details>>,
    slots: HashMap<i64, u32>,
    labels: HashMap<u32, Vec<u32>>,
    times: BTreeSet<(Stamp, u32)>,
    /// Those with `last` after `first`, which `times` alone would miss.
    spans: BTreeSet<u32>,
    places: HashMap<u32, RTree<Spot>>,
    /// Slots to use again. Not while they are in a graph: a walk still passes through what is gone.
    free: Vec<u32>,
    /// Whether a graph is made of the slots as they are, so that none is used again.
    held: bool,
    graph: Option<Graph>,
    /// Not yet in the graph; scanned until they are.
    pending: BTreeSet<u32>,
    ef: AtomicU32,
    /// Bits of the live recall of walks; NaN: not yet known.
    recall: AtomicU32,
}

impl Arena {
    pub(crate) fn new(dimension: usize) -> Self {
        Arena {
            vectors: Vectors::new(dimension),
            marks: Vec::new(),
            lasting: Vec::new(),
            facts: Vec::new(),
            details: Vec::new(),
            slots: HashMap::new(),
            labels: HashMap::new(),
            times: BTreeSet::new(),
            spans: BTreeSet::new(),
            places: HashMap::new(),
            free: Vec::new(),
            held: false,
            graph: None,
            pending: BTreeSet::new(),
            ef: AtomicU32::new(FIRST_EF),
            recall: AtomicU32::new(f32::NAN.to_bits()),
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.vectors.dimension()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a record; `vector` has the arena's dimension.
    pub(crate) fn add(&mut self, vector: &Unit, facts: Facts, details: Details) {
        let slot = self.free.pop().unwrap_or(self.facts.len() as u32);
        self.vectors.set(slot, vector);
        self.slots.insert(details.row, slot);
        for label in &details.labels {
            let slots = self.labels.entry(*label).or_default();
            if let Err(at) = slots.binary_search(&slot) {
                slots.insert(at, slot);
            }
        }
        self.note_facts(slot, &facts);
        self.put_mark(slot, mark(&facts, &details));
        put_at(&mut self.facts, slot, facts);
        put_at(&mut self.details, slot, Some(details));
        if self.graph.is_some() {
            self.pending.insert(slot);
        }
    }

    fn note_facts(&mut self, slot: u32, facts: &Facts) {
        self.times.insert((facts.first, slot));
        if facts.last > facts.first {
            self.spans.insert(slot);
        }
        if let Some(place) = facts.place {
            self.places.entry(place.frame).or_default().insert(Spot::new(place.at, slot));
        }
    }

    fn drop_facts(&mut self, slot: u32, facts: &Facts) {
        self.times.remove(&(facts.first, slot));
        self.spans.remove(&slot);
        if let Some(place) = facts.place
            && let Some(tree) = self.places.get_mut(&place.frame)
        {
            tree.remove(&Spot::new(place.at, slot));
            if tree.size() == 0 {
                self.places.remove(&place.frame);
            }
        }
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, row: i64) -> Option<(Facts, Details)> {
        let slot = self.slots.remove(&row)?;
        let facts = *self.facts.get(slot as usize)?;
        let details = self.details.get_mut(slot as usize)?.take()?;
        self.drop_facts(slot, &facts);
        for label in &details.labels {
            if let Some(slots) = self.labels.get_mut(label) {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
                if slots.is_empty() {
                    self.labels.remove(label);
                }
            }
        }
        if let Some(place) = self.facts.get_mut(slot as usize) {
            place.expires = GONE;
        }
        self.put_mark(slot, 0);
        self.pending.remove(&slot);
        if !self.held && self.graph.as_ref().is_none_or(|graph| !graph.holds(slot)) {
            self.free.push(slot);
        }
        Some((facts, details))
    }

    /// Changes what filters read of a record, and gives what they read before.
    pub(crate) fn change(&mut self, row: i64, change: impl FnOnce(&mut Facts)) -> Option<Facts> {
        let slot = *self.slots.get(&row)?;
        let old = *self.facts.get(slot as usize)?;
        self.drop_facts(slot, &old);
        let mut new = old;
        change(&mut new);
        self.note_facts(slot, &new);
        put_at(&mut self.facts, slot, new);
        if let Some(Some(details)) = self.details.get(slot as usize) {
            self.put_mark(slot, mark(&new, details));
        }
        Some(old)
    }

    fn put_mark(&mut self, slot: u32, mark: u64) {
        put_at(&mut self.marks, slot, mark);
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        self.lasting.resize(self.lasting.len().max(word + 1), 0);
        if let Some(word) = self.lasting.get_mut(word) {
            *word = if mark & (filter::THERE | filter::MORTAL) == filter::THERE { *word | bit } else { *word & !bit };
        }
    }

    pub(crate) fn details(&self, row: i64) -> Option<&Details> {
        self.details.get(*self.slots.get(&row)? as usize)?.as_ref()
    }

    pub(crate) fn facts(&self, row: i64) -> Option<&Facts> {
        self.facts.get(*self.slots.get(&row)? as usize)
    }

    /// All there are, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Facts, &Details)> {
        self.facts.iter().zip(&self.details).filter_map(|(facts, details)| Some((facts, details.as_ref()?)))
    }

    // ---- the graph, and what keeps it ----

    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    pub(crate) fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// In the graph, and not yet.
    pub(crate) fn indexed(&self) -> (usize, usize) {
        (self.graph.as_ref().map_or(0, |graph| graph.len() - self.gone()), self.pending.len())
    }

    /// Slots that a walk still passes through although their records are gone.
    pub(crate) fn gone(&self) -> usize {
        let held = self.graph.as_ref().map_or(0, Graph::len);
        (held + self.pending.len()).saturating_sub(self.slots.len())
    }

    pub(crate) fn ef(&self) -> u32 {
        self.ef.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ef(&self, ef: u32) {
        self.ef.store(ef.min(MOST_EF), Ordering::Relaxed);
    }

    /// Share of the true hits that walks have found of late.
    pub(crate) fn recall(&self) -> Option<f32> {
        Some(f32::from_bits(self.recall.load(Ordering::Relaxed))).filter(|recall| !recall.is_nan())
    }

    pub(crate) fn set_recall(&self, recall: Option<f32>) {
        self.recall.store(recall.unwrap_or(f32::NAN).to_bits(), Ordering::Relaxed);
    }

    /// The next of those not in the graph: slots and rows.
    pub(crate) fn next_pending(&self, count: usize) -> Vec<(u32, i64)> {
        let row = |slot: u32| self.details.get(slot as usize)?.as_ref().map(|details| details.row);
        self.pending.iter().take(count).filter_map(|slot| Some((*slot, row(*slot)?))).collect()
    }

    /// Puts a slot into the graph, with links that were chosen for its row in the graph as it is.
    pub(crate) fn connect(&mut self, slot: u32, row: i64, links: crate::graph::Links) {
        let same = self.slots.get(&row) == Some(&slot);
        if same
            && self.pending.remove(&slot)
            && let Some(graph) = &mut self.graph
        {
            graph.connect(&self.vectors, slot, links);
        }
    }

    /// Takes a graph that was made before, written as by [`encode`](Self::encode). What it does not hold is pending. False
    /// where the bytes do not add up.
    pub(crate) fn adopt(&mut self, bytes: &mut &[u8]) -> bool {
        let Some(graph) = Graph::decode(bytes, |row| self.slots.get(&row).copied()) else { return false };
        self.pending = self.slots.values().copied().filter(|slot| !graph.holds(*slot)).collect();
        self.free.clear();
        self.graph = Some(graph);
        true
    }

    /// Keeps every slot for its record from now on, for a graph that is made beside this one.
    pub(crate) fn hold(&mut self) {
        self.held = true;
        self.free.clear();
    }

    /// Whether it still does: it is another arena since all records went.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Slots and rows from slot `from` on, and the slot after the last.
    pub(crate) fn rows_from(&self, from: u32, count: usize) -> (Vec<(u32, i64)>, u32) {
        let slots = (from..self.details.len() as u32).map(|slot| (slot, self.details.get(slot as usize)));
        let mut there = slots.filter_map(|(slot, details)| Some((slot, details?.as_ref()?.row)));
        let rows: Vec<(u32, i64)> = there.by_ref().take(count).collect();
        let next = rows.last().map_or(self.details.len() as u32, |(slot, _)| slot + 1);
        (rows, next)
    }

    /// Takes the graph that was made meanwhile.
    pub(crate) fn take_graph(&mut self, graph: Graph) {
        self.pending = self.slots.values().copied().filter(|slot| !graph.holds(*slot)).collect();
        let empty = self.details.iter().zip(0_u32..).filter(|(details, _)| details.is_none());
        self.free = empty.map(|(_, slot)| slot).filter(|slot| !graph.holds(*slot)).collect();
        self.graph = Some(graph);
        self.held = false;
    }

    /// Slots without a record.
    pub(crate) fn holes(&self) -> usize {
        self.details.len() - self.slots.len()
    }

    /// The graph in bytes, and how many nodes it has.
    pub(crate) fn encode(&self) -> Option<(Vec<u8>, usize)> {
        let row = |slot: u32| self.details.get(slot as usize)?.as_ref().map(|details| details.row);
        self.graph.as_ref().map(|graph| (graph.encode(row), graph.len()))
    }

    /// Forgets the graph, so that all is scanned.
    pub(crate) fn drop_graph(&mut self) {
        self.graph = None;
        self.held = false;
        self.pending.clear();
        let empty = self.details.iter().enumerate().filter(|(_, details)| details.is_none());
        self.free = empty.map(|(slot, _)| slot as u32).collect();
    }

    /// The same records without holes, all waiting for a graph.
    pub(crate) fn compacted(&self) -> Arena {
        let mut fresh = Arena::new(self.dimension());
        fresh.graph = Some(Graph::default());
        let mut rows: Vec<(i64, u32)> = self.slots.iter().map(|(row, slot)| (*row, *slot)).collect();
        rows.sort_unstable();
        for (_, slot) in rows {
            self.copy_to(&mut fresh, slot);
        }
        fresh
    }

    fn copy_to(&self, other: &mut Arena, slot: u32) {
        if let (Some(facts), Some(Some(details))) = (self.facts.get(slot as usize), self.details.get(slot as usize)) {
            other.add(&self.vectors.get(slot), *facts, details.copy());
        }
    }

    /// Takes the place of `old`, of which it is an earlier, compacted copy: what changed since is changed here too.
    pub(crate) fn catch_up(&mut self, old: &Arena) {
        let gone: Vec<i64> = self.slots.keys().copied().filter(|row| !old.slots.contains_key(row)).collect();
        for row in gone {
            self.remove(row);
        }
        for (row, slot) in &old.slots {
            match (self.facts(*row).copied(), old.facts.get(*slot as usize)) {
                (None, _) => old.copy_to(self, *slot),
                (Some(mine), Some(theirs)) if mine != *theirs => {
                    self.change(*row, |facts| *facts = *theirs);
                }
                _ => {}
            }
            if let (Some(mine), Some(theirs)) = (self.details(*row), old.details(*row)) {
                mine.queried.store(theirs.queried.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn sabotage(&mut self) {
        if let Some(graph) = &mut self.graph {
            graph.sabotage();
        }
    }
}

fn put_at<T>(values: &mut Vec<T>, slot: u32, value: T) {
    match values.get_mut(slot as usize) {
        Some(place) => *place = value,
        None => values.push(value),
    }
}

/// By row, for what words found.
pub(crate) type TextScores = BTreeMap<i64, f32>;

impl Near {
    /// Whether it is at least so much like, but for rounding.
    fn reaches(&self, min_sim: f32) -> bool {
        self.similarity >= min_sim - crate::query::SIMILARITY_TOLERANCE
    }
}
