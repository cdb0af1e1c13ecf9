//! What goes wrong in a schedule: each of these at least once, in any order, while the weather changes as it likes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::AsyncRuntime as _;
use tokio::sync::mpsc;

use super::executor::{below, chance, elapsed, set_slow_disks};
use super::group::Group;
use super::runtime::SimRuntime;
use crate::types::MemberId;

/// Least simulated time of a schedule.
pub(crate) const LENGTH: Duration = Duration::from_secs(30);
/// Delay where nothing is wrong, milliseconds.
const FAIR: u64 = 3;
/// Tries at what has to happen once.
const TRIES: u64 = 20;

#[derive(Clone, Copy)]
enum Fault {
    /// One loses power.
    Crash,
    /// All lose power, and come back to messages so slow that elections meet each other.
    Blackout,
    /// One is cut off from all others.
    Isolated,
    /// One is heard by nobody.
    Mute,
    /// One hears nobody.
    Deaf,
    /// A new member takes the place of one that lost its disk.
    Replaced,
}

/// Elections that meet each other show most, so they come twice.
const FAULTS: [Fault; 7] =
    [Fault::Crash, Fault::Blackout, Fault::Blackout, Fault::Isolated, Fault::Mute, Fault::Deaf, Fault::Replaced];

async fn pause(least: u64, most: u64) {
    SimRuntime::sleep(Duration::from_millis(least + below(most - least))).await;
}

/// Faults one after another until the time is over, each kind at least once.
pub(crate) async fn faults(group: &Arc<Group>, over: &AtomicBool) {
    let mut fresh = 4;
    let mut deck = FAULTS.to_vec();
    let mut dealt = false;
    while elapsed() < LENGTH || !dealt {
        pause(300, 1_800).await;
        let fault = deck.swap_remove(below(deck.len() as u64) as usize);
        if deck.is_empty() {
            (deck, dealt) = (FAULTS.to_vec(), true);
        }
        match fault {
            Fault::Crash => crash(group).await,
            Fault::Blackout => blackout(group).await,
            Fault::Isolated | Fault::Mute | Fault::Deaf => {
                cut(group, fault);
                pause(200, 2_200).await;
                group.heal();
            }
            Fault::Replaced if fresh < 7 => {
                replace(group, fresh).await;
                fresh += 1;
            }
            Fault::Replaced => {}
        }
    }
    over.store(true, Ordering::Relaxed);
    // What chance withheld.
    for _ in 0..TRIES {
        if !group.lies() && !group.net.events().contains_key("unsynced write torn") {
            crash(group).await;
            pause(300, 600).await;
        }
    }
    for _ in 0..TRIES {
        if !group.net.events().contains_key("membership change") {
            pause(500, 1_000).await;
            replace(group, fresh).await;
            fresh += 1;
        }
    }
}

/// Messages are lost, repeated and late, and disks slow, now and then, until it is over.
pub(crate) async fn weather(group: Arc<Group>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        pause(300, 2_300).await;
        set_slow_disks(chance(30));
        {
            let mut weather = group.net.weather.lock().unwrap();
            (weather.lost, weather.twice, weather.delay) = (5 + below(25), 5 + below(25), 25 + below(60));
        }
        pause(500, 3_000).await;
        set_slow_disks(false);
        let mut weather = group.net.weather.lock().unwrap();
        (weather.lost, weather.twice, weather.delay) = (0, 0, FAIR);
    }
}

/// Crashes those that just granted a vote, and has them back at once.
pub(crate) async fn crash_voters(group: Arc<Group>, mut granted: mpsc::UnboundedReceiver<MemberId>) {
    while let Some(id) = granted.recv().await {
        if group.running().contains(&id) && chance(40) {
            group.crash(id);
            pause(1, 9).await;
            group.start(id).await;
        }
    }
}

async fn crash(group: &Arc<Group>) {
    let leader = group.leading().map(|m| m.id()).filter(|id| chance(50) && group.running().contains(id));
    if let Some(id) = leader.or_else(|| group.any()) {
        group.crash(id);
        pause(5, 1_500).await;
        group.start(id).await;
    }
}

async fn blackout(group: &Arc<Group>) {
    let all = group.running();
    all.iter().for_each(|&id| group.crash(id));
    group.net.weather.lock().unwrap().storm = 30 + below(120);
    pause(1, 300).await;
    for id in all {
        group.start(id).await;
    }
    pause(1_000, 3_000).await;
    group.net.weather.lock().unwrap().storm = 0;
}

fn cut(group: &Group, fault: Fault) {
    let running = group.running();
    let leader = group.leading().map(|m| m.id()).filter(|_| chance(60));
    let Some(target) = leader.or_else(|| group.any()) else { return };
    let mut weather = group.net.weather.lock().unwrap();
    for &other in running.iter().filter(|&&other| other != target) {
        if !matches!(fault, Fault::Deaf) {
            weather.cut.insert((target, other));
        }
        if !matches!(fault, Fault::Mute) {
            weather.cut.insert((other, target));
        }
    }
    drop(weather);
    group.net.count(if matches!(fault, Fault::Isolated) { "partition" } else { "one-way cut" });
}

async fn replace(group: &Arc<Group>, fresh: MemberId) {
    let Some(leader) = group.leading() else { return };
    let membership = leader.status().membership.unwrap_or_default();
    let voters: BTreeSet<u64> = membership.configs.iter().flat_map(|c| c.ids.iter().copied()).collect();
    let Some(old) = voters.iter().copied().find(|&id| id != leader.id()) else { return };
    group.start(fresh).await;
    let learned = SimRuntime::timeout(Duration::from_secs(4), leader.add_learner(fresh, "")).await;
    if !matches!(learned, Ok(Ok(()))) {
        return;
    }
    let next: BTreeSet<u64> = voters.into_iter().filter(|&id| id != old).chain([fresh]).collect();
    let changed = SimRuntime::timeout(Duration::from_secs(4), leader.set_voters(next)).await;
    if matches!(changed, Ok(Ok(()))) {
        if group.running().contains(&old) {
            group.wipe(old);
        }
        group.net.count("membership change");
    }
}
