//! Three members on this machine, each a process with its own disk folder, beside three of etcd: what a commit costs over
//! `fdatasync`, how many there are with 64 clients, how long a group is without a leader when that one is killed, and how
//! long a member takes to come back.

mod etcd;
mod group;

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ecps_testing::{Process, Ros};
use tokio::runtime::Runtime;

use self::etcd::Etcd;
use self::group::Group;
use crate::support::{Sample, Section};

const COMMITS: usize = 1_000;
/// Commits after which the next group has its turn.
const TURN: usize = 100;
const CLIENTS: u64 = 64;
const RUSHES: usize = 3;
const RUSH: Duration = Duration::from_secs(4);
const KILLS: usize = 100;
const ETCD_KILLS: usize = 30;
/// Entries in the log of a member that restarts.
const ENTRIES: u64 = 100_000;
/// Times that each of three restarts with them.
const RESTARTS: usize = 3;
/// Longest wait for an answer before another member is asked.
const ATTEMPT: Duration = Duration::from_millis(500);
/// Pause before that.
const PAUSE: Duration = Duration::from_millis(5);

/// Three processes that hold something together.
trait Peers {
    type Client: Client;

    fn client(&self, name: u64) -> Self::Client;
    /// Kills a member.
    fn kill(&mut self, id: u64);
    /// Starts it again, and returns once it serves.
    fn start(&mut self, runtime: &Runtime, id: u64);
    /// Who leads.
    fn leader(&self, runtime: &Runtime) -> u64;
}

/// One client, with a connection of its own to each.
trait Client: Send + 'static {
    /// Puts a number, and returns once it is committed.
    fn put(&mut self, number: u64) -> impl Future<Output = ()> + Send;
}

pub(crate) fn stage(_: &Ros) -> Vec<Process> {
    Vec::new()
}

/// A folder on the disk of the target folder, since /tmp may be memory.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(ecps_testing::root().join("target")).unwrap()
}

/// A small write that reaches the disk.
struct Probe(File);

impl Probe {
    fn new(folder: &Path) -> Probe {
        Probe(File::create(folder.join("probe")).unwrap())
    }

    fn write(&mut self) {
        self.0.write_all(&[7; 256]).unwrap();
        self.0.sync_data().unwrap();
    }
}

fn times(sample: &mut Sample, count: usize, mut work: impl FnMut()) {
    for _ in 0..count {
        let begun = Instant::now();
        work();
        sample.push(begun.elapsed());
    }
}

/// Numbers nobody has put yet.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Commits a second of all clients together.
fn rush<P: Peers>(runtime: &Runtime, peers: &P, until: impl Fn(Instant, u64) -> bool) -> f64 {
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let working: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (mut client, over, done) = (peers.client(next()), Arc::clone(&over), Arc::clone(&done));
            runtime.spawn(async move {
                // Connects.
                client.put(next()).await;
                while !over.load(Ordering::Relaxed) {
                    client.put(next()).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < CLIENTS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (begun, first) = (Instant::now(), done.load(Ordering::Relaxed));
    while !until(begun, done.load(Ordering::Relaxed)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let rate = (done.load(Ordering::Relaxed) - first) as f64 / begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    working.into_iter().for_each(|client| runtime.block_on(client).unwrap());
    rate
}

/// Times from the kill of a leader to the next commit.
fn outages<P: Peers>(runtime: &Runtime, peers: &mut P, kills: usize) -> Sample {
    let (mut sample, mut client) = (Sample::default(), peers.client(next()));
    for _ in 0..kills {
        runtime.block_on(client.put(next()));
        let leader = peers.leader(runtime);
        let begun = Instant::now();
        peers.kill(leader);
        runtime.block_on(client.put(next()));
        sample.push(begun.elapsed());
        peers.start(runtime, leader);
    }
    sample
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A row in the words of times: from one commit to the next.
fn between(rate: f64) -> Sample {
    let mut sample = Sample::default();
    sample.push(Duration::from_secs_f64(1.0 / rate));
    sample
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "Three members, each a process with a folder of its own on one disk, over gRPC on the loopback, synced; and three of \
         etcd, in turn. One client puts {COMMITS} small commands one after another, each timed from call to answer; then \
         {CLIENTS} clients, each with its own connection, do so {RUSHES} times for {} s; then the leader is killed {KILLS} \
         times ({ETCD_KILLS} of etcd), timed from the kill to the next commit; then each member restarts with {ENTRIES} \
         entries in its log, timed until it serves.",
        RUSH.as_secs()
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _connecting = runtime.enter();
    let mut ours = Group::start(&runtime);
    let mut etcd = Etcd::start(&runtime);
    let folder = folder();
    let mut probe = Probe::new(folder.path());

    let (mut one, mut other) = (ours.client(next()), etcd.as_ref().map(|etcd| etcd.client(next())));
    let [mut commits, mut disk, mut peer] = std::array::from_fn(|_| Sample::default());
    for turn in 0..=COMMITS / TURN {
        times(&mut commits, TURN, || runtime.block_on(one.put(next())));
        times(&mut disk, TURN, || probe.write());
        if let Some(other) = &mut other {
            times(&mut peer, TURN, || runtime.block_on(other.put(next())));
        }
        if turn == 0 {
            [&mut commits, &mut disk, &mut peer].into_iter().for_each(|warm_up| *warm_up = Sample::default());
        }
    }

    let [mut rates, mut peer_rates] = [Vec::new(), Vec::new()];
    for _ in 0..RUSHES {
        let over = |begun: Instant, _| begun.elapsed() >= RUSH;
        rates.push(rush(&runtime, &ours, over));
        peer_rates.extend(etcd.as_ref().map(|etcd| rush(&runtime, etcd, over)));
    }
    let outage = outages(&runtime, &mut ours, KILLS);
    let peer_outage = etcd.as_mut().map(|etcd| outages(&runtime, etcd, ETCD_KILLS));
    drop(ours);
    let restart = group::restarts(&runtime);
    let peer_restart = etcd.as_mut().map(|etcd| etcd.restarts(&runtime));

    let rate = median(&rates);
    section.row("commit, one client", &commits);
    section.row("write and fdatasync of 256 bytes", &disk);
    if etcd.is_some() {
        section.row("etcd: commit, one client", &peer);
    }
    section.group();
    section.row(format!("from one commit to the next, {CLIENTS} clients"), &between(rate));
    if etcd.is_some() {
        section.row("etcd: the same", &between(median(&peer_rates)));
    }
    section.group();
    section.row("leader killed to next commit", &outage);
    peer_outage.iter().for_each(|sample| section.row("etcd: the same", sample));
    section.group();
    section.row(format!("restart with {ENTRIES} entries until it serves"), &restart);
    peer_restart.iter().for_each(|sample| section.row("etcd: the same", sample));
    section.goal("commit over fdatasync, p50", commits.p50() - disk.p50(), 2.0, " ms");
    section.goal("time for a commit with 64 clients", 1e6 / rate, 200.0, " µs");
    section.goal("leader killed to next commit, p99", outage.p99(), 800.0, " ms");
    section.goal("restart, slowest", restart.quantile_ms(1.0), 1000.0, " ms");
    section.note(format!("{rate:.0} commits a second with {CLIENTS} clients, of {rates:.0?}"));
    section.note(match &etcd {
        Some(_) => format!(
            "etcd {}, {:.0} commits a second of {peer_rates:.0?}; with a heartbeat of 50 ms and an election timeout of \
             250 ms, the least it takes with that",
            etcd::version(),
            median(&peer_rates)
        ),
        None => "no etcd beside it: tools/bench_etcd could not bring it".to_owned(),
    });
    section
}
