//! How soon a memory answers whose server was killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ecps_memory::{Query, Record};

use super::vectors::{Vectors, record};
use super::{like, open, timed};
use crate::support::{self, Section};

/// Puts acknowledged before the kill.
const ACKNOWLEDGED: usize = 300;

pub(super) fn measure(section: &mut Section, home: &Path, vectors: &Vectors) {
    let mut server = Command::new(support::this_program())
        .args(["as-peer", "memory-to-be-killed"])
        .arg(home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let acknowledged = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ids: Vec<String> = acknowledged.take(ACKNOWLEDGED).collect();
    server.kill().unwrap();
    server.wait().unwrap();

    let query = Query { exact: true, ..like(vectors.set, vectors.query(0)) };
    let ((memory, answer), took) = timed(|| {
        let memory = open(home);
        let answer = memory.ask(&query).unwrap();
        (memory, answer)
    });
    assert_eq!(answer.hits.len(), super::HITS as usize);
    let lost = ids.iter().filter(|id| memory.get("late", id).wait().is_err()).count();
    assert_eq!((ids.len(), lost), (ACKNOWLEDGED, 0), "acknowledged, and gone");
    let records = memory.stats().records;
    section.goal("SIGKILL, open, first exact answer", took.as_secs_f64(), 1.0, " s");
    section.note(format!(
        "{records} records were in the memory whose server was killed; all {ACKNOWLEDGED} puts that it acknowledged last were there"
    ));
}

/// Serves a memory and puts into it, and says each id once it is acknowledged, until it is killed.
pub(crate) fn be_killed(home: &str) {
    let memory = open(Path::new(home));
    for number in 0_usize.. {
        let late = Record { namespace: "late".into(), ..record("late", number, &[1.0, number as f32]) };
        println!("{}", memory.put(vec![late]).wait().unwrap()[0].id);
    }
}
