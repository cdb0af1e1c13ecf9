//! Bringing records to the disk in the background, so that who appends a motion record never waits for the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use crate::storage::SegmentFile;

/// What a motion has to itself before its record is synced: its publication wakes other processes, and the disk's work
/// would take the processor from them. Well below the 10 ms within which motion records are on disk.
const HEAD_START: Duration = Duration::from_millis(2);

/// Where a record stands on its way to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durable {
    /// It survives a power failure.
    OnDisk,
    /// It survives the end of the process, and is being synced.
    InKernel,
    /// Syncing it failed; it may be lost.
    Failed(String),
}

/// Why a record is not known to be on disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyncError {
    /// The disk refused.
    #[error("record {sequence} may not be on disk: {cause}")]
    Failed {
        /// The record.
        sequence: u64,
        /// What the system said.
        cause: String,
    },
    /// It takes too long.
    #[error("record {sequence} was not on disk within {waited:?}")]
    TimedOut {
        /// The record.
        sequence: u64,
        /// How long was waited.
        waited: Duration,
    },
}

/// Records that may be missing from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What the system said.
    pub(crate) cause: String,
    /// First record in doubt.
    pub(crate) first: u64,
    /// Last record in doubt; below `first`: none.
    pub(crate) last: u64,
}

#[derive(Default)]
struct State {
    /// Files with unsynced records, each with the last sequence written to it.
    dirty: VecDeque<(Arc<dyn SegmentFile>, u64)>,
    /// Every record up to this one is on disk, save those in `lost`.
    synced: u64,
    /// The latest failure.
    lost: Option<Lost>,
    /// Whether nothing has been synced since that failure.
    failing: bool,
    /// The segment that failed, until the writer leaves it.
    abandoned: Option<Arc<dyn SegmentFile>>,
    /// How many wait for a record that is not on disk.
    waiting: usize,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether a segment may have to be abandoned, so that who appends need not lock to learn that none has.
    failed: AtomicBool,
    work: Condvar,
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after each assignment, so that a panic elsewhere does not make it unusable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells from any thread whether records are on disk, and waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Durability(Arc<Shared>);

impl Durability {
    /// Where record `sequence` stands.
    pub fn of(&self, sequence: u64) -> Durable {
        self.0.lock().durable(sequence)
    }

    /// Waits until record `sequence` is on disk, at most for `at_most`. Not for a control loop.
    pub fn wait(&self, sequence: u64, at_most: Duration) -> Result<(), SyncError> {
        let mut state = self.0.lock();
        state.waiting += 1;
        self.0.work.notify_one();
        let (mut state, _) = self
            .0
            .done
            .wait_timeout_while(state, at_most, |s| s.durable(sequence) == Durable::InKernel)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        match state.durable(sequence) {
            Durable::OnDisk => Ok(()),
            Durable::InKernel => Err(SyncError::TimedOut { sequence, waited: at_most }),
            Durable::Failed(cause) => Err(SyncError::Failed { sequence, cause }),
        }
    }

    /// Why the journal cannot be trusted to reach the disk at present; none once a later sync has succeeded.
    pub fn fault(&self) -> Option<String> {
        let state = self.0.lock();
        state.lost.as_ref().filter(|_| state.failing).map(|l| l.cause.clone())
    }
}

impl State {
    fn durable(&self, sequence: u64) -> Durable {
        match &self.lost {
            Some(lost) if (lost.first..=lost.last).contains(&sequence) => Durable::Failed(lost.cause.clone()),
            _ if sequence <= self.synced => Durable::OnDisk,
            _ => Durable::InKernel,
        }
    }
}

/// The thread that syncs.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; every record up to `synced` counts as on disk.
    pub(crate) fn start(synced: u64) -> std::io::Result<Syncer> {
        let shared = Arc::new(Shared { state: Mutex::new(State { synced, ..State::default() }), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("journal-sync".into()).spawn(move || run(&theirs))?;
        Ok(Syncer { shared, thread: Some(thread) })
    }

    pub(crate) fn durability(&self) -> Durability {
        Durability(Arc::clone(&self.shared))
    }

    /// Says that `file` now ends with record `sequence`.
    pub(crate) fn written(&self, file: &Arc<dyn SegmentFile>, sequence: u64) {
        let mut state = self.shared.lock();
        if state.abandoned.as_ref().is_some_and(|abandoned| Arc::ptr_eq(abandoned, file)) {
            // The sync failed between this write and the look before it.
            state.synced = sequence;
            if let Some(lost) = &mut state.lost {
                lost.last = sequence;
            }
            return;
        }
        match state.dirty.back_mut() {
            Some((last, upto)) if Arc::ptr_eq(last, file) => *upto = sequence,
            _ => state.dirty.push_back((Arc::clone(file), sequence)),
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// The failure after which the present segment must not be used, once.
    pub(crate) fn take_failure(&self) -> Option<Lost> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.shared.lock();
        self.shared.failed.store(false, Ordering::Release);
        state.abandoned.take()?;
        state.lost.clone()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there is already on stderr, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Syncs whatever is dirty: at once when someone waits for it, otherwise after [`HEAD_START`]. While one sync runs, the
/// records of the next gather.
fn run(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if state.dirty.is_empty() {
            if state.closing {
                return;
            }
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state = shared
            .work
            .wait_timeout_while(state, HEAD_START, |s| s.waiting == 0 && !s.closing)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let Some((file, upto)) = state.dirty.pop_front() else { continue };
        drop(state);
        let result = file.sync();
        state = shared.lock();
        match result {
            Ok(()) => {
                state.synced = state.synced.max(upto);
                state.failing = false;
            }
            Err(error) => {
                // After a failed fsync the kernel may have dropped the pages, and a second fsync would report success:
                // what this file was given meanwhile is in doubt too, and it is never synced again.
                let mut last = upto;
                state.dirty.retain(|(other, theirs)| {
                    let same = Arc::ptr_eq(other, &file);
                    last = if same { last.max(*theirs) } else { last };
                    !same
                });
                state.lost = Some(Lost { cause: error.to_string(), first: state.synced + 1, last });
                state.synced = last;
                state.failing = true;
                state.abandoned = Some(file);
                shared.failed.store(true, Ordering::Release);
            }
        }
        shared.done.notify_all();
    }
}
