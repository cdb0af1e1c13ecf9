//! The threads that read, each with its own connection.

use std::cell::RefCell;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::Shared;
use super::storage::Storage;
use crate::error::{ANSWER_BYTES, GetError, QueryError, Unavailable};
use crate::graph::Scratch;
use crate::index::{Ranked, Terms};
use crate::lane::Ticket;
use crate::query::{Answer, Hit, Query, Way};
use crate::record::{Record, namespace_or_default};
use crate::reply::Answering;
use crate::stats::Damage;
use crate::vector::cosine;

/// Most records that words may find, before the answer is cut short.
const MOST_BY_WORDS: usize = 100_000;
/// What single precision may cost a similarity that is computed from the vectors as they were given.
const ROUNDING: f32 = 1e-6;

/// A validated request to read, its namespaces set.
#[derive(Debug)]
pub(crate) enum Job {
    Query(Box<Query>, Answering<Answer, QueryError>),
    Get(String, String, Answering<Record, GetError>),
}

pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) scratch: RefCell<Scratch>,
}

/// What a row that the index names but the file lacks means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileMay {
    /// The file is a commit ahead of the index, or behind it: look again.
    Differ,
    /// The gate is held, so the file agrees with the index: the row is lost.
    NotDiffer,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, connection: Connection) -> Reader {
        Reader { shared, connection, scratch: RefCell::default() }
    }

    /// Serves until the sending end is gone and the queue is empty.
    pub(crate) fn run(self, jobs: Arc<Mutex<Receiver<(Job, Ticket)>>>) {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            // An asker who no longer listens is no matter.
            match next {
                Err(_) => return,
                Ok((Job::Query(query, answering), ticket)) => {
                    let answer = self.serve(&query, false);
                    drop(ticket);
                    let _ = answering.send(answer);
                }
                Ok((Job::Get(namespace, id, answering), ticket)) => {
                    self.shared.stir();
                    let answer = self.get(namespace, id);
                    drop(ticket);
                    let _ = answering.send(answer);
                }
            }
        }
    }

    /// Answers a valid query, and counts it. `walk`: by the graph, also where a scan is cheaper.
    pub(crate) fn serve(&self, query: &Query, walk: bool) -> Result<Answer, QueryError> {
        self.shared.stir();
        let answer = self.query(query, walk);
        match &answer {
            Ok(_) => self.shared.counters.answered_query(),
            Err(reason) => self.shared.counters.refused(reason),
        }
        answer
    }

    /// Answers a valid query.
    pub(crate) fn query(&self, query: &Query, walk: bool) -> Result<Answer, QueryError> {
        if let Some(answer) = self.attempt(query, walk, FileMay::Differ)? {
            return Ok(answer);
        }
        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Ends, since every attempt without an answer takes a row out of the index.
            if let Some(answer) = self.attempt(query, walk, FileMay::NotDiffer)? {
                return Ok(answer);
            }
        }
    }

    /// None where a row could not be served and the search has to be made again without it.
    fn attempt(&self, query: &Query, walk: bool, file_may: FileMay) -> Result<Option<Answer>, QueryError> {
        // One transaction for all rows: SQLite then locks once. An onlooker has one from the beginning.
        let begin = || self.connection.unchecked_transaction().map_err(Unavailable::from);
        let transaction = self.connection.is_autocommit().then(begin).transpose()?;
        let started = self.shared.steady.now();
        let late = || self.shared.steady.now().since(started) > self.shared.query_limit;
        let text = match query.words() {
            Some(words) => Some(self.connection.read_words(&words, MOST_BY_WORDS)?),
            None => None,
        };
        let terms = Terms { now: self.shared.clock.now(), text: text.as_ref(), late: &late, walk };
        let namespace = namespace_or_default(&query.namespace);
        let found = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let found = index.search(query, &terms, &mut self.scratch.borrow_mut())?;
            index.note_hits(namespace, found.rows.iter().map(|ranked| ranked.row));
            found
        };
        let mut answer = Answer {
            hits: Vec::with_capacity(found.rows.len()),
            total_matched: found.total_matched,
            total_is_lower_bound: found.lower_bound,
            way: found.way,
            recall: found.recall,
            cut_short: found.cut_short || text.is_some_and(|text| text.len() >= MOST_BY_WORDS),
        };
        let (mut bytes, mut all_served) = (0, true);
        for ranked in found.rows {
            let row = ranked.row;
            let read = match query.heads_only {
                true => self.connection.read_head(row)?,
                false => self.connection.read(row)?,
            };
            match read {
                Some(Ok(record)) => match hit(query, ranked, record) {
                    None => answer.total_matched -= 1,
                    Some(hit) => {
                        bytes += hit.record.bytes();
                        if bytes > ANSWER_BYTES {
                            answer.cut_short = true;
                            break;
                        }
                        answer.hits.push(hit);
                    }
                },
                Some(Err(damage)) => {
                    self.shared.quarantine(namespace, Damage { row, ..damage });
                    all_served = false;
                }
                None if file_may == FileMay::Differ => return Ok(None),
                None => {
                    let (namespace, id) = (namespace.to_owned(), String::new());
                    let reason = "it is gone from the file".to_owned();
                    self.shared.quarantine(&namespace.clone(), Damage { row, namespace, id, reason });
                    all_served = false;
                }
            }
        }
        drop(transaction);
        // By the similarities as they are rather than as 16 bits have them.
        let newer =
            |a: &Hit, b: &Hit| b.record.last_seen.max(b.record.time).cmp(&a.record.last_seen.max(a.record.time));
        answer.hits.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| newer(a, b)).then_with(|| a.record.id.cmp(&b.record.id))
        });
        if answer.way == Way::Graph && !walk {
            self.shared.remember_asked(query);
        }
        Ok(all_served.then_some(answer))
    }

    /// Fetches a record.
    pub(crate) fn get(&self, namespace: String, id: String) -> Result<Record, GetError> {
        let now = self.shared.clock.now();
        match self.connection.read_named(&namespace, &id)? {
            Some(Ok(record)) if record.expires.is_none_or(|expires| now < expires) => Ok(record),
            Some(Err(damage)) => {
                let damage = Damage { namespace, id, ..damage };
                self.shared.quarantine(&damage.namespace, damage.clone());
                Err(GetError::Damaged(damage))
            }
            _ => Err(GetError::NotFound { namespace, id }),
        }
    }
}

/// None where the record is not as like as was asked, now that it is known to the last bit.
fn hit(query: &Query, ranked: Ranked, mut record: Record) -> Option<Hit> {
    let similarity = query.likeness.as_ref().map(|likeness| cosine(&likeness.embedding, &record.embedding));
    if similarity.is_some_and(|similarity| similarity < query.min_sim - ROUNDING) {
        return None;
    }
    let by_likeness = query.ranking.by_fit_alone() && ranked.text.is_none();
    if query.heads_only {
        record.embedding = Vec::new();
        record.payload = Vec::new();
    }
    Some(Hit {
        record,
        similarity,
        text_score: ranked.text,
        score: similarity.filter(|_| by_likeness).unwrap_or(ranked.score),
        relevance: ranked.relevance,
        recency: ranked.recency,
        importance: ranked.importance,
    })
}
