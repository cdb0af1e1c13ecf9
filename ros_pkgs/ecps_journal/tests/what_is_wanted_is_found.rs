//! Seeking by time and trace gives what reading everything gives, and reads less; encrypted payloads open with their key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use ecps_core::clock::Stamp;
use ecps_journal::record::{Entry, Payload, Reset, Stop};
use ecps_journal::seek::{Query, find};
use ecps_journal::{
    AppendError, Expectations, Identity, Journal, Moment, Options, PayloadKey, Reader, Record, Verdict, audit,
};

fn open(folder: &Path, options: Options) -> Journal {
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    Journal::open_with(folder, identity, Stamp(1), options).unwrap().0
}

fn trace(n: u64) -> [u8; 16] {
    let mut trace = [7; 16];
    trace[..8].copy_from_slice(&(n % 1000).to_le_bytes());
    trace
}

/// 6,000 records over several segments; the wall clock jumps back twice by 20 s, and is far ahead for ten records.
fn write(folder: &Path) {
    let mut journal = open(folder, Options { segment_bytes: 400 << 10, ..Options::default() });
    for n in 0..6000u64 {
        let back = if n > 1500 { 20 } else { 0 } + if n > 4000 { 20 } else { 0 };
        let ahead = if (700..710).contains(&n) { 200_000 } else { 0 };
        let wall = Stamp((n as i64 - back + ahead) * 1_000_000_000);
        let moment = Moment { wall, trace: if n % 10 == 0 { trace(n) } else { [0; 16] }, ..Moment::default() };
        if n % 3 == 0 {
            journal.append_relaxed(&moment, &Reset { caller: "x".repeat(100) }).unwrap();
        } else {
            journal.append(&moment, &Stop { cause: "c".into(), detail: "y".repeat(100) }).unwrap();
        }
    }
}

fn all(folder: &Path) -> Vec<Record> {
    let mut reader = Reader::open(folder).unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

#[test]
fn a_query_finds_what_reading_everything_finds() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let all = all(folder.path());
    assert_eq!(all.len(), 6000);
    let at = |second: i64| Some(Stamp(second * 1_000_000_000));
    let queries = [
        Query::default(),
        Query { from: at(1490), to: at(1495), ..Query::default() },
        Query { from: at(5900), ..Query::default() },
        Query { to: at(3), ..Query::default() },
        Query { from: at(100_000), ..Query::default() },
        Query { trace: Some(trace(250)), ..Query::default() },
        Query { trace: Some(trace(250)), from: at(3000), ..Query::default() },
        Query { trace: Some([9; 16]), ..Query::default() },
        Query { kinds: vec![Reset::KIND], from: at(2000), to: at(2010), ..Query::default() },
    ];
    for query in queries {
        let expected: Vec<&Record> = all.iter().filter(|record| query.matches(record)).collect();
        let mut matches = find(folder.path(), query.clone(), Vec::new()).unwrap();
        let found: Vec<Record> = std::iter::from_fn(|| matches.read().unwrap()).collect();
        assert!(found.iter().eq(expected.iter().copied()), "{query:?}: {} and {}", found.len(), expected.len());
        assert_eq!(matches.verdict(), &Verdict::Clean);
        if query.trace.is_some() {
            assert!(matches.records_read() < 20, "{} records were read", matches.records_read());
        } else if query.from == at(5900) {
            assert!(matches.records_read() < 3500, "{} records were read", matches.records_read());
        }
    }
}

#[test]
fn a_segment_without_its_footer_is_searched_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let query = Query { trace: Some(trace(250)), ..Query::default() };
    let count = || {
        let mut matches = find(folder.path(), query.clone(), Vec::new()).unwrap();
        std::iter::from_fn(|| matches.read().unwrap()).count()
    };
    assert_eq!(count(), 6);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len().saturating_sub(1)]).unwrap();
    }
    assert_eq!(count(), 6);
}

#[test]
fn encrypted_payloads_open_with_their_key_and_are_judged_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = PayloadKey::new(&[5; 32]);
    let secret = "the vault is open";
    let mut journal = open(folder.path(), Options { payload_key: Some(key.clone()), ..Options::default() });
    for _ in 0..3 {
        journal.append(&Moment::default(), &Stop { cause: secret.into(), detail: String::new() }).unwrap();
    }
    let limit = Stop { cause: "x".repeat((1 << 20) - 10), detail: String::new() };
    assert!(matches!(journal.append(&Moment::default(), &limit), Err(AppendError::TooLarge { limit: 1_048_560, .. })));
    drop(journal);
    let path = folder.path().join("000001.eaplog");
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    assert_eq!(audit(folder.path(), &Expectations::default(), 1).unwrap().exit_code(), 0);

    let sealed = all(folder.path());
    assert!(sealed.iter().all(|record| record.encrypted && record.entry().is_err()));
    let mut reader = Reader::open(folder.path()).unwrap().with_keys(vec![PayloadKey::new(&[6; 32]), key]);
    let opened: Vec<Record> = std::iter::from_fn(|| reader.read().unwrap()).collect();
    assert_eq!(opened.len(), 3);
    for record in &opened {
        assert!(matches!(record.entry().unwrap(), Entry::Stop(stop) if stop.cause == secret));
    }
    assert_ne!(sealed[0].payload, sealed[1].payload, "equal payloads do not look alike");
}
