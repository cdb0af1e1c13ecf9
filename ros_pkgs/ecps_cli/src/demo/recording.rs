//! A real robot's recording through perception and memory: every scan restored byte for byte, places remembered,
//! revisits recognised and each confirmed or refuted by matching the two scans.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::Stamp;
use ecps_perception::embed;
use ecps_perception::node::SensorRos;
use ecps_perception::scan_match::{ScanPoints, Thresholds, match_scans};
use ecps_ros::r2r::WrappedTypesupport;
use ecps_ros::r2r::ecps_msgs::msg::MemoryHit;
use ecps_ros::r2r::ecps_msgs::srv::QueryMemory;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use nalgebra::Isometry2;

use super::node::{Peer, Sample, planar};
use super::office::{fact, stage};
use super::{DemoError, claim, progress, stack};
use crate::bag::Bag;
use crate::launch::Plan;
use crate::play::Pace;
use crate::report::{FloorMap, Memory, Path as DrawnPath, Point, Recall, RecallVerdict, Report};

const NAMESPACE: &str = "/recording";
/// Seconds of the recording per second.
const RATE: f64 = 6.0;
/// A place seen again sooner than this is no revisit.
const APART_NS: i64 = 30_000_000_000;
/// Every how many scans the memory is asked.
const ASK_EVERY: usize = 5;
/// Scans that may be under way: the recording waits for the stack, so that a slow machine loses none.
const UNDER_WAY: usize = 20;
/// Least similarity of a revisit, and how many like it are looked at.
const MIN_SIM: f32 = 0.8;
const CANDIDATES: u32 = 5;

/// What became of the recognised revisits.
#[derive(Default)]
struct Revisits {
    recalls: Vec<Recall>,
    queries: Vec<Sample>,
    similarities: Vec<f64>,
}

pub(super) fn run(bag: &Path, run: &Path) -> Result<Report, DemoError> {
    println!("The demo on a recording: {}", bag.display());
    let database = format!("database:={}", run.join("memory.db").display());
    let nodes = [("mep_server", database.as_str()), ("ltp_bridge", "scan.remember_distance:=0.0")];
    let mut processes = Vec::new();
    for file in ["ltp_bridge.launch.xml", "mep_server.launch.xml"] {
        processes.extend(stack::shipped(file, &[("namespace", NAMESPACE)], &nodes)?.processes);
    }
    let mut supervisor = stack::start(Plan { processes }, run)?;
    let peer = Peer::start(NAMESPACE, false, Some(bag))?;
    progress("waiting for the nodes");
    let player = peer.player().ok_or_else(|| DemoError::Missing("the bag has no player".into()))?;
    peer.wait_for("memory and LTP", Duration::from_secs(30), |heard| {
        let heard_of = player.subscribers("/scan") >= 2 && player.subscribers("/odom") >= 2;
        (heard.memory.is_some() && heard.bridge.is_some() && heard_of).then_some(())
    })?;

    let began = Instant::now();
    let sent = play(bag, &peer)?;
    let total = sent.len();
    peer.wait_for("the last memory", Duration::from_secs(20), |heard| {
        let kept = heard.memory.as_ref().map_or(0, |stats| stats.records as usize);
        (kept >= total && heard.restored.len() >= total).then_some(())
    })?;
    progress(format!("{total} scans played in {:.0} s; asking for revisits", began.elapsed().as_secs_f64()));

    let identical = {
        let heard = peer.heard();
        let same = |scan: &&LaserScan| sent.get(&stamp(scan).0).is_some_and(|cdr| same_bytes(scan, cdr));
        heard.restored.iter().filter(same).count()
    };
    let kept = peer.heard().memory.as_ref().map_or(0, |stats| stats.records);
    let revisits = find_revisits(&peer)?;
    supervisor.shutdown();
    Ok(report(&peer, began, total, identical, kept, revisits))
}

fn stamp(scan: &LaserScan) -> Stamp {
    ecps_ros::stamp(&scan.header.stamp)
}

/// Whether a scan serializes to the same bytes as the recorded one, past the CDR header.
fn same_bytes(scan: &LaserScan, recorded: &[u8]) -> bool {
    scan.to_serialized_bytes().is_ok_and(|bytes| match (bytes.get(4..), recorded.get(4..)) {
        // The writers pad the end differently.
        (Some(ours), Some(theirs)) => ours.starts_with(theirs) || theirs.starts_with(ours),
        _ => false,
    })
}

/// Plays the bag; the recorded scans by their stamps.
fn play(bag: &Path, peer: &Peer) -> Result<BTreeMap<i64, Vec<u8>>, DemoError> {
    let player = peer.player().ok_or_else(|| DemoError::Missing("the bag has no player".into()))?;
    let mut pace = Pace::new(RATE);
    let mut sent = BTreeMap::new();
    for message in Bag::open(bag)? {
        let message = message?;
        pace.wait(message.log_time_ns);
        player.publish(&message)?;
        if message.topic.name == "/scan" {
            let scan = LaserScan::from_serialized_bytes(&message.cdr)
                .map_err(|e| DemoError::Missing(format!("{}: a scan cannot be read: {e}", bag.display())))?;
            sent.insert(stamp(&scan).0, message.cdr);
            let behind = sent.len().saturating_sub(UNDER_WAY);
            peer.wait_for("restored scans", Duration::from_secs(10), |heard| {
                (heard.restored.len() >= behind).then_some(())
            })?;
            if sent.len() % 500 == 0 {
                progress(format!("{} scans, {} memories", sent.len(), peer.heard().observations.len()));
            }
        }
    }
    Ok(sent)
}

/// Asks with every few scans for places like it at least 30 s before, and matches the two scans.
fn find_revisits(peer: &Peer) -> Result<Revisits, DemoError> {
    let (scans, poses) = {
        let heard = peer.heard();
        let scans: BTreeMap<i64, LaserScan> = heard.restored.iter().map(|scan| (stamp(scan).0, scan.clone())).collect();
        let poses: BTreeMap<i64, Isometry2<f64>> =
            heard.observations.iter().map(|r| (ecps_ros::stamp(&r.header.stamp).0, planar(&r.pose))).collect();
        (scans, poses)
    };
    let mut revisits = Revisits::default();
    for (time, scan) in scans.iter().step_by(ASK_EVERY) {
        let plain = scan.clone().into_plain();
        let embedding = embed::scan::describe(&plain).map_err(|e| DemoError::Missing(e.to_string()))?;
        let (hits, took) = peer.query(QueryMemory::Request {
            embedding,
            model_id: embed::scan::MODEL_ID.into(),
            k: CANDIDATES,
            min_sim: MIN_SIM,
            // A time of zero would leave the end open; nothing was that early.
            not_after: ecps_ros::time(Stamp((time - APART_NS).max(1))),
            ..QueryMemory::Request::default()
        })?;
        revisits.queries.push(took);
        // The first that scan matching confirms, else the likest.
        let seen = |hit: &&MemoryHit| scans.get(&ecps_ros::stamp(&hit.record.header.stamp).0);
        let is_confirmed =
            |hit: &&MemoryHit| seen(hit).is_some_and(|other| is_same_place(&other.clone().into_plain(), &plain));
        let confirmed = hits.iter().find(is_confirmed);
        let Some(hit) = confirmed.or(hits.first()) else { continue };
        let similarity = f64::from(hit.similarity);
        let verdict = match confirmed {
            Some(_) => RecallVerdict::Confirmed,
            None => RecallVerdict::Refuted,
        };
        let Some(here) = poses.get(time) else { continue };
        if confirmed.is_some() {
            revisits.similarities.push(similarity);
        }
        let found_at = point(&planar(&hit.record.pose));
        revisits.recalls.push(Recall { asked_at: point(here), found_at, similarity, verdict });
    }
    Ok(revisits)
}

fn point(pose: &Isometry2<f64>) -> Point {
    Point { x: pose.translation.x, y: pose.translation.y }
}

fn is_same_place(reference: &ecps_perception::sensor::LaserScan, query: &ecps_perception::sensor::LaserScan) -> bool {
    let (Ok(reference), Ok(query)) = (ScanPoints::new(reference), ScanPoints::new(query)) else { return false };
    match_scans(&reference, &query).is_ok_and(|found| found.confirm(&Thresholds::default()).is_ok())
}

fn report(peer: &Peer, began: Instant, total: usize, identical: usize, kept: u64, revisits: Revisits) -> Report {
    let heard = peer.heard();
    let asked = revisits.queries.len();
    let recognised = revisits.recalls.len();
    let confirmed = revisits.similarities.len();
    let precision = if recognised == 0 { 0.0 } else { confirmed as f64 / recognised as f64 };
    let mut similarities = revisits.similarities.clone();
    similarities.sort_by(f64::total_cmp);
    let median = similarities.get(similarities.len() / 2).copied().unwrap_or(f64::NAN);
    let p99 = |samples: &[Sample]| stage("", None, samples).quantile_ms(0.99).unwrap_or(f64::INFINITY);
    let budget = |kind: MessageKind| kind.budget(Profile::Standard).latency.as_secs_f64() * 1e3;
    let (ltp, query) = (p99(&heard.ltp), p99(&revisits.queries));
    let claims = vec![
        claim(
            "Scans restored byte for byte",
            format!("{identical} of {total}"),
            "all",
            identical == total && total > 0,
        ),
        claim("Scans remembered", format!("{kept}"), format!("all {total}"), kept as usize == total),
        claim(
            "Revisits recognised, 30 s or more apart",
            format!("{recognised} of {asked} asked; {confirmed} confirmed by scan matching"),
            "some confirmed",
            confirmed > 0,
        ),
        claim("Precision of the recognised", format!("{:.0} %", precision * 100.0), "over 50 %", precision > 0.5),
        claim(
            "LTP, scan to restored scan, p99",
            format!("{ltp:.2} ms"),
            format!("budget {:.0} ms", budget(MessageKind::Ltp)),
            ltp <= budget(MessageKind::Ltp),
        ),
        claim(
            "Memory query, round trip, p99",
            format!("{query:.2} ms"),
            format!("budget {:.0} ms", budget(MessageKind::MepQuery)),
            query <= budget(MessageKind::MepQuery),
        ),
    ];
    let memories = heard
        .observations
        .iter()
        .step_by(10)
        .map(|record| Memory { at: point(&planar(&record.pose)), label: format!("{} s", record.header.stamp.sec) });
    Report {
        title: "ECPS on a real robot's recording".into(),
        subtitle: format!("{total} scans, raw odometry (it drifts, so revisits are confirmed by matching scans)"),
        facts: vec![
            fact("duration", format!("{:.0} s", began.elapsed().as_secs_f64())),
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
            recalls: revisits.recalls,
            refusals: Vec::new(),
        },
        stages: vec![
            stage("LTP: scan to restored scan", Some(budget(MessageKind::Ltp)), &heard.ltp),
            stage("MEP: query, round trip", Some(budget(MessageKind::MepQuery)), &revisits.queries),
        ],
        claims,
    }
}
