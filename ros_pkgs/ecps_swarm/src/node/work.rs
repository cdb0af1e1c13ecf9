//! What this robot does with its tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_consensus::Outcome as Came;
use ecps_core::clock::{RosClock as _, Steady};
use ecps_ros::GoalId;

use super::drive::{self, Driver, NAVIGATE};
use super::{Shared, lock, now};
use crate::agents::Agent;
use crate::tasks::{self, Code, Command, Do, HOLD, Mine, Outcome, Report, What, Worker};

/// Between two looks at the queue while there is something to do.
const PERIOD: Duration = Duration::from_millis(50);
/// And while there is not.
const IDLE: Duration = Duration::from_millis(500);
/// And while robots move by a behaviour, which they do only as long as a quorum is reached.
const MOVING: Duration = Duration::from_millis(200);
/// How long a claim or a report may take; then it is sent again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The robot's part of the queue.
pub(super) struct Work {
    me: String,
    epoch: u64,
    active: AtomicBool,
    worker: Mutex<Worker>,
    /// Ids of all that it holds, those that others on this robot carry out included.
    held: Mutex<Vec<String>>,
    /// When a quorum last confirmed what it holds, and why not since.
    confirmed: Mutex<(Option<Steady>, String)>,
    odom_frame: Mutex<String>,
    driver: Arc<Driver>,
    goals: Mutex<BTreeMap<u64, GoalId>>,
}

impl Work {
    pub(super) fn new(agent: &Agent, driver: Driver) -> Work {
        Work {
            me: agent.id.clone(),
            epoch: agent.epoch,
            active: AtomicBool::new(false),
            worker: Mutex::default(),
            held: Mutex::default(),
            confirmed: Mutex::default(),
            odom_frame: Mutex::default(),
            driver: Arc::new(driver),
            goals: Mutex::default(),
        }
    }

    pub(super) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// The frame of this robot's odometry, as that names it.
    pub(super) fn know_odom_frame(&self, frame: &str) {
        let mut known = lock(&self.odom_frame);
        if *known != frame {
            frame.clone_into(&mut known);
        }
    }

    pub(super) fn odom_frame(&self) -> String {
        lock(&self.odom_frame).clone()
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Worker) -> T) -> T {
        change(&mut lock(&self.worker))
    }

    pub(super) fn held(&self) -> Vec<String> {
        lock(&self.held).clone()
    }

    /// When a quorum last confirmed, and why not since.
    pub(super) fn confirmed(&self) -> (Option<Steady>, String) {
        lock(&self.confirmed).clone()
    }
}

/// Looks what is this robot's, and does it, as long as the node runs.
pub(super) async fn work(shared: Arc<Shared>) {
    let mut seen = None;
    let mut looked = now();
    tokio::spawn(watch(Arc::clone(&shared)));
    loop {
        tokio::time::sleep(PERIOD).await;
        let applied = shared.group.applied();
        let idle = lock(&shared.work.held).is_empty() && seen == Some(applied);
        let pause = if shared.moves() { MOVING } else { IDLE };
        if idle && now().since(looked) < pause {
            continue;
        }
        let (me, epoch) = (shared.work.me.clone(), shared.work.epoch);
        let asked = now();
        looked = asked;
        match shared.group.read(HOLD, move |database| tasks::held_by(database, &me, epoch)).await {
            Ok(held) => {
                seen = Some(applied);
                *lock(&shared.work.confirmed) = (Some(asked), String::new());
                *lock(&shared.work.held) = held.iter().map(|entry| entry.task.id.clone()).collect();
                // An inactive node moves nothing: what it had under way stops.
                let active = shared.work.is_active();
                let ours = held.into_iter().filter(|entry| active && entry.task.kind == NAVIGATE);
                let mine = ours.map(Mine::from).collect();
                let todo = shared.work.with(|worker| worker.see(mine, asked, now()));
                act(&shared, todo);
            }
            Err(reason) => lock(&shared.work.confirmed).1 = reason,
        }
    }
}

/// Lets time pass for the worker, also while a look at the queue takes long.
async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERIOD / 2).await;
        let todo = shared.work.with(|worker| worker.tick(now()));
        act(&shared, todo);
    }
}

/// Does what the worker says. On a thread of the runtime.
pub(super) fn act(shared: &Arc<Shared>, todo: Vec<Do>) {
    for what in todo {
        match what {
            Do::Claim(task, award) => {
                let report = Report { task, award, outcome: Outcome::Running.into(), ..Report::default() };
                tokio::spawn(claim(Arc::clone(shared), report));
            }
            Do::Begin(task, award) => {
                let goal = GoalId(uuid::Uuid::now_v7().into_bytes());
                tracing::info!("task '{}', award {award}: begun", task.id);
                lock(&shared.work.goals).insert(award, goal);
                drive::begin(Arc::clone(shared), Arc::clone(&shared.work.driver), *task, award, goal);
            }
            Do::Stop(task, award) => {
                tracing::warn!("task '{task}', award {award}: stopped, since it is not confirmed to be this robot's");
                if let Some(goal) = lock(&shared.work.goals).remove(&award) {
                    drive::stop(Arc::clone(&shared.work.driver), goal);
                }
            }
            Do::Report(task, award, outcome, result) => {
                lock(&shared.work.goals).remove(&award);
                let report = Report { task, award, outcome: outcome.into(), progress: 1.0, result };
                tokio::spawn(report_end(Arc::clone(shared), report));
            }
        }
    }
}

/// Boxed, since what follows may be another claim.
fn claim(shared: Arc<Shared>, report: Report) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (award, asked) = (report.award, now());
        let command = Command::new(shared.clock.now(), What::Report(report));
        let accepted = match shared.group.propose(&command, PATIENCE).await {
            Came::Applied { reply, .. } => Some(reply.code() == Code::Done),
            Came::Refused(_) | Came::Unknown(_) => None,
        };
        let todo = shared.work.with(|worker| worker.claimed(award, accepted, asked, now()));
        act(&shared, todo);
    })
}

fn report_end(shared: Arc<Shared>, report: Report) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let award = report.award;
        let command = Command::new(shared.clock.now(), What::Report(report));
        let answered = match shared.group.propose(&command, PATIENCE).await {
            Came::Applied { reply, .. } => {
                if reply.code() != Code::Done {
                    tracing::warn!("a report does not count: {}", reply.message);
                }
                true
            }
            Came::Refused(_) | Came::Unknown(_) => false,
        };
        let todo = shared.work.with(|worker| worker.reported(award, answered, now()));
        act(&shared, todo);
    })
}
