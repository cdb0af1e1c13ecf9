//! What this coordinator does while its member leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ecps_consensus::{MemberId, Outcome};
use ecps_core::clock::RosClock as _;

use super::{Shared, lock, now};
use crate::agents::MemberAt;
use crate::dispatch::Dispatcher;
use crate::tasks::{self, Command};

/// Between two looks at the queue.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a look or a decision may take; then it is looked again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Within which one learner is taken in, or the next one is tried.
const JOINING: Duration = Duration::from_secs(5);

/// Decides, as long as the node runs, whenever its member leads.
pub(super) async fn lead(shared: Arc<Shared>) {
    let mut dispatcher: Option<Dispatcher> = None;
    let joining = Arc::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(epoch) = shared.group.leads() else {
            dispatcher = None;
            continue;
        };
        let settings = &shared.settings;
        let leading = match &mut dispatcher {
            Some(dispatcher) if dispatcher.epoch() == epoch => dispatcher,
            other => {
                tracing::info!("agent '{}' leads, in epoch {epoch}", settings.agent.id);
                other.insert(Dispatcher::new(epoch, settings.strategy, settings.speed, now()))
            }
        };
        take_in_learners(&shared, &joining);
        // Nothing is decided on what a quorum did not confirm.
        let Ok(open) = shared.group.read(PATIENCE, tasks::open).await else { continue };
        let decided = {
            let registry = lock(&shared.registry);
            leading.decide(&open, &registry, now(), shared.clock.now())
        };
        for what in decided {
            let command = Command::new(shared.clock.now(), what);
            match shared.group.propose(&command, PATIENCE).await {
                Outcome::Applied { reply, .. } if reply.code != 0 => tracing::info!("a decision: {}", reply.message),
                Outcome::Applied { .. } => {}
                other => tracing::warn!("a decision is not in the log yet: {other:?}"),
            }
        }
    }
}

/// Makes learners of the coordinators that are heard and do not belong to the group yet: one after the other, since the group takes one
/// change at a time, and again where that failed.
fn take_in_learners(shared: &Arc<Shared>, joining: &Arc<AtomicBool>) {
    let membership = shared.group.status().membership.unwrap_or_default();
    let known: BTreeSet<MemberId> = membership.nodes.keys().copied().collect();
    let new: Vec<(MemberAt, String)> = lock(&shared.registry)
        .peers()
        .filter(|peer| !peer.is_gone())
        .filter_map(|peer| Some((peer.agent.member.clone()?, peer.agent.id.clone())))
        .filter(|(at, _)| !known.contains(&at.id))
        .collect();
    if new.is_empty() || joining.swap(true, Ordering::Relaxed) {
        return;
    }
    let (shared, joining) = (Arc::clone(shared), Arc::clone(joining));
    tokio::spawn(async move {
        for (at, name) in new {
            match tokio::time::timeout(JOINING, shared.group.add_learner(&at, &name)).await {
                Ok(Ok(())) => tracing::info!("agent '{name}' learns along as member {}", at.id),
                Ok(Err(reason)) => tracing::warn!("agent '{name}' cannot learn along yet: {reason}"),
                Err(_) => tracing::warn!("agent '{name}' cannot learn along yet: that took longer than {JOINING:?}"),
            }
        }
        tokio::time::sleep(PERIOD).await;
        joining.store(false, Ordering::Relaxed);
    });
}
