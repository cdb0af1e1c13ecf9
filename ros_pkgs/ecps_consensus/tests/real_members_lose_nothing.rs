//! Groups of real processes on the loopback: killed, stopped, left in a minority, and with bytes flipped on their disks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_consensus::Transport as _;
use ecps_consensus::grpc::GrpcTransport;
use ecps_consensus::wire::{Proposal, Reply, Request, Status, answer, reply, request};
use ecps_core::campaign::rounds;
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bool, tag = "2")]
    look: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Count {
    #[prost(uint64, tag = "1")]
    count: u64,
}

struct Group {
    folder: TempDir,
    addresses: BTreeMap<u64, String>,
    running: BTreeMap<u64, Child>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.running.values_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/consensus_member")
}

impl Group {
    fn new() -> Group {
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let addresses = (1..).zip(held.iter().map(address)).collect();
        drop(held);
        let mut group = Group { folder: tempfile::tempdir().unwrap(), addresses, running: BTreeMap::new() };
        group.spawn(2, false);
        group.spawn(3, false);
        group.spawn(1, true);
        group
    }

    fn disk(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    fn command(&self, id: u64) -> Command {
        let mut command = Command::new(program());
        command.arg(id.to_string()).arg(self.disk(id));
        command.args(self.addresses.iter().map(|(id, address)| format!("{id}={address}")));
        command
    }

    fn spawn(&mut self, id: u64, begin: bool) {
        let mut command = self.command(id);
        let mut child = command.args(begin.then_some("--begin")).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "member {id}");
        self.running.insert(id, child);
    }

    fn kill(&mut self, id: u64) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn signal(&self, id: u64, signal: Signal) {
        kill_process(Pid::from_child(&self.running[&id]), signal).unwrap();
    }
}

/// Asks members until one that leads answers.
#[derive(Clone)]
struct Client {
    transport: Arc<GrpcTransport>,
    addresses: BTreeMap<u64, String>,
    name: u64,
    sequence: u64,
    likely: u64,
}

impl Client {
    fn new(group: &Group, name: u64) -> Client {
        let (transport, addresses) = (Arc::new(GrpcTransport::plain()), group.addresses.clone());
        Client { transport, addresses, name, sequence: 0, likely: 1 }
    }

    async fn ask(&self, target: u64, what: request::What) -> Option<reply::What> {
        let request = Request { target, what: Some(what) };
        let exchange = self.transport.exchange(target, &self.addresses[&target], request);
        let reply: Reply = tokio::time::timeout(Duration::from_millis(700), exchange).await.ok()?.ok()?;
        reply.what
    }

    /// How often the id was put, once it is certain; none where it is not within the time.
    async fn put(&mut self, put: Put, within: Duration) -> Option<u64> {
        self.sequence += 1;
        let mut client = self.name.to_le_bytes().to_vec();
        client.resize(16, 0);
        let proposal = Proposal { client, sequence: self.sequence, command: put.encode_to_vec() };
        let begun = Instant::now();
        while begun.elapsed() < within {
            let what = self.ask(self.likely, request::What::Propose(proposal.clone())).await;
            if let Some(reply::What::Answer(answer)) = what {
                let Some(answer::What::Reply(bytes)) = answer.what else { panic!("refused: {answer:?}") };
                return Some(Count::decode(bytes.as_slice()).unwrap().count);
            }
            self.likely = self.likely % 3 + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    async fn status(&self, id: u64) -> Option<Status> {
        match self.ask(id, request::What::Status(true)).await? {
            reply::What::Status(status) => Some(status),
            other => panic!("{other:?}"),
        }
    }

    /// The member that leads, as a majority sees it.
    async fn leader(&self) -> u64 {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for id in self.addresses.keys() {
                if self.status(*id).await.is_some_and(|status| status.role == "leader") {
                    return *id;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody leads");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice_when_members_are_killed_or_stopped() {
    let runtime = runtime();
    let mut group = Group::new();
    let acknowledged: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let first = Client::new(&group, 100);
    let clients: Vec<_> = (1..=4)
        .map(|name| {
            let (mut client, acknowledged) = (Client::new(&group, name), Arc::clone(&acknowledged));
            let (over, next) = (Arc::clone(&over), Arc::clone(&next));
            std::thread::spawn(move || {
                self::runtime().block_on(async {
                    while !over.load(Ordering::Relaxed) {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        let put = Put { id, look: false };
                        if let Some(count) = client.put(put, Duration::from_secs(5)).await {
                            assert_eq!(count, 1, "id {id} counts more than once");
                            acknowledged.lock().unwrap().push(id);
                        }
                    }
                });
            })
        })
        .collect();
    for round in 0..rounds(6, 200) {
        let before = acknowledged.lock().unwrap().len();
        match round % 3 {
            0 => {
                let leader = runtime.block_on(first.leader());
                group.kill(leader);
                group.spawn(leader, false);
            }
            1 => {
                for id in 1..=3 {
                    group.kill(id);
                }
                for id in 1..=3 {
                    group.spawn(id, false);
                }
            }
            // The leader falls silent, another takes over, and it comes back thinking that it leads.
            _ => {
                let leader = runtime.block_on(first.leader());
                group.signal(leader, Signal::STOP);
                std::thread::sleep(Duration::from_millis(900));
                group.signal(leader, Signal::CONT);
            }
        }
        let begun = Instant::now();
        while acknowledged.lock().unwrap().len() < before + 20 {
            assert!(begun.elapsed() < PATIENCE, "round {round}: nothing is committed any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let acknowledged = acknowledged.lock().unwrap();
    let mut last = Client::new(&group, 200);
    for &id in acknowledged.iter() {
        let count = runtime.block_on(last.put(Put { id, look: true }, PATIENCE));
        assert_eq!(count, Some(1), "id {id} of {}", acknowledged.len());
    }
    println!("{} acknowledged", acknowledged.len());
}

#[test]
fn a_minority_refuses() {
    let runtime = runtime();
    let mut group = Group::new();
    let mut client = Client::new(&group, 1);
    assert_eq!(runtime.block_on(client.put(Put { id: 1, look: false }, PATIENCE)), Some(1));
    group.kill(1);
    group.kill(2);
    assert_eq!(runtime.block_on(client.put(Put { id: 2, look: false }, Duration::from_secs(3))), None);
    group.spawn(2, false);
    assert_eq!(runtime.block_on(client.put(Put { id: 3, look: false }, PATIENCE)), Some(1));
}

#[test]
fn a_proposal_beyond_its_bounds_is_refused_with_the_bound_and_costs_nothing() {
    let runtime = runtime();
    let group = Group::new();
    let mut client = Client::new(&group, 1);
    let leader = runtime.block_on(client.leader());
    let last = |client: &Client| runtime.block_on(client.status(leader)).unwrap().last;
    // A leader that is new appends an entry of its own.
    assert_eq!(runtime.block_on(client.put(Put { id: 1, look: false }, PATIENCE)), Some(1));
    let before = last(&client);
    for (client_bytes, command_bytes, expected) in [(16, (256 << 10) + 1, "262144"), (17, 1, "ids have 16")] {
        let proposal = Proposal { client: vec![9; client_bytes], sequence: 1, command: vec![0; command_bytes] };
        match runtime.block_on(client.ask(leader, request::What::Propose(proposal))) {
            Some(reply::What::Refused(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last(&client), before, "nothing came to the log");
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_member_with_a_flipped_byte_says_so_and_stays_away_and_the_others_go_on() {
    let runtime = runtime();
    let mut group = Group::new();
    let mut client = Client::new(&group, 1);
    for id in 1..50 {
        assert_eq!(runtime.block_on(client.put(Put { id, look: false }, PATIENCE)), Some(1));
    }
    for id in [2, 3] {
        runtime.block_on(client.ask(id, request::What::MakeSnapshot(true))).unwrap();
        let begun = Instant::now();
        while !group.disk(id).join("snapshot").exists() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    for (member, file) in [(2, "000001.eaplog"), (3, "snapshot")] {
        group.kill(member);
        let path = group.disk(member).join(file);
        let whole = std::fs::read(&path).unwrap();
        flip(&path);
        let mut refused = group.command(member).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        refused.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!refused.wait().unwrap().success());
        assert!(said.contains("damaged"), "{said}");
        // The others go on without it.
        let id = 1_000 + member;
        assert_eq!(runtime.block_on(client.put(Put { id, look: false }, PATIENCE)), Some(1));
        std::fs::write(&path, whole).unwrap();
        group.spawn(member, false);
    }
}
