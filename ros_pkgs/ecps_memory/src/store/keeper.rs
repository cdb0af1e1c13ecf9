//! The thread that keeps the index in order: builds graphs and adds to them, samples their recall in idle time, forgets what
//! has expired, and writes the graphs down. Nobody waits for it: what is not in a graph is scanned.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ecps_core::clock::Steady;

use super::writer::{Apart, Job};
use super::{Shared, graph_file};
use crate::arena::{Arena, MOST_EF};
use crate::graph::{Graph, Scratch};
use crate::index::Terms;
use crate::lane::Lane;
use crate::query::{Query, SIMILARITY_TOLERANCE, Way};
use crate::reply::Reply;

/// How much less than others the thread is in a hurry (nice). Not much: while it looks at the index, a put waits for it.
const NICE: i32 = 5;
/// Pause between looks, where there is nothing to do.
const PAUSE: Duration = Duration::from_millis(50);
/// Silence after which it samples.
const IDLE: Duration = Duration::from_millis(200);
/// Silence after which it writes down what changed.
const CALM: Duration = Duration::from_secs(5);
/// Records added to a graph between two looks at the rest.
const STEP: usize = 2;
/// Share of records gone, or not yet in the graph, beyond which it is built anew: fractions of what there is.
const CHURN: f64 = 0.3;
const BEHIND: f64 = 0.5;
/// Samples that a recall is the mean of, and those needed before it has consequences.
const SAMPLES: usize = 64;
const ENOUGH: usize = 32;
/// Below the first, walks keep more candidates; below the second, although they keep the most, the graph is built anew.
const WANTED_RECALL: f32 = 0.97;
const LEAST_RECALL: f32 = 0.90;
/// Below this no number of candidates helps.
const BROKEN_RECALL: f32 = 0.5;
/// Expired records forgotten at a time.
const EXPIRED: usize = 1024;
/// Nodes whose links are chosen at once while a graph is built, at most: they do not see one another.
const ABREAST: usize = 128;

pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writing: Arc<Lane<Job>>,
    pub(crate) graph_path: PathBuf,
    /// Records of one model from which on there is a graph.
    pub(crate) graph_from: usize,
    /// Threads that build a graph.
    pub(crate) threads: usize,
    pub(crate) samples: HashMap<(String, String), VecDeque<f32>>,
    /// Nodes in the graph file, and what made it unusable.
    pub(crate) saved: usize,
}

type Key = (String, String);

/// What an arena needs.
enum Need {
    Nothing,
    More(Vec<(u32, i64)>),
    Anew,
}

impl Keeper {
    /// Runs until the other end of `stop` is gone.
    pub(crate) fn run(mut self, stop: Receiver<()>) {
        // Puts and queries go first, also while a graph is built on every core: the threads that build inherit this.
        // Where the system refuses it they are as quick as all others.
        let _ = rustix::process::setpriority_process(None, NICE);
        let (mut second, mut sampled) = (self.now(), self.now());
        loop {
            let more = self.tend(&stop);
            match stop.recv_timeout(if more { Duration::ZERO } else { PAUSE }) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.now();
            if now.since(second) >= Duration::from_secs(1) {
                second = now;
                self.expire();
            }
            if self.shared.idle() >= IDLE && now.since(sampled) >= PAUSE {
                sampled = now;
                self.sample();
            }
            if self.shared.idle() >= CALM && self.nodes() != self.saved {
                self.save();
            }
        }
        self.save();
    }

    fn now(&self) -> Steady {
        self.shared.steady.now()
    }

    fn nodes(&self) -> usize {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.arenas().filter_map(|(_, _, arena)| arena.graph()).map(Graph::len).sum()
    }

    /// One step for each arena; whether there is more to do.
    fn tend(&mut self, stop: &Receiver<()>) -> bool {
        let needs: Vec<(Key, Need)> = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.arenas().map(|(n, m, arena)| ((n.clone(), m.clone()), self.need(arena))).collect()
        };
        let mut more = false;
        for (key, need) in needs {
            match need {
                Need::Nothing => {}
                Need::More(pending) => {
                    more = true;
                    self.add(&key, &pending);
                }
                Need::Anew => self.build(&key, stop),
            }
        }
        more
    }

    fn need(&self, arena: &Arena) -> Need {
        if arena.graph().is_none() {
            return if arena.len() >= self.graph_from { Need::Anew } else { Need::Nothing };
        }
        let (_, pending) = arena.indexed();
        let share = |part: usize| part as f64 / arena.len().max(1) as f64;
        if share(arena.gone()) > CHURN || (share(pending) > BEHIND && pending >= self.graph_from / 2) {
            return Need::Anew;
        }
        match arena.next_pending(STEP) {
            pending if pending.is_empty() => Need::Nothing,
            pending => Need::More(pending),
        }
    }

    /// Links are chosen while others read, so that they wait only while links are set.
    fn add(&self, (namespace, model): &Key, pending: &[(u32, i64)]) {
        let mut scratch = Scratch::default();
        for (slot, row) in pending {
            let links = {
                let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
                let Some(arena) = index.arena(namespace, model) else { return };
                let Some(graph) = arena.graph() else { return };
                graph.choose(arena.vectors(), *slot, Graph::level(*row), &mut scratch)
            };
            let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(arena) = index.arena_mut(namespace, model) {
                arena.connect(*slot, *row, links);
            }
        }
    }

    fn build(&mut self, key: &Key, stop: &Receiver<()>) {
        let holes = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let Some(arena) = index.arena(&key.0, &key.1) else { return };
            arena.holes() as f64 / arena.len().max(1) as f64
        };
        // A copy closes holes, and takes the memory of all once more while it is made.
        let built = if holes > CHURN { self.build_on_a_copy(key, stop) } else { self.build_beside(key, stop) };
        if built {
            self.shared.counters.rebuilt();
            self.samples.remove(key);
        }
    }

    /// A graph over the arena as it is, which goes on meanwhile.
    fn build_beside(&self, (namespace, model): &Key, stop: &Receiver<()>) -> bool {
        let read = || self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        {
            let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
            let Some(arena) = index.arena_mut(namespace, model) else { return false };
            arena.hold();
        }
        let (mut graph, mut from) = (Graph::default(), 0);
        loop {
            if matches!(stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
                return false;
            }
            let rows = {
                let index = read();
                let Some(arena) = index.arena(namespace, model).filter(|arena| arena.is_held()) else { return false };
                let (rows, next) = arena.rows_from(from, (graph.len() / 32).clamp(1, ABREAST));
                from = next;
                rows
            };
            if rows.is_empty() {
                break;
            }
            // The lock is taken for each row alone, so that nobody who writes waits for long.
            let chosen = abreast(&rows, self.threads, |(slot, row), scratch| {
                let index = read();
                let arena = index.arena(namespace, model).filter(|arena| arena.is_held())?;
                Some(graph.choose(arena.vectors(), *slot, Graph::level(*row), scratch))
            });
            for ((slot, _), links) in rows.iter().zip(chosen) {
                let index = read();
                let arena = index.arena(namespace, model).filter(|arena| arena.is_held());
                let Some((arena, links)) = arena.zip(links) else { return false };
                graph.connect(arena.vectors(), *slot, links);
            }
        }
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let Some(arena) = index.arena_mut(namespace, model).filter(|arena| arena.is_held()) else { return false };
        arena.take_graph(graph);
        arena.set_ef(arena.ef().min(MOST_EF / 2));
        true
    }

    /// A graph over a copy without holes, which then takes the arena's place.
    fn build_on_a_copy(&self, (namespace, model): &Key, stop: &Receiver<()>) -> bool {
        let fresh = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            index.arena(namespace, model).map(Arena::compacted)
        };
        let Some(mut fresh) = fresh else { return false };
        while let Some(()) = self.stretch(&mut fresh) {
            if matches!(stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
                return false;
            }
        }
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let Some(arena) = index.arena_mut(namespace, model) else { return false };
        if arena.dimension() != fresh.dimension() {
            return false;
        }
        fresh.catch_up(arena);
        fresh.set_ef(arena.ef().min(MOST_EF / 2));
        *arena = fresh;
        true
    }

    /// Puts some more into a graph that nobody uses yet; none when all are in.
    fn stretch(&self, arena: &mut Arena) -> Option<()> {
        let (nodes, _) = arena.indexed();
        let pending = arena.next_pending((nodes / 32).clamp(1, ABREAST));
        if pending.is_empty() {
            return None;
        }
        let (vectors, graph) = (arena.vectors(), arena.graph()?);
        let chosen = abreast(&pending, self.threads, |(slot, row), scratch| {
            graph.choose(vectors, *slot, Graph::level(*row), scratch)
        });
        for ((slot, row), links) in pending.iter().zip(chosen) {
            arena.connect(*slot, *row, links);
        }
        Some(())
    }

    fn expire(&self) {
        let now = self.shared.clock.now();
        let rows = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).expired(now, EXPIRED);
        if !rows.is_empty() {
            let bytes = rows.len() * size_of::<(String, i64)>();
            // Where the queue is full, they are found again in a second.
            let _ = self.writing.send(Job::Expire(rows), bytes);
        }
    }

    /// Asks a query that the graph answered both ways.
    fn sample(&mut self) {
        let query = {
            let mut asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(query) = asked.pop_front() else { return };
            asked.push_back(query.clone());
            query
        };
        let Some(likeness) = &query.likeness else { return };
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let namespace = crate::record::namespace_or_default(&query.namespace).to_owned();
        let Some(arena) = index.arena(&namespace, &likeness.model_id) else { return };
        let terms = Terms { now: self.shared.clock.now(), text: None, late: &|| false, walk: false };
        let mut scratch = Scratch::default();
        let mut ask = |query: &Query| index.search(query, &terms, &mut scratch).ok();
        let (Some(walked), Some(scanned)) = (ask(&query), ask(&Query { exact: true, ..query.clone() })) else { return };
        let similarities =
            |found: &crate::index::Found| found.rows.iter().filter_map(|r| r.similarity).collect::<Vec<_>>();
        let (walked_to, truth) = (similarities(&walked), similarities(&scanned));
        let Some(last) = truth.last() else { return };
        if walked.way != Way::Graph {
            return;
        }
        let found = walked_to.iter().filter(|similarity| **similarity >= last - SIMILARITY_TOLERANCE).count();
        let samples = self.samples.entry((namespace.clone(), likeness.model_id.clone())).or_default();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(found.min(truth.len()) as f32 / truth.len() as f32);
        self.shared.counters.sampled();
        let recall = samples.iter().sum::<f32>() / samples.len() as f32;
        arena.set_recall(Some(recall));
        if samples.len() < ENOUGH || recall >= WANTED_RECALL {
            return;
        }
        if recall >= BROKEN_RECALL && arena.ef() < MOST_EF {
            arena.set_ef(arena.ef() * 5 / 4);
            samples.clear();
        } else if recall < LEAST_RECALL {
            drop(index);
            let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
            // Everything is scanned until there is a better one.
            if let Some(arena) = index.arena_mut(&namespace, &likeness.model_id) {
                arena.drop_graph();
                arena.set_recall(None);
            }
        }
    }

    /// Writes the graphs down, and which records were hits.
    fn save(&mut self) {
        let (graphs, touched) = {
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            let touched = index.arenas().flat_map(|(_, _, arena)| arena.entries()).filter_map(|(_, details)| {
                let queried = details.queried.load(std::sync::atomic::Ordering::Relaxed);
                (queried > 0).then_some((details.row, queried))
            });
            (graph_file::encode(&index), touched.collect::<Vec<_>>())
        };
        let nodes = graphs.as_ref().map_or(0, |(_, nodes)| *nodes);
        let written = graphs.and_then(|(bytes, nodes)| match graph_file::write(&self.graph_path, &bytes) {
            Ok(digest) => Some((digest, nodes)),
            Err(error) => {
                self.shared.counters.refused(&format!("the graph file cannot be written: {error}"));
                None
            }
        });
        if touched.is_empty() && written.is_none() {
            return;
        }
        let (answering, reply) = Reply::new();
        let bytes = touched.len() * size_of::<(i64, u64)>();
        // Where it fails, the next change is another occasion; a start finds that file and database do not agree.
        if self.writing.send(Job::Apart(Apart::Note(touched, written, answering)), bytes).is_ok() {
            let _ = reply.wait();
        }
        self.saved = nodes;
    }
}

/// What `choose` makes of each row, on several threads; in order.
fn abreast<T: Send>(
    rows: &[(u32, i64)],
    threads: usize,
    choose: impl Fn(&(u32, i64), &mut Scratch) -> T + Sync,
) -> Vec<T> {
    let part = |rows: &[(u32, i64)]| {
        let mut scratch = Scratch::default();
        rows.iter().map(|row| choose(row, &mut scratch)).collect::<Vec<T>>()
    };
    let parts: Vec<&[(u32, i64)]> = rows.chunks(rows.len().div_ceil(threads.max(1)).max(1)).collect();
    match parts.as_slice() {
        [one] => part(one),
        parts => std::thread::scope(|scope| {
            let running: Vec<_> = parts.iter().map(|rows| scope.spawn(|| part(rows))).collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        }),
    }
}
