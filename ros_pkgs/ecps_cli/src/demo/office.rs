//! The simulated robot's day: a tour, questions, an answer driven to, and a rogue.

mod questions;
mod reckless;

use std::path::Path;
use std::time::{Duration, Instant};

use ecps_core::budget::{MessageKind, Profile};
use ecps_perception::embed;
use ecps_perception::node::SensorRos;
use ecps_ros::GoalOutcome;
use ecps_sim::floor_plan::FloorPlan;
use ecps_sim::robot::BaseConfig;
use ecps_sim::tour::Tour;
use nalgebra::{Isometry2, Point2};

use super::node::{GateState, LaserScan, MemoryHit, MemoryRecord, Peer, QueryMemory, Sample, planar};
use super::{DemoError, claim, fleet, journal, measured, progress, stack};
use crate::report::{
    Answer, Claim, Fact, FloorMap, Latency, Memory, Path as DrawnPath, Point, Recall, RecallVerdict, Refusal, Report,
    Stage,
};

const NAMESPACE: &str = "/robot1";
const FRAME: &str = "robot1/odom";
/// How near a recalled place must be to where its scan was taken.
const FOUND_WITHIN_M: f64 = 1.0;
/// How long anything may take that should be there at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rogue commands of each kind.
const ROGUE: u64 = 20;

/// Everything the demo gathers on its way.
struct Day {
    peer: Peer,
    plan: FloorPlan,
    tour: Tour,
    /// Origin of odometry in the plan's frame.
    origin: Isometry2<f64>,
    claims: Vec<Claim>,
    recalls: Vec<Recall>,
    refusals: Vec<Refusal>,
    queries: Vec<Sample>,
    memories: Vec<MemoryRecord>,
    answers: Vec<Answer>,
    goals: u64,
    began: Instant,
}

/// A scan and where it was taken.
struct Seen {
    place: &'static str,
    scan: LaserScan,
    at: Isometry2<f64>,
}

pub(super) fn run(run: &Path) -> Result<Report, DemoError> {
    println!("The demo: one simulated robot, the whole stack, nothing but this machine.");
    let database = format!("database:={}", run.join("memory.db").display());
    let journal = run.join("journal");
    let journal_parameter = format!("journal:={}", journal.display());
    let plan =
        stack::shipped("demo.launch.xml", &[], &[("mep_server", &database), ("eap_executor", &journal_parameter)])?;
    let mut supervisor = stack::start(plan, run)?;
    let tour = Tour::office();
    let start = tour.places().first().ok_or_else(|| DemoError::Missing("the tour has no place".into()))?;
    let mut day = Day {
        peer: Peer::start(NAMESPACE, true, None)?,
        plan: FloorPlan::office(),
        origin: start.pose,
        tour,
        claims: Vec::new(),
        recalls: Vec::new(),
        refusals: Vec::new(),
        queries: Vec::new(),
        memories: Vec::new(),
        answers: Vec::new(),
        goals: 0,
        began: Instant::now(),
    };
    day.wait_until_up()?;
    let seen = day.drive_the_tour()?;
    day.recall_each(&seen)?;
    day.drive_to_an_answer(&seen)?;
    day.withstand_a_rogue()?;
    day.let_a_planner_loose()?;
    day.stop_and_reset()?;
    day.account_for_memories()?;
    day.ask_in_every_way(&seen)?;
    let (killed, last) = day.kill_the_executor(&mut supervisor)?;
    progress("stopping the nodes and reading the journal back");
    supervisor.shutdown();
    day.account(killed.refused + last.refused, &journal)?;
    day.judge();
    day.claims.extend(fleet::run(run)?);
    Ok(day.report())
}

impl Day {
    fn wait_until_up(&self) -> Result<(), DemoError> {
        progress("waiting for the nodes");
        let limit = Duration::from_secs(30);
        self.peer.wait_for("odometry, LTP, the first memory and the armed gate", limit, |heard| {
            let perceives = heard.path.len() > 5 && !heard.restored.is_empty() && heard.bridge.is_some();
            let remembers = heard.memory.as_ref().is_some_and(|memory| memory.records > 0);
            // Not before the supervisor is sure that the robot hears it.
            let armed = heard.gate.as_ref().is_some_and(|gate| gate.mode == 0);
            (perceives && remembers && armed && self.peer.commands_are_heard()).then_some(())
        })
    }

    /// Where the robot is, in the plan's frame.
    fn here(&self) -> Result<Isometry2<f64>, DemoError> {
        let last = self.peer.heard().path.last().map(|(_, pose)| *pose);
        last.map(|pose| self.origin * pose).ok_or_else(|| DemoError::Missing("no odometry".into()))
    }

    /// Drives along safe ways to a pose in the plan.
    fn drive_to(&mut self, goal: Isometry2<f64>) -> Result<(), DemoError> {
        let here = Point2::from(self.here()?.translation.vector);
        let way = self.tour.route_to(here, goal).map_err(|e| DemoError::Missing(e.to_string()))?;
        for leg in way {
            self.goals += 1;
            let (outcome, result) = self.peer.drive(FRAME, &(self.origin.inverse() * leg), 0.1)?;
            if outcome != GoalOutcome::Succeeded {
                let text = format!("a leg of the way ended with {}: {}", result.error_code, result.error_msg);
                return Err(DemoError::Missing(text));
            }
        }
        Ok(())
    }

    /// The next scan that comes out of LTP, and where the robot stands.
    fn look(&self) -> Result<(LaserScan, Isometry2<f64>), DemoError> {
        let before = self.peer.heard().restored.len();
        let scan = self.peer.wait_for("a fresh scan", PATIENCE, |heard| {
            (heard.restored.len() > before + 1).then(|| heard.restored.last().cloned()).flatten()
        })?;
        Ok((scan, self.here()?))
    }

    fn drive_the_tour(&mut self) -> Result<Vec<Seen>, DemoError> {
        let places = self.tour.places().to_vec();
        let mut seen = Vec::new();
        for (number, place) in places.iter().enumerate() {
            self.drive_to(place.pose)?;
            let (scan, at) = self.look()?;
            let memories = self.peer.heard().memory.as_ref().map_or(0, |memory| memory.records);
            progress(format!(
                "{:5.1} s  tour {}/{}: {:<14} {memories:3} memories",
                self.began.elapsed().as_secs_f64(),
                number + 1,
                places.len(),
                place.name
            ));
            seen.push(Seen { place: place.name, scan, at });
        }
        let reached = seen.len();
        self.claims.push(claim(
            "Places of the tour reached through ~/execute",
            format!("{reached}"),
            format!("{}", places.len()),
            reached == places.len(),
        ));
        Ok(seen)
    }

    /// Asks "where did I see this?" with a scan.
    fn ask(&mut self, scan: &LaserScan) -> Result<Vec<MemoryHit>, DemoError> {
        let embedding =
            embed::scan::describe(&scan.clone().into_plain()).map_err(|e| DemoError::Missing(e.to_string()))?;
        let request = QueryMemory::Request {
            embedding,
            model_id: embed::scan::MODEL_ID.into(),
            ..QueryMemory::Request::default()
        };
        let (hits, took) = self.peer.query(request)?;
        self.queries.push(took);
        Ok(hits)
    }

    /// Where a memory was, in the plan's frame.
    fn place_of(&self, hit: &MemoryHit) -> Isometry2<f64> {
        self.origin * planar(&hit.record.pose)
    }

    fn recall_each(&mut self, seen: &[Seen]) -> Result<(), DemoError> {
        let mut found = 0;
        for Seen { place, scan, at } in seen {
            let hits = self.ask(scan)?;
            let best = hits.first().map(|hit| (self.place_of(hit), f64::from(hit.similarity)));
            let Some((remembered, similarity)) = best else {
                progress(format!("\"where did I see this?\" ({place}): no answer"));
                continue;
            };
            let apart = (remembered.translation.vector - at.translation.vector).norm();
            let near = apart <= FOUND_WITHIN_M;
            found += usize::from(near);
            progress(format!("\"where did I see this?\" ({place}): {apart:.2} m off, similarity {similarity:.3}"));
            self.recalls.push(Recall {
                asked_at: point(at),
                found_at: point(&remembered),
                similarity,
                verdict: if near { RecallVerdict::Confirmed } else { RecallVerdict::Refuted },
            });
        }
        self.claims.push(claim(
            "Fresh scans recognised, best hit within 1 m",
            format!("{found} of {}", seen.len()),
            format!("at least {}", seen.len() - 1),
            found + 1 >= seen.len(),
        ));
        Ok(())
    }

    /// Takes the scan of a place far from here, asks where it was, and drives there.
    fn drive_to_an_answer(&mut self, seen: &[Seen]) -> Result<(), DemoError> {
        let wanted = seen.iter().find(|seen| seen.place == "kitchen").or(seen.first());
        let Some(wanted) = wanted else { return Ok(()) };
        let hits = self.ask(&wanted.scan)?;
        let Some(answer) = hits.first().map(|hit| self.place_of(hit)) else {
            self.claims.push(claim("Driven to where a scan was recognised", "no answer", "within 1 m", false));
            return Ok(());
        };
        progress(format!(
            "driving to the answer for {}: ({:.1}, {:.1})",
            wanted.place, answer.translation.x, answer.translation.y
        ));
        self.drive_to(answer)?;
        let apart = (self.here()?.translation.vector - wanted.at.translation.vector).norm();
        self.claims.push(claim(
            "Driven to where a scan was recognised",
            format!("{apart:.2} m from where it was taken"),
            format!("within {FOUND_WITHIN_M} m"),
            apart <= FOUND_WITHIN_M,
        ));
        Ok(())
    }

    fn last_gate_state(&self) -> Result<GateState, DemoError> {
        // One period of the state topic, so that the last counts are in it.
        let seen = self.peer.heard().gate.as_ref().map(|gate| gate.header.stamp.clone());
        self.peer.wait_for("the gate's state", PATIENCE, |heard| {
            heard.gate.clone().filter(|gate| Some(&gate.header.stamp) != seen.as_ref())
        })
    }

    fn withstand_a_rogue(&mut self) -> Result<(), DemoError> {
        progress("a rogue publisher: 10 m/s, NaN, stale stamps");
        self.peer.wait_for("the robot to stand", PATIENCE, |heard| reckless::stands(heard).then_some(()))?;
        let (before, from) = (self.last_gate_state()?, self.here()?);
        let quiet_from = self.peer.heard().commands.len();
        for round in 1..=ROGUE {
            self.peer.command(10.0, 0.0, Duration::ZERO);
            self.peer.command(f64::NAN, 0.0, Duration::ZERO);
            self.peer.command(0.3, 0.0, Duration::from_secs(5));
            self.peer.wait_for("the refusal of rogue commands", PATIENCE, |heard| {
                heard.gate.as_ref().filter(|gate| gate.refused >= before.refused + 3 * round).map(|_| ())
            })?;
        }
        let after = self.last_gate_state()?;
        let refused = after.refused - before.refused;
        let here = self.here()?;
        self.mark_refusals(&before, &after)?;
        let let_through =
            self.peer.heard().commands.iter().skip(quiet_from).filter(|(_, c)| c.twist.linear.x != 0.0).count();
        let moved = (here.translation.vector - from.translation.vector).norm();
        self.claims.push(claim(
            "Rogue commands refused (10 m/s, NaN, stale)",
            format!("{refused} of {}, {let_through} let through", 3 * ROGUE),
            format!("{} of {}, none let through", 3 * ROGUE, 3 * ROGUE),
            // Where no command was ever heard, none let through says nothing.
            refused == 3 * ROGUE && let_through == 0 && quiet_from > 0,
        ));
        self.claims.push(claim(
            "Robot moved by the rogue",
            format!("{:.1} mm", moved * 1e3),
            "under 1 mm",
            moved < 1e-3,
        ));
        Ok(())
    }

    fn stop_and_reset(&mut self) -> Result<(), DemoError> {
        let limit = PATIENCE;
        self.peer.stop()?;
        self.peer
            .wait_for("the latched stop", limit, |heard| heard.gate.as_ref().filter(|g| g.mode == 2).map(|_| ()))?;
        let before = self.last_gate_state()?;
        self.peer.command(0.1, 0.0, Duration::ZERO);
        let held = self.peer.wait_for("a refusal while stopped", limit, |heard| {
            heard.gate.clone().filter(|gate| gate.refused > before.refused)
        })?;
        self.peer.reset()?;
        let left = self.peer.wait_for("the reset", limit, |heard| heard.gate.clone().filter(|gate| gate.mode == 0))?;
        self.claims.push(claim(
            "Protective stop latches until reset",
            if held.mode == 2 && left.mode == 0 { "held, then left" } else { "did not hold" },
            "held, then left",
            held.mode == 2 && left.mode == 0,
        ));
        Ok(())
    }

    /// Holds the memories kept against those that the bridge published.
    fn account_for_memories(&mut self) -> Result<(), DemoError> {
        let (memories, published) = self.peer.memories()?;
        let kept = memories.len();
        self.claims.push(claim(
            "Memories kept",
            format!("{kept}"),
            format!("all {published} published"),
            kept > 0 && kept as u64 == published,
        ));
        self.memories = memories;
        Ok(())
    }

    /// Holds the journal against what was sent and what the gate counted.
    fn account(&mut self, refused: u64, folder: &Path) -> Result<(), DemoError> {
        let account = journal::account(folder, &folder.with_extension("key"))?;
        let journaled: u64 = account.refused.values().sum();
        self.claims.push(claim(
            "Journal whole, and signed by its executor",
            format!("{} records, {}", account.records, account.verdict),
            "clean, all signed",
            account.believed,
        ));
        self.claims.push(claim(
            "Journal accounts for every action",
            format!("{} accepted, {} ended, {} refused", account.actions, account.outcomes, account.actions_refused),
            format!("{} accepted, {} ended, 0 refused", self.goals, self.goals),
            account.actions == self.goals && account.outcomes == self.goals && account.actions_refused == 0,
        ));
        self.claims.push(claim(
            "Journal accounts for every refusal, stop and reset",
            format!("{journaled} refusals, {} stop, {} reset", account.stops, account.resets),
            format!("{refused} refusals, 1 stop, 1 reset"),
            journaled == refused && account.stops == 1 && account.resets == 1,
        ));
        Ok(())
    }

    /// The claims about the whole day.
    fn judge(&mut self) {
        let heard = self.peer.heard();
        let radius = BaseConfig::default().radius;
        let clearance = heard
            .path
            .iter()
            .map(|(_, pose)| self.plan.distance_to_wall(Point2::from((self.origin * pose).translation.vector)))
            .fold(f64::INFINITY, f64::min);
        let mut claims = vec![claim(
            "Nearest the robot's centre came to a wall",
            format!("{clearance:.2} m"),
            format!("more than its radius, {radius} m"),
            clearance > radius,
        )];
        for (name, kind, samples) in [
            ("LTP, scan to restored scan, p99", MessageKind::Ltp, &heard.ltp),
            ("Memory query, round trip, p99", MessageKind::MepQuery, &self.queries),
        ] {
            claims.push(measured(name, stage("", None, samples).quantile_ms(0.99), kind));
        }
        drop(heard);
        self.claims.extend(claims);
    }

    fn report(self) -> Report {
        let heard = self.peer.heard();
        let drawn = |pose: &Isometry2<f64>| point(&(self.origin * pose));
        let budget = |kind: MessageKind| Some(kind.budget(Profile::Standard).latency.as_secs_f64() * 1e3);
        let walls = self
            .plan
            .walls()
            .iter()
            .map(|wall| [Point { x: wall.a.x, y: wall.a.y }, Point { x: wall.b.x, y: wall.b.y }]);
        let memories = self.memories.iter().enumerate().map(|(number, record)| Memory {
            at: drawn(&planar(&record.pose)),
            label: format!("memory {}", number + 1),
        });
        let map = FloorMap {
            walls: walls.collect(),
            paths: vec![DrawnPath {
                name: "robot1".into(),
                points: heard.path.iter().map(|(_, pose)| drawn(pose)).collect(),
            }],
            memories: memories.collect(),
            answers: self.answers.clone(),
            recalls: self.recalls.clone(),
            refusals: self.refusals.clone(),
            ..FloorMap::default()
        };
        Report {
            title: "ECPS: a robot that perceives, remembers, recalls and moves under guard".into(),
            subtitle: "One simulated robot, seed 1, profile standard".into(),
            facts: vec![
                fact("duration", format!("{:.0} s", self.began.elapsed().as_secs_f64())),
                fact("scans through LTP", heard.restored.len().to_string()),
                fact("memories", self.memories.len().to_string()),
                fact("actions", self.goals.to_string()),
            ],
            map,
            chapters: Vec::new(),
            stages: vec![
                stage("LTP: scan to restored scan", budget(MessageKind::Ltp), &heard.ltp),
                stage("MEP: query, round trip", budget(MessageKind::MepQuery), &self.queries),
            ],
            claims: self.claims.clone(),
        }
    }
}

pub(super) fn fact(label: &str, value: String) -> Fact {
    Fact { label: label.to_owned(), value }
}

/// Latencies as the report draws them: over the time since the first of them.
pub(super) fn stage(name: &str, budget_ms: Option<f64>, samples: &[Sample]) -> Stage {
    let first = samples.first().map(|sample| sample.at).unwrap_or_default();
    let samples =
        samples.iter().map(|sample| Latency { at_s: sample.at.since(first).as_secs_f64(), latency_ms: sample.ms });
    Stage { name: name.to_owned(), budget_ms, samples: samples.collect() }
}

fn point(pose: &Isometry2<f64>) -> Point {
    Point { x: pose.translation.x, y: pose.translation.y }
}
