//! Queries by likeness, with and without a filter, beside other stores.

use std::time::{Duration, Instant};

use ecps_memory::{Answer, Memory, Query};

use super::stores::Stores;
use super::vectors::{FILTERS, QUERIES, Vectors};
use super::{TOLERANCE, like, settle, timed};
use crate::support::{Sample, Section};

/// Queries of one turn.
const TURN: usize = 20;
/// A store that compares all is asked fewer times.
const FEW: usize = 60;
/// Queries that the memory samples its recall with, and how long it gets for that.
const PROBES: usize = 64;
const TUNING: Duration = Duration::from_secs(20);

/// One way of asking with one filter, and what came of it.
struct Way<'a> {
    name: String,
    case: &'a str,
    asks: Asks<'a>,
    sample: Sample,
    found: usize,
}

enum Asks<'a> {
    Us(Ask),
    Store(&'a str),
}

type Ask = fn(&Memory, &Query) -> Answer;

const OURS: [(&str, Ask); 3] = [
    ("ecps_memory", |memory, query| memory.ask(query).unwrap()),
    ("ecps_memory, made to scan", |memory, query| memory.ask(&Query { exact: true, ..query.clone() }).unwrap()),
    ("ecps_memory, made to walk", |memory, query| memory.ask_graph(query).unwrap()),
];

impl Way<'_> {
    fn recall(&self) -> f64 {
        self.found as f64 / (self.sample.len() * super::HITS as usize) as f64
    }
}

pub(super) fn measure(section: &mut Section, memory: &Memory, vectors: &Vectors) {
    let mut stores = Stores::start(vectors);
    let built = settle(memory);
    let ready = stores.ready();
    for (store, reason) in &ready.broken {
        section.note(format!("{store} could not be asked: {reason}"));
    }
    tune(memory, vectors);

    let mut ways = Vec::new();
    for case in std::iter::once("all").chain(FILTERS.iter().map(|(label, _)| *label)) {
        let way = |name: &str, asks| Way { name: name.into(), case, asks, sample: Sample::default(), found: 0 };
        ways.extend(OURS.iter().map(|(name, ask)| way(name, Asks::Us(*ask))));
        let theirs = ready.engines.iter().filter(|(_, cases)| cases.iter().any(|known| known == case));
        ways.extend(theirs.map(|(engine, _)| way(engine, Asks::Store(engine))));
    }
    for from in (0..QUERIES).step_by(TURN) {
        for way in &mut ways {
            let truth = &ready.truth[way.case][from..from + TURN];
            match way.asks {
                Asks::Us(ask) => {
                    for (number, last) in (from..).zip(truth) {
                        let labels = if way.case == "all" { vec![] } else { vec![way.case.to_owned()] };
                        let query = Query { labels, ..like(vectors.set, vectors.query(number)) };
                        let (answer, time) = timed(|| ask(memory, &query));
                        way.sample.push(time);
                        way.found += true_hits(&answer, *last);
                    }
                }
                Asks::Store("sqlite-vec") if from >= FEW => {}
                Asks::Store(engine) => {
                    let (times, found) = stores.ask(engine, way.case, from, from + TURN);
                    times.into_iter().for_each(|time| way.sample.push(time));
                    way.found += found;
                }
            }
        }
    }
    tell(section, vectors, &ways);
    section.note(format!(
        "{} × {} {}: the graph was there {:.1} s after the last put, built on two threads while the other stores were filled",
        vectors.len(),
        vectors.dimension,
        vectors.set,
        built.as_secs_f64()
    ));
}

fn tell(section: &mut Section, vectors: &Vectors, ways: &[Way<'_>]) {
    let what = format!("{}k × {}", vectors.len() / 1000, vectors.dimension);
    let mut case = "";
    for way in ways {
        if way.case != case {
            section.group();
            case = way.case;
        }
        let kept = if case == "all" { String::new() } else { format!(" a filter keeping {case},") };
        section.row(format!("{what},{kept} {}: recall {:.3}", way.name, way.recall()), &way.sample);
    }
    let ours = |case, name: &str| ways.iter().find(|way| way.case == case && way.name == name).unwrap();
    for (case, _) in FILTERS {
        let [chosen, scan, walk] = OURS.map(|(name, _)| ours(case, name).sample.p50());
        let name = format!("{what}, filter keeping {case}: p50 over that of the better of scan and walk");
        section.goal(&name, chosen / scan.min(walk), 2.0, "");
    }
    if vectors.set != "patches" {
        return;
    }
    let open = ours("all", OURS[0].0);
    section.goal_at_least(&format!("{what}, unfiltered: recall"), open.recall(), 0.97, "");
    let theirs =
        ways.iter().filter(|way| way.case == "all" && way.name.starts_with("qdrant-edge") && way.recall() >= 0.9695);
    if let Some(theirs) = theirs.min_by(|a, b| a.sample.p50().total_cmp(&b.sample.p50())) {
        let name = format!("{what}, unfiltered: p50 over that of {} with recall {:.3}", theirs.name, theirs.recall());
        section.goal(&name, open.sample.p50() / theirs.sample.p50(), 1.0, "");
    }
    section.goal(&format!("{what}, unfiltered: p50 (aim)"), open.sample.p50(), 0.20, " ms");
    let one = ours("1 %", OURS[0].0);
    section.goal(&format!("{what}, filter keeping 1 %: p50"), one.sample.p50(), 0.10, " ms");
    section.goal_at_least(&format!("{what}, filter keeping 1 %: recall"), one.recall(), 1.0, "");
}

fn true_hits(answer: &Answer, last: f32) -> usize {
    answer.hits.iter().filter(|hit| hit.similarity.unwrap() >= last - TOLERANCE).count()
}

/// Asks until the memory knows its recall and has drawn its conclusions, as one in use would have.
fn tune(memory: &Memory, vectors: &Vectors) {
    for number in 0..PROBES {
        memory.ask(&like(vectors.set, vectors.query(QUERIES - 1 - number))).unwrap();
    }
    let (started, sampled) = (Instant::now(), memory.stats().recall_samples);
    let known = || memory.stats().recall_samples - sampled >= 2 * PROBES as u64 && memory.stats().recall >= Some(0.97);
    while !known() && started.elapsed() < TUNING {
        std::thread::sleep(Duration::from_millis(50));
    }
}
