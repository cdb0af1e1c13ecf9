use std::collections::BTreeMap;

use ecps_core::clock::Stamp;
use ecps_memory::{Place, Query, Record};
use nalgebra::Point3;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Scratch, at, labelled, like, record, when};

const LABELS: [&str; 3] = ["cup", "door", "red"];

/// One put or one delete of one of a few ids, so that replacing happens a lot.
#[derive(Debug, Clone)]
enum Step {
    Put(Box<Record>),
    Delete(String),
}

fn vector(elements: usize) -> impl Strategy<Value = Vec<f32>> {
    // Few values, so that equal similarities happen too.
    vec(prop_oneof![(-2_i8..=2).prop_map(f32::from), -1.0_f32..1.0], elements)
        .prop_filter("not all zero", |v| v.iter().any(|v| *v != 0.0))
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..40_u8, vector(19), 0..10_i32, -3.0..3.0_f64, vec(0..3_usize, 0..3), any::<bool>());
    let put = put.prop_map(|(id, vector, seconds, x, labels, placed)| {
        let labels: Vec<&str> = labels.into_iter().map(|i| LABELS[i]).collect();
        let bare = labelled(&labels, when(seconds, record(&id.to_string(), &vector)));
        Step::Put(Box::new(if placed { at("map", [x, 0.0, 0.0], bare) } else { bare }))
    });
    prop_oneof![4 => put, 1 => (0..40_u8).prop_map(|id| Step::Delete(id.to_string()))]
}

fn question() -> impl Strategy<Value = Query> {
    let parts =
        (vector(19), any::<bool>(), 1..8_u32, -1.0_f32..1.0, 0..10_i32, 0..10_i32, vec(0..3_usize, 0..2), 0.0..6.0_f64);
    parts.prop_map(|(vector, likeness, k, min_sim, a, b, labels, radius)| Query {
        likeness: like(&vector).likeness.filter(|_| likeness),
        k,
        min_sim,
        not_before: (a > 2).then(|| Stamp::from_parts(a.min(b), 0)),
        not_after: (b > 2).then(|| Stamp::from_parts(a.max(b), 0)),
        labels: labels.into_iter().map(|i| LABELS[i].to_owned()).collect(),
        place: (radius > 2.0).then(|| Place::ball("map", Point3::origin(), radius)),
        ..Query::default()
    })
}

/// The similarity in double precision, or None where a condition is not met.
fn judge(query: &Query, record: &Record) -> Option<f64> {
    let in_place = |place: &Place| record.pose.is_some_and(|pose| place.shape.contains(pose.translation.vector.into()));
    let passes = query.not_before.is_none_or(|t| record.time >= t)
        && query.not_after.is_none_or(|t| record.time <= t)
        && query.place.as_ref().is_none_or(in_place)
        && query.labels.iter().all(|label| record.labels.contains(label));
    let Some(likeness) = &query.likeness else { return passes.then_some(0.0) };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (a, b) = (&likeness.embedding, &record.embedding);
    passes.then(|| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ecps_core::campaign::rounds(24, 2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_agree_with_a_naive_search_in_double_precision(steps in vec(step(), 1..80), questions in vec(question(), 8), reopen: bool) {
        const ROUNDING: f64 = 2e-4;
        let scratch = Scratch::new();
        let mut memory = scratch.open();
        let mut reference = BTreeMap::new();
        // Not awaited one by one, so that they are committed in groups of any size.
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Put(record) => {
                    puts.push(memory.put(vec![*record.clone()]));
                    reference.insert(record.id.clone(), *record);
                }
                Step::Delete(id) => {
                    let there = reference.remove(&id).is_some();
                    deletes.push((memory.delete("", vec![id]), u32::from(there)));
                }
            }
        }
        puts.into_iter().for_each(|reply| assert!(reply.wait().is_ok()));
        for (reply, there) in deletes {
            prop_assert_eq!(reply.wait(), Ok(there));
        }
        if reopen {
            drop(memory);
            memory = scratch.open();
        }
        for query in questions {
            let answer = memory.query(query.clone()).wait().unwrap();
            let min_sim = if query.likeness.is_some() { query.min_sim.into() } else { f64::NEG_INFINITY };
            let mut judged: Vec<(f64, &Record)> = reference.values().filter_map(|r| Some((judge(&query, r)?, r))).collect();
            judged.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(y.time.cmp(&x.time)).then(x.id.cmp(&y.id)));

            let surely = judged.iter().filter(|(s, _)| *s >= min_sim + ROUNDING).count() as u64;
            let perhaps = judged.iter().filter(|(s, _)| *s >= min_sim - ROUNDING).count() as u64;
            prop_assert!((surely..=perhaps).contains(&answer.total_matched));
            prop_assert_eq!(answer.hits.len() as u64, answer.total_matched.min(query.k.into()));
            for (hit, (expected, record)) in answer.hits.iter().zip(&judged) {
                let similarity = hit.similarity.map_or(0.0, f64::from);
                prop_assert!((similarity - expected).abs() < ROUNDING, "{similarity} and {expected}");
                let own = judge(&query, &reference[&hit.record.id]).unwrap();
                prop_assert!((similarity - own).abs() < ROUNDING);
                if query.likeness.is_none() {
                    prop_assert_eq!(&hit.record.id, &record.id);
                }
            }
        }
    }
}
