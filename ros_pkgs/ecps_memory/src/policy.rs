//! How long memories live and how many there may be.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::check::{self, CheckError};

use crate::place::RADIUS_METRES;

/// How much a namespace may hold. Beyond it, what was least recently a hit goes; pinned records stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Most records.
    pub records: u64,
    /// Most bytes of what they hold, as [`Record`](crate::Record) fields.
    pub bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { records: u64::MAX, bytes: u64::MAX }
    }
}

/// What becomes of a namespace's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// How much it may hold.
    pub quota: Quota,
    /// How long after it was taken in a record without expiry is forgotten. None: never.
    pub lifetime: Option<Duration>,
}

/// When a record put without an id is taken for another sighting of one that is there: same namespace, model, robot, topic,
/// frame and map, and within all three of these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// Least cosine similarity, -1 to 1.
    pub similarity: f32,
    /// Longest time between its last sighting and this one.
    pub within: Duration,
    /// Longest way between the two places, metres. Where only one has a place, they do not merge.
    pub distance: f64,
}

impl Merge {
    pub(crate) fn validate(&self) -> Result<(), CheckError> {
        check::in_range("merge.similarity", self.similarity.into(), -1.0, 1.0)?;
        check::in_range("merge.distance", self.distance, 0.0, RADIUS_METRES)?;
        Ok(())
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// For namespaces that are not named below.
    pub retention: Retention,
    /// By namespace.
    pub namespaces: BTreeMap<String, Retention>,
    /// None: nothing is merged.
    pub merge: Option<Merge>,
}

impl Policy {
    pub(crate) fn of(&self, namespace: &str) -> Retention {
        self.namespaces.get(namespace).copied().unwrap_or(self.retention)
    }
}
