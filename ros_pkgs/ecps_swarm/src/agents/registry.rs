//! All agents of a swarm, as one of them hears them.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::check::CheckError;
use ecps_core::clock::Steady;
use nalgebra::{Isometry3, Vector3};
use thiserror::Error;

use super::agent::Agent;
use super::phi::PhiAccrual;

/// Suspicion from which on an agent is given nothing new.
const SUSPECT: f64 = 3.0;
/// Suspicion from which on its tasks go to others: it is late once in a million.
const LOST: f64 = 6.0;
/// What a pose may move beyond what its speed allows, metres.
const SLACK: f64 = 1.0;
/// Messages in a row that agree on a new place before a jump there is believed: the robot was localised anew.
const AGREEING: u32 = 3;

/// What a registry takes.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Most agents. One more is refused, unless another is gone.
    pub agents: usize,
    /// Silence after which an agent is lost, however unpunctual it was.
    pub lease: Duration,
    /// Fastest that an agent can be, m/s; a pose that moved faster has jumped.
    pub max_speed: f64,
    /// The swarm's frame.
    pub frame: String,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { agents: 256, lease: Duration::from_secs(60), max_speed: 4.0, frame: "map".to_owned() }
    }
}

/// How an agent is, as we hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Heard in time.
    Alive,
    /// Late: nothing new is given to it.
    Suspect,
    /// Its tasks go to others.
    Lost,
    /// It said good-bye.
    Left,
}

/// What a message brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An agent that was not known.
    Joined,
    /// A known one, started anew: what it was given before it knows no more.
    Restarted,
    /// One that was thought lost.
    Returned,
    /// Nothing but that it is there.
    Beat,
    /// It is there, but its pose jumped, and the one before is kept.
    Jumped,
    /// Its good-bye.
    Left,
}

/// Why a message was refused. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum HearError {
    /// Not finite, out of range, or too much.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// From a start before the latest.
    #[error("agent '{id}' speaks of epoch {epoch}, and epoch {known} was heard")]
    OldEpoch {
        /// Who.
        id: String,
        /// Its message's.
        epoch: u64,
        /// The latest heard.
        known: u64,
    },
    /// Repeated, overtaken, or after a good-bye.
    #[error("message {sequence} of agent '{id}' came after message {known}")]
    OldSequence {
        /// Who.
        id: String,
        /// Its message's.
        sequence: u64,
        /// The latest heard.
        known: u64,
    },
    /// It said good-bye and has to start anew.
    #[error("agent '{id}' left in epoch {epoch} and has to come back with a later one")]
    AfterLeaving {
        /// Who.
        id: String,
        /// The epoch it left in.
        epoch: u64,
    },
    /// In another frame than the swarm's.
    #[error("agent '{id}' tells its pose in frame '{frame}', and the swarm's is '{expected}'")]
    Frame {
        /// Who.
        id: String,
        /// Its frame.
        frame: String,
        /// The swarm's.
        expected: String,
    },
    /// As many as there may be.
    #[error("agent '{id}' is one too many: {limit} are known and none of them is gone")]
    Full {
        /// Who.
        id: String,
        /// How many there may be.
        limit: usize,
    },
}

impl HearError {
    /// One word for it, as counters name it.
    pub fn reason(&self) -> &'static str {
        match self {
            HearError::Invalid(_) => "invalid",
            HearError::OldEpoch { .. } => "old_epoch",
            HearError::OldSequence { .. } => "old_sequence",
            HearError::AfterLeaving { .. } => "after_leaving",
            HearError::Frame { .. } => "frame",
            HearError::Full { .. } => "full",
        }
    }
}

/// Messages refused, by reason.
pub type Refusals = BTreeMap<&'static str, u64>;

/// One agent, and what is known of its punctuality.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its latest message, with the last pose that was told and is believed.
    pub agent: Agent,
    /// When that came.
    pub heard: Steady,
    /// As of the last look.
    pub health: Health,
    detector: PhiAccrual,
    /// The last place that was believed, and when it came.
    placed: Option<(Vector3<f64>, Steady)>,
    /// The place where it says it jumped to, and how many messages in a row agree.
    jumped: Option<(Vector3<f64>, Steady, u32)>,
}

impl Peer {
    /// Suspicion now.
    pub fn phi(&self, now: Steady) -> f64 {
        self.detector.phi(now.since(self.heard), self.agent.phase.heartbeat())
    }

    /// How old its place is; none where it never told one.
    pub fn place_age(&self, now: Steady) -> Option<Duration> {
        self.placed.map(|(_, since)| now.since(since))
    }

    /// Whether its tasks are taken from it.
    pub fn is_gone(&self) -> bool {
        matches!(self.health, Health::Lost | Health::Left)
    }

    fn health_at(&self, now: Steady, lease: Duration) -> Health {
        let phi = self.phi(now);
        if self.health == Health::Left {
            Health::Left
        } else if phi >= LOST || now.since(self.heard) >= lease {
            Health::Lost
        } else if phi >= SUSPECT {
            Health::Suspect
        } else {
            Health::Alive
        }
    }

    /// Whether the pose is taken over: unless it jumped.
    fn believes(&mut self, pose: Option<&Isometry3<f64>>, now: Steady, max_speed: f64) -> bool {
        let Some(place) = pose.map(|pose| pose.translation.vector) else { return true };
        let reachable = |from: &Vector3<f64>, since: Steady| {
            (place - from).norm() <= max_speed * now.since(since).as_secs_f64() + SLACK
        };
        if self.placed.is_none_or(|(known, since)| reachable(&known, since)) {
            (self.placed, self.jumped) = (Some((place, now)), None);
            return true;
        }
        let agreeing = match &self.jumped {
            Some((to, since, agreeing)) if reachable(to, *since) => agreeing + 1,
            _ => 1,
        };
        if agreeing >= AGREEING {
            (self.placed, self.jumped) = (Some((place, now)), None);
        } else {
            self.jumped = Some((place, now, agreeing));
        }
        agreeing >= AGREEING
    }
}

/// All agents that were heard. Ages are of the steady clock that is handed in; stamps in messages decide nothing.
///
/// ```
/// use ecps_core::clock::Steady;
/// use ecps_swarm::agents::{Agent, Bounds, Health, Heard, Registry};
/// use std::time::Duration;
///
/// let mut registry = Registry::new(Bounds::default());
/// assert_eq!(registry.hear(Agent::new("robot1", 1), Steady::default()), Ok(Heard::Joined));
/// let changes = registry.look(Steady(Duration::from_secs(60)));
/// assert_eq!(changes, [("robot1".to_owned(), Health::Lost)]);
/// ```
#[derive(Debug)]
pub struct Registry {
    bounds: Bounds,
    peers: BTreeMap<String, Peer>,
    refusals: Refusals,
}

impl Registry {
    /// Nobody yet.
    pub fn new(bounds: Bounds) -> Registry {
        Registry { bounds, peers: BTreeMap::new(), refusals: Refusals::new() }
    }

    /// Takes a message that came now.
    ///
    /// # Errors
    /// Where it is refused, which is counted.
    pub fn hear(&mut self, agent: Agent, now: Steady) -> Result<Heard, HearError> {
        let heard = self.take(agent, now);
        if let Err(error) = &heard {
            self.refuse(error.reason());
        }
        heard
    }

    /// Counts a message that was refused before it came here.
    pub fn refuse(&mut self, reason: &'static str) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    fn take(&mut self, mut agent: Agent, now: Steady) -> Result<Heard, HearError> {
        agent.check()?;
        let id = agent.id.clone();
        if agent.frame != self.bounds.frame {
            return Err(HearError::Frame { id, frame: agent.frame, expected: self.bounds.frame.clone() });
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            if self.peers.len() >= self.bounds.agents {
                self.make_room().ok_or(HearError::Full { id: id.clone(), limit: self.bounds.agents })?;
            }
            let health = if agent.leaving { Health::Left } else { Health::Alive };
            let detector = PhiAccrual::default();
            let placed = agent.pose.map(|pose| (pose.translation.vector, now));
            self.peers.insert(id, Peer { agent, heard: now, health, detector, placed, jumped: None });
            return Ok(if health == Health::Left { Heard::Left } else { Heard::Joined });
        };
        let (epoch, sequence) = (peer.agent.epoch, peer.agent.sequence);
        if agent.epoch < epoch {
            return Err(HearError::OldEpoch { id, epoch: agent.epoch, known: epoch });
        }
        let restarted = agent.epoch > epoch;
        if !restarted && peer.health == Health::Left {
            return Err(HearError::AfterLeaving { id, epoch });
        }
        if !restarted && agent.sequence <= sequence {
            return Err(HearError::OldSequence { id, sequence: agent.sequence, known: sequence });
        }
        let lost = peer.health == Health::Lost;
        if restarted || lost {
            peer.detector = PhiAccrual::default();
        } else {
            peer.detector.record(now.since(peer.heard), peer.agent.phase.heartbeat());
        }
        if restarted {
            // It may have been carried anywhere meanwhile.
            (peer.placed, peer.jumped) = (None, None);
        }
        let believed = peer.believes(agent.pose.as_ref(), now, self.bounds.max_speed);
        if !believed || agent.pose.is_none() {
            // Where it was last is better than nothing; how long ago that was is told besides.
            agent.pose = peer.placed.and(peer.agent.pose);
        }
        peer.health = if agent.leaving { Health::Left } else { Health::Alive };
        (peer.agent, peer.heard) = (agent, now);
        Ok(match (peer.health, believed) {
            (Health::Left, _) => Heard::Left,
            _ if restarted => Heard::Restarted,
            _ if lost => Heard::Returned,
            (_, false) => Heard::Jumped,
            (_, true) => Heard::Beat,
        })
    }

    /// Forgets the one that is gone for the longest time.
    fn make_room(&mut self) -> Option<()> {
        let gone = self.peers.values().filter(|peer| peer.is_gone());
        let oldest = gone.min_by_key(|peer| peer.heard)?.agent.id.clone();
        self.peers.remove(&oldest).map(drop)
    }

    /// Judges everybody's silence, and returns whose health changed.
    pub fn look(&mut self, now: Steady) -> Vec<(String, Health)> {
        let mut changes = Vec::new();
        for (id, peer) in &mut self.peers {
            let health = peer.health_at(now, self.bounds.lease);
            // Only a message makes well again who was lost.
            if health != peer.health && peer.health != Health::Lost {
                peer.health = health;
                changes.push((id.clone(), health));
            }
        }
        changes
    }

    /// One agent, if it was ever heard.
    pub fn get(&self, id: &str) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// All of them, by id.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// Messages refused since the start.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}

#[cfg(test)]
mod tests {
    use super::super::agent::Phase;
    use super::*;

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    fn working(id: &str, epoch: u64, sequence: u64) -> Agent {
        Agent { sequence, phase: Phase::Executing, ..Agent::new(id, epoch) }
    }

    fn placed(sequence: u64, x: f64) -> Agent {
        Agent { pose: Some(Isometry3::translation(x, 0.0, 0.0)), ..working("a", 1, sequence) }
    }

    #[test]
    fn an_agent_that_falls_silent_in_mid_task_is_lost_within_two_heartbeats() {
        let mut registry = Registry::new(Bounds::default());
        for beat in 0..20 {
            registry.hear(working("a", 1, beat), at(beat * 500)).unwrap();
            assert_eq!(registry.look(at(beat * 500 + 499)), [], "beat {beat}");
        }
        let lost = (0..1000).find(|ms| registry.look(at(19 * 500 + ms)).contains(&("a".to_owned(), Health::Lost)));
        assert!(lost.is_some_and(|ms| ms > 550), "{lost:?}");
        assert_eq!(registry.hear(working("a", 1, 20), at(11_000)), Ok(Heard::Returned));
        assert_eq!(registry.get("a").unwrap().health, Health::Alive);
    }

    #[test]
    fn an_agent_whose_messages_come_unevenly_is_gone_after_the_lease() {
        let mut registry = Registry::new(Bounds::default());
        let mut now = 0;
        for beat in 0..40 {
            now += if beat % 2 == 0 { 6_000 } else { 40_000 };
            registry.hear(Agent { sequence: beat + 1, ..Agent::new("a", 1) }, at(now)).unwrap();
        }
        assert!(registry.look(at(now + 50_000)).iter().all(|(_, health)| *health != Health::Lost));
        assert_eq!(registry.look(at(now + 60_000)), [("a".to_owned(), Health::Lost)]);
    }

    #[test]
    fn what_an_older_start_says_is_refused_and_counted() {
        let mut registry = Registry::new(Bounds::default());
        registry.hear(working("a", 2, 5), at(0)).unwrap();
        assert_eq!(registry.hear(working("a", 3, 0), at(100)), Ok(Heard::Restarted));
        let error = registry.hear(working("a", 2, 6), at(200)).unwrap_err();
        assert_eq!(error.to_string(), "agent 'a' speaks of epoch 2, and epoch 3 was heard");
        assert!(matches!(registry.hear(working("a", 3, 0), at(300)), Err(HearError::OldSequence { .. })));
        // Also once it is lost.
        registry.look(at(60_000));
        assert!(matches!(registry.hear(working("a", 2, 7), at(60_001)), Err(HearError::OldEpoch { .. })));
        assert_eq!(registry.refusals(), &Refusals::from([("old_epoch", 2), ("old_sequence", 1)]));
    }

    #[test]
    fn who_left_comes_back_with_a_later_epoch_only() {
        let mut registry = Registry::new(Bounds::default());
        registry.hear(working("a", 1, 0), at(0)).unwrap();
        assert_eq!(registry.hear(Agent { leaving: true, ..working("a", 1, 1) }, at(100)), Ok(Heard::Left));
        assert!(matches!(registry.hear(working("a", 1, 2), at(200)), Err(HearError::AfterLeaving { .. })));
        assert_eq!(registry.look(at(100_000)), [], "it is not lost besides");
        assert_eq!(registry.hear(working("a", 2, 0), at(100_100)), Ok(Heard::Restarted));
    }

    #[test]
    fn a_pose_that_jumps_is_not_believed_until_three_messages_agree_on_it() {
        let mut registry = Registry::new(Bounds::default());
        registry.hear(working("a", 1, 0), at(0)).unwrap();
        assert_eq!(registry.get("a").unwrap().place_age(at(5)), None);
        assert_eq!(registry.hear(placed(1, 50.0), at(10)), Ok(Heard::Beat), "its first place");
        registry = Registry::new(Bounds::default());
        // The origin is a place as any other.
        registry.hear(placed(0, 0.0), at(0)).unwrap();
        assert_eq!(registry.hear(placed(1, 50.0), at(10)), Ok(Heard::Jumped));
        registry = Registry::new(Bounds::default());
        registry.hear(placed(1, 0.5), at(0)).unwrap();
        assert_eq!(registry.hear(placed(2, 1.0), at(500)), Ok(Heard::Beat));
        let x = |registry: &Registry| registry.get("a").unwrap().agent.pose.unwrap().translation.x;
        for (sequence, there, heard) in
            [(3, 90.0, Heard::Jumped), (4, -90.0, Heard::Jumped), (5, -90.5, Heard::Jumped), (6, -91.0, Heard::Beat)]
        {
            assert_eq!(registry.hear(placed(sequence, there), at(sequence * 500)), Ok(heard), "message {sequence}");
            assert_eq!(x(&registry), if heard == Heard::Beat { there } else { 1.0 });
            let age = registry.get("a").unwrap().place_age(at(sequence * 500));
            let kept = if heard == Heard::Beat { 0 } else { sequence * 500 - 500 };
            assert_eq!(age, Some(Duration::from_millis(kept)), "message {sequence}");
        }
        // Nor by way of a message without a place, after which it is where it was.
        assert_eq!(registry.hear(working("a", 1, 7), at(3_010)), Ok(Heard::Beat));
        assert_eq!(x(&registry), -91.0);
        assert_eq!(registry.get("a").unwrap().place_age(at(3_015)), Some(Duration::from_millis(15)));
        assert_eq!(registry.hear(placed(8, 50.0), at(3_020)), Ok(Heard::Jumped));
        assert_eq!(registry.hear(placed(9, -91.0), at(3_030)), Ok(Heard::Beat));
        for poison in [f64::NAN, f64::INFINITY, 1e7] {
            assert!(matches!(registry.hear(placed(10, poison), at(3_500)), Err(HearError::Invalid(_))));
        }
        assert_eq!(x(&registry), -91.0);
        assert_eq!(registry.refusals(), &Refusals::from([("invalid", 3)]));
    }

    #[test]
    fn a_full_registry_makes_room_for_who_comes_only_where_somebody_is_gone() {
        let mut registry = Registry::new(Bounds { agents: 2, ..Bounds::default() });
        registry.hear(working("a", 1, 0), at(0)).unwrap();
        registry.hear(working("b", 1, 0), at(500)).unwrap();
        let refused = registry.hear(working("c", 1, 0), at(500)).unwrap_err();
        assert_eq!(refused.to_string(), "agent 'c' is one too many: 2 are known and none of them is gone");
        registry.hear(working("b", 1, 1), at(1_000)).unwrap();
        registry.look(at(1_400));
        assert_eq!(registry.hear(working("c", 1, 0), at(1_400)), Ok(Heard::Joined));
        assert!(registry.get("a").is_none() && registry.get("b").is_some());
    }

    #[test]
    fn another_frame_and_too_much_are_refused_by_name() {
        let mut registry = Registry::new(Bounds::default());
        let odom = Agent { frame: "odom".to_owned(), ..Agent::new("a", 1) };
        let error = registry.hear(odom, at(0)).unwrap_err().to_string();
        assert_eq!(error, "agent 'a' tells its pose in frame 'odom', and the swarm's is 'map'");
        let greedy = Agent { tasks: vec!["t".to_owned(); 6], ..Agent::new("a", 1) };
        assert!(registry.hear(greedy, at(0)).unwrap_err().to_string().contains("more than the 5 allowed"));
        assert_eq!(registry.peers().count(), 0);
    }
}
