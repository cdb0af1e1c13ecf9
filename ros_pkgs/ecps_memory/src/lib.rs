//! The robot's memory (MEP, layer 6): what have I seen like this, when and where?
//!
//! [`Memory`] remembers [`Record`]s (an embedding, a time, a place, words, labels, a payload) and answers a [`Query`] that
//! asks by any of them at once. What it has acknowledged is on disk, and an answer says how good it is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | one memory and what makes it acceptable |
//! | [`query`], [`place`] | the question and the answer |
//! | [`memory`] | [`Memory`]: open, put, get, query, delete, snapshot, restore |
//! | [`policy`] | how long memories live, how many there may be, which merge |
//! | [`consolidate`] | summaries of memories alike |
//! | [`onlooker`] | looking at a file that another process serves |
//! | [`verify`] | is a file as it was written, and saving what can be read |
//! | [`reply`] | an answer on its way, for async and for blocking callers |
//! | [`error`] | every refusal, with the value and the limit |
//! | [`stats`] | what the server tells about itself |
//!
//! SQLite is the only truth. Vectors and what filters ask for are held in memory besides, rebuilt from it when the file is
//! opened. Where few records pass the filters, all of them are compared; where there are many, a graph is walked, whose recall
//! is sampled all the time. Payloads stay on disk until they are hits.

mod arena;
mod best;
pub mod consolidate;
pub mod error;
mod graph;
mod index;
mod lane;
pub mod memory;
mod names;
#[cfg(feature = "node")]
pub mod node;
pub mod onlooker;
pub mod place;
pub mod policy;
pub mod query;
pub mod record;
pub mod reply;
mod standing;
pub mod stats;
mod store;
mod vector;
pub mod verify;

pub use consolidate::Consolidation;
pub use error::{Cause, DeleteError, GetError, KeepError, OpenError, PutError, QueryError, Unavailable};
pub use memory::{Memory, Options, uuid_ids};
pub use onlooker::Onlooker;
pub use place::{Place, Shape};
pub use policy::{Merge, Policy, Quota, Retention};
pub use query::{Answer, Hit, Likeness, Query, Ranking, Way};
pub use record::{Record, Stored, pose_from_parts};
pub use reply::Reply;
pub use stats::{Damage, Stats};
pub use store::file::Durability;
pub use store::graph_file::GraphFile;
pub use store::snapshot::Snapshot;
pub use verify::{Report, salvage, vacuum, verify};
