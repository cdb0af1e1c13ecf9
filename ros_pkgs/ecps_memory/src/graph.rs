//! A hierarchical navigable small world (Malkov and Yashunin, arXiv:1603.09320) over the arena's own vectors.
//!
//! Written here rather than taken from a library so that vectors are held once: graph and scan share them, which keeps a
//! record within the memory it may take, and whoever passes a filter is asked of the arena while walking.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::vector::{Unit, Vectors};

/// Links of a node above the base, and half of those on it.
pub(crate) const LINKS: usize = 16;
const BASE_LINKS: usize = 2 * LINKS;
/// Candidates that a new node's links are chosen from.
const CANDIDATES: usize = 100;
/// Highest level; 16^8 nodes need no more.
const TOP: usize = 8;

/// A node and how like the sought it is. Greater is more like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub(crate) similarity: f32,
    pub(crate) slot: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Links of a node on the base, then [`NONE`]. On two lines of the processor's cache, which it fetches as one: a walk waits
/// for these more than for anything else.
#[derive(Debug, Clone, PartialEq)]
#[repr(align(128))]
struct Node([u32; BASE_LINKS]);

/// No slot.
const NONE: u32 = u32::MAX;

impl Default for Node {
    fn default() -> Self {
        Node([NONE; BASE_LINKS])
    }
}

/// What a search writes on, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    open: BinaryHeap<Near>,
    kept: BinaryHeap<Reverse<Near>>,
    visited: Vec<u64>,
    slots: Vec<u32>,
    similarities: Vec<f32>,
}

impl Scratch {
    fn begin(&mut self, nodes: usize) {
        self.open.clear();
        self.kept.clear();
        self.visited.clear();
        self.visited.resize(nodes.div_ceil(64), 0);
    }

    /// Whether this is the first visit.
    #[inline(always)]
    fn visit(&mut self, slot: u32) -> bool {
        let Some(word) = self.visited.get_mut(slot as usize / 64) else { return false };
        let bit = 1 << (slot % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Links chosen for a node that is not yet in, by level from the base.
pub(crate) type Links = Vec<Vec<u32>>;

/// The links between slots.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Graph {
    /// By slot.
    base: Vec<Node>,
    /// Level of a slot plus one; 0: not in.
    levels: Vec<u8>,
    /// Links above the base, for the few that have any.
    upper: std::collections::BTreeMap<u32, Links>,
    entry: Option<u32>,
    top: usize,
    nodes: usize,
}

impl Graph {
    /// Nodes in it.
    pub(crate) fn len(&self) -> usize {
        self.nodes
    }

    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.levels.get(slot as usize).is_some_and(|level| *level > 0)
    }

    /// Level of a row: a sixteenth of the nodes of each level are on the next. From the row's number, so that the same
    /// rows make the same graph.
    pub(crate) fn level(row: i64) -> usize {
        // SplitMix64 (Steele and others, 2014).
        let mut bits = row.unsigned_abs().wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits.leading_zeros() as usize / LINKS.ilog2() as usize).min(TOP)
    }

    #[inline(always)]
    fn links(&self, slot: u32, level: usize) -> &[u32] {
        if level == 0 {
            let Some(Node(links)) = self.base.get(slot as usize) else { return &[] };
            let count = links.iter().position(|link| *link == NONE).unwrap_or(BASE_LINKS);
            return links.get(..count).unwrap_or_default();
        }
        self.upper.get(&slot).and_then(|levels| levels.get(level - 1)).map_or(&[], Vec::as_slice)
    }

    fn set_links(&mut self, slot: u32, level: usize, links: &[u32]) {
        if level == 0 {
            if let Some(node) = self.base.get_mut(slot as usize) {
                *node = Node::default();
                node.0.iter_mut().zip(links).for_each(|(to, link)| *to = *link);
            }
        } else if let Some(place) = self.upper.get_mut(&slot).and_then(|levels| levels.get_mut(level - 1)) {
            *place = links.to_vec();
        }
    }

    /// The `ef` most like `query` that `passes` lets through, as far as the walk finds them, best first. None where more
    /// than `patience` nodes were looked at before there were enough.
    pub(crate) fn search(
        &self,
        vectors: &Vectors,
        query: &Unit,
        ef: usize,
        patience: usize,
        scratch: &mut Scratch,
        passes: impl Fn(u32) -> bool,
    ) -> Option<Vec<Near>> {
        let Some(start) = self.descend(vectors, query, 0, scratch) else { return Some(Vec::new()) };
        self.beam(vectors, query, start, (0, ef, patience), scratch, passes)
    }

    /// The nearest on the level above `level`, walked to greedily from the top.
    fn descend(&self, vectors: &Vectors, query: &Unit, level: usize, scratch: &mut Scratch) -> Option<Near> {
        let entry = self.entry?;
        vectors.similarities(query, &[entry], &mut scratch.similarities);
        let mut best = Near { similarity: scratch.similarities.first().copied()?, slot: entry };
        for level in (level + 1..=self.top).rev() {
            loop {
                let links = self.links(best.slot, level);
                vectors.similarities(query, links, &mut scratch.similarities);
                let near = scratch.similarities.iter().zip(links).map(|(s, l)| Near { similarity: *s, slot: *l }).max();
                match near {
                    Some(near) if near.similarity > best.similarity => best = near,
                    _ => break,
                }
            }
        }
        Some(best)
    }

    fn beam(
        &self,
        vectors: &Vectors,
        query: &Unit,
        start: Near,
        (level, ef, patience): (usize, usize, usize),
        scratch: &mut Scratch,
        passes: impl Fn(u32) -> bool,
    ) -> Option<Vec<Near>> {
        scratch.begin(vectors.len());
        scratch.visit(start.slot);
        let (mut open, mut kept) = (std::mem::take(&mut scratch.open), std::mem::take(&mut scratch.kept));
        open.push(start);
        if passes(start.slot) {
            kept.push(Reverse(start));
        }
        let mut looked_at = 1;
        while let Some(nearest) = open.pop() {
            if kept.len() >= ef && kept.peek().is_some_and(|Reverse(worst)| nearest < *worst) {
                break;
            }
            let mut fresh = std::mem::take(&mut scratch.slots);
            fresh.clear();
            fresh.extend(self.links(nearest.slot, level).iter().copied().filter(|link| scratch.visit(*link)));
            // Asked for now, the links that are likely to be next come from memory while vectors are compared.
            std::hint::black_box(open.peek().and_then(|next| self.base.get(next.slot as usize)?.0.first()).copied());
            vectors.similarities(query, &fresh, &mut scratch.similarities);
            looked_at += fresh.len();
            for (similarity, slot) in scratch.similarities.iter().zip(&fresh) {
                let near = Near { similarity: *similarity, slot: *slot };
                let full = kept.len() >= ef;
                if full && kept.peek().is_some_and(|Reverse(worst)| near <= *worst) {
                    continue;
                }
                open.push(near);
                if passes(near.slot) {
                    if full {
                        kept.pop();
                    }
                    kept.push(Reverse(near));
                }
            }
            scratch.slots = fresh;
            if looked_at > patience {
                return None;
            }
        }
        let mut best: Vec<Near> = kept.drain().map(|Reverse(near)| near).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        (scratch.open, scratch.kept) = (open, kept);
        Some(best)
    }

    /// Chooses links for a node that is not in. Changes nothing, so that searches go on meanwhile.
    pub(crate) fn choose(&self, vectors: &Vectors, slot: u32, level: usize, scratch: &mut Scratch) -> Links {
        let query = vectors.get(slot);
        let mut chosen = vec![Vec::new(); level + 1];
        let Some(mut start) = self.descend(vectors, &query, level, scratch) else { return chosen };
        for (level, links) in chosen.iter_mut().enumerate().rev() {
            if level > self.top {
                continue;
            }
            let found = self.beam(vectors, &query, start, (level, CANDIDATES, usize::MAX), scratch, |_| true);
            let found = found.unwrap_or_default();
            start = found.first().copied().unwrap_or(start);
            *links = diverse(vectors, &found, LINKS);
        }
        chosen
    }

    /// Puts a node in, with the links chosen for it.
    pub(crate) fn connect(&mut self, vectors: &Vectors, slot: u32, chosen: Links) {
        let level = chosen.len().saturating_sub(1);
        self.make_room(slot, level);
        for (level, links) in chosen.iter().enumerate() {
            self.set_links(slot, level, links);
            let room = if level == 0 { BASE_LINKS } else { LINKS };
            for link in links {
                let mut theirs = self.links(*link, level).to_vec();
                theirs.push(slot);
                if theirs.len() > room {
                    let near = |slot: &u32| Near { similarity: vectors.between(*link, *slot), slot: *slot };
                    let mut candidates: Vec<Near> = theirs.iter().map(near).collect();
                    candidates.sort_unstable_by(|a, b| b.cmp(a));
                    theirs = diverse(vectors, &candidates, room);
                }
                self.set_links(*link, level, &theirs);
            }
        }
    }

    /// Writes it down: how many nodes, their rows (i64), and for each node its levels (u8) and for each of those the number
    /// of links (u8) and their positions among the rows (u32), all little-endian. What has no row any more is left out.
    pub(crate) fn encode(&self, row_of: impl Fn(u32) -> Option<i64>) -> Vec<u8> {
        let slots = (0..self.levels.len() as u32).filter(|slot| self.holds(*slot));
        let nodes: Vec<(u32, i64)> = slots.filter_map(|slot| Some((slot, row_of(slot)?))).collect();
        let mut positions = vec![u32::MAX; self.levels.len()];
        let mut bytes = Vec::with_capacity(4 + nodes.len() * (10 + 4 * BASE_LINKS));
        bytes.extend((nodes.len() as u32).to_le_bytes());
        for ((slot, row), position) in nodes.iter().zip(0_u32..) {
            if let Some(place) = positions.get_mut(*slot as usize) {
                *place = position;
            }
            bytes.extend(row.to_le_bytes());
        }
        for (slot, _) in nodes {
            let levels = self.levels.get(slot as usize).copied().unwrap_or_default();
            bytes.push(levels);
            for level in 0..levels.into() {
                let place = |slot: &u32| positions.get(*slot as usize).copied().filter(|at| *at != u32::MAX);
                let links: Vec<u32> = self.links(slot, level).iter().filter_map(place).collect();
                bytes.push(links.len() as u8);
                links.iter().for_each(|link| bytes.extend(link.to_le_bytes()));
            }
        }
        bytes
    }

    /// Reads it back with rows where they are now; those that are gone are left out. None where the bytes do not add up.
    pub(crate) fn decode(bytes: &mut &[u8], slot_of: impl Fn(i64) -> Option<u32>) -> Option<Graph> {
        let count = u32::from_le_bytes(take(bytes)?) as usize;
        if count > bytes.len() / 8 {
            return None;
        }
        let rows: Option<Vec<i64>> = (0..count).map(|_| Some(i64::from_le_bytes(take(bytes)?))).collect();
        let slots: Vec<Option<u32>> = rows?.into_iter().map(slot_of).collect();
        let mut graph = Graph::default();
        for slot in &slots {
            let [levels] = take(bytes)?;
            let level = usize::from(levels).checked_sub(1).filter(|level| *level <= TOP)?;
            if let Some(slot) = slot {
                graph.make_room(*slot, level);
            }
            for level in 0..=level {
                let [links] = take(bytes)?;
                let links: Option<Vec<u32>> = (0..links).map(|_| Some(u32::from_le_bytes(take(bytes)?))).collect();
                let links: Vec<u32> =
                    links?.iter().filter_map(|at| slots.get(*at as usize).copied().flatten()).collect();
                if let Some(slot) = slot {
                    graph.set_links(*slot, level, &links);
                }
            }
        }
        Some(graph)
    }

    /// Counts a node in, without links.
    fn make_room(&mut self, slot: u32, level: usize) {
        let nodes = slot as usize + 1;
        self.base.resize(self.base.len().max(nodes), Node::default());
        self.levels.resize(self.levels.len().max(nodes), 0);
        if let Some(place) = self.levels.get_mut(slot as usize) {
            *place = level as u8 + 1;
        }
        if level > 0 {
            self.upper.insert(slot, vec![Vec::new(); level]);
        }
        self.nodes += 1;
        if self.entry.is_none() || level > self.top {
            self.entry = Some(slot);
            self.top = level;
        }
    }

    /// Takes every link away, for tests of what notices that.
    #[cfg(test)]
    pub(crate) fn sabotage(&mut self) {
        self.base.iter_mut().for_each(|node| node.0.iter_mut().skip(1).for_each(|link| *link = NONE));
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// Of candidates, best first, those that are nearer to the node than to any taken before; filled up with the rest.
fn diverse(vectors: &Vectors, candidates: &[Near], room: usize) -> Vec<u32> {
    let mut taken: Vec<u32> = Vec::with_capacity(room);
    for candidate in candidates {
        if taken.len() == room {
            return taken;
        }
        if taken.iter().all(|other| vectors.between(candidate.slot, *other) < candidate.similarity) {
            taken.push(candidate.slot);
        }
    }
    for candidate in candidates {
        if taken.len() == room {
            break;
        }
        if !taken.contains(&candidate.slot) {
            taken.push(candidate.slot);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_finds_almost_all_that_a_scan_finds_also_through_a_filter() {
        let mut vectors = Vectors::new(16);
        let mut graph = Graph::default();
        let mut scratch = Scratch::default();
        let wave = |slot: u32| -> Vec<f32> { (0..16).map(|i| ((slot * 37 + i * 101) as f32).sin()).collect() };
        for slot in 0..3000 {
            vectors.set(slot, &Unit::new(&wave(slot)));
            let links = graph.choose(&vectors, slot, Graph::level(slot.into()), &mut scratch);
            graph.connect(&vectors, slot, links);
        }
        let all: Vec<u32> = (0..3000).collect();
        for passes in [|_: u32| true, |slot: u32| slot.is_multiple_of(3)] {
            let mut found = 0;
            for probe in 0..100 {
                let query = Unit::new(&wave(10_000 + probe));
                let mut similarities = Vec::new();
                vectors.similarities(&query, &all, &mut similarities);
                let mut truth: Vec<f32> =
                    similarities.iter().zip(&all).filter(|(_, s)| passes(**s)).map(|(s, _)| *s).collect();
                truth.sort_by(|a, b| b.total_cmp(a));
                let hits = graph.search(&vectors, &query, 64, usize::MAX, &mut scratch, passes).unwrap();
                assert!(hits.iter().all(|hit| passes(hit.slot)));
                found += hits.iter().take(10).filter(|hit| hit.similarity >= truth[9]).count();
            }
            assert!(found >= 970, "{found} of 1000");
        }
        let bytes = graph.encode(|slot| Some(i64::from(slot)));
        let decode = |mut bytes: &[u8]| Graph::decode(&mut bytes, |row| u32::try_from(row).ok());
        assert_eq!(decode(&bytes), Some(graph));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None, "cut short");
    }
}
