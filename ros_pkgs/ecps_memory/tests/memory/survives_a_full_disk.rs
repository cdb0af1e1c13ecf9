//! A disk that is full indeed: a file system of a few megabytes, and a limit on the size of files.

use std::process::Command;

use ecps_memory::{Cause, Query, Record, verify};

use crate::{Scratch, kept, like, open, record};

const HOME: &str = "ECPS_MEMORY_FULL_HOME";
/// What the reason has to say.
const REASON: &str = "ECPS_MEMORY_FULL_REASON";
const FEW_MEGABYTES: &str = "mount -t tmpfs -o size=4m tmpfs \"$ECPS_MEMORY_FULL_HOME\"";

fn large(number: usize) -> Record {
    let payload = vec![number as u8; 200 << 10];
    Record { namespace: "default".into(), payload, ..record(&format!("{number:02}"), &[1.0, number as f32]) }
}

/// Not a test by itself: the process that runs out of disk.
#[test]
fn child() {
    let (Some(home), Ok(expected)) = (std::env::var_os(HOME), std::env::var(REASON)) else { return };
    let (path, ballast) = (std::path::Path::new(&home).join("memory.db"), std::path::Path::new(&home).join("ballast"));
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let memory = open(&path);
    let mut there = 0;
    let error = loop {
        match memory.put(vec![large(there)]).wait() {
            Ok(_) => there += 1,
            Err(error) => break error,
        }
        assert!(there < 100, "the disk never became full");
    };
    assert!(there > 2, "too soon: {error}");
    assert_eq!(error.cause(), Cause::Storage);
    assert_eq!(error.to_string(), format!("the memory file cannot do it: {expected}"));
    assert_eq!(memory.stats().last_refusal, error.to_string());
    assert!(memory.put(vec![large(there)]).wait().is_err(), "and again");

    let all_there = |memory: &ecps_memory::Memory| {
        for number in 0..there {
            let found = memory.get("", &format!("{number:02}")).wait().unwrap();
            assert!(found == kept(large(number)), "record {number} is not what was put");
        }
        let answer = memory.query(Query { k: 100, min_sim: -1.0, ..like(&[1.0, 0.0]) }).wait().unwrap();
        assert_eq!((answer.hits.len(), answer.total_matched, answer.cut_short), (there, there as u64, false));
    };
    all_there(&memory);
    assert_eq!(memory.damages(), []);

    std::fs::remove_file(ballast).unwrap();
    drop(memory);
    let memory = open(&path);
    all_there(&memory);
    memory.put(vec![Record { namespace: "later".into(), ..record("", &[1.0]) }]).wait().unwrap();
    drop(memory);
    let report = verify(&path).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

#[test]
fn puts_are_refused_with_the_reason_and_reads_go_on() {
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let this_test = "exec \"$0\" --exact survives_a_full_disk::child --nocapture";
    let run = |mut command: Command, script: &str, reason: &str| {
        let scratch = Scratch::new();
        let child = command.arg(script).arg(std::env::current_exe().unwrap());
        child.env(HOME, scratch.folder.path()).env(REASON, reason).output().unwrap()
    };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(namespace);
        command
    };
    let passed = |child: std::process::Output| {
        let told = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && told.contains("1 passed"), "{told}");
    };
    // Not everywhere may everyone have a file system of their own.
    let scratch = Scratch::new();
    let may_mount = unshare().arg(FEW_MEGABYTES).env(HOME, scratch.folder.path()).output();
    if may_mount.is_ok_and(|tried| tried.status.success()) {
        passed(run(unshare(), &format!("{FEW_MEGABYTES} && {this_test}"), "database or disk is full"));
    } else {
        eprintln!("no file system of our own here: files of limited size have to do");
    }
    let mut shell = Command::new("sh");
    shell.arg("-c");
    passed(run(shell, &format!("trap '' XFSZ; ulimit -f 6000; {this_test}"), "disk I/O error"));
}
