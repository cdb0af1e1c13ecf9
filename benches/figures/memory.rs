//! A query over 2,726 places through `mep_server`, beside a bare service and a naive scan.

mod crowd;
mod wide;

use std::time::{Duration, Instant};

use ecps_perception::embed::scan::{DIMENSION, MODEL_ID};
use ecps_ros::Client;
use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::r2r::ecps_msgs::srv::{PutMemory, QueryMemory};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Sample, Scans, Section, WARM_UP};

const QUERIES: usize = 3000;
const HITS: u32 = 10;
const BATCH: usize = 128;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("mep_server", &[]),
        peers::start(ros, &["echo", "/echo/query", &HITS.to_string(), &DIMENSION.to_string()]),
        wide::stage(ros),
    ]
}

pub(crate) fn measure() -> Section {
    let scans = Scans::load();
    let places = scans.embeddings();
    let count = places.len();
    let mut section = Section::begin(format!(
        "From calling `query` to having its {HITS} hits, over {count} places of {DIMENSION} dimensions ({}), one caller, \
         one call at a time, memory, echo and scan in turn; any similarity counts, so that every answer is full.",
        scans.origin
    ));
    let mut node = support::node();
    let put = node.client::<PutMemory::Service>("/mep_server/put").unwrap();
    let query = node.client::<QueryMemory::Service>("/mep_server/query").unwrap();
    let echo = node.client::<QueryMemory::Service>("/echo/query").unwrap();
    let wide = wide::Clients::new(&mut node);
    let _spinning = node.spin_in_background(());

    // Discovery is over when both have answered once.
    let anything = QueryMemory::Request { caller: support::caller(), k: 1, ..QueryMemory::Request::default() };
    [&query, &echo].into_iter().for_each(|service| drop(service.call(&anything, PATIENCE).unwrap()));
    let started = Instant::now();
    remember(&put, &places);
    let put_seconds = started.elapsed().as_secs_f64();

    let [mut remembered, mut echoed, mut naive] = [const { Vec::new() }; 3];
    let mut agreed = 0;
    for number in 0..WARM_UP + QUERIES {
        // 997 is prime: neighbours in the recording do not follow one another.
        let probe = &places[number * 997 % count];
        let request = QueryMemory::Request {
            caller: support::caller(),
            embedding: probe.clone(),
            model_id: MODEL_ID.into(),
            k: HITS,
            min_sim: -1.0,
            ..QueryMemory::Request::default()
        };
        let (answer, time) = timed(|| query.call(&request, PATIENCE).unwrap());
        assert_eq!(answer.error_code, 0, "{}", answer.error_msg);
        remembered.push(time);
        let (answer_of_echo, time) = timed(|| echo.call(&request, PATIENCE).unwrap());
        assert_eq!(answer_of_echo.hits.len(), HITS as usize);
        echoed.push(time);
        let (best, time) = timed(|| scan(&places, probe));
        naive.push(time);
        let same = |(hit, found): (&f32, &(f32, usize))| (hit - found.0).abs() < 2e-3;
        let similarities: Vec<f32> = answer.hits.iter().map(|hit| hit.similarity).collect();
        agreed +=
            usize::from(number >= WARM_UP && similarities.iter().zip(&best).filter(|pair| same(*pair)).count() == 10);
    }
    let [remembered, echoed, naive] = [remembered, echoed, naive].map(|times| sample(&times[WARM_UP..]));
    section.row("mep_server, `query`", &remembered);
    section.row("bare r2r service with an answer of the same size", &echoed);
    section.row("naive f32 scan in the same process, no service", &naive);
    section.goal("p99", remembered.p99(), 5.0, " ms");
    section.note(format!("{agreed} of {QUERIES} answers had the similarities that the naive scan found"));
    section.note(format!("the {count} places were put in batches of {BATCH} and on disk after {put_seconds:.2} s"));
    wide.measure(&mut section);
    crowd::measure(&mut section);
    section
}

fn remember(put: &Client<PutMemory::Service>, places: &[Vec<f32>]) {
    for (batch, places) in places.chunks(BATCH).enumerate() {
        let record = |(number, place): (usize, &Vec<f32>)| {
            let mut record = MemoryRecord { model_id: MODEL_ID.into(), embedding: place.clone(), ..Default::default() };
            // A tenth of a second apart, as recorded.
            let nanos = 1_000_000_000 + (batch * BATCH + number) as i64 * 100_000_000;
            record.header.stamp = ecps_ros::time(ecps_core::clock::Stamp(nanos));
            record
        };
        let mut caller = support::caller();
        caller.sequence = batch as u64 + 1;
        let records = places.iter().enumerate().map(record).collect();
        let response = put.call(&PutMemory::Request { caller, records }, PATIENCE).unwrap();
        assert_eq!(response.error_code, 0, "{}", response.error_msg);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let value = work();
    (value, started.elapsed())
}

fn sample(times: &[Duration]) -> Sample {
    let mut sample = Sample::default();
    times.iter().for_each(|time| sample.push(*time));
    sample
}

/// What anyone would write first.
fn scan(places: &[Vec<f32>], probe: &[f32]) -> Vec<(f32, usize)> {
    let mut found: Vec<(f32, usize)> = places
        .iter()
        .enumerate()
        .map(|(index, place)| (place.iter().zip(probe).map(|(a, b)| a * b).sum(), index))
        .collect();
    found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(HITS as usize);
    found
}
