//! Shared memory of the fast lane: 64 MiB, which a killed bridge leaves behind, and the next one removes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ecps_testing::{Process, Ros, SOON};
use rustix::process::Signal;

const FAST_LANE: u64 = 60 << 20;

/// The large segment of a process. It maps those of its peers, too.
fn segment(process: &Process, of_peers: &[PathBuf]) -> PathBuf {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().last()).map(PathBuf::from);
    let is_large = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|facts| facts.len() > FAST_LANE);
    let mut segments = paths.filter(|path| path.starts_with("/dev/shm") && is_large(path) && !of_peers.contains(path));
    segments.next().unwrap_or_else(|| panic!("no segment of shared memory in\n{maps}"))
}

/// Makes a lock look as if it were there for long.
fn age(segment: &Path) {
    let lock = File::options().append(true).open(format!("{}_el", segment.display())).unwrap();
    lock.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

#[test]
fn the_next_bridge_removes_what_a_killed_one_left_and_nothing_that_is_in_use() {
    let ros = Ros::new();
    let start = |name: &str| ros.node_in_fast_lane("ltp_bridge", &["-r", &format!("__ns:=/{name}")]);
    let killed = start("killed");
    let orphan = segment(&killed, &[]);
    let living = start("living");
    let used = segment(&living, std::slice::from_ref(&orphan));
    killed.signal(Signal::KILL);
    killed.finish(SOON);
    assert!(orphan.exists(), "Fast DDS cleans up by itself now: this code can go");
    age(&orphan);
    age(&used);
    let next = start("next");
    assert!(!orphan.exists(), "{} is still there", orphan.display());
    assert!(used.exists(), "{} is gone, and its process lives", used.display());
    for bridge in [living, next] {
        bridge.interrupt().assert_success();
    }
    assert!(!used.exists(), "who ends as asked leaves nothing");
}
