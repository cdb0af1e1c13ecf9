//! The question and the answer.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use ecps_core::limits::NAME_BYTES;
use nalgebra::Point3;

use crate::record::{self, ID_BYTES, InvalidError, Record};

/// Most hits that may be asked for.
pub const MOST_HITS: u32 = 1000;
/// Largest radius of a place, metres; its square stays far from overflow.
pub const RADIUS_METRES: f64 = 1e9;
/// What single precision may cost a similarity: so much below `min_sim` still counts as reaching it.
pub const SIMILARITY_TOLERANCE: f32 = 1e-6;

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
    /// Where it should have been. None: anywhere, also nowhere.
    pub place: Option<Place>,
    /// Records must carry all of these.
    pub labels: Vec<String>,
}

/// A vector to be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeness {
    /// Model that made the vector; only its records are compared.
    pub model_id: String,
    /// The vector, as [`Record::embedding`].
    pub embedding: Vec<f32>,
}

/// A ball in a frame. Only records posed in this very frame are in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Frame of the centre.
    pub frame_id: String,
    /// Centre, metres.
    pub centre: Point3<f64>,
    /// Radius, metres, above 0; the surface is included.
    pub radius: f64,
}

/// One answer of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// What was remembered.
    pub record: Record,
    /// Cosine similarity, -1 to 1. None where no likeness was asked.
    pub similarity: Option<f32>,
}

/// Everything a query found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Best first; equally good ones newest first, then by id.
    pub hits: Vec<Hit>,
    /// Records that met every condition, before `k` cut the list.
    pub total_matched: u64,
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
            place: None,
            labels: Vec::new(),
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
            record::needed_text("frame_id", &place.frame_id, NAME_BYTES)?;
            record::position("center", [place.centre.x, place.centre.y, place.centre.z])?;
            check::in_range("radius", place.radius, 0.0, RADIUS_METRES)?;
            if place.radius == 0.0 {
                return Err(CheckError::Empty { field: "radius".into() }.into());
            }
        }
        record::labels(&self.labels)
    }
}
