//! The one thread that writes. Requests that wait together are committed together: one sync of the disk serves them all.

mod apart;
mod merge;
mod work;

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use ecps_core::clock::Stamp;
use nalgebra::Isometry3;
use rusqlite::{Connection, TransactionBehavior};

use super::{Shared, file};
use crate::error::{DeleteError, KeepError, PutError, Unavailable};
use crate::lane::Ticket;
use crate::policy::Policy;
use crate::record::{Record, Stored};
use crate::reply::Answering;
use crate::vector::Unit;
use work::{Open, Work, Written};

/// Most requests of one commit.
const GROUP: usize = 64;

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
    /// Their embeddings, scaled: made by whoever asks, so that the one thread that writes need not.
    pub(crate) vectors: Vec<Unit>,
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
        match self.commit(&mut group) {
            Ok(effects) => {
                let erase = group.iter().any(|(job, _)| matches!(job, Job::Delete(deletion, _) if deletion.erase));
                let erased = if erase { file::give_back(&self.connection) } else { Ok(()) };
                for ((job, ticket), effect) in group.into_iter().zip(effects) {
                    drop(ticket);
                    self.answer(job, effect, &erased);
                }
            }
            Err(_) if group.len() > 1 => group.into_iter().for_each(|one| self.serve(vec![one])),
            Err(reason) => {
                if let Some((job, ticket)) = group.pop() {
                    drop(ticket);
                    self.refuse(job, reason);
                }
            }
        }
    }

    fn commit(&mut self, group: &mut [(Job, Ticket)]) -> Result<Vec<Effect>, Unavailable> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut open = Open::default();
        let mut effects = Vec::with_capacity(group.len());
        let work = Work { storage: &*transaction, shared: &self.shared, policy: &self.policy };
        for (job, _) in group.iter_mut() {
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
                (Job::Put(batch, _), Effect::Put(written)) => {
                    for ((record, vector), written) in batch.records.iter().zip(&batch.vectors).zip(written) {
                        if let Written::New { row, replaced } = written {
                            let queried = replaced.map_or(0, |row| forget(&mut index, row, &record.namespace));
                            index.add(*row, record, vector, queried);
                        }
                    }
                    // Now that all of the batch are there.
                    for (record, written) in batch.records.iter().zip(written) {
                        if let Written::Merged { row, first, last, .. } = written {
                            index.change(*row, &record.namespace, |facts| (facts.first, facts.last) = (*first, *last));
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
            (Job::Put(batch, answering), Effect::Put(written)) => {
                let stored = |(record, written): (Record, Written)| match written {
                    Written::New { .. } => Stored { id: record.id, version: record.version, merged: false },
                    Written::Merged { id, version, .. } => Stored { id, version, merged: true },
                };
                let stored: Vec<Stored> = batch.records.into_iter().zip(written).map(stored).collect();
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
