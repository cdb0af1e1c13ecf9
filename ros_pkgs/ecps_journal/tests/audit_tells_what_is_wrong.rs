//! Integrity, authenticity, completeness and freshness are told apart, and what is wrong is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_journal::audit::{Authenticity, Ending, Freshness};
use ecps_journal::format::{digest, record_digest};
use ecps_journal::note::Note;
use ecps_journal::record::{Checkpoint, Payload, Stop};
use ecps_journal::scan::{ChainError, Flaw, RawStep, Segment};
use ecps_journal::{
    Audit, Expectations, Identity, Journal, Moment, Options, Reader, Signer, SoftwareSigner, Verdict, audit,
};

fn signer(seed: u8) -> SoftwareSigner {
    SoftwareSigner::from_seed("r1", &[seed; 32]).unwrap()
}

/// A checkpoint after every tenth record.
fn options(seed: u8) -> Options {
    let signer: Option<Box<dyn Signer>> = Some(Box::new(signer(seed)));
    Options { signer, checkpoint_records: 10, checkpoint_period: Duration::from_secs(1000), ..Options::default() }
}

fn open(folder: &Path, options: Options) -> Journal {
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    Journal::open_with(folder, identity, Stamp(1), options).unwrap().0
}

fn append(journal: &mut Journal, count: u64) {
    for n in 1..=count {
        let moment = Moment { wall: Stamp(n as i64 * 1_000_000_000), ..Moment::default() };
        journal.append(&moment, &Stop { cause: "requested".into(), detail: n.to_string() }).unwrap();
    }
}

/// Waits until the notary has put a checkpoint into the file.
fn wait_for_checkpoints(folder: &Path, count: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while kinds(folder).iter().filter(|kind| **kind == Checkpoint::KIND).count() < count {
        assert!(std::time::Instant::now() < deadline, "{:?}", kinds(folder));
        std::thread::yield_now();
    }
}

fn kinds(folder: &Path) -> Vec<u16> {
    let mut reader = Reader::open(folder).unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).map(|record| record.header.kind).collect()
}

fn trusting(seed: u8) -> Expectations {
    Expectations { keys: vec![signer(seed).verifier().clone()], ..Expectations::default() }
}

fn check(folder: &Path, expected: &Expectations) -> Audit {
    let one = audit(folder, expected, 1).unwrap();
    assert_eq!(audit(folder, expected, 4).unwrap(), one, "threads change nothing");
    one
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.eaplog"))
}

/// The superblock, the records and the footer of a segment.
fn parts(path: &Path) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let mut segment = Segment::open(bytes.as_slice()).unwrap().unwrap();
    let (superblock, mut records) = (segment.superblock_bytes().to_vec(), Vec::new());
    while let RawStep::Record(raw) = segment.read_raw().unwrap() {
        records.push(raw.bytes.to_vec());
    }
    let end = superblock.len() + records.iter().map(Vec::len).sum::<usize>();
    (superblock, records, bytes[end..].to_vec())
}

/// Chains records anew, as someone would who knows the format and has no key.
fn rechain(records: &mut [Vec<u8>], from: usize) {
    for n in from..records.len() {
        let previous = record_digest(&records[n - 1]);
        let record = &mut records[n];
        record[48..80].copy_from_slice(&previous);
        mend_sums(record);
    }
}

fn mend_sums(record: &mut [u8]) {
    let sum = crc32c::crc32c(&record[..80]);
    record[80..84].copy_from_slice(&sum.to_le_bytes());
    let end = record.len() - 4;
    let sum = crc32c::crc32c(&record[..end]);
    record[end..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_closed_signed_journal_is_clean_in_every_respect() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), options(1));
    append(&mut journal, 10);
    wait_for_checkpoints(folder.path(), 1);
    append(&mut journal, 5);
    assert_eq!(check(folder.path(), &trusting(1)).completeness.ending, Ending::Live);
    drop(journal);
    let found = check(folder.path(), &trusting(1));
    assert_eq!((found.exit_code(), &found.integrity), (0, &Verdict::Clean));
    assert!(found.completeness.is_complete(), "{}", found.completeness);
    let Authenticity::Signed { vouched, after: 0 } = &found.authenticity else { panic!("{:?}", found.authenticity) };
    assert_eq!((vouched.size, vouched.time), (16, Stamp(5_000_000_000)));
    assert_eq!(found.adopted, []);
    assert_eq!(found.freshness, Freshness::NotAsked);

    let self_signed = check(folder.path(), &Expectations::default());
    assert!(matches!(self_signed.authenticity, Authenticity::SelfSigned { after: 0, .. }));
    assert_eq!(self_signed.exit_code(), 0);
    let other = check(folder.path(), &trusting(2));
    assert!(matches!(other.authenticity, Authenticity::Bad { .. }), "{}", other.authenticity);
    assert_eq!(other.exit_code(), 5);
}

#[test]
fn an_unsigned_journal_does_not_pass_where_a_key_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut open(folder.path(), Options::default()), 3);
    let found = check(folder.path(), &Expectations::default());
    assert_eq!((found.exit_code(), found.authenticity), (0, Authenticity::Unsigned));
    assert_eq!(check(folder.path(), &trusting(1)).exit_code(), 5);
}

#[test]
fn a_record_forged_with_a_chain_that_fits_is_found_by_the_checkpoint_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), options(1));
    append(&mut journal, 10);
    wait_for_checkpoints(folder.path(), 1);
    append(&mut journal, 2);
    drop(journal);
    let path = segment(folder.path(), 1);
    let (superblock, mut records, _) = parts(&path);
    let at = records[4].len() - 5;
    records[4][at] ^= 1;
    mend_sums(&mut records[4]);
    rechain(&mut records, 5);
    std::fs::write(&path, [superblock, records.concat()].concat()).unwrap();
    let found = check(folder.path(), &trusting(1));
    assert_eq!(found.integrity, Verdict::Clean, "the chain alone shows nothing");
    let Authenticity::Bad { segment: 1, sequence: 11, reason } = &found.authenticity else {
        panic!("{:?}", found.authenticity)
    };
    assert_eq!(reason, "the first 10 records are not those that were signed");
    assert_eq!(found.exit_code(), 5);
}

#[test]
fn a_superblock_that_lies_about_the_records_before_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        append(&mut open(folder.path(), Options::default()), 3);
    }
    let path = segment(folder.path(), 2);
    let (mut superblock, mut records, _) = parts(&path);
    // A peak of the tree, and everything after it mended.
    superblock[150] ^= 1;
    let end = superblock.len() - 4;
    let sum = crc32c::crc32c(&superblock[..end]);
    superblock[end..].copy_from_slice(&sum.to_le_bytes());
    records[0][48..80].copy_from_slice(&digest(&superblock));
    mend_sums(&mut records[0]);
    rechain(&mut records, 1);
    std::fs::write(&path, [superblock, records.concat()].concat()).unwrap();
    let found = check(folder.path(), &Expectations::default());
    let tree = Flaw::ChainBroken { index: 0, offset: 0, reason: ChainError::Tree };
    assert_eq!(found.integrity, Verdict::Flawed { segment: 2, flaw: tree });
    assert_eq!(found.exit_code(), 4);
}

/// Opens with another session.
fn open_as(session: u8, folder: &Path, options: Options) -> Journal {
    let identity = Identity { robot: "r1".into(), session: [session; 16], boot: [2; 16] };
    Journal::open_with(folder, identity, Stamp(1), options).unwrap().0
}

#[test]
fn records_that_somebody_without_the_key_appended_are_bad_and_stay_marked_when_the_robot_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut open_as(1, folder.path(), options(1)), 3);
    append(&mut open_as(2, folder.path(), Options::default()), 2);
    let found = check(folder.path(), &trusting(1));
    assert_eq!((&found.integrity, found.exit_code()), (&Verdict::Clean, 5), "{found:?}");
    assert!(found.authenticity.to_string().contains("no trusted key signed its last 2 records"));
    append(&mut open_as(3, folder.path(), options(1)), 4);
    let found = check(folder.path(), &trusting(1));
    assert!(matches!(found.authenticity, Authenticity::Signed { after: 0, .. }), "{}", found.authenticity);
    assert_eq!(found.adopted, [(4, 5)]);
}

#[test]
fn a_footer_of_another_index_is_found() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&ours, &theirs] {
        append(&mut open(folder.path(), options(1)), 3);
    }
    let path = segment(ours.path(), 1);
    let (superblock, records, mut footer) = parts(&path);
    // A count in the index, and the checksum mended.
    let at = footer.windows(2).rposition(|pair| pair == [0x08, 0x04]).unwrap() + 3;
    footer[at] += 1;
    let end = footer.len() - 12;
    let sum = crc32c::crc32c(&footer[..end]);
    footer[end..end + 4].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, [superblock, records.concat(), footer].concat()).unwrap();
    let found = check(ours.path(), &trusting(1));
    assert!(matches!(found.authenticity, Authenticity::Bad { segment: 1, .. }), "{}", found.authenticity);
    assert_eq!(found.exit_code(), 5);
}

#[test]
fn a_tail_removed_up_to_the_last_checkpoint_is_an_open_end_and_behind_what_was_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), options(1));
    append(&mut journal, 10);
    wait_for_checkpoints(folder.path(), 1);
    append(&mut journal, 5);
    drop(journal);
    let known = check(folder.path(), &trusting(1)).authenticity.vouched().unwrap().note.clone();
    let path = segment(folder.path(), 1);
    let (superblock, records, _) = parts(&path);
    std::fs::write(&path, [superblock, records[..11].concat()].concat()).unwrap();
    let found = check(folder.path(), &Expectations { checkpoint: known, ..trusting(1) });
    assert_eq!(found.integrity, Verdict::Clean);
    assert!(matches!(found.authenticity, Authenticity::Signed { after: 1, .. }));
    assert_eq!(found.completeness.ending, Ending::Open);
    assert_eq!(found.freshness, Freshness::Behind { size: 16, last: 11 });
    assert_eq!(found.exit_code(), 3);
    assert_eq!(check(folder.path(), &trusting(1)).exit_code(), 3, "also where nothing was known");
}

#[test]
fn a_journal_that_was_written_anew_by_the_same_key_does_not_hold_what_was_known() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    append(&mut open(folders[0].path(), options(1)), 3);
    append(&mut open(folders[1].path(), options(1)), 8);
    let known: Option<Note> = check(folders[0].path(), &trusting(1)).authenticity.vouched().unwrap().note.clone();
    let expected = Expectations { checkpoint: known, ..trusting(1) };
    assert_eq!(check(folders[0].path(), &expected).freshness, Freshness::Fresh);
    // Goes on, and still holds.
    append(&mut open(folders[0].path(), options(1)), 4);
    assert_eq!(check(folders[0].path(), &expected).freshness, Freshness::Fresh);
    let mut other = open(folders[1].path(), options(1));
    other.append(&Moment::default(), &Stop::default()).unwrap();
    drop(other);
    // The same first records, so the same tree: a fork must differ to be one.
    assert_eq!(check(folders[1].path(), &expected).freshness, Freshness::Fresh);
    let third = tempfile::tempdir().unwrap();
    let mut forked = open(third.path(), options(1));
    forked.append(&Moment::default(), &Stop { cause: "other".into(), detail: String::new() }).unwrap();
    append(&mut forked, 5);
    drop(forked);
    let found = check(third.path(), &expected);
    assert_eq!((&found.freshness, found.exit_code()), (&Freshness::Forked, 5));
}

#[test]
fn an_old_checkpoint_is_stale_by_the_clock_handed_in() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut open(folder.path(), options(1)), 3);
    let at = |seconds: i64| Expectations {
        max_age: Some((Duration::from_secs(10), Stamp(seconds * 1_000_000_000))),
        ..trusting(1)
    };
    assert_eq!(check(folder.path(), &at(13)).freshness, Freshness::Fresh);
    let stale = check(folder.path(), &at(14));
    assert_eq!(
        stale.freshness,
        Freshness::Stale { age: Some(Duration::from_secs(11)), limit: Duration::from_secs(10) }
    );
    assert_eq!(stale.exit_code(), 3);
}

#[test]
fn a_missing_segment_is_named_by_its_records() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        append(&mut open(folder.path(), options(1)), 5);
    }
    std::fs::rename(segment(folder.path(), 2), folder.path().join("kept")).unwrap();
    let found = check(folder.path(), &trusting(1));
    assert_eq!(found.completeness.missing, [(6, 10)]);
    assert_eq!(found.exit_code(), 4);
    assert!(matches!(found.authenticity, Authenticity::Signed { .. }), "what is there is still vouched for");

    std::fs::rename(folder.path().join("kept"), segment(folder.path(), 2)).unwrap();
    std::fs::remove_file(segment(folder.path(), 1)).unwrap();
    let found = check(folder.path(), &trusting(1));
    let start = found.completeness.start;
    assert_eq!((start.segment, start.sequence, start.retired), (2, 6, false));
    assert_eq!((found.integrity.clone(), found.exit_code()), (Verdict::Clean, 3));
}

#[test]
fn retention_removes_the_oldest_segments_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 64 << 10, retain_bytes: Some(200 << 10), ..options(1) };
    let mut journal = open(folder.path(), options);
    let large = Stop { cause: "x".repeat(20 << 10), detail: String::new() };
    for _ in 0..40 {
        journal.append(&Moment::default(), &large).unwrap();
    }
    drop(journal);
    let size: u64 = (1..100).filter_map(|n| std::fs::metadata(segment(folder.path(), n)).ok()).map(|m| m.len()).sum();
    assert!(size < 400 << 10, "{size}");
    let found = check(folder.path(), &trusting(1));
    assert!(found.completeness.start.segment > 1);
    assert!(found.completeness.start.retired, "{}", found.completeness);
    assert_eq!(found.exit_code(), 0, "{found:?}");
    assert!(matches!(found.authenticity, Authenticity::Signed { after: 0, .. }));
}

#[test]
fn damage_of_a_record_is_code_4_and_a_torn_tail_code_3_and_nothing_readable_code_1() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut open(folder.path(), Options::default()), 3);
    let path = segment(folder.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    let (superblock, records, _) = parts(&path);
    let mut damaged = whole.clone();
    damaged[superblock.len() + 90] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(check(folder.path(), &Expectations::default()).exit_code(), 4);
    std::fs::write(&path, &whole[..superblock.len() + records[0].len() + 7]).unwrap();
    assert_eq!(check(folder.path(), &Expectations::default()).exit_code(), 3);
    std::fs::write(&path, &whole[..20]).unwrap();
    assert_eq!(check(folder.path(), &Expectations::default()).exit_code(), 1);
}
