//! How long a group commits nothing when its leader dies, in simulated time.

use std::sync::mpsc;
use std::time::Duration;

use ecps_core::campaign::rounds;
use openraft::AsyncRuntime as _;

use super::executor::{below, elapsed, spawn_as};
use super::runtime::SimRuntime;
use super::sessions::{Turn, applied, on_three, session};

/// Leaders that die in one world.
const DEATHS: u8 = 10;
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_group_whose_leader_dies_commits_again_within_half_a_second() {
    let (sender, outages) = mpsc::channel();
    for seed in 0..u64::from(rounds(30, 1_000)) {
        let sender = sender.clone();
        on_three(seed, |group| async move {
            for death in 1..=DEATHS {
                let leader = group.leader().await;
                // It may die with a command under way, which some have and others do not.
                let mut dying = session(&leader, 100 + death);
                drop(spawn_as(0, async move { dying.propose(&Turn::default(), SOON).await }));
                SimRuntime::sleep(Duration::from_micros(below(5_000))).await;
                let begun = elapsed();
                group.crash(leader.id());
                let other = group.member(group.any().unwrap());
                applied(session(&other, death).propose(&Turn::default(), SOON).await);
                sender.send(elapsed() - begun).unwrap();
                group.start(leader.id()).await;
            }
        });
    }
    drop(sender);
    let mut outages: Vec<Duration> = outages.into_iter().collect();
    outages.sort_unstable();
    let [least, half, most, all] = [0, 50, 99, 100].map(|percent| outages[(outages.len() - 1) * percent / 100]);
    println!("of {} leaders that died: none {least:?}, half {half:?}, 99 % {most:?}, all {all:?}", outages.len());
    assert!(most < Duration::from_millis(500), "{outages:?}");
    // Silence of 150 ms, of which a heartbeat may have taken 50.
    assert!(least > Duration::from_millis(95), "{least:?}");
}

#[test]
fn a_leader_is_heard_each_50_ms_and_nobody_stands_against_it() {
    on_three(1, |group| async move {
        let leader = group.leader().await;
        let (before, follower) = (leader.leader(), group.running().into_iter().find(|id| *id != leader.id()).unwrap());
        let sent = group.net.sent(leader.id(), follower);
        SimRuntime::sleep(SOON).await;
        let sent = group.net.sent(leader.id(), follower) - sent;
        // By clocks that are up to 3 % apart.
        assert!((193..=212).contains(&sent), "{sent} heartbeats in {SOON:?}");
        assert_eq!(group.leader().await.leader(), before);
    });
}
