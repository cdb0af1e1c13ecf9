//! A replicated log and state machine that can be trusted, without ROS. `docs/consensus.md` tells what it promises.
//!
//! | module | what it holds |
//! |---|---|
//! | [`application`] | commands, outcomes and sessions, typed |
//! | [`member`] | one member of a group, and who belongs to it |
//! | `proposals`, [`reads`] | what it does for clients: commands in batches, linearizable reads |
//! | `elections` | when it wants to lead |
//! | [`counters`] | what it counts of itself |
//! | [`mod@log`], [`machine`], [`state`] | what openraft keeps: log and vote on segments, the state in SQLite, snapshots |
//! | [`disk`], `zeroed` | where that is, behind a trait, and how files grow |
//! | [`network`], `ahead`, [`grpc`] | how members reach each other: a trait, what goes over it early, and gRPC |
//! | [`runtime`] | what runs it all: tokio, or a simulation |
//! | [`types`], [`wire`] | names, limits, messages |
//!
//! A group of one, which counts:
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc, time::Duration};
//!
//! use ecps_consensus::{Application, Epoch, Erased, Member, MemberFolder, Options, Outcome, Session, grpc::GrpcTransport};
//! use openraft::TokioRuntime;
//! use rusqlite::Connection;
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Add {
//!     #[prost(int64, tag = "1")]
//!     more: i64,
//! }
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Sum {
//!     #[prost(int64, tag = "1")]
//!     sum: i64,
//! }
//!
//! struct Counter;
//!
//! impl Application for Counter {
//!     type Command = Add;
//!     type Reply = Sum;
//!
//!     fn create(&self, database: &Connection) -> rusqlite::Result<()> {
//!         database.execute_batch(
//!             "CREATE TABLE IF NOT EXISTS sum (id INTEGER PRIMARY KEY, sum INTEGER); INSERT OR IGNORE INTO sum VALUES (0, 0)",
//!         )
//!     }
//!
//!     fn apply(&self, database: &Connection, _: Epoch, add: Add) -> rusqlite::Result<Result<Sum, String>> {
//!         if add.more < 0 {
//!             return Ok(Err(format!("{} is negative, and sums only grow", add.more)));
//!         }
//!         let update = "UPDATE sum SET sum = sum + ? RETURNING sum";
//!         Ok(Ok(Sum { sum: database.query_row(update, [add.more], |row| row.get(0))? }))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let disk = Arc::new(MemberFolder::lock(folder.path())?);
//! let transport = Arc::new(GrpcTransport::plain());
//! let member = Member::<TokioRuntime>::start(1, disk, Box::new(Erased(Counter)), transport, Options::default()).await?;
//! member.initialize(&BTreeMap::from([(1, "127.0.0.1:7001".to_owned())])).await?;
//!
//! let (within, mut session) = (Duration::from_secs(10), Session::<_, Counter>::new(member.clone(), [7; 16]));
//! let Outcome::Applied { reply, epoch, .. } = session.propose(&Add { more: 3 }, within).await else { panic!() };
//! assert_eq!((reply.sum, Some(epoch)), (3, member.leader().map(|leader| leader.epoch)));
//! assert!(matches!(session.propose(&Add { more: -1 }, within).await, Outcome::Refused(_)));
//! let sum = member.read(within, |database| database.query_row("SELECT sum FROM sum", [], |row| row.get::<_, i64>(0)));
//! assert_eq!(sum.await??, 3);
//! member.stop().await;
//! # Ok(())
//! # }
//! ```

mod ahead;
pub mod application;
pub mod counters;
pub mod disk;
mod elections;
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
mod window;
pub mod wire;
mod zeroed;

pub use application::{Application, Erased, Outcome, Refusal, Session};
pub use disk::{Disk, MemberFolder};
pub use member::{Leader, Member, Options, StartError};
pub use network::{Transport, TransportError};
pub use reads::ReadError;
pub use runtime::Runtime;
pub use segments::LogError;
pub use types::{CLIENT_BYTES, Epoch, MemberId};
