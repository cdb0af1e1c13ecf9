//! Sections of `benches/RESULTS.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;

use super::Sample;

/// What one run of one bench found.
#[derive(Debug)]
pub(crate) struct Section {
    what: String,
    load: String,
    rows: Vec<(String, Sample)>,
    /// Rows with which a comparison begins anew.
    groups: Vec<usize>,
    goals: Vec<String>,
    notes: Vec<String>,
}

impl Section {
    /// Begins a section, before measuring: it keeps the machine's load as it is now. `what` says in a sentence what is
    /// timed, from when to when.
    pub(crate) fn begin(what: impl Into<String>) -> Section {
        let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        Section { what: what.into(), load, rows: Vec::new(), groups: Vec::new(), goals: Vec::new(), notes: Vec::new() }
    }

    /// A row of the table. The first is what is measured, the others its peers and parts.
    pub(crate) fn row(&mut self, name: impl Into<String>, sample: &Sample) {
        self.rows.push((name.into(), sample.clone()));
    }

    /// The next row is what is measured in those after it.
    pub(crate) fn group(&mut self) {
        self.groups.push(self.rows.len());
    }

    /// A goal from the Foundation's list: `measured` must be below `limit`.
    pub(crate) fn goal(&mut self, name: &str, measured: f64, limit: f64, unit: &str) {
        let verdict = if measured < limit { "met" } else { "missed" };
        self.goals.push(format!("goal: {name} below {limit}{unit}: {measured:.2}{unit}, {verdict}"));
    }

    /// The same of what must be at least `limit`.
    pub(crate) fn goal_at_least(&mut self, name: &str, measured: f64, limit: f64, unit: &str) {
        let verdict = if measured >= limit { "met" } else { "missed" };
        self.goals.push(format!("goal: {name} at least {limit}{unit}: {measured:.3}{unit}, {verdict}"));
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the section and appends it to the file.
    pub(crate) fn publish(self, bench: &str) {
        let text = self.markdown(bench);
        print!("{text}");
        let path = ecps_testing::root().join("benches/RESULTS.md");
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(format!("\n{text}").as_bytes()).unwrap();
    }

    fn markdown(&self, bench: &str) -> String {
        let mut text = String::new();
        let when = output("date", &["-u", "+%F %R UTC"]);
        let version = output("git", &["describe", "--always", "--dirty", "--tags"]);
        writeln!(text, "## {bench}, {when}, {version}\n").unwrap();
        writeln!(text, "{}\n", self.what).unwrap();
        writeln!(text, "`make bench BENCH={bench}`; {}; load average {} at the start\n", machine(), self.load).unwrap();
        writeln!(text, "| way | arrived | lost | p50 ms | p99 ms | p50 of the first to this |").unwrap();
        writeln!(text, "|---|---|---|---|---|---|").unwrap();
        let mut measured = f64::NAN;
        for (index, (name, sample)) in self.rows.iter().enumerate() {
            let (p50, p99) = (sample.p50(), sample.p99());
            let leads = index == 0 || self.groups.contains(&index);
            if leads {
                measured = p50;
            }
            let ratio = if leads { "–".to_owned() } else { format!("{:.2}", measured / p50) };
            writeln!(text, "| {name} | {} | {} | {p50:.3} | {p99:.3} | {ratio} |", sample.len(), sample.lost())
                .unwrap();
        }
        writeln!(text).unwrap();
        for line in self.goals.iter().chain(&self.notes) {
            writeln!(text, "- {line}").unwrap();
        }
        text
    }
}

fn machine() -> String {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {} cores of {}, {}, profile dev",
        output("uname", &["-r"]),
        cores,
        model.trim_start_matches([' ', '\t', ':']).trim(),
        output("rustc", &["--version"]),
    )
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
