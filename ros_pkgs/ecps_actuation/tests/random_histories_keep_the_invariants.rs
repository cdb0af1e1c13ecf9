//! Random histories of commands, states, stops, clock jumps and failures, against what must hold in each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ecps_actuation::gate::ACCELERATION_WINDOW;
use ecps_actuation::zone::Rule;
use ecps_actuation::{
    Executive, GateConfig, GoalId, Limits, MeasuredState, Mode, Now, ObstacleConfig, PlanarPose, Repeat, ResetOutcome,
    Scan, Source, StopCause, Velocity, VelocityCommand, Zone, ZoneSet,
};
use ecps_core::clock::{Stamp, Steady};
use ecps_journal::record::{Entry, Motion, Verdict};
use proptest::prelude::*;
use support::{Event, PLANNER, Shared, config, navigate, pose};

#[derive(Debug, Clone)]
enum Op {
    Command {
        source: usize,
        linear: [f64; 3],
        angular: [f64; 3],
        age_ms: Option<i64>,
    },
    State {
        x: f64,
        y: f64,
        yaw: f64,
    },
    /// Two things in an empty place, at these angles and ranges.
    Scan([(usize, f32); 2]),
    Enable,
    Disable,
    StopTopic(bool),
    Tick,
    Wait(u64),
    RosJump(i64),
    Stop,
    Reset,
    Goal {
        id: u8,
        x: f64,
        y: f64,
        after: Option<u8>,
        must: bool,
        expires_ms: Option<u64>,
    },
    Cancel,
    Limits(f64),
    /// A box to keep out of, around this place, and a margin; or nothing besides the parameters.
    Zones(Option<(f64, f64, f64)>),
    JournalFull(bool),
    JournalFault(bool),
    DiskStalls(bool),
    DriveFails(bool),
    HaltFails(bool),
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1.2..1.2,
        2 => -5.0..5.0,
        1 => any::<f64>(),
        1 => prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(1e308), Just(5e-324)],
    ]
}

fn off_axis() -> impl Strategy<Value = f64> {
    prop_oneof![30 => Just(0.0), 1 => number()]
}

fn op() -> impl Strategy<Value = Op> {
    let age = prop_oneof![4 => Just(None), 4 => (-150..600_i64).prop_map(Some), 1 => any::<i32>().prop_map(|a| Some(a.into()))];
    let rarely = || prop::bool::weighted(0.2);
    prop_oneof![
        20 => (0..SOURCES.len(), (number(), off_axis(), off_axis(), off_axis(), off_axis(), number()), age).prop_map(
            |(source, (x, y, z, roll, pitch, yaw), age_ms)| {
                Op::Command { source, linear: [x, y, z], angular: [roll, pitch, yaw], age_ms }
            }
        ),
        12 => (-3.2..3.2, -3.2..3.2, -3.1..3.1).prop_map(|(x, y, yaw)| Op::State { x, y, yaw }),
        8 => [(0..360_usize, 0.1..4.0_f32), (0..360_usize, 0.1..4.0_f32)].prop_map(Op::Scan),
        1 => Just(Op::Scan([(0, f32::NAN), (1, f32::NEG_INFINITY)])),
        4 => Just(Op::Enable),
        1 => Just(Op::Disable),
        1 => any::<bool>().prop_map(Op::StopTopic),
        1 => Just(Op::State { x: f64::NAN, y: 0.0, yaw: 0.0 }),
        20 => Just(Op::Tick),
        12 => prop_oneof![9 => 1..120_u64, 1 => 400..1500_u64].prop_map(Op::Wait),
        1 => (-10_000..10_000_i64).prop_map(Op::RosJump),
        1 => Just(Op::Stop),
        4 => Just(Op::Reset),
        3 => (0..6_u8, -4.0..4.0, -4.0..4.0, prop::option::of(0..6_u8), any::<bool>(), prop::option::of(0..2000_u64))
            .prop_map(|(id, x, y, after, must, expires_ms)| Op::Goal { id, x, y, after, must, expires_ms }),
        1 => Just(Op::Cancel),
        2 => (0.0..1.5).prop_map(Op::Limits),
        2 => prop::option::of((-3.0..3.0, -3.0..3.0, -0.01..0.5)).prop_map(Op::Zones),
        1 => rarely().prop_map(Op::JournalFull),
        1 => rarely().prop_map(Op::JournalFault),
        1 => rarely().prop_map(Op::DiskStalls),
        1 => rarely().prop_map(Op::DriveFails),
        1 => rarely().prop_map(Op::HaltFails),
    ]
}

/// With a jerk that binds.
const CEILING: Limits = Limits { max_linear_jerk: 5.0, max_angular_jerk: 20.0, ..support::CEILING };
const SOURCES: [&str; 4] = ["cmd_vel_in", "joy", "execute", "stranger"];
const PRIORITIES: [u8; 4] = [10, 100, 20, 0];
const HALF_SECOND: Duration = Duration::from_millis(500);
const OBSTACLES: ObstacleConfig = ObstacleConfig { robot_radius: 0.25, margin: 0.05, blind_speed: 0.0 };

const MOUNT: PlanarPose = PlanarPose { x: 0.1, y: 0.0, yaw: 0.0 };

/// What the test knows by itself, to judge the executor by.
struct Model {
    now: Now,
    state: Option<(MeasuredState, Steady)>,
    limits: Limits,
    output: Velocity,
    output_at: Option<Steady>,
    /// Acceleration of the last step that sped up, per axis.
    ramp: [f64; 2],
    /// Those of the parameters first, and how many these are.
    zones: Vec<Zone>,
    fixed: usize,
    clearance: f64,
    /// What the last good scan showed, in the frame of odometry, and when.
    seen: Option<(Vec<[f64; 2]>, Steady)>,
    /// The last good command of each source that was carried out.
    heard: [Option<Steady>; 3],
    armed: bool,
    ticked: Option<Steady>,
    accepted: BTreeSet<GoalId>,
    by_id: BTreeMap<u8, GoalId>,
    finished: BTreeSet<GoalId>,
    counted: [u64; 3],
}

fn since(now: Now, at: Steady) -> Duration {
    now.steady.since(at)
}

impl Model {
    /// Judges what one call did. `source` is on whose behalf it may, on its own terms, put out anything.
    fn judge(&mut self, op: &Op, events: &[Event], source: Option<usize>) {
        let mut recorded: Option<(u64, &Entry)> = None;
        for event in events {
            match event {
                Event::Recorded(sequence, entry) => {
                    recorded = Some((*sequence, entry));
                    self.count(entry);
                }
                Event::Halted => {
                    self.heard = [None; 3];
                    self.put_out(Velocity::ZERO);
                }
                Event::Driven(sequence, v) => {
                    let Some(source) = source else { panic!("{op:?} drove {v:?}") };
                    assert!(self.armed, "{op:?}: moves though nobody enabled");
                    let Some((last, Entry::Motion(motion))) = recorded else { panic!("{op:?}: driven unrecorded") };
                    assert_eq!((last, motion.applied.map(Velocity::from)), (*sequence, Some(*v)), "journaled first");
                    for (other, heard) in self.heard.iter().enumerate() {
                        let higher = PRIORITIES[other] > PRIORITIES[source];
                        let speaks = heard.is_some_and(|at| since(self.now, at) <= HALF_SECOND);
                        assert!(!(higher && speaks), "{op:?}: {} is outranked by {}", SOURCES[source], SOURCES[other]);
                    }
                    self.judge_velocity(op, *v);
                    self.put_out(*v);
                    self.heard[source] = Some(self.now.steady);
                }
            }
        }
    }

    fn put_out(&mut self, v: Velocity) {
        let elapsed = self.output_at.map_or(ACCELERATION_WINDOW, |at| since(self.now, at).min(ACCELERATION_WINDOW));
        for (ramp, (before, after)) in self.ramp.iter_mut().zip([(self.output.x, v.x), (self.output.yaw, v.yaw)]) {
            let faster = after.abs() - before.abs();
            if !elapsed.is_zero() {
                *ramp = if faster > 0.0 && before * after >= 0.0 { faster / elapsed.as_secs_f64() } else { 0.0 };
            }
        }
        self.output = v;
        self.output_at = Some(self.now.steady);
    }

    fn judge_velocity(&self, op: &Op, v: Velocity) {
        const SLACK: f64 = 1e-9;
        let limits = &self.limits;
        assert!(v.x.is_finite() && v.y == 0.0 && v.yaw.is_finite(), "{op:?}: {v:?}");
        assert!(v.speed() <= limits.max_linear_speed + SLACK, "{op:?}: {v:?}");
        assert!(v.yaw.abs() <= limits.max_angular_speed + SLACK, "{op:?}: {v:?}");
        let elapsed = self.output_at.map_or(ACCELERATION_WINDOW, |at| since(self.now, at).min(ACCELERATION_WINDOW));
        let seconds = elapsed.as_secs_f64();
        for (present, next, ramp, most, jerk) in [
            (self.output.x, v.x, self.ramp[0], limits.max_linear_acceleration, limits.max_linear_jerk),
            (self.output.yaw, v.yaw, self.ramp[1], limits.max_angular_acceleration, limits.max_angular_jerk),
        ] {
            let step = most.min(ramp + jerk * seconds) * seconds + SLACK;
            let slower = present * next >= 0.0 && next.abs() <= present.abs();
            assert!(slower || (next - present).abs() <= step || next.abs() <= step, "{op:?}: {present} to {next}");
        }
        if v.is_zero() {
            return;
        }
        let Some((state, at)) = self.state else { panic!("{op:?}: moves without a state") };
        assert!(since(self.now, at) <= HALF_SECOND, "{op:?}: moves on a stale state");
        let needed = v.speed().powi(2) / (2.0 * limits.max_linear_acceleration);
        for zone in &self.zones {
            let free = zone.free_path(state.pose, v, needed);
            assert!(free >= needed - 1e-6, "{op:?}: {v:?} needs {needed} m and has {free} to {}", zone.name());
        }
        let Some((points, at)) = &self.seen else { panic!("{op:?}: moves without a scan") };
        assert!(since(self.now, *at) <= HALF_SECOND, "{op:?}: moves on a stale scan");
        self.judge_way(op, state.pose, v, needed, points);
    }

    /// Walks the way that braking needs: it comes no nearer to anything than it may, or than it was at the start.
    fn judge_way(&self, op: &Op, from: PlanarPose, v: Velocity, needed: f64, points: &[[f64; 2]]) {
        let steps = 40;
        let seconds = if needed > 0.0 { needed / v.speed() / f64::from(steps) } else { return };
        let may_be = |zone: &Zone, x, y| zone.contains([x, y]) == (zone.rule() == Rule::StayInside);
        for zone in self.zones.iter().filter(|zone| may_be(zone, from.x, from.y)) {
            let (mut x, mut y, mut yaw) = (from.x, from.y, from.yaw);
            for _ in 0..steps - 1 {
                let middle = yaw + v.yaw * seconds / 2.0;
                (x, y) = (x + middle.cos() * v.x * seconds, y + middle.sin() * v.x * seconds);
                yaw += v.yaw * seconds;
                assert!(may_be(zone, x, y), "{op:?}: {v:?} from {from:?} crosses the border of {}", zone.name());
            }
        }
        let clearance = self.clearance;
        for point in points {
            let start = (point[0] - from.x).hypot(point[1] - from.y);
            let (mut x, mut y, mut yaw) = (from.x, from.y, from.yaw);
            for _ in 0..steps {
                let middle = yaw + v.yaw * seconds / 2.0;
                (x, y) = (x + middle.cos() * v.x * seconds, y + middle.sin() * v.x * seconds);
                yaw += v.yaw * seconds;
                let distance = (point[0] - x).hypot(point[1] - y);
                assert!(
                    distance >= clearance.min(start) - 1e-3,
                    "{op:?}: {v:?} from {from:?} comes {distance} near to {point:?}"
                );
            }
        }
    }

    fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Motion(Motion { verdict, .. }) => match Verdict::try_from(*verdict).unwrap() {
                Verdict::Admitted => self.counted[0] += 1,
                Verdict::Limited => self.counted[1] += 1,
                Verdict::Refused => self.counted[2] += 1,
                Verdict::Halted | Verdict::Unspecified => {}
            },
            Entry::Refusals(refusals) => self.counted[2] += refusals.count,
            _ => {}
        }
    }
}

/// Whether a command's own content bars it.
fn is_sane(linear: [f64; 3], angular: [f64; 3], age_ms: Option<i64>) -> bool {
    let ([x, y, z], [roll, pitch, yaw]) = (linear, angular);
    x.is_finite()
        && yaw.is_finite()
        && [y, z, roll, pitch].iter().all(|v| *v == 0.0)
        && x.abs() <= 2.0
        && yaw.abs() <= 4.0
        && age_ms.is_none_or(|age| (-100..=500).contains(&age))
}

fn step(executive: &mut Executive<Shared, Shared>, shared: &Shared, model: &mut Model, op: &Op) {
    let now = model.now;
    let active = executive.feedback(now).first().is_some_and(|f| f.progress == ecps_actuation::Progress::Started);
    let broken = shared.0.borrow().journal_full || shared.0.borrow().drive_fails;
    let overslept = model.ticked.is_some_and(|at| since(now, at) > Duration::from_secs(1));
    let mut source = None;
    match op {
        Op::Command { source: from, linear, angular, age_ms } => {
            let stamp = age_ms.map(|age| Stamp(now.ros.0 - age * 1_000_000));
            let command = VelocityCommand { source: SOURCES[*from], linear: *linear, angular: *angular, stamp };
            executive.on_velocity(&command, now);
            let passes = SOURCES[*from] != "stranger" && is_sane(*linear, *angular, *age_ms) && !overslept;
            source = (passes && (!active || PRIORITIES[*from] > PRIORITIES[2])).then_some(*from);
        }
        Op::Scan(things) => {
            let mut ranges = [f32::INFINITY; 360];
            things.iter().for_each(|(beam, range)| ranges[*beam] = *range);
            let increment = std::f64::consts::TAU / 360.0;
            let angle_min = -std::f64::consts::PI;
            let scan = Scan { angle_min, angle_increment: increment, range_min: 0.1, range_max: 5.0, ranges: &ranges };
            // Each state of these histories has the same stamp, so the place is that of the last.
            if executive.on_scan(&scan, MOUNT, Stamp(0), now).is_ok() {
                let (state, _) = model.state.unwrap();
                let place = |(beam, range): &(usize, f32)| {
                    let angle = state.pose.yaw + angle_min + increment * *beam as f64;
                    let range = if range.is_infinite() { 0.1 } else { f64::from(*range) };
                    let mount = [state.pose.x + 0.1 * state.pose.yaw.cos(), state.pose.y + 0.1 * state.pose.yaw.sin()];
                    (!range.is_nan()).then_some([mount[0] + range * angle.cos(), mount[1] + range * angle.sin()])
                };
                model.seen = Some((things.iter().filter_map(place).collect(), now.steady));
            }
        }
        Op::Enable => {
            let running = executive.mode() != Mode::Stopped;
            model.armed |= executive.enable(PLANNER, now).is_ok() && running;
        }
        Op::Disable => {
            let _ = executive.disable(PLANNER, now);
            model.armed = false;
        }
        Op::StopTopic(on) => executive.set_present(StopCause::Topic, *on, "/stop", now),
        Op::State { x, y, yaw } => {
            let state = pose(*x, *y, *yaw);
            if executive.on_state("odom", state, now).is_ok() {
                model.state = Some((state, now.steady));
            }
        }
        Op::Tick => {
            executive.tick(now);
            model.ticked = Some(now.steady);
            source = (shared.0.borrow().journal_fault.is_none() && !overslept).then_some(2);
        }
        Op::Wait(ms) => {
            model.now.steady.0 += Duration::from_millis(*ms);
            model.now.ros.0 += *ms as i64 * 1_000_000;
            model.now.wall.0 += *ms as i64 * 1_000_000;
        }
        Op::RosJump(ms) => model.now.ros.0 += ms * 1_000_000,
        Op::Stop => executive.stop(StopCause::Requested, "anyone", now),
        Op::Reset => {
            let armed = executive.reset(PLANNER, now).is_ok_and(|outcome| outcome != ResetOutcome::WasRunning);
            model.armed |= armed;
        }
        Op::Goal { id, x, y, after, must, expires_ms } => {
            let mut message = navigate(&id.to_string(), *x, *y);
            message.meta.extend(after.map(|id| ("after".to_owned(), id.to_string())));
            message.meta.extend(must.then(|| ("safety".to_owned(), "stop_on_fail".to_owned())));
            let moment = |ms: u64| (now.ros.0 + ms as i64 * 1_000_000).to_string();
            message.meta.extend(expires_ms.map(|ms| ("expires_at_ns".to_owned(), moment(ms))));
            if let Ok(submitted) = executive.submit(PLANNER, &message, now) {
                let new = submitted.repeat == Repeat::First;
                assert_eq!(model.accepted.insert(submitted.goal), new, "{op:?}");
                let first = *model.by_id.entry(*id).or_insert(submitted.goal);
                assert_eq!(submitted.goal, first, "{op:?}: an id is executed once");
            }
        }
        Op::Cancel => {
            let goal = model.accepted.last().copied().unwrap_or(GoalId(0));
            executive.cancel(goal, now);
        }
        Op::Limits(share) => {
            let limits = Limits { max_linear_speed: *share, ..CEILING };
            if executive.set_limits(PLANNER, limits, &[], now).is_ok() {
                assert!(*share <= 1.0);
                model.limits = limits;
            }
        }
        Op::Zones(added) => {
            let around =
                |(x, y, _)| Zone::rectangle("box", Rule::KeepOut, [x - 0.3, y - 0.3], [x + 0.3, y + 0.3]).unwrap();
            let margin = added.map_or(0.0, |(_, _, margin)| margin);
            let added = ZoneSet { zones: added.map(around).into_iter().collect(), obstacle_margin: margin };
            if executive.set_zones(PLANNER, added.clone(), now).is_ok() {
                assert!(margin >= 0.0);
                model.zones.truncate(model.fixed);
                model.zones.extend(added.zones);
                model.clearance = OBSTACLES.robot_radius + margin.max(OBSTACLES.margin);
            }
        }
        Op::JournalFull(on) => shared.0.borrow_mut().journal_full = *on,
        Op::JournalFault(on) => shared.0.borrow_mut().journal_fault = on.then(|| "the disk is gone".into()),
        Op::DiskStalls(on) => shared.0.borrow_mut().disk_stalls = *on,
        Op::DriveFails(on) => shared.0.borrow_mut().drive_fails = *on,
        Op::HaltFails(on) => shared.0.borrow_mut().halt_fails = *on,
    }
    model.judge(op, &shared.events(), source.filter(|_| !broken));
    model.armed &= executive.mode() != Mode::Stopped;
    if overslept && matches!(op, Op::Command { .. } | Op::Goal { .. } | Op::Reset) {
        model.ticked = Some(now.steady);
    }
    while let Some(finished) = executive.take_finished() {
        assert!(model.accepted.contains(&finished.goal) && model.finished.insert(finished.goal), "ends exactly once");
    }
    assert_eq!(executive.output(), model.output, "{op:?}: what it believes is what it put out");
    if executive.mode() == Mode::Stopped {
        assert!(model.output.is_zero(), "{op:?}: stopped and moving");
        assert_eq!(model.accepted.len(), model.finished.len(), "{op:?}: stopped with an action");
    }
    assert!(executive.snapshot(now).queued <= 4, "{op:?}: more wait than may");
    if executive.mode() == Mode::Disarmed {
        assert!(model.output.is_zero(), "{op:?}: disarmed and moving");
    }
    if matches!(op, Op::Tick) && !model.output.is_zero() {
        let fresh = |at: Option<Steady>| at.is_some_and(|at| since(now, at) <= Duration::from_millis(500));
        assert!(model.heard.iter().any(|at| fresh(*at)), "moves on after command silence");
        assert!(fresh(model.seen.as_ref().map(|(_, at)| *at)), "moves on without a scan");
        assert!(fresh(model.state.map(|(_, at)| at)), "moves on without a state");
        assert!(model.output.speed() <= model.limits.max_linear_speed * (1.0 + 1e-6), "moves on above lowered limits");
        let (state, _) = model.state.unwrap();
        let needed = model.output.speed().powi(2) / (2.0 * model.limits.max_linear_acceleration);
        for zone in &model.zones {
            let free = zone.free_path(state.pose, model.output, needed);
            assert!(free >= needed - 1e-6, "moves on into {}", zone.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_moves_that_must_not_and_everything_is_accounted_for(ops in prop::collection::vec(op(), 1..120)) {
        let room = Zone::rectangle("room", Rule::StayInside, [-3.0, -3.0], [3.0, 3.0]).unwrap();
        let triangle = vec![[0.5, 0.5], [1.5, 0.5], [1.0, 1.5]];
        let zones = vec![room, Zone::polygon("pillar", Rule::KeepOut, triangle).unwrap()];
        let mut gate = GateConfig::new(CEILING);
        gate.zones.clone_from(&zones);
        gate.obstacles = Some(OBSTACLES);
        gate.sources.push(Source { name: "joy".into(), priority: 100, timeout: HALF_SECOND });
        let shared = Shared::default();
        let mut model = Model {
            now: support::at(0),
            state: None,
            limits: CEILING,
            output: Velocity::ZERO,
            output_at: Some(support::at(0).steady),
            ramp: [0.0; 2],
            fixed: zones.len(),
            zones,
            clearance: OBSTACLES.robot_radius + OBSTACLES.margin,
            seen: None,
            heard: [None; 3],
            armed: false,
            ticked: None,
            accepted: BTreeSet::new(),
            by_id: BTreeMap::new(),
            finished: BTreeSet::new(),
            counted: [0; 3],
        };
        let mut executive = Executive::new(config(gate), shared.clone(), shared.clone(), model.now).unwrap();
        shared.events();
        for op in &ops {
            step(&mut executive, &shared, &mut model, op);
        }
        shared.0.borrow_mut().journal_full = false;
        executive.stop(StopCause::Shutdown, "the end", model.now);
        model.judge(&Op::Stop, &shared.events(), None);
        let snapshot = executive.snapshot(model.now);
        prop_assert_eq!(model.counted, [snapshot.admitted, snapshot.limited, snapshot.refused]);
        let ended = std::iter::from_fn(|| executive.take_finished()).count();
        prop_assert_eq!(model.finished.len() + ended, model.accepted.len());
    }
}
