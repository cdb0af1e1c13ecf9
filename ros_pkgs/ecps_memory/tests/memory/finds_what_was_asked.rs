use ecps_core::clock::Stamp;
use ecps_memory::{Likeness, Memory, Place, Query, Record};
use nalgebra::Point3;

use crate::{Scratch, at, ids, labelled, like, record, when};

/// Asks without likeness: newest first.
fn found(memory: &Memory, query: Query) -> Vec<String> {
    let answer = memory.query(query).wait().unwrap();
    assert!(answer.hits.iter().all(|hit| hit.similarity.is_none()));
    ids(&answer).into_iter().map(String::from).collect()
}

#[test]
fn a_time_window_includes_both_its_ends() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put((1..=5).map(|s| when(s, record(&format!("t{s}"), &[1.0]))).collect()).wait().unwrap();
    let window = |from: Option<i32>, to: Option<i32>| {
        let stamp = |s: Option<i32>| s.map(|s| Stamp::from_parts(s, 0));
        found(&memory, Query { not_before: stamp(from), not_after: stamp(to), ..Query::default() })
    };
    assert_eq!(window(Some(2), Some(4)), ["t4", "t3", "t2"]);
    assert_eq!(window(Some(4), None), ["t5", "t4"]);
    assert_eq!(window(None, Some(1)), ["t1"]);
    assert_eq!(window(None, None).len(), 5);
    assert_eq!(window(Some(6), None), [""; 0]);
}

#[test]
fn a_place_is_a_ball_in_one_frame() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let put = vec![
        at("map", [3.0, 4.0, 0.0], record("edge", &[1.0])),
        at("map", [3.0, 4.0, 0.1], record("outside", &[1.0])),
        at("odom", [0.0, 0.0, 0.0], record("other frame", &[1.0])),
        Record { frame_id: "map".into(), ..record("nowhere", &[1.0]) },
    ];
    memory.put(put).wait().unwrap();
    let near = |frame_id: &str, radius| {
        let place = Place::ball(frame_id, Point3::origin(), radius);
        found(&memory, Query { place: Some(place), ..Query::default() })
    };
    assert_eq!(near("map", 5.0), ["edge"]);
    assert_eq!(near("map", 6.0), ["edge", "outside"]);
    assert_eq!(near("odom", 1.0), ["other frame"]);
    assert_eq!(near("base", 100.0), [""; 0], "a frame nobody used");
}

#[test]
fn all_labels_asked_for_must_be_there() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let put = vec![
        when(3, labelled(&["cup", "red", "cup"], record("red cup", &[1.0]))),
        when(2, labelled(&["cup"], record("cup", &[1.0]))),
        when(1, record("bare", &[1.0])),
    ];
    memory.put(put).wait().unwrap();
    let with = |labels: &[&str]| {
        found(&memory, Query { labels: labels.iter().map(|&l| l.into()).collect(), ..Query::default() })
    };
    assert_eq!(with(&["cup"]), ["red cup", "cup"]);
    assert_eq!(with(&["red", "cup"]), ["red cup"]);
    assert_eq!(with(&["cu"]), [""; 0]);
    assert_eq!(with(&[]), ["red cup", "cup", "bare"]);
    memory.delete("", vec!["red cup".into()]).wait().unwrap();
    assert_eq!(with(&["red"]), [""; 0]);
    assert_eq!(with(&["cup"]), ["cup"]);
}

#[test]
fn only_what_is_like_enough_is_found_best_first() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let angles = [0.0_f32, 30.0, 60.0, 90.0, 180.0];
    let vector = |degrees: f32| [degrees.to_radians().cos() * 7.0, degrees.to_radians().sin() * 7.0];
    memory.put(angles.map(|a| record(&a.to_string(), &vector(a))).to_vec()).wait().unwrap();
    let at_least = |min_sim| memory.query(Query { min_sim, ..like(&[0.5, 0.0]) }).wait().unwrap();
    assert_eq!(ids(&at_least(1.0)), ["0"], "a vector reaches likeness 1 with itself");
    assert_eq!(ids(&at_least(0.7)), ["0", "30"]);
    assert_eq!(ids(&at_least(0.49)), ["0", "30", "60"]);
    let all = at_least(-1.0);
    assert_eq!(ids(&all), ["0", "30", "60", "90", "180"]);
    let similarity = |i: usize| all.hits[i].similarity.unwrap();
    assert!((similarity(1) - 0.8660254).abs() < 1e-6 && (similarity(4) + 1.0).abs() < 1e-6);
}

#[test]
fn k_cuts_the_list_and_the_total_says_how_much() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put((0..30).map(|i| when(i, record(&format!("{i:02}"), &[1.0]))).collect()).wait().unwrap();
    let answer = memory.query(Query { k: 3, ..like(&[1.0]) }).wait().unwrap();
    assert_eq!((ids(&answer), answer.total_matched), (vec!["29", "28", "27"], 30));
    let answer = memory.query(Query::default()).wait().unwrap();
    assert_eq!((answer.hits.len(), answer.total_matched), (10, 30));
}

#[test]
fn equally_good_ones_come_newest_first_and_then_by_id() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let put = [("b", 1), ("c", 2), ("a", 1), ("d", 1)].map(|(id, s)| when(s, record(id, &[1.0, 1.0])));
    memory.put(put.to_vec()).wait().unwrap();
    for query in [like(&[2.0, 2.0]), Query::default()] {
        assert_eq!(ids(&memory.query(query.clone()).wait().unwrap()), ["c", "a", "b", "d"]);
        assert_eq!(ids(&memory.query(Query { k: 2, ..query }).wait().unwrap()), ["c", "a"]);
    }
}

#[test]
fn vectors_of_two_models_are_never_compared() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let other = Record { model_id: "other".into(), ..record("theirs", &[1.0, 0.0]) };
    memory.put(vec![record("ours", &[1.0, 0.0]), when(1, other)]).wait().unwrap();
    assert_eq!(ids(&memory.query(like(&[1.0, 0.0])).wait().unwrap()), ["ours"]);
    let unknown = Likeness { model_id: "third".into(), embedding: vec![1.0, 0.0] };
    let answer = memory.query(Query { likeness: Some(unknown), ..Query::default() }).wait().unwrap();
    assert_eq!((answer.hits.len(), answer.total_matched), (0, 0));
    assert_eq!(found(&memory, Query::default()), ["theirs", "ours"], "without likeness, all models");

    let error = memory.query(like(&[1.0, 0.0, 0.0])).wait().unwrap_err();
    let sentence = "embedding has 3 elements, and the vectors of model 'toy' in namespace 'default' have 2";
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn namespaces_never_meet() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let there = Record { namespace: "there".into(), ..record("x", &[1.0]) };
    memory.put(vec![record("x", &[1.0]), there]).wait().unwrap();
    assert_eq!(memory.stats().records, 2, "one id in two namespaces is two records");
    for (namespace, expected) in [("", 1), ("default", 1), ("there", 1), ("nowhere", 0)] {
        let query = Query { namespace: namespace.into(), ..like(&[1.0]) };
        assert_eq!(memory.query(query).wait().unwrap().total_matched, expected, "{namespace}");
    }
    assert_eq!(memory.delete("there", vec!["x".into()]).wait(), Ok(1));
    assert!(memory.get("", "x").wait().is_ok());
}

#[test]
fn all_conditions_hold_at_once() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let good = || labelled(&["door"], when(5, at("map", [1.0, 0.0, 0.0], record("good", &[1.0, 0.0]))));
    let put = vec![
        good(),
        when(9, Record { id: "late".into(), ..good() }),
        at("map", [9.0, 0.0, 0.0], Record { id: "far".into(), ..good() }),
        labelled(&[], Record { id: "bare".into(), ..good() }),
        Record { id: "unlike".into(), embedding: vec![0.0, 1.0], ..good() },
    ];
    memory.put(put).wait().unwrap();
    let query = Query {
        not_before: Some(Stamp::from_parts(4, 0)),
        not_after: Some(Stamp::from_parts(6, 0)),
        place: Some(Place::ball("map", Point3::origin(), 2.0)),
        labels: vec!["door".into()],
        ..like(&[1.0, 0.1])
    };
    let answer = memory.query(query).wait().unwrap();
    assert_eq!((ids(&answer), answer.total_matched), (vec!["good"], 1));
}
