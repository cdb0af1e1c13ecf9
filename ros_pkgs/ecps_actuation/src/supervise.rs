//! The supervisor at work: it waits for beats and acts on what [`Supervision`] concludes. One thread, no timers of others,
//! nothing that waits for longer than a period.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ecps_core::clock::{Steady, SteadyClock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::heartbeat::{PERIOD, Role, Status};
use crate::link::Link;
use crate::supervision::{StaysLatched, Supervision, Watch};

/// What the supervisor can do to the robot, and whom it tells.
pub trait Hands {
    /// Whether the robot hears what is commanded. One who could not stop the robot does not pretend to watch over it. Asked
    /// in every period, so that who listens is known from when on.
    fn reach(&mut self) -> bool;
    /// Commands the robot's safe state.
    fn halt(&mut self);
    /// Tells of a new state.
    fn changed(&mut self, watch: &Watch);
}

/// How long somebody has to listen before a stop counts as heard. DDS tells a writer of its reader and a reader of its writer
/// apart from one another; what of that is lost is said again after a second (Fast DDS, `edp_heartbeat_period`), and until
/// then the reader ignores what is written. Long enough for it to be lost twice.
pub const SETTLING: Duration = Duration::from_millis(2500);

/// Since when somebody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listeners(Option<Steady>);

impl Listeners {
    /// Takes in how many listen now; whether what is said now is heard.
    pub fn hear(&mut self, listeners: usize, now: Steady) -> bool {
        if listeners == 0 {
            self.0 = None;
            return false;
        }
        now.since(*self.0.get_or_insert(now)) >= SETTLING
    }
}

/// The supervisor's state, to look at and to reset from other threads.
#[derive(Debug)]
pub struct Shared {
    supervision: Mutex<Supervision>,
    ending: AtomicBool,
}

impl Shared {
    /// Nothing watched yet.
    pub fn new(timeout: Duration) -> Shared {
        Shared { supervision: Mutex::new(Supervision::new(timeout)), ending: AtomicBool::new(false) }
    }

    /// A copy of the state.
    pub fn look(&self) -> Supervision {
        self.lock().clone()
    }

    /// See [`Supervision::reset`].
    pub fn reset(&self, now: Steady) -> Result<(), StaysLatched> {
        self.lock().reset(now)
    }

    /// Lets [`run`] begin again after an end.
    pub fn begin(&self) {
        self.ending.store(false, Ordering::SeqCst);
    }

    /// Ends [`run`] within a period.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Supervision> {
        // The state is valid after each step, also of a thread that panicked then.
        self.supervision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hardware watchdog of Linux: resets the machine when it is not fed.
#[derive(Debug)]
pub struct HardwareWatchdog(File);

impl HardwareWatchdog {
    /// Opens, and so starts, the device.
    pub fn open(path: &std::path::Path) -> std::io::Result<HardwareWatchdog> {
        File::options().write(true).open(path).map(HardwareWatchdog)
    }

    fn feed(&mut self) {
        // One that cannot be fed resets the machine, which is what it is for.
        let _ = self.0.write_all(b".");
    }

    /// Ends it in good order: the "magic close" of the Linux watchdog API.
    fn disarm(mut self) {
        let _ = self.0.write_all(b"V");
    }
}

/// Watches until [`Shared::end`].
pub fn run(
    listener: &UnixListener,
    shared: &Shared,
    clock: &dyn SteadyClock,
    hands: &mut dyn Hands,
    mut watchdog: Option<HardwareWatchdog>,
) {
    let mut executor: Option<Link> = None;
    let mut said: Option<Watch> = None;
    let mut sent: Option<Steady> = None;
    let mut woke = clock.now();
    while !shared.ending.load(Ordering::SeqCst) {
        wait(listener, executor.as_ref(), PERIOD / 4);
        let now = clock.now();
        let pause = now.since(woke);
        woke = now;
        accept(listener, &mut executor);
        let watch = {
            let mut supervision = shared.lock();
            if let Some(link) = &mut executor
                && link.receive(|beat| supervision.beat(beat, clock.now())).is_err()
            {
                supervision.disconnected();
                executor = None;
            }
            supervision.check(clock.now());
            supervision.watch().clone()
        };
        let news = said.as_ref() != Some(&watch);
        let due = sent.is_none_or(|at| now.since(at) >= PERIOD);
        if !news && !due {
            continue;
        }
        sent = Some(now);
        // Before anybody is told.
        if matches!(watch, Watch::Latched(_)) {
            hands.halt();
        } else if let Some(watchdog) = &mut watchdog {
            watchdog.feed();
        }
        let reach = hands.reach();
        if let Some(link) = &mut executor {
            let guards = watch == Watch::Watching && reach;
            let status = if guards { Status::Running } else { Status::Stopped };
            // One that is closed is noticed when it is next read.
            let _ = link.send(Role::Supervisor, status, clock.now(), pause);
        }
        if news {
            hands.changed(&watch);
            said = Some(watch);
        }
    }
    if let Some(link) = &mut executor {
        let _ = link.send(Role::Supervisor, Status::Leaving, clock.now(), Duration::ZERO);
    }
    if let Some(watchdog) = watchdog.filter(|_| !shared.lock().must_stop()) {
        watchdog.disarm();
    }
}

/// Until something arrives, or `limit` has passed.
fn wait(listener: &UnixListener, executor: Option<&Link>, limit: Duration) {
    let ready = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut waiting = vec![ready(listener.as_fd())];
    waiting.extend(executor.map(|link| ready(link.stream().as_fd())));
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
    // Interrupted is as good as passed.
    let _ = poll(&mut waiting, Some(&limit));
}

/// Takes the first executor; another is turned away while that one is there.
fn accept(listener: &UnixListener, executor: &mut Option<Link>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) if executor.is_none() => *executor = Link::new(stream).ok(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robot_is_reached_when_it_has_listened_for_a_while_and_not_after_it_has_left() {
        let at = |ms| Steady(Duration::from_millis(ms));
        let settling = u64::try_from(SETTLING.as_millis()).unwrap();
        let mut listeners = Listeners::default();
        assert!(!listeners.hear(0, at(0)));
        assert!(!listeners.hear(1, at(100)));
        assert!(!listeners.hear(1, at(100 + settling - 1)));
        assert!(listeners.hear(1, at(100 + settling)));
        assert!(!listeners.hear(0, at(5000)));
        assert!(!listeners.hear(2, at(5020)), "whoever comes anew has to be told anew");
        assert!(listeners.hear(1, at(5020 + settling)));
    }
}
