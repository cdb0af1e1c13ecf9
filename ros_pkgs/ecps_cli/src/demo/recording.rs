//! A real robot's recording through perception and memory: every scan restored bit for bit, places remembered,
//! revisits recognised and each confirmed or refuted by matching the two scans.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::Stamp;
use ecps_perception::embed;
use ecps_perception::node::SensorRos;
use ecps_perception::scan_match::{ScanPoints, Thresholds, match_scans};
use nalgebra::Isometry2;

use super::node::{LaserScan, MemoryHit, MemoryRecord, Peer, QueryMemory, Sample, planar, scan_from_cdr};
use super::office::{fact, stage};
use super::{DemoError, claim, measured, progress, stack};
use crate::bag::Bag;
use crate::launch::Plan;
use crate::play::{Pace, Player};
use crate::report::{FloorMap, Memory, Path as DrawnPath, Point, Recall, RecallVerdict, Report};

const NAMESPACE: &str = "/recording";
/// What the recording must have.
const SCAN: &str = "/scan";
const ODOM: &str = "/odom";
/// How long the nodes may take to be up.
const START: Duration = Duration::from_secs(30);
/// Seconds of the recording per second.
const RATE: f64 = 6.0;
/// A place seen again sooner than this is no revisit.
const APART_NS: i64 = 30_000_000_000;
/// Every how many scans the memory is asked.
const ASK_EVERY: usize = 5;
/// Scans that may be under way: the recording waits for the stack, so that a slow machine loses none. Fewer than the
/// shortest queue on the way holds.
const UNDER_WAY: usize = 8;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Least similarity of a revisit, and how many like it are looked at.
const MIN_SIM: f32 = 0.8;
const CANDIDATES: u32 = 5;
/// To know what there was to find: every how many questions, and every how many earlier scans, scan matching looks itself.
const CHECK_EVERY: usize = 4;
const COMPARE_EVERY: usize = 8;

/// What came of playing the recording, by the scans' stamps.
struct Played {
    began: Instant,
    sent: BTreeMap<i64, LaserScan>,
    restored: BTreeMap<i64, LaserScan>,
    memories: BTreeMap<i64, MemoryRecord>,
    /// Memories that the memory keeps, and that the bridge published.
    kept: u64,
    published: u64,
}

/// What became of the recognised revisits.
#[derive(Default)]
struct Revisits {
    recalls: Vec<Recall>,
    queries: Vec<Sample>,
    similarities: Vec<f64>,
    /// Questions of which scan matching itself found an earlier scan of the same place, and how many of them the memory
    /// answered with a place that it confirms.
    known: usize,
    found: usize,
}

pub(super) fn run(bag: &Path, run: &Path) -> Result<Report, DemoError> {
    println!("The demo on a recording: {}", bag.display());
    let database = format!("database:={}", run.join("memory.db").display());
    let parameters = [
        ("mep_server", database.as_str()),
        ("ltp_bridge", "scan.remember_distance:=0.0"),
        ("ltp_bridge", "scan.reliability:=reliable"),
    ];
    let mut processes = Vec::new();
    for file in ["ltp_bridge.launch.xml", "mep_server.launch.xml"] {
        processes.extend(stack::shipped(file, &[("namespace", NAMESPACE)], &parameters)?.processes);
    }
    let mut supervisor = stack::start(Plan { processes }, run)?;
    let peer = Peer::start(NAMESPACE, false, Some(bag))?;
    let player = peer.player().ok_or_else(|| DemoError::Missing("the bag has no player".into()))?;
    wait_until_up(bag, player, &peer)?;
    let played = play(bag, player, &peer)?;
    progress(format!(
        "{} scans played in {:.0} s; asking for revisits",
        played.sent.len(),
        played.began.elapsed().as_secs_f64()
    ));
    let revisits = find_revisits(&played, &peer)?;
    supervisor.shutdown();
    Ok(report(&played, &revisits, &peer))
}

/// Publishes how the recording begins, again and again, until its first scan is restored and remembered: then all of
/// the nodes have found each other.
fn wait_until_up(bag: &Path, player: &Player, peer: &Peer) -> Result<(), DemoError> {
    progress("waiting for the nodes");
    if let Some(missing) = [SCAN, ODOM].into_iter().find(|topic| !player.has(topic)) {
        return Err(DemoError::Missing(format!("bag {}: it has no messages on {missing}", bag.display())));
    }
    let mut beginning = BTreeMap::new();
    for message in Bag::open(bag)? {
        let message = message?;
        let is_scan = message.topic.name == SCAN;
        beginning.insert(message.topic.name.clone(), message);
        if is_scan {
            break;
        }
    }
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        beginning.values().try_for_each(|message| player.publish(message))?;
        let up = peer.wait_for("the first scan to be remembered", Duration::from_secs(1), |heard| {
            let remembers = heard.memory.as_ref().is_some_and(|memory| memory.records > 0);
            let perceives = !heard.restored.is_empty() && heard.bridge.is_some();
            (remembers && perceives && player.subscribers(ODOM) >= 2).then_some(())
        });
        if up.is_ok() {
            return Ok(());
        }
    }
    Err(DemoError::Missing(format!("the nodes have not remembered the first scan within {START:?}")))
}

fn stamp(scan: &LaserScan) -> Stamp {
    ecps_ros::stamp(&scan.header.stamp)
}

/// Whether two scans agree bit for bit in all that they hold, NaN included. Their serialized forms would not do: CDR's
/// padding is whatever lay in the writer's buffer.
fn same_bits(one: &LaserScan, other: &LaserScan) -> bool {
    fn bits(scan: &LaserScan) -> impl Iterator<Item = u32> {
        let numbers = [
            scan.angle_min,
            scan.angle_max,
            scan.angle_increment,
            scan.time_increment,
            scan.scan_time,
            scan.range_min,
            scan.range_max,
        ];
        numbers.into_iter().chain(scan.ranges.iter().chain(&scan.intensities).copied()).map(f32::to_bits)
    }
    let sizes = |scan: &LaserScan| (scan.ranges.len(), scan.intensities.len());
    one.header == other.header && sizes(one) == sizes(other) && bits(one).eq(bits(other))
}

/// Plays the bag, and waits until all of it has arrived.
fn play(bag: &Path, player: &Player, peer: &Peer) -> Result<Played, DemoError> {
    let began = Instant::now();
    let before = peer.heard().restored.len();
    let mut pace = Pace::new(RATE);
    let mut sent = BTreeMap::new();
    let mut last = 0;
    for message in Bag::open(bag)? {
        let message = message?;
        pace.wait(message.log_time_ns);
        player.publish(&message)?;
        if message.topic.name == SCAN {
            let scan = scan_from_cdr(&message.cdr)
                .map_err(|e| DemoError::Missing(format!("{}: a scan cannot be read: {e}", bag.display())))?;
            last = stamp(&scan).0;
            sent.insert(last, scan);
            let behind = (before + sent.len()).saturating_sub(UNDER_WAY);
            peer.wait_for("restored scans", PATIENCE, |heard| (heard.restored.len() >= behind).then_some(()))?;
            if sent.len() % 500 == 0 {
                let memories = peer.heard().memory.as_ref().map_or(0, |memory| memory.records);
                progress(format!("{} scans, {memories} memories", sent.len()));
            }
        }
    }
    peer.wait_for("the last restored scan", PATIENCE, |heard| {
        heard.restored.iter().rev().any(|scan| stamp(scan).0 == last).then_some(())
    })?;
    let (memories, published) = peer.memories()?;
    Ok(Played {
        began,
        sent,
        restored: peer.heard().restored.iter().map(|scan| (stamp(scan).0, scan.clone())).collect(),
        kept: memories.len() as u64,
        memories: memories.into_iter().map(|record| (ecps_ros::stamp(&record.header.stamp).0, record)).collect(),
        published,
    })
}

/// Asks with every few scans for places like it at least 30 s before, and matches the two scans.
fn find_revisits(played: &Played, peer: &Peer) -> Result<Revisits, DemoError> {
    let scans = &played.restored;
    let first = scans.keys().next().copied().unwrap_or_default();
    let mut revisits = Revisits::default();
    let points = |scan: &LaserScan| ScanPoints::new(&scan.clone().into_plain()).ok();
    let compared: Vec<_> = scans.iter().step_by(COMPARE_EVERY).filter_map(|(t, s)| Some((*t, points(s)?))).collect();
    for (number, (time, scan)) in scans.iter().step_by(ASK_EVERY).enumerate() {
        // Not the first scan, which was remembered as often as it took the nodes to start.
        if time - APART_NS <= first {
            continue;
        }
        let plain = scan.clone().into_plain();
        let embedding = embed::scan::describe(&plain).map_err(|e| DemoError::Missing(e.to_string()))?;
        let (hits, took) = peer.query(QueryMemory::Request {
            embedding,
            model_id: embed::scan::MODEL_ID.into(),
            k: CANDIDATES,
            min_sim: MIN_SIM,
            not_before: ecps_ros::time(Stamp(first + 1)),
            not_after: ecps_ros::time(Stamp(time - APART_NS)),
            ..QueryMemory::Request::default()
        })?;
        revisits.queries.push(took);
        // The first that scan matching confirms, else the likest.
        let seen = |hit: &&MemoryHit| scans.get(&ecps_ros::stamp(&hit.record.header.stamp).0);
        let is_confirmed =
            |hit: &&MemoryHit| seen(hit).is_some_and(|other| is_same_place(&other.clone().into_plain(), &plain));
        let confirmed = hits.iter().find(is_confirmed);
        let earlier =
            || compared.iter().take_while(|(earlier, _)| *earlier <= time - APART_NS).map(|(_, points)| points);
        let was_here = |here: ScanPoints| earlier().any(|there| is_confirmed_by_match(there, &here));
        if number % CHECK_EVERY == 0 && points(scan).is_some_and(was_here) {
            revisits.known += 1;
            revisits.found += usize::from(confirmed.is_some());
        }
        let Some(hit) = confirmed.or(hits.first()) else { continue };
        let similarity = f64::from(hit.similarity);
        let verdict = match confirmed {
            Some(_) => RecallVerdict::Confirmed,
            None => RecallVerdict::Refuted,
        };
        let Some(here) = played.memories.get(time).map(|record| planar(&record.pose)) else { continue };
        if confirmed.is_some() {
            revisits.similarities.push(similarity);
        }
        let found_at = point(&planar(&hit.record.pose));
        revisits.recalls.push(Recall { asked_at: point(&here), found_at, similarity, verdict });
    }
    Ok(revisits)
}

fn point(pose: &Isometry2<f64>) -> Point {
    Point { x: pose.translation.x, y: pose.translation.y }
}

fn is_same_place(reference: &ecps_perception::sensor::LaserScan, query: &ecps_perception::sensor::LaserScan) -> bool {
    let (Ok(reference), Ok(query)) = (ScanPoints::new(reference), ScanPoints::new(query)) else { return false };
    is_confirmed_by_match(&reference, &query)
}

fn is_confirmed_by_match(reference: &ScanPoints, query: &ScanPoints) -> bool {
    match_scans(reference, query).is_ok_and(|found| found.confirm(&Thresholds::default()).is_ok())
}

fn report(played: &Played, revisits: &Revisits, peer: &Peer) -> Report {
    let heard = peer.heard();
    let total = played.sent.len();
    let same =
        |(stamp, sent): &(&i64, &LaserScan)| played.restored.get(stamp).is_some_and(|scan| same_bits(scan, sent));
    let identical = played.sent.iter().filter(same).count();
    let remembered = played.sent.keys().filter(|stamp| played.memories.contains_key(stamp)).count();
    let (kept, published) = (played.kept, played.published);
    let asked = revisits.queries.len();
    let recognised = revisits.recalls.len();
    let confirmed = revisits.similarities.len();
    let precision = if recognised == 0 { 0.0 } else { confirmed as f64 / recognised as f64 };
    let recall = if revisits.known == 0 { 0.0 } else { revisits.found as f64 / revisits.known as f64 };
    let mut similarities = revisits.similarities.clone();
    similarities.sort_by(f64::total_cmp);
    let median = similarities.get(similarities.len() / 2).copied().unwrap_or(f64::NAN);
    let p99 = |samples: &[Sample]| stage("", None, samples).quantile_ms(0.99);
    let budget = |kind: MessageKind| kind.budget(Profile::Standard).latency.as_secs_f64() * 1e3;
    let claims = vec![
        claim("Scans restored bit for bit", format!("{identical} of {total}"), "all", identical == total && total > 0),
        claim("Scans remembered", format!("{remembered} of {total}"), "all", remembered == total),
        claim("Memories kept", format!("{kept}"), format!("all {published} published"), kept == published),
        claim(
            "Revisits recognised, 30 s or more apart",
            format!("{recognised} of {asked} asked; {confirmed} confirmed by scan matching"),
            "some confirmed",
            confirmed > 0,
        ),
        claim("Precision of the recognised", format!("{:.0} %", precision * 100.0), "over 50 %", precision > 0.5),
        claim(
            "Recall, of revisits that scan matching finds by itself",
            format!("{} of {}, {:.0} %", revisits.found, revisits.known, recall * 100.0),
            "over 50 %",
            recall > 0.5,
        ),
        measured("LTP, scan to restored scan, p99", p99(&heard.ltp), MessageKind::Ltp),
        measured("Memory query, round trip, p99", p99(&revisits.queries), MessageKind::MepQuery),
    ];
    let memories = played
        .memories
        .values()
        .step_by(10)
        .map(|record| Memory { at: point(&planar(&record.pose)), label: format!("{} s", record.header.stamp.sec) });
    Report {
        title: "ECPS on a real robot's recording".into(),
        subtitle: format!("{total} scans, raw odometry (it drifts, so revisits are confirmed by matching scans)"),
        facts: vec![
            fact("duration", format!("{:.0} s", played.began.elapsed().as_secs_f64())),
            fact("scans", total.to_string()),
            fact("revisits confirmed", confirmed.to_string()),
            fact("revisits refuted", (recognised - confirmed).to_string()),
            fact("median similarity of the confirmed", format!("{median:.3}")),
        ],
        map: FloorMap {
            walls: Vec::new(),
            paths: vec![DrawnPath {
                name: "odometry".into(),
                points: heard.path.iter().map(|(_, pose)| point(pose)).collect(),
            }],
            memories: memories.collect(),
            recalls: revisits.recalls.clone(),
            ..FloorMap::default()
        },
        chapters: Vec::new(),
        stages: vec![
            stage("LTP: scan to restored scan", Some(budget(MessageKind::Ltp)), &heard.ltp),
            stage("MEP: query, round trip", Some(budget(MessageKind::MepQuery)), &revisits.queries),
        ],
        claims,
    }
}
