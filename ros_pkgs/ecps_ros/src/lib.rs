//! r2r made whole: what a Rust node needs to be a first-class ROS 2 citizen.
//!
//! A managed node is a state, callbacks on it, and a schema of parameters. Callbacks run one at a time on the node's spin
//! thread, so the state needs no lock; long work goes to threads of its own, which may publish and answer by themselves.
//! The whole of one:
//!
//! ```no_run
//! use ecps_ros::r2r::std_msgs::msg::Float64;
//! use ecps_ros::{Managed, Node, ParameterError, Parameters, Publisher, Spec, StartError, Value, qos};
//!
//! struct Scaler {
//!     output: Publisher<Float64>,
//!     factor: f64,
//! }
//!
//! impl Managed for Scaler {
//!     const NAME: &'static str = "scaler";
//!
//!     fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
//!         let sentence = "What readings are multiplied by.";
//!         parameters.declare(Spec::double("factor", 2.0, sentence).range(-10.0, 10.0).dynamic())
//!     }
//!
//!     fn configure(node: &mut Node<Scaler>) -> Result<Scaler, StartError> {
//!         node.subscribe("input", qos::sensor_data(), |scaler: &mut Scaler, reading: Float64| {
//!             scaler.output.publish(&Float64 { data: reading.data * scaler.factor });
//!         })?;
//!         node.on_parameters(|scaler: &mut Scaler, changes| {
//!             if let Some((_, Value::Double(factor))) = changes.iter().find(|(name, _)| name == "factor") {
//!                 scaler.factor = *factor;
//!             }
//!             Ok(())
//!         });
//!         Ok(Scaler { output: node.publisher("output", qos::default())?, factor: node.parameters().double("factor")? })
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     ecps_ros::run::<Scaler>()
//! }
//! ```

mod action;
mod alarm;
mod args;
mod budget;
mod client;
mod clock;
mod convert;
mod diagnostics;
mod interface;
pub mod lifecycle;
mod loan;
mod managed;
mod node;
mod parameter;
mod process;
mod publisher;
pub mod qos;
pub mod realtime;
mod rosout;
mod service;
pub mod shared_memory;
mod start_error;
mod stream;
mod subscription;
pub mod tf;
mod transport;
mod validate;

pub use action::{
    Acceptance, ActionClient, ActionError, CancelDecision, CancelingGoal, ExecutingGoal, GoalId, GoalOutcome,
    RequestedGoal,
};
pub use args::{Args, ArgsError};
pub use budget::{BudgetEvents, BudgetMeter};
pub use client::{CallError, Client};
pub use clock::NodeClock;
pub use convert::{caller, stamp, time};
pub use diagnostics::{Health, Report};
pub use interface::{Action, Message, Service};
pub use loan::LoanPublisher;
pub use managed::{Managed, Recovery};
pub use node::{Node, Spinning};
pub use parameter::{Mutability, ParameterError, Parameters, Spec, Value};
pub use process::{Process, run};
pub use publisher::{CdrPublisher, Publisher};
pub use service::Reply;
pub use start_error::StartError;
pub use stream::{Liveliness, Missed, Queue, Received, Stream, StreamCounters, StreamMeter};
pub use subscription::Subscription;
pub use transport::leave_shared_memory;
pub use validate::{FRAME_ID_BYTES, Validate, finite};

/// ROS 2 itself; the node files alone use it.
pub use r2r;
