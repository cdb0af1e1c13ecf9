//! The guarded way to the motors: a gate, a watchdog, a latched stop, actions, and a journal record before anything moves.
//!
//! | module | what it holds |
//! |---|---|
//! | [`motion`] | velocities, commands, limits, the moment of a call |
//! | [`state`] | where the robot is, and the digest of it |
//! | [`source`] | who may command: priorities and timeouts |
//! | [`zone`] | polygons that the robot stays inside or outside of |
//! | [`obstacle`] | what a scan shows, and how far a path is free of it |
//! | [`reason`] | why a command is limited or refused |
//! | [`stop`] | why a protective stop is latched |
//! | [`arming`] | disarmed, armed, stopped: whether anything may move |
//! | [`watchdog`] | command silence |
//! | [`gate`] | (command, state, limits, time) to admit, limit or refuse |
//! | [`plan`] | when an action may start, and what its failure means |
//! | [`queue`] | actions that wait, and those that are remembered |
//! | [`drive`] | from a pose to a pose without a planner |
//! | [`action`] | an `EAP` message to a typed action, and the error codes |
//! | [`ticket`] | what may move an actuator: a velocity whose record is written |
//! | [`ledger`] | counts by reason |
//! | [`goal`] | an action being executed |
//! | [`executive`] | all of it together, as one state machine |
//! | [`heartbeat`] | what executor and supervisor tell each other |
//! | [`link`] | the connection between them, and who may be which |
//! | [`guardian`] | the executor's side of it |
//! | [`supervision`] | what the supervisor concludes |
//! | [`supervise`] | the supervisor at work |
//!
//! Nothing here reads a clock. What software on a general-purpose system does is a *protective stop request*; it is no
//! emergency stop in the sense of IEC 60204-1, which is hardware.

pub mod action;
pub mod arming;
pub mod drive;
pub mod executive;
pub mod gate;
pub mod goal;
pub mod guardian;
pub mod heartbeat;
pub mod ledger;
pub mod link;
pub mod motion;
#[cfg(feature = "node")]
pub mod node;
pub mod obstacle;
pub mod plan;
pub mod queue;
pub mod reason;
mod shape;
pub mod source;
pub mod state;
pub mod stop;
pub mod supervise;
pub mod supervision;
#[cfg(feature = "node")]
pub mod supervisor_node;
pub mod ticket;
pub mod watchdog;
pub mod zone;

pub use action::{Action, ErrorCode, Rejection};
pub use arming::{Arming, ArmingState};
pub use executive::{ArmError, Config, Executive, Mode, PolicyError, ResetError, ResetOutcome, Snapshot};
pub use gate::{Base, ConfigError, Gate, GateConfig, StateNeed, Verdict};
pub use goal::{Feedback, Finished, GoalId, Progress};
pub use motion::{Limits, Now, Request, Velocity, VelocityCommand};
pub use obstacle::{ObstacleConfig, Scan};
pub use queue::{Repeat, Submitted};
pub use reason::{Reason, Refusal};
pub use source::Source;
pub use state::{MeasuredState, PlanarPose, StateError};
pub use stop::StopCause;
pub use ticket::{Actuator, ActuatorError, Journaled, Record, SafeState};
pub use zone::{Zone, ZoneSet};
