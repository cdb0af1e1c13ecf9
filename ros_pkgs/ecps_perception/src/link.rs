//! What both ends of a link agree on beside the protocol's fields: keys in `header.metadata`.

/// Who sends: a node's name and a mark of its start, so that one that starts anew is told from the one before. Where a
/// packet has none, the link that it came by stands for its sender.
pub const SENDER_KEY: &str = "sender";
/// The receiver that the sender waits for; others may listen, and do not acknowledge.
pub const PEER_KEY: &str = "peer";
/// Who acknowledges.
pub const RECEIVER_KEY: &str = "receiver";
/// On an acknowledgement: a key frame is missing, and the next tensor should be one.
pub const NEED_KEY: &str = "need_key";

/// How much a stream insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The newest tensor wins; missing chunks are sent again this often.
    BestEffort {
        /// Times.
        retries: u32,
    },
    /// All tensors arrive and in order, or are given up after the timeout.
    Reliable,
}

impl Mode {
    /// The name used in parameters and messages.
    pub fn name(self) -> &'static str {
        match self {
            Mode::BestEffort { .. } => "best_effort",
            Mode::Reliable => "reliable",
        }
    }
}
