//! The one thread that writes. Requests that wait together are committed together: one sync of the disk serves them all.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Shared, row};
use crate::error::{DeleteError, PutError, Unavailable};
use crate::lane::Ticket;
use crate::record::{ID_BYTES, Record, Stored, needed_text};
use crate::reply::Answering;
use crate::vector::unit;

/// Most requests of one commit.
const GROUP: usize = 64;

/// A validated request to change the memory, its namespaces set.
#[derive(Debug)]
pub(crate) enum Job {
    Put(Vec<Record>, Answering<Vec<Stored>, PutError>),
    Delete(String, Vec<String>, Answering<u32, DeleteError>),
}

/// Makes an id for a record that came without.
pub(crate) type NewId = Box<dyn FnMut() -> String + Send>;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) new_id: NewId,
    /// The greatest row number given so far; none is given twice while this runs.
    pub(crate) last_row: i64,
}

/// What a request does to the rows.
enum Effect {
    /// For each record, in order.
    Put(Vec<Written>),
    /// Rows taken away.
    Deleted(Vec<i64>),
    /// Nothing: it does not fit what the memory holds.
    Refused(PutError),
}

struct Written {
    replaced: Option<i64>,
    row: i64,
    version: i64,
}

/// Dimensions that an open transaction brings, by namespace and model.
type Dimensions = BTreeMap<(String, String), usize>;

impl Writer {
    /// Serves until every sending end is gone and the queue is empty.
    pub(crate) fn run(mut self, jobs: Receiver<(Job, Ticket)>) {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            group.extend(std::iter::from_fn(|| jobs.try_recv().ok()).take(GROUP - 1));
            for (job, _) in &mut group {
                self.name_the_nameless(job);
            }
            self.serve(group);
        }
    }

    fn name_the_nameless(&mut self, job: &mut Job) {
        if let Job::Put(records, _) = job {
            for record in records.iter_mut().filter(|record| record.id.is_empty()) {
                record.id = (self.new_id)();
            }
        }
    }

    /// Commits a group and answers it. When that fails, each request is tried alone, so that one that asks too much
    /// of the disk does not take the others with it.
    fn serve(&mut self, mut group: Vec<(Job, Ticket)>) {
        match self.commit(&group) {
            Ok(effects) => {
                for ((job, ticket), effect) in group.into_iter().zip(effects) {
                    drop(ticket);
                    self.answer(job, effect);
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
        let mut dimensions = Dimensions::new();
        let mut effects = Vec::with_capacity(group.len());
        for (job, _) in group {
            effects.push(match job {
                Job::Put(records, _) => match agree(records, &self.shared, &mut dimensions) {
                    Ok(()) => Effect::Put(put(&transaction, &mut self.last_row, records)?),
                    Err(reason) => Effect::Refused(reason),
                },
                Job::Delete(namespace, ids, _) => Effect::Deleted(delete(&transaction, namespace, ids)?),
            });
        }
        // Scaled before the gate is taken, since others wait at it.
        let scaled = |job: &Job| match job {
            Job::Put(records, _) => records.iter().map(|record| unit(&record.embedding)).collect(),
            Job::Delete(..) => Vec::new(),
        };
        let vectors: Vec<Vec<_>> = group.iter().map(|(job, _)| scaled(job)).collect();

        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        transaction.commit()?;
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut damages = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner);
        for (((job, _), effect), vectors) in group.iter().zip(&effects).zip(&vectors) {
            match (job, effect) {
                (Job::Put(records, _), Effect::Put(written)) => {
                    for ((record, vector), written) in records.iter().zip(vectors).zip(written) {
                        if let Some(row) = written.replaced {
                            index.remove(row, &record.namespace);
                            damages.remove(&row);
                        }
                        index.add(written.row, record, vector);
                    }
                }
                (Job::Delete(namespace, ..), Effect::Deleted(rows)) => {
                    for row in rows {
                        index.remove(*row, namespace);
                        damages.remove(row);
                    }
                }
                _ => {}
            }
        }
        Ok(effects)
    }

    /// Answers what is committed. An asker who no longer listens is no matter.
    fn answer(&self, job: Job, effect: Effect) {
        let counters = &self.shared.counters;
        match (job, effect) {
            (Job::Put(records, answering), Effect::Put(written)) => {
                counters.put(records.len());
                let stored = |(record, written): (Record, Written)| Stored {
                    id: record.id,
                    version: written.version.unsigned_abs(),
                };
                let _ = answering.send(Ok(records.into_iter().zip(written).map(stored).collect()));
            }
            (Job::Put(_, answering), Effect::Refused(reason)) => {
                counters.refused(&reason);
                let _ = answering.send(Err(reason));
            }
            (Job::Delete(.., answering), Effect::Deleted(rows)) => {
                counters.deleted(rows.len());
                let _ = answering.send(Ok(rows.len() as u32));
            }
            // Each kind of job has the effects above and no other.
            (Job::Put(..), Effect::Deleted(_)) | (Job::Delete(..), Effect::Put(_) | Effect::Refused(_)) => {}
        }
    }

    fn refuse(&self, job: Job, reason: Unavailable) {
        self.shared.counters.refused(&reason);
        let _ = match job {
            Job::Put(_, answering) => answering.send(Err(reason.into())).is_ok(),
            Job::Delete(.., answering) => answering.send(Err(reason.into())).is_ok(),
        };
    }
}

/// Refuses records whose vectors differ in dimension from their model's others: those that can be found, those of this
/// transaction and those of this batch.
fn agree(records: &[Record], shared: &Shared, dimensions: &mut Dimensions) -> Result<(), PutError> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let mut ours = Dimensions::new();
    for (position, record) in records.iter().enumerate() {
        needed_text("id", &record.id, ID_BYTES).map_err(|reason| PutError::Invalid { index: position, reason })?;
        let key = (record.namespace.clone(), record.model_id.clone());
        let known = index.dimension(&key.0, &key.1).or_else(|| dimensions.get(&key).copied());
        let found = record.embedding.len();
        let expected = known.unwrap_or_else(|| *ours.entry(key.clone()).or_insert(found));
        if found != expected {
            let (namespace, model_id) = key;
            return Err(PutError::Dimension { index: position, found, expected, model_id, namespace });
        }
    }
    dimensions.append(&mut ours);
    Ok(())
}

fn put(connection: &Connection, last_row: &mut i64, records: &[Record]) -> Result<Vec<Written>, rusqlite::Error> {
    let mut old = connection.prepare_cached("SELECT row, version FROM record WHERE namespace = ?1 AND id = ?2")?;
    let mut forget = connection.prepare_cached("DELETE FROM record WHERE row = ?1")?;
    let mut write = |record: &Record| {
        // A damaged version may be anything, also no number.
        let version = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1).unwrap_or_default()));
        let old: Option<(i64, i64)> = old.query_row((&record.namespace, &record.id), version).optional()?;
        if let Some((row, _)) = old {
            forget.execute([row])?;
        }
        *last_row += 1;
        let version = old.map_or(0, |(_, version)| version.max(0)).saturating_add(1);
        row::insert(connection, *last_row, version, record)?;
        Ok(Written { replaced: old.map(|(row, _)| row), row: *last_row, version })
    };
    records.iter().map(&mut write).collect()
}

fn delete(connection: &Connection, namespace: &str, ids: &[String]) -> Result<Vec<i64>, rusqlite::Error> {
    let mut forget = connection.prepare_cached("DELETE FROM record WHERE namespace = ?1 AND id = ?2 RETURNING row")?;
    let mut gone = Vec::new();
    for id in ids {
        gone.extend(forget.query_row((namespace, id), |row| row.get::<_, i64>(0)).optional()?);
    }
    Ok(gone)
}
