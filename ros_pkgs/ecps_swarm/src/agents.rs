//! Who is in the swarm, and how sure we are that each still is.

mod agent;
mod phi;
mod registry;

pub use agent::{Agent, CAPABILITIES, HELD_TASKS, ID_BYTES, MemberAt, Phase, Role};
pub use phi::PhiAccrual;
pub use registry::{Bounds, Health, HearError, Heard, Peer, Refusals, Registry};
