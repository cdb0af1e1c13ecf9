//! r2r made whole: what a Rust node needs to be a first-class ROS 2 citizen.
//!
//! A node is a state, callbacks on it, and a schema of parameters. Callbacks run one at a time on the node's spin thread,
//! so the state needs no lock; long work goes to threads of its own, which may publish and answer by themselves.
//!
//! ```no_run
//! use ecps_ros::r2r::std_msgs::msg::Float64;
//! use ecps_ros::{Node, ParameterError, Parameters, Publisher, Spec, StartError, qos};
//!
//! struct Doubler {
//!     output: Publisher<Float64>,
//!     factor: f64,
//! }
//!
//! fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
//!     parameters.declare(Spec::double("factor", 2.0, "What readings are multiplied by.").range(-10.0, 10.0))
//! }
//!
//! fn build(node: &mut Node<Doubler>) -> Result<Doubler, StartError> {
//!     node.subscribe("input", qos::sensor_data(), |doubler: &mut Doubler, reading: Float64| {
//!         doubler.output.publish(&Float64 { data: reading.data * doubler.factor });
//!     })?;
//!     Ok(Doubler { output: node.publisher("output", qos::default())?, factor: node.parameters().double("factor")? })
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     ecps_ros::run("doubler", declare, build)
//! }
//! ```

mod action;
mod args;
mod budget;
mod client;
mod convert;
mod interface;
mod log;
mod node;
mod parameter;
mod publisher;
pub mod qos;
mod service;

pub use action::{ActionClient, ActionError, ActionServer, CancelDecision, GoalId, GoalOutcome, GoalRequest};
pub use args::{Args, ArgsError};
pub use budget::{BudgetEvents, BudgetMeter};
pub use client::{CallError, Client};
pub use convert::{caller, stamp, time};
pub use interface::{Action, Message, Service};
pub use node::{Ended, Node, NodeClock, Spinning, StartError, run};
pub use parameter::{Mutability, ParameterError, Parameters, Spec, Value};
pub use publisher::{CdrPublisher, Publisher};
pub use service::Reply;

/// ROS 2 itself; the node files alone use it.
pub use r2r;
