//! What the commands `ecps`, `eaplog` and `ecps-conformance` are made of.
//!
//! | module | what it holds |
//! |---|---|
//! | [`launch`] | a subset of ROS 2 XML launch files, from text to a list of processes |
//! | [`supervise`] | starts such a list, passes its output on and stops every process of it, whatever happens |
//! | [`up`] | `ecps up`: the two together |
//! | [`bag`] | reads a ROS 2 MCAP bag, bounded and checked |
//! | `play` | `ecps play`: publishes a bag |
//! | `demo` | `ecps demo`: the main job, watched and checked |
//! | `eap` | `ecps eap`: looks at a gate, stops, resets, limits, sends |
//! | [`memory`] | `ecps memory`: looks at a memory file, exports, imports, verifies |
//! | [`mep_query`] | a query of the wire contract, for `ecps-conformance` |
//! | [`replay`] | actions carried out in the simulator, for `eaplog` and `ecps-conformance` |
//! | [`delimited`] | files of messages, each after its length |
//! | [`eaplog`] | the command of that name |
//! | [`conformance`] | what `ecps-conformance` checks of messages, compression and transports |
//! | [`ltp`] | `ecps ltp`: frames in files |
//! | [`raft`] | `ecps raft`: members of a consensus group |
//! | `swarm` | `ecps swarm`: a swarm's agents and tasks |
//! | `trust` | `ecps trust`: a fleet's keys, devices and revocations |
//! | [`report`] | the demo's result as a page, as a picture and as a table in the terminal |

#[cfg(feature = "ros")]
mod asking;
pub mod bag;
pub mod conformance;
pub mod delimited;
#[cfg(feature = "ros")]
pub mod demo;
#[cfg(feature = "ros")]
pub mod eap;
pub mod eaplog;
pub mod launch;
pub mod ltp;
pub mod memory;
pub mod mep_query;
#[cfg(feature = "ros")]
pub mod play;
pub mod raft;
pub mod replay;
pub mod report;
mod say;
pub mod supervise;
#[cfg(feature = "ros")]
pub mod swarm;
#[cfg(feature = "ros")]
pub mod trust;
pub mod up;
