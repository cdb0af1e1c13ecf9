//! A replicated log and state machine that can be trusted, without ROS.

pub mod application;
pub mod disk;
pub mod grpc;
pub mod log;
pub mod machine;
pub mod member;
pub mod network;
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
pub use member::{Leader, Member, Options, ReadError, StartError};
pub use network::{Transport, TransportError};
pub use runtime::Runtime;
pub use segments::LogError;
pub use types::{Epoch, MemberId};
