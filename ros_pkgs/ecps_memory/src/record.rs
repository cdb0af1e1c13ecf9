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
/// The namespace that an empty one stands for.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One memory: an embedding with its time, its place and what it is about. Mirrors `ecps_msgs/MemoryRecord`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Unique in its namespace. Empty in a put: one is made.
    pub id: String,
    /// Memories of different namespaces never meet in a query. Empty: [`DEFAULT_NAMESPACE`].
    pub namespace: String,
    /// Model that made the embedding. Vectors of two models are never compared.
    pub model_id: String,
    /// The vector: finite, not all zero, 1 to 4096 elements, as many as every other of its model and namespace.
    pub embedding: Vec<f32>,
    /// Event time.
    pub time: Stamp,
    /// Frame of the pose (REP 105); needed where there is a pose.
    pub frame_id: String,
    /// Where it was in `frame_id`, metres.
    pub pose: Option<Isometry3<f64>>,
    /// What a person would search for: at most 64, each at most 128 bytes.
    pub labels: Vec<String>,
    /// Which robot it came from.
    pub robot: String,
    /// Which topic it came from.
    pub topic: String,
    /// Type of the payload: a ROS type name or a media type.
    pub payload_type: String,
    /// What was remembered, at most 1 MiB.
    pub payload: Vec<u8>,
    /// Counts the puts of this id since it was last deleted, from 1. Set by the memory; ignored in a put.
    pub version: u64,
}

/// Where a put record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id: the one given, or the one made.
    pub id: String,
    /// Its version: 1 when it was new.
    pub version: u64,
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
        labels(&self.labels)?;
        optional_text("robot", &self.robot, NAME_BYTES)?;
        optional_text("topic", &self.topic, NAME_BYTES)?;
        optional_text("payload_type", &self.payload_type, NAME_BYTES)?;
        check::at_most("payload", self.payload.len(), MEMORY_PAYLOAD_BYTES, "bytes")?;
        Ok(())
    }

    /// What it weighs while it waits to be written, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.id, &self.namespace, &self.model_id, &self.frame_id, &self.robot, &self.topic];
        let texts = texts.iter().map(|t| t.len()).chain(self.labels.iter().map(String::len)).sum::<usize>();
        size_of::<Self>() + texts + self.payload_type.len() + self.payload.len() + self.embedding.len() * 4
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
