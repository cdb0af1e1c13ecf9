//! Near duplicates on the way in: another sighting of what is there already changes its record instead of adding one.

use std::sync::PoisonError;

use ecps_core::clock::Stamp;
use nalgebra::Point3;

use super::work::{Open, Work, Written};
use crate::error::Unavailable;
use crate::index::Terms;
use crate::place::{Place, Shape};
use crate::policy::Merge;
use crate::query::{Likeness, Query};
use crate::record::Record;
use crate::vector::{Unit, Vectors};

/// A record of the open transaction, which the index does not show yet.
pub(super) struct Fresh {
    pub(super) row: i64,
    namespace: String,
    source: [String; 5],
    vector: Unit,
    first: Stamp,
    last: Stamp,
    at: Option<Point3<f64>>,
}

/// What must be the same for two to merge.
fn source(record: &Record) -> [String; 5] {
    [&record.model_id, &record.robot, &record.topic, &record.frame_id, &record.map_id].map(Clone::clone)
}

fn place(record: &Record) -> Option<Point3<f64>> {
    record.pose.map(|pose| pose.translation.vector.into())
}

impl Fresh {
    pub(super) fn new(row: i64, record: &Record, vector: &Unit) -> Fresh {
        Fresh {
            row,
            namespace: record.namespace.clone(),
            source: source(record),
            vector: vector.clone(),
            first: record.time,
            last: record.time,
            at: place(record),
        }
    }

    /// How like it is, where it is near enough.
    fn near(&self, record: &Record, vector: &Unit, merge: &Merge) -> Option<f32> {
        let within = i64::try_from(merge.within.as_nanos()).unwrap_or(i64::MAX);
        let in_time = record.time.nanos_since(self.last) <= within && self.first.nanos_since(record.time) <= within;
        let in_place = match (self.at, place(record)) {
            (None, None) => true,
            (Some(a), Some(b)) => (a - b).norm() <= merge.distance,
            _ => false,
        };
        let alike = || {
            let mut vectors = Vectors::new(self.vector.dimension());
            vectors.set(0, &self.vector);
            let mut similarities = Vec::new();
            vectors.similarities(vector, &[0], &mut similarities);
            similarities.first().copied().filter(|similarity| *similarity >= merge.similarity)
        };
        let comparable = self.namespace == record.namespace && self.source == source(record);
        (comparable && in_time && in_place).then(alike).flatten()
    }
}

impl Work<'_> {
    /// Changes the record that this one nearly repeats; None where there is none.
    pub(super) fn merge(
        &self,
        record: &Record,
        vector: &Unit,
        open: &mut Open,
    ) -> Result<Option<Written>, Unavailable> {
        let Some(merge) = &self.policy.merge else { return Ok(None) };
        let fresh = open.fresh.iter().filter_map(|fresh| Some((fresh.near(record, vector, merge)?, fresh.row)));
        let most_alike = fresh.chain(self.remembered(record, merge, open)).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, row)) = most_alike else { return Ok(None) };
        let Some(Ok(mut kept)) = self.storage.read(row)? else { return Ok(None) };
        if source(&kept) != source(record) || place(&kept).is_some() != place(record).is_some() {
            return Ok(None);
        }
        kept.sightings = kept.sightings.saturating_add(1);
        kept.version = kept.version.saturating_add(1);
        kept.time = kept.time.min(record.time);
        kept.last_seen = kept.last_seen.max(record.time);
        kept.importance = kept.importance.max(record.importance);
        kept.expires = kept.expires.and_then(|expires| Some(expires.max(record.expires?)));
        self.storage.change(row, &kept)?;
        if let Some(fresh) = open.fresh.iter_mut().find(|fresh| fresh.row == row) {
            (fresh.first, fresh.last) = (kept.time, kept.last_seen);
        }
        let (first, last) = (kept.time, kept.last_seen);
        Ok(Some(Written::Merged { row, id: kept.id, version: kept.version, first, last }))
    }

    /// The most alike of those that the index shows, and how like it is.
    fn remembered(&self, record: &Record, merge: &Merge, open: &Open) -> Option<(f32, i64)> {
        let within = i64::try_from(merge.within.as_nanos()).unwrap_or(i64::MAX);
        let likeness = Likeness { model_id: record.model_id.clone(), embedding: record.embedding.clone() };
        let ball = place(record).filter(|_| merge.distance > 0.0).map(|centre| Place {
            frame_id: record.frame_id.clone(),
            map_id: record.map_id.clone(),
            shape: Shape::Ball { centre, radius: merge.distance },
        });
        let query = Query {
            namespace: record.namespace.clone(),
            likeness: Some(likeness),
            // Some of them may be of another source, or gone.
            k: 4,
            min_sim: merge.similarity,
            not_before: Some(Stamp(record.time.0.saturating_sub(within))),
            not_after: Some(Stamp(record.time.0.saturating_add(within))),
            robot: record.robot.clone(),
            place: ball,
            exact: true,
            ..Query::default()
        };
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let terms = Terms { now: self.shared.clock.now(), text: None, late: &|| false, walk: false };
        let found = index.search(&query, &terms, &mut crate::graph::Scratch::default()).ok()?;
        let there = found.rows.iter().filter(|ranked| !open.gone.contains(&ranked.row));
        there.filter_map(|ranked| Some((ranked.similarity?, ranked.row))).next()
    }
}
