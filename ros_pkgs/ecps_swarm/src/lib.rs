//! Several robots that act as one.
//!
//! | module | what it holds |
//! |---|---|
//! | [`agents`] | who is there: messages judged, silence suspected, old epochs refused |
//! | [`tasks`] | what there is to do: the replicated queue, and a robot's part of it |
//! | [`allocation`] | who should do what: strategies, the optimum, auctions without a leader |
//! | [`dispatch`] | what the leader does about it: awards, takes back, rebalances |

pub mod agents;
pub mod allocation;
pub mod dispatch;
#[cfg(feature = "node")]
pub mod node;
#[cfg(test)]
mod simulation;
pub mod tasks;
