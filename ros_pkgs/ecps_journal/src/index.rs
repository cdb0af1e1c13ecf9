//! The index of a segment: what it holds and where, built while it is written.

use std::collections::BTreeMap;

use crate::format::{Digest, Moment};
use crate::record::{Count, Index, Mark};

/// Bytes between two marks, at first.
const SPACING: u64 = 64 << 10;
/// Most marks; at more, every second one goes and the spacing doubles.
const MARKS: usize = 4096;
/// Most trace ids that are listed.
const TRACES: usize = 32_768;

/// First 8 bytes of a trace id.
pub(crate) fn trace_hash(trace: &[u8; 16]) -> u64 {
    trace.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
}

/// Takes notes of a segment's records.
#[derive(Debug)]
pub(crate) struct Builder {
    spacing: u64,
    due: u64,
    marks: Vec<Mark>,
    walls: Option<(i64, i64)>,
    counts: BTreeMap<u16, u64>,
    traces: Vec<(u64, u64)>,
    complete: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        // At once, so that none is allocated while records are appended.
        let (marks, traces) = (Vec::with_capacity(MARKS), Vec::with_capacity(TRACES));
        Builder { spacing: SPACING, due: 0, marks, walls: None, counts: BTreeMap::new(), traces, complete: true }
    }
}

impl Builder {
    /// Takes note of a record at `offset`.
    pub(crate) fn note(&mut self, kind: u16, sequence: u64, offset: u64, moment: &Moment) {
        let wall = moment.wall.0;
        self.walls = Some(self.walls.map_or((wall, wall), |(least, most)| (least.min(wall), most.max(wall))));
        if offset >= self.due {
            if self.marks.len() >= MARKS {
                let mut keep = false;
                self.marks.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.spacing *= 2;
            }
            let steady_ns = u64::try_from(moment.steady.0.as_nanos()).unwrap_or(u64::MAX);
            let latest_wall_ns = self.walls.map_or(wall, |(_, most)| most);
            self.marks.push(Mark { sequence, offset, steady_ns, latest_wall_ns });
            self.due = offset + self.spacing;
        }
        *self.counts.entry(kind).or_default() += 1;
        if moment.trace != [0; 16] {
            if self.traces.len() < TRACES {
                self.traces.push((trace_hash(&moment.trace), offset));
            } else {
                self.complete = false;
            }
        }
    }

    /// The index of the records from `first` to `last`.
    pub(crate) fn finish(mut self, first: u64, last: u64, last_digest: Digest) -> Index {
        self.traces.sort_unstable();
        let (earliest_wall_ns, latest_wall_ns) = self.walls.unwrap_or_default();
        let count = |(kind, records): (u16, u64)| Count { kind: kind.into(), records };
        let (trace_hashes, trace_offsets) = self.traces.into_iter().unzip();
        Index {
            first_sequence: first,
            last_sequence: last,
            last_digest: last_digest.to_vec(),
            marks: self.marks,
            earliest_wall_ns,
            latest_wall_ns,
            counts: self.counts.into_iter().map(count).collect(),
            trace_hashes,
            trace_offsets,
            traces_complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_bounded_however_long_the_segment_and_begin_with_the_first_record() {
        let mut builder = Builder::default();
        for n in 0..20_000u64 {
            builder.note(1, n + 1, 500 + n * SPACING, &Moment::default());
        }
        let index = builder.finish(1, 20_000, [0; 32]);
        assert!(index.marks.len() <= MARKS, "{}", index.marks.len());
        assert_eq!(index.marks[0].sequence, 1);
        assert!(index.marks.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        assert_eq!(index.counts, [Count { kind: 1, records: 20_000 }]);
    }

    #[test]
    fn trace_ids_are_listed_in_order_until_there_are_too_many_and_then_that_is_said() {
        let mut builder = Builder::default();
        let traced = |n: u32| {
            let mut trace = [0; 16];
            trace[..4].copy_from_slice(&n.to_le_bytes());
            Moment { trace, ..Moment::default() }
        };
        builder.note(1, 1, 0, &Moment::default());
        for n in (1..=TRACES as u32).rev() {
            builder.note(1, 1, n.into(), &traced(n));
        }
        builder.note(1, 1, 9, &traced(9));
        let index = builder.finish(1, 1, [0; 32]);
        assert_eq!((index.trace_hashes.len(), index.traces_complete), (TRACES, false));
        assert_eq!(index.trace_hashes[..3], [1, 2, 3]);
        assert_eq!(index.trace_offsets[..3], [1, 2, 3]);
    }
}
