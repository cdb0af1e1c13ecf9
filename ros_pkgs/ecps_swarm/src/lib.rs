//! Several robots that act as one and never collide.
//!
//! | module | what it holds |
//! |---|---|
//! | [`agents`] | who is there: messages judged, silence suspected, old epochs refused |
//! | [`tasks`] | what there is to do: the replicated queue, and a robot's part of it |
//! | [`allocation`] | who should do what: strategies, the optimum, auctions without a leader |
//! | [`assignment`] | who gets what at the least cost |
//! | [`motion`] | formations, behaviours and collision avoidance |
//! | [`movement`] | which of these the swarm has agreed on, and each robot's part of it |
//! | [`dispatch`] | what the leader does about it: awards, takes back, rebalances |

pub mod agents;
pub mod allocation;
pub mod assignment;
pub mod dispatch;
pub mod motion;
pub mod movement;
#[cfg(feature = "node")]
pub mod node;
#[cfg(test)]
mod simulation;
pub mod tasks;
