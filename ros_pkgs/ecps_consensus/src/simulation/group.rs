//! A simulated group: members with disks of their own, started and crashed at will.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::AsyncRuntime as _;

use super::disk::{Lie, SimDisk};
use super::executor::{below, elapsed, kill, set_rate, spawn_as};
use super::network::{Net, SimTransport};
use super::runtime::SimRuntime;
use crate::member::{Member, Options};
use crate::state::Apply;
use crate::types::MemberId;

/// Simulated time within which what should happen happens.
const SOON: Duration = Duration::from_secs(20);

type MakeApplication = Box<dyn Fn() -> Box<dyn Apply> + Send + Sync>;

pub(crate) struct Group {
    pub(crate) net: Arc<Net>,
    application: MakeApplication,
    options: Options,
    lie: Lie,
    disks: Mutex<BTreeMap<MemberId, SimDisk>>,
    /// Those that are meant to run.
    fleet: Mutex<BTreeSet<MemberId>>,
    /// Those that lost their disk, and do not come back under the same name.
    retired: Mutex<BTreeSet<MemberId>>,
}

impl Group {
    pub(crate) fn new(application: impl Fn() -> Box<dyn Apply> + Send + Sync + 'static, lie: Lie) -> Group {
        Group {
            net: Net::new(),
            application: Box::new(application),
            options: Options { snapshot_entries: 40, kept_entries: 15 },
            lie,
            disks: Mutex::default(),
            fleet: Mutex::default(),
            retired: Mutex::default(),
        }
    }

    /// Starts members 1, 2 and 3, and has them begin a group.
    pub(crate) async fn begin(self: &Arc<Group>) {
        for id in 1..=3 {
            self.start(id).await;
        }
        let all: BTreeMap<u64, String> = (1..=3).map(|id| (id, String::new())).collect();
        self.member(1).initialize(&all).await.unwrap();
    }

    pub(crate) async fn start(self: &Arc<Group>, id: MemberId) {
        if self.retired.lock().unwrap().contains(&id) {
            return;
        }
        let disk = self.disks.lock().unwrap().entry(id).or_insert_with(|| SimDisk::lying(self.lie)).clone();
        let rate = 970 + below(61);
        set_rate(id, rate);
        if rate != 1000 {
            self.net.count("skewed clock");
        }
        self.fleet.lock().unwrap().insert(id);
        let group = Arc::clone(self);
        // As the member, so that its tasks are its own.
        drop(spawn_as(id, async move {
            let transport = Arc::new(SimTransport { from: id, net: Arc::clone(&group.net) });
            let member = Member::start(id, Arc::new(disk), (group.application)(), transport, group.options.clone());
            let member = member.await.unwrap_or_else(|error| panic!("member {id} does not start again: {error}"));
            group.net.attach(member);
        }));
        while self.net.member(id).is_none() && !self.retired.lock().unwrap().contains(&id) {
            SimRuntime::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes the power from a member.
    pub(crate) fn crash(&self, id: MemberId) {
        self.net.note(b"crash");
        self.fleet.lock().unwrap().remove(&id);
        kill(id);
        self.net.detach(id);
        let damage = self.disk(id).power_fails();
        self.net.count("crash");
        if damage.lost {
            self.net.count("unsynced write lost");
        }
        if damage.torn {
            self.net.count("unsynced write torn");
        }
    }

    /// Whether its disks do.
    pub(crate) fn lies(&self) -> bool {
        self.lie != Lie::Nothing
    }

    /// Takes power and disk from a member, for good.
    pub(crate) fn wipe(&self, id: MemberId) {
        self.crash(id);
        self.disks.lock().unwrap().remove(&id);
        self.retired.lock().unwrap().insert(id);
    }

    pub(crate) fn disk(&self, id: MemberId) -> SimDisk {
        self.disks.lock().unwrap().get(&id).unwrap().clone()
    }

    pub(crate) fn member(&self, id: MemberId) -> Member<SimRuntime> {
        self.net.member(id).unwrap()
    }

    pub(crate) fn running(&self) -> Vec<MemberId> {
        self.fleet.lock().unwrap().iter().copied().collect()
    }

    pub(crate) fn any(&self) -> Option<MemberId> {
        let running = self.running();
        running.get(below(running.len() as u64) as usize).copied()
    }

    /// One that says it leads.
    pub(crate) fn leading(&self) -> Option<Member<SimRuntime>> {
        self.net.members().into_iter().find(|m| m.leader().is_some_and(|leader| leader.id == m.id()))
    }

    /// One that leads and that a majority confirms.
    pub(crate) async fn leader(&self) -> Member<SimRuntime> {
        let begun = elapsed();
        loop {
            for member in self.net.members() {
                let leads = member.leader().is_some_and(|leader| leader.id == member.id());
                if leads && member.read(Duration::from_secs(1), |_| ()).await.is_ok() {
                    return member;
                }
            }
            assert!(elapsed() - begun < SOON, "nobody leads");
            SimRuntime::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Cuts a member off from all others, both ways.
    pub(crate) fn isolate(&self, id: MemberId) {
        let mut weather = self.net.weather.lock().unwrap();
        for other in self.running().into_iter().filter(|&other| other != id) {
            weather.cut.extend([(id, other), (other, id)]);
        }
    }

    /// Mends all ways.
    pub(crate) fn heal(&self) {
        self.net.weather.lock().unwrap().cut.clear();
    }
}
