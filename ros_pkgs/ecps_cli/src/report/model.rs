//! What there is to show. Numbers that are not finite are left out of drawings and statistics.

/// All that the page shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// One sentence under it.
    pub subtitle: String,
    /// Key figures, in a row; four to six look best.
    pub facts: Vec<Fact>,
    /// The floor plan with what happened on it.
    pub map: FloorMap,
    /// What else happened, elsewhere.
    pub chapters: Vec<Chapter>,
    /// Latencies, a pair of plots each.
    pub stages: Vec<Stage>,
    /// What was claimed and checked.
    pub claims: Vec<Claim>,
}

/// Something that happened elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chapter {
    /// The heading.
    pub title: String,
    /// A sentence or two.
    pub text: String,
    /// Where.
    pub map: FloorMap,
}

/// A key figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it counts, in a few words.
    pub label: String,
    /// The figure with its unit.
    pub value: String,
}

/// A place in the map's frame, metres; x to the right, y up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Metres to the right.
    pub x: f64,
    /// Metres up.
    pub y: f64,
}

/// A floor plan with what happened on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FloorMap {
    /// Wall segments. One without length is drawn as a dot, as for the points of a laser scan.
    pub walls: Vec<[Point; 2]>,
    /// Ways that were driven, in the order of time.
    pub paths: Vec<Path>,
    /// Places that were remembered.
    pub memories: Vec<Memory>,
    /// Answers of the memory to questions.
    pub answers: Vec<Answer>,
    /// Places that were recognised.
    pub recalls: Vec<Recall>,
    /// Commands that were refused or lowered, at the place where the robot was.
    pub refusals: Vec<Refusal>,
    /// Formations that were taken up, in the order of time.
    pub formations: Vec<Formation>,
    /// Where a robot was lost.
    pub losses: Vec<Point>,
}

/// A formation that was taken up.
#[derive(Debug, Clone, PartialEq)]
pub struct Formation {
    /// Its shape.
    pub name: String,
    /// Its slots.
    pub slots: Vec<Point>,
}

/// A way that was driven.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Whose way.
    pub name: String,
    /// Its points, from the start.
    pub points: Vec<Point>,
}

/// What the memory answered to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question, in a few words.
    pub question: String,
    /// Where the memories are that were found.
    pub at: Vec<Point>,
}

/// A remembered place.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Where.
    pub at: Point,
    /// What it is called; written on the map when there are few.
    pub label: String,
}

/// A question "where did I see this?" and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Recall {
    /// Where it was asked.
    pub asked_at: Point,
    /// The place that was answered.
    pub found_at: Point,
    /// Cosine similarity of the two, −1 to 1.
    pub similarity: f64,
    /// Whether the answer stood up to checking.
    pub verdict: RecallVerdict,
}

/// Whether a recall stood up to checking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecallVerdict {
    /// It is the same place.
    Confirmed,
    /// It is not.
    Refuted,
}

/// A command that was refused or lowered.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Where the robot was.
    pub at: Point,
    /// Why.
    pub reason: String,
}

/// The latencies of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What takes the time, as in "scan → memory record".
    pub name: String,
    /// What it may take, milliseconds.
    pub budget_ms: Option<f64>,
    /// What it took.
    pub samples: Vec<Latency>,
}

/// One measured latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// When, seconds since the beginning of the run.
    pub at_s: f64,
    /// What it took, milliseconds.
    pub latency_ms: f64,
}

/// Something claimed, with what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub name: String,
    /// What was measured.
    pub value: String,
    /// What it must be.
    pub limit: String,
    /// Whether it is.
    pub verdict: Verdict,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was checked and holds.
    Passed,
    /// It was checked and does not hold.
    Failed,
    /// No claim, but a measurement within its budget.
    Within,
    /// No claim, but a measurement beyond its budget, as a slow machine may make it.
    Beyond,
}

impl Claim {
    /// How many of `claims` hold, and of how many; measurements are neither.
    pub fn tally(claims: &[Claim]) -> (usize, usize) {
        let count = |verdict| claims.iter().filter(|claim| claim.verdict == verdict).count();
        let passed = count(Verdict::Passed);
        (passed, passed + count(Verdict::Failed))
    }
}

impl Stage {
    /// The latency that the share `q` (0 to 1) of the samples does not exceed, milliseconds, by nearest rank.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        quantile(&self.sorted_ms(), q)
    }

    /// The finite latencies, ascending, milliseconds.
    pub(super) fn sorted_ms(&self) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.finite().map(|sample| sample.latency_ms).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(super) fn finite(&self) -> impl Iterator<Item = &Latency> {
        self.samples.iter().filter(|sample| sample.at_s.is_finite() && sample.latency_ms.is_finite())
    }
}

/// By nearest rank, of an ascending list.
pub(super) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

impl Point {
    pub(super) fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }

    pub(crate) fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank_and_leave_out_what_is_not_finite() {
        let samples = (1..=100).rev().map(|ms| Latency { at_s: 0.0, latency_ms: f64::from(ms) });
        let mut stage = Stage { name: String::new(), budget_ms: None, samples: samples.collect() };
        stage.samples.push(Latency { at_s: 0.0, latency_ms: f64::NAN });
        for (q, ms) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(stage.quantile_ms(q), Some(ms));
        }
        stage.samples.clear();
        assert_eq!(stage.quantile_ms(0.5), None);
    }
}
