use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use ecps_memory::{Query, Record};

use crate::{Scratch, kept, open, record};

const PATH: &str = "ECPS_MEMORY_KILL_PATH";
const ROUND: &str = "ECPS_MEMORY_KILL_ROUND";
/// Records of a batch.
const BATCH: usize = 3;
/// Batches that the child has under way at once, so that they are committed in groups.
const AHEAD: usize = 6;

fn batch(round: usize, number: usize) -> Vec<Record> {
    let one = |i| Record {
        namespace: round.to_string(),
        payload: format!("{round} {number} {i}").repeat(50 + 40 * (number % 30)).into_bytes(),
        ..record(&format!("{round}-{number}-{i}"), &[1.0, number as f32, i as f32])
    };
    (0..BATCH).map(one).collect()
}

/// Not a test by itself: the process that is killed. It puts batches for ever and prints those acknowledged.
#[test]
fn child() {
    let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) else { return };
    let round = round.parse().unwrap();
    let memory = open(path.as_ref());
    let mut out = std::io::stdout();
    let mut under_way = std::collections::VecDeque::new();
    // Bounded, so that an orphan ends.
    for number in 0..20_000 {
        under_way.push_back((number, memory.put(batch(round, number))));
        if under_way.len() == AHEAD {
            let (number, reply) = under_way.pop_front().unwrap();
            reply.wait().unwrap();
            writeln!(out, "acknowledged {number}").unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_sigkill_and_no_batch_is_torn() {
    let scratch = Scratch::new();
    let mut seed = 0x9e37_79b9_u64;
    let mut acknowledged = Vec::new();
    for round in 0..ecps_core::campaign::rounds(6, 200) as usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "survives_kill::child", "--nocapture"])
            .env(PATH, scratch.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (answers, turns) = ((seed >> 33) % 120, (seed >> 20) % 200_000);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        while seen.lines().filter(|line| line.contains("acknowledged")).count() as u64 <= answers {
            assert_ne!(out.read_line(&mut seen).unwrap(), 0, "the child ended by itself");
        }
        // So that the kill does not always meet the moment right after an answer.
        (0..turns).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        child.wait().unwrap();
        out.read_to_string(&mut seen).unwrap();
        let (whole, _) = seen.rsplit_once('\n').unwrap();
        let numbers = whole.lines().filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<usize>().ok());
        acknowledged.extend(numbers.map(|number| (round, number)));

        let memory = open(&scratch.path());
        assert_eq!(memory.damages(), []);
        for (round, number) in &acknowledged {
            for expected in batch(*round, *number) {
                let found = memory.get(&expected.namespace, &expected.id).wait().unwrap();
                assert_eq!(found, kept(expected));
            }
        }
        let ours = Query { namespace: round.to_string(), k: 1000, ..Query::default() };
        let everything = memory.query(ours).wait().unwrap();
        assert_eq!(everything.hits.len() as u64, everything.total_matched, "the query shows them all");
        let mut batches = BTreeMap::new();
        for hit in &everything.hits {
            *batches.entry(hit.record.id.rsplit_once('-').unwrap().0.to_owned()).or_insert(0) += 1;
        }
        assert!(batches.values().all(|records| *records == BATCH), "{batches:?}");
    }
    assert!(acknowledged.len() > 100, "the children were killed too early: {}", acknowledged.len());
}
