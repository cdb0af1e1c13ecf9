//! Three of ours, and a client of them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ecps_consensus::grpc::GrpcTransport;
use ecps_consensus::log::Log;
use ecps_consensus::machine::Machine;
use ecps_consensus::runtime::Runtime as _;
use ecps_consensus::types::{Epoch, Types};
use ecps_consensus::wire::{Batch, EntryId, Membership, Proposal, Request, Status, Voters, entry, reply, request};
use ecps_consensus::{Disk, MemberFolder, Transport as _, state::Apply, wire};
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{Entry, TokioRuntime, Vote};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::{ATTEMPT, Client, ENTRIES, PAUSE, Peers, RESTARTS, next};
use crate::support::Sample;

pub(super) struct Group {
    folder: tempfile::TempDir,
    addresses: BTreeMap<u64, String>,
    running: BTreeMap<u64, Child>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.running.values_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

impl Group {
    fn new() -> Group {
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = (1..).zip(held.iter().map(|listener| listener.local_addr().unwrap().to_string())).collect();
        Group { folder: super::folder(), addresses, running: BTreeMap::new() }
    }

    pub(super) fn start(runtime: &Runtime) -> Group {
        let mut group = Group::new();
        group.spawn(2, None);
        group.spawn(3, None);
        group.spawn(1, Some("--begin"));
        runtime.block_on(group.client(next()).put(next()));
        group
    }

    fn spawn(&mut self, id: u64, begin: Option<&str>) {
        let mut command = Command::new(ecps_testing::root().join("target/debug/examples/consensus_member"));
        command.arg(id.to_string()).arg(self.folder.path().join(id.to_string()));
        command.args(self.addresses.iter().map(|(id, address)| format!("{id}={address}"))).args(begin);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        self.running.insert(id, child);
    }

    async fn status(&self, transport: &GrpcTransport, id: u64) -> Option<Status> {
        let request = Request { target: id, what: Some(request::What::Status(true)) };
        let exchange = transport.exchange(id, &self.addresses[&id], request);
        match tokio::time::timeout(ATTEMPT, exchange).await.ok()?.ok()?.what? {
            reply::What::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Waits until a member's status is as wanted.
    async fn wait(&self, id: u64, wanted: impl Fn(&Status) -> bool) {
        let transport = GrpcTransport::plain();
        while !self.status(&transport, id).await.is_some_and(|status| wanted(&status)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Peers for Group {
    type Client = GroupClient;

    fn client(&self, name: u64) -> GroupClient {
        let transport = Arc::new(GrpcTransport::plain());
        GroupClient { transport, addresses: self.addresses.clone(), name, sequence: 0, likely: 1 }
    }

    fn kill(&mut self, id: u64) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn start(&mut self, runtime: &Runtime, id: u64) {
        self.spawn(id, None);
        runtime.block_on(self.wait(id, |status| status.leader.is_some()));
    }

    fn leader(&self, runtime: &Runtime) -> u64 {
        let transport = GrpcTransport::plain();
        loop {
            for id in 1..=3 {
                let status = runtime.block_on(self.status(&transport, id));
                if status.is_some_and(|status| status.role == "leader") {
                    return id;
                }
            }
        }
    }
}

pub(super) struct GroupClient {
    transport: Arc<GrpcTransport>,
    addresses: BTreeMap<u64, String>,
    name: u64,
    sequence: u64,
    likely: u64,
}

impl Client for GroupClient {
    async fn put(&mut self, number: u64) {
        self.sequence += 1;
        let proposal = proposal(self.name, self.sequence, number);
        loop {
            let request = Request { target: self.likely, what: Some(request::What::Propose(proposal.clone())) };
            let exchange = self.transport.exchange(self.likely, &self.addresses[&self.likely], request);
            let reply = tokio::time::timeout(ATTEMPT, exchange).await;
            if let Ok(Ok(reply)) = reply
                && let Some(reply::What::Answer(_)) = reply.what
            {
                return;
            }
            self.likely = self.likely % 3 + 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn proposal(name: u64, sequence: u64, number: u64) -> Proposal {
    let mut client = name.to_le_bytes().to_vec();
    client.resize(ecps_consensus::CLIENT_BYTES, 0);
    // A message with the number as its first field.
    let mut command = vec![8];
    prost::encoding::encode_varint(number, &mut command);
    Proposal { client, sequence, command }
}

/// Keeps nothing itself.
struct Nothing;

impl Apply for Nothing {
    fn create(&self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn apply(&self, _: &Connection, _: Epoch, _: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>> {
        Ok(Ok(Vec::new()))
    }
}

/// Writes a member's folder with a full log, all of it applied.
async fn fill(folder: &Path, addresses: &BTreeMap<u64, String>) {
    let disk: Arc<dyn Disk> = Arc::new(MemberFolder::lock(folder).unwrap());
    let worker = || TokioRuntime::worker("bench").unwrap();
    let mut log = Log::<TokioRuntime>::open(Arc::clone(&disk), 1, worker(), Arc::default()).unwrap();
    let mut machine = Machine::open(disk, Box::new(Nothing), worker(), Arc::default()).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    let membership =
        Membership { configs: vec![Voters { ids: vec![1, 2, 3] }], nodes: addresses.clone().into_iter().collect() };
    let first =
        wire::Entry { id: Some(EntryId { term: 0, index: 0 }), payload: Some(entry::Payload::Membership(membership)) };
    let others = (1..=ENTRIES).map(|index| wire::Entry {
        id: Some(EntryId { term: 1, index }),
        payload: Some(entry::Payload::Batch(Batch { proposals: vec![proposal(1, index, index)] })),
    });
    let entries: Vec<Entry<Types<TokioRuntime>>> =
        [first].into_iter().chain(others).map(|e| e.try_into().unwrap()).collect();
    for some in entries.chunks(1_000) {
        log.blocking_append(some.to_vec()).await.unwrap();
        machine.apply(some.to_vec()).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Times from the start of a member with a full log until it serves.
pub(super) fn restarts(runtime: &Runtime) -> Sample {
    let (mut sample, filled) = (Sample::default(), super::folder());
    for round in 0..RESTARTS {
        let mut group = Group::new();
        if round == 0 {
            runtime.block_on(fill(filled.path(), &group.addresses));
        }
        for id in 1..=3 {
            copy(filled.path(), &group.folder.path().join(id.to_string()));
            let begun = Instant::now();
            group.spawn(id, None);
            let whole = |status: &Status| status.applied.is_some_and(|applied| applied.index >= ENTRIES);
            runtime.block_on(group.wait(id, whole));
            sample.push(begun.elapsed());
        }
    }
    sample
}
