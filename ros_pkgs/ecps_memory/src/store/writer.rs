//! The one thread that writes. Requests that wait together are committed together: one sync of the disk serves them all.

mod apart;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use ecps_core::clock::Stamp;
use nalgebra::Isometry3;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Shared, file, row};
use crate::error::{DeleteError, KeepError, PutError, Unavailable};
use crate::lane::Ticket;
use crate::policy::Policy;
use crate::record::{ID_BYTES, Record, Stored, needed_text};
use crate::reply::Answering;
use crate::vector::Unit;
use merge::Fresh;

/// Most requests of one commit.
const GROUP: usize = 64;
/// Of a quota that is full so much more is freed at once, so that not every put has to look for what may go.
const SLACK: u64 = 1024;

/// A validated request to change the memory, its namespaces set.
#[derive(Debug)]
pub(crate) enum Job {
    Put(Batch, Answering<Vec<Stored>, PutError>),
    Delete(Deletion, Answering<u32, DeleteError>),
    /// Rows of a namespace whose time is over.
    Expire(Vec<(String, i64)>),
    Apart(Apart),
}

/// Records to put.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// Which of them came without an id, and may be merged.
    pub(crate) nameless: Vec<bool>,
}

/// Records to forget.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub(crate) namespace: String,
    pub(crate) ids: Vec<String>,
    /// Whether the answer waits until what they held is overwritten.
    pub(crate) erase: bool,
}

/// What is done by itself, between commits.
#[derive(Debug)]
pub(crate) enum Apart {
    /// Takes everything from a snapshot.
    Restore(PathBuf, Answering<u64, KeepError>),
    /// Moves the poses of a frame.
    Reanchor(Reanchor, Answering<u64, KeepError>),
    /// Notes which rows were hits, and what the graph file beside the database holds.
    Note(Vec<(i64, u64)>, Option<(Vec<u8>, usize)>, Answering<(), Unavailable>),
}

/// A frame whose poses move.
#[derive(Debug, Clone)]
pub(crate) struct Reanchor {
    pub(crate) namespace: String,
    pub(crate) frame_id: String,
    pub(crate) map_id: String,
    pub(crate) transform: Isometry3<f64>,
}

/// Makes an id for a record that came without.
pub(crate) type NewId = Box<dyn FnMut() -> String + Send>;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) new_id: NewId,
    pub(crate) policy: Policy,
    /// The greatest row number given so far; none is given twice while this runs.
    pub(crate) last_row: i64,
}

/// What a request does to the rows.
enum Effect {
    Put(Vec<Written>),
    /// Rows taken away.
    Deleted(Vec<i64>),
    Expired(Vec<(String, i64)>),
    /// Nothing: it does not fit what the memory holds.
    Refused(PutError),
}

/// What became of a record.
enum Written {
    New { row: i64, replaced: Option<i64>, record: Box<Record>, vector: Unit },
    Merged { row: i64, id: String, version: u64, first: Stamp, last: Stamp },
}

/// What an open transaction brings that the index does not show yet.
#[derive(Default)]
struct Open {
    /// By namespace and model.
    dimensions: BTreeMap<(String, String), usize>,
    fresh: Vec<Fresh>,
    /// Records, bytes, pinned records and pinned bytes that a namespace gains.
    gains: BTreeMap<String, [i64; 4]>,
    gone: BTreeSet<i64>,
    /// Rows pushed out, with their namespaces.
    evicted: Vec<(String, i64)>,
}

impl Writer {
    /// Serves until every sending end is gone and the queue is empty.
    pub(crate) fn run(mut self, jobs: Receiver<(Job, Ticket)>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| jobs.recv().ok()) {
            self.shared.stir();
            if let (Job::Apart(job), ticket) = first {
                self.apart(job);
                drop(ticket);
                continue;
            }
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = jobs.try_recv()
            {
                if matches!(job.0, Job::Apart(_)) {
                    next = Some(job);
                    break;
                }
                group.push(job);
            }
            for (job, _) in &mut group {
                self.complete(job);
            }
            self.serve(group);
        }
    }

    /// Gives records what they came without, but for what depends on other records.
    fn complete(&mut self, job: &mut Job) {
        let Job::Put(batch, _) = job else { return };
        let now = self.shared.clock.now();
        for record in &mut batch.records {
            if record.id.is_empty() {
                record.id = (self.new_id)();
            }
            if record.observed.is_zero() {
                record.observed = now;
            }
            if record.expires.is_none() {
                let lifetime = self.policy.of(&record.namespace).lifetime;
                let nanos = lifetime.map(|lifetime| i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX));
                record.expires = nanos.map(|nanos| Stamp(record.observed.0.saturating_add(nanos)));
            }
            record.sightings = 1;
            record.last_seen = record.time;
        }
    }

    /// Commits a group and answers it. When that fails, each request is tried alone, so that one that asks too much
    /// of the disk does not take the others with it.
    fn serve(&mut self, mut group: Vec<(Job, Ticket)>) {
        match self.commit(&group) {
            Ok(effects) => {
                let erase = group.iter().any(|(job, _)| matches!(job, Job::Delete(deletion, _) if deletion.erase));
                let erased = if erase { file::give_back(&self.connection) } else { Ok(()) };
                for ((job, ticket), effect) in group.into_iter().zip(effects) {
                    drop(ticket);
                    self.answer(job, effect, &erased);
                }
            }
            Err(_) if group.len() > 1 => group.into_iter().for_each(|one| self.serve(vec![one])),
            Err(error) => {
                if let Some((job, ticket)) = group.pop() {
                    drop(ticket);
                    self.refuse(job, error.into());
                }
            }
        }
    }

    fn commit(&mut self, group: &[(Job, Ticket)]) -> Result<Vec<Effect>, rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut open = Open::default();
        let mut effects = Vec::with_capacity(group.len());
        let work = Work { connection: &transaction, shared: &self.shared, policy: &self.policy };
        for (job, _) in group {
            effects.push(match job {
                Job::Put(batch, _) => match work.fits(&batch.records, &mut open) {
                    Ok(()) => Effect::Put(work.put(batch, &mut self.last_row, &mut open)?),
                    Err(reason) => Effect::Refused(reason),
                },
                Job::Delete(deletion, _) => Effect::Deleted(work.delete(deletion)?),
                Job::Expire(rows) => Effect::Expired(work.expire(rows)?),
                Job::Apart(_) => continue,
            });
        }

        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        transaction.commit()?;
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut damages = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forget = |index: &mut crate::index::Index, row: i64, namespace: &str| {
            damages.remove(&row);
            index.remove(row, namespace)
        };
        for ((job, _), effect) in group.iter().zip(&effects) {
            match (job, effect) {
                (_, Effect::Put(written)) => {
                    for written in written {
                        match written {
                            Written::New { row, replaced, record, vector } => {
                                let queried = replaced.map_or(0, |row| forget(&mut index, row, &record.namespace));
                                index.add(*row, record, vector, queried);
                            }
                            Written::Merged { .. } => {}
                        }
                    }
                }
                (Job::Delete(deletion, _), Effect::Deleted(rows)) => {
                    for row in rows {
                        forget(&mut index, *row, &deletion.namespace);
                    }
                }
                (_, Effect::Expired(rows)) => {
                    for (namespace, row) in rows {
                        forget(&mut index, *row, namespace);
                    }
                }
                _ => {}
            }
            if let (Job::Put(batch, _), Effect::Put(written)) = (job, effect) {
                for (record, written) in batch.records.iter().zip(written) {
                    if let Written::Merged { row, first, last, .. } = written {
                        index.change(*row, &record.namespace, |facts| (facts.first, facts.last) = (*first, *last));
                    }
                }
            }
        }
        for (namespace, row) in &open.evicted {
            forget(&mut index, *row, namespace);
        }
        self.shared.counters.evicted(open.evicted.len());
        Ok(effects)
    }

    /// Answers what is committed. An asker who no longer listens is no matter.
    fn answer(&self, job: Job, effect: Effect, erased: &Result<(), rusqlite::Error>) {
        let counters = &self.shared.counters;
        match (job, effect) {
            (Job::Put(_, answering), Effect::Put(written)) => {
                let stored = |written: Written| match written {
                    Written::New { record, .. } => Stored { id: record.id, version: record.version, merged: false },
                    Written::Merged { id, version, .. } => Stored { id, version, merged: true },
                };
                let stored: Vec<Stored> = written.into_iter().map(stored).collect();
                counters.put(stored.len(), stored.iter().filter(|stored| stored.merged).count());
                let _ = answering.send(Ok(stored));
            }
            (Job::Put(_, answering), Effect::Refused(reason)) => {
                counters.refused(&reason);
                let _ = answering.send(Err(reason));
            }
            (Job::Delete(deletion, answering), Effect::Deleted(rows)) => {
                counters.deleted(rows.len());
                let _ = answering.send(match erased {
                    Err(error) if deletion.erase => Err(Unavailable::Storage(error.to_string()).into()),
                    _ => Ok(rows.len() as u32),
                });
            }
            (Job::Expire(_), Effect::Expired(rows)) => counters.expired(rows.len()),
            // Each kind of job has the effects above and no other.
            _ => {}
        }
    }

    fn refuse(&self, job: Job, reason: Unavailable) {
        self.shared.counters.refused(&reason);
        let _ = match job {
            Job::Put(_, answering) => answering.send(Err(reason.into())).is_ok(),
            Job::Delete(_, answering) => answering.send(Err(reason.into())).is_ok(),
            Job::Expire(_) | Job::Apart(_) => true,
        };
    }
}

/// An open transaction and what it is held against.
struct Work<'a> {
    connection: &'a Connection,
    shared: &'a Shared,
    policy: &'a Policy,
}

impl Work<'_> {
    /// Refuses records whose vectors differ in dimension from their model's others (those that can be found, those of this
    /// transaction and those of this batch), and those that no eviction makes room for.
    fn fits(&self, records: &[Record], open: &mut Open) -> Result<(), PutError> {
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

    fn put(&self, batch: &Batch, last_row: &mut i64, open: &mut Open) -> Result<Vec<Written>, rusqlite::Error> {
        let mut all = Vec::with_capacity(batch.records.len());
        for (record, nameless) in batch.records.iter().zip(&batch.nameless) {
            let vector = Unit::new(&record.embedding);
            if *nameless && let Some(merged) = self.merge(record, &vector, open)? {
                all.push(merged);
                continue;
            }
            let old = self.old(record)?;
            if let Some((row, _)) = old {
                self.forget(row)?;
                open.gone.insert(row);
                open.fresh.retain(|fresh| fresh.row != row);
            }
            *last_row += 1;
            let mut record = Box::new(record.clone());
            record.version = old.map_or(0, |(_, version)| version.max(0).unsigned_abs()).saturating_add(1);
            row::insert(self.connection, *last_row, &record)?;
            row::insert_text(self.connection, *last_row, &record.text)?;
            if self.policy.merge.is_some() {
                open.fresh.push(Fresh::new(*last_row, &record, &vector));
            }
            let (bytes, pinned) = (record.bytes() as i64, i64::from(record.pinned));
            let gain = open.gains.entry(record.namespace.clone()).or_default();
            let more = [1, bytes, pinned, pinned * bytes];
            gain.iter_mut().zip(more).for_each(|(gain, more)| *gain += more);
            all.push(Written::New { row: *last_row, replaced: old.map(|(row, _)| row), record, vector });
        }
        self.make_room(&batch.records, open)?;
        Ok(all)
    }

    /// Row and version of the record that this one replaces. A damaged version may be anything, also no number.
    fn old(&self, record: &Record) -> Result<Option<(i64, i64)>, rusqlite::Error> {
        let sql = "SELECT row, version FROM record WHERE namespace = ?1 AND id = ?2";
        let version = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1).unwrap_or_default()));
        self.connection.prepare_cached(sql)?.query_row((&record.namespace, &record.id), version).optional()
    }

    /// Takes a row away, and its words.
    fn forget(&self, row: i64) -> Result<bool, rusqlite::Error> {
        let text = "SELECT CAST(text AS BLOB) FROM record WHERE row = ?1";
        let text: Option<Vec<u8>> =
            self.connection.prepare_cached(text)?.query_row([row], |row| row.get(0)).optional()?;
        let Some(text) = text else { return Ok(false) };
        row::delete_text(self.connection, row, &String::from_utf8_lossy(&text))?;
        self.connection.prepare_cached("DELETE FROM record WHERE row = ?1")?.execute([row])?;
        Ok(true)
    }

    /// Pushes out what is beyond the quotas of these records' namespaces.
    fn make_room(&self, records: &[Record], open: &mut Open) -> Result<(), rusqlite::Error> {
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
                if open.gone.insert(row) && self.forget(row)? {
                    open.evicted.push((namespace.to_owned(), row));
                    let gain = open.gains.entry(namespace.to_owned()).or_default();
                    gain.iter_mut().zip([1, bytes as i64]).for_each(|(gain, less)| *gain -= less);
                }
            }
        }
        Ok(())
    }

    fn delete(&self, deletion: &Deletion) -> Result<Vec<i64>, rusqlite::Error> {
        let mut find = self.connection.prepare_cached("SELECT row FROM record WHERE namespace = ?1 AND id = ?2")?;
        let mut gone = Vec::new();
        for id in &deletion.ids {
            let row = find.query_row((&deletion.namespace, id), |row| row.get::<_, i64>(0)).optional()?;
            if let Some(row) = row
                && self.forget(row)?
            {
                gone.push(row);
            }
        }
        Ok(gone)
    }

    fn expire(&self, rows: &[(String, i64)]) -> Result<Vec<(String, i64)>, rusqlite::Error> {
        let mut gone = Vec::new();
        for (namespace, row) in rows {
            if self.forget(*row)? {
                gone.push((namespace.clone(), *row));
            }
        }
        Ok(gone)
    }
}
