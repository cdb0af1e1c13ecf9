use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_memory::{GraphFile, Likeness, Memory, Options, Place, Query, Record, Shape, Way};
use nalgebra::Point3;

use crate::{Scratch, at, ids, labelled, made_ids, options, record, when};

const RECORDS: usize = 3000;

fn wave(number: usize) -> Vec<f32> {
    (0..24).map(|i| ((number * 37 + i * 101) as f32 * 0.37).sin()).collect()
}

fn open(scratch: &Scratch) -> Memory {
    Memory::open(&scratch.path(), Options { graph_from: 1000, ..options() }, made_ids()).unwrap()
}

fn fill(memory: &Memory) {
    for batch in (0..RECORDS).collect::<Vec<_>>().chunks(500) {
        let one = |i: &usize| {
            let place = at("map", [*i as f64, 0.0, 0.0], record(&format!("{i:04}"), &wave(*i)));
            labelled(if i.is_multiple_of(100) { &["rare"] } else { &["common"] }, when(*i as i32, place))
        };
        memory.put(batch.iter().map(one).collect()).wait().unwrap();
    }
}

fn settled(memory: &Memory) {
    let start = Instant::now();
    while memory.stats().indexed != RECORDS as u64 {
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", memory.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ask(number: usize) -> Query {
    let likeness = Likeness { model_id: "toy".into(), embedding: wave(number) };
    Query { likeness: Some(likeness), min_sim: -1.0, ..Query::default() }
}

/// Flips every page of the graph file, and zeroes it: each time that is noticed, answers are exact, and there is a graph
/// again.
#[test]
fn a_graph_file_damaged_anywhere_is_noticed_and_made_again() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    settled(&memory);
    drop(memory);
    let file = scratch.folder.path().join("memory.db.graph");
    let good = std::fs::read(&file).unwrap();
    let memory = open(&scratch);
    assert_eq!(*memory.graph_file(), GraphFile::Whole(RECORDS));
    assert_eq!(memory.query(ask(77)).wait().unwrap().way, Way::Graph);
    assert_eq!(memory.stats().rebuilds, 0, "it was used as it was");
    drop(memory);

    let pages = good.len().div_ceil(4096);
    let step = (pages / ecps_core::campaign::rounds(3, 1000) as usize).max(1);
    for page in (0..pages).step_by(step) {
        for flip in [true, false] {
            // What the last round's memory wrote on closing is the file that the database knows.
            let mut bytes = std::fs::read(&file).unwrap();
            let end = bytes.len().min((page + 1) * 4096);
            let start = (page * 4096).min(end.saturating_sub(1));
            if flip {
                bytes[start] ^= 1;
            } else {
                bytes[start..end].fill(0);
            }
            std::fs::write(&file, bytes).unwrap();
            let memory = open(&scratch);
            assert!(matches!(memory.graph_file(), GraphFile::Unusable(_)), "page {page}");
            let answer = memory.query(Query { k: 1, ..ask(77) }).wait().unwrap();
            assert_eq!(ids(&answer), ["0077"], "exact or not, it finds what is there");
            settled(&memory);
            assert_eq!(memory.stats().rebuilds, 1);
        }
    }
}

#[test]
fn a_query_is_answered_by_the_way_that_costs_less() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    settled(&memory);
    let way = |query: Query| memory.query(query).wait().unwrap();
    let open_query = way(ask(3));
    assert_eq!((open_query.way, open_query.total_is_lower_bound), (Way::Graph, true));
    let exact = way(Query { exact: true, ..ask(3) });
    assert_eq!((exact.way, exact.total_matched, exact.recall), (Way::Scan, RECORDS as u64, Some(1.0)));
    assert_eq!(ids(&open_query)[0], ids(&exact)[0]);
    let rare = way(Query { labels: vec!["rare".into()], ..ask(3) });
    assert_eq!((rare.way, rare.total_matched), (Way::Scan, 30));
    let shape = Shape::Polygon(vec![[10.0, -1.0], [29.5, -1.0], [29.5, 1.0], [10.0, 1.0]]);
    let place = Place { shape, ..Place::ball("map", Point3::origin(), 1.0) };
    assert_eq!(way(Query { place: Some(place), ..ask(3) }).total_matched, 20);
    let window =
        Query { not_before: Some(Stamp::from_parts(5, 0)), not_after: Some(Stamp::from_parts(8, 0)), ..ask(3) };
    assert_eq!((way(window.clone()).way, way(window).total_matched), (Way::Scan, 4));
    assert_eq!(way(Query { likeness: None, ..ask(3) }).way, Way::NoVector);
}

#[test]
fn what_is_put_and_deleted_beside_a_graph_is_found_and_not_found() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    settled(&memory);
    memory.put(vec![record("new", &wave(50_000))]).wait().unwrap();
    assert_eq!(ids(&memory.query(Query { k: 1, ..ask(50_000) }).wait().unwrap()), ["new"], "before it is in the graph");
    assert_eq!(memory.delete("", vec!["0077".into(), "new".into()]).wait(), Ok(2));
    for probe in [77, 50_000] {
        let answer = memory.query(ask(probe)).wait().unwrap();
        assert!(!ids(&answer).iter().any(|id| ["0077", "new"].contains(id)));
    }
}

/// Two fifths of what the graph was built of go: it is made again without them.
#[test]
fn a_graph_many_of_whose_records_are_gone_is_made_again() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    settled(&memory);
    let (built, gone) = (memory.stats().rebuilds, |number: &usize| number % 5 < 2);
    for numbers in (0..RECORDS).filter(gone).collect::<Vec<_>>().chunks(400) {
        memory.delete("", numbers.iter().map(|number| format!("{number:04}")).collect()).wait().unwrap();
        let answer = memory.query(Query { k: 1000, ..ask(numbers[0]) }).wait().unwrap();
        let found = ids(&answer).into_iter().map(|id| id.parse::<usize>().unwrap());
        assert!(found.into_iter().all(|number| number > numbers[numbers.len() - 1] || !gone(&number)));
    }
    let left = RECORDS - (0..RECORDS).filter(gone).count();
    let start = Instant::now();
    while memory.stats().rebuilds == built {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", memory.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = memory.stats();
    assert_eq!((stats.indexed, stats.unindexed, stats.records), (left as u64, 0, left as u64));
    let kept: Vec<usize> = (0..RECORDS).filter(|number| !gone(number)).step_by(20).collect();
    let found = kept.iter().filter(|number| {
        let answer = memory.ask_graph(&Query { k: 1, ..ask(**number) }).unwrap();
        assert_eq!(answer.way, Way::Graph);
        ids(&answer) == [format!("{number:04}")]
    });
    assert!(found.count() >= kept.len() * 97 / 100);
}

/// A graph is made beside the records that it is of, and they go on changing.
#[test]
fn what_changes_while_a_graph_is_made_is_found_as_it_is_then() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    let mut changed = 0;
    while memory.stats().rebuilds == 0 && changed < RECORDS {
        let numbers: Vec<usize> = (changed..(changed + 5).min(RECORDS)).collect();
        memory.delete("", numbers.iter().map(|number| format!("{number:04}")).collect()).wait().unwrap();
        // In what would be their slots.
        let anew = |number: &usize| record(&format!("new {number:04}"), &wave(RECORDS + number));
        memory.put(numbers.iter().map(anew).collect()).wait().unwrap();
        changed += numbers.len();
    }
    settled(&memory);
    assert!(changed > 0, "the graph was there before anything changed");
    let walk = |number: usize| {
        let answer = memory.ask_graph(&Query { k: 1, ..ask(number) }).unwrap();
        assert_eq!(answer.way, Way::Graph);
        ids(&answer).concat()
    };
    for number in 0..changed {
        assert_ne!(walk(number), format!("{number:04}"), "it was deleted");
    }
    let found = (0..changed).filter(|number| walk(RECORDS + number) == format!("new {number:04}")).count();
    assert!(found * 100 >= changed * 97, "{found} of {changed} that were put meanwhile");
}

/// The recall is measured while nobody asks, and told in the next answer.
#[test]
fn the_recall_is_sampled_in_idle_time_and_told() {
    let scratch = Scratch::new();
    let memory = open(&scratch);
    fill(&memory);
    settled(&memory);
    assert_eq!(memory.query(ask(9_999)).wait().unwrap().recall, None, "not yet known");
    let start = Instant::now();
    while memory.stats().recall_samples < 3 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let recall = memory.query(ask(9_999)).wait().unwrap().recall.unwrap();
    assert!((0.9..=1.0).contains(&recall), "{recall}");
    assert_eq!(memory.stats().recall, Some(recall));
}

#[test]
fn words_labels_robots_and_weights_are_asked_at_once() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let said = |id: &str, text: &str, vector: &[f32]| Record { text: text.into(), ..record(id, vector) };
    let put = vec![
        Record { robot: "r1".into(), importance: 0.1, ..when(1, said("cup", "a red cup on the table", &[1.0, 0.0])) },
        Record {
            robot: "r2".into(),
            importance: 0.9,
            ..when(100, said("door", "the red door at the far end of the corridor, half open as so often", &[0.8, 0.6]))
        },
        when(3, said("silent", "", &[1.0, 0.0])),
    ];
    memory.put(put).wait().unwrap();
    let find = |query: Query| {
        let answer = memory.query(query).wait().unwrap();
        ids(&answer).into_iter().map(String::from).collect::<Vec<_>>()
    };
    let by = |text: &str| Query { text: text.into(), ..Query::default() };
    assert_eq!(find(by("red table")), ["cup"]);
    assert_eq!(find(by("red")).len(), 2);
    assert_eq!(find(by("RED \" OR cup* NOT (door) text:table")), [""; 0], "words, no language");
    assert_eq!(find(by("'; DROP TABLE record; --")), [""; 0]);
    assert_eq!(find(Query { robot: "r2".into(), ..Query::default() }), ["door"]);
    let likeness = Some(Likeness { model_id: "toy".into(), embedding: vec![1.0, 0.0] });
    assert_eq!(find(Query { likeness: likeness.clone(), ..by("red") }), ["cup", "door"]);

    let plain = Query { likeness, min_sim: 0.0, ..Query::default() };
    assert_eq!(find(plain.clone()), ["silent", "cup", "door"]);
    let mut weighted = plain;
    (weighted.ranking.recency, weighted.ranking.importance) = (0.0, 2.0);
    let answer = memory.query(weighted).wait().unwrap();
    assert_eq!(ids(&answer)[0], "door", "it matters most");
    let hit = &answer.hits[0];
    assert!((hit.score - (hit.relevance + 2.0 * hit.importance)).abs() < 1e-6);
    // Replaced and deleted words are found no more.
    memory.put(vec![said("cup", "a blue cup", &[1.0, 0.0])]).wait().unwrap();
    memory.delete("", vec!["door".into()]).wait().unwrap();
    assert_eq!(find(by("red")), [""; 0]);
    assert_eq!(find(by("blue")), ["cup"]);
}
