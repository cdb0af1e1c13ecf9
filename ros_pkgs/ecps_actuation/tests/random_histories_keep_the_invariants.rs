//! Random histories of commands, states, stops, clock jumps and failures, against what must hold in each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_actuation::gate::ACCELERATION_WINDOW;
use ecps_actuation::{
    Executive, GateConfig, GoalId, Limits, MeasuredState, Mode, Now, StopCause, Velocity, VelocityCommand, Workspace,
};
use ecps_core::clock::{Stamp, Steady};
use ecps_journal::record::{Entry, Motion, Verdict};
use proptest::prelude::*;
use support::{CEILING, Event, PLANNER, Shared, config, navigate, pose};

#[derive(Debug, Clone)]
enum Op {
    Command { linear: [f64; 3], angular: [f64; 3], age_ms: Option<i64> },
    State { x: f64, y: f64, yaw: f64 },
    Tick,
    Wait(u64),
    RosJump(i64),
    Stop,
    Reset,
    Goal { x: f64, y: f64 },
    Cancel,
    Limits(f64),
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
        20 => (number(), off_axis(), off_axis(), off_axis(), off_axis(), number(), age).prop_map(
            |(x, y, z, roll, pitch, yaw, age_ms)| Op::Command { linear: [x, y, z], angular: [roll, pitch, yaw], age_ms }
        ),
        12 => (-3.2..3.2, -3.2..3.2, -3.1..3.1).prop_map(|(x, y, yaw)| Op::State { x, y, yaw }),
        1 => Just(Op::State { x: f64::NAN, y: 0.0, yaw: 0.0 }),
        20 => Just(Op::Tick),
        12 => prop_oneof![9 => 1..120_u64, 1 => 400..1500_u64].prop_map(Op::Wait),
        1 => (-10_000..10_000_i64).prop_map(Op::RosJump),
        1 => Just(Op::Stop),
        4 => Just(Op::Reset),
        3 => (-4.0..4.0, -4.0..4.0).prop_map(|(x, y)| Op::Goal { x, y }),
        1 => Just(Op::Cancel),
        2 => (0.0..1.5).prop_map(Op::Limits),
        1 => rarely().prop_map(Op::JournalFull),
        1 => rarely().prop_map(Op::JournalFault),
        1 => rarely().prop_map(Op::DiskStalls),
        1 => rarely().prop_map(Op::DriveFails),
        1 => rarely().prop_map(Op::HaltFails),
    ]
}

/// What the test knows by itself, to judge the executor by.
struct Model {
    now: Now,
    state: Option<(MeasuredState, Steady)>,
    limits: Limits,
    output: Velocity,
    output_at: Option<Steady>,
    room: Workspace,
    accepted: BTreeSet<GoalId>,
    finished: BTreeSet<GoalId>,
    counted: [u64; 3],
}

fn since(now: Now, at: Steady) -> Duration {
    now.steady.since(at)
}

impl Model {
    /// Judges what one call did. `may_drive` says whether this call, on its own terms, may put out anything.
    fn judge(&mut self, op: &Op, events: &[Event], may_drive: bool) {
        let mut recorded: Option<(u64, &Entry)> = None;
        for event in events {
            match event {
                Event::Recorded(sequence, entry) => {
                    recorded = Some((*sequence, entry));
                    self.count(entry);
                }
                Event::Halted => {
                    self.output = Velocity::ZERO;
                    self.output_at = Some(self.now.steady);
                }
                Event::Driven(sequence, v) => {
                    assert!(may_drive, "{op:?} drove {v:?}");
                    let Some((last, Entry::Motion(motion))) = recorded else { panic!("{op:?}: driven unrecorded") };
                    assert_eq!((last, motion.applied.map(Velocity::from)), (*sequence, Some(*v)), "journaled first");
                    self.judge_velocity(op, *v);
                    self.output = *v;
                    self.output_at = Some(self.now.steady);
                }
            }
        }
    }

    fn judge_velocity(&self, op: &Op, v: Velocity) {
        const SLACK: f64 = 1e-9;
        let limits = &self.limits;
        assert!(v.x.is_finite() && v.y == 0.0 && v.yaw.is_finite(), "{op:?}: {v:?}");
        assert!(v.speed() <= limits.max_linear_speed + SLACK, "{op:?}: {v:?}");
        assert!(v.yaw.abs() <= limits.max_angular_speed + SLACK, "{op:?}: {v:?}");
        let elapsed = self.output_at.map_or(ACCELERATION_WINDOW, |at| since(self.now, at).min(ACCELERATION_WINDOW));
        for (present, next, most) in [
            (self.output.x, v.x, limits.max_linear_acceleration),
            (self.output.yaw, v.yaw, limits.max_angular_acceleration),
        ] {
            let step = most * elapsed.as_secs_f64() + SLACK;
            let slower = present * next >= 0.0 && next.abs() <= present.abs();
            assert!(slower || (next - present).abs() <= step || next.abs() <= step, "{op:?}: {present} to {next}");
        }
        if v.is_zero() {
            return;
        }
        let Some((state, at)) = self.state else { panic!("{op:?}: moves without a state") };
        assert!(since(self.now, at) <= Duration::from_millis(500), "{op:?}: moves on a stale state");
        let needed = v.speed().powi(2) / (2.0 * limits.max_linear_acceleration);
        let free = self.room.free_path(state.pose, v, needed);
        assert!(free >= needed - 1e-6, "{op:?}: {v:?} needs {needed} m and has {free}");
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
    let stopped = executive.mode() == Mode::Stopped;
    let active = model.accepted.len() > model.finished.len();
    let broken = shared.0.borrow().journal_full || shared.0.borrow().drive_fails;
    let mut may_drive = false;
    match op {
        Op::Command { linear, angular, age_ms } => {
            let stamp = age_ms.map(|age| Stamp(now.ros.0 - age * 1_000_000));
            let command = VelocityCommand { source: "cmd_vel_in", linear: *linear, angular: *angular, stamp };
            executive.on_velocity(&command, now);
            may_drive = !active && is_sane(*linear, *angular, *age_ms);
        }
        Op::State { x, y, yaw } => {
            let state = pose(*x, *y, *yaw);
            if executive.on_state("odom", state, now).is_ok() {
                model.state = Some((state, now.steady));
            }
        }
        Op::Tick => {
            executive.tick(now);
            may_drive = active && shared.0.borrow().journal_fault.is_none();
        }
        Op::Wait(ms) => {
            model.now.steady.0 += Duration::from_millis(*ms);
            model.now.ros.0 += *ms as i64 * 1_000_000;
            model.now.wall.0 += *ms as i64 * 1_000_000;
        }
        Op::RosJump(ms) => model.now.ros.0 += ms * 1_000_000,
        Op::Stop => executive.stop(StopCause::Requested, "anyone", now),
        Op::Reset => drop(executive.reset(PLANNER, now)),
        Op::Goal { x, y } => {
            if let Ok(goal) = executive.start_goal(PLANNER, &navigate("goal", *x, *y), now) {
                model.accepted.insert(goal);
            }
        }
        Op::Cancel => {
            let goal = model.accepted.last().copied().unwrap_or(GoalId(0));
            executive.cancel(goal, now);
        }
        Op::Limits(share) => {
            let limits = Limits { max_linear_speed: *share, ..CEILING };
            if executive.set_limits(PLANNER, limits, now).is_ok() {
                assert!(*share <= 1.0);
                model.limits = limits;
            }
        }
        Op::JournalFull(on) => shared.0.borrow_mut().journal_full = *on,
        Op::JournalFault(on) => shared.0.borrow_mut().journal_fault = on.then(|| "the disk is gone".into()),
        Op::DiskStalls(on) => shared.0.borrow_mut().disk_stalls = *on,
        Op::DriveFails(on) => shared.0.borrow_mut().drive_fails = *on,
        Op::HaltFails(on) => shared.0.borrow_mut().halt_fails = *on,
    }
    model.judge(op, &shared.events(), may_drive && !stopped && !broken);
    while let Some(finished) = executive.take_finished() {
        assert!(model.accepted.contains(&finished.goal) && model.finished.insert(finished.goal), "ends exactly once");
    }
    assert_eq!(executive.output(), model.output, "{op:?}: what it believes is what it put out");
    if executive.mode() == Mode::Stopped {
        assert!(model.output.is_zero(), "{op:?}: stopped and moving");
        assert_eq!(model.accepted.len(), model.finished.len(), "{op:?}: stopped with an action");
    }
    if matches!(op, Op::Tick) && !model.output.is_zero() {
        let fresh = |at: Option<Steady>| at.is_some_and(|at| since(now, at) <= Duration::from_millis(500));
        assert!(fresh(model.output_at), "moves on after command silence");
        assert!(fresh(model.state.map(|(_, at)| at)), "moves on without a state");
        assert!(model.output.speed() <= model.limits.max_linear_speed * (1.0 + 1e-6), "moves on above lowered limits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ecps_core::campaign::rounds(400, 10_000), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_moves_that_must_not_and_everything_is_accounted_for(ops in prop::collection::vec(op(), 1..120)) {
        let room = Workspace::rectangle([-3.0, -3.0], [3.0, 3.0]).unwrap();
        let mut gate = GateConfig::new(CEILING);
        gate.workspace = Some(room.clone());
        let shared = Shared::default();
        let mut model = Model {
            now: support::at(0),
            state: None,
            limits: CEILING,
            output: Velocity::ZERO,
            output_at: Some(support::at(0).steady),
            room,
            accepted: BTreeSet::new(),
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
        model.judge(&Op::Stop, &shared.events(), false);
        let snapshot = executive.snapshot();
        prop_assert_eq!(model.counted, [snapshot.admitted, snapshot.limited, snapshot.refused]);
        let ended = std::iter::from_fn(|| executive.take_finished()).count();
        prop_assert_eq!(model.finished.len() + ended, model.accepted.len());
    }
}
