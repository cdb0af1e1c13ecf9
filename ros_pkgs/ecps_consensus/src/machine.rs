//! openraft's state machine: [`State`] on a worker of its own, and its snapshots on the disk.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use openraft::storage::RaftStateMachine;
use openraft::{OptionalSend, RaftSnapshotBuilder, Snapshot};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::counters::Counters;
use crate::disk::Disk;
use crate::log::lock;
use crate::runtime::{Runtime, Worker};
use crate::state::{Apply, State, StateError, open_snapshot};
use crate::types::{Answers, Entry, LogId, SnapshotMeta, StorageError, StorageIOError, StoredMembership, Types};

/// Called once the state is far enough.
type Waiting = (u64, Box<dyn FnOnce(&Connection) + Send>);

struct Inner {
    state: State,
    disk: Arc<dyn Disk>,
    waiting: Vec<Waiting>,
    applied: watch::Sender<u64>,
    counters: Arc<Counters>,
}

impl Inner {
    /// Serves those who waited for what is applied now.
    fn serve(&mut self) {
        let Some(applied) = self.state.applied() else { return };
        let (ready, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= applied.index);
        self.waiting = waiting;
        let ready: Vec<Waiting> = ready;
        ready.into_iter().for_each(|(_, serve)| serve(self.state.database()));
        self.applied.send_replace(applied.index);
    }

    fn build(&mut self) -> Result<(SnapshotMeta, Vec<u8>), StateError> {
        let bytes = self.state.snapshot()?;
        self.disk.put_snapshot(&bytes)?;
        self.counters.snapshots_made.add(1);
        Ok((self.state.meta(), bytes))
    }

    fn install(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        open_snapshot(bytes)?;
        self.disk.put_snapshot(bytes)?;
        self.state.install(bytes)?;
        self.counters.snapshots_installed.add(1);
        self.serve();
        Ok(())
    }

    fn current(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StateError> {
        let Some(bytes) = self.disk.snapshot()? else { return Ok(None) };
        Ok(Some((open_snapshot(&bytes)?.0, bytes)))
    }
}

/// Handle to a member's state machine. Clones are handles to the same.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Mutex<Inner>>,
    worker: Worker,
    applied: watch::Receiver<u64>,
}

impl Machine {
    /// Opens the state, and takes it from the snapshot where that is further.
    ///
    /// # Errors
    /// Where the database fails, or the snapshot is not what was written.
    pub fn open(
        disk: Arc<dyn Disk>,
        application: Box<dyn Apply>,
        worker: Worker,
        counters: Arc<Counters>,
    ) -> Result<Machine, StateError> {
        let state = State::open(disk.database()?, application)?;
        let index = state.applied().map_or(0, |id| id.index);
        let (sender, applied) = watch::channel(index);
        let mut inner = Inner { state, disk, waiting: Vec::new(), applied: sender, counters };
        if let Some((meta, bytes)) = inner.current()?
            && meta.last_log_id > inner.state.applied()
        {
            inner.state.install(&bytes)?;
            inner.serve();
        }
        Ok(Machine { inner: Arc::new(Mutex::new(inner)), worker, applied })
    }

    /// Index of the last entry applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// Runs `read` on the database once entry `index` is applied. None where the member ended before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        index: u64,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        self.worker.submit(move || {
            let mut inner = lock(&inner);
            // A reader that has gone away meanwhile is no matter.
            inner.waiting.push((index, Box::new(move |database| drop(answer.send(read(database))))));
            inner.serve();
        });
        wait.await.ok()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (answer, wait) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        self.worker.submit(move || drop(answer.send(work(&mut lock(&inner)))));
        wait.await.unwrap_or_else(|_| Err(std::io::Error::other("the worker of the state machine is gone").into()))
    }
}

fn snapshot_of<R: Runtime>((meta, bytes): (SnapshotMeta, Vec<u8>)) -> Snapshot<Types<R>> {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types<R>>, StorageError> {
        let built = self.run(Inner::build).await;
        Ok(built.map(snapshot_of).map_err(|e| StorageIOError::write_snapshot(None, &e))?)
    }
}

impl<R: Runtime> RaftStateMachine<Types<R>> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let state = self.run(|inner| Ok((inner.state.applied(), inner.state.membership().clone()))).await;
        Ok(state.map_err(|e| StorageIOError::read_state_machine(&e))?)
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = Entry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry<R>> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        let applied = self
            .run(move |inner| {
                let answers = inner.state.apply(entries)?;
                inner.serve();
                Ok(answers)
            })
            .await;
        Ok(applied.map_err(|e| StorageIOError::apply(last, &e))?)
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let installed = self.run(move |inner| inner.install(&bytes)).await;
        Ok(installed.map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), &e))?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types<R>>>, StorageError> {
        let current = self.run(|inner| inner.current()).await;
        Ok(current.map(|found| found.map(snapshot_of)).map_err(|e| StorageIOError::read_snapshot(None, &e))?)
    }
}
