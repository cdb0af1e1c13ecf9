//! Every start goes on after the last whole record, in a new segment, and leaves what is there as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ecps_core::clock::Stamp;
use ecps_journal::record::{Entry, Stop};
use ecps_journal::scan::Flaw;
use ecps_journal::{Identity, Journal, Moment, OpenError, Reader, Recovered, Verdict};

fn open(folder: &Path) -> Result<(Journal, Recovered), OpenError> {
    Journal::open(folder, Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] }, Stamp(1))
}

fn append(journal: &mut Journal, detail: &str) -> u64 {
    journal.append(&Moment::default(), &Stop { cause: "requested".into(), detail: detail.into() }).unwrap()
}

fn details(folder: &Path) -> (Vec<String>, Verdict) {
    let mut reader = Reader::open(folder).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        let Entry::Stop(stop) = record.entry().unwrap() else { panic!("{record:?}") };
        found.push(format!("{}:{}", record.header.sequence, stop.detail));
    }
    (found, reader.verdict().clone())
}

#[test]
fn sequence_and_chain_go_on_over_starts_also_over_one_that_wrote_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, recovered) = open(&path).unwrap();
    assert_eq!(recovered, Recovered { sequence: 0, verdict: Verdict::Clean });
    append(&mut journal, "a");
    drop(journal);
    drop(open(&path).unwrap());
    let (mut journal, recovered) = open(&path).unwrap();
    assert_eq!(recovered.sequence, 1);
    assert_eq!(append(&mut journal, "b"), 2);
    drop(journal);
    assert_eq!(details(&path), (vec!["1:a".into(), "2:b".into()], Verdict::Clean));
}

#[test]
fn a_torn_tail_stays_and_is_named_and_the_records_after_it_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path()).unwrap();
    append(&mut journal, "a");
    append(&mut journal, "b");
    drop(journal);
    let first = folder.path().join("000001.eaplog");
    let mut bytes = std::fs::read(&first).unwrap();
    let mut reader = Reader::open(&first).unwrap();
    reader.read().unwrap();
    let second = reader.read().unwrap().unwrap();
    bytes.truncate(second.offset as usize + second.header.length - 3);
    std::fs::write(&first, &bytes).unwrap();
    // A start that died while it wrote its superblock.
    std::fs::write(folder.path().join("000002.eaplog"), &bytes[..50]).unwrap();

    let (mut journal, recovered) = open(folder.path()).unwrap();
    assert_eq!(recovered.sequence, 1);
    assert!(matches!(recovered.verdict, Verdict::Flawed { segment: 1, flaw: Flaw::Torn { .. } }));
    assert_eq!(append(&mut journal, "c"), 2);
    drop(journal);
    let (found, verdict) = details(folder.path());
    assert_eq!(found, ["1:a", "2:c"]);
    assert!(matches!(verdict, Verdict::Flawed { segment: 1, flaw: Flaw::Torn { .. } }));
    assert!(verdict.is_whole());
    assert_eq!(std::fs::read(&first).unwrap(), bytes, "nothing was erased");
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Locked(_))));
    drop(journal);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn only_the_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let _journal = open(&path).unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("000001.eaplog"))), (0o700, 0o600));
}

#[test]
fn what_cannot_be_a_journal_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = open(&file).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
    let identity = Identity { robot: String::new(), session: [0; 16], boot: [0; 16] };
    assert!(matches!(Journal::open(folder.path(), identity, Stamp(0)), Err(OpenError::RobotName { size: 0 })));
    assert!(Reader::open(folder.path()).is_err());
}
