//! What records hold. The messages are those of `proto/journal.proto`.

use ecps_core::wire::{WireError, decode};
use prost::Message;

use crate::format::PAYLOAD_BYTES;

#[allow(missing_docs, unreachable_pub, clippy::doc_markdown)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/ecps.journal.rs"));
}

pub use proto::dropout::Count;
pub use proto::index::Mark;
pub use proto::{
    Action, Arming, Checkpoint, Decision, Dropout, Fault, Footer, Imported, Index, JointLimits, JointMotion,
    JointPoint, JointTrajectory, Limits, LimitsChanged, Motion, Outcome, PlanarVelocity, Refusals, Reset, Retired,
    Simulation, Source, Stop, Verdict, Zone, ZoneSet, ZonesChanged,
};

/// Descriptor of all payloads and of the `EAP` messages in them, a serialised `google.protobuf.FileDescriptorSet`.
pub const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.binpb"));

/// Whether a kind is the journal's own: what it says of itself stays readable where payloads are encrypted.
pub fn is_housekeeping(kind: u16) -> bool {
    matches!(kind, Fault::KIND | Checkpoint::KIND | Dropout::KIND | Retired::KIND)
}

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

        /// Name of the message that a kind stands for, as in `proto/journal.proto`; none for one that a newer writer knows.
        pub fn kind_name(kind: u16) -> Option<&'static str> {
            match kind {
                $($kind => Some(stringify!($message)),)*
                _ => None,
            }
        }

        /// Every kind and its name.
        pub const KINDS: &[(u16, &str)] = &[$(($kind, stringify!($message))),*];

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

kinds!(
    1 Motion, 2 Action, 3 Outcome, 4 Stop, 5 Reset, 6 LimitsChanged, 7 Refusals, 8 Fault, 9 Arming,
    10 JointMotion, 11 ZonesChanged,
    16 Checkpoint, 17 Dropout, 18 Retired, 19 Source, 20 Imported, 21 Simulation, 22 Decision
);
