//! What the sending end of a stream is set to.

use std::time::Duration;

use crate::chunks::MaxFrame;
use crate::compression::{Choice, Compression};
use crate::link::Mode;

/// What an outbox is set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Who sends: unique for each start of each sender.
    pub sender: String,
    /// The receiver waited for; empty: any.
    pub peer: String,
    /// How much it insists.
    pub mode: Mode,
    /// Compression.
    pub compression: Choice,
    /// Largest message.
    pub max: MaxFrame,
    /// Bytes a second that the link takes; none: as many as come.
    pub bytes_per_second: Option<f64>,
    /// Most bytes that are sent and not yet acknowledged, on a reliable stream.
    pub window_bytes: usize,
    /// Most tensors that a reliable stream holds; more are refused.
    pub tensors: usize,
    /// One key frame in so many tensors, the others as deltas; none: all whole.
    pub key_every: Option<u32>,
    /// A tensor is given up this long after its first packet.
    pub timeout: Duration,
    /// Bytes of a tensor that may be sent again, as a part of its size; 32 packets are always allowed.
    pub resend_share: f64,
}

impl Default for Settings {
    /// Best effort with one retry (the protocol's LTP row), zstd level 3, the largest frames, no pacing, 4 MiB under way,
    /// 64 tensors, no deltas, 5 s, and 40 % sent again.
    fn default() -> Settings {
        Settings {
            sender: "sender".to_owned(),
            peer: String::new(),
            mode: Mode::BestEffort { retries: 1 },
            compression: Choice::Fixed(Compression::default()),
            max: MaxFrame::default(),
            bytes_per_second: None,
            window_bytes: 4 << 20,
            tensors: 64,
            key_every: None,
            timeout: Duration::from_secs(5),
            resend_share: 0.4,
        }
    }
}
