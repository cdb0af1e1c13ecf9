//! What an application's sessions see of a group: outcomes, tokens, changes, and members that come and go.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime as _;
use rusqlite::Connection;

use super::disk::Lie;
use super::executor::{elapsed, run};
use super::group::Group;
use super::runtime::SimRuntime;
use crate::application::{Application, Erased, Outcome, Refusal, Session};
use crate::member::Member;
use crate::reads::ReadError;
use crate::types::Epoch;

const SOON: Duration = Duration::from_secs(10);
const SHORTLY: Duration = Duration::from_millis(500);

/// A valve that turns by one for whoever shows a token that is not older than one it has seen.
pub(super) struct Valve;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Turn {
    #[prost(uint64, tag = "1")]
    token: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Turned {
    #[prost(uint64, tag = "1")]
    turns: u64,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

impl Application for Valve {
    type Command = Turn;
    type Reply = Turned;

    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS valve (id INTEGER PRIMARY KEY CHECK (id = 0), turns INTEGER, token INTEGER);
             INSERT OR IGNORE INTO valve VALUES (0, 0, 0);",
        )
    }

    fn apply(&self, database: &Connection, epoch: Epoch, turn: Turn) -> rusqlite::Result<Result<Turned, String>> {
        // Changed before it is decided, so that a refusal has something to undo.
        database.execute("UPDATE valve SET turns = turns + 1", [])?;
        let (turns, newest) = state(database)?;
        if turn.token < newest {
            return Ok(Err(format!("token {} is older than {newest}", turn.token)));
        }
        database.execute("UPDATE valve SET token = ?", [turn.token as i64])?;
        Ok(Ok(Turned { turns, epoch }))
    }
}

/// Turns so far, and the newest token.
fn state(database: &Connection) -> rusqlite::Result<(u64, u64)> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
    database.query_row("SELECT turns, token FROM valve", [], row)
}

async fn turns(member: &Member<SimRuntime>) -> u64 {
    member.read(SOON, state).await.unwrap().unwrap().0
}

pub(super) fn session(member: &Member<SimRuntime>, client: u8) -> Session<SimRuntime, Valve> {
    Session::new(member.clone(), [client; 16])
}

/// Runs `scenario` on three members.
pub(super) fn on_three<F: Future<Output = ()> + Send + 'static>(seed: u64, scenario: impl FnOnce(Arc<Group>) -> F) {
    let group = Arc::new(Group::new(|| Box::new(Erased(Valve)), Lie::Nothing));
    let net = Arc::clone(&group.net);
    let begin = Arc::clone(&group);
    let scenario = scenario(group);
    run(seed, async move {
        begin.begin().await;
        begin.leader().await;
        scenario.await;
    });
    net.clear();
}

pub(super) fn applied(outcome: Outcome<Turned>) -> (Turned, u64, Epoch) {
    match outcome {
        Outcome::Applied { reply, index, epoch } => (reply, index, epoch),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_command_says_why_and_leaves_nothing_behind() {
    on_three(1, |group| async move {
        let leader = group.leader().await;
        let mut session = session(&leader, 1);
        let (reply, index, epoch) = applied(session.propose(&Turn { token: 7 }, SOON).await);
        assert_eq!((reply.turns, reply.epoch), (1, epoch));
        let refused = session.propose(&Turn { token: 6 }, SOON).await;
        assert_eq!(refused, Outcome::Refused(Refusal::Application("token 6 is older than 7".to_owned())));
        assert_eq!(leader.read(SOON, state).await.unwrap().unwrap(), (1, 7));
        let (reply, later, _) = applied(session.propose(&Turn { token: 7 }, SOON).await);
        assert!(reply.turns == 2 && later > index, "{reply:?}, {later} after {index}");
    });
}

#[test]
fn without_an_answer_in_time_the_outcome_is_unknown_and_asking_again_tells_it() {
    // In some worlds the command survives the change of leaders, in others it does not.
    for seed in 0..10 {
        on_three(seed, |group| async move {
            let old = group.leader().await;
            let mut session = session(&old, 1);
            assert_eq!(session.ask_again(SOON).await, None, "nothing is open yet");
            group.isolate(old.id());
            let begun = elapsed();
            let outcome = session.propose(&Turn::default(), SHORTLY).await;
            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
            assert!(elapsed() - begun < SHORTLY * 2, "{:?}", elapsed() - begun);
            // That nobody hears it now does not make it undone.
            let outcome = session.ask_again(SHORTLY).await;
            assert!(matches!(outcome, Some(Outcome::Unknown(_))), "{outcome:?}");
            group.heal();
            let (reply, ..) = applied(session.ask_again(SOON).await.unwrap());
            assert_eq!(reply.turns, 1);
            assert_eq!(session.ask_again(SOON).await, None, "it is known now");
            assert_eq!(turns(&group.leader().await).await, 1);
        });
    }
}

#[test]
fn where_no_leader_is_known_a_command_is_refused_and_a_read_as_well() {
    on_three(2, |group| async move {
        let leader = group.leader().await;
        let alone = group.running().into_iter().find(|id| *id != leader.id()).unwrap();
        group.running().into_iter().filter(|id| *id != alone).for_each(|id| group.crash(id));
        let member = group.member(alone);
        // It does not know yet that there is nobody.
        while member.leader().is_some() {
            SimRuntime::sleep(Duration::from_millis(10)).await;
        }
        let outcome = session(&member, 1).propose(&Turn::default(), SHORTLY).await;
        assert!(matches!(outcome, Outcome::Refused(Refusal::NotServed(_))), "{outcome:?}");
        let read = member.read(SHORTLY, state).await;
        assert!(matches!(read, Err(ReadError::NoQuorum { .. })), "{read:?}");
    });
}

#[test]
fn a_command_counts_once_through_whichever_member_and_under_whichever_leader_it_comes_again() {
    on_three(3, |group| async move {
        let first = group.leader().await;
        let one = session(&first, 1).propose(&Turn::default(), SOON).await;
        let (reply, index, epoch) = applied(one.clone());
        assert_eq!(reply.turns, 1);
        // The same client's first command, through each member in turn.
        for id in 1..=3 {
            assert_eq!(session(&group.member(id), 1).propose(&Turn::default(), SOON).await, one, "member {id}");
        }
        group.crash(first.id());
        let second = group.leader().await;
        assert_ne!(second.id(), first.id());
        assert_eq!(session(&second, 1).propose(&Turn::default(), SOON).await, one);
        // Another client's is another command.
        let (reply, later, newer) = applied(session(&second, 2).propose(&Turn::default(), SOON).await);
        assert!(reply.turns == 2 && later > index && newer > epoch, "{reply:?} {later} {newer}");
    });
}

#[test]
fn a_command_older_than_one_of_the_same_client_is_refused() {
    on_three(4, |group| async move {
        let leader = group.leader().await;
        let mut newer = session(&leader, 1);
        for _ in 0..2 {
            applied(newer.propose(&Turn::default(), SOON).await);
        }
        let outcome = session(&leader, 1).propose(&Turn::default(), SOON).await;
        let Outcome::Refused(Refusal::Application(reason)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(reason, "command 1 comes after command 2 of the same client");
        assert_eq!(turns(&leader).await, 2);
    });
}

#[test]
fn each_leader_has_a_higher_epoch_and_what_saw_it_refuses_the_one_before() {
    on_three(5, |group| async move {
        let old = group.leader().await;
        let before = old.leader().unwrap();
        let (reply, _, epoch) = applied(session(&old, 1).propose(&Turn { token: before.epoch }, SOON).await);
        assert_eq!((reply.epoch, epoch), (before.epoch, before.epoch));
        group.isolate(old.id());
        let new = loop {
            match group.net.members().into_iter().find(|m| m.leader().is_some_and(|l| l.id == m.id() && l != before)) {
                Some(member) => break member,
                None => SimRuntime::sleep(Duration::from_millis(10)).await,
            }
        };
        let after = new.leader().unwrap();
        assert!(after.epoch > before.epoch, "{after:?} after {before:?}");
        assert_eq!(old.leader(), Some(before), "it does not know yet, which is why there are tokens");
        applied(session(&new, 2).propose(&Turn { token: after.epoch }, SOON).await);
        group.heal();
        let stale = session(&old, 3).propose(&Turn { token: before.epoch }, SOON).await;
        assert!(matches!(stale, Outcome::Refused(Refusal::Application(_))), "{stale:?}");
        assert_eq!(turns(&new).await, 2);
    });
}

#[test]
fn a_watcher_on_any_member_learns_of_each_change() {
    on_three(6, |group| async move {
        let leader = group.leader().await;
        let follower = group.net.members().into_iter().find(|m| m.id() != leader.id()).unwrap();
        let mut watch = follower.watch();
        for turns in 1..=5 {
            let before = *watch.borrow_and_update();
            let (_, index, _) = applied(session(&leader, turns).propose(&Turn::default(), SOON).await);
            assert!(index > before);
            while *watch.borrow_and_update() < index {
                SimRuntime::timeout(SOON, watch.changed()).await.unwrap().unwrap();
            }
            assert_eq!(follower.read_stale(state).await.unwrap().unwrap().0, u64::from(turns));
        }
    });
}

#[test]
fn a_member_that_lost_its_disk_comes_back_under_a_new_number_and_votes() {
    on_three(7, |group| async move {
        let leader = group.leader().await;
        let mut session = session(&leader, 1);
        // More than the log keeps, so that the new one needs a snapshot.
        for _ in 0..100 {
            applied(session.propose(&Turn::default(), SOON).await);
        }
        let lost = group.running().into_iter().find(|id| *id != leader.id()).unwrap();
        group.wipe(lost);
        group.start(4).await;
        leader.add_learner(4, "").await.unwrap();
        assert_eq!(group.member(4).status().role, "learner");
        let kept = group.running().into_iter().find(|id| *id != leader.id() && *id != 4).unwrap();
        leader.set_voters([leader.id(), kept, 4]).await.unwrap();
        let metrics = group.member(4).status().metrics.unwrap();
        assert!(metrics.snapshots_installed >= 1, "{metrics:?}");
        assert_eq!(turns(&group.member(4)).await, 100);
        // Of three voters two are left, one of them the new one.
        group.crash(kept);
        let (reply, ..) = applied(session.propose(&Turn::default(), SOON).await);
        assert_eq!(reply.turns, 101);
    });
}

#[test]
fn a_leader_whose_snapshot_changed_on_its_disk_stops_and_says_so_and_the_others_go_on() {
    on_three(8, |group| async move {
        let leader = group.leader().await;
        let mut client = session(&leader, 1);
        for _ in 0..100 {
            applied(client.propose(&Turn::default(), SOON).await);
        }
        group.disk(leader.id()).flip_snapshot();
        // Somebody needs it.
        group.start(4).await;
        let _ = SimRuntime::timeout(SOON, leader.add_learner(4, "")).await;
        let status = leader.status();
        assert!(status.role == "stopped" && status.fault.contains("the snapshot is damaged"), "{status:?}");
        let new = group.leader().await;
        assert_ne!(new.id(), leader.id());
        let (reply, ..) = applied(session(&new, 2).propose(&Turn::default(), SOON).await);
        assert_eq!(reply.turns, 101);
    });
}

#[test]
fn a_member_counts_what_it_did() {
    on_three(9, |group| async move {
        let leader = group.leader().await;
        let mut session = session(&leader, 1);
        for _ in 0..100 {
            applied(session.propose(&Turn::default(), SOON).await);
        }
        let status = leader.status();
        let metrics = status.metrics.unwrap();
        assert_eq!((status.role.as_str(), status.term), ("leader", leader.leader().unwrap().epoch));
        assert_eq!(metrics.commits, 100);
        assert!(metrics.elections >= 1 && metrics.snapshots_made >= 1 && metrics.log_bytes > 1_000, "{metrics:?}");
        let (half, most) = (metrics.latency(0.5).unwrap(), metrics.latency(1.0).unwrap());
        assert!(Duration::from_micros(250) < half && half <= most && most <= Duration::from_secs(1), "{metrics:?}");
        let elections: u64 = (1..=3).map(|id| group.member(id).status().metrics.unwrap().elections).sum();
        group.crash(leader.id());
        let new = group.leader().await;
        let after: u64 = group.net.members().iter().map(|m| m.status().metrics.unwrap().elections).sum();
        assert!(after + metrics.elections > elections, "{after}, {elections} before");
        assert_eq!(new.status().metrics.unwrap().commits, 0, "that is the leader's count");
    });
}
