//! A real robot's recording through perception and memory: every scan restored bit for bit, places remembered,
//! revisits recognised and each confirmed or refuted by matching the two scans.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::Stamp;
use ecps_perception::embed;
use ecps_perception::node::SensorRos;
use ecps_perception::scan_match::{Pairs, Reference, ScanPoints};
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
const APART: Duration = Duration::from_secs(30);
/// Every how many scans the memory is asked.
const ASK_EVERY: usize = 5;
/// Scans that may be under way: the recording waits for the stack, so that a slow machine loses none. Fewer than the
/// shortest queue on the way holds.
const UNDER_WAY: usize = 8;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Least similarity of a revisit, and how many of the likest scan matching looks at.
const MIN_SIM: f32 = 0.8;
const CANDIDATES: usize = 5;
/// Hits of a question: as many as there are.
const HITS: u32 = 1000;

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

/// A question to the memory: has this place been seen before?
struct Question {
    time: i64,
    /// Likest first.
    hits: Vec<MemoryHit>,
    took: Sample,
}

/// What became of the questions.
struct Revisits {
    recalls: Vec<Recall>,
    similarities: Vec<f64>,
    queries: Vec<Sample>,
    /// Questions whose place scan matching finds in one of the other questions' scans, and those of them that the memory
    /// answered with a place that it confirms.
    known: usize,
    recognised: usize,
    /// All that scan matching finds among the scans of the questions; of its pairs, those that the memory answered with; and
    /// how many it answered with at all.
    pairs: Pairs,
    recalled: usize,
    answered: usize,
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
    let questions = ask(&played, &peer)?;
    supervisor.shutdown();
    let revisits = judge(&played, questions);
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

/// Asks with every few scans for places like it at least 30 s before.
fn ask(played: &Played, peer: &Peer) -> Result<Vec<Question>, DemoError> {
    let first = played.restored.keys().next().copied().unwrap_or_default();
    let apart = APART.as_nanos() as i64;
    let mut questions = Vec::new();
    for (time, scan) in played.restored.iter().step_by(ASK_EVERY) {
        // Not the first scan, which was remembered as often as it took the nodes to start.
        if time - apart <= first {
            continue;
        }
        let embedding =
            embed::scan::describe(&scan.clone().into_plain()).map_err(|e| DemoError::Missing(e.to_string()))?;
        let (hits, took) = peer.query(QueryMemory::Request {
            embedding,
            model_id: embed::scan::MODEL_ID.into(),
            k: HITS,
            min_sim: MIN_SIM,
            not_before: ecps_ros::time(Stamp(first + 1)),
            not_after: ecps_ros::time(Stamp(time - apart)),
            ..QueryMemory::Request::default()
        })?;
        questions.push(Question { time: *time, hits, took });
    }
    Ok(questions)
}

/// Has scan matching judge the answers, and look for itself what there was to find.
fn judge(played: &Played, questions: Vec<Question>) -> Revisits {
    let points = |time: &i64| ScanPoints::new(&played.restored.get(time)?.clone().into_plain()).ok();
    let scans: BTreeMap<i64, ScanPoints> = played
        .restored
        .keys()
        .skip(ASK_EVERY)
        .step_by(ASK_EVERY)
        .filter_map(|time| Some((*time, points(time)?)))
        .collect();
    progress(format!("matching each of {} scans with all of them at least {} s older", scans.len(), APART.as_secs()));
    let pairs = Pairs::compare(&scans, APART);
    let mut revisits = Revisits {
        recalls: Vec::new(),
        similarities: Vec::new(),
        queries: questions.iter().map(|question| question.took).collect(),
        known: pairs.confirmed.len(),
        recognised: 0,
        pairs,
        recalled: 0,
        answered: 0,
    };
    for Question { time, hits, .. } in questions {
        let seen = |hit: &MemoryHit| ecps_ros::stamp(&hit.record.header.stamp).0;
        let here = points(&time);
        // The first that scan matching confirms, else the likest.
        let is_here = |hit: &&MemoryHit| match (points(&seen(hit)), &here) {
            (Some(there), Some(here)) => Reference::new(&there).confirms(here),
            _ => false,
        };
        let confirmed = hits.iter().take(CANDIDATES).find(is_here);
        let known = revisits.pairs.confirmed.get(&time);
        revisits.recognised += usize::from(known.is_some() && confirmed.is_some());
        let among: Vec<i64> = hits.iter().map(seen).filter(|then| scans.contains_key(then)).collect();
        revisits.answered += among.len();
        revisits.recalled += among.iter().filter(|then| known.is_some_and(|known| known.contains(then))).count();
        let Some(hit) = confirmed.or(hits.first()) else { continue };
        let similarity = f64::from(hit.similarity);
        let verdict = match confirmed {
            Some(_) => RecallVerdict::Confirmed,
            None => RecallVerdict::Refuted,
        };
        let Some(at) = played.memories.get(&time).map(|record| planar(&record.pose)) else { continue };
        if confirmed.is_some() {
            revisits.similarities.push(similarity);
        }
        let found_at = point(&planar(&hit.record.pose));
        revisits.recalls.push(Recall { asked_at: point(&at), found_at, similarity, verdict });
    }
    revisits
}

fn point(pose: &Isometry2<f64>) -> Point {
    Point { x: pose.translation.x, y: pose.translation.y }
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
    let share = |part: usize, all: usize| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let precision = share(confirmed, recognised);
    let recall = share(revisits.recognised, revisits.known);
    let (recalled, pairs) = (revisits.recalled, revisits.pairs.count());
    let (recall_of_pairs, precision_of_pairs) = (share(recalled, pairs), share(recalled, revisits.answered));
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
            "Recall, of scans whose place scan matching finds again",
            format!("{} of {}, {:.0} %", revisits.recognised, revisits.known, recall * 100.0),
            "over 50 %",
            recall > 0.5,
        ),
        claim(
            "Recall, of all pairs that scan matching confirms",
            format!("{recalled} of {pairs}, {:.0} %", recall_of_pairs * 100.0),
            "over 30 %",
            recall_of_pairs > 0.3,
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
            fact("pairs of scans compared", revisits.pairs.compared.to_string()),
            fact(
                "pairs answered with, and confirmed",
                format!("{} and {recalled}, {:.0} %", revisits.answered, precision_of_pairs * 100.0),
            ),
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
