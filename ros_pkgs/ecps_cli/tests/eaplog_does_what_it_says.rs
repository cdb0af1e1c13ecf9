//! The command `eaplog` as people run it: its output, its files and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecps_core::clock::Stamp;
use ecps_core::wire::proto::Eap;
use ecps_journal::record::{Action, Motion, Outcome, PlanarVelocity, Verdict};
use ecps_journal::{Compression, Direction, Identity, Journal, Moment, Options, PayloadKey, Signer, SoftwareSigner};
use prost::Message as _;

/// Runs `eaplog`; exit code, standard output, standard error.
fn eaplog<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_eaplog")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

macro_rules! eaplog {
    ($($argument:expr),* $(,)?) => {
        eaplog([$(AsRef::<OsStr>::as_ref(&$argument).to_owned()),*])
    };
}

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../ecps_journal/tests/golden/v{version}.eaplog"))
}

fn moment(second: i64, direction: Direction) -> Moment {
    Moment { wall: Stamp((1_700_000_000 + second) * 1_000_000_000), direction, trace: [9; 16], ..Moment::default() }
}

/// One action that drives and ends, and a refused velocity; two runs, so two segments.
fn write(folder: &Path, options: impl Fn() -> Options) {
    for run in [0, 100] {
        let identity = Identity { robot: "r1".into(), session: [run as u8; 16], boot: [2; 16] };
        let (mut journal, _) = Journal::open_with(folder, identity, Stamp(1), options()).unwrap();
        let eap = Eap { spec: "eap/0.1".into(), id: format!("move-{run}"), ..Eap::default() }.encode_to_vec();
        let action = Action { caller: "planner".into(), eap, verdict: Verdict::Admitted.into(), ..Action::default() };
        let sequence = journal.append(&moment(run, Direction::Inbound), &action).unwrap();
        let velocity = Some(PlanarVelocity { x: 0.25, y: 0.0, yaw: -0.5 });
        let motion = Motion {
            source: "execute".into(),
            raw: velocity,
            applied: velocity,
            verdict: Verdict::Admitted.into(),
            action_sequence: sequence,
            ..Motion::default()
        };
        journal.append(&moment(run + 1, Direction::Outbound), &motion).unwrap();
        let refused = Motion { verdict: Verdict::Refused.into(), reason: "stale".into(), ..Motion::default() };
        journal.append(&moment(run + 2, Direction::Inbound), &refused).unwrap();
        let outcome = Outcome { action_sequence: sequence, ..Outcome::default() };
        journal.append(&moment(run + 3, Direction::Internal), &outcome).unwrap();
    }
}

fn signed() -> Options {
    let signer = SoftwareSigner::from_seed("r1", &[3; 32]).unwrap();
    Options { signer: Some(Box::new(signer)), ..Options::default() }
}

fn verifier() -> String {
    SoftwareSigner::from_seed("r1", &[3; 32]).unwrap().verifier().to_string()
}

/// All segments' bytes.
fn contents(folder: &Path) -> Vec<Vec<u8>> {
    (1..=2).map(|n| std::fs::read(folder.join(format!("{n:06}.eaplog"))).unwrap()).collect()
}

#[test]
fn validate_has_an_exit_code_for_each_verdict_and_json_that_says_the_same() {
    let home = tempfile::tempdir().unwrap();
    let (journal, saved) = (home.path().join("journal"), home.path().join("checkpoint"));
    write(&journal, signed);
    let (code, text, _) = eaplog!["validate", journal, "--key", verifier(), "--save-checkpoint", saved];
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("integrity:    clean") && text.contains("signed up to record 8"), "{text}");
    let (code, text, _) = eaplog!["validate", journal, "--key", verifier(), "--checkpoint", saved, "--json"];
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["freshness"]["verdict"], &json["exit_code"]), (0, &"fresh".into(), &0.into()));
    assert_eq!(json["authenticity"]["verdict"], "signed");

    let other = SoftwareSigner::from_seed("r2", &[4; 32]).unwrap().verifier().to_string();
    assert_eq!(eaplog!["validate", journal, "--key", other].0, 5);
    assert_eq!(eaplog!["validate", journal, "--key", "nonsense"].0, 1);
    assert_eq!(eaplog!["validate"].0, 2);
    assert_eq!(eaplog!["validate", home.path().join("nowhere")].0, 1);

    let last = journal.join("000002.eaplog");
    let whole = std::fs::read(&last).unwrap();
    let footer = whole.windows(4).rposition(|bytes| bytes == [0xff; 4]).unwrap();
    std::fs::write(&last, &whole[..footer - 3]).unwrap();
    let (code, text, _) = eaplog!["validate", journal, "--key", verifier(), "--checkpoint", saved];
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("torn tail") && text.contains("rolled back") && text.contains("not closed"), "{text}");
    let mut damaged = whole.clone();
    damaged[footer - 20] ^= 1;
    std::fs::write(&last, &damaged).unwrap();
    let (code, text, _) = eaplog!["validate", journal];
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("record 3 of segment 2"), "{text}");
}

#[test]
fn old_files_validate_as_what_can_be_told_of_them() {
    let home = tempfile::tempdir().unwrap();
    for version in ["1.0", "1.1", "2.0", "2.1"] {
        let (code, text, _) = eaplog!["validate", golden(version)];
        assert!(code == 0 && text.contains("no checksums"), "{text}");
        let (_, text, _) = eaplog!["info", golden(version), "--json"];
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["version"], &json["records"]), (&version.into(), &3.into()));
        let cut = home.path().join("cut");
        let whole = std::fs::read(golden(version)).unwrap();
        std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(eaplog!["validate", cut].0, 3);
        let mut changed = whole.clone();
        let at = whole.len() - 200;
        changed[at] ^= 0xff;
        std::fs::write(&cut, &changed).unwrap();
        assert_ne!(eaplog!["validate", cut].0, 0, "{version}");
    }
}

#[test]
fn conversion_and_back_gives_the_same_bytes_and_a_change_on_the_way_is_seen() {
    let home = tempfile::tempdir().unwrap();
    let journal = home.path().join("journal");
    write(&journal, signed);
    for form in ["jsonl", "csv", "mcap"] {
        let (there, back) = (home.path().join(format!("there.{form}")), home.path().join(form));
        let (code, _, error) = eaplog!["convert", journal, there];
        assert_eq!(code, 0, "{form}: {error}");
        let (code, text, error) = eaplog!["convert", there, back];
        assert_eq!(code, 0, "{form}: {text} {error}");
        assert_eq!(contents(&back), contents(&journal), "{form}");
        assert_eq!(eaplog!["convert", there, back].0, 1, "a folder that exists is left alone");
    }
    let there = std::fs::read_to_string(home.path().join("there.jsonl")).unwrap();
    let changed = there.replacen("\"direction\":2", "\"direction\":1", 1);
    assert_ne!(there, changed);
    std::fs::write(home.path().join("changed.jsonl"), changed).unwrap();
    let (code, text, _) = eaplog!["convert", home.path().join("changed.jsonl"), home.path().join("changed")];
    assert_eq!(code, 4, "{text}");
    let broken = home.path().join("broken.csv");
    std::fs::write(&broken, "row,bytes\nrecord,!\n").unwrap();
    let (code, _, error) = eaplog!["convert", broken, home.path().join("broken")];
    assert!(code == 1 && error.contains("line 2"), "{error}");
}

#[test]
fn the_bag_is_ros_2_with_messages_that_others_know() {
    let home = tempfile::tempdir().unwrap();
    let (journal, bag) = (home.path().join("journal"), home.path().join("out.mcap"));
    write(&journal, Options::default);
    assert_eq!(eaplog!["export", "--mcap", bag, journal].0, 0);
    let bytes = std::fs::read(&bag).unwrap();
    let messages: Vec<_> = mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap).collect();
    let count = |topic: &str| messages.iter().filter(|message| message.channel.topic == topic).count();
    assert_eq!(["action", "motion", "motion/applied", "outcome"].map(|t| count(&format!("/eaplog/{t}"))), [2, 4, 2, 2]);
    let twist = messages.iter().find(|message| message.channel.topic == "/eaplog/motion/applied").unwrap();
    assert_eq!(twist.data.len(), 52);
    assert_eq!(twist.data[4..12], 0.25f64.to_le_bytes());
    assert_eq!(twist.data[44..], (-0.5f64).to_le_bytes());
    assert_eq!(twist.log_time, 1_700_000_001_000_000_000);
}

#[test]
fn records_are_listed_and_extracted_by_time_kind_and_id() {
    let home = tempfile::tempdir().unwrap();
    let journal = home.path().join("journal");
    write(&journal, Options::default);
    let lines = |arguments: &[&str]| {
        let (code, text, error) = eaplog([&["list", journal.to_str().unwrap()], arguments].concat());
        assert_eq!(code, 0, "{error}");
        text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(lines(&[]), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(lines(&["--kind", "motion"]), [2, 3, 6, 7]);
    assert_eq!(lines(&["--from", "2023-11-14T22:13:22Z", "--to", "2023-11-14T22:14:00Z"]), [3, 4]);
    assert_eq!(lines(&["--id", "move-100"]), [5, 6, 8]);
    assert_eq!(lines(&["--id", "move-100", "--kind", "Outcome"]), [8]);
    assert_eq!(lines(&["--trace", &"09".repeat(16), "--limit", "2"]), [1, 2]);
    assert_eq!(eaplog!["list", journal, "--kind", "nonsense"].0, 2);
    let actions = home.path().join("actions.binpb");
    let (code, _, error) = eaplog!["extract", journal, actions, "--form", "actions"];
    assert!(code == 0 && error.starts_with("2 written"), "{error}");

    // From there to files of every version, which hold the same two actions.
    for version in ["1.0", "1.1", "2.0", "2.1", "3.0"] {
        let file = home.path().join(version);
        assert_eq!(eaplog!["create", file, "--version", version, "--actions", actions].0, 0);
        let (_, text, _) = eaplog!["info", file, "--json"];
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["version"], &json["records"]), (&version.into(), &2.into()));
        let (code, text, _) = eaplog!["diff", journal, file];
        let same = if version == "3.0" { code == 1 } else { code == 0 && text.contains("2 equal") };
        assert!(same, "{version}: {text}");
    }
}

#[test]
fn old_files_are_migrated_one_by_one_and_in_batches() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (home.path().join("old"), home.path().join("new"));
    std::fs::create_dir(&old).unwrap();
    for version in ["1.0", "1.1", "2.1"] {
        std::fs::copy(golden(version), old.join(format!("{version}.eaplog"))).unwrap();
    }
    let (code, text, _) = eaplog!["batch-migrate", old, new];
    assert!(code == 0 && text.contains("3 of 3 migrated"), "{text}");
    assert!(text.contains("1.0 → 1.1 → 2.0 → 2.1 → 3.0"), "{text}");
    for version in ["1.0", "1.1", "2.1"] {
        let file = format!("{version}.eaplog");
        assert_eq!(eaplog!["validate", new.join(&file)].0, 0);
        assert_eq!(eaplog!["diff", old.join(&file), new.join(&file)].0, 0);
    }
    assert_eq!(eaplog!["batch-migrate", old, new].0, 1, "nothing is overwritten");
    let whole = std::fs::read(golden("1.0")).unwrap();
    std::fs::write(old.join("cut.eaplog"), &whole[..whole.len() - 1]).unwrap();
    let (code, text, _) = eaplog!["migrate", old.join("cut.eaplog"), home.path().join("cut"), "--to", "2.0"];
    assert!(code == 3 && text.contains("is cut"), "{text}");
    assert_eq!(eaplog!["migrate", old.join("cut.eaplog"), home.path().join("x"), "--to", "7.0"].0, 2);
    assert_eq!(eaplog!["list-versions"].1.lines().count(), 5);
}

#[test]
fn recover_copies_what_is_whole_and_finds_what_stands_behind_damage() {
    let home = tempfile::tempdir().unwrap();
    let (journal, saved) = (home.path().join("journal"), home.path().join("saved"));
    write(&journal, signed);
    let first = journal.join("000001.eaplog");
    let mut bytes = std::fs::read(&first).unwrap();
    let at = bytes.windows(7).rposition(|window| window == b"execute").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    let (code, text, error) = eaplog!["recover", journal, saved];
    assert!(code == 3 && text.contains("5 whole records"), "{text} {error}");
    let salvaged = std::fs::read_to_string(saved.join("salvaged.jsonl")).unwrap();
    let sequences: Vec<u64> = salvaged
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, [3, 4]);
    let kept = std::fs::read(saved.join("000001.eaplog")).unwrap();
    assert_eq!(kept, bytes[..kept.len()]);
    assert_eq!(
        std::fs::read(saved.join("000002.eaplog")).unwrap(),
        std::fs::read(journal.join("000002.eaplog")).unwrap()
    );
}

#[test]
fn keys_are_the_owners_alone_and_what_they_encrypt_is_read_only_with_them() {
    let home = tempfile::tempdir().unwrap();
    let (signing, payload, journal) =
        (home.path().join("sign"), home.path().join("payload"), home.path().join("journal"));
    let (code, made, _) = eaplog!["keys", "generate", "--name", "r7", signing];
    assert_eq!((code, &made), (0, &eaplog!["keys", "show", signing].1));
    assert!(made.starts_with("r7+"));
    assert_eq!(eaplog!["keys", "generate", "--name", "r7", signing].0, 1, "a key is not overwritten");
    assert_eq!(eaplog!["keys", "generate-payload", payload].0, 0);
    assert_eq!(eaplog!["keys", "list", home.path()].1.lines().count(), 2);

    write(&journal, || Options { payload_key: Some(PayloadKey::load(&payload).unwrap()), ..Options::default() });
    assert!(!eaplog!["list", journal].1.contains("planner"));
    assert!(eaplog!["list", journal, "--payload-key", payload].1.contains("planner"));
    assert_eq!(eaplog!["validate", journal].0, 0);
    let (there, back) = (home.path().join("there.mcap"), home.path().join("back"));
    assert_eq!(eaplog!["convert", journal, there, "--payload-key", payload].0, 0);
    assert_eq!(eaplog!["convert", there, back].0, 0);
    assert_eq!(contents(&back), contents(&journal));
}

#[test]
fn the_report_is_one_page_with_verdicts_timeline_refusals_and_gaps() {
    let home = tempfile::tempdir().unwrap();
    let (journal, page) = (home.path().join("journal"), home.path().join("page.html"));
    write(&journal, signed);
    assert_eq!(eaplog!["report", journal, "--html", page].0, 0);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.starts_with("<!doctype html>") && ["src=", "href=", "<script"].iter().all(|part| !html.contains(part))
    );
    for part in [
        "Journal of r1",
        ">Motion</text>",
        "<td>stale</td><td class=\"value\">2</td>",
        "97.0 s",
        "signed up to record 8",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("<td>after record").count(), 7);
    assert_eq!(eaplog!["report", journal, "--html", page].0, 1, "a page is not overwritten");
}

#[test]
fn every_command_takes_a_compressed_journal_for_what_it_holds() {
    let home = tempfile::tempdir().unwrap();
    let (journal, plain) = (home.path().join("journal"), home.path().join("plain"));
    write(&journal, signed);
    std::fs::create_dir(&plain).unwrap();
    let name = |n: u64| format!("{n:06}.eaplog");
    for n in [1, 2] {
        std::fs::copy(journal.join(name(n)), plain.join(name(n))).unwrap();
    }
    // The next run compresses what it finds.
    let identity = Identity { robot: "r1".into(), session: [7; 16], boot: [2; 16] };
    let options = Options { compression: Compression::Zstd, ..signed() };
    let (next, _) = Journal::open_with(&journal, identity, Stamp(1), options).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while [1, 2].iter().any(|n| journal.join(name(*n)).exists()) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    drop(next);
    std::fs::copy(journal.join(name(3)), plain.join(name(3))).unwrap();

    for command in [&["info"][..], &["validate", "--key", &verifier()], &["list"], &["list", "--kind", "motion"]] {
        let on = |folder: &Path| eaplog(command.iter().map(OsStr::new).chain([folder.as_os_str()]));
        let (ours, theirs) = (on(&journal), on(&plain));
        assert_eq!((ours.0, ours.1.replace("journal", "plain")), (0, theirs.1), "{command:?}: {}", ours.2);
    }
    let converted = |folder: &Path, name: &str| {
        let file = home.path().join(name);
        assert_eq!(eaplog!["convert", folder, file].0, 0);
        std::fs::read(file).unwrap()
    };
    assert_eq!(converted(&journal, "ours.jsonl"), converted(&plain, "theirs.jsonl"));
    assert_eq!(eaplog!["diff", journal, plain].0, 0);
    let (saved, one) = (home.path().join("saved"), journal.join("000001.eaplog.zst"));
    assert_eq!(eaplog!["recover", journal, saved].0, 0);
    assert_eq!(contents(&saved), contents(&plain));
    assert_eq!(eaplog!["info", one].0, 0);

    // Cut in its one frame, it is torn, and what is whole elsewhere is there.
    let bytes = std::fs::read(&one).unwrap();
    std::fs::write(&one, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(eaplog!["validate", journal].0, 3, "recovered, with loss");
    assert_eq!(eaplog!["list", journal].1.lines().count(), 4, "those of the second run");
    assert_eq!(eaplog!["recover", journal, home.path().join("again")].0, 3);
}
