//! The robot's memory (MEP, layer 6): what have I seen like this, when and where?
//!
//! [`Memory`] remembers [`Record`]s (an embedding, a time, a place, labels, a payload) and answers a [`Query`] that
//! asks by likeness, time, place and labels at once. What it has acknowledged is on disk; what is found is exact.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | one memory and what makes it acceptable |
//! | [`query`] | the question and the answer |
//! | [`memory`] | [`Memory`]: open, put, get, query, delete |
//! | [`reply`] | an answer on its way, for async and for blocking callers |
//! | [`error`] | every refusal, with the value and the limit |
//! | [`stats`] | what the server tells about itself |
//!
//! SQLite is the only truth. The vectors are held in memory besides, rebuilt from it when the file is opened, and
//! every query scans those that pass its filters (so it is exact); payloads stay on disk until they are hits.

mod arena;
mod best;
pub mod error;
mod index;
mod lane;
pub mod memory;
mod names;
#[cfg(feature = "node")]
pub mod node;
pub mod query;
pub mod record;
pub mod reply;
pub mod stats;
mod store;
mod vector;

pub use error::{Cause, DeleteError, GetError, OpenError, PutError, QueryError, Unavailable};
pub use memory::{Memory, Options, uuid_ids};
pub use query::{Answer, Hit, Likeness, Place, Query};
pub use record::{Record, Stored, pose_from_parts};
pub use reply::Reply;
pub use stats::{Damage, Stats};
