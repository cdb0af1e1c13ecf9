//! The vectors that all stores hold, as `tools/bench_vectors` left them.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use ecps_core::clock::Stamp;
use ecps_memory::{Record, pose_from_parts};

/// What a filter keeps: a record carries the label when its number is a multiple.
pub(super) const FILTERS: [(&str, usize); 4] = [("0.1 %", 1000), ("1 %", 100), ("10 %", 10), ("50 %", 2)];
pub(super) const QUERIES: usize = 300;

pub(super) struct Vectors {
    pub(super) set: &'static str,
    pub(super) dimension: usize,
    pub(super) rows: Vec<f32>,
    pub(super) queries: Vec<f32>,
}

pub(super) fn folder() -> PathBuf {
    ecps_testing::root().join("target/bench-vectors")
}

impl Vectors {
    /// The first `count` of a set; none where they were never made.
    pub(super) fn load(set: &'static str, count: usize) -> Option<Vectors> {
        let dimension = if set == "patches" { 192 } else { 384 };
        let read = |name: String, count: usize| {
            let mut bytes = vec![0; count * dimension * 4];
            File::open(folder().join(name)).ok()?.read_exact(&mut bytes).ok()?;
            Some(bytes.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect())
        };
        let rows = read(format!("{set}.f32"), count)?;
        let queries = read(format!("{set}.queries.f32"), QUERIES)?;
        Some(Vectors { set, dimension, rows, queries })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() / self.dimension
    }

    pub(super) fn query(&self, number: usize) -> &[f32] {
        &self.queries[number * self.dimension..][..self.dimension]
    }

    /// As a robot would put it: with its time, place, words and labels.
    pub(super) fn record(&self, number: usize) -> Record {
        record(self.set, number, &self.rows[number * self.dimension..][..self.dimension])
    }
}

pub(super) fn record(set: &str, number: usize, embedding: &[f32]) -> Record {
    let labels = FILTERS.iter().filter(|(_, step)| number.is_multiple_of(*step)).map(|(label, _)| (*label).into());
    let at = [(number % 317) as f64 * 0.1, (number / 317) as f64 * 0.1, 0.0];
    Record {
        model_id: set.into(),
        embedding: embedding.to_vec(),
        labels: labels.collect(),
        text: format!("patch {number} of the photos"),
        time: Stamp(1_000_000_000 + number as i64 * 33_000_000),
        frame_id: "map".into(),
        pose: Some(pose_from_parts(at, [0.0, 0.0, 0.0, 1.0]).unwrap()),
        ..Record::default()
    }
}
