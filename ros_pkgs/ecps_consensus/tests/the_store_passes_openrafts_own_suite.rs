//! openraft's suite for stores, on ours: a folder with segments and SQLite.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;

use ecps_consensus::disk::{Disk, MemberFolder};
use ecps_consensus::log::Log;
use ecps_consensus::machine::Machine;
use ecps_consensus::runtime::Runtime;
use ecps_consensus::state::Apply;
use ecps_consensus::types::{Epoch, Types};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{StorageError, TokioRuntime};
use rusqlite::Connection;
use tempfile::TempDir;

struct Nothing;

impl Apply for Nothing {
    fn create(&self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn apply(&self, _: &Connection, _: Epoch, _: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>> {
        Ok(Ok(Vec::new()))
    }
}

struct Builder;

impl StoreBuilder<Types<TokioRuntime>, Log<TokioRuntime>, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log<TokioRuntime>, Machine), StorageError<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(MemberFolder::lock(folder.path()).unwrap());
        let log = Log::open(Arc::clone(&disk), 1, TokioRuntime::worker("log").unwrap(), Arc::default()).unwrap();
        let machine =
            Machine::open(disk, Box::new(Nothing), TokioRuntime::worker("state").unwrap(), Arc::default()).unwrap();
        Ok((folder, log, machine))
    }
}

#[test]
fn the_store_passes_openrafts_own_suite() {
    Suite::test_all(Builder).unwrap();
}
