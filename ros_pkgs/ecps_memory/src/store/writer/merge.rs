//! Near duplicates on the way in: another sighting of what is there already changes its record instead of adding one.

use std::sync::PoisonError;

use ecps_core::clock::Stamp;
use nalgebra::Point3;
use rusqlite::OptionalExtension;

use super::{Open, Work, Written};
use crate::index::Terms;
use crate::place::{Place, Shape};
use crate::policy::Merge;
use crate::query::{Likeness, Query};
use crate::record::Record;
use crate::store::row;
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

    fn near(&self, record: &Record, vector: &Unit, merge: &Merge) -> bool {
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
            similarities.first().is_some_and(|similarity| *similarity >= merge.similarity)
        };
        self.namespace == record.namespace && self.source == source(record) && in_time && in_place && alike()
    }
}

impl Work<'_> {
    /// Changes the record that this one nearly repeats; None where there is none.
    pub(super) fn merge(
        &self,
        record: &Record,
        vector: &Unit,
        open: &mut Open,
    ) -> Result<Option<Written>, rusqlite::Error> {
        let Some(merge) = &self.policy.merge else { return Ok(None) };
        let fresh = open.fresh.iter().rev().find(|fresh| fresh.near(record, vector, merge)).map(|fresh| fresh.row);
        let Some(row) = fresh.or_else(|| self.remembered(record, merge, open)) else { return Ok(None) };
        let found = self.connection.prepare_cached(row::SELECT_ROW)?.query_row([row], |row| Ok(row::decode(row)));
        let Some(Ok(mut kept)) = found.optional()? else { return Ok(None) };
        if source(&kept) != source(record) || place(&kept).is_some() != place(record).is_some() {
            return Ok(None);
        }
        kept.sightings = kept.sightings.saturating_add(1);
        kept.version = kept.version.saturating_add(1);
        kept.time = kept.time.min(record.time);
        kept.last_seen = kept.last_seen.max(record.time);
        kept.importance = kept.importance.max(record.importance);
        kept.expires = kept.expires.and_then(|expires| Some(expires.max(record.expires?)));
        row::insert(self.connection, row, &kept)?;
        if let Some(fresh) = open.fresh.iter_mut().find(|fresh| fresh.row == row) {
            (fresh.first, fresh.last) = (kept.time, kept.last_seen);
        }
        let (first, last) = (kept.time, kept.last_seen);
        Ok(Some(Written::Merged { row, id: kept.id, version: kept.version, first, last }))
    }

    /// The most alike of those that the index shows.
    fn remembered(&self, record: &Record, merge: &Merge, open: &Open) -> Option<i64> {
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
        let terms = Terms { now: self.shared.clock.now(), text: None, late: &|| false };
        let found = index.search(&query, &terms, &mut crate::graph::Scratch::default()).ok()?;
        found.rows.iter().map(|ranked| ranked.row).find(|row| !open.gone.contains(row))
    }
}
