//! Puts until they are on disk, beside the disk alone and the bare database.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ecps_memory::{Memory, Record};
use rusqlite::Connection;

use super::vectors::Vectors;
use super::{open, timed};
use crate::support::{Sample, Section};

const BATCH: usize = 64;
/// Batches under way at a time.
const ABREAST: usize = 4;
const SINGLES: usize = 500;
/// What a single record comes to on disk, about.
const BYTES: usize = 1500;

/// Fills a memory with all of the vectors, and measures that.
pub(super) fn measure(section: &mut Section, home: &Path, vectors: &Vectors) -> Memory {
    let memory = open(home);
    let bare = rows_alone(home, vectors);
    let took = fill(&memory, vectors);
    let rate = vectors.len() as f64 / took.as_secs_f64();

    let name = format!("batches of {BATCH}, {ABREAST} under way: records/s with all indexes, in thousands");
    section.goal_at_least(&name, rate / 1e3, 25.0, "");
    section.note(format!(
        "{}k records, each with vector, label, place, words and time, put at {rate:.0}/s; bare SQLite took numbers and blobs in \
         transactions of {BATCH} at {bare:.0}/s",
        vectors.len() / 1000
    ));
    memory
}

/// Puts one at a time into a memory that is at rest.
pub(super) fn singles(section: &mut Section, home: &Path, memory: &Memory, vectors: &Vectors) {
    let (mut single, mut disk, mut database) = (Sample::default(), Sample::default(), Sample::default());
    let (plain, mut log) = (plain(&home.join("single.db")), File::create(home.join("log")).unwrap());
    for number in 0..SINGLES {
        let record = Record { namespace: "single".into(), ..vectors.record(number) };
        let embedding = bytes(&record.embedding);
        single.push(timed(|| memory.put(vec![record]).wait().unwrap()).1);
        disk.push(
            timed(|| {
                log.write_all(&[7; BYTES]).unwrap();
                log.sync_data().unwrap();
            })
            .1,
        );
        database.push(timed(|| insert(&plain, number, &embedding)).1);
    }
    section.group();
    section.row(format!("one record put, memory of {}k", vectors.len() / 1000), &single);
    section.row(format!("the disk alone: {BYTES} bytes appended, fdatasync"), &disk);
    section.row("bare SQLite: one row of a number and a blob, synced", &database);
    section.goal("durable single put: p50 over the disk's own", single.p50() - disk.p50(), 0.25, " ms");
}

/// Puts all there are, and says how long that took without making them.
pub(super) fn fill(memory: &Memory, vectors: &Vectors) -> Duration {
    put(memory, vectors.len(), |number| vectors.record(number))
}

/// Puts `count` records, a thousand batches made before each stretch that counts.
pub(super) fn put(memory: &Memory, count: usize, record: impl Fn(usize) -> Record) -> Duration {
    let mut took = Duration::ZERO;
    let mut numbers = 0..count;
    loop {
        let batches: Vec<Vec<Record>> = (0..1000)
            .map(|_| numbers.by_ref().take(BATCH).map(&record).collect())
            .filter(|batch: &Vec<Record>| !batch.is_empty())
            .collect();
        if batches.is_empty() {
            return took;
        }
        let started = Instant::now();
        let mut under_way = VecDeque::new();
        for batch in batches {
            under_way.push_back(memory.put(batch));
            if under_way.len() == ABREAST {
                drop(under_way.pop_front().unwrap().wait().unwrap());
            }
        }
        under_way.into_iter().for_each(|reply| drop(reply.wait().unwrap()));
        took += started.elapsed();
    }
}

/// Rows per second of a bare database, in transactions of as many.
fn rows_alone(home: &Path, vectors: &Vectors) -> f64 {
    let plain = plain(&home.join("plain.db"));
    let rows: Vec<Vec<u8>> = vectors.rows.chunks(vectors.dimension).map(bytes).take(vectors.len() / 4).collect();
    let started = Instant::now();
    for (number, batch) in rows.chunks(BATCH).enumerate() {
        plain.execute_batch("BEGIN IMMEDIATE").unwrap();
        batch.iter().zip(number * BATCH..).for_each(|(row, number)| insert(&plain, number, row));
        plain.execute_batch("COMMIT").unwrap();
    }
    rows.len() as f64 / started.elapsed().as_secs_f64()
}

fn plain(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let mode = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE row (number INTEGER PRIMARY KEY, value BLOB)";
    connection.execute_batch(mode).unwrap();
    connection
}

fn insert(connection: &Connection, number: usize, value: &[u8]) {
    connection.prepare_cached("INSERT INTO row VALUES (?1, ?2)").unwrap().execute((number as i64, value)).unwrap();
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
