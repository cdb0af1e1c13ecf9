//! Joints: their limits, the ways they are sent on, and the gate before them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`limits`] | what a joint may do, the strictest of all that say so |
//! | [`urdf`] | what a robot's description says of it |
//! | [`trajectory`] | a way of joints, and how far and how fast it really goes between its points |
//! | [`measured`] | where the joints are |
//! | [`config`] | groups of joints, and who may send them anywhere |
//! | [`gate`] | (trajectory, joints, limits, time) to admit, slow down or refuse |
//! | [`shape`] | sizes, numbers and times of a trajectory |
//! | [`policy`] | limits that are set later |
//! | [`limbs`] | the gate, what moves the joints, and how they are brought to rest |
//! | [`grip`] | opening, closing and gripping |
//! | [`chain`] | where an arm's tip is, and how its joints have to be for it to be somewhere |
//! | [`manipulate`] | picking, placing, pushing and pulling |
//!
//! Joints that one controller moves are a *group*: an arm, a gripper. Units are radians, metres and seconds; of efforts
//! newton metres, or newtons for a joint that slides.

pub mod chain;
pub mod config;
pub mod gate;
pub mod grip;
pub mod limbs;
pub mod limits;
pub mod manipulate;
pub mod measured;
mod pace;
pub mod policy;
mod rest;
pub mod shape;
pub mod trajectory;
pub mod urdf;

pub use chain::{Chain, ChainError};
pub use config::{JointConfig, JointConfigError, JointGroup, JointSource};
pub use gate::{JointCommand, JointGate, JointVerdict};
pub use grip::{Grip, GripConfig, GripOrder, GripStep};
pub use limbs::AttachError;
pub use limits::JointLimits;
pub use manipulate::{Handling, Reach, Task};
pub use measured::{JointReading, JointStateError, JointStates};
pub use policy::{JointChange, JointPolicyError};
pub use trajectory::{Trajectory, TrajectoryPoint};
