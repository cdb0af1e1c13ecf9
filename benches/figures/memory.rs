//! The memory: through its service beside a bare one, and alone beside other vector stores, the disk and the bare database.

mod crowd;
mod durable;
mod killed;
mod large;
mod likeness;
mod resident;
mod service;
mod stores;
mod stream;
mod vectors;

use std::path::Path;
use std::time::{Duration, Instant};

use ecps_memory::{Likeness, Memory, Options, Query, uuid_ids};

use crate::support::Section;
use vectors::Vectors;

pub(crate) use killed::be_killed;
pub(crate) use large::{be_large, measure_large};
pub(crate) use service::stage;

/// Hits of a query.
const HITS: u32 = 10;
/// How much less like than the last true hit one may be that still counts.
const TOLERANCE: f32 = 1e-4;

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(
        "First from calling `query` of `mep_server` to having its 10 hits. Then the library alone, asked on the calling thread: \
         from a query to its 10 hits, rows read from disk and checked; a hit is true that is as like as the last of the true \
         ones, within 1e-4. Peers are asked in turn with it, 20 queries at a time, over the same vectors: 8 × 8 × 3 patches of \
         scikit-learn's two sample photos (192 dimensions), and clusters (384). A filter keeps the records that carry a label. \
         Then from a put to its acknowledgement.",
    );
    service::measure(&mut section);
    crowd::measure(&mut section);
    match Vectors::load("patches", 100_000) {
        Some(patches) => {
            let home = tempfile::tempdir().unwrap();
            let memory = durable::measure(&mut section, home.path(), &patches);
            likeness::measure(&mut section, &memory, &patches);
            durable::singles(&mut section, home.path(), &memory, &patches);
            drop(memory);
            killed::measure(&mut section, home.path(), &patches);
        }
        None => section
            .note("the vectors are not there, and nothing was looked for in them: `tools/bench_vectors` makes them"),
    }
    if let Some(clusters) = Vectors::load("clusters", 50_000) {
        let home = tempfile::tempdir().unwrap();
        let memory = open(home.path());
        durable::fill(&memory, &clusters);
        likeness::measure(&mut section, &memory, &clusters);
    }
    stream::measure(&mut section);
    section
}

/// The memory in a folder, which builds its graphs on two threads.
fn open(home: &Path) -> Memory {
    let options = Options { graph_threads: 2, ..Options::default() };
    Memory::open(&home.join("memory.db"), options, uuid_ids()).unwrap()
}

/// What is like `embedding`, however little.
fn like(model_id: &str, embedding: &[f32]) -> Query {
    let likeness = Likeness { model_id: model_id.into(), embedding: embedding.to_vec() };
    Query { likeness: Some(likeness), k: HITS, min_sim: -1.0, ..Query::default() }
}

/// Waits until every record is in the graph.
fn settle(memory: &Memory) -> Duration {
    let started = Instant::now();
    while memory.stats().unindexed > 0 || memory.stats().indexed == 0 {
        assert!(started.elapsed() < Duration::from_secs(600), "{:?}", memory.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let value = work();
    (value, started.elapsed())
}
