//! A process under test: what it prints, how it ends, and that it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::SOON;

/// Lines as they come.
#[derive(Default)]
struct Lines {
    text: Mutex<(Vec<String>, Ended)>,
    changed: Condvar,
}

/// Whether more lines may come.
#[derive(Default, PartialEq)]
enum Ended {
    #[default]
    No,
    Yes,
}

impl Lines {
    fn read_from(source: impl Read + Send + 'static) -> Arc<Lines> {
        let lines = Arc::new(Lines::default());
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                sink.text.lock().unwrap().0.push(text);
                sink.changed.notify_all();
                line.clear();
            }
            sink.text.lock().unwrap().1 = Ended::Yes;
            sink.changed.notify_all();
        });
        lines
    }

    /// Waits until `enough` of all lines says so; the lines it then has, and whether it was enough.
    fn wait(&self, limit: Duration, enough: impl Fn(&[String], bool) -> bool) -> (Vec<String>, bool) {
        let waiting = |state: &mut (Vec<String>, Ended)| !enough(&state.0, state.1 == Ended::Yes);
        let (state, timeout) = self.changed.wait_timeout_while(self.text.lock().unwrap(), limit, waiting).unwrap();
        (state.0.clone(), !timeout.timed_out())
    }
}

/// What a process left behind.
pub struct Output {
    name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Output {
    /// Fails with all that the process printed, unless its exit code is 0.
    pub fn assert_success(&self) {
        assert!(
            self.status.success(),
            "{} ended with {}\n{}\n{}",
            self.name,
            self.status,
            self.stdout.join("\n"),
            self.stderr.join("\n")
        );
    }
}

/// A running process. Dropping it ends it.
pub struct Process {
    name: String,
    child: Child,
    ended: OwnedFd,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

impl Process {
    pub(crate) fn start(name: &str, command: &mut Command) -> Process {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Process {
            name: name.to_owned(),
            ended: pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap(),
            stdout: Lines::read_from(child.stdout.take().unwrap()),
            stderr: Lines::read_from(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The first line of standard error or, from a peer, of standard output that contains `text`.
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        self.wait_for_lines(text, 1, limit).swap_remove(0)
    }

    /// All lines with `text`, once there are as many as `count`. A peer prints to standard output, a node to error.
    pub fn wait_for_lines(&self, text: &str, count: usize, limit: Duration) -> Vec<String> {
        let lines = if self.name.ends_with(".py") { &self.stdout } else { &self.stderr };
        let matching = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).cloned().collect::<Vec<_>>();
        let (found, _) = lines.wait(limit, |lines, ended| ended || matching(lines).len() >= count);
        let found = matching(&found);
        assert!(found.len() >= count, "{} printed '{text}' {} times, and not {count}", self.name, found.len());
        found
    }

    /// Whether standard error has at least `count` lines with `text` within `limit`.
    pub fn prints(&self, text: &str, count: usize, limit: Duration) -> bool {
        let enough = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).count() >= count;
        enough(&self.stderr.wait(limit, |lines, ended| ended || enough(lines)).0)
    }

    /// Lines of standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.wait(Duration::ZERO, |_, _| true).0
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("standard input is open until the end");
        writeln!(input, "{line}").and_then(|()| input.flush()).unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // One that has ended already needs none.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether it ends within `limit`.
    pub fn has_ended(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
            match poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Output {
        assert!(self.has_ended(limit), "{} has not ended after {limit:?}", self.name);
        let status = self.child.wait().unwrap();
        let all = |lines: &Lines| lines.wait(SOON, |_, ended| ended).0;
        Output { name: self.name.clone(), status, stdout: all(&self.stdout), stderr: all(&self.stderr) }
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(self) -> Output {
        self.signal(Signal::INT);
        self.finish(SOON)
    }

    /// Ends it as a supervisor does.
    pub fn terminate(self) -> Output {
        self.signal(Signal::TERM);
        self.finish(SOON)
    }

    /// Ends it as the out-of-memory killer does.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        let output = self.finish(SOON);
        assert_eq!(output.status.signal(), Some(9), "{} ended before it was killed", output.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended(Duration::ZERO) {
            // Not at once by force: the dead leave their shared memory behind.
            self.signal(Signal::INT);
            if !self.has_ended(Duration::from_secs(5)) {
                self.signal(Signal::KILL);
            }
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = |lines: &Lines| lines.wait(Duration::from_secs(1), |_, ended| ended).0.join("\n");
            println!("--- {} said:\n{}\n{}", self.name, said(&self.stdout), said(&self.stderr));
        }
    }
}
