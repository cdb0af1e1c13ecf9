use ecps_core::clock::Stamp;
use ecps_memory::{Cause, Likeness, Memory, OpenError, Options, Place, PutError, Query, Record, Unavailable};
use nalgebra::{Isometry3, Point3, Quaternion, UnitQuaternion};

use crate::{Scratch, at, ids, like, made_ids, options, record};

#[test]
fn a_record_beyond_a_limit_is_refused_by_name_value_and_limit() {
    let good = || at("map", [1.0, 2.0, 3.0], record("id", &[1.0, 2.0]));
    let turned = |w| Isometry3 {
        rotation: UnitQuaternion::new_unchecked(Quaternion::new(w, 0.0, 0.0, 0.0)),
        ..Isometry3::identity()
    };
    let long = |n| "x".repeat(n);
    let table: Vec<(Record, &str)> = vec![
        (Record { embedding: vec![], ..good() }, "embedding is empty"),
        (Record { embedding: vec![0.0; 3], ..good() }, "embedding is all zero in its 3 elements"),
        (Record { embedding: vec![1.0; 4097], ..good() }, "embedding has 4097 elements, more than the 4096 allowed"),
        (record("id", &[1.0, f32::INFINITY]), "embedding[1] is inf, and must be finite"),
        (record("id", &[f32::NAN]), "embedding[0] is NaN"),
        (Record { id: long(129), ..good() }, "id has 129 bytes, more than the 128 allowed"),
        (Record { id: "a\0b".into(), ..good() }, "id holds a NUL byte at 1"),
        (Record { namespace: long(129), ..good() }, "memory_namespace has 129 bytes"),
        (Record { model_id: String::new(), ..good() }, "model_id is empty"),
        (Record { model_id: long(129), ..good() }, "model_id has 129 bytes"),
        (Record { labels: vec![long(1); 65], ..good() }, "labels has 65 entries, more than the 64 allowed"),
        (Record { labels: vec![long(1), long(129)], ..good() }, "labels[1] has 129 bytes"),
        (Record { labels: vec![String::new()], ..good() }, "labels[0] is empty"),
        (
            Record { payload: vec![0; (1 << 20) + 1], ..good() },
            "payload has 1048577 bytes, more than the 1048576 allowed",
        ),
        (Record { payload_type: long(257), ..good() }, "payload_type has 257 bytes"),
        (Record { robot: long(257), ..good() }, "robot has 257 bytes"),
        (Record { topic: "/a\0".into(), ..good() }, "topic holds a NUL byte at 2"),
        (Record { frame_id: String::new(), ..good() }, "header.frame_id is empty"),
        (Record { covariance: vec![0.0; 35], ..good() }, "pose_covariance has 35 numbers, and must have 36 or none"),
        (Record { covariance: vec![f64::NAN; 36], ..good() }, "pose_covariance[0] is NaN"),
        (Record { importance: 1.5, ..good() }, "importance is 1.5, outside 0 to 1"),
        (Record { text: long((16 << 10) + 1), ..good() }, "text has 16385 bytes, more than the 16384 allowed"),
        (Record { payload: vec![0; 10 << 20], ..good() }, "payload has 10485760 bytes, more than the 1048576 allowed"),
        (Record { parents: vec![String::new()], ..good() }, "parents[0] is empty"),
        (
            Record { valid_from: Some(Stamp(2)), valid_until: Some(Stamp(1)), ..good() },
            "the time window ends at 1 ns, before it begins at 2 ns",
        ),
        (Record { pose: Some(Isometry3::translation(0.0, f64::NAN, 0.0)), ..good() }, "pose.position.y is NaN"),
        (Record { pose: Some(turned(0.5)), ..good() }, "pose.orientation has norm 0.5"),
        (Record { pose: Some(turned(f64::NAN)), ..good() }, "pose.orientation is NaN"),
    ];
    let scratch = Scratch::new();
    let memory = scratch.open();
    let refused = table.len();
    for (bad, sentence) in table {
        let error = memory.put(vec![good(), bad]).wait().unwrap_err();
        assert!(error.to_string().starts_with(&format!("records[1].{sentence}")), "{error}");
        assert_eq!(error.cause(), Cause::Invalid);
    }
    assert_eq!(memory.stats().refused, refused as u64);
    let largest = Record {
        embedding: vec![1.0; 4096],
        payload: vec![7; 1 << 20],
        id: long(128),
        labels: vec![long(128); 64],
        ..good()
    };
    memory.put(vec![largest]).wait().unwrap();
    assert_eq!(memory.stats().records, 1);
}

#[test]
fn a_batch_is_bounded_in_records_and_bytes() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    assert_eq!(memory.put(vec![]).wait(), Err(PutError::BatchSize { records: 0 }));
    let many = vec![record("", &[1.0]); 1025];
    assert_eq!(memory.put(many).wait().unwrap_err().to_string(), "the batch has 1025 records, outside 1 to 1024");
    let heavy = vec![Record { payload: vec![0; 1 << 20], ..record("", &[1.0]) }; 65];
    assert!(matches!(memory.put(heavy).wait(), Err(PutError::BatchBytes { .. })));
    assert_eq!(memory.stats().records, 0);
}

#[test]
fn a_query_beyond_a_limit_is_refused() {
    let place = |frame_id: &str, x, radius| Query {
        place: Some(Place::ball(frame_id, Point3::new(x, 0.0, 0.0), radius)),
        ..Query::default()
    };
    let nameless = Likeness { model_id: String::new(), embedding: vec![1.0] };
    let table = [
        (Query { k: 0, ..Query::default() }, "k is 0, outside 1 to 1000"),
        (Query { k: 1001, ..Query::default() }, "k is 1001, outside 1 to 1000"),
        (Query { min_sim: f32::NAN, ..Query::default() }, "min_sim is NaN"),
        (Query { min_sim: 1.5, ..Query::default() }, "min_sim is 1.5, outside -1 to 1"),
        (like(&[]), "embedding is empty"),
        (like(&[0.0]), "embedding is all zero"),
        (like(&[1.0, f32::NAN]), "embedding[1] is NaN"),
        (Query { likeness: Some(nameless), ..Query::default() }, "model_id is empty"),
        (
            Query { not_before: Some(Stamp(2)), not_after: Some(Stamp(1)), ..Query::default() },
            "the time window ends at 1 ns, before it begins at 2 ns",
        ),
        (place("", 0.0, 1.0), "frame_id is empty"),
        (place("map", f64::NAN, 1.0), "center.x is NaN"),
        (place("map", 0.0, -1.0), "radius is -1, outside 0 to 1000000000"),
        (place("map", 0.0, f64::INFINITY), "radius is inf"),
        (Query { labels: vec!["x".into(); 65], ..Query::default() }, "labels has 65 entries"),
        (Query { labels: vec!["'; DROP TABLE record; --\0".into()], ..Query::default() }, "labels[0] holds a NUL byte"),
        (Query { text: "\"'(*:^- --".into(), ..Query::default() }, "text is '\"'(*:^- --', and holds no word"),
        (Query { text: "x".repeat(1025), ..Query::default() }, "text has 1025 bytes, more than the 1024 allowed"),
        (Query { namespace: "x".repeat(129), ..Query::default() }, "memory_namespace has 129 bytes"),
    ];
    let scratch = Scratch::new();
    let memory = scratch.open();
    for (bad, sentence) in table {
        let error = memory.query(bad).wait().unwrap_err();
        assert!(error.to_string().starts_with(sentence), "{error}");
        assert_eq!(error.cause(), Cause::Invalid);
    }
    assert_eq!(memory.stats().queries, 0);
}

/// Labels, words and names are text whatever they say.
#[test]
fn hostile_text_is_kept_as_it_is_and_does_nothing() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let hostile = ["'); DROP TABLE record; --", "\"] OR 1=1 --", "%_*?", "robot:", "\u{202e}gnp", "{\"$ne\":null}"];
    for (number, text) in hostile.iter().enumerate() {
        let put = Record {
            labels: vec![(*text).into()],
            text: format!("{text} word"),
            robot: (*text).into(),
            namespace: (*text).into(),
            ..record(text, &[1.0, number as f32])
        };
        memory.put(vec![put]).wait().unwrap();
    }
    for text in hostile {
        let mine = |query: Query| {
            let answer = memory.query(Query { namespace: text.into(), ..query }).wait().unwrap();
            assert_eq!(ids(&answer), [text]);
            assert_eq!(answer.hits[0].record.labels, [text]);
        };
        mine(Query { labels: vec![text.into()], ..Query::default() });
        mine(Query { robot: text.into(), ..Query::default() });
        mine(Query { text: format!("{text} word"), ..Query::default() });
        let other = Query { namespace: text.into(), labels: vec!["label".into()], ..Query::default() };
        assert_eq!(memory.query(other).wait().unwrap().total_matched, 0);
    }
    assert_eq!(memory.stats().records, hostile.len() as u64);
}

#[test]
fn a_question_on_the_calling_thread_is_answered_checked_and_counted_like_any_other() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![record("a", &[1.0, 0.0]), record("b", &[0.0, 1.0])]).wait().unwrap();
    let query = Query { min_sim: -1.0, ..like(&[1.0, 0.1]) };
    assert_eq!(memory.ask(&query), memory.query(query.clone()).wait());
    assert_eq!(memory.ask_graph(&query), memory.ask(&query), "a scan where there is no graph");
    assert_eq!(memory.stats().queries, 4);
    let error = memory.ask(&like(&[f32::NAN])).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.cause()),
        ("embedding[0] is NaN, and must be finite", Cause::Invalid)
    );
    let error = memory.ask_graph(&like(&[1.0])).unwrap_err();
    assert!(error.to_string().contains("1"), "{error}");
    assert_eq!((memory.stats().queries, memory.stats().refused), (4, 2));
}

#[test]
fn ids_to_get_and_delete_are_checked() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    assert_eq!(memory.get("", "").wait().unwrap_err().to_string(), "id is empty");
    assert_eq!(memory.delete("", vec![]).wait().unwrap_err().to_string(), "the request has 0 ids, outside 1 to 1024");
    let error = memory.delete("", vec!["a".into(), "x".repeat(129)]).wait().unwrap_err();
    assert_eq!(error.to_string(), "ids[1] has 129 bytes, more than the 128 allowed");
}

#[test]
fn an_answer_too_heavy_to_send_is_cut_short() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let heavy = || Record { payload: vec![0; 1 << 20], ..record("", &[1.0]) };
    for _ in 0..2 {
        memory.put(vec![heavy(); 33]).wait().unwrap();
    }
    let answer = memory.query(Query { k: 66, ..Query::default() }).wait().unwrap();
    assert_eq!((answer.hits.len(), answer.total_matched, answer.cut_short), (63, 66, true));
    let heads = memory.query(Query { k: 66, heads_only: true, ..Query::default() }).wait().unwrap();
    assert_eq!((heads.hits.len(), heads.cut_short), (66, false));
    assert!(heads.hits.iter().all(|hit| hit.record.payload.is_empty() && hit.record.embedding.is_empty()));
    assert_eq!(memory.query(Query::default()).wait().unwrap().hits.len(), 10);
}

#[test]
fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
    let scratch = Scratch::new();
    let memory = Memory::open(&scratch.path(), Options { waiting: 3, ..options() }, made_ids()).unwrap();
    memory.put(vec![record("first", &[1.0])]).wait().unwrap();
    // Somebody else's transaction holds the writer up.
    let other = scratch.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let taken: Vec<_> = (0..3).map(|i| memory.put(vec![record(&i.to_string(), &[1.0])])).collect();

    let error = memory.put(vec![record("one too many", &[1.0])]).wait().unwrap_err();
    assert_eq!(error, PutError::Unavailable(Unavailable::QueueFull { limit: 3 }));
    assert_eq!(error.cause(), Cause::Overloaded);
    assert!(memory.get("", "first").wait().is_ok(), "reads go on");

    other.execute_batch("COMMIT").unwrap();
    for reply in taken {
        reply.wait().unwrap();
    }
    assert_eq!(memory.stats().records, 4);
    assert!(memory.put(vec![record("now", &[1.0])]).wait().is_ok());
}

#[test]
fn a_full_file_refuses_puts_and_reads_and_deletes_go_on() {
    let scratch = Scratch::new();
    let options = Options { max_bytes: Some(400 << 10), ..options() };
    let memory = Memory::open(&scratch.path(), options, made_ids()).unwrap();
    let sized = |id: &str, bytes| Record { payload: vec![1; bytes], ..record(id, &[1.0, 0.0]) };
    memory.put(vec![sized("small", 10)]).wait().unwrap();

    // Together in the queue, so that the writer may take them as one group.
    let big = memory.put(vec![sized("part", 10), sized("big", 1 << 20)]);
    let other = memory.put(vec![sized("other", 10)]);
    let error = big.wait().unwrap_err();
    assert_eq!(error.to_string(), "the memory file cannot do it: database or disk is full");
    assert_eq!(error.cause(), Cause::Storage);
    other.wait().unwrap();
    assert_eq!(memory.stats().last_refusal, error.to_string());

    assert_eq!(memory.query(like(&[1.0, 0.0])).wait().unwrap().total_matched, 2);
    assert_eq!(memory.delete("", vec!["small".into()]).wait(), Ok(1));
    assert!(memory.get("", "part").wait().is_err() && memory.get("", "other").wait().is_ok());
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let link = scratch.folder.path().join("another name.db");
    std::os::unix::fs::symlink(scratch.path(), &link).unwrap();
    for path in [scratch.path(), link] {
        let error = Memory::open(&path, Options::default(), made_ids()).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    }
    memory.put(vec![record("a", &[1.0])]).wait().unwrap();
    drop(memory);
    assert_eq!(scratch.open().stats().records, 1);
}

#[test]
fn a_file_of_something_else_or_of_a_later_version_is_refused_and_left_alone() {
    let cases = [
        (
            "PRAGMA user_version = 7; PRAGMA application_id = 1162039373",
            "has schema version 7, and this server knows versions up to 2",
        ),
        ("CREATE TABLE birds (name)", "is not a memory file: its application id is 0x00000000"),
    ];
    for (sql, sentence) in cases {
        let scratch = Scratch::new();
        scratch.raw().execute_batch(sql).unwrap();
        let before = std::fs::read(scratch.path()).unwrap();
        let error = Memory::open(&scratch.path(), Options::default(), made_ids()).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
        assert_eq!(std::fs::read(scratch.path()).unwrap(), before);
    }
    let scratch = Scratch::new();
    std::fs::write(scratch.path(), "not a database ".repeat(500)).unwrap();
    let error = Memory::open(&scratch.path(), Options::default(), made_ids()).unwrap_err();
    assert!(error.to_string().contains("file is not a database"), "{error}");
    let error = Memory::open(&scratch.folder.path().join("memory.db/x"), Options::default(), made_ids()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    let error = Memory::open(&scratch.path(), Options { readers: 0, ..Options::default() }, made_ids()).unwrap_err();
    assert_eq!(error.to_string(), "option readers is 0, outside 1 to 16");
}
