//! A chunk as it came, its piece of the payload still in the memory of the message.

use std::borrow::Cow;
use std::ops::Range;

use ecps_core::wire::proto::{LtpChunk, LtpFrameHeader};

/// A chunk that nobody has copied yet: out of the message it goes straight to its place in the tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivedChunk<'a> {
    /// Its header.
    pub header: Option<LtpFrameHeader>,
    /// Its piece.
    pub piece: Piece<'a>,
    /// Whether it is the last.
    pub is_final: bool,
}

impl From<LtpChunk> for ArrivedChunk<'_> {
    fn from(chunk: LtpChunk) -> Self {
        ArrivedChunk { header: chunk.header, piece: chunk.chunk_data.into(), is_final: chunk.is_final }
    }
}

/// Bytes within the memory of the message that they came in, which is the receiver's own or lent to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece<'a> {
    memory: Cow<'a, [u8]>,
    range: Range<usize>,
}

impl From<Vec<u8>> for Piece<'_> {
    fn from(memory: Vec<u8>) -> Self {
        Piece { range: 0..memory.len(), memory: memory.into() }
    }
}

impl<'a> Piece<'a> {
    /// The bytes of `memory` in `range`; none where it leads out of it.
    pub fn of(memory: impl Into<Cow<'a, [u8]>>, range: Range<usize>) -> Piece<'a> {
        Piece { memory: memory.into(), range }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.range.clone()).unwrap_or_default()
    }

    /// The bytes, at the beginning of memory of their own: of the message's, unless that was lent.
    pub fn into_vec(self) -> Vec<u8> {
        match self.memory {
            Cow::Owned(mut memory) => {
                memory.truncate(self.range.end);
                memory.drain(..self.range.start.min(memory.len()));
                memory
            }
            Cow::Borrowed(memory) => memory.get(self.range).unwrap_or_default().to_vec(),
        }
    }
}
