//! The demo is a promise of the README: it runs, every claim in its table holds, and it draws its report.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn demo(report: &Path, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("target/debug/ecps"))
        .arg("demo")
        .arg("--report")
        .arg(report)
        .args(arguments)
        .output()
        .expect("target/debug/ecps starts; `cargo build` makes it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = std::fs::read_to_string(report.join("run/nodes.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{}\nthe nodes said:\n{log}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn the_simulated_robot_perceives_remembers_recalls_and_moves_under_guard() {
    let folder = tempfile::tempdir().unwrap();
    let said = demo(folder.path(), &[]);
    assert!(said.contains("29 of 29 claims hold"), "{said}");
    let page = std::fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert!(page.contains("Rogue commands refused") && page.contains("Five robots"));
    assert!(!page.contains("src=") && !page.contains("href=\"http"), "the report loads something from elsewhere");
}

#[test]
fn a_real_robots_recording_is_restored_remembered_and_its_revisits_recognised() {
    let bag = std::env::var_os("ECPS_BAG").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/intel_lab/intel_lab.mcap"),
        PathBuf::from,
    );
    if !bag.exists() {
        // Past the capturing of `cargo test`, so that it is seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there; ECPS_BAG names a recording", bag.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = demo(folder.path(), &["--bag", bag.to_str().unwrap()]);
    assert!(said.contains("7 of 7 claims hold"), "{said}");
    assert_eq!(said.matches("2726 of 2726").count(), 2, "restored, remembered: {said}");
}
