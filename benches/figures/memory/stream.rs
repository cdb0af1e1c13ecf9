//! Ten minutes of a camera that glides over a photo and pauses, as a robot looks about: what merging of near duplicates keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_memory::{Memory, Merge, Options, Policy, Query, Record, pose_from_parts, uuid_ids};

use super::vectors::folder;
use super::{HITS, like, timed};
use crate::support::{Sample, Section};

const FRAMES: usize = 18_000;
const RATE: f64 = 30.0;
const QUERIES: usize = 300;
/// Pixels of the photo.
const WIDTH: usize = 640;
const HEIGHT: usize = 427;
/// Pixels of a block whose mean is one of a frame's 8 × 8 colours.
const BLOCK: usize = 20;
const VIEW: usize = 8 * BLOCK;
/// Seconds from one point to the next, and those at the end of it that the camera stands.
const LEG: f64 = 10.0;
const PAUSE: f64 = 5.0;
const METRES_PER_PIXEL: f64 = 0.01;
const MERGE: Merge = Merge { similarity: 0.97, within: Duration::from_secs(10), distance: 0.5 };

pub(super) fn measure(section: &mut Section) {
    let Ok(photos) = std::fs::read(folder().join("photos.u8")) else { return };
    let frames: Vec<Record> = (0..FRAMES).map(|number| frame(&photos, number as f64 / RATE, number as u64)).collect();
    let probe =
        |number: usize| frame(&photos, (number as f64 + 0.5) * 600.0 / QUERIES as f64, (FRAMES + number) as u64);
    let probes: Vec<Record> = (0..QUERIES).map(probe).collect();
    let home = tempfile::tempdir().unwrap();
    let open = |name: &str, merge| {
        let options = Options { policy: Policy { merge, ..Policy::default() }, ..Options::default() };
        Memory::open(&home.path().join(name), options, uuid_ids()).unwrap()
    };
    let (merging, whole) = (open("merging.db", Some(MERGE)), open("whole.db", None));
    let put = |memory: &Memory| -> Vec<String> {
        let batch = |frames: &[Record]| memory.put(frames.to_vec()).wait().unwrap();
        frames.chunks(RATE as usize).flat_map(batch).map(|stored| stored.id).collect()
    };
    let (of_frame, frame_ids) = (put(&merging), put(&whole));
    let numbers: BTreeMap<&str, usize> = frame_ids.iter().map(String::as_str).zip(0..).collect();

    let [mut merged, mut kept] = [const { Vec::new() }; 2];
    let mut found = 0;
    for probe in &probes {
        let query = Query { heads_only: true, ..like("camera", &probe.embedding) };
        let (answer, time) = timed(|| merging.ask(&query).unwrap());
        merged.push(time);
        let (truth, time) = timed(|| whole.ask(&Query { exact: true, ..query.clone() }).unwrap());
        kept.push(time);
        let among = |id: &str| answer.hits.iter().any(|hit| hit.record.id == id);
        found += truth.hits.iter().filter(|hit| among(&of_frame[numbers[hit.record.id.as_str()]])).count();
    }
    section.group();
    section.row("10 minutes of a camera at 30 Hz, near duplicates merged", &merged.into_iter().collect::<Sample>());
    section.row("the same with every frame kept", &kept.into_iter().collect::<Sample>());
    let records = merging.stats().records;
    let recall = found as f64 / (QUERIES * HITS as usize) as f64;
    section.goal_at_least("near-duplicate stream: recall", recall, 0.97, "");
    section.goal("near-duplicate stream: records of its frames", records as f64 * 100.0 / FRAMES as f64, 10.0, " %");
    section.note(format!(
        "{FRAMES} frames became {records} records (similarity {}, within {:?} and {} m); of the {HITS} frames that a new view is \
         most like, one counts as found whose record is among the {HITS} hits",
        MERGE.similarity, MERGE.within, MERGE.distance
    ));
}

/// What the camera sees `seconds` into its way, with noise and a drifting exposure.
fn frame(photos: &[u8], seconds: f64, seed: u64) -> Record {
    let [x, y] = position(seconds);
    let exposure = 1.0 + 0.02 * (seconds / 7.0).sin();
    let mut noise = Noise(seed);
    let mut colours = Vec::with_capacity(192);
    for block in 0..64 {
        let [left, top] = [x as usize + block % 8 * BLOCK, y as usize + block / 8 * BLOCK];
        for colour in 0..3 {
            let lines = (top..top + BLOCK).map(|line| (line * WIDTH + left) * 3 + colour);
            let sum: u32 =
                lines.flat_map(|from| (0..BLOCK).map(move |i| from + 3 * i)).map(|at| u32::from(photos[at])).sum();
            colours.push((sum as f64 / (BLOCK * BLOCK) as f64 * exposure + noise.next()) as f32);
        }
    }
    let mean = colours.iter().sum::<f32>() / colours.len() as f32;
    Record {
        model_id: "camera".into(),
        embedding: colours.into_iter().map(|colour| colour - mean).collect(),
        time: Stamp(1_000_000_000 + (seconds * 1e9) as i64),
        topic: "/camera".into(),
        frame_id: "map".into(),
        pose: Some(pose_from_parts([x * METRES_PER_PIXEL, y * METRES_PER_PIXEL, 0.0], [0.0, 0.0, 0.0, 1.0]).unwrap()),
        ..Record::default()
    }
}

/// Upper left corner of the view, pixels.
fn position(seconds: f64) -> [f64; 2] {
    // Points of Roberts's low-discrepancy sequence.
    let point = |leg: f64| {
        let [u, v] = [0.754_877_666, 0.569_840_291].map(|step: f64| (0.5 + step * leg).fract());
        [u * (WIDTH - VIEW - 1) as f64, v * (HEIGHT - VIEW - 1) as f64]
    };
    let leg = (seconds / LEG).floor();
    let share = ((seconds - leg * LEG) / (LEG - PAUSE)).min(1.0);
    let ([from_x, from_y], [to_x, to_y]) = (point(leg), point(leg + 1.0));
    [from_x + share * (to_x - from_x), from_y + share * (to_y - from_y)]
}

/// About normal, with a standard deviation of half a step of 8 bits.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            // SplitMix64.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        (0..3).map(|_| uniform()).sum()
    }
}
