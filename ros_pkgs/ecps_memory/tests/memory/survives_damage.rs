use ecps_memory::{Cause, GetError, Memory, OpenError, Query, Record};

use crate::{Scratch, at, ids, kept, labelled, like, made_ids, open, options, record};

/// Three records, of which "b" is the most like [1, 0].
fn three() -> Vec<Record> {
    let good = |id: &str, embedding: &[f32]| {
        let place = labelled(&["cup"], at("map", [1.0, 2.0, 3.0], record(id, embedding)));
        Record { payload: b"what was seen".to_vec(), ..place }
    };
    vec![good("a", &[1.0, 0.1]), good("b", &[1.0, 0.0]), good("c", &[1.0, 0.2])]
}

/// Turns one bit of a column of record "b" over.
fn flip(scratch: &Scratch, column: &str) {
    let raw = scratch.raw();
    let sql = format!("SELECT CAST({column} AS BLOB), typeof({column}) FROM record WHERE id = 'b'");
    let (mut bytes, kind): (Vec<u8>, String) = raw.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    match bytes.first_mut() {
        Some(first) => *first ^= 4,
        None => bytes.push(b'x'),
    }
    let sql = format!("UPDATE record SET {column} = CAST(?1 AS {kind}) WHERE id = 'b'");
    assert_eq!(raw.execute(&sql, [bytes]).unwrap(), 1);
}

const COLUMNS: [&str; 18] = [
    "last_ns",
    "expires_ns",
    "covariance",
    "text",
    "parents",
    "sightings",
    "version",
    "model_id",
    "time_ns",
    "frame_id",
    "pose",
    "labels",
    "embedding",
    "payload_crc",
    "head_crc",
    "payload",
    "namespace",
    "id",
];

#[test]
fn a_damaged_row_is_named_and_counted_and_the_rest_is_served() {
    for column in COLUMNS {
        let scratch = Scratch::new();
        scratch.open().put(three()).wait().unwrap();
        flip(&scratch, column);
        let memory = scratch.open();
        let answer = memory.query(like(&[1.0, 0.0])).wait().unwrap();
        assert_eq!((ids(&answer), answer.total_matched), (vec!["a", "c"], 2), "{column}");
        let damages = memory.damages();
        assert_eq!((damages.len(), memory.stats().damaged, memory.stats().records), (1, 1, 2), "{column}");
        assert_eq!(damages[0].row, 2);
        if column != "namespace" && column != "id" {
            let name = "record 'b' of namespace 'default' (row 2) is damaged and not served: its ";
            assert!(damages[0].to_string().starts_with(name), "{}", damages[0]);
            let error = memory.get("", "b").wait().unwrap_err();
            assert!(matches!(error, GetError::Damaged(_)) && error.cause() == Cause::Storage, "{column}: {error}");
        }
    }
}

#[test]
fn damage_while_serving_costs_the_row_and_the_next_best_takes_its_place() {
    for column in ["embedding", "payload", "labels"] {
        let scratch = Scratch::new();
        let memory = scratch.open();
        memory.put(three()).wait().unwrap();
        flip(&scratch, column);
        let answer = memory.query(Query { k: 1, ..like(&[1.0, 0.0]) }).wait().unwrap();
        assert_eq!((ids(&answer), answer.total_matched), (vec!["a"], 2), "{column}");
        assert_eq!((memory.damages().len(), memory.stats().records), (1, 2));
    }
}

#[test]
fn a_row_that_vanished_is_not_waited_for() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(three()).wait().unwrap();
    scratch.raw().execute("DELETE FROM record WHERE id <> 'c'", []).unwrap();
    let answer = memory.query(like(&[1.0, 0.0])).wait().unwrap();
    assert_eq!((ids(&answer), answer.total_matched), (vec!["c"], 1));
    assert_eq!(memory.stats().damaged, 2);
}

#[test]
fn putting_or_deleting_a_damaged_record_heals_it() {
    for delete in [false, true] {
        let scratch = Scratch::new();
        scratch.open().put(three()).wait().unwrap();
        flip(&scratch, "embedding");
        let memory = scratch.open();
        assert_eq!(memory.stats().damaged, 1);
        if delete {
            assert_eq!(memory.delete("", vec!["b".into()]).wait(), Ok(1));
        } else {
            assert_eq!(memory.put(vec![record("b", &[1.0, 0.0])]).wait().unwrap()[0].version, 2);
            assert!(memory.get("", "b").wait().is_ok());
        }
        assert_eq!((memory.stats().damaged, memory.stats().records), (0, if delete { 2 } else { 3 }));
    }
}

/// Turns over a byte in the middle of every page in turn: the memory opens and serves what is whole, naming the rest, or it
/// says that the file is damaged and how to save what can be read; and then that is saved. Never is anything served that is
/// not as it was written.
#[test]
fn a_flipped_byte_in_any_page_is_named_or_noticed_and_the_rest_is_saved() {
    const RECORDS: usize = 60;
    let scratch = Scratch::new();
    let memory = scratch.open();
    let one = |i: usize| Record {
        payload: format!("payload {i}").repeat(40).into_bytes(),
        text: format!("word{i}"),
        ..record(&format!("{i:03}"), &[1.0, i as f32])
    };
    memory.put((0..RECORDS).map(one).collect()).wait().unwrap();
    drop(memory);
    let good = std::fs::read(scratch.path()).unwrap();
    let pages = good.len() / 4096;
    let (mut named, mut noticed) = (0, 0);
    for page in 0..pages {
        for at in [0, 5, 101, 2048, 4000] {
            let mut bytes = good.clone();
            bytes[page * 4096 + at] ^= 0x55;
            for beside in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{beside}", scratch.path().display()));
            }
            std::fs::write(scratch.path(), &bytes).unwrap();
            match Memory::open(&scratch.path(), options(), made_ids()) {
                Ok(memory) => {
                    for i in 0..RECORDS {
                        if let Ok(found) = memory.get("", &format!("{i:03}")).wait() {
                            let expected = Record { namespace: "default".into(), ..kept(one(i)) };
                            assert!(found == expected, "page {page}, byte {at}");
                        }
                    }
                    let answer = memory.query(Query { k: 1000, ..Query::default() }).wait().unwrap();
                    named += usize::from(!memory.damages().is_empty());
                    let served = answer.hits.len() + memory.damages().len();
                    assert!(served >= RECORDS || page == 0, "page {page}, byte {at}: {served}");
                }
                Err(error @ (OpenError::Damaged { .. } | OpenError::Sqlite { .. })) => {
                    noticed += usize::from(error.to_string().contains("--salvage"));
                    let to = scratch.folder.path().join(format!("saved-{page}-{at}.db"));
                    if let Ok((saved, lost)) = ecps_memory::salvage(&scratch.path(), &to) {
                        assert!(saved > 0 || page < 4, "page {page}, byte {at}: {saved} saved, {lost:?}");
                        let memory = open(&to);
                        assert_eq!((memory.damages(), memory.stats().records), (vec![], saved));
                    }
                }
                // What the first page says about the whole file.
                Err(error) => assert_eq!(page, 0, "{error}"),
            }
        }
    }
    assert!(named > 0 && noticed > 0, "{named} named, {noticed} noticed");
}

#[test]
fn verify_tells_a_whole_file_from_a_damaged_one() {
    let scratch = Scratch::new();
    scratch.open().put(three()).wait().unwrap();
    let report = ecps_memory::verify(&scratch.path()).unwrap();
    assert!(report.is_whole() && report.whole == 3, "{report:?}");
    flip(&scratch, "payload");
    let report = ecps_memory::verify(&scratch.path()).unwrap();
    assert_eq!((report.is_whole(), report.whole, report.damages.len()), (false, 2, 1));
    let to = scratch.folder.path().join("saved.db");
    assert_eq!(ecps_memory::salvage(&scratch.path(), &to).unwrap().0, 2);
    assert_eq!(open(&to).stats().records, 2);
}

/// A file of the first version, made as that version made it.
#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    let scratch = Scratch::new();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/memory/version_1.db"), scratch.path()).unwrap();
    let memory = scratch.open();
    let damaged: Vec<String> = memory.damages().into_iter().map(|damage| damage.id).collect();
    assert_eq!((memory.stats().records, damaged), (2, vec!["damaged".to_owned()]));
    let cup = memory.get("kitchen", "cup").wait().unwrap();
    assert_eq!((cup.labels, cup.embedding, cup.payload), (vec!["red".into()], vec![0.6, 0.8], b"seen".to_vec()));
    assert_eq!((cup.version, cup.sightings, cup.time, cup.last_seen), (2, 1, cup.last_seen, cup.time));
    assert!((cup.pose.unwrap().translation.vector.x - 1.5).abs() < 1e-12);
    memory.put(vec![Record { namespace: "kitchen".into(), ..record("new", &[1.0, 0.0]) }]).wait().unwrap();
    drop(memory);
    assert_eq!(scratch.open().stats().records, 3);
}
