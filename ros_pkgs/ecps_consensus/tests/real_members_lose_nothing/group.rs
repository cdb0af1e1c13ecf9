//! Members as processes, clients of them, and a load whose acknowledgements are kept.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ecps_consensus::Transport as _;
use ecps_consensus::grpc::GrpcTransport;
use ecps_consensus::wire::{Proposal, Reply, Request, Status, answer, reply, request};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(60);
/// Ids looked for in one command.
const LOOKS: usize = 5_000;

/// The command of the example `consensus_member`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub look: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Count {
    #[prost(uint64, tag = "1")]
    pub count: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub seen: Vec<u64>,
}

pub struct Group {
    folder: TempDir,
    /// By which the members reach each other.
    addresses: BTreeMap<u64, String>,
    /// By which clients do.
    doors: BTreeMap<u64, String>,
    /// What runs a member's program, and what it listens on, where that is not its address.
    within: fn(u64) -> Vec<String>,
    listen: Option<&'static str>,
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
    /// Three members on the loopback.
    pub fn new() -> Group {
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let addresses: BTreeMap<u64, String> = (1..).zip(held.iter().map(address)).collect();
        drop(held);
        Group::begin(addresses.clone(), addresses, |_| Vec::new(), None)
    }

    pub fn begin(
        addresses: BTreeMap<u64, String>,
        doors: BTreeMap<u64, String>,
        within: fn(u64) -> Vec<String>,
        listen: Option<&'static str>,
    ) -> Group {
        let (folder, running) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let mut group = Group { folder, addresses, doors, within, listen, running };
        group.spawn(2, false);
        group.spawn(3, false);
        group.spawn(1, true);
        group
    }

    pub fn disk(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub fn command(&self, id: u64) -> Command {
        let words: Vec<String> = (self.within)(id);
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program());
                command
            }
            None => Command::new(program()),
        };
        command.arg(id.to_string()).arg(self.disk(id));
        command.args(self.addresses.iter().map(|(id, address)| format!("{id}={address}")));
        if let Some(listen) = self.listen {
            command.args(["--listen", listen]);
        }
        command
    }

    pub fn spawn(&mut self, id: u64, begin: bool) {
        let mut command = self.command(id);
        let mut child = command.args(begin.then_some("--begin")).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "member {id}");
        self.running.insert(id, child);
    }

    pub fn kill(&mut self, id: u64) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, id: u64, signal: Signal) {
        kill_process(Pid::from_child(&self.running[&id]), signal).unwrap();
    }
}

/// Asks members until one that leads answers.
#[derive(Clone)]
pub struct Client {
    transport: Arc<GrpcTransport>,
    doors: BTreeMap<u64, String>,
    name: u64,
    sequence: u64,
    likely: u64,
}

impl Client {
    pub fn new(group: &Group, name: u64) -> Client {
        let (transport, doors) = (Arc::new(GrpcTransport::plain()), group.doors.clone());
        Client { transport, doors, name, sequence: 0, likely: 1 }
    }

    /// One that knows only these members.
    pub fn of(mut self, members: &[u64]) -> Client {
        self.doors.retain(|id, _| members.contains(id));
        self
    }

    pub async fn ask(&self, target: u64, what: request::What) -> Option<reply::What> {
        let request = Request { target, what: Some(what) };
        let exchange = self.transport.exchange(target, &self.doors[&target], request);
        let reply: Reply = tokio::time::timeout(Duration::from_millis(700), exchange).await.ok()?.ok()?;
        reply.what
    }

    fn proposal(&mut self, put: &Put) -> Proposal {
        self.sequence += 1;
        let mut client = self.name.to_le_bytes().to_vec();
        client.resize(16, 0);
        Proposal { client, sequence: self.sequence, command: put.encode_to_vec() }
    }

    async fn carry_out(&mut self, put: &Put, within: Duration) -> Option<Count> {
        let proposal = self.proposal(put);
        let begun = Instant::now();
        while begun.elapsed() < within {
            // The next of those that it knows.
            let next = self.doors.range(self.likely..).next().or_else(|| self.doors.first_key_value());
            self.likely = *next.unwrap().0;
            if let Some(reply::What::Answer(answer)) =
                self.ask(self.likely, request::What::Propose(proposal.clone())).await
            {
                let Some(answer::What::Reply(bytes)) = answer.what else { panic!("refused: {answer:?}") };
                return Some(Count::decode(bytes.as_slice()).unwrap());
            }
            self.likely += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// How often the id was put, once it is certain; none where it is not within the time.
    pub async fn put(&mut self, id: u64, within: Duration) -> Option<u64> {
        self.carry_out(&Put { id, look: Vec::new() }, within).await.map(|count| count.count)
    }

    /// How often each of these was put.
    pub async fn look(&mut self, ids: &[u64]) -> Vec<u64> {
        let mut seen = Vec::new();
        for look in ids.chunks(LOOKS) {
            let count = self.carry_out(&Put { id: 0, look: look.to_vec() }, PATIENCE).await;
            seen.extend(count.expect("nobody answers").seen);
        }
        seen
    }

    /// Whether this member takes a command or tells how far a read has to see, asked once.
    pub async fn serves(&mut self, id: u64, put: u64) -> bool {
        let proposal = self.proposal(&Put { id: put, look: Vec::new() });
        let (propose, read) = (request::What::Propose(proposal), request::What::ReadIndex(true));
        let (put, read) = tokio::join!(self.ask(id, propose), self.ask(id, read));
        matches!(put, Some(reply::What::Answer(_))) || matches!(read, Some(reply::What::ReadIndex(_)))
    }

    pub async fn status(&self, id: u64) -> Option<Status> {
        match self.ask(id, request::What::Status(true)).await? {
            reply::What::Status(status) => Some(status),
            other => panic!("{other:?}"),
        }
    }

    /// A member that says it leads.
    pub async fn leader(&self) -> u64 {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for id in self.doors.keys() {
                if self.status(*id).await.is_some_and(|status| status.role == "leader") {
                    return *id;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody leads");
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Clients that put one id after another, and what they were acknowledged.
pub struct Load {
    acknowledged: Arc<Mutex<Vec<u64>>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Ids are counted from 1.
    pub fn on(group: &Group) -> Load {
        let acknowledged: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let client = |name| {
            let (mut client, acknowledged) = (Client::new(group, name), Arc::clone(&acknowledged));
            let (over, next) = (Arc::clone(&over), Arc::clone(&next));
            std::thread::spawn(move || {
                runtime().block_on(async {
                    while !over.load(Ordering::Relaxed) {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if let Some(count) = client.put(id, Duration::from_secs(5)).await {
                            assert_eq!(count, 1, "id {id} counts more than once");
                            acknowledged.lock().unwrap().push(id);
                        }
                    }
                });
            })
        };
        let clients = (1..=4).map(client).collect();
        Load { acknowledged, over, clients }
    }

    /// Returns once so many more were acknowledged.
    pub fn goes_on(&self, more: usize) {
        let (begun, before) = (Instant::now(), self.acknowledged.lock().unwrap().len());
        while self.acknowledged.lock().unwrap().len() < before + more {
            assert!(begun.elapsed() < PATIENCE, "nothing is committed any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, and looks for all that was acknowledged.
    pub fn finish(self, group: &Group) {
        self.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let acknowledged = self.acknowledged.lock().unwrap();
        // A name that no client of a round has.
        let seen = runtime().block_on(Client::new(group, u64::MAX).look(&acknowledged));
        assert_eq!(seen.len(), acknowledged.len());
        let wrong: Vec<_> = acknowledged.iter().zip(seen).filter(|(_, count)| *count != 1).collect();
        assert!(wrong.is_empty(), "of {} acknowledged, these are not there once: {wrong:?}", acknowledged.len());
        println!("{} acknowledged", acknowledged.len());
    }
}
