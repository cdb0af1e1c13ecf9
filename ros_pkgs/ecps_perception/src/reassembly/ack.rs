//! What a receiver says of a tensor: that it is whole, or what it lacks.

use ecps_core::wire::LTP_HEADER_VERSION;
use ecps_core::wire::proto::{LtpAck, LtpFrameHeader};

use super::partial::Partial;
use crate::codec::TYPE_ACK;

/// Most missing chunks that one acknowledgement names.
pub const MISSING_LISTED: usize = 1024;

/// The acknowledgement of a tensor that came in whole and verified.
pub fn complete_ack(sequence: u32, chunks: u32) -> LtpAck {
    LtpAck {
        header: Some(header(sequence, chunks)),
        success: true,
        message: String::new(),
        received_chunks: chunks,
        missing_chunks: vec![],
    }
}

/// What is there of a partial tensor, and what is missing.
pub(super) fn partial_ack(sequence: u32, set: &Partial) -> LtpAck {
    LtpAck {
        header: Some(header(sequence, set.total())),
        success: false,
        message: format!("{} of {} chunks are missing", set.total() - set.received(), set.total()),
        received_chunks: set.received(),
        missing_chunks: set.missing(MISSING_LISTED),
    }
}

fn header(sequence_number: u32, total_chunks: u32) -> LtpFrameHeader {
    LtpFrameHeader {
        version: LTP_HEADER_VERSION,
        message_type: TYPE_ACK,
        sequence_number,
        total_chunks,
        ..LtpFrameHeader::default()
    }
}
