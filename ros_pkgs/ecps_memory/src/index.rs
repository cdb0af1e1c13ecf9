//! Everything that can be found, in memory: one arena for each model of each namespace.

use std::collections::BTreeMap;

use ecps_core::clock::Stamp;

use crate::arena::{Arena, Details, Facts, Filter, Placed};
use crate::best::Best;
use crate::error::QueryError;
use crate::query::Query;
use crate::record::{Record, namespace_or_default};
use crate::vector::{Block, unit};

/// Rows to read for an answer.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Row and similarity, best first.
    pub(crate) rows: Vec<(i64, Option<f32>)>,
    pub(crate) total_matched: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By namespace, then model. Empty ones are dropped, and with them their dimension.
    spaces: BTreeMap<String, BTreeMap<String, Arena>>,
    names: crate::names::Names,
    records: usize,
}

impl Index {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Elements of the model's vectors, if it has any.
    pub(crate) fn dimension(&self, namespace: &str, model_id: &str) -> Option<usize> {
        self.spaces.get(namespace)?.get(model_id).map(Arena::dimension)
    }

    /// Adds a valid record of its model's dimension, whose embedding has been scaled to `vector`.
    pub(crate) fn add(&mut self, row: i64, record: &Record, vector: &[Block]) {
        let names = &mut self.names;
        let place = record.pose.map(|pose| {
            let at = pose.translation;
            Placed { frame: names.acquire(&record.frame_id), at: [at.x, at.y, at.z] }
        });
        let labels = record.labels.iter().map(|label| names.acquire(label)).collect();
        let space = self.spaces.entry(record.namespace.clone()).or_default();
        let arena = space.entry(record.model_id.clone()).or_insert_with(|| Arena::new(record.embedding.len()));
        let details = Details { row, id: record.id.as_str().into(), labels };
        arena.add(vector, Facts { time: record.time, place }, details);
        self.records += 1;
    }

    /// Takes a row out; one that is not in (a damaged one) is no matter.
    pub(crate) fn remove(&mut self, row: i64, namespace: &str) {
        let Some(space) = self.spaces.get_mut(namespace) else { return };
        let Some((facts, details)) = space.values_mut().find_map(|arena| arena.remove(row)) else { return };
        for name in details.labels.iter().copied().chain(facts.place.map(|place| place.frame)) {
            self.names.release(name);
        }
        space.retain(|_, arena| arena.len() > 0);
        if space.is_empty() {
            self.spaces.remove(namespace);
        }
        self.records -= 1;
    }

    /// Finds the best of everything that meets a valid query's conditions.
    pub(crate) fn search(&self, query: &Query) -> Result<Found, QueryError> {
        let namespace = namespace_or_default(&query.namespace);
        let Some(space) = self.spaces.get(namespace) else { return Ok(Found::default()) };
        let mut best = Best::new(query.k);
        match &query.likeness {
            Some(likeness) => {
                let Some(arena) = space.get(&likeness.model_id) else { return Ok(Found::default()) };
                let (found, expected) = (likeness.embedding.len(), arena.dimension());
                if found != expected {
                    let (model_id, namespace) = (likeness.model_id.clone(), namespace.to_owned());
                    return Err(QueryError::Dimension { found, expected, model_id, namespace });
                }
                let Some(filter) = self.filter(query) else { return Ok(Found::default()) };
                arena.scan(&filter, Some((&unit(&likeness.embedding), query.min_sim)), &mut best);
            }
            None => {
                let Some(filter) = self.filter(query) else { return Ok(Found::default()) };
                space.values().for_each(|arena| arena.scan(&filter, None, &mut best));
            }
        }
        let (kept, total_matched) = best.into_sorted();
        let similarity = |similarity| query.likeness.is_some().then_some(similarity);
        Ok(Found { rows: kept.iter().map(|c| (c.row, similarity(c.similarity))).collect(), total_matched })
    }

    /// None where no record carries the label or the frame asked for.
    fn filter(&self, query: &Query) -> Option<Filter> {
        let place = match &query.place {
            None => None,
            Some(place) => {
                let centre = Placed { frame: self.names.find(&place.frame_id)?, at: place.centre.coords.into() };
                Some((centre, place.radius * place.radius))
            }
        };
        Some(Filter {
            not_before: query.not_before.unwrap_or(Stamp(i64::MIN)),
            not_after: query.not_after.unwrap_or(Stamp(i64::MAX)),
            place,
            labels: query.labels.iter().map(|label| self.names.find(label)).collect::<Option<_>>()?,
        })
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
        index.add(1, &record, &unit(&record.embedding));
        assert!(index.names.find("cup").is_some() && index.names.find("map").is_some());
        index.remove(1, "here");
        index.remove(1, "here");
        assert_eq!((index.records(), index.spaces.len(), index.dimension("here", "")), (0, 0, None));
        assert!(["cup", "red", "map"].iter().all(|name| index.names.find(name).is_none()));
    }
}
