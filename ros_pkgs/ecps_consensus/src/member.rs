//! One member of a group: its log, its state, its way to the others, and who belongs to the group.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use openraft::{BasicNode, Config, Raft, ServerState, SnapshotPolicy};
use thiserror::Error;
use tokio::sync::watch;

use crate::ahead::Ahead;
use crate::counters::Counters;
use crate::disk::Disk;
use crate::elections::{Elections, SHORTEST_MS};
use crate::log::Log;
use crate::machine::Machine;
use crate::network::{Network, Transport};
use crate::proposals::Proposals;
use crate::runtime::Runtime;
use crate::segments::LogError;
use crate::state::{Apply, StateError};
use crate::types::{Epoch, MemberId, Types};
use crate::wire::{self, some_id};

/// What a member keeps.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Entries in the snapshot that stay in the log, for members that are a little behind.
    pub kept_entries: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { snapshot_entries: 10_000, kept_entries: 1_000 }
    }
}

/// Why a member did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its log is not what it wrote.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its state or snapshot is not what it wrote.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gave no thread.
    #[error("a worker could not be started: {0}")]
    Worker(#[from] io::Error),
    /// openraft refused the configuration or the store.
    #[error("the member could not be started: {0}")]
    Raft(String),
}

/// Who leads, and the token of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// Which member.
    pub id: MemberId,
    /// Its term, which no other leader shares: a later leader's is higher.
    pub epoch: Epoch,
}

/// A member. Clones are handles to the same.
pub struct Member<R: Runtime> {
    id: MemberId,
    raft: Raft<Types<R>>,
    machine: Machine,
    transport: Arc<dyn Transport>,
    proposals: Proposals<R>,
    /// Held, as they end with it.
    elections: Arc<Elections>,
    counters: Arc<Counters>,
}

impl<R: Runtime> Clone for Member<R> {
    fn clone(&self) -> Member<R> {
        Member {
            id: self.id,
            raft: self.raft.clone(),
            machine: self.machine.clone(),
            transport: Arc::clone(&self.transport),
            proposals: self.proposals.clone(),
            elections: Arc::clone(&self.elections),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<R: Runtime> Member<R> {
    /// Starts member `id` on its disk.
    ///
    /// # Errors
    /// Where its log, snapshot or state is not what it wrote; it must not take part then.
    pub async fn start(
        id: MemberId,
        disk: Arc<dyn Disk>,
        application: Box<dyn Apply>,
        transport: Arc<dyn Transport>,
        options: Options,
    ) -> Result<Member<R>, StartError> {
        let counters = Arc::<Counters>::default();
        let ahead = Arc::new(Ahead::new(Arc::clone(&transport)));
        let log = Log::<R>::open(Arc::clone(&disk), id, R::worker("raft-log")?, Arc::clone(&counters))?;
        let log = log.sending(Arc::clone(&ahead));
        let machine = Machine::open(disk, application, R::worker("raft-state")?, Arc::clone(&counters))?;
        let config = Config {
            cluster_name: "ecps".to_owned(),
            // openraft looks whether one is due each one and a half times of this, so that they come each 49 ms.
            heartbeat_interval: 33,
            // See `elections`. What is left of these is how long a reply to a candidate may take, and how long a member that
            // heard a leader grants no vote.
            enable_elect: false,
            election_timeout_min: SHORTEST_MS - 1,
            election_timeout_max: SHORTEST_MS,
            install_snapshot_timeout: 2_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
            max_in_snapshot_log_to_keep: options.kept_entries,
            replication_lag_threshold: options.snapshot_entries + options.kept_entries,
            snapshot_max_chunk_size: 1 << 20,
            max_payload_entries: 64,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|e| StartError::Raft(e.to_string()))?);
        let elections = Arc::new(Elections::new());
        let network = Network::new(Arc::clone(&transport), ahead, &elections);
        let raft = Raft::new(id, config, network, log, machine.clone());
        let raft = raft.await.map_err(|e| StartError::Raft(e.to_string()))?;
        let proposals = Proposals::begin(raft.clone(), Arc::clone(&counters));
        elections.begin(raft.clone());
        Ok(Member { id, raft, machine, transport, proposals, elections, counters })
    }

    /// Begins a new group with these members as voters. Done once, on one of them.
    ///
    /// # Errors
    /// Where the member is in a group already.
    pub async fn initialize(&self, members: &BTreeMap<MemberId, String>) -> Result<(), String> {
        let nodes: BTreeMap<MemberId, BasicNode> =
            members.iter().map(|(id, address)| (*id, BasicNode::new(address))).collect();
        self.raft.initialize(nodes).await.map_err(|e| e.to_string())
    }

    /// Its name in the group.
    pub fn id(&self) -> MemberId {
        self.id
    }

    pub(crate) fn raft(&self) -> &Raft<Types<R>> {
        &self.raft
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        self.transport.as_ref()
    }

    pub(crate) fn proposals(&self) -> &Proposals<R> {
        &self.proposals
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<Leader> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.current_leader.map(|id| Leader { id, epoch: metrics.vote.leader_id.term })
    }

    /// The index of the last entry applied here; changes whenever the state may have.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.machine.applied()
    }

    /// How the member is, and what it counted since it started.
    pub fn status(&self) -> wire::Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => "stopped",
            (_, ServerState::Leader) => "leader",
            (_, ServerState::Follower) => "follower",
            (_, ServerState::Candidate) => "candidate",
            (_, ServerState::Learner) => "learner",
        };
        wire::Status {
            id: self.id,
            role: role.to_owned(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: metrics.last_log_index.map(|index| wire::EntryId { term: 0, index }),
            applied: some_id(metrics.last_applied.as_ref()),
            snapshot: some_id(metrics.snapshot.as_ref()),
            membership: Some(membership.into()),
            fault: metrics.running_state.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            metrics: Some(self.counters.read()),
        }
    }

    /// Makes a snapshot now.
    ///
    /// # Errors
    /// Where the member stopped.
    pub async fn make_snapshot(&self) -> Result<(), String> {
        self.raft.trigger().snapshot().await.map_err(|e| e.to_string())
    }

    /// Takes a member in as a learner, and returns once it has caught up. On the leader.
    ///
    /// # Errors
    /// Where this is not the leader, or leadership was lost meanwhile.
    pub async fn add_learner(&self, id: MemberId, address: &str) -> Result<(), String> {
        self.raft.add_learner(id, BasicNode::new(address), true).await.map_err(|e| e.to_string()).map(drop)
    }

    /// Makes these members the voters; each must be a learner or a voter already. On the leader.
    ///
    /// # Errors
    /// Where this is not the leader, or one of them is not in the group.
    pub async fn set_voters(&self, voters: impl IntoIterator<Item = MemberId>) -> Result<(), String> {
        let voters: BTreeSet<MemberId> = voters.into_iter().collect();
        self.raft.change_membership(voters, false).await.map_err(|e| e.to_string()).map(drop)
    }

    pub(crate) fn leader_address(&self) -> Option<(MemberId, String)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let id = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&id)?;
        Some((id, node.addr.clone()))
    }

    /// Ends the member. What it promised is on its disk.
    pub async fn stop(&self) {
        if self.raft.shutdown().await.is_err() {
            tracing::warn!("member {} had ended before", self.id);
        }
    }
}

/// Waits for the member to stop of itself.
pub struct Fault<R: Runtime>(watch::Receiver<openraft::RaftMetrics<MemberId, BasicNode>>, std::marker::PhantomData<R>);

impl<R: Runtime> Member<R> {
    /// A way to learn that the member stopped.
    pub fn watch_fault(&self) -> Fault<R> {
        Fault(self.raft.metrics(), std::marker::PhantomData)
    }
}

impl<R: Runtime> Fault<R> {
    /// Returns why, once the member stopped.
    pub async fn fault(&mut self) -> String {
        loop {
            if let Err(fault) = &self.0.borrow_and_update().running_state {
                return fault.to_string();
            }
            if self.0.changed().await.is_err() {
                return "the member stopped".to_owned();
            }
        }
    }
}
