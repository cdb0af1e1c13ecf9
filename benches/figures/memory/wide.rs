//! A query over 10,000 vectors of 512 dimensions through the service, beside a bare service with the same request and an
//! answer of the same size, and the scan by itself.

use std::time::{Duration, Instant};

use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::r2r::ecps_msgs::srv::{PutMemory, QueryMemory};
use ecps_ros::{Client, Node};
use ecps_testing::{Dice, Process, Ros};

use crate::peers;
use crate::support::{self, Sample, Section, WARM_UP};

const RECORDS: usize = 10_000;
const DIMENSION: usize = 512;
/// Vectors lie around so many centres.
const CENTRES: usize = 100;
const QUERIES: usize = 2000;
const HITS: u32 = 10;
const BATCH: usize = 128;
const NAME: &str = "wide";
const PATIENCE: Duration = Duration::from_secs(10);

/// The bare service.
pub(crate) fn stage(ros: &Ros) -> Process {
    peers::start(ros, &["echo", "/echo/wide", &HITS.to_string(), &DIMENSION.to_string()])
}

/// The clients, made before the driver's node spins.
pub(crate) struct Clients {
    put: Client<PutMemory::Service>,
    query: Client<QueryMemory::Service>,
    echo: Client<QueryMemory::Service>,
}

impl Clients {
    pub(crate) fn new(node: &mut Node<()>) -> Clients {
        Clients {
            put: node.client("/mep_server/put").unwrap(),
            query: node.client("/mep_server/query").unwrap(),
            echo: node.client("/echo/wide").unwrap(),
        }
    }

    /// Adds its rows, goals and notes to a section.
    pub(crate) fn measure(&self, section: &mut Section) {
        let vectors = vectors();
        self.remember(&vectors);
        let [mut remembered, mut echoed, mut scanned] = [const { Vec::new() }; 3];
        let mut agreed = 0;
        for number in 0..WARM_UP + QUERIES {
            // 997 is prime: neighbours do not follow one another.
            let probe = &vectors[number * 997 % RECORDS];
            let request = QueryMemory::Request {
                caller: support::caller(),
                memory_namespace: NAME.into(),
                embedding: probe.clone(),
                model_id: NAME.into(),
                k: HITS,
                min_sim: -1.0,
                ..QueryMemory::Request::default()
            };
            let (answer, time) = timed(|| self.query.call(&request, PATIENCE).unwrap());
            assert_eq!((answer.error_code, answer.hits.len()), (0, HITS as usize), "{}", answer.error_msg);
            remembered.push(time);
            let (answer_of_echo, time) = timed(|| self.echo.call(&request, PATIENCE).unwrap());
            assert_eq!(answer_of_echo.hits.len(), HITS as usize);
            echoed.push(time);
            let (best, time) = timed(|| scan(&vectors, probe));
            scanned.push(time);
            let same = |(hit, found): (f32, &f32)| (hit - found).abs() < 1e-4;
            let all = answer.hits.iter().map(|hit| hit.similarity).zip(&best).all(same);
            agreed += usize::from(number >= WARM_UP && all);
        }
        let [remembered, echoed, scanned] = [remembered, echoed, scanned].map(|times| sample(&times[WARM_UP..]));
        section.group();
        section.row(format!("mep_server, `query` over {RECORDS} × {DIMENSION}"), &remembered);
        section.row("bare r2r service, request and answer of the same sizes", &echoed);
        section.row("f32 scan in the same process, no service", &scanned);
        section.goal(&format!("p99 over {RECORDS} × {DIMENSION}"), remembered.p99(), 5.0, " ms");
        let added = remembered.p50() - echoed.p50() - scanned.p50();
        section.goal("added beyond the bare service and the scan (medians)", added, 1.0, " ms");
        section.note(format!("{agreed} of {QUERIES} answers over {RECORDS} × {DIMENSION} had the scan's similarities"));
    }

    fn remember(&self, vectors: &[Vec<f32>]) {
        for batch in vectors.chunks(BATCH) {
            let record = |vector: &Vec<f32>| MemoryRecord {
                memory_namespace: NAME.into(),
                model_id: NAME.into(),
                embedding: vector.clone(),
                ..MemoryRecord::default()
            };
            let request = PutMemory::Request { caller: support::caller(), records: batch.iter().map(record).collect() };
            let response = self.put.call(&request, PATIENCE).unwrap();
            assert_eq!(response.error_code, 0, "{}", response.error_msg);
        }
    }
}

/// Unit vectors around seeded centres.
fn vectors() -> Vec<Vec<f32>> {
    let mut dice = Dice::new(512);
    let mut uniform = || (dice.below(1 << 24) as f32 / (1 << 23) as f32) - 1.0;
    let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| (0..DIMENSION).map(|_| uniform()).collect()).collect();
    let around = |centre: &Vec<f32>, noise: &mut dyn FnMut() -> f32| {
        let vector: Vec<f32> = centre.iter().map(|value| value + 0.8 * noise()).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.into_iter().map(|value| value / length).collect()
    };
    (0..RECORDS).map(|number| around(&centres[number % CENTRES], &mut uniform)).collect()
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

/// The greatest similarities: a dot product each, 16 sums side by side, as the compiler turns into vector instructions.
fn scan(vectors: &[Vec<f32>], probe: &[f32]) -> Vec<f32> {
    let dot = |vector: &Vec<f32>| {
        let mut sums = [0.0_f32; 16];
        for (a, b) in vector.as_chunks::<16>().0.iter().zip(probe.as_chunks::<16>().0) {
            for lane in 0..16 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        sums.iter().sum::<f32>()
    };
    let mut found: Vec<f32> = vectors.iter().map(dot).collect();
    found.select_nth_unstable_by(HITS as usize, |a, b| b.total_cmp(a));
    found.truncate(HITS as usize);
    found.sort_unstable_by(|a, b| b.total_cmp(a));
    found
}
