//! How late a tick of 100 Hz comes in a process in which four write to a memory and four read from it.

use std::thread;
use std::time::{Duration, Instant};

use ecps_memory::{Likeness, Memory, Options, Query, Record, uuid_ids};

use crate::support::{Sample, Section, sleep_until};

const TICK: Duration = Duration::from_millis(10);
const CROWDED: Duration = Duration::from_secs(30);
const ALONE: Duration = Duration::from_secs(10);
const MODEL: &str = "crowd";

pub(crate) fn measure(section: &mut Section) {
    let folder = tempfile::tempdir().unwrap();
    let memory = &Memory::open(&folder.path().join("memory.db"), Options::default(), uuid_ids()).unwrap();
    let alone = ticks(ALONE);
    let until = Instant::now() + CROWDED;
    let going = &|| Instant::now() < until;
    let (crowded, kept, asked) = thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || write(memory, writer, going))).collect();
        let readers: Vec<_> = (0..4).map(|reader| scope.spawn(move || read(memory, reader, going))).collect();
        let crowded = ticks(CROWDED);
        let sum =
            |threads: Vec<thread::ScopedJoinHandle<'_, u64>>| threads.into_iter().map(|t| t.join().unwrap()).sum();
        let (kept, asked): (u64, u64) = (sum(writers), sum(readers));
        (crowded, kept, asked)
    });
    let stats = memory.stats();
    assert_eq!((stats.records, stats.queries, stats.refused), (kept, asked, 0), "{}", stats.last_refusal);
    section.group();
    section.row("a tick of 100 Hz is late by, beside 4 writers and 4 readers in its process", &crowded);
    section.row("a tick with nobody beside it", &alone);
    section.goal("p99 of the tick's jitter", crowded.p99(), 10.0, " ms");
    section
        .note(format!("meanwhile {kept} records were kept, each on disk, and {asked} queries answered; none refused"));
}

fn ticks(span: Duration) -> Sample {
    let mut late = Sample::default();
    let start = Instant::now();
    for tick in 1..=(span.as_millis() / TICK.as_millis()) as u32 {
        let due = start + TICK * tick;
        sleep_until(due);
        late.push(due.elapsed());
    }
    late
}

/// Records kept.
fn write(memory: &Memory, writer: u32, going: &dyn Fn() -> bool) -> u64 {
    let mut kept = 0;
    while going() {
        let one = |i: u64| Record {
            model_id: MODEL.into(),
            embedding: vec![1.0, writer as f32, (kept + i) as f32],
            ..Record::default()
        };
        kept += memory.put((0..4).map(one).collect()).wait().unwrap().len() as u64;
    }
    kept
}

/// Queries answered.
fn read(memory: &Memory, reader: u32, going: &dyn Fn() -> bool) -> u64 {
    let mut asked = 0;
    while going() {
        let likeness = Some(Likeness { model_id: MODEL.into(), embedding: vec![1.0, reader as f32, 1.0] });
        memory.query(Query { likeness, ..Query::default() }).wait().unwrap();
        asked += 1;
    }
    asked
}
