//! What goes through the swarm's log, and what comes back. Time rides in the command, since the state machine has none.

use super::task::Task;

/// One command to the queue, or to the robots that hold no task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// When it was given, nanoseconds of ROS time, as whoever gave it has it.
    #[prost(sint64, tag = "1")]
    pub at: i64,
    /// What is to happen.
    #[prost(oneof = "what::What", tags = "2, 3, 4, 5, 6, 7, 8")]
    pub what: Option<what::What>,
}

/// The kinds of commands.
pub(crate) mod what {
    /// One of them.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(clippy::large_enum_variant, reason = "as prost makes them, and on their way for a moment only")]
    pub enum What {
        /// Puts a task into the queue.
        #[prost(message, tag = "2")]
        Submit(super::Task),
        /// Takes one out.
        #[prost(message, tag = "3")]
        Cancel(super::Cancel),
        /// Says who does what. Of the leader.
        #[prost(message, tag = "4")]
        Decide(super::Decision),
        /// Takes all that it has from an agent that is gone. Of the leader.
        #[prost(message, tag = "5")]
        Release(super::Release),
        /// Tells how far a task is. Of the agent that it was awarded to.
        #[prost(message, tag = "6")]
        Report(super::Report),
        /// Says how robots move.
        #[prost(message, tag = "7")]
        Move(crate::movement::Movement),
        /// Says how far the formation is. Of the leader.
        #[prost(message, tag = "8")]
        Plan(crate::movement::table::Plan),
    }
}

impl Command {
    /// `what`, given at `at`.
    pub fn new(at: ecps_core::clock::Stamp, what: what::What) -> Command {
        Command { at: at.0, what: Some(what) }
    }
}

/// Takes a task back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cancel {
    /// Which.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Gives a task to an agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Award {
    /// Which.
    #[prost(string, tag = "1")]
    pub task: String,
    /// To whom.
    #[prost(string, tag = "2")]
    pub agent: String,
    /// In which of its epochs: one that it started after does not know of the award.
    #[prost(uint64, tag = "3")]
    pub agent_epoch: u64,
}

/// Takes a task that is not begun from its agent, for another one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Withdrawal {
    /// Which.
    #[prost(string, tag = "1")]
    pub task: String,
    /// The award that ends.
    #[prost(uint64, tag = "2")]
    pub award: u64,
}

/// Why a task waits.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Why {
    /// Which.
    #[prost(string, tag = "1")]
    pub task: String,
    /// A sentence.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// What the leader decided. Each part of it counts where it still fits the queue, and is left out where it does not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Decision {
    /// The leader's epoch. Refused in another one's.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// First these.
    #[prost(message, repeated, tag = "2")]
    pub withdrawals: Vec<Withdrawal>,
    /// Then these.
    #[prost(message, repeated, tag = "3")]
    pub awards: Vec<Award>,
    /// Of the tasks that wait on.
    #[prost(message, repeated, tag = "4")]
    pub reasons: Vec<Why>,
}

impl Decision {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.withdrawals.is_empty() && self.awards.is_empty() && self.reasons.is_empty()
    }
}

/// Takes from an agent what it was awarded up to an epoch of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Release {
    /// The leader's epoch. Refused in another one's.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Whom.
    #[prost(string, tag = "2")]
    pub agent: String,
    /// The last of its epochs that is meant.
    #[prost(uint64, tag = "3")]
    pub agent_epoch: u64,
    /// A sentence.
    #[prost(string, tag = "4")]
    pub reason: String,
}

/// What an agent tells of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Outcome {
    /// It begins or goes on.
    Running = 0,
    /// It is done.
    Completed = 1,
    /// It cannot be done.
    Failed = 2,
}

/// An agent tells of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// Which.
    #[prost(string, tag = "1")]
    pub task: String,
    /// Under which award.
    #[prost(uint64, tag = "2")]
    pub award: u64,
    /// How far it is.
    #[prost(enumeration = "Outcome", tag = "3")]
    pub outcome: i32,
    /// 0 to 1.
    #[prost(double, tag = "4")]
    pub progress: f64,
    /// What it says at the end.
    #[prost(bytes = "vec", tag = "5")]
    pub result: Vec<u8>,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Code {
    /// It was done.
    Done = 0,
    /// It is malformed, or names what is not there.
    Invalid = 1,
    /// The queue is full.
    Busy = 2,
    /// The id belongs to another task, the task has ended, or the award is not the latest.
    Conflict = 3,
}

/// The answer to a command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// What came of it.
    #[prost(enumeration = "Code", tag = "1")]
    pub code: i32,
    /// Why, where it was not done.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Parts of a decision that counted.
    #[prost(uint64, tag = "3")]
    pub changed: u64,
}

impl Reply {
    pub(crate) fn done(changed: u64) -> Reply {
        Reply { code: Code::Done.into(), message: String::new(), changed }
    }

    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Reply {
        Reply { code: code.into(), message: message.into(), changed: 0 }
    }
}
