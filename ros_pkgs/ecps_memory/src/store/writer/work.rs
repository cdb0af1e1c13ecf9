//! What a request does to the rows while its transaction is open: whether it fits, which versions it makes, what it pushes
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use ecps_core::clock::Stamp;

use super::merge::Fresh;
use super::{Batch, Deletion};
use crate::error::{PutError, Unavailable};
use crate::policy::Policy;
use crate::record::{ID_BYTES, Record, needed_text};
use crate::store::Shared;
use crate::store::storage::Storage;

/// Of a quota that is full so much more is freed at once, so that not every put has to look for what may go.
const SLACK: u64 = 1024;

/// What became of a record.
pub(super) enum Written {
    New { row: i64, replaced: Option<i64> },
    Merged { row: i64, id: String, version: u64, first: Stamp, last: Stamp },
}

/// What an open transaction brings that the index does not show yet.
#[derive(Default)]
pub(super) struct Open {
    /// By namespace and model.
    dimensions: BTreeMap<(String, String), usize>,
    pub(super) fresh: Vec<Fresh>,
    /// Records, bytes, pinned records and pinned bytes that a namespace gains.
    gains: BTreeMap<String, [i64; 4]>,
    pub(super) gone: BTreeSet<i64>,
    /// Rows pushed out, with their namespaces.
    pub(super) evicted: Vec<(String, i64)>,
}

/// An open transaction and what it is held against.
pub(super) struct Work<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
}

impl Work<'_> {
    /// Refuses records whose vectors differ in dimension from their model's others (those that can be found, those of this
    /// transaction and those of this batch), and those that no eviction makes room for.
    pub(super) fn fits(&self, records: &[Record], open: &mut Open) -> Result<(), PutError> {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut ours = BTreeMap::new();
        let mut needs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (position, record) in records.iter().enumerate() {
            needed_text("id", &record.id, ID_BYTES).map_err(|reason| PutError::Invalid { index: position, reason })?;
            let key = (record.namespace.clone(), record.model_id.clone());
            let known = index.dimension(&key.0, &key.1).or_else(|| open.dimensions.get(&key).copied());
            let found = record.embedding.len();
            let expected = known.unwrap_or_else(|| *ours.entry(key.clone()).or_insert(found));
            if found != expected {
                let (namespace, model_id) = key;
                return Err(PutError::Dimension { index: position, found, expected, model_id, namespace });
            }
            let need = needs.entry(&record.namespace).or_default();
            *need = (need.0 + 1, need.1 + record.bytes() as u64);
        }
        for (namespace, (records, bytes)) in needs {
            let quota = self.policy.of(namespace).quota;
            let (pinned, pinned_bytes) = index.pinned(namespace);
            let [_, _, more, more_bytes] = open.gains.get(namespace).copied().unwrap_or_default();
            let (pinned, pinned_bytes) = (pinned + more.unsigned_abs(), pinned_bytes + more_bytes.unsigned_abs());
            let beyond = |needed: u64, unit, limit, pinned| PutError::Quota {
                namespace: namespace.to_owned(),
                needed,
                unit,
                limit,
                pinned,
            };
            if records + pinned > quota.records {
                return Err(beyond(records + pinned, "records", quota.records, pinned));
            }
            if bytes + pinned_bytes > quota.bytes {
                return Err(beyond(bytes + pinned_bytes, "bytes", quota.bytes, pinned_bytes));
            }
        }
        open.dimensions.append(&mut ours);
        Ok(())
    }

    /// Writes a batch, and what it pushes out goes. Versions are set in the records themselves.
    pub(super) fn put(
        &self,
        batch: &mut Batch,
        last_row: &mut i64,
        open: &mut Open,
    ) -> Result<Vec<Written>, Unavailable> {
        let mut all = Vec::with_capacity(batch.records.len());
        for ((record, nameless), vector) in batch.records.iter_mut().zip(&batch.nameless).zip(&batch.vectors) {
            if *nameless && let Some(merged) = self.merge(record, vector, open)? {
                all.push(merged);
                continue;
            }
            let old = self.storage.find(&record.namespace, &record.id)?;
            if let Some((row, _)) = old {
                self.storage.remove(row)?;
                open.gone.insert(row);
                open.fresh.retain(|fresh| fresh.row != row);
            }
            *last_row += 1;
            record.version = old.map_or(0, |(_, version)| version).saturating_add(1);
            self.storage.add(*last_row, record)?;
            if self.policy.merge.is_some() {
                open.fresh.push(Fresh::new(*last_row, record, vector));
            }
            let (bytes, pinned) = (record.bytes() as i64, i64::from(record.pinned));
            let more = [1, bytes, pinned, pinned * bytes];
            let gain = match open.gains.get_mut(&record.namespace) {
                Some(gain) => gain,
                None => open.gains.entry(record.namespace.clone()).or_default(),
            };
            gain.iter_mut().zip(more).for_each(|(gain, more)| *gain += more);
            all.push(Written::New { row: *last_row, replaced: old.map(|(row, _)| row) });
        }
        self.make_room(&batch.records, open)?;
        Ok(all)
    }

    /// Pushes out what is beyond the quotas of these records' namespaces.
    fn make_room(&self, records: &[Record], open: &mut Open) -> Result<(), Unavailable> {
        let namespaces: BTreeSet<&str> = records.iter().map(|record| record.namespace.as_str()).collect();
        for namespace in namespaces {
            let quota = self.policy.of(namespace).quota;
            let [records, bytes, ..] = open.gains.get(namespace).copied().unwrap_or_default();
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let (had, had_bytes) = index.space(namespace).map_or((0, 0), |space| (space.records, space.bytes));
            let (now, now_bytes) = (had.saturating_add_signed(records), had_bytes.saturating_add_signed(bytes));
            let (over, over_bytes) = (now.saturating_sub(quota.records), now_bytes.saturating_sub(quota.bytes));
            if over == 0 && over_bytes == 0 {
                continue;
            }
            let slack = |over: u64, quota: u64| if over > 0 { over + quota / SLACK } else { 0 };
            let (records, bytes) = (slack(over, quota.records), slack(over_bytes, quota.bytes));
            let going = index.least_queried(namespace, records + open.gone.len() as u64, bytes);
            drop(index);
            for (row, bytes) in going {
                if open.gone.insert(row) && self.storage.remove(row)? {
                    open.evicted.push((namespace.to_owned(), row));
                    let gain = open.gains.entry(namespace.to_owned()).or_default();
                    gain.iter_mut().zip([1, bytes as i64]).for_each(|(gain, less)| *gain -= less);
                }
            }
        }
        Ok(())
    }

    pub(super) fn delete(&self, deletion: &Deletion) -> Result<Vec<i64>, Unavailable> {
        let mut gone = Vec::new();
        for id in &deletion.ids {
            if let Some((row, _)) = self.storage.find(&deletion.namespace, id)?
                && self.storage.remove(row)?
            {
                gone.push(row);
            }
        }
        Ok(gone)
    }

    pub(super) fn expire(&self, rows: &[(String, i64)]) -> Result<Vec<(String, i64)>, Unavailable> {
        let mut gone = Vec::new();
        for (namespace, row) in rows {
            if self.storage.remove(*row)? {
                gone.push((namespace.clone(), *row));
            }
        }
        Ok(gone)
    }
}
