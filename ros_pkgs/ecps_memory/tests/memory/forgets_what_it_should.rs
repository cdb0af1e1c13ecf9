use std::sync::Arc;
use std::time::{Duration, Instant};

use ecps_core::clock::{ManualClock, Stamp};
use ecps_memory::{
    Consolidation, Memory, Merge, Options, Place, Policy, Query, Quota, Record, Retention, Shape, pose_from_parts,
};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};

use crate::{Scratch, at, ids, like, made_ids, options, record, when};

fn with_policy(scratch: &Scratch, policy: Policy) -> Memory {
    Memory::open(&scratch.path(), Options { policy, ..options() }, made_ids()).unwrap()
}

fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not happen");
        std::thread::yield_now();
    }
}

#[test]
fn what_has_expired_is_found_no_more_and_then_gone_from_the_file() {
    let scratch = Scratch::new();
    let clock = ManualClock::default();
    let retention = Retention { lifetime: Some(Duration::from_secs(10)), ..Retention::default() };
    let policy = Policy { retention, ..Policy::default() };
    let options = Options { clock: Arc::new(clock.clone()), policy, ..options() };
    let memory = Memory::open(&scratch.path(), options, made_ids()).unwrap();
    clock.set_ros(Stamp(1));
    let own = Record { expires: Some(Stamp::from_parts(100, 0)), ..record("own", &[1.0]) };
    memory.put(vec![record("short", &[1.0]), own]).wait().unwrap();
    clock.set_ros(Stamp::from_parts(10, 0));
    assert_eq!(memory.query(like(&[1.0])).wait().unwrap().total_matched, 2);
    clock.set_ros(Stamp::from_parts(11, 0));
    assert_eq!(ids(&memory.query(like(&[1.0])).wait().unwrap()), ["own"]);
    assert!(memory.get("", "short").wait().is_err());
    wait_for(|| memory.stats().expired == 1);
    assert_eq!(memory.stats().records, 1);
}

#[test]
fn beyond_a_quota_the_least_recently_queried_go_and_pinned_ones_stay() {
    let scratch = Scratch::new();
    let quota = Quota { records: 4, ..Quota::default() };
    let policy = Policy { retention: Retention { quota, ..Retention::default() }, ..Policy::default() };
    let memory = with_policy(&scratch, policy);
    let pinned = Record { pinned: true, ..record("pinned", &[0.0, 1.0]) };
    let put = vec![pinned, record("a", &[1.0, 0.0]), record("b", &[1.0, 1.0]), record("c", &[-1.0, 0.5])];
    memory.put(put).wait().unwrap();
    assert_eq!(ids(&memory.query(Query { k: 1, ..like(&[1.0, 0.0]) }).wait().unwrap()), ["a"]);
    memory.put(vec![record("d", &[1.0, -1.0])]).wait().unwrap();
    let mut all = Vec::new();
    for id in ["pinned", "a", "b", "c", "d"] {
        all.extend(memory.get("", id).wait().is_ok().then_some(id));
    }
    assert_eq!(all, ["pinned", "a", "c", "d"], "b was never a hit, and is older than c");
    assert_eq!((memory.stats().evicted, memory.stats().records), (1, 4));

    let too_many = (0..4).map(|i| record(&i.to_string(), &[1.0, 0.0])).collect();
    let error = memory.put(too_many).wait().unwrap_err().to_string();
    assert_eq!(
        error,
        "the records of namespace 'default' would need 5 records, more than its quota of 4, and 1 records of it are pinned"
    );
    assert_eq!(memory.stats().records, 4, "nothing went for what was refused");
}

#[test]
fn near_duplicates_merge_into_one_record_with_its_interval() {
    let scratch = Scratch::new();
    let merge = Merge { similarity: 0.99, within: Duration::from_secs(5), distance: 0.5 };
    let memory = with_policy(&scratch, Policy { merge: Some(merge), ..Policy::default() });
    let seen = |seconds, x: f64, vector: &[f32]| when(seconds, at("map", [x, 0.0, 0.0], record("", vector)));
    let put = |records| memory.put(records).wait().unwrap();
    // Also within one batch.
    let first = put(vec![seen(10, 0.0, &[1.0, 0.0]), seen(12, 0.1, &[1.0, 0.01])]);
    assert_eq!((first[1].merged, &first[1].id, first[1].version), (true, &first[0].id, 2));
    assert!(put(vec![seen(15, 0.2, &[1.0, 0.02])])[0].merged);
    // Too late, too far, too unlike, or by name: records of their own.
    assert!(!put(vec![seen(40, 0.0, &[1.0, 0.0])])[0].merged);
    assert!(!put(vec![seen(16, 3.0, &[1.0, 0.0])])[0].merged);
    assert!(!put(vec![seen(16, 0.0, &[1.0, 1.0])])[0].merged);
    assert!(!put(vec![Record { id: "named".into(), ..seen(16, 0.0, &[1.0, 0.0]) }])[0].merged);

    let kept = memory.get("", &first[0].id).wait().unwrap();
    assert_eq!((kept.sightings, kept.time, kept.last_seen), (3, Stamp::from_parts(10, 0), Stamp::from_parts(15, 0)));
    assert_eq!((memory.stats().records, memory.stats().merged), (5, 2));
    let at_14 = Query {
        not_before: Some(Stamp::from_parts(14, 0)),
        not_after: Some(Stamp::from_parts(15, 0)),
        ..Query::default()
    };
    assert_eq!(ids(&memory.query(at_14.clone()).wait().unwrap()), [first[0].id.as_str()]);
    drop(memory);
    assert_eq!(ids(&scratch.open().query(at_14).wait().unwrap()), [first[0].id.as_str()]);
}

#[test]
fn erased_bytes_are_in_no_file_and_the_file_shrinks() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let secret = b"a secret that must go".to_vec();
    let many = || Record { payload: secret.repeat(4000), text: "unmistakable".into(), ..record("", &[1.0]) };
    let stored = memory.put((0..20).map(|_| many()).collect()).wait().unwrap();
    memory.put(vec![record("stays", &[1.0])]).wait().unwrap();
    let holds = |needle: &[u8]| {
        let files = std::fs::read_dir(scratch.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().any(|file| std::fs::read(file).unwrap().windows(needle.len()).any(|w| w == needle))
    };
    assert!(holds(&secret) && holds(b"unmistakable"));
    let before = memory.stats().bytes;
    let ids = stored.into_iter().map(|stored| stored.id).collect();
    assert_eq!(memory.erase("", ids).wait(), Ok(20));
    assert!(!holds(&secret), "in the file or its log");
    assert!(!holds(b"unmistakable"), "among the words");
    assert!(memory.stats().bytes < before / 10, "{} of {before}", memory.stats().bytes);
    assert!(memory.get("", "stays").wait().is_ok());
}

#[test]
fn a_map_that_moves_takes_its_memories_along() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let mut covariance = vec![0.0; 36];
    (covariance[0], covariance[7]) = (4.0, 1.0);
    let here = Record { covariance, ..at("map", [1.0, 0.0, 0.0], record("here", &[1.0])) };
    memory.put(vec![here, at("odom", [1.0, 0.0, 0.0], record("other", &[1.0]))]).wait().unwrap();
    let quarter = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), std::f64::consts::FRAC_PI_2);
    let transform = Isometry3::from_parts(Translation3::new(10.0, 0.0, 0.0), quarter);
    assert_eq!(memory.reanchor("", "map", "", transform).wait().unwrap(), 1);
    let near = |x, y| Query {
        place: Some(Place {
            shape: Shape::Box(Point3::new(x, y, -1.0), Point3::new(x + 0.2, y + 0.2, 1.0)),
            ..Place::ball("map", Point3::origin(), 1.0)
        }),
        ..Query::default()
    };
    assert_eq!(ids(&memory.query(near(9.9, 0.9)).wait().unwrap()), ["here"]);
    assert_eq!(memory.query(near(0.9, -0.1)).wait().unwrap().total_matched, 0);
    let moved = memory.get("", "here").wait().unwrap();
    assert!((moved.covariance[0] - 1.0).abs() < 1e-12 && (moved.covariance[7] - 4.0).abs() < 1e-12);
    let expected = transform * pose_from_parts([1.0, 0.0, 0.0], [0.0, 0.0, 0.6, 0.8]).unwrap();
    assert!((moved.pose.unwrap().inverse() * expected).translation.vector.norm() < 1e-12);
    drop(memory);
    assert_eq!(ids(&scratch.open().query(near(9.9, 0.9)).wait().unwrap()), ["here"]);
}

#[test]
fn summaries_name_their_members_which_stay() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let put = vec![
        when(1, record("a", &[1.0, 0.0])),
        when(2, record("b", &[1.0, 0.1])),
        when(3, record("c", &[1.0, -0.1])),
        when(4, record("alone", &[0.0, 1.0])),
    ];
    memory.put(put).wait().unwrap();
    let consolidation = Consolidation {
        namespace: String::new(),
        model_id: "toy".into(),
        not_before: None,
        not_after: None,
        min_sim: 0.9,
        members: 3,
    };
    let made = memory.consolidate(&consolidation).wait().unwrap();
    assert_eq!(made.len(), 1);
    let summary = memory.get("", &made[0].id).wait().unwrap();
    let mut parents = summary.parents.clone();
    parents.sort();
    assert_eq!((parents, summary.embedding), (vec!["a".into(), "b".into(), "c".into()], vec![1.0, 0.0]));
    assert_eq!(memory.stats().records, 5);
    let again = memory.consolidate(&consolidation).wait().unwrap();
    assert_eq!((&again[0].id, again[0].version, memory.stats().records), (&made[0].id, 2, 5));
}

#[test]
fn a_snapshot_is_taken_while_writing_and_restored_whole() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let words = Record { text: "hello there".into(), ..record("words", &[1.0]) };
    memory.put(vec![record("a", &[1.0]), words]).wait().unwrap();
    let under_way: Vec<_> = (0..50).map(|i| memory.put(vec![record(&format!("later {i}"), &[1.0])])).collect();
    let snapshot = memory.snapshot("before").wait().unwrap();
    under_way.into_iter().for_each(|reply| assert!(reply.wait().is_ok()));
    assert!(snapshot.records >= 2 && snapshot.bytes > 0 && snapshot.path.is_file());
    memory.delete("", vec!["a".into()]).wait().unwrap();
    assert_eq!(memory.restore("before").wait().unwrap(), snapshot.records);
    assert!(memory.get("", "a").wait().is_ok());
    let by_words = Query { text: "HELLO".into(), ..Query::default() };
    assert_eq!(ids(&memory.query(by_words).wait().unwrap()), ["words"]);
    assert_eq!(
        memory.restore("never").wait().unwrap_err().to_string().split(" in ").next(),
        Some("there is no snapshot 'never'")
    );
    for name in ["", "../x", ".x", "a/b", &"x".repeat(65)] {
        assert!(memory.snapshot(name).wait().unwrap_err().to_string().contains("must be 1 to 64"), "{name}");
    }
    std::fs::write(snapshot.path, "no database").unwrap();
    assert!(memory.restore("before").wait().is_err());
    assert!(memory.get("", "a").wait().is_ok(), "a bad snapshot changes nothing");
}
