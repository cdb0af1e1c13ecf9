//! One started process: its output, its end, signals to its group.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Event, Exit, Sink, Stream, SuperviseError};
use crate::launch::Process;

/// Longest line that is passed on in one piece, bytes.
const LINE_BYTES: u64 = 64 << 10;
/// How long the last lines of an ended process are waited for. Only a process that has left its group can hold a stream.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the threads of a process tell about it.
#[derive(Default)]
struct State {
    streams_ended: u8,
    /// Once it is reaped, after which the id of the group is no longer ours to signal.
    exit: Option<Exit>,
    /// The same, once the sink has heard of it.
    told: Option<Exit>,
}

#[derive(Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits while `waiting`, at most until `deadline`.
    fn wait(&self, deadline: Option<Instant>, mut waiting: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let state = self.lock();
        match deadline {
            None => self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout_while(state, left, &mut waiting);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// A process that was started, and perhaps has ended.
pub(super) struct Running {
    /// Of the guard and all that runs under it.
    group: Pid,
    watch: Arc<Watch>,
    /// The guard sees the end of it when the supervisor is gone.
    _lifeline: ChildStdin,
}

impl Running {
    pub(super) fn start(process: &Process, guard: &Path, sink: &Arc<Sink>) -> Result<Self, SuperviseError> {
        let failed = |source| {
            let (label, program) = (process.label.clone(), process.program.clone());
            SuperviseError::Start { label, program, source }
        };
        let mut command = Command::new(guard);
        command.args(["exec-guarded", "--"]).arg(&process.program).args(&process.arguments);
        command.envs(&process.environment).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let group = Pid::from_child(&child);
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(lifeline), Some(out), Some(err)) = streams else {
            // Not reached: all three were asked for.
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        sink(Event::Started { label: &process.label, id: child.id() });

        let watch = Arc::new(Watch::default());
        read_lines(out, Stream::Out, &process.label, sink, &watch);
        read_lines(err, Stream::Err, &process.label, sink, &watch);
        wait_for_end(child, group, &process.label, sink, &watch);
        Ok(Self { group, watch, _lifeline: lifeline })
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.watch.lock().exit
    }

    /// Whether the sink may still have to hear of its end.
    pub(super) fn is_untold(&self) -> bool {
        self.watch.lock().told.is_none()
    }

    /// Returns when it has ended and the sink has heard of it.
    pub(super) fn wait(&self) -> Exit {
        let state = self.watch.wait(None, |state| state.told.is_none());
        // Always there: that is what was waited for.
        state.told.unwrap_or(Exit::Code(0))
    }

    pub(super) fn wait_until(&self, deadline: Instant) -> Option<Exit> {
        self.watch.wait(Some(deadline), |state| state.told.is_none()).told
    }

    /// Sends a signal to all that runs under the guard, and nothing once it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        // While this is held the guard is not reaped, and until it is reaped the id stays taken.
        let state = self.watch.lock();
        if state.exit.is_none() {
            // It fails only when all of the group have ended.
            let _ = kill_process_group(self.group, signal);
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, which: Stream, label: &str, sink: &Arc<Sink>, watch: &Arc<Watch>) {
    let (label, sink, watch) = (label.to_owned(), Arc::clone(sink), Arc::clone(watch));
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stream.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    sink(Event::Line { label: &label, stream: which, text: text.trim_end_matches(['\n', '\r']) });
                }
            }
        }
        watch.update(|state| state.streams_ended += 1);
    });
}

fn wait_for_end(mut child: Child, group: Pid, label: &str, sink: &Arc<Sink>, watch: &Arc<Watch>) {
    let (label, sink, watch) = (label.to_owned(), Arc::clone(sink), Arc::clone(watch));
    thread::spawn(move || {
        // Without reaping it, so that the id of the group stays taken while what is left of the group is killed.
        let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = kill_process_group(group, Signal::KILL);
        drop(watch.wait(Some(Instant::now() + LAST_LINES), |state| state.streams_ended < 2));
        let mut state = watch.lock();
        let exit = child.wait().map_or(Exit::Code(-1), exit_of);
        state.exit = Some(exit);
        drop(state);
        sink(Event::Ended { label: &label, exit });
        watch.update(|state| state.told = Some(exit));
    });
}

/// A guard reports its process's signal as the shell does, as 128 + its number.
fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => Exit::Signal(code - 128),
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}
