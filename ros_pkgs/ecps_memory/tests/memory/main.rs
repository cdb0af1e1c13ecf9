//! The memory from outside: what it keeps, finds, refuses and survives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod answers_exactly;
mod finds_what_was_asked;
mod forgets_what_it_should;
mod keeps_its_index;
mod keeps_what_was_put;
mod refuses_bad_input;
mod serves_many_at_once;
mod survives_a_full_disk;
mod survives_damage;
mod survives_kill;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecps_core::clock::{ManualClock, Stamp};
use ecps_memory::{Answer, Likeness, Memory, Options, Query, Record, pose_from_parts};
use tempfile::TempDir;

/// A memory file in a folder of its own.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Scratch { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("memory.db")
    }

    fn open(&self) -> Memory {
        open(&self.path())
    }

    /// A connection of somebody else to the same file.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// A clock that stands at 0 until it is moved.
fn options() -> Options {
    Options { clock: Arc::new(ManualClock::default()), ..Options::default() }
}

/// Opens with ids "made-1", "made-2" and so on.
fn open(path: &Path) -> Memory {
    Memory::open(path, options(), made_ids()).unwrap()
}

/// As the memory keeps it: put once, seen once.
fn kept(record: Record) -> Record {
    Record { version: 1, sightings: 1, last_seen: record.time, ..record }
}

fn made_ids() -> impl FnMut() -> String + Send + 'static {
    let mut made = 0;
    move || {
        made += 1;
        format!("made-{made}")
    }
}

/// A record of model "toy" at time 0.
fn record(id: &str, embedding: &[f32]) -> Record {
    Record { id: id.into(), model_id: "toy".into(), embedding: embedding.into(), ..Record::default() }
}

fn at(frame_id: &str, [x, y, z]: [f64; 3], record: Record) -> Record {
    let pose = pose_from_parts([x, y, z], [0.0, 0.0, 0.6, 0.8]).unwrap();
    Record { frame_id: frame_id.into(), pose: Some(pose), ..record }
}

fn when(seconds: i32, record: Record) -> Record {
    Record { time: Stamp::from_parts(seconds, 0), ..record }
}

fn labelled(labels: &[&str], record: Record) -> Record {
    Record { labels: labels.iter().map(|&label| label.into()).collect(), ..record }
}

fn like(embedding: &[f32]) -> Query {
    let likeness = Likeness { model_id: "toy".into(), embedding: embedding.into() };
    Query { likeness: Some(likeness), ..Query::default() }
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.record.id.as_str()).collect()
}
