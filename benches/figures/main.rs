//! Every figure of the README, each measured beside its peer in the same run. `make bench`, or one: `make bench BENCH=eap`.
//!
//! A bench has two sides. `stage` starts the nodes under measurement and the bare r2r peers, each a process of its own;
//! `measure` then runs in another process of the same DDS domain, sends to nodes and peers in turn, so that whatever the
//! machine does hits both, and appends what it found to `benches/RESULTS.md`. Goals are reported, and not enforced:
//! times on a shared machine fail nobody's build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

mod consensus;
mod eap;
mod end_to_end;
mod journal;
mod ltp;
mod memory;
mod node;
mod peers;
mod perception;
mod support;
mod swarm;
mod trust;

use std::time::Duration;

use ecps_testing::{Process, Ros};

use crate::support::Section;

/// Within which one bench is over.
const LIMIT: Duration = Duration::from_secs(1800);

struct Bench {
    name: &'static str,
    stage: fn(&Ros) -> Vec<Process>,
    measure: fn() -> Section,
}

const BENCHES: [Bench; 10] = [
    Bench { name: "node", stage: node::stage, measure: node::measure },
    Bench { name: "eap", stage: eap::stage, measure: eap::measure },
    Bench { name: "journal", stage: journal::stage, measure: journal::measure },
    Bench { name: "memory", stage: memory::stage, measure: memory::measure },
    Bench { name: "ltp", stage: ltp::stage, measure: ltp::measure },
    Bench { name: "perception", stage: perception::stage, measure: perception::measure },
    Bench { name: "end_to_end", stage: end_to_end::stage, measure: end_to_end::measure },
    Bench { name: "consensus", stage: consensus::stage, measure: consensus::measure },
    Bench { name: "swarm", stage: swarm::stage, measure: swarm::measure },
    Bench { name: "trust", stage: trust::stage, measure: trust::measure },
];

/// By name alone: it takes a quarter of an hour.
const MEMORY_LARGE: Bench = Bench { name: "memory_large", stage: |_| Vec::new(), measure: memory::measure_large };

fn named(name: &str) -> &'static Bench {
    BENCHES.iter().chain([&MEMORY_LARGE]).find(|bench| bench.name == name).unwrap_or_else(|| {
        let known = BENCHES.map(|bench| bench.name).join(", ");
        eprintln!("there is no bench '{name}'; there are {known}");
        std::process::exit(2)
    })
}

fn main() {
    // Cargo itself adds --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["as-peer", role @ ("ltp-source" | "ltp-sink"), way, bytes, rate, count] => {
            ltp::run_as_peer(role, way, bytes, rate, count);
        }
        ["as-peer", "memory-to-be-killed", folder] => memory::be_killed(folder),
        ["as-peer", "memory-large", folder] => memory::be_large(folder),
        ["as-peer", peer @ ..] => peers::run(peer),
        ["as-driver", name] => (named(name).measure)().publish(name),
        [] => BENCHES.iter().for_each(run),
        names => names.iter().map(|name| named(name)).for_each(run),
    }
}

fn run(bench: &Bench) {
    eprintln!("{}: measuring, which takes a minute, and ltp and memory four", bench.name);
    let ros = Ros::new();
    let staged = (bench.stage)(&ros);
    let driver = ros.program(support::this_program(), &["as-driver", bench.name]).finish(LIMIT);
    drop(staged);
    driver.assert_success();
    println!("{}", driver.stdout.join("\n"));
}
