//! Everything that can be found, in memory: one arena for each model of each namespace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ecps_core::clock::Stamp;

use crate::arena::{Arena, Ask, Conditions, Details, Facts, Filter, Placed, TextScores};
use crate::best::Best;
use crate::error::QueryError;
use crate::graph::Scratch;
use crate::names::Names;
use crate::query::{Query, Way};
use crate::record::{Record, namespace_or_default};
use crate::vector::Unit;

/// Rows to read for an answer.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Best first.
    pub(crate) rows: Vec<Ranked>,
    pub(crate) total_matched: u64,
    pub(crate) lower_bound: bool,
    pub(crate) way: Way,
    pub(crate) recall: Option<f32>,
    pub(crate) cut_short: bool,
}

/// A row and what it was ranked by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked {
    pub(crate) row: i64,
    pub(crate) similarity: Option<f32>,
    pub(crate) text: Option<f32>,
    pub(crate) score: f32,
    pub(crate) relevance: f32,
    pub(crate) recency: f32,
    pub(crate) importance: f32,
}

/// What a search is given besides the query.
pub(crate) struct Terms<'a> {
    pub(crate) now: Stamp,
    /// What the words found, where words were asked.
    pub(crate) text: Option<&'a TextScores>,
    /// Whether the search has taken too long.
    pub(crate) late: &'a dyn Fn() -> bool,
    /// Whether the graph is walked, where there is one, also if a scan is cheaper.
    pub(crate) walk: bool,
}

/// A namespace.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// By model. Empty ones are dropped, and with them their dimension.
    pub(crate) models: BTreeMap<String, Arena>,
    /// Weight of its records.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pinned_bytes: u64,
    pinned: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    spaces: BTreeMap<String, Space>,
    names: Names,
    records: usize,
    /// Counts queries, so that the least recently queried can be told.
    queries: AtomicU64,
}

fn label_name(label: &str) -> String {
    format!("label {label}")
}

fn robot_name(robot: &str) -> String {
    format!("robot {robot}")
}

/// No text holds a NUL, so no two of these are the same.
fn frame_name(map_id: &str, frame_id: &str) -> String {
    format!("frame {map_id}\0{frame_id}")
}

impl Index {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn space(&self, namespace: &str) -> Option<&Space> {
        self.spaces.get(namespace)
    }

    pub(crate) fn arena(&self, namespace: &str, model_id: &str) -> Option<&Arena> {
        self.spaces.get(namespace)?.models.get(model_id)
    }

    pub(crate) fn arena_mut(&mut self, namespace: &str, model_id: &str) -> Option<&mut Arena> {
        self.spaces.get_mut(namespace)?.models.get_mut(model_id)
    }

    pub(crate) fn arenas(&self) -> impl Iterator<Item = (&String, &String, &Arena)> {
        self.spaces
            .iter()
            .flat_map(|(namespace, space)| space.models.iter().map(move |(m, arena)| (namespace, m, arena)))
    }

    /// Elements of the model's vectors, if it has any.
    pub(crate) fn dimension(&self, namespace: &str, model_id: &str) -> Option<usize> {
        self.arena(namespace, model_id).map(Arena::dimension)
    }

    /// Adds a valid record of its model's dimension, whose embedding has been scaled to `vector`; it was last a hit in
    /// query number `queried`.
    pub(crate) fn add(&mut self, row: i64, record: &Record, vector: &Unit, queried: u64) {
        let names = &mut self.names;
        let place = record.pose.map(|pose| {
            let at = pose.translation;
            Placed { frame: names.acquire(&frame_name(&record.map_id, &record.frame_id)), at: [at.x, at.y, at.z] }
        });
        let robot = (!record.robot.is_empty()).then(|| robot_name(&record.robot));
        let labels = record.labels.iter().map(|label| label_name(label)).chain(robot);
        let labels = labels.map(|name| names.acquire(&name)).collect();
        let space = self.spaces.entry(record.namespace.clone()).or_default();
        let bytes = record.bytes() as u32;
        space.bytes += u64::from(bytes);
        space.records += 1;
        space.pinned += u64::from(record.pinned);
        space.pinned_bytes += if record.pinned { u64::from(bytes) } else { 0 };
        let arena = space.models.entry(record.model_id.clone()).or_insert_with(|| Arena::new(vector.dimension()));
        let details = Details {
            row,
            id: record.id.as_str().into(),
            labels,
            bytes,
            pinned: record.pinned,
            queried: AtomicU64::new(queried),
        };
        self.queries.fetch_max(queried, Ordering::Relaxed);
        let facts = Facts {
            first: record.time,
            last: record.last_seen.max(record.time),
            valid_from: record.valid_from.unwrap_or(Stamp(i64::MIN)),
            valid_until: record.valid_until.unwrap_or(Stamp(i64::MAX)),
            expires: record.expires.unwrap_or(Stamp(i64::MAX)),
            importance: record.importance,
            place,
        };
        arena.add(vector, facts, details);
        self.records += 1;
    }

    /// Takes a row out; one that is not in (a damaged one) is no matter. Gives the query that it was last a hit in.
    pub(crate) fn remove(&mut self, row: i64, namespace: &str) -> u64 {
        let Some(space) = self.spaces.get_mut(namespace) else { return 0 };
        let Some((facts, details)) = space.models.values_mut().find_map(|arena| arena.remove(row)) else { return 0 };
        for name in details.labels.iter().copied().chain(facts.place.map(|place| place.frame)) {
            self.names.release(name);
        }
        let bytes = u64::from(details.bytes);
        space.bytes -= bytes;
        space.records -= 1;
        space.pinned -= u64::from(details.pinned);
        space.pinned_bytes -= if details.pinned { bytes } else { 0 };
        space.models.retain(|_, arena| arena.len() > 0);
        if space.models.is_empty() {
            self.spaces.remove(namespace);
        }
        self.records -= 1;
        details.queried.into_inner()
    }

    /// Changes what filters read of a record.
    pub(crate) fn change(&mut self, row: i64, namespace: &str, change: impl FnOnce(&mut Facts)) {
        let arenas = self.spaces.get_mut(namespace).into_iter().flat_map(|space| space.models.values_mut());
        if let Some(arena) = arenas.into_iter().find(|arena| arena.details(row).is_some()) {
            arena.change(row, change);
        }
    }

    /// Rows whose time is over.
    pub(crate) fn expired(&self, now: Stamp, most: usize) -> Vec<(String, i64)> {
        let over = |(namespace, _, arena): (&String, &String, &Arena)| -> Vec<(String, i64)> {
            let over = arena.entries().filter(|(facts, _)| facts.expires <= now);
            over.map(|(_, details)| (namespace.clone(), details.row)).take(most).collect()
        };
        self.arenas().flat_map(over).take(most).collect()
    }

    /// Rows to forget, least recently queried first, until so many records and bytes are free; pinned ones stay.
    pub(crate) fn least_queried(&self, namespace: &str, records: u64, bytes: u64) -> Vec<(i64, u64)> {
        let entries =
            self.spaces.get(namespace).into_iter().flat_map(|space| space.models.values()).flat_map(Arena::entries);
        let mut candidates: Vec<(u64, i64, u64)> = entries
            .filter(|(_, details)| !details.pinned)
            .map(|(_, details)| (details.queried.load(Ordering::Relaxed), details.row, details.bytes.into()))
            .collect();
        candidates.sort_unstable();
        let mut freed = (0, 0);
        let enough = |candidate: &(u64, i64, u64)| {
            let more = freed.0 < records || freed.1 < bytes;
            freed = (freed.0 + 1, freed.1 + candidate.2);
            more
        };
        candidates.into_iter().take_while(enough).map(|(_, row, bytes)| (row, bytes)).collect()
    }

    /// Records and bytes of a namespace that nothing may push out.
    pub(crate) fn pinned(&self, namespace: &str) -> (u64, u64) {
        self.spaces.get(namespace).map_or((0, 0), |space| (space.pinned, space.pinned_bytes))
    }

    /// Finds the best of everything that meets a valid query's conditions.
    pub(crate) fn search(&self, query: &Query, terms: &Terms<'_>, scratch: &mut Scratch) -> Result<Found, QueryError> {
        let namespace = namespace_or_default(&query.namespace);
        let Some(space) = self.spaces.get(namespace) else { return Ok(Found::default()) };
        let mut best = Best::new(query.k);
        let mut found = Found::default();
        let filter = self.filter(query, terms.now);
        let ask = |like| {
            let ranking = query.ranking;
            let (k, exact) = (query.k as usize, query.exact);
            let (text, late, walk) = (terms.text, terms.late, terms.walk);
            filter.as_ref().map(|filter| Ask { filter, like, text, k, exact, walk, ranking, late })
        };
        match &query.likeness {
            Some(likeness) => {
                let Some(arena) = space.models.get(&likeness.model_id) else { return Ok(Found::default()) };
                let (given, expected) = (likeness.embedding.len(), arena.dimension());
                if given != expected {
                    let (model_id, namespace) = (likeness.model_id.clone(), namespace.to_owned());
                    return Err(QueryError::Dimension { found: given, expected, model_id, namespace });
                }
                let unit = Unit::new(&likeness.embedding);
                let Some(ask) = ask(Some((&unit, query.min_sim))) else { return Ok(Found::default()) };
                let told = arena.search(&ask, &mut best, scratch);
                (found.way, found.lower_bound, found.cut_short) = (told.way, told.lower_bound, told.cut_short);
                found.recall = if told.way == Way::Graph { arena.recall() } else { Some(1.0) };
            }
            None => {
                let Some(ask) = ask(None) else { return Ok(Found::default()) };
                found.recall = Some(1.0);
                for arena in space.models.values() {
                    found.cut_short |= arena.search(&ask, &mut best, scratch).cut_short;
                }
            }
        }
        let (kept, total_matched) = best.into_sorted();
        found.total_matched = total_matched;
        let ranked = |c: &crate::best::Candidate<'_>| Ranked {
            row: c.row,
            similarity: c.similarity,
            text: c.text,
            score: c.score,
            relevance: c.relevance,
            recency: c.recency,
            importance: c.importance,
        };
        found.rows = kept.iter().map(ranked).collect();
        Ok(found)
    }

    /// Notes that these rows were hits.
    pub(crate) fn note_hits(&self, namespace: &str, rows: impl Iterator<Item = i64>) {
        let number = self.queries.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(space) = self.spaces.get(namespace) else { return };
        for row in rows {
            if let Some(details) = space.models.values().find_map(|arena| arena.details(row)) {
                details.queried.store(number, Ordering::Relaxed);
            }
        }
    }

    /// None where no record carries the label, the robot or the frame asked for.
    fn filter(&self, query: &Query, now: Stamp) -> Option<Filter> {
        let place = match &query.place {
            None => None,
            Some(place) => Some((self.names.find(&frame_name(&place.map_id, &place.frame_id))?, place.shape.clone())),
        };
        let robot = (!query.robot.is_empty()).then(|| robot_name(&query.robot));
        let labels = query.labels.iter().map(|label| label_name(label)).chain(robot);
        Some(Filter::from(Conditions {
            now,
            not_before: query.not_before.unwrap_or(Stamp(i64::MIN)),
            not_after: query.not_after.unwrap_or(Stamp(i64::MAX)),
            valid_at: query.valid_at,
            place,
            labels: labels.map(|label| self.names.find(&label)).collect::<Option<_>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let pose = crate::pose_from_parts([0.0; 3], [0.0, 0.0, 0.0, 1.0]).ok();
        let (namespace, labels) = ("here".to_owned(), vec!["cup".into(), "red".into()]);
        let record =
            Record { namespace, labels, pose, frame_id: "map".into(), embedding: vec![1.0], ..Record::default() };
        let mut index = Index::default();
        index.add(1, &record, &Unit::new(&record.embedding), 0);
        assert!(index.names.find("label cup").is_some() && index.names.find("frame \0map").is_some());
        index.remove(1, "here");
        index.remove(1, "here");
        assert_eq!((index.records(), index.spaces.len(), index.dimension("here", "")), (0, 0, None));
        assert!(["label cup", "label red", "frame \0map"].iter().all(|name| index.names.find(name).is_none()));
    }
}
