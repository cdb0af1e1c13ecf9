//! How the robots that hold no task move: set by anybody, agreed through the log, carried out by each robot for itself.
//!
//! | module | what it holds |
//! |---|---|
//! | [`order`] | what was set: a formation or a behaviour |
//! | [`table`] | the same in the replicated state, and how far the formation is |
//! | [`marshal`] | the leader's part: who belongs to the formation and has which slot |
//! | [`pilot`] | a robot's part: its velocity in this control period |

pub mod marshal;
pub mod order;
pub mod pilot;
pub mod table;

pub use marshal::Marshal;
pub use order::{Behavior, Form, Movement, MovementError};
pub use pilot::{Body, Other, Pilot, Still};
pub use table::Current;
