use ecps_memory::{Cause, GetError, Query, Record};

use crate::{Scratch, at, ids, labelled, like, record};

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
    bytes[0] ^= 4;
    let sql = format!("UPDATE record SET {column} = CAST(?1 AS {kind}) WHERE id = 'b'");
    assert_eq!(raw.execute(&sql, [bytes]).unwrap(), 1);
}

const COLUMNS: [&str; 12] = [
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
