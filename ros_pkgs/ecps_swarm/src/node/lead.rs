//! What this coordinator does while its member leads.

use std::collections::BTreeSet;
use std::sync::Arc;
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

/// Decides, as long as the node runs, whenever its member leads.
pub(super) async fn lead(shared: Arc<Shared>) {
    let mut dispatcher: Option<Dispatcher> = None;
    let mut joining = BTreeSet::new();
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(epoch) = shared.group.leads() else {
            dispatcher = None;
            joining.clear();
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
        take_in_learners(&shared, &mut joining);
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

/// Makes learners of the coordinators that are heard and do not belong to the group yet.
fn take_in_learners(shared: &Arc<Shared>, joining: &mut BTreeSet<MemberId>) {
    let membership = shared.group.status().membership.unwrap_or_default();
    let known: BTreeSet<MemberId> = membership.nodes.keys().copied().collect();
    let new: Vec<(MemberAt, String)> = lock(&shared.registry)
        .peers()
        .filter(|peer| !peer.is_gone())
        .filter_map(|peer| Some((peer.agent.member.clone()?, peer.agent.id.clone())))
        .filter(|(at, _)| !known.contains(&at.id))
        .collect();
    for (at, name) in new {
        if !joining.insert(at.id) {
            continue;
        }
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            match shared.group.add_learner(&at, &name).await {
                Ok(()) => tracing::info!("agent '{name}' learns along as member {}", at.id),
                Err(reason) => tracing::warn!("agent '{name}' cannot learn along: {reason}"),
            }
        });
    }
}
