//! Checks recorded histories for linearizability, after Wing and Gong (1993) with the memory of Lowe (2017): is there an
//! order of the operations, each taking effect at one moment between its call and its answer, that explains all answers?

use std::collections::HashSet;

/// Most orders tried. What holds is found within some hundreds.
const ORDERS: usize = 200_000;

/// What a client asked of a register, and was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Write(u64),
    Read(u64),
    /// Expected, new, and whether it was so.
    Swap(u64, u64, bool),
    /// The same, and nobody knows.
    SwapUnknown(u64, u64),
}

/// An operation with the places of its call and its answer in the order of all events; without an answer it may have
/// taken effect at any time after its call, or not at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) act: Act,
    pub(crate) called: u64,
    pub(crate) answered: Option<u64>,
}

/// The register's value after `act`, or none where its answer does not fit.
fn step(value: u64, act: Act) -> Option<u64> {
    match act {
        Act::Write(new) => Some(new),
        Act::Read(seen) => (seen == value).then_some(value),
        Act::Swap(expected, new, true) => (expected == value).then_some(new),
        Act::Swap(expected, _, false) => (expected != value).then_some(value),
        Act::SwapUnknown(expected, new) => Some(if expected == value { new } else { value }),
    }
}

/// Whether a register that begins with 0 can have had this history.
pub(crate) fn is_linearizable(operations: &[Operation]) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![(vec![0u64; operations.len().div_ceil(64)], 0u64)];
    while let Some((done, value)) = stack.pop() {
        if !seen.insert((done.clone(), value)) {
            continue;
        }
        assert!(seen.len() < ORDERS, "undecided after {ORDERS} orders");
        let open = |index: &usize| done[index / 64] >> (index % 64) & 1 == 0;
        let left: Vec<usize> = (0..operations.len()).filter(open).collect();
        if left.iter().all(|&index| operations[index].answered.is_none()) {
            return true;
        }
        // What was called after another's answer comes after that.
        let earliest = left.iter().filter_map(|&index| operations[index].answered).min().unwrap();
        for &index in left.iter().filter(|&&index| operations[index].called < earliest) {
            if let Some(value) = step(value, operations[index].act) {
                let mut done = done.clone();
                done[index / 64] |= 1 << (index % 64);
                stack.push((done, value));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(act: Act, called: u64, answered: u64) -> Operation {
        Operation { act, called, answered: Some(answered) }
    }

    #[test]
    fn good_histories_are_passed() {
        // One after another.
        assert!(is_linearizable(&[operation(Act::Write(1), 0, 1), operation(Act::Read(1), 2, 3)]));
        // A read during a write may see the old or the new.
        for seen in [0, 1] {
            assert!(is_linearizable(&[operation(Act::Write(1), 0, 3), operation(Act::Read(seen), 1, 2)]));
        }
        // A write nobody was answered for may show late.
        let open = Operation { act: Act::Write(1), called: 0, answered: None };
        let (early, late) = (operation(Act::Read(0), 1, 2), operation(Act::Read(1), 3, 4));
        assert!(is_linearizable(&[open, early, late]));
        // Of two swaps at a time one wins.
        let swaps = [operation(Act::Swap(0, 1, true), 0, 3), operation(Act::Swap(0, 2, false), 1, 2)];
        assert!(is_linearizable(&swaps));
        assert!(is_linearizable(&[]));
    }

    #[test]
    fn bad_histories_are_caught() {
        // An old value after a new one was answered for.
        assert!(!is_linearizable(&[operation(Act::Write(1), 0, 1), operation(Act::Read(0), 2, 3)]));
        // Back to the old value between two reads.
        let write = operation(Act::Write(1), 0, 5);
        assert!(!is_linearizable(&[write, operation(Act::Read(1), 1, 2), operation(Act::Read(0), 3, 4)]));
        // Both of two swaps won.
        let swaps = [operation(Act::Swap(0, 1, true), 0, 3), operation(Act::Swap(0, 2, true), 1, 2)];
        assert!(!is_linearizable(&swaps));
        // A value that nobody wrote.
        assert!(!is_linearizable(&[operation(Act::Read(7), 0, 1)]));
        // An unanswered write that showed, and was gone again.
        let open = Operation { act: Act::Write(1), called: 0, answered: None };
        assert!(!is_linearizable(&[open, operation(Act::Read(1), 1, 2), operation(Act::Read(0), 3, 4)]));
    }
}
