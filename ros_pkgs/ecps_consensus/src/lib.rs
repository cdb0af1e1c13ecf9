//! A replicated log and state machine that can be trusted, without ROS. `docs/consensus.md` tells what it promises.
//!
//! | module | what it holds |
//! |---|---|
//! | [`application`] | commands, outcomes and sessions, typed |
//! | [`member`] | one member of a group, and who belongs to it |
//! | `proposals`, [`reads`] | what it does for clients: commands in batches, linearizable reads |
//! | [`counters`] | what it counts of itself |
//! | [`mod@log`], [`machine`], [`state`] | what openraft keeps: log and vote on segments, the state in SQLite, snapshots |
//! | [`disk`] | where that is, behind a trait |
//! | [`network`], [`grpc`] | how members reach each other: a trait, and gRPC |
//! | [`runtime`] | what runs it all: tokio, or a simulation |
//! | [`types`], [`wire`] | names, limits, messages |

pub mod application;
pub mod counters;
pub mod disk;
pub mod grpc;
pub mod log;
pub mod machine;
pub mod member;
pub mod network;
mod proposals;
pub mod reads;
pub mod runtime;
mod segments;
mod serve;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod types;
pub mod wire;

pub use application::{Application, Erased, Outcome, Refusal, Session};
pub use disk::{Disk, MemberFolder};
pub use member::{Leader, Member, Options, StartError};
pub use network::{Transport, TransportError};
pub use reads::ReadError;
pub use runtime::Runtime;
pub use segments::LogError;
pub use types::{CLIENT_BYTES, Epoch, MemberId};
