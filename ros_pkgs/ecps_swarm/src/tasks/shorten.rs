//! Telling of many tasks within bounds: payloads and results are left out where all of them together would be too much.

use super::queue::Entry;

/// Most bytes of payloads and results that are told at a time, besides those of the agent's own tasks.
pub const TOLD_BYTES: usize = 1 << 20;

/// The same tasks with payloads and results of at most [`TOLD_BYTES`] in all: those of what `me` holds whole, then those of the newest.
/// Where something is left out, the reason tells what.
pub fn shortened(mut entries: Vec<Entry>, me: &str) -> Vec<Entry> {
    let mut left = TOLD_BYTES;
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(entries.get(*place).map(|entry| (entry.finished, entry.number))));
    for place in order {
        let Some(entry) = entries.get_mut(place) else { continue };
        // Whoever carries it out needs all of it; there are at most five.
        if entry.agent == me && !entry.state.is_final() {
            continue;
        }
        let mut omitted = Vec::new();
        for (what, bytes) in [("result", &mut entry.result), ("payload", &mut entry.task.payload)] {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => {
                    omitted.push(format!("{what} of {} bytes is not told", bytes.len()));
                    *bytes = Vec::new();
                }
            }
        }
        if !omitted.is_empty() {
            let reason = std::mem::take(&mut entry.reason);
            let before = Some(reason).filter(|reason| !reason.is_empty());
            entry.reason = before.into_iter().chain(omitted).collect::<Vec<_>>().join("; ");
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::task::{PAYLOAD_BYTES, State, Task};
    use super::*;

    fn entry(number: u64, state: State, agent: &str) -> Entry {
        Entry {
            number,
            task: Task { id: number.to_string(), payload: vec![1; PAYLOAD_BYTES], ..Task::default() },
            state,
            reason: "why".to_owned(),
            agent: agent.to_owned(),
            agent_epoch: 1,
            award: 0,
            begun: false,
            progress: 0.0,
            submitted: 0,
            finished: if state.is_final() { number as i64 } else { 0 },
            result: if state.is_final() { vec![2; PAYLOAD_BYTES] } else { Vec::new() },
        }
    }

    #[test]
    fn a_thousand_tasks_are_told_within_the_bound_and_ones_own_whole() {
        let own = (0..5).map(|number| entry(number, State::Running, "me"));
        let others = (5..500).map(|number| entry(number, State::Waiting, ""));
        let ended = (500..1_000).map(|number| entry(number, State::Completed, "me"));
        let told = shortened(own.chain(others).chain(ended).collect(), "me");
        let bytes = |entry: &Entry| entry.task.payload.len() + entry.result.len();
        assert!(told[..5].iter().all(|entry| entry.task.payload.len() == PAYLOAD_BYTES && entry.reason == "why"));
        let all: usize = told[5..].iter().map(bytes).sum();
        assert!(all <= TOLD_BYTES && all > TOLD_BYTES - 2 * PAYLOAD_BYTES, "{all}");
        assert_eq!(bytes(&told[999]), 2 * PAYLOAD_BYTES, "the newest");
        assert_eq!(told[500].reason, "why; result of 16384 bytes is not told; payload of 16384 bytes is not told");
        assert_eq!(told[7].reason, "why; payload of 16384 bytes is not told");
    }
}
