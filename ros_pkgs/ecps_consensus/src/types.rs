//! What openraft is told about this group: what its log carries, what names a member, and on which runtime it runs.

use std::cmp::Ordering;
use std::fmt;
use std::io::Cursor;
use std::marker::PhantomData;
use std::sync::Arc;

use openraft::{BasicNode, RaftTypeConfig};

use crate::runtime::Runtime;
use crate::wire;

/// Names a member. A member that lost its disk comes back under a new one.
pub type MemberId = u64;
/// Term of a leader: the fencing token. What a later leader has touched refuses an earlier one.
pub type Epoch = u64;
pub(crate) type LogId = openraft::LogId<MemberId>;
pub(crate) type Vote = openraft::Vote<MemberId>;
pub(crate) type StorageError = openraft::StorageError<MemberId>;
pub(crate) type StorageIOError = openraft::StorageIOError<MemberId>;
pub(crate) type Membership = openraft::Membership<MemberId, BasicNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<MemberId, BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<MemberId, BasicNode>;
pub(crate) type Entry<R> = openraft::Entry<Types<R>>;

/// Bytes of a client's id.
pub const CLIENT_BYTES: usize = 16;
/// Longest command, bytes.
pub const COMMAND_BYTES: usize = 256 << 10;
/// Most bytes of commands in one entry of the log.
pub const BATCH_BYTES: usize = 512 << 10;
/// Most commands in one entry of the log.
pub const BATCH_COMMANDS: usize = 1024;

/// Commands that go through the log together, since openraft brings each entry to the disk by itself.
#[derive(Debug, Clone, Default)]
pub struct Batch(pub(crate) Arc<Vec<wire::Proposal>>);

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.0.len())
    }
}

/// What came of a batch's commands, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers(pub(crate) Vec<wire::Answer>);

/// The types of a group on runtime `R`.
pub struct Types<R>(PhantomData<fn() -> R>);

impl<R: Runtime> RaftTypeConfig for Types<R> {
    type D = Batch;
    type R = Answers;
    type NodeId = MemberId;
    type Node = BasicNode;
    type Entry = openraft::Entry<Self>;
    type SnapshotData = Cursor<Vec<u8>>;
    type AsyncRuntime = R;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

// Written out, since derived they would ask the same of the runtime.
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Types<R> {}

impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}

impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<R> Eq for Types<R> {}

impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
