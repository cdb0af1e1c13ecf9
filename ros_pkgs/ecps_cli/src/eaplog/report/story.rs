//! What a journal tells, in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ecps_core::clock::Stamp;
use ecps_journal::cipher::PayloadKey;
use ecps_journal::record::{Entry, Verdict};
use ecps_journal::{Reader, Record};

use super::super::EaplogError;
use crate::report::{Latency, Stage};

/// Columns of the timeline.
pub(super) const COLUMNS: usize = 240;
/// Most gaps that are listed.
const GAPS: usize = 10;
/// Least time without a record that is a gap, ns.
const LEAST_GAP: i64 = 1_000_000_000;
/// Most samples of a latency; from then on only every second, and so on.
const SAMPLES: usize = 50_000;
/// Most reasons, and most actions under way.
const KEPT: usize = 10_000;
/// An age above this is one of clocks that have nothing to do with each other, ns.
const LONGEST_AGE: i64 = 10_000_000_000;

/// A time without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) after: u64,
    pub(super) from: Stamp,
    pub(super) length: i64,
}

/// All that is drawn.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) from: Stamp,
    pub(super) to: Stamp,
    /// Records by kind, over time.
    pub(super) lanes: BTreeMap<u16, Vec<u64>>,
    pub(super) refusals: BTreeMap<String, u64>,
    pub(super) motions: BTreeMap<&'static str, u64>,
    pub(super) gaps: Vec<Gap>,
    pub(super) ages: Samples,
    pub(super) actions: Samples,
    /// Records whose payloads are encrypted.
    pub(super) encrypted: u64,
}

/// Latencies, thinned out.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: Vec<Latency>,
    seen: u64,
    every: u64,
}

impl Samples {
    fn push(&mut self, at_s: f64, latency_ms: f64) {
        self.every = self.every.max(1);
        if self.seen.is_multiple_of(self.every) {
            if self.kept.len() >= SAMPLES {
                let mut keep = false;
                self.kept.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.every *= 2;
            }
            self.kept.push(Latency { at_s, latency_ms });
        }
        self.seen += 1;
    }

    /// As a drawing has it; none without samples.
    pub(super) fn stage(&self, name: &str) -> Option<Stage> {
        (!self.kept.is_empty()).then(|| Stage { name: name.into(), budget_ms: None, samples: self.kept.clone() })
    }
}

fn seconds(from: Stamp, to: Stamp) -> f64 {
    to.nanos_since(from) as f64 * 1e-9
}

impl Story {
    /// Reads the journal twice: for its span, and for what is in it.
    pub(super) fn read(path: &Path, keys: &[PayloadKey]) -> Result<Story, EaplogError> {
        let (mut from, mut to) = (Stamp(i64::MAX), Stamp(i64::MIN));
        let mut reader = Reader::open(path)?;
        while let Some(record) = reader.read()? {
            let wall = record.header.moment.wall;
            (from, to) = (from.min(wall), to.max(wall));
        }
        if from > to {
            return Ok(Story::default());
        }
        let mut story = Story { from, to, ..Story::default() };
        let mut reader = Reader::open(path)?.with_keys(keys.to_vec());
        let (mut last, mut under_way) = (None::<(u64, Stamp)>, HashMap::new());
        while let Some(record) = reader.read()? {
            let (sequence, wall) = (record.header.sequence, record.header.moment.wall);
            if let Some((after, before)) = last.filter(|(_, before)| wall.nanos_since(*before) >= LEAST_GAP) {
                story.gap(Gap { after, from: before, length: wall.nanos_since(before) });
            }
            last = Some((sequence, wall));
            story.take(&record, &mut under_way);
        }
        Ok(story)
    }

    /// Keeps the longest.
    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.gaps.sort_by_key(|gap| std::cmp::Reverse(gap.length));
        self.gaps.truncate(GAPS);
    }

    fn take(&mut self, record: &Record, under_way: &mut HashMap<u64, std::time::Duration>) {
        let (header, moment) = (&record.header, &record.header.moment);
        let share = seconds(self.from, moment.wall) / seconds(self.from, self.to).max(1e-9);
        let column = ((share * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let lane = self.lanes.entry(header.kind).or_insert_with(|| vec![0; COLUMNS]);
        if let Some(count) = lane.get_mut(column) {
            *count += 1;
        }
        let at = seconds(self.from, moment.wall);
        match record.entry() {
            Ok(Entry::Motion(motion)) => {
                let verdict = motion.verdict();
                *self.motions.entry(verdict.as_str_name()).or_default() += 1;
                if verdict == Verdict::Refused {
                    self.refuse(&motion.reason, 1);
                }
                let age = motion.stamp_ns.map(|stamp| moment.wall.nanos_since(Stamp(stamp)));
                if let Some(age) = age.filter(|age| (0..LONGEST_AGE).contains(age)) {
                    self.ages.push(at, age as f64 * 1e-6);
                }
            }
            Ok(Entry::Refusals(more)) => self.refuse(&more.reason, more.count),
            Ok(Entry::Action(action)) if action.verdict() == Verdict::Refused => {
                self.refuse(&format!("action, error {}", action.error_code), 1);
            }
            Ok(Entry::Action(_)) if under_way.len() < KEPT => {
                under_way.insert(header.sequence, moment.steady.0);
            }
            Ok(Entry::Outcome(outcome)) => {
                if let Some(started) = under_way.remove(&outcome.action_sequence) {
                    self.actions.push(at, moment.steady.0.saturating_sub(started).as_secs_f64() * 1e3);
                }
            }
            Err(_) => self.encrypted += u64::from(record.encrypted),
            Ok(_) => {}
        }
    }

    fn refuse(&mut self, reason: &str, count: u64) {
        if self.refusals.len() < KEPT || self.refusals.contains_key(reason) {
            *self.refusals.entry(reason.chars().take(64).collect()).or_default() += count;
        }
    }
}
