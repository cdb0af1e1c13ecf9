//! A reader that was written from `docs/eaplog-3.0.md` alone, in another language, agrees with this library: on the golden
//! file and on a journal that is written here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_journal::audit::Authenticity;
use ecps_journal::note::VerifierKey;
use ecps_journal::record::{Entry, Stop};
use ecps_journal::{Expectations, Identity, Journal, Moment, Options, Reader, Signer, SoftwareSigner, audit};

/// Checks the golden file.
const GOLDEN_KEY: &str = "golden+2cda50e4+AcH+UagHK8zQdi1OwCcRVBd4REW0iMU22RtkwVBCc3jG";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn stranger(segment: &Path) -> Output {
    Command::new("python3").arg(file("stranger.py")).arg(segment).output().unwrap()
}

fn found(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_golden_file_is_what_its_key_signed_and_holds_the_actions_it_was_made_from() {
    let path = file("golden/v3.0.eaplog");
    let expected = Expectations { keys: vec![VerifierKey::parse(GOLDEN_KEY).unwrap()], ..Expectations::default() };
    let audit = audit(&path, &expected, 1).unwrap();
    assert!(matches!(audit.authenticity, Authenticity::Signed { after: 0, .. }), "{}", audit.authenticity);
    assert_eq!(audit.exit_code(), 0);
    let mut reader = Reader::open(&path).unwrap();
    let entries: Vec<Entry> =
        std::iter::from_fn(|| reader.read().unwrap()).map(|record| record.entry().unwrap()).collect();
    let [Entry::Source(source), imported @ ..] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((source.version.as_str(), source.records, imported.len()), ("2.1", 3, 3));
    let json = found(&stranger(&path));
    assert_eq!((&json["robot"], &json["verifier"]), (&"arm-7".into(), &GOLDEN_KEY.into()));
    assert_eq!(json["kinds"], serde_json::json!({ "19": 1, "20": 3 }));
}

#[test]
fn a_signed_journal_with_checkpoints_is_read_by_a_stranger_and_a_forged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let signer: Box<dyn Signer> = Box::new(SoftwareSigner::from_seed("r1", &[1; 32]).unwrap());
    let period = Duration::from_millis(1);
    let options =
        Options { signer: Some(signer), checkpoint_records: 5, checkpoint_period: period, ..Options::default() };
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (mut journal, _) = Journal::open_with(folder.path(), identity, Stamp(1), options).unwrap();
    for n in 0..50 {
        journal.append(&Moment::default(), &Stop { cause: "requested".into(), detail: n.to_string() }).unwrap();
    }
    drop(journal);
    let path = folder.path().join("000001.eaplog");
    assert_eq!(found(&stranger(&path))["kinds"]["4"], 50);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).rposition(|window| window == b"requested").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = stranger(&path);
    assert!(String::from_utf8_lossy(&output.stderr).contains("checksum of a record"));
}
