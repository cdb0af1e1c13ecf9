//! One member of a group: its log, its state, its way to the others, and what it does with proposals and reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::{BasicNode, Config, Instant as _, Raft, ServerState, SnapshotPolicy};
use rusqlite::Connection;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::disk::Disk;
use crate::log::Log;
use crate::machine::Machine;
use crate::network::{Network, Transport, TransportError};
use crate::runtime::Runtime;
use crate::segments::LogError;
use crate::state::{Apply, StateError};
use crate::types::{Answers, BATCH_BYTES, BATCH_COMMANDS, Batch, CLIENT_BYTES, COMMAND_BYTES, Epoch, MemberId, Types};
use crate::wire::{self, Answer, Proposal, Request, reply, request, some_id};

/// Proposals that may wait to be put into the log.
const QUEUE: usize = 4096;
/// Batches on their way to the disks at a time: one that travels while the next one is gathered and written.
const BATCHES: usize = 2;
/// Longest wait for one answer before the leader is looked for again.
const ATTEMPT: Duration = Duration::from_millis(400);
/// Pause before another attempt.
const PAUSE: Duration = Duration::from_millis(25);

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

/// Why a read was not served. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No quorum confirmed within the time given that what is here is the latest.
    #[error("no quorum confirmed within {waited:?} that the state here is the latest: {reason}")]
    NoQuorum {
        /// The time given.
        waited: Duration,
        /// What was last in the way.
        reason: String,
    },
    /// The member stopped.
    #[error("the member stopped")]
    Stopped,
}

/// What came of one attempt.
pub(crate) enum Attempt {
    /// It was applied, or refused by the application.
    Answered(Answer),
    /// It did not reach the log.
    NotServed(String),
    /// It may be in the log, or come to it.
    Unknown(String),
}

/// What came of a proposal, all attempts counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    Answered(Answer),
    NotServed(String),
    Unknown(String),
}

type Waiting = (Proposal, oneshot::Sender<Result<Answer, String>>);

/// A member. Clones are handles to the same.
pub struct Member<R: Runtime> {
    id: MemberId,
    raft: Raft<Types<R>>,
    machine: Machine,
    transport: Arc<dyn Transport>,
    proposals: mpsc::Sender<Waiting>,
}

impl<R: Runtime> Clone for Member<R> {
    fn clone(&self) -> Member<R> {
        Member {
            id: self.id,
            raft: self.raft.clone(),
            machine: self.machine.clone(),
            transport: Arc::clone(&self.transport),
            proposals: self.proposals.clone(),
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
        let log = Log::<R>::open(Arc::clone(&disk), id, R::worker("raft-log")?)?;
        let machine = Machine::open(disk, application, R::worker("raft-state")?)?;
        let config = Config {
            cluster_name: "ecps".to_owned(),
            heartbeat_interval: 50,
            election_timeout_min: 150,
            election_timeout_max: 300,
            install_snapshot_timeout: 2_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
            max_in_snapshot_log_to_keep: options.kept_entries,
            replication_lag_threshold: options.snapshot_entries + options.kept_entries,
            snapshot_max_chunk_size: 1 << 20,
            max_payload_entries: 64,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|e| StartError::Raft(e.to_string()))?);
        let network = Network(Arc::clone(&transport));
        let raft = Raft::new(id, config, network, log, machine.clone());
        let raft = raft.await.map_err(|e| StartError::Raft(e.to_string()))?;
        let (proposals, waiting) = mpsc::channel(QUEUE);
        drop(R::spawn(propose_batches(raft.clone(), waiting)));
        Ok(Member { id, raft, machine, transport, proposals })
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

    /// How the member is.
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

    /// Reads the state as it is at some moment between call and answer, whichever member this is.
    ///
    /// # Errors
    /// Where no quorum confirms in time that there is nothing newer, or the member stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        within: Duration,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let begun = R::Instant::now();
        let left = || within.saturating_sub(begun.elapsed());
        let mut reason;
        let index = loop {
            match R::timeout(left().min(ATTEMPT), self.read_index()).await {
                Ok(Ok(index)) => break index,
                Ok(Err(text)) => reason = text,
                Err(_) => reason = "there was no answer".to_owned(),
            }
            if left().is_zero() {
                return Err(ReadError::NoQuorum { waited: within, reason });
            }
            R::sleep(PAUSE.min(left())).await;
        };
        match R::timeout(left(), self.machine.read(index, read)).await {
            Ok(value) => value.ok_or(ReadError::Stopped),
            Err(_) => Err(ReadError::NoQuorum { waited: within, reason: format!("entry {index} is not here yet") }),
        }
    }

    /// Reads what is applied here, which may be old.
    ///
    /// # Errors
    /// Where the member stopped.
    pub async fn read_stale<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        self.machine.read(0, read).await.ok_or(ReadError::Stopped)
    }

    /// The index that has to be applied for a read to be linearizable, from the leader.
    async fn read_index(&self) -> Result<u64, String> {
        match self.leader_address() {
            Some((id, _)) if id == self.id => self.read_index_here().await,
            Some((id, address)) => {
                let request = Request { target: id, what: Some(request::What::ReadIndex(true)) };
                match self.transport.exchange(id, &address, request).await.map_err(|e| e.to_string())?.what {
                    Some(reply::What::ReadIndex(index)) => Ok(index),
                    Some(reply::What::Refused(text)) => Err(text),
                    _ => Err(format!("member {id} replied something else")),
                }
            }
            None => Err("no leader is known".to_owned()),
        }
    }

    pub(crate) async fn read_index_here(&self) -> Result<u64, String> {
        let (read, _) = self.raft.get_read_log_id().await.map_err(|e| e.to_string())?;
        read.map(|id| id.index).ok_or_else(|| "nothing is committed yet".to_owned())
    }

    fn leader_address(&self) -> Option<(MemberId, String)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let id = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&id)?;
        Some((id, node.addr.clone()))
    }

    /// Has a proposal carried out once, by whoever leads, however often it takes to ask.
    pub(crate) async fn carry_out(&self, proposal: Proposal, within: Duration) -> Came {
        if let Err(reason) = check(&proposal) {
            return Came::NotServed(reason);
        }
        let begun = R::Instant::now();
        let left = || within.saturating_sub(begun.elapsed());
        let mut sent = false;
        let mut reason;
        loop {
            // What has no answer in this time may still get one, so the same command is sent again, and counts once.
            let attempt = R::timeout(left().min(ATTEMPT), self.attempt_anywhere(proposal.clone())).await;
            match attempt.unwrap_or_else(|_| Attempt::Unknown("there was no answer".to_owned())) {
                Attempt::Answered(answer) => return Came::Answered(answer),
                Attempt::NotServed(text) => reason = text,
                Attempt::Unknown(text) => (sent, reason) = (true, text),
            }
            if left().is_zero() {
                return if sent { Came::Unknown(reason) } else { Came::NotServed(reason) };
            }
            R::sleep(PAUSE.min(left())).await;
        }
    }

    async fn attempt_anywhere(&self, proposal: Proposal) -> Attempt {
        let Some((id, address)) = self.leader_address() else {
            return Attempt::NotServed("no leader is known".to_owned());
        };
        if id == self.id {
            return self.attempt(proposal).await;
        }
        let request = Request { target: id, what: Some(request::What::Propose(proposal)) };
        match self.transport.exchange(id, &address, request).await {
            Ok(reply) => match reply.what {
                Some(reply::What::Answer(answer)) => Attempt::Answered(answer),
                Some(reply::What::Refused(text)) => Attempt::NotServed(text),
                Some(reply::What::Unknown(text)) => Attempt::Unknown(text),
                _ => Attempt::Unknown(format!("member {id} replied something else")),
            },
            Err(error @ TransportError::Unreached { .. }) => Attempt::NotServed(error.to_string()),
            Err(error @ TransportError::Lost { .. }) => Attempt::Unknown(error.to_string()),
        }
    }

    /// Puts a proposal into the log, if this is the leader.
    pub(crate) async fn attempt(&self, proposal: Proposal) -> Attempt {
        // Those of other members come straight here.
        if let Err(reason) = check(&proposal) {
            return Attempt::NotServed(reason);
        }
        if self.leader().is_none_or(|leader| leader.id != self.id) {
            return Attempt::NotServed(format!("member {} does not lead", self.id));
        }
        let (answer, wait) = oneshot::channel();
        match self.proposals.try_send((proposal, answer)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Attempt::NotServed(format!("{QUEUE} proposals wait already"));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Attempt::NotServed("the member stopped".to_owned()),
        }
        match wait.await {
            Ok(Ok(answer)) => Attempt::Answered(answer),
            Ok(Err(reason)) => Attempt::Unknown(reason),
            Err(_) => Attempt::Unknown("the member stopped".to_owned()),
        }
    }

    /// Ends the member. What it promised is on its disk.
    pub async fn stop(&self) {
        if self.raft.shutdown().await.is_err() {
            tracing::warn!("member {} had ended before", self.id);
        }
    }
}

/// Refuses what the log does not take.
fn check(proposal: &Proposal) -> Result<(), String> {
    let (client, command) = (proposal.client.len(), proposal.command.len());
    if client != CLIENT_BYTES {
        return Err(format!("the client's id has {client} bytes, and ids have {CLIENT_BYTES}"));
    }
    if command > COMMAND_BYTES {
        return Err(format!("the command has {command} bytes, more than the {COMMAND_BYTES} allowed"));
    }
    Ok(())
}

/// Gathers what waits into batches, one entry of the log each.
async fn propose_batches<R: Runtime>(raft: Raft<Types<R>>, mut waiting: mpsc::Receiver<Waiting>) {
    let places = Arc::new(Semaphore::new(BATCHES));
    // Taken over from the batch before, where it did not fit.
    let mut next: Option<Waiting> = None;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut size = first.0.command.len();
        let (mut proposals, mut answers) = (vec![first.0], vec![first.1]);
        while proposals.len() < BATCH_COMMANDS
            && let Ok(more) = waiting.try_recv()
        {
            size += more.0.command.len();
            if size > BATCH_BYTES {
                next = Some(more);
                break;
            }
            proposals.push(more.0);
            answers.push(more.1);
        }
        let written = raft.client_write_ff(Batch(Arc::new(proposals))).await;
        drop(R::spawn(async move {
            let result = match written {
                Ok(wait) => match wait.await {
                    Ok(Ok(response)) => Ok(response.data),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("the member stopped".to_owned()),
                },
                Err(error) => Err(error.to_string()),
            };
            drop(place);
            tell(answers, result);
        }));
    }
}

/// Gives each its answer. Who does not wait any more does not get one.
fn tell(waiting: Vec<oneshot::Sender<Result<Answer, String>>>, result: Result<Answers, String>) {
    match result {
        Ok(answers) => waiting.into_iter().zip(answers.0).for_each(|(one, answer)| drop(one.send(Ok(answer)))),
        Err(reason) => waiting.into_iter().for_each(|one| drop(one.send(Err(reason.clone())))),
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
