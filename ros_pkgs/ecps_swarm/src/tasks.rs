//! What there is to do: one queue that all members of the swarm agree on, and what a robot does with its part of it.
//!
//! The queue is a state machine on `ecps_consensus`. Its tables are on every member's disk and survive a restart. Each award
//! has a number of its own, and only what is said under a task's latest number counts: so each task has one result.

mod command;
mod machine;
mod queue;
mod shorten;
mod task;
mod worker;

pub use command::{
    Award, Cancel, Code, Command, Decision, Outcome, Release, Reply, Report, Why, Withdrawal, what::What,
};
pub use machine::{FINISHED_TASKS, KEPT_FOR, OPEN_TASKS, Tasks};
pub use queue::{Counts, Entry, held_by, newest, open};
pub use shorten::{TOLD_BYTES, shortened};
pub use task::{Location, PAYLOAD_BYTES, Priority, State, Task, TaskError, URGENT};
pub use worker::{Do, HOLD, Mine, Worker};
