//! Versions 1.0 to 2.1: golden files that were made byte by byte, read, written and migrated without losing or inventing an
//! action.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;
use ecps_journal::legacy::{
    Header, LegacyError, LegacyFlaw, LegacyReader, LegacyRecord, LegacyWriter, Version, version,
};
use ecps_journal::migrate::{MigrateError, Migrated, migrate};
use ecps_journal::record::Entry;
use ecps_journal::{Options, Reader, Verdict};
use sha2::{Digest as _, Sha256};

const OLD: [Version; 4] = [Version::V1_0, Version::V1_1, Version::V2_0, Version::V2_1];

fn golden(version: Version) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}.eaplog"))
}

fn read(path: &Path) -> (Vec<LegacyRecord>, Option<LegacyFlaw>) {
    let mut reader = LegacyReader::open(path).unwrap();
    let records = std::iter::from_fn(|| reader.read().unwrap()).collect();
    (records, reader.flaw().cloned())
}

fn to(version: Version, source: &Path, target: &Path) -> Result<Migrated, MigrateError> {
    migrate(source, target, version, Stamp(1_700_000_000_000_000_000), Options::default())
}

#[test]
fn golden_files_of_every_old_version_read_as_the_three_actions_they_hold() {
    let bare = std::fs::read(golden(Version::V1_0)).unwrap();
    for wanted in OLD {
        let path = golden(wanted);
        assert_eq!(version(&path).unwrap(), wanted);
        let (records, flaw) = read(&path);
        assert_eq!(flaw, None);
        let ids: Vec<String> = records.iter().map(|record| record.action.clone().unwrap().id).collect();
        assert_eq!(ids, ["move-1", "grip-2", "nav-3"], "{wanted}");
        let framed: Vec<u8> = records
            .iter()
            .flat_map(|record| [&(record.bytes.len() as u32).to_le_bytes(), record.bytes.as_slice()].concat())
            .collect();
        assert_eq!(framed, bare, "the bytes as they are");
        let header = LegacyReader::open(&path).unwrap().header().cloned();
        assert_eq!(header.is_some(), wanted != Version::V1_0);
        assert!(header.is_none_or(|header| header.text_field("robot_id") == Some("arm-7")));
    }
}

#[test]
fn cut_at_every_byte_the_whole_records_before_are_read_and_the_loss_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for version in [Version::V1_0, Version::V2_1] {
        let whole = std::fs::read(golden(version)).unwrap();
        let (records, _) = read(&golden(version));
        let ends: Vec<usize> = records.iter().map(|r| r.offset as usize + 4 + r.bytes.len()).collect();
        let start = records[0].offset as usize;
        let path = folder.path().join("cut");
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (found, flaw) = read(&path);
            if cut < start && cut > 0 {
                // Without its header it cannot be told from 1.0, and its text is no action.
                assert!(found.is_empty() && flaw.is_some(), "{cut}");
                continue;
            }
            let before = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(found.as_slice(), &records[..before], "cut at {cut}");
            let boundary = cut == start || cut == 0 || ends.contains(&cut);
            assert_eq!(flaw.is_none(), boundary, "cut at {cut}");
        }
    }
}

#[test]
fn headers_that_lie_and_records_of_a_gigabyte_are_named_and_nothing_is_invented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let put = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
    let bare = std::fs::read(golden(Version::V1_0)).unwrap();

    // A header of 4 GB, and a record of a billion bytes.
    for length in [u32::MAX, 1_000_000_000] {
        put(&[&length.to_le_bytes(), bare.as_slice()].concat());
        let (records, flaw) = read(&path);
        assert_eq!((records.len(), flaw.unwrap().lost_bytes()), (0, bare.len() as u64 + 4));
    }
    put(&[0; 5000]);
    assert!(matches!(read(&path), (records, Some(LegacyFlaw::Length { length: 0, .. })) if records.is_empty()));

    let headed = |json: &str| [&(json.len() as u32).to_le_bytes(), json.as_bytes(), bare.as_slice()].concat();
    put(&headed(r#"{"magic":"EAPLOG","version":"9.9"}"#));
    assert!(matches!(LegacyReader::open(&path), Err(LegacyError::Header(_))));
    // Not a header after all: 1.0, whose first record is no action, and is not taken for one.
    put(&headed(r#"{"magic":"OTHER","version":"2.0"}"#));
    let (records, flaw) = read(&path);
    assert_eq!((records.len(), records[0].action.is_none()), (4, true));
    assert_eq!(flaw, Some(LegacyFlaw::NotAnAction { index: 0, offset: 0 }));

    put(b"\x89EAPL\r\n\x1a");
    assert!(matches!(LegacyReader::open(&path), Err(LegacyError::NotLegacy)));
}

#[test]
fn every_version_migrates_to_every_later_one_and_the_original_stays() {
    let folder = tempfile::tempdir().unwrap();
    for from in OLD {
        let source = golden(from);
        let bytes = std::fs::read(&source).unwrap();
        let sha: [u8; 32] = Sha256::digest(&bytes).into();
        let (records, _) = read(&source);
        for later in Version::ALL {
            let target = folder.path().join(format!("{from}-{later}"));
            let result = to(later, &source, &target);
            if later <= from {
                assert!(matches!(result, Err(MigrateError::NotLater { .. })), "{from} to {later}");
                assert!(!target.exists());
                continue;
            }
            let done = result.unwrap();
            assert_eq!((done.steps[0], *done.steps.last().unwrap(), done.records), (from, later, 3));
            assert_eq!((done.source_sha256, done.flaw), (sha, None));
            assert_eq!(version(&target).unwrap(), later);
            assert_eq!(std::fs::read(&source).unwrap(), bytes);
            if later < Version::V3_0 {
                let found: Vec<_> = read(&target).0.into_iter().map(|record| record.bytes).collect();
                assert!(found.iter().eq(records.iter().map(|record| &record.bytes)));
                let header = LegacyReader::open(&target).unwrap().header().unwrap().text();
                let digest: String = sha.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(header.contains(&digest), "{header}");
                let kept = from == Version::V1_0 || header.contains(r#""site":"lab""#);
                assert!(kept, "{header}");
            } else {
                assert_is_imported(&target, from, &sha, &records);
            }
            assert!(matches!(to(later, &source, &target), Err(MigrateError::Target { .. })), "it is not overwritten");
        }
    }
}

fn assert_is_imported(path: &Path, from: Version, sha: &[u8; 32], records: &[LegacyRecord]) {
    let mut reader = Reader::open(path).unwrap();
    let Entry::Source(source) = reader.read().unwrap().unwrap().entry().unwrap() else { panic!() };
    assert_eq!((source.version.as_str(), source.sha256.as_slice()), (from.name(), sha.as_slice()));
    assert_eq!((source.records, source.lost_bytes), (3, 0));
    for record in records {
        let Entry::Imported(found) = reader.read().unwrap().unwrap().entry().unwrap() else { panic!() };
        assert_eq!((found.index, &found.eap), (record.index, &record.bytes));
    }
    assert!(reader.read().unwrap().is_none());
    assert_eq!(reader.verdict(), &Verdict::Clean);
}

#[test]
fn migrating_a_cut_file_keeps_what_is_whole_and_says_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("cut"), folder.path().join("new"));
    let whole = std::fs::read(golden(Version::V2_0)).unwrap();
    std::fs::write(&source, &whole[..whole.len() - 5]).unwrap();
    let done = to(Version::V3_0, &source, &target).unwrap();
    assert_eq!(done.records, 2);
    let lost = done.flaw.unwrap().lost_bytes();
    let mut reader = Reader::open(&target).unwrap();
    let Entry::Source(source) = reader.read().unwrap().unwrap().entry().unwrap() else { panic!() };
    assert_eq!((source.records, source.lost_bytes), (2, lost));
}

#[test]
fn what_is_written_for_old_tools_is_what_they_expect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let (records, _) = read(&golden(Version::V1_0));
    let header = Header::new(Version::V1_1, Stamp(1_700_000_000_000_000_000), "r1", [7; 16]);
    let mut writer = LegacyWriter::create(&path, Some(&header)).unwrap();
    records.iter().for_each(|record| writer.write(&record.bytes).unwrap());
    assert!(writer.write(&[]).is_err());
    writer.finish().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
    assert_eq!(json["magic"], "EAPLOG");
    assert_eq!(json["version"], "1.1");
    assert_eq!(json["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(json["session_id"], "07".repeat(16));
    assert_eq!(&bytes[4 + length..], std::fs::read(golden(Version::V1_0)).unwrap());
}
