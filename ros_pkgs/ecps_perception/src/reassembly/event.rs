//! What comes of chunks, frames and the passing of time.

use std::time::Duration;

use ecps_core::check::CheckError;
use ecps_core::clock::Steady;
use thiserror::Error;

use super::ChunkRefusal;
use crate::chunks::MetadataError;
use crate::codec::DecodeError;
use crate::delta::DeltaError;
use crate::tensor::Tensor;

/// What came of a chunk, a frame or the passing of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A tensor is whole and verified.
    Complete {
        /// The tensor.
        tensor: Box<Tensor>,
        /// Its number in the stream.
        sequence: u32,
        /// Chunks it came in; 0 for a frame that came whole.
        chunks: u32,
        /// When its first part arrived.
        first_arrival: Steady,
        /// Tensors of the stream right before it that will never come.
        lost: u32,
    },
    /// A tensor of a reliable stream is whole and verified; its turn may be yet to come.
    Settled {
        /// Its number in the stream.
        sequence: u32,
        /// Chunks it came in; 0 for a frame that came whole.
        chunks: u32,
    },
    /// A chunk was taken in; others are missing.
    Progress {
        /// Number of the tensor.
        sequence: u32,
        /// Chunks received.
        received: u32,
        /// Chunks there are.
        total: u32,
    },
    /// The chunk was already there.
    Duplicate {
        /// Number of the tensor.
        sequence: u32,
        /// The chunk's index.
        index: u32,
    },
    /// A part of a tensor that is finished, or older than one that is.
    Late {
        /// Number of the tensor.
        sequence: u32,
        /// Chunks it has; 0 for a frame that came whole.
        chunks: u32,
    },
    /// Not acceptable.
    Refused(Refusal),
    /// A tensor given up.
    Expired {
        /// Number of the tensor.
        sequence: u32,
        /// Chunks received.
        received: u32,
        /// Chunks there are.
        total: u32,
        /// Why.
        reason: Expiry,
    },
}

/// Why a partial set was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Expiry {
    /// Chunks were missing for longer than the timeout.
    #[error("chunks were still missing after {0:?}")]
    Timeout(Duration),
    /// A newer tensor of the stream was finished, or needed the room.
    #[error("a newer tensor of the stream took its place")]
    Superseded,
    /// The sender started anew.
    #[error("the sender started its stream anew")]
    Restarted,
}

/// Why a chunk, a set or a frame was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// A sender's or stream's name is empty or too long.
    #[error(transparent)]
    Name(#[from] CheckError),
    /// The chunk itself, or beside the others of its set.
    #[error(transparent)]
    Chunk(#[from] ChunkRefusal),
    /// The frame, or what the chunks came to.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// A difference to a key frame that is not here.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// More streams than allowed.
    #[error("there are {0} streams already, which is the limit")]
    TooManyStreams(usize),
    /// The sender's share of memory is used up.
    #[error("the sender's partial tensors hold {held} bytes, {more} more exceed the {limit} allowed per sender")]
    SenderMemory {
        /// Bytes held.
        held: usize,
        /// Bytes the chunk needs.
        more: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Memory for partial tensors is used up.
    #[error("all partial tensors hold {held} bytes, {more} more exceed the {limit} allowed in total")]
    TotalMemory {
        /// Bytes held.
        held: usize,
        /// Bytes the chunk needs.
        more: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

impl Refusal {
    /// The kind of reason, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Name(_) => "name",
            Refusal::Chunk(error) => error.kind(),
            Refusal::Frame(error) => error.kind(),
            Refusal::Delta(_) => "key_missing",
            Refusal::TooManyStreams(_) => "streams",
            Refusal::SenderMemory { .. } | Refusal::TotalMemory { .. } => "memory",
        }
    }
}

impl From<MetadataError> for Refusal {
    fn from(error: MetadataError) -> Refusal {
        Refusal::Chunk(error.into())
    }
}
