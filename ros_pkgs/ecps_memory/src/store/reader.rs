//! The threads that read, each with its own connection.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{Shared, row};
use crate::error::{ANSWER_BYTES, GetError, QueryError, Unavailable};
use crate::lane::Ticket;
use crate::query::{Answer, Hit, Query};
use crate::record::{Record, namespace_or_default};
use crate::reply::Answering;
use crate::stats::Damage;

/// A validated request to read, its namespaces set.
#[derive(Debug)]
pub(crate) enum Job {
    Query(Query, Answering<Answer, QueryError>),
    Get(String, String, Answering<Record, GetError>),
}

pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
}

/// What a row that the index names but the file lacks means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileMay {
    /// The file is a commit ahead of the index: look again.
    BeAhead,
    /// The gate is held, so the file agrees with the index: the row is lost.
    NotDiffer,
}

impl Reader {
    /// Serves until the sending end is gone and the queue is empty.
    pub(crate) fn run(self, jobs: Arc<Mutex<Receiver<(Job, Ticket)>>>) {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            // An asker who no longer listens is no matter.
            match next {
                Err(_) => return,
                Ok((Job::Query(query, answering), ticket)) => {
                    let answer = self.query(&query);
                    match &answer {
                        Ok(_) => self.shared.counters.answered_query(),
                        Err(reason) => self.shared.counters.refused(reason),
                    }
                    drop(ticket);
                    let _ = answering.send(answer);
                }
                Ok((Job::Get(namespace, id, answering), ticket)) => {
                    let answer = self.get(namespace, id);
                    drop(ticket);
                    let _ = answering.send(answer);
                }
            }
        }
    }

    fn query(&self, query: &Query) -> Result<Answer, QueryError> {
        if let Some(answer) = self.attempt(query, FileMay::BeAhead)? {
            return Ok(answer);
        }
        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Ends, since every attempt without an answer takes a row out of the index.
            if let Some(answer) = self.attempt(query, FileMay::NotDiffer)? {
                return Ok(answer);
            }
        }
    }

    /// None where a row could not be served and the search has to be made again without it.
    fn attempt(&self, query: &Query, file_may: FileMay) -> Result<Option<Answer>, QueryError> {
        let found = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).search(query)?;
        let mut answer = Answer { hits: Vec::with_capacity(found.rows.len()), total_matched: found.total_matched };
        let mut bytes = 0;
        let mut all_served = true;
        for (row, similarity) in found.rows {
            let namespace = namespace_or_default(&query.namespace);
            match self.read(row::SELECT_ROW, [row]).map_err(Unavailable::from)? {
                Some(Ok(record)) => {
                    bytes += record.bytes();
                    answer.hits.push(Hit { record, similarity });
                    if bytes > ANSWER_BYTES {
                        return Err(QueryError::AnswerBytes { hits: answer.hits.len(), bytes, k: query.k });
                    }
                }
                Some(Err(damage)) => {
                    self.shared.quarantine(namespace, Damage { row, ..damage });
                    all_served = false;
                }
                None if file_may == FileMay::BeAhead => return Ok(None),
                None => {
                    let (namespace, id) = (namespace.to_owned(), String::new());
                    let reason = "it is gone from the file".to_owned();
                    self.shared.quarantine(&namespace.clone(), Damage { row, namespace, id, reason });
                    all_served = false;
                }
            }
        }
        Ok(all_served.then_some(answer))
    }

    fn get(&self, namespace: String, id: String) -> Result<Record, GetError> {
        match self.read(row::SELECT_ID, (&namespace, &id)).map_err(Unavailable::from)? {
            Some(Ok(record)) => Ok(record),
            Some(Err(damage)) => {
                let damage = Damage { namespace, id, ..damage };
                self.shared.quarantine(&damage.namespace, damage.clone());
                Err(GetError::Damaged(damage))
            }
            None => Err(GetError::NotFound { namespace, id }),
        }
    }

    /// One row, or none. What keeps SQLite from reading it is damage too.
    fn read(&self, sql: &str, key: impl rusqlite::Params) -> Result<Option<Result<Record, Damage>>, rusqlite::Error> {
        let read = self.connection.prepare_cached(sql)?.query_row(key, |row| Ok(row::decode(row))).optional();
        match read {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                let unknown = String::new();
                Ok(Some(Err(Damage { row: 0, namespace: unknown.clone(), id: unknown, reason: error.to_string() })))
            }
            other => other,
        }
    }
}
