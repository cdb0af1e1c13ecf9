//! The simulated network: drops, delays, repeats and reorders messages, and cuts ways in one direction or both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::AsyncRuntime as _;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use super::executor::{below, chance, elapsed, spawn_as};
use super::runtime::SimRuntime;
use crate::member::Member;
use crate::network::{Exchange, Transport, TransportError};
use crate::types::MemberId;
use crate::wire::{AppendResponse, Reply, Request, append_response, reply, request};

#[derive(Default)]
pub(crate) struct Weather {
    /// Ways that are cut, from and to.
    pub(crate) cut: BTreeSet<(MemberId, MemberId)>,
    /// Chance that a message is lost, and that it arrives twice, percent.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// Longest delay, milliseconds.
    pub(crate) delay: u64,
    /// The same, where it is more.
    pub(crate) storm: u64,
    /// Planted fault: who sends entries that are lost is told that they arrived.
    pub(crate) flatters: bool,
}

pub(crate) struct Net {
    pub(crate) weather: Mutex<Weather>,
    members: Mutex<BTreeMap<MemberId, Member<SimRuntime>>>,
    /// Who led each term.
    leaders: Mutex<BTreeMap<u64, MemberId>>,
    /// Who wants to know of votes that are granted.
    votes: Mutex<Option<mpsc::UnboundedSender<MemberId>>>,
    /// Digest of all that was sent, and when.
    trace: Mutex<u32>,
    /// How often what happened.
    events: Mutex<Events>,
    /// Messages on each way: the last that left, and the last that arrived.
    ways: Mutex<BTreeMap<(MemberId, MemberId), (u64, u64)>>,
}

/// How often what happened.
pub(crate) type Events = BTreeMap<&'static str, u64>;

/// A delay that shows, milliseconds.
const LATE: u64 = 20;

impl Net {
    pub(crate) fn new() -> Arc<Net> {
        Arc::new(Net {
            weather: Mutex::new(Weather { delay: 3, ..Weather::default() }),
            members: Mutex::default(),
            leaders: Mutex::default(),
            votes: Mutex::default(),
            trace: Mutex::default(),
            events: Mutex::default(),
            ways: Mutex::default(),
        })
    }

    pub(crate) fn attach(&self, member: Member<SimRuntime>) {
        self.members.lock().unwrap().insert(member.id(), member);
    }

    pub(crate) fn detach(&self, id: MemberId) {
        let gone = self.members.lock().unwrap().remove(&id);
        drop(gone);
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<Member<SimRuntime>> {
        self.members.lock().unwrap().get(&id).cloned()
    }

    pub(crate) fn members(&self) -> Vec<Member<SimRuntime>> {
        self.members.lock().unwrap().values().cloned().collect()
    }

    pub(crate) fn tell_of_votes(&self, who: mpsc::UnboundedSender<MemberId>) {
        *self.votes.lock().unwrap() = Some(who);
    }

    pub(crate) fn tell_nobody_of_votes(&self) {
        *self.votes.lock().unwrap() = None;
    }

    /// Lets go of all members, which hold the network themselves.
    pub(crate) fn clear(&self) {
        let members = std::mem::take(&mut *self.members.lock().unwrap());
        drop(members);
    }

    pub(crate) fn trace(&self) -> u32 {
        *self.trace.lock().unwrap()
    }

    pub(crate) fn note(&self, bytes: &[u8]) {
        let mut trace = self.trace.lock().unwrap();
        *trace = crc32c::crc32c_append(*trace, &elapsed().as_nanos().to_le_bytes());
        *trace = crc32c::crc32c_append(*trace, bytes);
    }

    pub(crate) fn count(&self, event: &'static str) {
        *self.events.lock().unwrap().entry(event).or_default() += 1;
    }

    pub(crate) fn events(&self) -> Events {
        self.events.lock().unwrap().clone()
    }

    /// Messages and replies that left on a way so far.
    pub(crate) fn sent(&self, from: MemberId, to: MemberId) -> u64 {
        self.ways.lock().unwrap().get(&(from, to)).map_or(0, |(left, _)| *left)
    }

    /// Whether a message is lost on its way.
    fn is_lost(&self, from: MemberId, to: MemberId) -> bool {
        let weather = self.weather.lock().unwrap();
        let (cut, lost) = (weather.cut.contains(&(from, to)), chance(weather.lost));
        drop(weather);
        if cut {
            self.count("message cut off");
        } else if lost {
            self.count("message lost");
        }
        cut || lost
    }

    async fn travel(&self, from: MemberId, to: MemberId) {
        let number = {
            let mut ways = self.ways.lock().unwrap();
            let (left, _) = ways.entry((from, to)).or_default();
            *left += 1;
            *left
        };
        let most = {
            let weather = self.weather.lock().unwrap();
            weather.delay.max(weather.storm)
        };
        let delay = 50 + below(most * 1000);
        if delay > LATE * 1000 {
            self.count("message late");
        }
        SimRuntime::sleep(Duration::from_micros(delay)).await;
        let mut ways = self.ways.lock().unwrap();
        let (_, arrived) = ways.entry((from, to)).or_default();
        if *arrived > number {
            self.count("message overtaken");
        }
        *arrived = number.max(*arrived);
    }

    /// Only a leader sends entries, and in each term there is one.
    fn judge(&self, from: MemberId, request: &Request) {
        if let Some(request::What::Append(append)) = &request.what {
            let term = append.ballot.as_ref().unwrap().term;
            let leader = *self.leaders.lock().unwrap().entry(term).or_insert(from);
            assert_eq!(leader, from, "term {term} has two leaders");
        }
    }
}

/// A member's way to the others.
pub(crate) struct SimTransport {
    pub(crate) from: MemberId,
    pub(crate) net: Arc<Net>,
}

impl Transport for SimTransport {
    fn exchange(&self, target: MemberId, _: &str, request: Request) -> Exchange {
        let (from, net) = (self.from, Arc::clone(&self.net));
        Box::pin(async move {
            net.judge(from, &request);
            net.note(&[from as u8, target as u8]);
            net.note(&request.encode_to_vec());
            if let Some(request::What::Append(append)) = &request.what
                && append.commit.is_none()
                && append.previous.is_some()
                && !append.entries.is_empty()
            {
                net.count("entries sent ahead");
            }
            let (answer, wait) = oneshot::channel();
            let twice = net.weather.lock().unwrap().twice;
            if twice > 0 && chance(twice) {
                net.count("message repeated");
                deliver(Arc::clone(&net), from, target, request.clone(), None);
            }
            deliver(Arc::clone(&net), from, target, request, Some(answer));
            let lost = |reason: &str| TransportError::Lost { target, reason: reason.to_owned() };
            match SimRuntime::timeout(Duration::from_secs(1), wait).await {
                Ok(Ok(reply)) => Ok(reply),
                // It ended before it replied.
                Ok(Err(_)) => Err(lost("the connection broke")),
                Err(_) => Err(lost("there was no reply")),
            }
        })
    }
}

/// Brings a request to its target, and its reply back, each if it is not lost.
fn deliver(net: Arc<Net>, from: MemberId, to: MemberId, request: Request, answer: Option<oneshot::Sender<Reply>>) {
    drop(spawn_as(0, async move {
        net.travel(from, to).await;
        let lost = net.is_lost(from, to);
        let Some(member) = net.member(to).filter(|_| !lost) else {
            if let (Some(request::What::Append(_)), true) = (&request.what, net.weather.lock().unwrap().flatters) {
                let outcome = Some(append_response::Outcome::Success(true));
                let reply = Reply { what: Some(reply::What::Append(AppendResponse { outcome })) };
                if let Some(answer) = answer {
                    drop(answer.send(reply));
                }
                return;
            }
            // Nobody says that it was lost.
            SimRuntime::sleep(Duration::from_secs(2)).await;
            drop(answer);
            return;
        };
        // What a member replied is on its way, whatever becomes of the member.
        let Ok(reply) = spawn_as(to, async move { member.serve(request).await }).await else { return };
        if let Some(reply::What::Vote(vote)) = &reply.what
            && vote.granted
            && let Some(told) = net.votes.lock().unwrap().as_ref()
        {
            let _ = told.send(to);
        }
        net.travel(to, from).await;
        if !net.is_lost(to, from)
            && let Some(answer) = answer
        {
            net.note(&reply.encode_to_vec());
            drop(answer.send(reply));
        }
    }));
}
