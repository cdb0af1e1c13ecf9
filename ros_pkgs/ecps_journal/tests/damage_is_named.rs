//! Cut at every byte, flipped at every bit, records and segments removed, repeated and swapped: never a panic, never
//! silently accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;
use ecps_journal::record::Stop;
use ecps_journal::scan::{ChainError, Flaw, Segment, Step};
use ecps_journal::{Identity, Journal, Moment, Reader, Report, Verdict, verify};
use proptest::prelude::*;

fn write(folder: &Path, details: &[&str]) {
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (mut journal, _) = Journal::open(folder, identity, Stamp(1)).unwrap();
    for detail in details {
        journal.append(&Moment::default(), &Stop { cause: "requested".into(), detail: (*detail).into() }).unwrap();
    }
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.eaplog"))
}

/// Offsets of the records of segment 1, of its footer, and its end.
fn boundaries(folder: &Path) -> Vec<usize> {
    let mut reader = Reader::open(folder).unwrap();
    let mut found: Vec<usize> = Vec::new();
    let mut end = 0;
    while let Some(record) = reader.read().unwrap() {
        if record.segment == 1 {
            found.push(record.offset as usize);
            end = record.offset as usize + record.header.length;
        }
    }
    found.extend([end, std::fs::metadata(segment(folder, 1)).unwrap().len() as usize]);
    found
}

fn judge(folder: &Path, first_segment: &[u8]) -> Report {
    std::fs::write(segment(folder, 1), first_segment).unwrap();
    verify(folder).unwrap()
}

/// Records read of a segment in memory, and what ended the reading.
fn scan(bytes: &[u8]) -> (usize, Option<Flaw>) {
    let mut segment = match Segment::open(bytes).unwrap() {
        Ok(segment) => segment,
        Err(flaw) => return (0, Some(flaw)),
    };
    let mut records = 0;
    loop {
        match segment.read().unwrap() {
            Step::Record(_) => records += 1,
            Step::End => return (records, None),
            Step::Flaw(flaw) => return (records, Some(flaw)),
        }
    }
}

fn flaw(report: &Report) -> &Flaw {
    match &report.verdict {
        Verdict::Flawed { flaw, .. } => flaw,
        Verdict::Clean => panic!("accepted in silence"),
    }
}

#[test]
fn cut_at_every_byte_all_whole_records_before_the_cut_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["a", "bb", "ccc"]);
    let whole = std::fs::read(segment(folder.path(), 1)).unwrap();
    let at = boundaries(folder.path());
    for cut in 0..=whole.len() {
        let (records, flaw) = scan(&whole[..cut]);
        let before = at[1..4].iter().filter(|end| **end <= cut).count();
        assert_eq!(records, before, "cut at {cut}");
        let offset = at.iter().rev().find(|o| **o <= cut).map_or(0, |o| *o as u64);
        let torn = Flaw::Torn { offset };
        assert_eq!(flaw, (!at.contains(&cut)).then_some(torn), "cut at {cut}, whole only at a boundary");
    }
}

#[test]
fn a_flip_of_any_bit_is_damage_of_the_right_record() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["a", "bb", "ccc"]);
    let whole = std::fs::read(segment(folder.path(), 1)).unwrap();
    let at = boundaries(folder.path());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (records, flaw) = scan(&flipped);
        let record = at[1..4].iter().filter(|end| **end <= bit / 8).count();
        match flaw.unwrap_or_else(|| panic!("bit {bit} was accepted in silence")) {
            Flaw::Damaged { index, .. } => assert_eq!(index as usize, record, "bit {bit}"),
            // A superblock or footer whose length grew by a flip runs past the end; a footer without its mark is too
            // short for a record.
            Flaw::Torn { offset: 0 } => assert!((96..128).contains(&bit), "bit {bit}"),
            Flaw::Torn { offset } => {
                assert_eq!(offset as usize, at[3], "bit {bit}");
                assert!((0..8).contains(&(bit / 8 - at[3])), "bit {bit}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
        assert_eq!(records, record, "bit {bit}: what is before is still read");
    }
}

#[test]
fn removed_repeated_and_swapped_records_break_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["a", "b", "c"]);
    let whole = std::fs::read(segment(folder.path(), 1)).unwrap();
    let at = boundaries(folder.path());
    let part = |i: usize| &whole[at[i]..at[i + 1]];
    let head = &whole[..at[0]];
    for (what, order, found, expected) in [
        ("first removed", vec![1, 2], 2, 1),
        ("middle removed", vec![0, 2], 3, 2),
        ("repeated", vec![0, 0, 1, 2], 1, 2),
        ("swapped", vec![0, 2, 1], 3, 2),
    ] {
        let bytes: Vec<u8> = head.iter().chain(order.iter().flat_map(|i| part(*i))).copied().collect();
        let report = judge(folder.path(), &bytes);
        let reason = ChainError::Sequence { found, expected };
        assert!(matches!(flaw(&report), Flaw::ChainBroken { reason: r, .. } if *r == reason), "{what}: {report:?}");
    }
}

#[test]
fn a_record_of_another_journal_in_the_right_place_breaks_the_chain() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(ours.path(), &["a", "b"]);
    write(theirs.path(), &["x", "b"]);
    let (bytes, other) =
        (std::fs::read(segment(ours.path(), 1)).unwrap(), std::fs::read(segment(theirs.path(), 1)).unwrap());
    let at = boundaries(ours.path());
    let forged = [&bytes[..at[1]], &other[at[1]..at[2]]].concat();
    let report = judge(ours.path(), &forged);
    assert!(matches!(flaw(&report), Flaw::ChainBroken { index: 1, reason: ChainError::Digest, .. }), "{report:?}");
}

#[test]
fn removed_renamed_and_foreign_segments_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for details in [["a"], ["b"], ["c"]] {
        write(folder.path(), &details);
    }
    let verdict = || verify(folder.path()).unwrap();
    assert_eq!((verdict().verdict, verdict().records, verdict().segments), (Verdict::Clean, 3, 3));

    let second = std::fs::read(segment(folder.path(), 2)).unwrap();
    std::fs::remove_file(segment(folder.path(), 2)).unwrap();
    let broken = ChainError::Sequence { found: 3, expected: 2 };
    assert!(matches!(flaw(&verdict()), Flaw::ChainBroken { reason, .. } if *reason == broken));

    std::fs::write(segment(folder.path(), 2), &second).unwrap();
    std::fs::copy(segment(folder.path(), 2), segment(folder.path(), 4)).unwrap();
    let renamed = ChainError::Number { found: 2, expected: 4 };
    assert!(matches!(flaw(&verdict()), Flaw::ChainBroken { reason, .. } if *reason == renamed));

    let other = tempfile::tempdir().unwrap();
    write(other.path(), &["x"]);
    write(other.path(), &["b"]);
    std::fs::remove_file(segment(folder.path(), 4)).unwrap();
    std::fs::copy(segment(other.path(), 2), segment(folder.path(), 2)).unwrap();
    assert!(matches!(flaw(&verdict()), Flaw::ChainBroken { reason: ChainError::Digest, .. }));
}

#[test]
fn a_tail_of_zeros_is_torn_and_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &["a"]);
    let mut bytes = std::fs::read(segment(folder.path(), 1)).unwrap();
    bytes.truncate(boundaries(folder.path())[1]);
    let offset = bytes.len() as u64;
    bytes.extend([0; 5000]);
    let report = judge(folder.path(), &bytes);
    assert_eq!((flaw(&report), report.records), (&Flaw::Torn { offset }, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ecps_core::campaign::rounds(64, 10_000), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_are_read_without_panic_and_not_as_clean(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let folder = tempfile::tempdir().unwrap();
        let report = judge(folder.path(), &bytes);
        prop_assert_eq!(report.records, 0);
        prop_assert_ne!(report.verdict, Verdict::Clean);
    }
}
