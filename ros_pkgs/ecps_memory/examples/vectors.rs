//! The memory's side of `benches/peers/vectors.py`: the same vectors, queries and filters, and a JSON line per figure.
//!
//! `vectors FOLDER SET COUNT`, after `vectors.py data FOLDER`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ecps_memory::{Likeness, Memory, Options, Query, Record, Way, uuid_ids};

const QUERIES: usize = 300;
const FILTERS: [(&str, usize); 4] = [("0.1 %", 1000), ("1 %", 100), ("10 %", 10), ("50 %", 2)];

fn vectors(path: &Path, dimension: usize) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let numbers: Vec<f32> = bytes.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
    numbers.chunks_exact(dimension).map(<[f32]>::to_vec).collect()
}

fn figure(case: &str, way: Way, times: &[Duration], recall: f64) {
    let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    let (p50, p99) = (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100]);
    eprintln!("{case:>12}: {way:?}, p50 {p50:.3} ms, p99 {p99:.3} ms, recall {recall:.4}");
    println!("{}", serde_json::json!({ "engine": "ecps_memory", "case": case, "times_ms": times, "recall": recall }));
}

/// Resident memory, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, set, count] = arguments.as_slice() else { panic!("vectors FOLDER SET COUNT") };
    let dimension = if set == "patches" { 192 } else { 384 };
    let count: usize = count.parse().unwrap();
    let folder = Path::new(folder);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("memory.db");
    let options = || Options { graph_threads: 2, ..Options::default() };
    let memory = Memory::open(&file, options(), uuid_ids()).unwrap();
    let queries = vectors(&folder.join(format!("{set}.queries.f32")), dimension);

    {
        let rows = vectors(&folder.join(format!("{set}.f32")), dimension);
        let started = Instant::now();
        let one = |(number, row): (usize, &Vec<f32>)| Record {
            model_id: set.clone(),
            embedding: row.clone(),
            labels: FILTERS
                .iter()
                .filter(|(_, step)| number.is_multiple_of(*step))
                .map(|(label, _)| (*label).into())
                .collect(),
            ..Record::default()
        };
        let numbered: Vec<Record> = rows[..count].iter().enumerate().map(one).collect();
        let made = started.elapsed();
        let started = Instant::now();
        let mut under_way = std::collections::VecDeque::new();
        for batch in numbered.chunks(64) {
            under_way.push_back(memory.put(batch.to_vec()));
            if under_way.len() == 4 {
                under_way.pop_front().unwrap().wait().unwrap();
            }
        }
        under_way.into_iter().for_each(|reply| drop(reply.wait().unwrap()));
        let took = started.elapsed().as_secs_f64();
        eprintln!("put in batches of 64: {:.0} records/s (records made in {made:?})", count as f64 / took);
        let mut single = Vec::new();
        for row in rows.iter().take(200) {
            let record = Record {
                namespace: "single".into(),
                model_id: set.clone(),
                embedding: row.clone(),
                ..Record::default()
            };
            let started = Instant::now();
            memory.put(vec![record]).wait().unwrap();
            single.push(started.elapsed());
        }
        single.sort();
        let mut bare = Vec::new();
        let mut log = std::fs::File::create(home.path().join("bare")).unwrap();
        for _ in 0..200 {
            let started = Instant::now();
            std::io::Write::write_all(&mut log, &[7; 1500]).unwrap();
            log.sync_data().unwrap();
            bare.push(started.elapsed());
        }
        bare.sort();
        eprintln!("durable single put: p50 {:?}; write and fdatasync alone: p50 {:?}", single[100], bare[100]);
    }
    let started = Instant::now();
    while memory.stats().indexed < count as u64 {
        std::thread::sleep(Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_secs(900), "{:?}", memory.stats());
    }
    eprintln!("graph built after {:?} more", started.elapsed());
    let own = (count * dimension * 4) as f64;
    eprintln!("resident {} MiB, {:.2} x the f32 vectors", resident() >> 20, resident() as f64 / own);

    let ask = |query: &[f32], labels: &[String], exact| Query {
        likeness: Some(Likeness { model_id: set.clone(), embedding: query.to_vec() }),
        min_sim: -1.0,
        labels: labels.to_vec(),
        exact,
        ..Query::default()
    };
    let cases = [None].into_iter().chain(FILTERS.iter().map(|(label, _)| Some(*label)));
    for case in cases {
        let labels: Vec<String> = case.iter().map(|label| (*label).to_owned()).collect();
        let (mut times, mut found, mut wanted, mut way) = (Vec::new(), 0, 0, Way::NoVector);
        for query in queries.iter().take(QUERIES) {
            let truth = memory.query(ask(query, &labels, true)).wait().unwrap();
            let least = truth.hits.last().unwrap().similarity.unwrap();
            let query = ask(query, &labels, false);
            let started = Instant::now();
            let answer = memory.query(query).wait().unwrap();
            times.push(started.elapsed());
            found += answer.hits.iter().filter(|hit| hit.similarity.unwrap() >= least - 1e-4).count();
            wanted += truth.hits.len();
            way = answer.way;
        }
        figure(case.unwrap_or("all"), way, &times, found as f64 / wanted as f64);
    }
    drop(memory);
    let started = Instant::now();
    let memory = Memory::open(&file, options(), uuid_ids()).unwrap();
    memory.query(ask(&queries[0], &[], true)).wait().unwrap();
    eprintln!("opened, and the first exact answer after {:?}; {:?}", started.elapsed(), memory.graph_file());
    drop(memory);
    std::fs::remove_file(home.path().join("memory.db.graph")).unwrap();
    let started = Instant::now();
    let memory = Memory::open(&file, options(), uuid_ids()).unwrap();
    memory.query(ask(&queries[0], &[], true)).wait().unwrap();
    eprintln!("without its graph file: {:?}", started.elapsed());
}
