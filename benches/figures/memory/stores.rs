//! Other vector stores, in a Python process of their own that answers a line for each line that it gets.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::vectors::{Vectors, folder};

pub(super) struct Stores {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What is known once they hold the vectors.
pub(super) struct Ready {
    /// How like the last of the true hits is, by filter and query.
    pub(super) truth: BTreeMap<String, Vec<f32>>,
    /// Filters that each store knows; `all` for none.
    pub(super) engines: BTreeMap<String, Vec<String>>,
    /// Those that could not be started, and why.
    pub(super) broken: BTreeMap<String, String>,
}

impl Stores {
    /// Starts to fill them.
    pub(super) fn start(vectors: &Vectors) -> Stores {
        let mut process = Command::new(folder().join("venv/bin/python"))
            .arg(ecps_testing::root().join("benches/peers/vectors.py"))
            .arg("serve")
            .arg(folder())
            .args([vectors.set, &vectors.len().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Stores { process, orders, answers }
    }

    /// Waits until they are filled.
    pub(super) fn ready(&mut self) -> Ready {
        let mut line = self.line();
        let mut part = |name: &str| line[name].take();
        Ready {
            truth: serde_json::from_value(part("truth")).unwrap(),
            engines: serde_json::from_value(part("engines")).unwrap(),
            broken: serde_json::from_value(part("broken")).unwrap(),
        }
    }

    /// Asks the queries from `from` to before `to`: the time of each, and how many hits are true.
    pub(super) fn ask(&mut self, engine: &str, case: &str, from: usize, to: usize) -> (Vec<Duration>, usize) {
        let order = json!({ "engine": engine, "case": case, "from": from, "to": to });
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let line = self.line();
        let times: Vec<f64> = serde_json::from_value(line["times_ms"].clone()).unwrap();
        let times = times.into_iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
        (times, line["found"].as_u64().unwrap() as usize)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("'{line}': {e}"))
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}
