//! One memory, and what makes it acceptable.

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use ecps_core::limits::{EMBEDDING_ELEMENTS, MEMORY_PAYLOAD_BYTES, NAME_BYTES};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use thiserror::Error;

/// Longest id, namespace, model id and label, bytes.
pub const ID_BYTES: usize = 128;
/// Most labels of a record.
pub const LABELS: usize = 64;
/// Longest text of a record, bytes.
pub const TEXT_BYTES: usize = 16 << 10;
/// Most parents of a record.
pub const PARENTS: usize = 1024;
/// Numbers of a pose's covariance.
pub const COVARIANCE: usize = 36;
/// The namespace that an empty one stands for.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One memory: an embedding with its time, its place and what it is about. Mirrors `ecps_msgs/MemoryRecord`.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Unique in its namespace. Empty in a put: one is made, or the record is merged into one it nearly repeats.
    pub id: String,
    /// Memories of different namespaces never meet in a query. Empty: [`DEFAULT_NAMESPACE`].
    pub namespace: String,
    /// Model that made the embedding. Vectors of two models are never compared.
    pub model_id: String,
    /// The vector: finite, not all zero, 1 to 4096 elements, as many as every other of its model and namespace.
    pub embedding: Vec<f32>,
    /// Event time; the first one where observations were merged.
    pub time: Stamp,
    /// When it was taken in. Zero in a put: now.
    pub observed: Stamp,
    /// From when on it holds true. None: always did.
    pub valid_from: Option<Stamp>,
    /// Until when it holds true, included. None: for ever.
    pub valid_until: Option<Stamp>,
    /// From when on it is forgotten. None: as its namespace's retention says.
    pub expires: Option<Stamp>,
    /// Frame of the pose (REP 105); needed where there is a pose.
    pub frame_id: String,
    /// Map that the frame belongs to; empty where there is only one.
    pub map_id: String,
    /// Where it was in `frame_id`, metres.
    pub pose: Option<Isometry3<f64>>,
    /// Covariance of the pose, row by row (x, y, z, then about x, y, z; m², rad²): 36 numbers, or none.
    pub covariance: Vec<f64>,
    /// What a person would search for: at most 64, each at most 128 bytes.
    pub labels: Vec<String>,
    /// What is searched by words, at most 16 KiB.
    pub text: String,
    /// How much it matters, 0 to 1.
    pub importance: f32,
    /// Whether it is kept when room is needed.
    pub pinned: bool,
    /// Which robot it came from.
    pub robot: String,
    /// Which node it came from.
    pub node: String,
    /// Which topic it came from.
    pub topic: String,
    /// Which bag it came from.
    pub bag: String,
    /// Where in the bag, bytes.
    pub bag_offset: u64,
    /// Ids of the memories it was made of, at most 1024.
    pub parents: Vec<String>,
    /// Type of the payload: a ROS type name or a media type.
    pub payload_type: String,
    /// What was remembered, at most 1 MiB.
    pub payload: Vec<u8>,
    /// Counts the puts of this id since it was last deleted, from 1. Set by the memory; ignored in a put.
    pub version: u64,
    /// Observations merged into it, itself included. Set by the memory; ignored in a put.
    pub sightings: u64,
    /// Event time of the last of them. Set by the memory; ignored in a put.
    pub last_seen: Stamp,
}

impl Default for Record {
    fn default() -> Self {
        Record {
            id: String::new(),
            namespace: String::new(),
            model_id: String::new(),
            embedding: Vec::new(),
            time: Stamp::default(),
            observed: Stamp::default(),
            valid_from: None,
            valid_until: None,
            expires: None,
            frame_id: String::new(),
            map_id: String::new(),
            pose: None,
            covariance: Vec::new(),
            labels: Vec::new(),
            text: String::new(),
            importance: 0.5,
            pinned: false,
            robot: String::new(),
            node: String::new(),
            topic: String::new(),
            bag: String::new(),
            bag_offset: 0,
            parents: Vec::new(),
            payload_type: String::new(),
            payload: Vec::new(),
            version: 0,
            sightings: 0,
            last_seen: Stamp::default(),
        }
    }
}

/// Where a put record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id: the one given, or the one made.
    pub id: String,
    /// Its version: 1 when it was new.
    pub version: u64,
    /// Whether it was merged into a record that was there already.
    pub merged: bool,
}

/// Why a record or a query is not acceptable.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InvalidError {
    /// A number or a size outside its limits.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A NUL byte, which would cut the text short in other programs.
    #[error("{field} holds a NUL byte at {at}, and must hold none")]
    Nul {
        /// Name of the field.
        field: String,
        /// Byte offset of the first NUL.
        at: usize,
    },
    /// A vector of zeros only has no direction, so nothing is like it.
    #[error("embedding is all zero in its {elements} elements, and has no direction to compare")]
    ZeroVector {
        /// Elements of the vector.
        elements: usize,
    },
    /// A covariance that is not one of a pose.
    #[error("pose_covariance has {found} numbers, and must have 36 or none")]
    Covariance {
        /// Numbers given.
        found: usize,
    },
    /// Words to search for that hold no letter and no digit.
    #[error("text is '{text}', and holds no word to search for")]
    NoWord {
        /// The beginning of what was given.
        text: String,
    },
    /// A time window that ends before it begins.
    #[error("the time window ends at {not_after} ns, before it begins at {not_before} ns")]
    EmptyWindow {
        /// Start of the window, nanoseconds.
        not_before: i64,
        /// End of the window, nanoseconds.
        not_after: i64,
    },
}

impl Record {
    /// Refuses what breaks a limit, naming the field, the value and the limit.
    pub fn validate(&self) -> Result<(), InvalidError> {
        optional_text("id", &self.id, ID_BYTES)?;
        optional_text("memory_namespace", &self.namespace, ID_BYTES)?;
        needed_text("model_id", &self.model_id, ID_BYTES)?;
        embedding(&self.embedding)?;
        optional_text("header.frame_id", &self.frame_id, NAME_BYTES)?;
        if let Some(pose) = &self.pose {
            needed_text("header.frame_id", &self.frame_id, NAME_BYTES)?;
            let at = pose.translation;
            position("pose.position", [at.x, at.y, at.z])?;
            let turn = pose.rotation.coords;
            check::unit_quaternion("pose.orientation", [turn.x, turn.y, turn.z, turn.w])?;
        }
        if !self.covariance.is_empty() && self.covariance.len() != COVARIANCE {
            return Err(InvalidError::Covariance { found: self.covariance.len() });
        }
        for (index, value) in self.covariance.iter().enumerate() {
            check::finite(&format!("pose_covariance[{index}]"), *value)?;
        }
        labels(&self.labels)?;
        optional_text("text", &self.text, TEXT_BYTES)?;
        check::in_range("importance", self.importance.into(), 0.0, 1.0)?;
        if let (Some(Stamp(not_before)), Some(Stamp(not_after))) = (self.valid_from, self.valid_until)
            && not_after < not_before
        {
            return Err(InvalidError::EmptyWindow { not_before, not_after });
        }
        let names = [
            ("map_id", &self.map_id),
            ("robot", &self.robot),
            ("node", &self.node),
            ("topic", &self.topic),
            ("bag", &self.bag),
            ("payload_type", &self.payload_type),
        ];
        names.into_iter().try_for_each(|(field, text)| optional_text(field, text, NAME_BYTES))?;
        check::at_most("parents", self.parents.len(), PARENTS, "entries")?;
        for (index, parent) in self.parents.iter().enumerate() {
            needed_text(&format!("parents[{index}]"), parent, ID_BYTES)?;
        }
        check::at_most("payload", self.payload.len(), MEMORY_PAYLOAD_BYTES, "bytes")?;
        Ok(())
    }

    /// What it weighs, in memory and towards a quota, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.id, &self.namespace, &self.model_id, &self.frame_id, &self.map_id, &self.text, &self.bag];
        let more = [&self.robot, &self.node, &self.topic, &self.payload_type];
        let lists = self.labels.iter().chain(&self.parents);
        let texts = texts.into_iter().chain(more).chain(lists).map(String::len).sum::<usize>();
        size_of::<Self>() + texts + self.payload.len() + self.embedding.len() * 4 + self.covariance.len() * 8
    }
}

/// Makes a pose from message fields: metres, and a quaternion (x, y, z, w) that must be of unit length.
pub fn pose_from_parts(at: [f64; 3], [x, y, z, w]: [f64; 4]) -> Result<Isometry3<f64>, InvalidError> {
    position("pose.position", at)?;
    check::unit_quaternion("pose.orientation", [x, y, z, w])?;
    let turn = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
    Ok(Isometry3::from_parts(Translation3::from(at), turn))
}

/// The namespace meant: an empty one is [`DEFAULT_NAMESPACE`].
pub(crate) fn namespace_or_default(namespace: &str) -> &str {
    if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace }
}

pub(crate) fn embedding(vector: &[f32]) -> Result<(), InvalidError> {
    if vector.is_empty() {
        return Err(CheckError::Empty { field: "embedding".into() }.into());
    }
    check::at_most("embedding", vector.len(), EMBEDDING_ELEMENTS, "elements")?;
    if let Some(at) = vector.iter().position(|v| !v.is_finite()) {
        let value = vector.get(at).copied().unwrap_or(f32::NAN);
        return Err(CheckError::NotFinite { field: format!("embedding[{at}]"), value: value.into() }.into());
    }
    if vector.iter().all(|v| *v == 0.0) {
        return Err(InvalidError::ZeroVector { elements: vector.len() });
    }
    Ok(())
}

pub(crate) fn position(field: &str, at: [f64; 3]) -> Result<(), InvalidError> {
    for (axis, value) in ["x", "y", "z"].into_iter().zip(at) {
        if !value.is_finite() {
            return Err(CheckError::NotFinite { field: format!("{field}.{axis}"), value }.into());
        }
    }
    Ok(())
}

pub(crate) fn labels(labels: &[String]) -> Result<(), InvalidError> {
    check::at_most("labels", labels.len(), LABELS, "entries")?;
    labels.iter().enumerate().try_for_each(|(i, label)| needed_text(&format!("labels[{i}]"), label, ID_BYTES))
}

pub(crate) fn needed_text(field: &str, text: &str, limit: usize) -> Result<(), InvalidError> {
    check::name(field, text, limit)?;
    optional_text(field, text, limit)
}

pub(crate) fn optional_text(field: &str, text: &str, limit: usize) -> Result<(), InvalidError> {
    check::at_most(field, text.len(), limit, "bytes")?;
    match text.find('\0') {
        Some(at) => Err(InvalidError::Nul { field: field.into(), at }),
        None => Ok(()),
    }
}
