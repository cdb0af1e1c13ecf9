use std::os::unix::fs::PermissionsExt;

use ecps_core::clock::Stamp;
use ecps_memory::{Cause, GetError, PutError, Query, Record, Stored};

use crate::{Scratch, at, ids, kept, labelled, like, record, when};

fn full() -> Record {
    let place = at("map", [1.0, -2.0, 0.5], record("cup-7", &[0.1, 0.2, 0.3]));
    Record {
        namespace: "kitchen".into(),
        robot: "r1".into(),
        topic: "/camera".into(),
        payload_type: "text/plain".into(),
        payload: b"a red cup".to_vec(),
        observed: Stamp(7),
        valid_from: Some(Stamp(-8)),
        valid_until: Some(Stamp(9)),
        expires: Some(Stamp(i64::MAX - 1)),
        map_id: "ground floor".into(),
        covariance: (0..36).map(|i| f64::from(i) / 7.0).collect(),
        text: "a red cup on the table".into(),
        importance: 0.75,
        pinned: true,
        node: "/camera_driver".into(),
        bag: "tour.mcap".into(),
        bag_offset: u64::MAX,
        parents: vec!["cup-6".into()],
        ..labelled(&["cup", "red \"thing\"\n", "чашка"], when(-3, place))
    }
}

#[test]
fn every_field_comes_back_as_it_was_also_after_reopening() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![full()]).wait().unwrap();
    let expected = kept(full());
    assert_eq!(memory.get("kitchen", "cup-7").wait().unwrap(), expected);
    drop(memory);

    let memory = scratch.open();
    assert_eq!(memory.get("kitchen", "cup-7").wait().unwrap(), expected);
    let query = Query { namespace: "kitchen".into(), ..like(&[0.1, 0.2, 0.3]) };
    assert_eq!(memory.query(query).wait().unwrap().hits[0].record, expected);
}

#[test]
fn a_put_of_the_same_id_replaces_the_record_and_counts_its_version() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let put = |embedding: &[f32]| memory.put(vec![record("door", embedding)]).wait().unwrap()[0].version;
    assert_eq!(put(&[1.0, 0.0]), 1);
    assert_eq!(put(&[0.0, 1.0]), 2);

    assert_eq!(memory.query(like(&[1.0, 0.0])).wait().unwrap().total_matched, 0, "the old vector is gone");
    let answer = memory.query(like(&[0.0, 1.0])).wait().unwrap();
    assert_eq!((ids(&answer), answer.hits[0].record.version), (vec!["door"], 2));
    assert_eq!(memory.stats().records, 1);
    drop(memory);
    assert_eq!(scratch.open().put(vec![record("door", &[1.0, 1.0])]).wait().unwrap()[0].version, 3);
}

#[test]
fn one_batch_may_put_an_id_twice_and_the_last_one_stays() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let stored = memory.put(vec![record("a", &[1.0, 0.0]), record("a", &[0.0, 1.0])]).wait().unwrap();
    assert_eq!(stored.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(memory.get("", "a").wait().unwrap().embedding, [0.0, 1.0]);
    assert_eq!(memory.query(Query::default()).wait().unwrap().total_matched, 1);
}

#[test]
fn records_without_an_id_get_one_in_order() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let stored = memory.put(vec![record("", &[1.0]), record("mine", &[1.0]), record("", &[2.0])]).wait().unwrap();
    let stored = |i: usize| -> &Stored { &stored[i] };
    assert_eq!([&stored(0).id, &stored(1).id, &stored(2).id], ["made-1", "mine", "made-2"]);
    assert_eq!(memory.get("default", "made-2").wait().unwrap().embedding, [2.0]);
}

#[test]
fn what_was_deleted_is_gone_and_an_unknown_id_is_no_error() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![record("a", &[1.0, 0.0]), record("b", &[1.0, 0.1])]).wait().unwrap();
    let some = ["a", "never", "a"].map(String::from).to_vec();
    assert_eq!(memory.delete("", some).wait(), Ok(1));
    assert!(matches!(memory.get("", "a").wait(), Err(e @ GetError::NotFound { .. }) if e.cause() == Cause::NotFound));
    assert_eq!(ids(&memory.query(like(&[1.0, 0.0])).wait().unwrap()), ["b"]);
    drop(memory);
    assert_eq!(ids(&scratch.open().query(like(&[1.0, 0.0])).wait().unwrap()), ["b"]);
}

#[test]
fn one_refused_record_refuses_its_whole_batch() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![record("old", &[1.0, 0.0])]).wait().unwrap();
    let replaced = record("old", &[0.0, 1.0]);

    let invalid = memory.put(vec![replaced.clone(), record("new", &[f32::NAN, 0.0])]).wait().unwrap_err();
    assert_eq!(invalid.to_string(), "records[1].embedding[0] is NaN, and must be finite");
    // This one is noticed by the writer, in the middle of its work.
    let torn = memory.put(vec![replaced, record("new", &[1.0, 2.0, 3.0])]).wait().unwrap_err();
    assert!(matches!(torn, PutError::Dimension { index: 1, found: 3, expected: 2, .. }), "{torn}");

    assert_eq!(memory.get("", "old").wait().unwrap().embedding, [1.0, 0.0]);
    assert!(memory.get("", "new").wait().is_err());
    let stats = memory.stats();
    assert_eq!((stats.records, stats.puts, stats.refused), (1, 1, 2));
    assert_eq!(stats.last_refusal, torn.to_string());
}

#[test]
fn a_model_whose_records_are_all_gone_may_take_another_dimension() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![record("a", &[1.0, 0.0])]).wait().unwrap();
    let error = memory.put(vec![record("b", &[1.0])]).wait().unwrap_err();
    let sentence = "records[0].embedding has 1 elements, and the vectors of model 'toy' in namespace 'default' have 2";
    assert_eq!(error.to_string(), sentence);
    assert!(memory.put(vec![Record { namespace: "other".into(), ..record("b", &[1.0]) }]).wait().is_ok());
    memory.delete("", vec!["a".into()]).wait().unwrap();
    assert!(memory.put(vec![record("b", &[1.0])]).wait().is_ok());
}

#[test]
fn the_file_and_what_lies_beside_it_belong_to_the_owner_alone() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![record("a", &[1.0])]).wait().unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(scratch.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 4, "file, log, shared memory, lock");
}
