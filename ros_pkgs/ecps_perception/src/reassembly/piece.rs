//! A chunk as it came, its piece of the payload still in the memory of the message.

use std::ops::Range;

use ecps_core::wire::proto::{LtpChunk, LtpFrameHeader};

/// A chunk that nobody has copied yet: out of the message it goes straight to its place in the tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivedChunk {
    /// Its header.
    pub header: Option<LtpFrameHeader>,
    /// Its piece.
    pub piece: Piece,
    /// Whether it is the last.
    pub is_final: bool,
}

impl From<LtpChunk> for ArrivedChunk {
    fn from(chunk: LtpChunk) -> ArrivedChunk {
        ArrivedChunk { header: chunk.header, piece: chunk.chunk_data.into(), is_final: chunk.is_final }
    }
}

/// Bytes within the memory of the message that they came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    memory: Vec<u8>,
    range: Range<usize>,
}

impl From<Vec<u8>> for Piece {
    fn from(memory: Vec<u8>) -> Piece {
        Piece { range: 0..memory.len(), memory }
    }
}

impl Piece {
    /// The bytes of `memory` in `range`; none where it leads out of it.
    pub fn of(memory: Vec<u8>, range: Range<usize>) -> Piece {
        Piece { memory, range }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.range.clone()).unwrap_or_default()
    }

    /// The bytes, in the same memory and at its beginning.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.memory.truncate(self.range.end);
        self.memory.drain(..self.range.start.min(self.memory.len()));
        self.memory
    }
}
