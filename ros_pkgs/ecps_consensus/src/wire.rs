//! The messages of `proto/raft.proto`, and how openraft's types become them and come back.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{BasicNode, CommittedLeaderId, EntryPayload, LeaderId};
use thiserror::Error;

use crate::runtime::Runtime;
use crate::types::{self, LogId, StoredMembership};

#[allow(missing_docs, unreachable_pub, clippy::doc_markdown, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/ecps.raft.rs"));
}

pub use proto::*;

/// Descriptor of the messages, a serialised `google.protobuf.FileDescriptorSet`.
pub(crate) const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.binpb"));

/// A message without a part that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a message of the group has no {0}")]
pub struct Missing(pub &'static str);

impl From<&types::Vote> for Ballot {
    fn from(vote: &types::Vote) -> Ballot {
        Ballot { term: vote.leader_id.term, voted_for: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<&Ballot> for types::Vote {
    fn from(ballot: &Ballot) -> types::Vote {
        let leader_id = LeaderId { term: ballot.term, voted_for: ballot.voted_for };
        types::Vote { leader_id, committed: ballot.committed }
    }
}

impl From<&LogId> for EntryId {
    fn from(id: &LogId) -> EntryId {
        EntryId { term: id.leader_id.term, index: id.index }
    }
}

impl From<&EntryId> for LogId {
    fn from(id: &EntryId) -> LogId {
        LogId::new(CommittedLeaderId::new(id.term, 0), id.index)
    }
}

/// An id that may be absent, as messages hold it.
pub(crate) fn some_id(id: Option<&LogId>) -> Option<EntryId> {
    id.map(EntryId::from)
}

/// An id that may be absent, as openraft holds it.
pub(crate) fn some_log_id(id: Option<&EntryId>) -> Option<LogId> {
    id.map(LogId::from)
}

impl From<&types::Membership> for Membership {
    fn from(membership: &types::Membership) -> Membership {
        let voters = |ids: &BTreeSet<u64>| Voters { ids: ids.iter().copied().collect() };
        Membership {
            configs: membership.get_joint_config().iter().map(voters).collect(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
        }
    }
}

impl From<&Membership> for types::Membership {
    fn from(membership: &Membership) -> types::Membership {
        let configs = membership.configs.iter().map(|voters| voters.ids.iter().copied().collect()).collect();
        let nodes: BTreeMap<u64, BasicNode> =
            membership.nodes.iter().map(|(id, address)| (*id, BasicNode::new(address))).collect();
        types::Membership::new(configs, nodes)
    }
}

impl<R: Runtime> From<&types::Entry<R>> for Entry {
    fn from(entry: &types::Entry<R>) -> Entry {
        let payload = match &entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(batch) => Some(entry::Payload::Batch(proto::Batch { proposals: batch.0.to_vec() })),
            EntryPayload::Membership(membership) => Some(entry::Payload::Membership(membership.into())),
        };
        Entry { id: Some((&entry.log_id).into()), payload }
    }
}

impl<R: Runtime> TryFrom<Entry> for types::Entry<R> {
    type Error = Missing;

    fn try_from(entry: Entry) -> Result<types::Entry<R>, Missing> {
        let payload = match entry.payload {
            None => EntryPayload::Blank,
            Some(entry::Payload::Batch(batch)) => {
                EntryPayload::Normal(types::Batch(std::sync::Arc::new(batch.proposals)))
            }
            Some(entry::Payload::Membership(membership)) => EntryPayload::Membership((&membership).into()),
        };
        let log_id = some_log_id(entry.id.as_ref()).ok_or(Missing("id of an entry"))?;
        Ok(types::Entry { log_id, payload })
    }
}

impl From<&types::SnapshotMeta> for SnapshotMeta {
    fn from(meta: &types::SnapshotMeta) -> SnapshotMeta {
        SnapshotMeta {
            last: some_id(meta.last_log_id.as_ref()),
            membership_at: some_id(meta.last_membership.log_id().as_ref()),
            membership: Some(meta.last_membership.membership().into()),
            id: meta.snapshot_id.clone(),
        }
    }
}

impl TryFrom<&SnapshotMeta> for types::SnapshotMeta {
    type Error = Missing;

    fn try_from(meta: &SnapshotMeta) -> Result<types::SnapshotMeta, Missing> {
        let membership = meta.membership.as_ref().ok_or(Missing("membership of a snapshot"))?;
        Ok(types::SnapshotMeta {
            last_log_id: some_log_id(meta.last.as_ref()),
            last_membership: StoredMembership::new(some_log_id(meta.membership_at.as_ref()), membership.into()),
            snapshot_id: meta.id.clone(),
        })
    }
}
