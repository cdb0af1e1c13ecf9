//! The goals that a server knows, and what their clients wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_core::clock::{Steady, SteadyClock, SystemSteady};
use r2r::action_msgs::msg::{GoalInfo, GoalStatus, GoalStatusArray};
use r2r::builtin_interfaces::msg::Time;
use r2r::{ServiceRequest, WrappedActionTypeSupport};

use super::{GoalId, GoalOutcome};
use crate::interface::Action;
use crate::publisher::Publisher;
use crate::service::respond;

/// How long a result is kept for a client that asks late: rcl_action's default.
const RESULT_KEPT: Duration = Duration::from_secs(10);
/// Goals remembered; beyond that the oldest finished ones are forgotten early.
const GOALS_KEPT: usize = 1024;
/// Goals up to which every change of their status is published; with more, since each message holds all of them, changes are
/// gathered for [`GATHERING`].
const FEW: usize = 64;
/// See [`FEW`].
pub(super) const GATHERING: Duration = Duration::from_millis(100);

const EXECUTING: i8 = 2;
const CANCELING: i8 = 3;

pub(super) type SendGoalRequest<A> = ServiceRequest<<A as WrappedActionTypeSupport>::SendGoal>;
pub(super) type ResultRequest<A> = ServiceRequest<<A as WrappedActionTypeSupport>::GetResult>;

struct Entry<A: Action> {
    stamp: Time,
    admission: Admission<A>,
    stage: Stage<A>,
}

/// Whether the client was told that its goal is taken on.
enum Admission<A: Action> {
    /// Not yet; these requests (the first, and repetitions of it) wait for it.
    Waiting(Vec<SendGoalRequest<A>>),
    Told,
}

enum Stage<A: Action> {
    Running { status: i8, waiting: Vec<ResultRequest<A>> },
    Finished { outcome: GoalOutcome, result: A::Result, at: Steady },
}

impl<A: Action> Entry<A> {
    fn status(&self) -> i8 {
        match &self.stage {
            Stage::Running { status, .. } => *status,
            Stage::Finished { outcome, .. } => outcome.status(),
        }
    }
}

type Entries<A> = BTreeMap<GoalId, Entry<A>>;

/// When the goals' status was last published, and whether it has changed since.
struct Published {
    at: Steady,
    changed: bool,
}

/// One server's goals. Clones share them.
pub(super) struct Ledger<A: Action> {
    entries: Arc<Mutex<Entries<A>>>,
    published: Arc<Mutex<Published>>,
    feedback: Publisher<A::FeedbackMessage>,
    status: Publisher<GoalStatusArray>,
}

impl<A: Action> Clone for Ledger<A> {
    fn clone(&self) -> Self {
        Ledger {
            entries: Arc::clone(&self.entries),
            published: Arc::clone(&self.published),
            feedback: self.feedback.clone(),
            status: self.status.clone(),
        }
    }
}

impl<A: Action> Ledger<A> {
    pub(super) fn new(feedback: Publisher<A::FeedbackMessage>, status: Publisher<GoalStatusArray>) -> Ledger<A> {
        let published = Published { at: SystemSteady.now(), changed: false };
        Ledger { entries: Arc::default(), published: Arc::new(Mutex::new(published)), feedback, status }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<A>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a goal request; `None` when it repeats one that is known, which then gets the same answer.
    pub(super) fn take_in(&self, id: GoalId, stamp: Time, request: SendGoalRequest<A>) -> Option<()> {
        let mut entries = self.entries();
        match entries.get_mut(&id) {
            None => {
                let admission = Admission::Waiting(vec![request]);
                let stage = Stage::Running { status: EXECUTING, waiting: Vec::new() };
                entries.insert(id, Entry { stamp, admission, stage });
                Some(())
            }
            Some(Entry { admission: Admission::Waiting(requests), .. }) => {
                requests.push(request);
                None
            }
            Some(Entry { admission: Admission::Told, stamp, .. }) => {
                let stamp = stamp.clone();
                drop(entries);
                respond(request, A::make_goal_response_msg(true, stamp));
                None
            }
        }
    }

    /// Tells the client that its goal is taken on.
    pub(super) fn admit(&self, id: GoalId) {
        let (requests, stamp) = {
            let mut entries = self.entries();
            let Some(entry) = entries.get_mut(&id) else { return };
            match std::mem::replace(&mut entry.admission, Admission::Told) {
                Admission::Waiting(requests) => (requests, entry.stamp.clone()),
                Admission::Told => return,
            }
        };
        for request in requests {
            respond(request, A::make_goal_response_msg(true, stamp.clone()));
        }
        self.publish_status();
    }

    /// Tells the client that its goal is not taken on, and forgets it.
    pub(super) fn reject(&self, id: GoalId) {
        let entry = self.entries().remove(&id);
        if let Some(Entry { admission: Admission::Waiting(requests), stamp, .. }) = entry {
            for request in requests {
                respond(request, A::make_goal_response_msg(false, stamp.clone()));
            }
        }
    }

    pub(super) fn publish_feedback(&self, id: GoalId, feedback: A::Feedback) {
        self.feedback.publish(&A::make_feedback_msg(id.to_message(), feedback));
    }

    /// Ends a goal: every client that waits, and each that asks later, gets this result. The first end counts.
    pub(super) fn finish(&self, id: GoalId, outcome: GoalOutcome, result: A::Result) {
        let waiting = {
            let mut entries = self.entries();
            let Some(entry) = entries.get_mut(&id) else { return };
            let Stage::Running { waiting, .. } = &mut entry.stage else { return };
            let waiting = std::mem::take(waiting);
            entry.stage = Stage::Finished { outcome, result: result.clone(), at: SystemSteady.now() };
            waiting
        };
        for request in waiting {
            respond(request, A::make_result_response_msg(outcome.status(), result.clone()));
        }
        self.publish_status();
    }

    /// Publishes the status of all goals, now or, when there are many, with what else changes.
    pub(super) fn publish_status(&self) {
        let few = self.entries().len() <= FEW;
        {
            let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            let now = SystemSteady.now();
            published.changed = !few && now.since(published.at) < GATHERING;
            if published.changed {
                return;
            }
            published.at = now;
        }
        let status = |(id, entry): (&GoalId, &Entry<A>)| GoalStatus {
            goal_info: GoalInfo { goal_id: id.to_message(), stamp: entry.stamp.clone() },
            status: entry.status(),
        };
        let told = |(_, entry): &(&GoalId, &Entry<A>)| matches!(entry.admission, Admission::Told);
        let status_list = self.entries().iter().filter(told).map(status).collect();
        self.status.publish(&GoalStatusArray { status_list });
    }

    /// Publishes what was gathered. To be called every [`GATHERING`].
    pub(super) fn publish_gathered(&self) {
        let changed = self.published.lock().unwrap_or_else(PoisonError::into_inner).changed;
        if changed {
            self.publish_status();
        }
    }

    /// Answers with the result, at once or when there is one.
    pub(super) fn get_result(&self, id: Option<GoalId>, request: ResultRequest<A>) {
        let mut entries = self.entries();
        let response = match id.and_then(|id| entries.get_mut(&id)).map(|entry| &mut entry.stage) {
            // Status 0, unknown: the goal was never accepted or is forgotten.
            None => A::make_result_response_msg(0, A::Result::default()),
            Some(Stage::Running { waiting, .. }) => {
                waiting.push(request);
                return;
            }
            Some(Stage::Finished { outcome, result, .. }) => {
                A::make_result_response_msg(outcome.status(), result.clone())
            }
        };
        drop(entries);
        respond(request, response);
    }

    /// Running goals that a cancel request means: one id, all accepted up to a time, both, or all.
    pub(super) fn meant(&self, info: &GoalInfo) -> Vec<GoalId> {
        let any_id = info.goal_id.uuid.iter().all(|b| *b == 0);
        let any_time = info.stamp.sec == 0 && info.stamp.nanosec == 0;
        let up_to = crate::convert::stamp(&info.stamp);
        let meant = |(id, entry): &(&GoalId, &Entry<A>)| {
            let early = !any_time && crate::convert::stamp(&entry.stamp) <= up_to;
            let named = !any_id && id.0.as_slice() == info.goal_id.uuid.as_slice();
            matches!(entry.stage, Stage::Running { .. }) && ((any_id && any_time) || early || named)
        };
        self.entries().iter().filter(meant).map(|(id, _)| *id).collect()
    }

    pub(super) fn mark_canceling(&self, id: GoalId) -> Option<GoalInfo> {
        let mut entries = self.entries();
        let entry = entries.get_mut(&id)?;
        if let Stage::Running { status, .. } = &mut entry.stage {
            *status = CANCELING;
        }
        Some(GoalInfo { goal_id: id.to_message(), stamp: entry.stamp.clone() })
    }

    pub(super) fn is_canceling(&self, id: GoalId) -> bool {
        self.entries().get(&id).is_some_and(|entry| entry.status() == CANCELING)
    }

    /// Forgets results that nobody asked for in time.
    pub(super) fn forget_old(&self) {
        let now = SystemSteady.now();
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|_, entry| !matches!(&entry.stage, Stage::Finished { at, .. } if now.since(*at) > RESULT_KEPT));
        let surplus = entries.len().saturating_sub(GOALS_KEPT);
        if surplus > 0 {
            let finished = entries.iter().filter_map(|(id, entry)| match &entry.stage {
                Stage::Finished { at, .. } => Some((*at, *id)),
                Stage::Running { .. } => None,
            });
            let mut oldest: Vec<_> = finished.collect();
            oldest.sort_unstable();
            for (_, id) in oldest.into_iter().take(surplus) {
                entries.remove(&id);
            }
        }
        let changed = entries.len() != before;
        drop(entries);
        if changed {
            self.publish_status();
        }
    }
}
