//! `ecps raft` on a group of real members.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ecps_testing::root;

const SOON: Duration = Duration::from_secs(30);

struct Group {
    folder: tempfile::TempDir,
    /// As in 1=127.0.0.1:7001.
    members: Vec<String>,
    running: Vec<Child>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.running.iter_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

impl Group {
    /// Three members, and the address of a fourth that does not run.
    fn new() -> Group {
        let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let members = held.iter().enumerate();
        let members = members.map(|(i, held)| format!("{}={}", i + 1, held.local_addr().unwrap())).collect();
        let mut group = Group { folder: tempfile::tempdir().unwrap(), members, running: Vec::new() };
        drop(held);
        for id in [3, 2, 1] {
            group.start(id, if id == 1 { &["--begin"] } else { &[] });
        }
        group
    }

    fn start(&mut self, id: usize, more: &[&str]) {
        let known = if id <= 3 { 3 } else { 4 };
        let mut command = Command::new(root().join("target/debug/examples/consensus_member"));
        command.arg(id.to_string()).arg(self.folder.path().join(id.to_string()));
        command.args(&self.members[..known]).args(more).stdout(Stdio::null());
        self.running.push(command.spawn().unwrap());
    }

    fn raft(&self, members: &[usize], arguments: &[&str]) -> Output {
        let mut command = Command::new(root().join("target/debug/ecps"));
        command.arg("raft");
        command.args(members.iter().flat_map(|id| ["--member", &self.members[id - 1]]));
        command.args(arguments).output().unwrap()
    }

    /// Lines of `status`, once `holds` is true of them and the command has succeeded.
    fn status(&self, members: &[usize], holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let output = self.raft(members, &["status"]);
            let lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
            if output.status.success() && holds(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "{lines:?} {output:?}");
        }
    }
}

fn leads(lines: &[String]) -> bool {
    lines.iter().filter(|line| line.contains(": leader,")).count() == 1
}

#[test]
fn status_snapshot_and_members_do_as_they_say() {
    let mut group = Group::new();
    let lines = group.status(&[1, 2, 3], leads);
    assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("voters [1, 2, 3]")), "{lines:?}");

    let leader = lines.iter().find(|line| line.contains(": leader,")).unwrap();
    assert!(!leader.contains("elections 0") && leader.contains("commits 0 (p50 within -"), "{leader}");

    assert!(group.raft(&[1, 2, 3], &["snapshot"]).status.success());
    let made = |line: &String| !line.contains("snapshot -") && line.contains("snapshots made 1 and installed 0");
    group.status(&[1, 2, 3], |lines| lines.iter().all(made));
    for id in 1..=3 {
        assert!(Path::new(&group.folder.path().join(id.to_string()).join("snapshot")).exists(), "member {id}");
    }

    group.start(4, &[]);
    let learner = group.members[3].clone();
    let added = group.raft(&[1, 2, 3], &["members", "add", &learner]);
    assert!(added.status.success(), "{added:?}");
    group.status(&[4], |lines| lines[0].contains(": learner,"));
    let voters = group.raft(&[1, 2, 3], &["members", "voters", "1", "2", "3", "4"]);
    assert!(voters.status.success(), "{voters:?}");
    group.status(&[1, 4], |lines| lines.iter().all(|line| line.contains("voters [1, 2, 3, 4]")));

    group.running[0].kill().unwrap();
    let output = group.raft(&[1, 2, 3], &["status"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.lines().any(|line| line.starts_with("member 3: member 3 did not reply")), "{said}");
}

#[test]
fn a_member_that_cannot_be_is_named() {
    let ecps = |arguments: &[&str]| Command::new(root().join("target/debug/ecps")).args(arguments).output().unwrap();
    let wrong = ecps(&["raft", "--member", "nope", "status"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("NUMBER=ADDRESS"), "{wrong:?}");
    let none = ecps(&["raft", "status"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("--member"), "{none:?}");
}
