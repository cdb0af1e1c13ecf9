//! Segments that nothing is appended to any more are compressed, and everything about them is as before: records, digests,
//! signatures, seeking. Cut or flipped, they lose no whole record in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ecps_core::campaign::rounds;
use ecps_core::clock::Stamp;
use ecps_journal::record::{Motion, PlanarVelocity};
use ecps_journal::seek::{Query, find};
use ecps_journal::{
    Compression, Expectations, Identity, Journal, Moment, Options, PayloadKey, Reader, Record, SoftwareSigner, Verdict,
    audit,
};

fn options(payload_key: Option<PayloadKey>) -> Options {
    Options {
        segment_bytes: 1 << 20,
        signer: Some(Box::new(SoftwareSigner::from_seed("r1", &[1; 32]).unwrap())),
        payload_key,
        compression: Compression::Zstd,
        ..Options::default()
    }
}

/// Appends `count` motions of a robot that speeds up and slows down.
fn write(folder: &Path, count: u64, payload_key: Option<PayloadKey>) {
    let mut journal = open(folder, payload_key.clone());
    for _ in 0..count {
        let n = journal.sequence();
        let speed = Some(PlanarVelocity { x: (n as f64 / 50.0).sin(), y: 0.0, yaw: (n as f64 / 90.0).cos() });
        let mut motion = Motion { source: "cmd_vel_in".into(), raw: speed, applied: speed, ..Motion::default() };
        motion.stamp_ns = Some(n as i64 * 20_000_000);
        let trace = if n.is_multiple_of(10) { [(n / 10 % 251) as u8; 16] } else { [0; 16] };
        let moment = Moment { wall: Stamp(n as i64 * 20_000_000), trace, ..Moment::default() };
        journal.append_relaxed(&moment, &motion).unwrap();
    }
    drop(journal);
    // The next run compresses what is left, and has a segment of its own.
    let _journal = open(folder, payload_key);
    let deadline = Instant::now() + Duration::from_secs(60);
    while files(folder).iter().filter(|(name, _)| !name.ends_with(".zst")).count() > 1 {
        assert!(Instant::now() < deadline, "{:?}", files(folder));
        std::thread::yield_now();
    }
}

fn open(folder: &Path, payload_key: Option<PayloadKey>) -> Journal {
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    Journal::open_with(folder, identity, Stamp(1), options(payload_key)).unwrap().0
}

fn read(folder: &Path, keys: Vec<PayloadKey>) -> (Vec<Record>, Verdict) {
    let mut reader = Reader::open(folder).unwrap().with_keys(keys);
    let records = std::iter::from_fn(|| reader.read().unwrap()).collect();
    (records, reader.verdict().clone())
}

fn found(folder: &Path, query: &Query) -> (Vec<Record>, u64) {
    let mut matches = find(folder, query.clone(), Vec::new()).unwrap();
    let records = std::iter::from_fn(|| matches.read().unwrap()).collect();
    (records, matches.records_read())
}

/// Names and sizes of a journal's segments.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let listed = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    // One that is gone was just compressed.
    let sized =
        listed.filter_map(|entry| Some((entry.file_name().into_string().unwrap(), entry.metadata().ok()?.len())));
    let mut listed: Vec<_> = sized.filter(|(name, _)| name != "lock").collect();
    listed.sort();
    listed
}

/// The same journal, uncompressed by zstd itself.
fn uncompressed(folder: &Path) -> tempfile::TempDir {
    let plain = tempfile::tempdir().unwrap();
    for (name, _) in files(folder) {
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        match name.strip_suffix(".zst") {
            Some(name) => std::fs::write(plain.path().join(name), zstd::decode_all(bytes.as_slice()).unwrap()).unwrap(),
            None => std::fs::write(plain.path().join(name), bytes).unwrap(),
        }
    }
    plain
}

#[test]
fn a_compressed_journal_is_the_same_journal() {
    let key = PayloadKey::new(&[5; 32]);
    for payload_key in [None, Some(key.clone())] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 30_000, payload_key.clone());
        let listed = files(folder.path());
        let (last, earlier) = listed.split_last().unwrap();
        assert!(earlier.len() >= 4 && earlier.iter().all(|(name, _)| name.ends_with(".eaplog.zst")), "{listed:?}");
        assert!(last.0.ends_with(".eaplog"), "{listed:?}");

        let plain = uncompressed(folder.path());
        let keys: Vec<_> = payload_key.clone().into_iter().collect();
        let (records, verdict) = read(folder.path(), keys.clone());
        assert_eq!((&records, &verdict), (&read(plain.path(), keys).0, &Verdict::Clean));
        assert!(records.iter().enumerate().all(|(n, record)| record.header.sequence == n as u64 + 1));
        let (ours, theirs) =
            [folder.path(), plain.path()].map(|f| audit(f, &Expectations::default(), 2).unwrap()).into();
        assert_eq!((ours.exit_code(), &ours.end, &ours.authenticity), (0, &theirs.end, &theirs.authenticity));

        let sum = |folder: &Path| files(folder).iter().map(|(_, size)| *size).sum::<u64>() as f64;
        let ratio = sum(folder.path()) / sum(plain.path());
        assert!(ratio < if payload_key.is_some() { 0.8 } else { 0.6 }, "compressed to {ratio:.2}");
    }
}

#[test]
fn seeking_finds_the_same_and_reads_as_little() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 30_000, None);
    let plain = uncompressed(folder.path());
    let at = |n: i64| Some(Stamp(n * 20_000_000));
    for query in [
        Query { from: at(17_000), to: at(17_010), ..Query::default() },
        Query { trace: Some([77; 16]), ..Query::default() },
        Query { from: at(29_990), ..Query::default() },
    ] {
        let (records, read) = found(folder.path(), &query);
        assert!(!records.is_empty());
        assert_eq!((records, read), found(plain.path(), &query));
        assert!(read < 10_000, "{read} records were read for {query:?}");
    }
}

/// A compressed segment of its own, and its records.
fn segment(folder: &Path) -> (PathBuf, Vec<u8>, Vec<Record>) {
    write(folder, 4000, None);
    let path = folder.join("000001.eaplog.zst");
    let alone = folder.join("alone.eaplog");
    std::fs::rename(&path, &alone).unwrap();
    let (records, verdict) = read(&alone, Vec::new());
    assert_eq!(verdict, Verdict::Clean);
    let bytes = std::fs::read(&alone).unwrap();
    (alone, bytes, records)
}

#[test]
fn cut_anywhere_it_gives_a_beginning_of_its_records_and_says_that_it_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, records) = segment(folder.path());
    let mut last = 0;
    for cut in (1..bytes.len()).step_by(rounds(2003, 7) as usize) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (found, _) = read(&path, Vec::new());
        assert!(found.len() >= last && found == records[..found.len()], "cut at {cut}");
        last = found.len();
        assert_ne!(audit(&path, &Expectations::default(), 1).unwrap().exit_code(), 0, "cut at {cut}");
    }
    // Whole frames stand alone: all but the table and a little of the last is there.
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    assert!(read(&path, Vec::new()).0.len() > records.len() / 2);
}

#[test]
fn no_flipped_bit_changes_a_record_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, records) = segment(folder.path());
    let ends = [0..160, bytes.len() * 8 - 160..bytes.len() * 8].into_iter().flatten();
    let middle = (160..bytes.len() * 8 - 160).step_by(rounds(40_009, 501) as usize);
    let mut named = 0;
    for bit in ends.chain(middle) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, flipped).unwrap();
        let clean = audit(&path, &Expectations::default(), 1).is_ok_and(|audit| audit.exit_code() == 0);
        named += u32::from(!clean);
        // A bit that zstd gives no meaning leaves everything as it was.
        assert!(!clean || read(&path, Vec::new()).0 == records, "bit {bit} was accepted in silence");
    }
    assert!(named > 300, "{named}");
}

#[test]
fn what_a_compressed_segment_claims_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.eaplog");
    let table = |count: u32| {
        let mut bytes = b"\x28\xb5\x2f\xfd".to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.push(0);
        bytes.extend(0x8f92_eab1u32.to_le_bytes());
        bytes
    };
    // A window of 2 GiB for a frame without a size.
    let window = [b"\x28\xb5\x2f\xfd\x00\xa8".as_slice(), &[0xff; 64]].concat();
    for bytes in [table(u32::MAX), table(0), table(1), window] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(audit(&path, &Expectations::default(), 1).unwrap().exit_code(), 1);
        assert!(
            find(&path, Query { from: Some(Stamp(5)), ..Query::default() }, Vec::new())
                .unwrap()
                .read()
                .unwrap()
                .is_none()
        );
    }
    // A terabyte of zeros in a few bytes costs no memory, and is no journal.
    let zeros = zstd::bulk::compress(&vec![0; 100 << 20], 3).unwrap();
    std::fs::write(&path, zeros).unwrap();
    assert_ne!(audit(&path, &Expectations::default(), 1).unwrap().exit_code(), 0);
}
