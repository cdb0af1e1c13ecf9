//! The guarded way to the motors: a gate, a watchdog, a latched stop, actions, and a journal record before anything moves.
//!
//! | module | what it holds |
//! |---|---|
//! | [`motion`] | velocities, commands, limits, the moment of a call |
//! | [`state`] | where the robot is, and the digest of it |
//! | [`workspace`] | the polygon that the robot stays in |
//! | [`reason`] | why a command is limited or refused |
//! | [`stop`] | the latched stop |
//! | [`watchdog`] | command silence |
//! | [`gate`] | (command, state, limits, time) to admit, limit or refuse |
//! | [`drive`] | from a pose to a pose without a planner |
//! | [`action`] | an `EAP` message to a typed action, and the error codes |
//! | [`ticket`] | what may move an actuator: a velocity whose record is written |
//! | [`ledger`] | counts by reason |
//! | [`goal`] | an action being executed |
//! | [`executive`] | all of it together, as one state machine |
//!
//! Nothing here reads a clock. What software on a general-purpose system does is a *protective stop request*; it is no
//! emergency stop in the sense of IEC 60204-1, which is hardware.

pub mod action;
pub mod drive;
pub mod executive;
pub mod gate;
pub mod goal;
pub mod ledger;
pub mod motion;
#[cfg(feature = "node")]
pub mod node;
pub mod reason;
pub mod state;
pub mod stop;
pub mod ticket;
pub mod watchdog;
pub mod workspace;

pub use action::{Action, ErrorCode, Rejection};
pub use executive::{Config, Executive, Mode, ResetError, ResetOutcome, SetLimitsError, Snapshot};
pub use gate::{Base, ConfigError, Gate, GateConfig, StateNeed, Verdict};
pub use goal::{Feedback, Finished, GoalId};
pub use motion::{Limits, Now, Request, Velocity, VelocityCommand};
pub use reason::{Reason, Refusal};
pub use state::{MeasuredState, PlanarPose, StateError};
pub use stop::StopCause;
pub use ticket::{Actuator, ActuatorError, Journaled, Record};
pub use workspace::Workspace;
