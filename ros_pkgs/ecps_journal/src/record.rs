//! What records hold. The messages are those of `proto/journal.proto`.

use ecps_core::wire::{WireError, decode};
use prost::Message;

use crate::format::PAYLOAD_BYTES;

#[allow(missing_docs, unreachable_pub, clippy::doc_markdown)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/ecps.journal.rs"));
}

pub use proto::{
    Action, Fault, Limits, LimitsChanged, Motion, Outcome, PlanarVelocity, Refusals, Reset, Stop, Verdict,
};

/// A message that a record can hold.
pub trait Payload: Message {
    /// The kind that says so.
    const KIND: u16;
}

/// Gives each message its kind, and collects them in [`Entry`].
macro_rules! kinds {
    ($($kind:literal $message:ident),*) => {
        $(impl Payload for $message {
            const KIND: u16 = $kind;
        })*

        /// The payload of a record, by its kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Entry {
            $(#[doc = concat!("Kind ", $kind, ".")] $message($message),)*
            /// A kind that a newer writer knows.
            Unknown {
                /// The kind.
                kind: u16,
            },
        }

        impl Entry {
            /// Decodes a payload of `kind`.
            pub fn decode(kind: u16, payload: &[u8]) -> Result<Entry, WireError> {
                match kind {
                    $($kind => decode(payload, PAYLOAD_BYTES).map(Entry::$message),)*
                    kind => Ok(Entry::Unknown { kind }),
                }
            }
        }
    };
}

kinds!(1 Motion, 2 Action, 3 Outcome, 4 Stop, 5 Reset, 6 LimitsChanged, 7 Refusals, 8 Fault);
