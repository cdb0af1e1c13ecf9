//! SciPy in a process of its own, which solves what is in a file for each line that it gets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

pub(super) struct SciPy {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl SciPy {
    /// With a script of `benches/peers`; none where SciPy is not there.
    pub(super) fn start(script: &str) -> Option<SciPy> {
        let root = ecps_testing::root();
        let mut process = Command::new(root.join("target/bench-photo/venv/bin/python"))
            .arg(root.join("benches/peers").join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let answers = BufReader::new(process.stdout.take()?);
        Some(SciPy { process, answers })
    }

    /// The least cost and the time that it took, without reading the file.
    pub(super) fn solve(&mut self, order: &str) -> Option<(f64, Duration)> {
        writeln!(self.process.stdin.as_mut()?, "{order}").ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        let (cost, seconds) = line.trim().split_once(' ')?;
        Some((cost.parse().ok()?, Duration::from_secs_f64(seconds.parse().ok()?)))
    }
}

impl Drop for SciPy {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
