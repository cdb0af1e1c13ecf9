//! Processes are started, watched, killed, started again, and none outlives the supervisor.
//!
//! Whether all of a process tree is gone is seen without waiting for a time: every process of it holds a FIFO open for
//! writing, and the reader sees the end of it when the last one is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ecps_cli::launch::{Plan, Process};
use ecps_cli::supervise::{Event, Exit, Stream, SuperviseError, Supervisor};
use rustix::process::{Pid, Signal, kill_process};

const ECPS: &str = env!("CARGO_BIN_EXE_ecps");
/// For what must happen; only a failure takes so long.
const LIMIT: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(30);

/// Says that it runs, starts a child that no SIGINT stops, and waits.
const TREE: &str = "exec 3>\"$FIFO\"; echo ready >&3; sleep 1000 & wait";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Happened {
    Started,
    Line(Stream, String),
    Ended(Exit),
}

/// Starts shell scripts by label, and gives what happens to them.
fn start(scripts: &[(&str, &str)], fifo: &Path, grace: Duration) -> (Supervisor, Receiver<(String, Happened)>) {
    let processes = scripts.iter().map(|(label, script)| Process {
        label: (*label).to_owned(),
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".to_owned(), (*script).to_owned()],
        environment: [("FIFO".to_owned(), fifo.display().to_string())].into(),
        namespace: "/".to_owned(),
        name: None,
    });
    let (sender, receiver) = channel();
    let sink = move |event: Event<'_>| {
        let (label, happened) = match event {
            Event::Started { label, .. } => (label, Happened::Started),
            Event::Line { label, stream, text } => (label, Happened::Line(stream, text.to_owned())),
            Event::Ended { label, exit } => (label, Happened::Ended(exit)),
        };
        let _ = sender.send((label.to_owned(), happened));
    };
    let plan = Plan { processes: processes.collect() };
    (Supervisor::start(plan, Path::new(ECPS), grace, Arc::new(sink)).unwrap(), receiver)
}

/// All that happens to `label` up to its end.
fn until_end(events: &Receiver<(String, Happened)>, label: &str) -> Vec<Happened> {
    let mut all = Vec::new();
    loop {
        let (of, happened) = events.recv_timeout(LIMIT).unwrap();
        if of == label {
            all.push(happened.clone());
            if matches!(happened, Happened::Ended(_)) {
                return all;
            }
        }
    }
}

fn fifo() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    (folder, path)
}

/// Opens the FIFO, waits until one says that it is ready, then calls `then`, after which all writers must end.
fn all_end_after(fifo: &Path, then: impl FnOnce()) {
    let (ready_sender, ready) = channel();
    let (end_sender, end) = channel();
    let fifo = fifo.to_owned();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(fs::File::open(fifo).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        ready_sender.send(line).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
        end_sender.send(()).unwrap();
    });
    assert_eq!(ready.recv_timeout(LIMIT).unwrap(), "ready\n");
    assert!(end.try_recv().is_err(), "it runs until it is stopped");
    then();
    end.recv_timeout(LIMIT).expect("some process is still running");
}

#[test]
fn lines_and_ends_are_reported() {
    let (_folder, fifo) = fifo();
    let talk = "echo out; printf 'no end'; echo wrong >&2; exit 3";
    let (supervisor, events) = start(&[("talk", talk), ("crash", "kill -SEGV $$")], &fifo, GRACE);
    let mut crash_and_talk: Vec<(String, Happened)> = Vec::new();
    while crash_and_talk.iter().filter(|(_, happened)| matches!(happened, Happened::Ended(_))).count() < 2 {
        crash_and_talk.push(events.recv_timeout(LIMIT).unwrap());
    }
    let of = |label: &str| -> Vec<Happened> {
        crash_and_talk.iter().filter(|(of, _)| of == label).map(|(_, happened)| happened.clone()).collect()
    };
    let talk = of("talk");
    assert_eq!((&talk[0], &talk[talk.len() - 1]), (&Happened::Started, &Happened::Ended(Exit::Code(3))));
    for (stream, text) in [(Stream::Out, "out"), (Stream::Out, "no end"), (Stream::Err, "wrong")] {
        assert!(talk.contains(&Happened::Line(stream, text.to_owned())), "{talk:?}");
    }
    assert_eq!(of("crash").last(), Some(&Happened::Ended(Exit::Signal(11))));
    assert!(supervisor.running().is_empty());
}

#[test]
fn shutdown_and_drop_stop_whole_trees() {
    let (_folder, path) = fifo();
    let (mut supervisor, _events) = start(&[("tree", TREE)], &path, GRACE);
    all_end_after(&path, || assert_eq!(supervisor.shutdown(), [("tree".to_owned(), Exit::Signal(2))]));

    let (_folder, path) = fifo();
    let (supervisor, _events) = start(&[("tree", TREE)], &path, GRACE);
    all_end_after(&path, || drop(supervisor));
}

#[test]
fn what_ignores_sigint_and_sigterm_is_killed() {
    let (_folder, path) = fifo();
    let stubborn = "trap '' INT TERM; exec 3>\"$FIFO\"; echo ready >&3; sleep 1000 & while :; do wait; done";
    let (mut supervisor, _events) = start(&[("stubborn", stubborn)], &path, Duration::from_millis(50));
    all_end_after(&path, || assert_eq!(supervisor.shutdown(), [("stubborn".to_owned(), Exit::Signal(9))]));
}

#[test]
fn one_process_is_killed_and_started_again_by_name() {
    let (_folder, path) = fifo();
    let (mut supervisor, events) = start(&[("robot1/a", TREE), ("robot1/b", "sleep 1000")], &path, GRACE);
    all_end_after(&path, || supervisor.kill("robot1/a").unwrap());
    assert_eq!(until_end(&events, "robot1/a").last(), Some(&Happened::Ended(Exit::Signal(9))));
    assert_eq!(supervisor.running(), ["robot1/b"]);
    assert!(matches!(supervisor.kill("robot1/a"), Err(SuperviseError::NotRunning(_))));
    assert!(matches!(supervisor.stop("robot1/a"), Err(SuperviseError::NotRunning(_))));

    supervisor.restart("robot1/a").unwrap();
    assert_eq!(supervisor.running(), ["robot1/a", "robot1/b"]);
    supervisor.restart("robot1/b").unwrap();
    assert_eq!(until_end(&events, "robot1/b").last(), Some(&Happened::Ended(Exit::Signal(2))));
    assert_eq!(supervisor.running(), ["robot1/a", "robot1/b"]);
    all_end_after(&path, || assert_eq!(supervisor.stop("robot1/a").unwrap(), Exit::Signal(2)));
    let error = supervisor.kill("c").unwrap_err().to_string();
    assert_eq!(error, "there is no process `c`; there are robot1/a, robot1/b");
}

/// A launch file with one node per script, in an ament prefix.
fn ecps_up(scripts: &[(&str, &str)], fifo: &Path, folder: &Path) -> Child {
    fs::create_dir_all(folder.join("lib/p")).unwrap();
    let mut nodes = String::new();
    for (name, script) in scripts {
        let path = folder.join("lib/p").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        nodes.push_str(&format!("<node pkg=\"p\" exec=\"{name}\" name=\"{name}\" namespace=\"r\"/>"));
    }
    let file = folder.join("t.launch.xml");
    fs::write(&file, format!("<launch>{nodes}</launch>")).unwrap();
    let mut command = Command::new(ECPS);
    command.arg("up").arg(file).env("AMENT_PREFIX_PATH", folder).env("FIFO", fifo);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_killed_ecps_leaves_nothing_behind() {
    let (folder, path) = fifo();
    let mut ecps = ecps_up(&[("tree", TREE)], &path, folder.path());
    all_end_after(&path, || ecps.kill().unwrap());
    ecps.wait().unwrap();
}

#[test]
fn ecps_up_passes_signals_on_and_says_whether_all_went_well() {
    for (scripts, signal, code) in [
        (&[("tree", TREE)][..], Signal::INT, 0),
        (&[("tree", TREE)], Signal::TERM, 0),
        (&[("tree", TREE), ("fails", "echo failing; exit 7")], Signal::INT, 1),
    ] {
        let (folder, path) = fifo();
        let mut ecps = ecps_up(scripts, &path, folder.path());
        let mut lines = BufReader::new(ecps.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut errors = BufReader::new(ecps.stderr.take().unwrap()).lines().map(Result::unwrap);
        all_end_after(&path, || {
            if scripts.len() > 1 {
                // The others run on when one has failed.
                assert_eq!(lines.find(|line| line.contains("failing")).unwrap(), "[r/fails] failing");
                assert_eq!(errors.next().unwrap(), "[r/fails] ended with exit code 7");
            }
            kill_process(Pid::from_child(&ecps), signal).unwrap();
        });
        assert_eq!(ecps.wait().unwrap().code(), Some(code), "{scripts:?}");
        assert!(lines.any(|line| line == "[r/tree] ended with signal 2"));
    }
}

#[test]
fn ecps_up_ends_with_its_last_process() {
    for (script, code) in [("exit 0", 0), ("exit 4", 1)] {
        let (folder, path) = fifo();
        let ecps = ecps_up(&[("short", script)], &path, folder.path());
        assert_eq!(ecps.wait_with_output().unwrap().status.code(), Some(code), "{script}");
    }
}

#[test]
fn what_cannot_start_is_one_line_and_exit_code_1() {
    for (arguments, line) in [
        (
            &["up", "./none.launch.xml"][..],
            "ecps: launch file ./none.launch.xml: No such file or directory (os error 2)\n",
        ),
        (&["up", "./none.launch.xml", "oops"], "ecps: `oops` is not of the form name:=value\n"),
        (&["exec-guarded", "--"], "ecps: exec-guarded needs a program after --\n"),
    ] {
        let output = Command::new(ECPS).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    }
}
