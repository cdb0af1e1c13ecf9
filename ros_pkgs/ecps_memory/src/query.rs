//! The question and the answer.

use std::time::Duration;

use ecps_core::check;
use ecps_core::clock::Stamp;
use ecps_core::limits::NAME_BYTES;

use crate::place::Place;
use crate::record::{self, ID_BYTES, InvalidError, Record};

/// Most hits that may be asked for.
pub const MOST_HITS: u32 = 1000;
/// Longest words to search for, bytes.
pub const WORDS_BYTES: usize = 1024;
/// What 16 bits may cost a similarity while searching. The hits' own similarities are computed from the whole vectors.
pub const SIMILARITY_TOLERANCE: f32 = 1e-4;
/// Half-life of recency, where none is given.
pub const HALF_LIFE: Duration = Duration::from_secs(86_400);

/// What have I seen like this, when and where? All conditions must hold. Mirrors `ecps_msgs/QueryMemory`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Where to look. Empty: "default".
    pub namespace: String,
    /// What it should be like. None: no likeness asked, newest first.
    pub likeness: Option<Likeness>,
    /// At most this many hits, 1 to 1000.
    pub k: u32,
    /// Least cosine similarity, -1 to 1. Only binds where a likeness is asked.
    pub min_sim: f32,
    /// Earliest event time, included. None: open.
    pub not_before: Option<Stamp>,
    /// Latest event time, included. None: open.
    pub not_after: Option<Stamp>,
    /// What held true then. None: no matter.
    pub valid_at: Option<Stamp>,
    /// Where it should have been. None: anywhere, also nowhere.
    pub place: Option<Place>,
    /// Records must hold all of these words, whatever is between them. Empty: no matter.
    pub text: String,
    /// Records must carry all of these.
    pub labels: Vec<String>,
    /// Robot that it came from. Empty: any.
    pub robot: String,
    /// What the hits are ordered by.
    pub ranking: Ranking,
    /// Whether only an exact answer will do, however long it takes.
    pub exact: bool,
    /// Whether hits come without embedding and payload.
    pub heads_only: bool,
}

/// Weights of a hit's score. Where recency and importance have none, hits are ordered by fit: by likeness, or else by words,
/// or else newest first. Likeness and words together are fused by their reciprocal ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Weight of how well it fits what was asked, 0 or more.
    pub relevance: f32,
    /// Weight of how new it is, 0 or more.
    pub recency: f32,
    /// Weight of how much it matters, 0 or more.
    pub importance: f32,
    /// Age at which recency is a half.
    pub half_life: Duration,
}

impl Default for Ranking {
    fn default() -> Self {
        Ranking { relevance: 1.0, recency: 0.0, importance: 0.0, half_life: HALF_LIFE }
    }
}

impl Ranking {
    pub(crate) fn by_fit_alone(&self) -> bool {
        self.recency == 0.0 && self.importance == 0.0
    }

    /// 1 for now, 0.5 after one half-life; 0 where it has no weight.
    pub(crate) fn recency(&self, now: Stamp, seen: Stamp) -> f32 {
        if self.recency == 0.0 {
            return 0.0;
        }
        let half_lives = now.nanos_since(seen).max(0) as f64 / self.half_life.as_nanos().max(1) as f64;
        0.5_f64.powf(half_lives) as f32
    }

    pub(crate) fn score(&self, relevance: f32, recency: f32, importance: f32) -> f32 {
        self.relevance * relevance + self.recency * recency + self.importance * importance
    }

    fn validate(&self) -> Result<(), InvalidError> {
        let weights = [
            ("weight_relevance", self.relevance),
            ("weight_recency", self.recency),
            ("weight_importance", self.importance),
        ];
        for (field, weight) in weights {
            check::in_range(field, weight.into(), 0.0, 1e6)?;
        }
        Ok(())
    }
}

/// A vector to be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeness {
    /// Model that made the vector; only its records are compared.
    pub model_id: String,
    /// The vector, as [`Record::embedding`].
    pub embedding: Vec<f32>,
}

/// How hits were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// No vector was asked for.
    #[default]
    NoVector,
    /// Every record that passes was compared.
    Scan,
    /// By a walk of the graph: most of the best, not surely all.
    Graph,
}

/// One answer of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// What was remembered.
    pub record: Record,
    /// Cosine similarity, -1 to 1. None where no likeness was asked.
    pub similarity: Option<f32>,
    /// How well its words fit (BM25, more is better). None where no words were asked.
    pub text_score: Option<f32>,
    /// What it was ranked by.
    pub score: f32,
    /// How well it fits what was asked, 0 to 1.
    pub relevance: f32,
    /// How new it is, 0 to 1; 0 where that has no weight.
    pub recency: f32,
    /// How much it matters, 0 to 1.
    pub importance: f32,
}

/// Everything a query found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Best first; equally good ones newest first, then by id.
    pub hits: Vec<Hit>,
    /// Records that met every condition, before `k` cut the list.
    pub total_matched: u64,
    /// Whether there may be more that match: a walk of the graph does not see all.
    pub total_is_lower_bound: bool,
    /// How it was found.
    pub way: Way,
    /// Share of the true hits that this way has found of late; 1 for a scan, None where not yet known.
    pub recall: Option<f32>,
    /// Whether hits are missing because the answer grew too large or took too long.
    pub cut_short: bool,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            namespace: String::new(),
            likeness: None,
            k: 10,
            min_sim: 0.7,
            not_before: None,
            not_after: None,
            valid_at: None,
            place: None,
            text: String::new(),
            labels: Vec::new(),
            robot: String::new(),
            ranking: Ranking::default(),
            exact: false,
            heads_only: false,
        }
    }
}

impl Query {
    /// Refuses what breaks a limit, naming the field, the value and the limit.
    pub fn validate(&self) -> Result<(), InvalidError> {
        record::optional_text("memory_namespace", &self.namespace, ID_BYTES)?;
        if let Some(likeness) = &self.likeness {
            record::needed_text("model_id", &likeness.model_id, ID_BYTES)?;
            record::embedding(&likeness.embedding)?;
        }
        check::in_range("k", self.k.into(), 1.0, MOST_HITS.into())?;
        check::in_range("min_sim", self.min_sim.into(), -1.0, 1.0)?;
        if let (Some(Stamp(not_before)), Some(Stamp(not_after))) = (self.not_before, self.not_after)
            && not_after < not_before
        {
            return Err(InvalidError::EmptyWindow { not_before, not_after });
        }
        if let Some(place) = &self.place {
            place.validate()?;
        }
        self.ranking.validate()?;
        record::optional_text("robot", &self.robot, NAME_BYTES)?;
        record::optional_text("text", &self.text, WORDS_BYTES)?;
        if !self.text.is_empty() && self.words().is_none() {
            return Err(InvalidError::NoWord { text: self.text.chars().take(64).collect() });
        }
        record::labels(&self.labels)
    }
    /// The words as an FTS5 query in which nothing but words means anything; None where there are none.
    pub(crate) fn words(&self) -> Option<String> {
        let quoted = |word: &str| format!("\"{}\"", word.replace('"', "\"\""));
        let words: Vec<String> =
            self.text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).map(quoted).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}
