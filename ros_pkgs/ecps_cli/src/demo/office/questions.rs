//! The day's memories, asked by place, by time, by likeness and by all three at once; each answer is held against a look at
//! every memory.

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_perception::embed;
use ecps_perception::node::SensorRos;
use nalgebra::Isometry2;

use super::{Day, Seen, point};
use crate::demo::node::{MemoryRecord, QueryMemory, planar};
use crate::demo::{DemoError, claim, progress};
use crate::report::Answer;

/// About which place.
const ABOUT: &str = "kitchen";
/// How far around it.
const RADIUS_M: f64 = 3.0;
/// How long before and after it was seen on the tour.
const AROUND: Duration = Duration::from_secs(15);
/// Cosine similarity to what was seen there.
const LIKE: f32 = 0.9;
/// What the memory and the look at each of its records may differ by, in cosine similarity.
const ROUNDING: f64 = 1e-4;
/// More than the tour leaves.
const ALL: u32 = 1000;

/// Whether a memory answers a question; none: it is a matter of rounding.
type Look = Box<dyn Fn(&MemoryRecord) -> Option<bool>>;

/// One question: in words, as a request, and as a look at each memory.
struct Question {
    words: String,
    request: QueryMemory::Request,
    answers: Look,
}

impl Day {
    pub(super) fn ask_in_every_way(&mut self, seen: &[Seen]) -> Result<(), DemoError> {
        let Some(about) = seen.iter().find(|seen| seen.place == ABOUT) else {
            return Err(DemoError::Missing(format!("the tour did not see the {ABOUT}")));
        };
        for question in self.questions(about)? {
            let (hits, took) = self.peer.query(question.request)?;
            self.queries.push(took);
            let found: BTreeSet<&str> = hits.iter().map(|hit| hit.record.id.as_str()).collect();
            let answers = &question.answers;
            let of = |wanted: bool| {
                let fitting = self.memories.iter().filter(|record| answers(record) == Some(wanted));
                fitting.map(|record| record.id.as_str()).collect::<BTreeSet<_>>()
            };
            let (right, wrong) = (of(true), of(false));
            let missed = right.difference(&found).count();
            let beside = wrong.intersection(&found).count();
            progress(format!("asked {}: {} of {} memories", question.words, found.len(), self.memories.len()));
            let at = hits.iter().map(|hit| point(&self.place_of(hit))).collect();
            self.claims.push(claim(
                &format!("Memories {}", question.words),
                format!("{} found, {missed} missed, {beside} beside it", found.len()),
                format!("the {} that a look at each finds", right.len()),
                missed == 0 && beside == 0 && !right.is_empty(),
            ));
            self.answers.push(Answer { question: question.words, at });
        }
        Ok(())
    }

    fn questions(&self, about: &Seen) -> Result<[Question; 4], DemoError> {
        let scan = about.scan.clone();
        let when = ecps_ros::stamp(&scan.header.stamp);
        let embedding = embed::scan::describe(&scan.into_plain()).map_err(|e| DemoError::Missing(e.to_string()))?;
        let center = self.origin.inverse() * about.at;
        let (from, to) = (earlier(when, AROUND), Stamp(when.0.saturating_add(nanos(AROUND))));

        // What is remembered from here on is not asked for.
        let last = self.memories.last().map(|record| record.header.stamp.clone()).unwrap_or_default();
        let plain = QueryMemory::Request { k: ALL, min_sim: LIKE, exact: true, not_after: last, ..Default::default() };
        let by_place = move |request: QueryMemory::Request| {
            let mut request = QueryMemory::Request { frame_id: super::FRAME.into(), radius: RADIUS_M, ..request };
            (request.center.x, request.center.y) = (center.translation.x, center.translation.y);
            request
        };
        let by_time = move |request: QueryMemory::Request| QueryMemory::Request {
            not_before: ecps_ros::time(from),
            not_after: ecps_ros::time(to),
            ..request
        };
        let vector = embedding.clone();
        let by_likeness = move |request: QueryMemory::Request| QueryMemory::Request {
            embedding: vector.clone(),
            model_id: embed::scan::MODEL_ID.into(),
            ..request
        };
        let near = move |record: &MemoryRecord| Some(distance(&planar(&record.pose), &center) <= RADIUS_M);
        let then = move |record: &MemoryRecord| {
            let stamp = ecps_ros::stamp(&record.header.stamp);
            Some(from <= stamp && stamp <= to)
        };
        let like = move |record: &MemoryRecord| {
            let similarity = cosine(&record.embedding, &embedding);
            ((similarity - f64::from(LIKE)).abs() > ROUNDING).then_some(similarity > f64::from(LIKE))
        };
        let like_too = like.clone();
        Ok([
            Question {
                words: format!("by place: within {RADIUS_M} m of the {ABOUT}"),
                request: by_place(plain.clone()),
                answers: Box::new(near),
            },
            Question {
                words: format!("by time: {} s around seeing it", AROUND.as_secs()),
                request: by_time(plain.clone()),
                answers: Box::new(then),
            },
            Question {
                words: format!("by likeness: {LIKE} to what was seen there"),
                request: by_likeness(plain.clone()),
                answers: Box::new(like),
            },
            Question {
                words: "by all three at once".into(),
                request: by_likeness(by_time(by_place(plain))),
                answers: Box::new(move |record| {
                    let all = [near(record), then(record), like_too(record)];
                    if all.contains(&Some(false)) {
                        Some(false)
                    } else {
                        all.iter().copied().collect::<Option<Vec<_>>>().map(|_| true)
                    }
                }),
            },
        ])
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// At least a nanosecond after zero, which would mean no bound.
fn earlier(stamp: Stamp, by: Duration) -> Stamp {
    Stamp(stamp.0.saturating_sub(nanos(by)).max(1))
}

fn distance(a: &Isometry2<f64>, b: &Isometry2<f64>) -> f64 {
    (a.translation.vector - b.translation.vector).norm()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
