//! Half a million records: what they take of this machine's memory, and how they are found beside other stores.

use std::path::Path;
use std::process::{Command, Stdio};

use super::vectors::Vectors;
use super::{durable, likeness, open, resident, settle};
use crate::support::{self, Section};

const RECORDS: usize = 500_000;

pub(crate) fn measure_large() -> Section {
    let mut section = Section::begin(
        "As bench memory, over half a million patches. Memory is what a process of its own holds once all are in the graph, less \
         what it held with an empty memory; pages of the file, which the system takes back when it needs them, do not count.",
    );
    let Some(patches) = Vectors::load("patches", RECORDS) else {
        section.note("the vectors are not there: `tools/bench_vectors` makes them");
        return section;
    };
    let home = tempfile::tempdir().unwrap();
    let filled = Command::new(support::this_program())
        .args(["as-peer", "memory-large"])
        .arg(home.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let told = String::from_utf8(filled.stdout).unwrap();
    let [bytes, rate, seconds] =
        <[f64; 3]>::try_from(told.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<_>>())
            .unwrap_or_else(|_| panic!("it told '{told}'"));
    let own = (RECORDS * patches.dimension * 4) as f64;
    section.goal("memory over the f32 vectors' own bytes", bytes / own, 1.3, "");
    section.note(format!(
        "{} MiB for {RECORDS} records, put at {rate:.0}/s, in the graph {seconds:.0} s later",
        bytes as u64 >> 20
    ));
    likeness::measure(&mut section, &open(home.path()), &patches);
    section
}

/// Fills a memory and tells the bytes it takes, records put per second, and seconds until the graph was there.
pub(crate) fn be_large(home: &str) {
    let memory = open(Path::new(home));
    let rest = resident::own();
    let took = {
        let patches = Vectors::load("patches", RECORDS).unwrap();
        durable::fill(&memory, &patches)
    };
    let built = settle(&memory);
    let bytes = resident::own() - rest;
    println!("{bytes} {} {}", RECORDS as f64 / took.as_secs_f64(), built.as_secs_f64());
}
