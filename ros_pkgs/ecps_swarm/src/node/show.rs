//! What the coordinator shows: `~/agents`, `~/tasks`, `~/leader`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_core::clock::{RosClock as _, Steady};
use ecps_ros::r2r::ecps_msgs::msg::{SwarmAgents, SwarmLeader, SwarmTasks};
use ecps_ros::r2r::std_msgs::msg::Header;

use super::convert::{entry_to_ros, peer_to_ros};
use super::{Coordinator, lock, now};
use crate::agents::Health;
use crate::tasks;

/// Agents and leader are told at least this often.
const USUALLY: Duration = Duration::from_secs(1);
/// Tasks are told at most this often.
const TASKS: Duration = Duration::from_millis(100);
/// Most tasks told.
const MOST: usize = 1_000;
/// Without a quorum's word for so long the agent counts as cut off.
const DEGRADED: Duration = Duration::from_secs(2);

const QUORUM: u8 = 0;
const CUT_OFF: u8 = 1;
const STARTING: u8 = 2;

/// What was shown last, and when.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) agents_changed: bool,
    agents: Option<Steady>,
    leader: Option<(Steady, SwarmLeader)>,
    /// Index that the tasks were read after, and when; the reading may still be under way.
    tasks: Option<(u64, Steady)>,
    reading: Arc<Mutex<bool>>,
}

fn is_due(last: Option<Steady>, period: Duration) -> bool {
    last.is_none_or(|last| now().since(last) >= period)
}

impl Coordinator {
    pub(super) fn show(&mut self) {
        if self.shown.agents_changed || is_due(self.shown.agents, USUALLY) {
            (self.shown.agents_changed, self.shown.agents) = (false, Some(now()));
            self.show_agents();
        }
        self.show_leader();
        self.show_tasks();
    }

    pub(super) fn header(&self) -> Header {
        Header { stamp: ecps_ros::time(self.shared.clock.now()), frame_id: self.shared.settings.bounds.frame.clone() }
    }

    fn show_agents(&self) {
        let (at, stamp) = (now(), self.shared.clock.now());
        let registry = lock(&self.shared.registry);
        let message = SwarmAgents {
            header: self.header(),
            agents: registry.peers().map(|peer| peer_to_ros(peer, at, stamp)).collect(),
            refusal_reasons: registry.refusals().keys().map(|&reason| reason.to_owned()).collect(),
            refusal_counts: registry.refusals().values().copied().collect(),
        };
        drop(registry);
        self.agents.publish(&message);
    }

    fn show_leader(&mut self) {
        let status = self.shared.group.status();
        let voters = &self.shared.settings.voters;
        let (confirmed, reason) = self.shared.work.confirmed();
        let mode = match confirmed {
            None => STARTING,
            Some(confirmed) if now().since(confirmed) > DEGRADED => CUT_OFF,
            Some(_) => QUORUM,
        };
        let registry = lock(&self.shared.registry);
        let is_reachable = |voter: &&String| registry.get(voter).is_some_and(|peer| peer.health == Health::Alive);
        let leader = status.leader.filter(|_| mode == QUORUM);
        let place = leader.and_then(|id| usize::try_from(id).ok()?.checked_sub(1));
        let message = SwarmLeader {
            mode,
            reason: if mode == QUORUM { String::new() } else { reason },
            leader: place.and_then(|place| voters.get(place)).cloned().unwrap_or_default(),
            term: status.term,
            voters: voters.clone(),
            reachable: voters.iter().filter(is_reachable).cloned().collect(),
            committed: status.applied.map_or(0, |id| id.index),
            ..SwarmLeader::default()
        };
        drop(registry);
        // The index alone is no news: the tasks' topic tells it.
        let same =
            |(_, last): &(Steady, SwarmLeader)| SwarmLeader { committed: last.committed, ..message.clone() } == *last;
        let is_news = !self.shown.leader.as_ref().is_some_and(same);
        if is_news || is_due(self.shown.leader.as_ref().map(|(at, _)| *at), USUALLY) {
            self.leader.publish(&SwarmLeader { header: self.header(), ..message.clone() });
            self.shown.leader = Some((now(), message));
        }
    }

    /// Reads and tells the tasks on another thread, once they may have changed.
    fn show_tasks(&mut self) {
        let applied = self.shared.group.applied();
        let (last, at) = self.shown.tasks.unzip();
        if last == Some(applied) || !is_due(at, TASKS) || std::mem::replace(&mut *lock(&self.shown.reading), true) {
            return;
        }
        self.shown.tasks = Some((applied, now()));
        let (shared, publisher, header) = (Arc::clone(&self.shared), self.tasks.clone(), self.header());
        let reading = Arc::clone(&self.shown.reading);
        let Some(runtime) = &self.runtime else { return };
        runtime.spawn(async move {
            match shared.group.read_stale(|database| tasks::newest(database, MOST)).await {
                Ok((entries, counts)) => publisher.publish(&SwarmTasks {
                    header,
                    log_index: applied,
                    tasks: tasks::shortened(entries, &shared.settings.agent.id).into_iter().map(entry_to_ros).collect(),
                    counts: counts.to_vec(),
                }),
                Err(reason) => tracing::error!("the tasks cannot be read: {reason}"),
            }
            *lock(&reading) = false;
        });
    }
}
