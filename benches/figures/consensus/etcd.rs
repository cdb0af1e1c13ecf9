//! Three of etcd as Debian packages it, and a client of them by the gRPC interface that its own clients use.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::{ATTEMPT, Client, ENTRIES, PAUSE, Peers, rush};
use crate::support::Sample;

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

fn program() -> PathBuf {
    ecps_testing::root().join("target/bench-etcd/usr/bin/etcd")
}

/// As it tells.
pub(super) fn version() -> String {
    let output = Command::new(program()).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().next().unwrap_or_default().trim_start_matches("etcd Version: ").to_owned()
}

pub(super) struct Etcd {
    folder: tempfile::TempDir,
    /// For clients, and for each other.
    clients: BTreeMap<u64, String>,
    members: BTreeMap<u64, String>,
    running: BTreeMap<u64, Child>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.running.values_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

impl Etcd {
    /// None where it is not at hand.
    pub(super) fn start(runtime: &Runtime) -> Option<Etcd> {
        if !program().exists() {
            return None;
        }
        let held: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut urls = held.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap()));
        let clients = (1..=3).zip(urls.by_ref().take(3)).collect();
        let members = (1..=3).zip(urls).collect();
        drop(held);
        let mut etcd = Etcd { folder: super::folder(), clients, members, running: BTreeMap::new() };
        (1..=3).for_each(|id| etcd.spawn(id));
        for id in 1..=3 {
            runtime.block_on(etcd.wait(id));
        }
        Some(etcd)
    }

    fn spawn(&mut self, id: u64) {
        let (client, member) = (&self.clients[&id], &self.members[&id]);
        let cluster: Vec<String> = self.members.iter().map(|(id, url)| format!("m{id}={url}")).collect();
        let mut command = Command::new(program());
        command.args(["--name", &format!("m{id}")]).arg("--data-dir").arg(self.folder.path().join(id.to_string()));
        command.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
        command.args(["--listen-peer-urls", member, "--initial-advertise-peer-urls", member]);
        command.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
        command.args(["--heartbeat-interval", "50", "--election-timeout", "250"]);
        // Keeps all entries in the log, as it restarts with them.
        command.args(["--snapshot-count", "10000000", "--quota-backend-bytes", "4294967296"]);
        self.running.insert(id, command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Waits until a member serves and knows a leader.
    async fn wait(&self, id: u64) -> StatusResponse {
        let channel = channel(&self.clients[&id]);
        loop {
            if let Some(status) = call(&channel, "/etcdserverpb.Maintenance/Status", Empty {}).await {
                let status: StatusResponse = status;
                if status.leader != 0 {
                    return status;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Times from the start of a member with as many entries in its log until it serves.
    pub(super) fn restarts(&mut self, runtime: &Runtime) -> Sample {
        rush(runtime, self, |_, done| done >= ENTRIES);
        let mut sample = Sample::default();
        for id in (1..=3).cycle().take(3 * super::RESTARTS) {
            self.kill(id);
            let begun = Instant::now();
            self.start(runtime, id);
            sample.push(begun.elapsed());
        }
        sample
    }
}

fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).unwrap().connect_timeout(ATTEMPT).connect_lazy()
}

async fn call<Q, A>(channel: &Channel, path: &'static str, request: Q) -> Option<A>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.ok()?;
    let codec = ProstCodec::<Q, A>::default();
    let exchange = client.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec);
    Some(tokio::time::timeout(ATTEMPT, exchange).await.ok()?.ok()?.into_inner())
}

impl Peers for Etcd {
    type Client = EtcdClient;

    fn client(&self, _: u64) -> EtcdClient {
        EtcdClient { channels: self.clients.values().map(|url| channel(url)).collect(), likely: 0 }
    }

    fn kill(&mut self, id: u64) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn start(&mut self, runtime: &Runtime, id: u64) {
        self.spawn(id);
        runtime.block_on(self.wait(id));
    }

    fn leader(&self, runtime: &Runtime) -> u64 {
        loop {
            for id in 1..=3 {
                let status = runtime.block_on(self.wait(id));
                if status.header.is_some_and(|header| header.member == status.leader) {
                    return id;
                }
            }
        }
    }
}

pub(super) struct EtcdClient {
    channels: Vec<Channel>,
    likely: usize,
}

impl Client for EtcdClient {
    async fn put(&mut self, number: u64) {
        let request =
            PutRequest { key: (number % 100_000).to_le_bytes().to_vec(), value: number.to_le_bytes().to_vec() };
        loop {
            let path = "/etcdserverpb.KV/Put";
            if call::<_, Empty>(&self.channels[self.likely], path, request.clone()).await.is_some() {
                return;
            }
            self.likely = (self.likely + 1) % self.channels.len();
            tokio::time::sleep(PAUSE).await;
        }
    }
}
