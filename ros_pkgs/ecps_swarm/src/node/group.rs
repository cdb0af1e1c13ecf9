//! This agent's member of the consensus: its folder, its address, and how commands get to the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_consensus::application::Erased;
use ecps_consensus::grpc::{GrpcTransport, serve};
use ecps_consensus::network::Exchange;
use ecps_consensus::wire::{Request, Status};
use ecps_consensus::{
    Disk, Leader, Member, MemberFolder, MemberId, Options, Outcome, ReadError, Session, Transport, TransportError,
};
use ecps_ros::StartError;
use openraft::TokioRuntime;
use rusqlite::Connection;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::lock;
use super::parameters::Settings;
use crate::agents::MemberAt;
use crate::tasks::{Command, Reply, Tasks};

/// Commands under way at a time; each needs a client of its own.
const CLIENTS: usize = 64;
/// Before a member that did not reply is tried again.
const BREATH: Duration = Duration::from_millis(50);
/// First number of members that are no voters.
const LEARNERS: MemberId = 1 << 63;

type Client = Session<TokioRuntime, Tasks>;

/// Reaches members where they said last that they are: the group knows them by name alone, since addresses change.
struct Discovered {
    addresses: Arc<Mutex<BTreeMap<MemberId, String>>>,
    transport: GrpcTransport,
}

impl Transport for Discovered {
    fn exchange(&self, target: MemberId, name: &str, request: Request) -> Exchange {
        let known = lock(&self.addresses).get(&target).cloned();
        let sent = known.map(|address| self.transport.exchange(target, &address, request));
        let reason = format!("agent '{name}' has not been heard yet");
        Box::pin(async move {
            let reply = match sent {
                Some(exchange) => exchange.await,
                None => Err(TransportError::Unreached { target, reason }),
            };
            if reply.is_err() {
                // openraft tries again at once, and a port where nobody listens refuses at once.
                tokio::time::sleep(BREATH).await;
            }
            reply
        })
    }
}

/// The member, and clients of its log.
pub(super) struct Group {
    member: Member<TokioRuntime>,
    address: String,
    addresses: Arc<Mutex<BTreeMap<MemberId, String>>>,
    clients: Mutex<Vec<Client>>,
    places: Semaphore,
}

impl Group {
    /// Starts the member on its folder; also gives this start's epoch. On the runtime that is to carry it.
    pub(super) async fn join(settings: &Settings) -> Result<(Group, u64), StartError> {
        let folder = &settings.folder;
        let named = |error: std::io::Error| StartError::layer(format!("{}: {error}", folder.display()));
        let disk: Arc<dyn Disk> = Arc::new(MemberFolder::lock(folder).map_err(named)?);
        let epoch = count(&folder.join("epoch"), |last| last + 1).map_err(named)?;
        let id = match settings.voters.iter().position(|voter| *voter == settings.agent.id) {
            Some(place) => place as MemberId + 1,
            // A learner that lost its folder comes back as another one.
            None => {
                let (_, chance) = uuid::Uuid::now_v7().as_u64_pair();
                count(&folder.join("member"), |last| if last == 0 { chance | LEARNERS } else { last }).map_err(named)?
            }
        };
        let listener = TcpListener::bind(&settings.listen)
            .await
            .map_err(|error| StartError::layer(format!("parameter 'listen' is '{}': {error}", settings.listen)))?;
        let at = listener.local_addr().map_err(StartError::layer)?;
        let host = &settings.advertise;
        let address = if host.is_empty() { at.to_string() } else { format!("{host}:{}", at.port()) };
        if host.is_empty() && at.ip().is_unspecified() {
            let text = format!("parameter 'listen' is '{}', so that 'advertise' has to name a host", settings.listen);
            return Err(StartError::layer(text));
        }
        let addresses: Arc<Mutex<BTreeMap<MemberId, String>>> = Arc::default();
        lock(&addresses).insert(id, address.clone());
        let transport = Discovered { addresses: Arc::clone(&addresses), transport: GrpcTransport::plain() };
        let started = Member::start(id, disk, Box::new(Erased(Tasks)), Arc::new(transport), Options::default());
        let member = started.await.map_err(StartError::layer)?;
        tokio::spawn(serve(member.clone(), listener, None));
        let group = Group { member, address, addresses, clients: Mutex::default(), places: Semaphore::new(CLIENTS) };
        if id < LEARNERS {
            group.begin(&settings.voters).await;
        }
        Ok((group, epoch))
    }

    /// Begins the group, which each voter does alike; where it has begun already this changes nothing.
    async fn begin(&self, voters: &[String]) {
        let members = (1..).zip(voters.iter().cloned()).collect();
        if self.member.status().last.is_none()
            && let Err(reason) = self.member.initialize(&members).await
        {
            tracing::warn!("the group could not be begun here: {reason}");
        }
    }

    pub(super) fn id(&self) -> MemberId {
        self.member.id()
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn member_at(&self) -> MemberAt {
        MemberAt { id: self.id(), address: self.address.clone() }
    }

    /// Whether a member is known to be there.
    pub(super) fn knows(&self, at: &MemberAt) -> bool {
        lock(&self.addresses).get(&at.id).is_some_and(|address| *address == at.address)
    }

    /// Takes in where the members of all known agents are; others are forgotten.
    pub(super) fn learn<'a>(&self, members: impl Iterator<Item = &'a MemberAt>) {
        let others = members.filter(|at| at.id != self.id()).map(|at| (at.id, at.address.clone()));
        *lock(&self.addresses) = others.chain([(self.id(), self.address.clone())]).collect();
    }

    pub(super) fn leader(&self) -> Option<Leader> {
        self.member.leader()
    }

    /// The epoch in which this member leads.
    pub(super) fn leads(&self) -> Option<u64> {
        self.leader().filter(|leader| leader.id == self.id()).map(|leader| leader.epoch)
    }

    pub(super) fn status(&self) -> Status {
        self.member.status()
    }

    /// Index of the last entry applied here.
    pub(super) fn applied(&self) -> u64 {
        *self.member.watch().borrow()
    }

    /// Takes a learner in. On the leader.
    pub(super) async fn add_learner(&self, at: &MemberAt, name: &str) -> Result<(), String> {
        self.member.add_learner(at.id, name).await
    }

    /// Reads the queue as a quorum has it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        within: Duration,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let read = self.member.read(within, read).await;
        read.map_err(|error: ReadError| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Reads the queue as it is here.
    pub(super) async fn read_stale<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let read = self.member.read_stale(read).await;
        read.map_err(|error: ReadError| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Brings a command into the log.
    pub(super) async fn propose(&self, command: &Command, within: Duration) -> Outcome<Reply> {
        let Ok(_place) = self.places.acquire().await else {
            return Outcome::Unknown("the node is ending".to_owned());
        };
        let idle = lock(&self.clients).pop();
        let mut client = idle.unwrap_or_else(|| Session::new(self.member.clone(), uuid::Uuid::now_v7().into_bytes()));
        let outcome = client.propose(command, within).await;
        // One whose command may still come to the log is not used again.
        if !matches!(outcome, Outcome::Unknown(_)) {
            lock(&self.clients).push(client);
        }
        outcome
    }

    pub(super) async fn stop(&self) {
        self.member.stop().await;
    }
}

/// Reads a number from a file, 0 where there is none, and writes the next one, which it returns, to the disk.
fn count(path: &Path, next: impl FnOnce(u64) -> u64) -> std::io::Result<u64> {
    let last = match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(std::io::Error::other)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let number = next(last);
    let part = path.with_extension("part");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    fs::rename(part, path)?;
    // Or a loss of power could bring the number before back.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok(number)
}
