//! A query over 10,000 places through `mep_server`, beside a bare service, the library alone and a naive scan.

use std::time::{Duration, Instant};

use ecps_memory::Record;
use ecps_perception::embed::scan::{DIMENSION, MODEL_ID};
use ecps_ros::Client;
use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::r2r::ecps_msgs::srv::{PutMemory, QueryMemory};
use ecps_testing::{Process, Ros};

use super::{HITS, like, open, timed};
use crate::peers;
use crate::support::{self, Sample, Scans, Section, WARM_UP};

const QUERIES: usize = 3000;
const PLACES: usize = 10_000;
const BATCH: usize = 128;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("mep_server", &[]),
        peers::start(ros, &["echo", "/echo/query", &HITS.to_string(), &DIMENSION.to_string()]),
    ]
}

pub(super) fn measure(section: &mut Section) {
    let scans = Scans::load();
    let places = many(&scans.embeddings());
    let mut node = support::node();
    let put = node.client::<PutMemory::Service>("/mep_server/put").unwrap();
    let query = node.client::<QueryMemory::Service>("/mep_server/query").unwrap();
    let echo = node.client::<QueryMemory::Service>("/echo/query").unwrap();
    let _spinning = node.spin_in_background(());

    // Discovery is over when both have answered once.
    let anything = QueryMemory::Request { caller: support::caller(), k: 1, ..QueryMemory::Request::default() };
    [&query, &echo].into_iter().for_each(|service| drop(service.call(&anything, PATIENCE).unwrap()));
    let started = Instant::now();
    remember(&put, &places);
    let put_seconds = started.elapsed().as_secs_f64();
    let home = tempfile::tempdir().unwrap();
    let library = open(home.path());
    let record = |place: &Vec<f32>| Record { model_id: MODEL_ID.into(), embedding: place.clone(), ..Record::default() };
    for places in places.chunks(BATCH) {
        library.put(places.iter().map(record).collect()).wait().unwrap();
    }

    let [mut remembered, mut echoed, mut asked, mut naive] = [const { Vec::new() }; 4];
    let mut agreed = 0;
    for number in 0..WARM_UP + QUERIES {
        // 997 is prime: neighbours in the recording do not follow one another.
        let probe = &places[number * 997 % PLACES];
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
        let question = like(MODEL_ID, probe);
        let (found, time) = timed(|| library.ask(&question).unwrap());
        assert_eq!(found.hits.len(), HITS as usize);
        asked.push(time);
        let (best, time) = timed(|| scan(&places, probe));
        naive.push(time);
        let same = |(hit, found): (&f32, &(f32, usize))| (hit - found.0).abs() < 2e-3;
        let similarities: Vec<f32> = answer.hits.iter().map(|hit| hit.similarity).collect();
        agreed +=
            usize::from(number >= WARM_UP && similarities.iter().zip(&best).filter(|pair| same(*pair)).count() == 10);
    }
    let sample = |times: &[Duration]| times[WARM_UP..].iter().copied().collect::<Sample>();
    let [remembered, echoed, asked, naive] = [remembered, echoed, asked, naive].map(|times| sample(&times));
    section.row(format!("mep_server, `query` over {PLACES} places of {DIMENSION} dimensions"), &remembered);
    section.row("bare r2r service with an answer of the same size", &echoed);
    section.row("the same query of the library, in the same process", &asked);
    section.row("naive f32 scan in the same process, no service", &naive);
    section.goal("p99 through the service", remembered.p99(), 5.0, " ms");
    let added = remembered.p50() - echoed.p50() - asked.p50();
    section.goal("p50 that the node adds to the bare service and the library's own query", added, 1.0, " ms");
    section.note(format!("{agreed} of {QUERIES} answers had the similarities that the naive scan found"));
    section.note(format!(
        "{PLACES} places: {}, and copies of them with a little noise; put in batches of {BATCH} and on disk after \
         {put_seconds:.2} s",
        scans.origin
    ));
}

/// Copies with noise of a tenth of their length, until there are enough.
fn many(places: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let copy = |number: usize| {
        let place = &places[number % places.len()];
        let wave = |i: usize| ((number * 7919 + i * 104_729) as f32).sin() * 0.141 / (DIMENSION as f32).sqrt();
        let noise = |i| if number < places.len() { 0.0 } else { wave(i) };
        let mut copy: Vec<f32> = place.iter().enumerate().map(|(i, value)| value + noise(i)).collect();
        let length = copy.iter().map(|value| value * value).sum::<f32>().sqrt();
        copy.iter_mut().for_each(|value| *value /= length);
        copy
    };
    (0..PLACES).map(copy).collect()
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
