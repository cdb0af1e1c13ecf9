//! The spin thread's round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::clock::{SteadyClock, SystemSteady};

use super::{Gate, Node, Scheduled};

/// Longest wait of the spin thread: how late a signal may be seen.
const IDLE: Duration = Duration::from_millis(100);
/// How long a node that was cleaned up stays, so that the answer to the clean-up reaches who asked for it.
pub(super) const RETIREMENT: Duration = Duration::from_secs(1);

impl<S: 'static> Node<S> {
    /// One round: waits for something to do, does all of it, and rings the alarms that are due.
    pub(crate) fn round(&mut self, mut state: Option<&mut S>, gate: Gate, stage: &str) {
        let now = SystemSteady.now();
        let rings = |scheduled: &Scheduled<S>| gate == Gate::Open || scheduled.always;
        let configured = state.is_some();
        let alarms = self.entities.alarms.iter().filter(|scheduled| configured && rings(scheduled));
        let next = alarms.map(|scheduled| scheduled.alarm.due(now));
        let next = next.chain([self.base.diagnostics().due()]).min().unwrap_or(now);
        self.ros.spin_once(next.since(now).min(IDLE));
        if self.retired.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.retired = None;
        }
        self.base.poll(&mut self.core, state.as_deref_mut());
        if let Some(state) = state.as_deref_mut() {
            for poll in &mut self.entities.polls {
                poll(state, gate);
            }
            let now = SystemSteady.now();
            for scheduled in self.entities.alarms.iter_mut().filter(|scheduled| rings(scheduled)) {
                scheduled.alarm.ring(state, now);
            }
        }
        self.base.tell(&self.core, &mut self.entities, state.as_deref(), stage);
    }

    /// Timers and watchdogs begin anew: the node was activated.
    pub(crate) fn restart_alarms(&mut self) {
        let now = SystemSteady.now();
        for scheduled in self.entities.alarms.iter_mut().filter(|scheduled| !scheduled.always) {
            scheduled.alarm.restart(now);
        }
    }

    /// Spins on a thread of its own until what it returns is dropped: for a node without lifecycle, beside a program's
    /// main work.
    pub fn spin_in_background(mut self, mut state: S) -> Spinning
    where
        S: Send,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            self.adopt_this_thread();
            while !seen.load(Ordering::Acquire) {
                self.round(Some(&mut state), Gate::Open, "active");
            }
        });
        Spinning { stop, thread: Some(thread) }
    }
}

/// A node that spins on its own thread; dropping it ends the node and joins the thread.
#[derive(Debug)]
pub struct Spinning {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the spin thread panicked");
        }
    }
}
