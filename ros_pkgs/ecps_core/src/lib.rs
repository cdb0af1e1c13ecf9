//! What every ECPS layer shares, and no ROS.
//!
//! | module | what it holds |
//! |---|---|
//! | [`budget`] | the timing budgets of the protocol, and a monitor that measures against them |
//! | [`bus`] | the two lanes inside a process: lossy counted telemetry, bounded acknowledged commands, a stop that overtakes |
//! | [`campaign`] | how long test campaigns run |
//! | [`check`] | finite numbers, bounded sizes |
//! | [`clock`] | steady time for watchdogs, ROS time for stamps, both handed in |
//! | [`id`] | who asks and which request it is |
//! | [`limits`] | the sizes that bind |
//! | [`wire`] | the protobuf contract and its bounded codec |

pub mod budget;
pub mod bus;
pub mod campaign;
pub mod check;
pub mod clock;
pub mod id;
pub mod limits;
pub mod wire;
