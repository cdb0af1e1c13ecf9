//! What `append` has returned for is read back after the process was killed. The child is this test binary again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use ecps_core::clock::Stamp;
use ecps_journal::record::{Motion, PlanarVelocity};
use ecps_journal::{Identity, Journal, Moment, verify};

const FOLDER: &str = "ECPS_JOURNAL_TEST_FOLDER";

/// Does nothing unless it is the child: then it appends for ever, and says each sequence once `append` has returned.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
    let (mut journal, _) = Journal::open(Path::new(&folder), identity, Stamp(1)).unwrap();
    let raw = Some(PlanarVelocity { x: 0.5, y: 0.0, yaw: 0.1 });
    let motion = Motion { source: "cmd_vel_in".into(), raw, applied: raw, ..Motion::default() };
    let mut out = std::io::stderr();
    loop {
        let sequence = journal.append(&Moment::default(), &motion).unwrap();
        writeln!(out, "appended {sequence}").unwrap();
    }
}

#[test]
fn every_acknowledged_record_is_there_after_sigkill() {
    let (mut folder, mut acknowledged, mut most) = (tempfile::tempdir().unwrap(), 0, 0);
    for kills in 1..=ecps_core::campaign::rounds(5, 1000) as usize {
        if kills % 20 == 0 {
            // All of it is read after each kill: a new one keeps that short.
            (folder, acknowledged) = (tempfile::tempdir().unwrap(), 0);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = |limit: usize| {
            for line in lines.by_ref().take(limit) {
                // The last line may have been cut by the kill.
                let line = line.unwrap_or_default();
                if let Some(sequence) = line.strip_prefix("appended ").and_then(|s| s.parse::<u64>().ok()) {
                    acknowledged = sequence.max(acknowledged);
                }
            }
        };
        said(100 * kills.min(5));
        child.kill().unwrap();
        child.wait().unwrap();
        said(usize::MAX);
        let report = verify(folder.path()).unwrap();
        assert!(report.verdict.is_whole(), "{}", report.verdict);
        let last = report.end.unwrap().sequence;
        assert_eq!(last, report.records);
        assert!(last >= acknowledged, "{acknowledged} were acknowledged and {last} are there");
        most = acknowledged.max(most);
    }
    assert!(most >= 1500);
}
