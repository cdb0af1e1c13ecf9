//! Summaries of memories alike: one record for a group, in the middle of it, that names its members as parents.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;

use ecps_core::check;
use ecps_core::clock::Stamp;
use nalgebra::Isometry3;

use crate::error::{BATCH, PutError, Unavailable};
use crate::query::{Likeness, Query};
use crate::record::{InvalidError, PARENTS, Record, namespace_or_default};
use crate::store::reader::Reader;
use crate::store::{Shared, file};
use crate::vector::cosine;

/// Payload type of a summary, by which it is not summarised again.
pub const SUMMARY: &str = "ecps/summary";

/// Which memories to summarise.
#[derive(Debug, Clone, PartialEq)]
pub struct Consolidation {
    /// Their namespace; empty: "default".
    pub namespace: String,
    /// Their model.
    pub model_id: String,
    /// Earliest event time. None: open.
    pub not_before: Option<Stamp>,
    /// Latest event time. None: open.
    pub not_after: Option<Stamp>,
    /// Least cosine similarity of a member to the memory that its group formed around.
    pub min_sim: f32,
    /// Fewest members of a group, 2 to 1000.
    pub members: u32,
}

impl Consolidation {
    fn validate(&self) -> Result<(), InvalidError> {
        check::in_range("members", self.members.into(), 2.0, PARENTS as f64)?;
        check::in_range("min_sim", self.min_sim.into(), -1.0, 1.0)?;
        Ok(())
    }
}

/// At most as many summaries as a batch takes; what is left over is for the next time.
pub(crate) fn summaries(
    database: &Path,
    shared: &std::sync::Arc<Shared>,
    consolidation: &Consolidation,
) -> Result<Vec<Record>, PutError> {
    consolidation.validate().map_err(|reason| PutError::Invalid { index: 0, reason })?;
    let failed = |error: String| PutError::Unavailable(Unavailable::Storage(error));
    let connection = file::open_reader(database).map_err(|e| failed(e.to_string()))?;
    let reader = Reader::new(shared.clone(), connection);
    let window = Query {
        namespace: consolidation.namespace.clone(),
        k: crate::query::MOST_HITS,
        not_before: consolidation.not_before,
        not_after: consolidation.not_after,
        min_sim: consolidation.min_sim,
        exact: true,
        ..Query::default()
    };
    let namespace = namespace_or_default(&consolidation.namespace);
    // Ids in order of time, so that groups do not hang on how rows lie.
    let mut seeds: Vec<(Stamp, String)> = {
        let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let Some(arena) = index.arena(namespace, &consolidation.model_id) else { return Ok(Vec::new()) };
        let within = |first: Stamp| {
            consolidation.not_before.is_none_or(|t| first >= t) && consolidation.not_after.is_none_or(|t| first <= t)
        };
        arena.entries().filter(|(f, _)| within(f.first)).map(|(f, d)| (f.first, d.id.to_string())).collect()
    };
    seeds.sort();
    let (mut taken, mut summaries) = (BTreeSet::new(), Vec::new());
    for (_, id) in seeds {
        if summaries.len() == BATCH {
            break;
        }
        if taken.contains(&id) {
            continue;
        }
        let Ok(seed) = reader.get(namespace.to_owned(), id) else { continue };
        if seed.payload_type == SUMMARY {
            continue;
        }
        let likeness = Likeness { model_id: seed.model_id.clone(), embedding: seed.embedding.clone() };
        let query = Query { likeness: Some(likeness), ..window.clone() };
        let answer = reader.query(&query, false).map_err(|e| failed(e.to_string()))?;
        let members: Vec<Record> = answer
            .hits
            .into_iter()
            .map(|hit| hit.record)
            .filter(|record| record.payload_type != SUMMARY && !taken.contains(&record.id))
            .filter(|record| record.frame_id == seed.frame_id && record.map_id == seed.map_id)
            .collect();
        if members.len() < consolidation.members as usize {
            continue;
        }
        taken.extend(members.iter().map(|member| member.id.clone()));
        summaries.push(summary(&members));
    }
    Ok(summaries)
}

/// The member nearest to the mean stands for all: its vector is one that was seen.
fn summary(members: &[Record]) -> Record {
    let mut mean: Vec<f32> = Vec::new();
    for member in members {
        let norm = member.embedding.iter().map(|v| v * v).sum::<f32>().sqrt();
        mean.resize(member.embedding.len(), 0.0);
        mean.iter_mut().zip(&member.embedding).for_each(|(sum, v)| *sum += v / norm);
    }
    let near = |record: &&Record| cosine(&mean, &record.embedding);
    let Some(middle) = members.iter().max_by(|a, b| near(a).total_cmp(&near(b))) else { return Record::default() };
    let ids: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    let posed: Vec<&Isometry3<f64>> = members.iter().filter_map(|member| member.pose.as_ref()).collect();
    let place =
        posed.iter().map(|pose| pose.translation.vector).sum::<nalgebra::Vector3<f64>>() / posed.len().max(1) as f64;
    let mut summary = Record { payload: Vec::new(), payload_type: SUMMARY.into(), ..middle.clone() };
    let labels: BTreeSet<&String> = members.iter().flat_map(|member| &member.labels).collect();
    // The same members make the same summary, whatever it was called before.
    let mut name = crc32fast::Hasher::new();
    ids.iter().for_each(|id| name.update(id.as_bytes()));
    summary.id = format!("summary-{:08x}-{}", name.finalize(), ids.len());
    summary.time = members.iter().map(|member| member.time).min().unwrap_or_default();
    summary.observed = Stamp::default();
    summary.expires = None;
    summary.importance = members.iter().map(|member| member.importance).fold(0.0, f32::max);
    summary.labels = labels.into_iter().take(crate::record::LABELS).cloned().collect();
    summary.pose = middle.pose.map(|pose| Isometry3::from_parts(place.into(), pose.rotation));
    summary.covariance = Vec::new();
    summary.text = String::new();
    summary.parents = ids.into_iter().take(PARENTS).collect();
    summary
}
