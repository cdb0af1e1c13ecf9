//! Clients of the simulated group: what they ask for, and a record of what they saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::AsyncRuntime as _;
use prost::Message as _;

use super::executor::{below, chance};
use super::group::Group;
use super::linearizable::{Act, Operation, is_linearizable};
use super::registers::{Command, Done, value};
use super::runtime::SimRuntime;
use crate::member::Member;
use crate::proposals::Came;
use crate::wire::{Answer, Proposal, answer};

pub(crate) const CLIENTS: u64 = 4;
/// Operations of each client.
pub(crate) const OPERATIONS: u64 = 50;
const KEYS: u64 = 8;

pub(crate) struct Clients {
    group: Arc<Group>,
    /// Planted fault: what a member has is taken for the latest.
    local_reads: bool,
    history: Mutex<BTreeMap<u64, Vec<Operation>>>,
    acknowledged: Mutex<Vec<u64>>,
    events: Mutex<u64>,
}

impl Clients {
    pub(crate) fn new(group: Arc<Group>, local_reads: bool) -> Arc<Clients> {
        let (history, acknowledged, events) = Default::default();
        Arc::new(Clients { group, local_reads, history, acknowledged, events })
    }

    /// Commands that were answered.
    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub(crate) fn check_histories(&self) {
        for (key, operations) in self.history.lock().unwrap().iter() {
            assert!(is_linearizable(operations), "the history of register {key} is not linearizable: {operations:?}");
        }
    }

    /// One client's operations, one after another.
    pub(crate) async fn run(self: Arc<Clients>, client: u64) {
        for sequence in 1..=OPERATIONS {
            SimRuntime::sleep(Duration::from_millis(below(1_000))).await;
            let member = self.any_member().await;
            self.group.net.count("operation");
            if chance(40) {
                self.read(&member).await;
            } else {
                self.write(&member, client, sequence).await;
            }
        }
    }

    async fn any_member(&self) -> Member<SimRuntime> {
        loop {
            if let Some(member) = self.group.any().and_then(|id| self.group.net.member(id)) {
                return member;
            }
            SimRuntime::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn read(&self, member: &Member<SimRuntime>) {
        let (key, within, called) = (below(KEYS), patience(), self.event());
        let seen = if self.local_reads {
            SimRuntime::timeout(within, member.read_stale(move |database| value(database, key))).await
        } else {
            Ok(member.read(within, move |database| value(database, key)).await)
        };
        if let Ok(Ok(seen)) = seen {
            let seen = seen.unwrap();
            self.group.net.note(&seen.to_le_bytes());
            self.record(key, Act::Read(seen), called, true);
        }
    }

    async fn write(&self, member: &Member<SimRuntime>, client: u64, sequence: u64) {
        let (key, within, called) = (below(KEYS), patience(), self.event());
        let id = client * 1_000 + sequence;
        let expected = chance(40).then(|| self.last_written(key));
        let command = Command { id, key, expected, new: id };
        match propose(member, client, sequence, &command, within).await {
            Came::Answered(Answer { what: Some(answer::What::Reply(bytes)), .. }) => {
                let changed = Done::decode(bytes.as_slice()).unwrap().changed;
                self.acknowledged.lock().unwrap().push(id);
                let act = expected.map_or(Act::Write(id), |expected| Act::Swap(expected, id, changed));
                self.record(key, act, called, true);
            }
            Came::Answered(other) => panic!("an operation was refused: {other:?}"),
            Came::NotServed(_) => {}
            Came::Unknown(_) => {
                let act = expected.map_or(Act::Write(id), |expected| Act::SwapUnknown(expected, id));
                self.record(key, act, called, false);
            }
        }
    }

    fn event(&self) -> u64 {
        let mut events = self.events.lock().unwrap();
        *events += 1;
        *events
    }

    fn record(&self, key: u64, act: Act, called: u64, answered: bool) {
        self.group.net.count(if answered { "answer" } else { "unknown outcome" });
        let answered = answered.then(|| self.event());
        self.history.lock().unwrap().entry(key).or_default().push(Operation { act, called, answered });
    }

    /// A guess of a register's value, often right.
    fn last_written(&self, key: u64) -> u64 {
        let history = self.history.lock().unwrap();
        let written = history.get(&key).into_iter().flatten().rev().find_map(|operation| match operation.act {
            Act::Write(new) | Act::Swap(_, new, true) | Act::Read(new) => Some(new),
            _ => None,
        });
        written.unwrap_or_default()
    }
}

fn patience() -> Duration {
    Duration::from_millis(300 + below(1_500))
}

/// Asks `member` to have a command carried out.
pub(crate) async fn propose(
    member: &Member<SimRuntime>,
    client: u64,
    sequence: u64,
    command: &Command,
    within: Duration,
) -> Came {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&client.to_le_bytes());
    member.carry_out(Proposal { client: id.to_vec(), sequence, command: command.encode_to_vec() }, within).await
}
