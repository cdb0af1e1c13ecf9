//! Each byte of a member's log and of its snapshot, flipped: the member does not start, or nothing that counts has changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ecps_consensus::disk::{Disk, MemberFolder};
use ecps_consensus::log::Log;
use ecps_consensus::machine::Machine;
use ecps_consensus::runtime::{Runtime, Worker};
use ecps_consensus::state::Apply;
use ecps_consensus::types::Epoch;
use ecps_core::campaign::rounds;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine};
use openraft::{CommittedLeaderId, EntryPayload, LogId, RaftLogReader as _, RaftSnapshotBuilder, TokioRuntime, Vote};
use rusqlite::Connection;

const ENTRIES: u64 = 20;
/// Of those that wait behind a log, as many as a test can afford.
const ZEROS: usize = 4 << 10;

type Types = ecps_consensus::types::Types<TokioRuntime>;
type Entry = openraft::Entry<Types>;

struct Nothing;

impl Apply for Nothing {
    fn create(&self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn apply(&self, _: &Connection, _: Epoch, _: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>> {
        Ok(Ok(Vec::new()))
    }
}

fn entry(index: u64) -> Entry {
    Entry { log_id: LogId::new(CommittedLeaderId::new(3, 0), index), payload: EntryPayload::Blank }
}

/// Waits for the worker of the time before to let go of it.
fn disk(folder: &Path) -> Arc<dyn Disk> {
    let begun = Instant::now();
    loop {
        match MemberFolder::lock(folder) {
            Ok(disk) => return Arc::new(disk),
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::yield_now();
    }
}

fn worker() -> Worker {
    TokioRuntime::worker("test").unwrap()
}

type Kept = (Option<Vote<u64>>, Vec<u64>);

/// Vote and entries, where the log can be opened.
async fn open(folder: &Path) -> Option<Kept> {
    let mut log = Log::<TokioRuntime>::open(disk(folder), 1, worker(), Arc::default()).ok()?;
    let entries = log.try_get_log_entries(..).await.unwrap();
    Some((log.read_vote().await.unwrap(), entries.iter().map(|entry| entry.log_id.index).collect()))
}

#[tokio::test]
async fn in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut log = Log::<TokioRuntime>::open(disk(folder.path()), 1, worker(), Arc::default()).unwrap();
        log.save_vote(&Vote::new(3, 2)).await.unwrap();
        log.blocking_append((0..ENTRIES).map(entry)).await.unwrap();
        log.save_vote(&Vote::new(4, 3)).await.unwrap();
    }
    let kept: Kept = (Some(Vote::new(4, 3)), (0..ENTRIES).collect());
    let path = folder.path().join("000001.eaplog");
    // Its worker writes a last note.
    drop(disk(folder.path()));
    let left = std::fs::read(&path).unwrap();
    assert_eq!(open(folder.path()).await.as_ref(), Some(&kept));
    // The zeros that waited for more are gone.
    let whole = std::fs::read(&path).unwrap();
    let zeros = left.strip_prefix(whole.as_slice()).unwrap();
    assert!(zeros.len() > 500_000 && zeros.iter().all(|byte| *byte == 0), "{} zeros", zeros.len());
    let (mut flips, mut refused) = (0, 0);
    for place in (0..whole.len()).step_by(rounds(7, 1) as usize) {
        flips += 1;
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        // As after a crash, and as after it was opened again.
        let zeros = if flips % 2 == 0 { ZEROS } else { 0 };
        bytes.resize(whole.len() + zeros, 0);
        std::fs::write(&path, bytes).unwrap();
        match open(folder.path()).await {
            None => refused += 1,
            Some(found) => assert_eq!(found, kept, "byte {place} of {} changed what the member knows", whole.len()),
        }
    }
    // Nothing was ever written there.
    for place in (0..ZEROS).step_by(97) {
        let mut bytes = whole.clone();
        bytes.resize(whole.len() + ZEROS, 0);
        bytes[whole.len() + place] ^= 1 << (place % 8);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(open(folder.path()).await.as_ref(), Some(&kept), "byte {place} of the zeros");
    }
    // The note of the last sync is the only thing that may be lost.
    assert!(refused > flips - 200, "{refused} of {flips} flips were noticed");
}

#[tokio::test]
async fn in_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Machine::open(disk(folder.path()), Box::new(Nothing), worker(), Arc::default());
    {
        let mut machine = open().unwrap();
        machine.apply((0..ENTRIES).map(entry)).await.unwrap();
        let mut builder = RaftStateMachine::<Types>::get_snapshot_builder(&mut machine).await;
        RaftSnapshotBuilder::<Types>::build_snapshot(&mut builder).await.unwrap();
    }
    drop(open().unwrap());
    let path = folder.path().join("snapshot");
    let whole = std::fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(37).chain(0..64) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, bytes).unwrap();
        let refused = open().err().unwrap_or_else(|| panic!("byte {place} of {} was not noticed", whole.len()));
        assert!(refused.to_string().contains("damaged"), "{refused}");
    }
}
