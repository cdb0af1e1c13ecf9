//! A replicated log and state machine that can be trusted, without ROS.

pub mod disk;
pub mod log;
pub mod machine;
pub mod runtime;
mod segments;
pub mod state;
pub mod types;
pub mod wire;

pub use segments::LogError;
