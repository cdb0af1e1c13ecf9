//! Trajectories of joints before the gate, grips, stops that reach the joints, and random histories of all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecps_actuation::errand::{Errand, ErrandEvent, ErrandFailure, Errands};
use ecps_actuation::joint::trajectory::Knot;
use ecps_actuation::joint::{
    GripConfig, JointChange, JointCommand, JointConfig, JointGroup, JointLimits, JointSource, JointStates,
    JointVerdict, Trajectory, TrajectoryPoint,
};
use ecps_actuation::{
    Actuator, ActuatorError, AttachError, Config, ErrorCode, Executive, Finished, GateConfig, GoalId, JointActuator,
    Journaled, PolicyError, Record, SafeState, StopCause, Velocity, VelocityCommand,
};
use ecps_core::clock::{Stamp, Steady};
use ecps_core::wire::proto::{self, eap, gripper_op};
use ecps_journal::record::{Entry, JointMotion, Payload, Verdict};
use ecps_journal::{AppendError, Durable, Moment};
use proptest::prelude::*;
use support::{CEILING, PLANNER, at};

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Recorded(u64, Entry),
    Followed(u64, Trajectory),
    Rested(Trajectory),
    Driven(Velocity),
    Halted,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<Event>,
    sequence: u64,
    journal_full: bool,
    follow_fails: bool,
}

/// Journal, base and joints in one log.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Inner>>, Option<SafeState>);

impl Log {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }
}

impl Record for Log {
    fn append<P: Payload>(&mut self, _: &Moment, payload: &P) -> Result<u64, AppendError> {
        let mut inner = self.0.lock().unwrap();
        let sequence = inner.sequence + 1;
        if inner.journal_full {
            let source = std::io::Error::other("the disk is full");
            return Err(AppendError::Write { sequence, segment: 1, source });
        }
        inner.sequence = sequence;
        let entry = Entry::decode(P::KIND, &payload.encode_to_vec()).unwrap();
        inner.log.push(Event::Recorded(sequence, entry));
        Ok(sequence)
    }

    fn durable(&self, _: u64) -> Durable {
        Durable::OnDisk
    }

    fn fault(&self) -> Option<String> {
        None
    }

    fn sequence(&self) -> u64 {
        self.0.lock().unwrap().sequence
    }
}

impl Actuator for Log {
    fn safe_state(&self) -> SafeState {
        SafeState::ZeroVelocity
    }

    fn drive(&mut self, velocity: Journaled<Velocity>) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().log.push(Event::Driven(*velocity.value()));
        Ok(())
    }

    fn halt(&mut self) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().log.push(Event::Halted);
        Ok(())
    }
}

impl JointActuator for Log {
    fn safe_state(&self) -> SafeState {
        self.1.unwrap_or(SafeState::Hold)
    }

    fn follow(&mut self, way: Journaled<Trajectory>) -> Result<(), ActuatorError> {
        let mut inner = self.0.lock().unwrap();
        if inner.follow_fails {
            return Err(ActuatorError("the controller is gone".into()));
        }
        inner.log.push(Event::Followed(way.sequence(), way.value().clone()));
        Ok(())
    }

    fn rest(&mut self, way: &Trajectory) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().log.push(Event::Rested(way.clone()));
        Ok(())
    }
}

type Robot = Executive<Log, Log>;

fn joints() -> [JointLimits; 3] {
    let joint = |name: &str, lower, upper, velocity, acceleration| JointLimits {
        lower,
        upper,
        velocity,
        acceleration,
        effort: 10.0,
        ..JointLimits::unlimited(name)
    };
    [
        joint("lift", -1.0, 2.0, 1.5, 6.0),
        joint("spin", f64::NEG_INFINITY, f64::INFINITY, 2.0, f64::INFINITY),
        joint("finger", 0.0, 0.04, 0.1, f64::INFINITY),
    ]
}

fn joint_config(safe: SafeState) -> JointConfig {
    let [lift, spin, finger] = joints();
    let source = |name: &str, priority| JointSource { name: name.into(), priority };
    JointConfig {
        groups: vec![
            JointGroup { name: "arm".into(), joints: vec![lift, spin], safe: SafeState::Hold, open: vec![] },
            JointGroup { name: "gripper".into(), joints: vec![finger], safe, open: vec![0.04] },
        ],
        sources: vec![source("joint_trajectory_in", 10), source("pendant", 100), source("execute", 20)],
        state_timeout: Duration::from_millis(250),
        command_lifetime: Duration::from_millis(500),
        future_tolerance: Duration::from_millis(100),
        refuse_above: 2.0,
        start_tolerance: 0.02,
    }
}

fn fingers() -> GripConfig {
    GripConfig { group: 1, closed: vec![0.0], open: vec![0.04] }
}

fn robot_with(safe: SafeState, errands: Errands) -> (Robot, Log) {
    let log = Log::default();
    let config = Config { errands, ..support::config(GateConfig::new(CEILING)) };
    let mut robot = Executive::new(config, log.clone(), log.clone(), at(0)).unwrap();
    let actuators: Vec<Box<dyn JointActuator>> =
        vec![Box::new(log.clone()), Box::new(Log(Arc::clone(&log.0), Some(safe)))];
    robot.attach(joint_config(safe), actuators, Some(fingers()), None).unwrap();
    robot.enable(PLANNER, at(0)).unwrap();
    measure(&mut robot, [0.0, 0.0, 0.02], [0.0; 3], 0);
    log.take();
    (robot, log)
}

fn robot() -> (Robot, Log) {
    robot_with(SafeState::Hold, Errands::default())
}

fn measure(robot: &mut Robot, positions: [f64; 3], velocities: [f64; 3], ms: u64) {
    let names = ["lift", "spin", "finger"].map(String::from);
    let efforts = [0.0, 0.0, 0.0];
    let states = JointStates {
        names: &names,
        positions: &positions,
        velocities: &velocities,
        efforts: &efforts,
        stamp: Stamp(0),
    };
    robot.on_joint_states(&states, at(ms)).unwrap();
}

fn way(points: &[(u64, [f64; 2])]) -> Trajectory {
    let point = |(ms, positions): &(u64, [f64; 2])| TrajectoryPoint {
        positions: positions.to_vec(),
        velocities: vec![0.0; 2],
        time_ns: *ms as i64 * 1_000_000,
        ..TrajectoryPoint::default()
    };
    Trajectory { joints: vec!["lift".into(), "spin".into()], points: points.iter().map(point).collect() }
}

fn send(robot: &mut Robot, trajectory: &Trajectory, ms: u64) -> JointVerdict {
    send_as(robot, "joint_trajectory_in", trajectory, ms)
}

fn send_as(robot: &mut Robot, source: &str, trajectory: &Trajectory, ms: u64) -> JointVerdict {
    robot.on_trajectory(&JointCommand { source, trajectory, stamp: None }, at(ms))
}

fn reason(verdict: JointVerdict) -> &'static str {
    match verdict {
        JointVerdict::Refuse(refusal) => refusal.reason().name(),
        passed => panic!("{passed:?}"),
    }
}

#[test]
fn a_good_way_passes_as_it_came_and_is_recorded_before() {
    let (mut robot, log) = robot();
    let trajectory = way(&[(1000, [0.5, 0.5])]);
    assert_eq!(send(&mut robot, &trajectory, 10), JointVerdict::Admit { group: 0 });
    let [Event::Recorded(record, Entry::JointMotion(motion)), Event::Followed(followed, sent)] = &log.take()[..] else {
        panic!("recorded, and then sent");
    };
    assert_eq!((record, sent), (followed, &trajectory));
    assert_eq!((motion.verdict(), motion.group.as_str()), (Verdict::Admitted, "arm"));
    assert_eq!(motion.raw, motion.applied);
}

#[test]
fn a_way_that_is_too_fast_is_gone_more_slowly_or_not_at_all() {
    let (mut robot, log) = robot();
    // 1.2 rad in 1 s peaks at 1.8 rad/s, and 1.5 may be.
    match send(&mut robot, &way(&[(1000, [1.2, 0.0])]), 10) {
        JointVerdict::Limit { applied, reason, .. } => {
            assert_eq!(reason.name(), "joint_velocity");
            let seconds = applied.duration_ns() as f64 * 1e-9;
            assert!((seconds - 1.2).abs() < 0.001, "{seconds}");
        }
        other => panic!("{other:?}"),
    }
    log.take();
    assert_eq!(reason(send(&mut robot, &way(&[(50, [0.2, 0.0])]), 20)), "joint_acceleration");
    assert_eq!(reason(send(&mut robot, &way(&[(500, [0.0, 5.0])]), 30)), "joint_velocity");
    assert!(log.take().iter().all(|event| matches!(event, Event::Recorded(..))), "nothing was sent");
}

#[test]
fn each_rule_refuses_by_its_name() {
    let (mut robot, _log) = robot();
    let good = way(&[(1000, [0.5, 0.5])]);
    let changed = |change: &dyn Fn(&mut Trajectory)| {
        let mut trajectory = good.clone();
        change(&mut trajectory);
        trajectory
    };
    let too_many: Vec<_> = (1..=4097).map(|ms| (ms, [0.0, 0.0])).collect();
    for (trajectory, expected) in [
        (changed(&|t| t.joints[1] = "tail".into()), "joint_unknown"),
        (changed(&|t| t.joints[1] = "lift".into()), "joint_malformed"),
        (changed(&|t| t.joints[1] = "finger".into()), "joint_malformed"),
        (
            changed(&|t| {
                t.joints.pop();
                t.points[0].positions.pop();
                t.points[0].velocities.pop();
            }),
            "joint_malformed",
        ),
        (changed(&|t| t.points.clear()), "joint_malformed"),
        (way(&too_many), "joint_malformed"),
        (changed(&|t| t.points[0].positions[0] = f64::NAN), "not_finite"),
        (changed(&|t| t.points[0].velocities[1] = f64::INFINITY), "not_finite"),
        (changed(&|t| t.points[0].accelerations = vec![0.0]), "joint_malformed"),
        (changed(&|t| t.points[0].velocities[0] = 0.3), "joint_malformed"),
        (changed(&|t| t.points[0].time_ns = -1), "joint_malformed"),
        (changed(&|t| t.points.push(t.points[0].clone())), "joint_malformed"),
        (changed(&|t| t.points[0].time_ns = 601_000_000_000), "joint_malformed"),
        (changed(&|t| t.points[0].positions[0] = 2.001), "joint_position"),
        (changed(&|t| t.points[0].effort = vec![0.0, 11.0]), "joint_effort"),
        (way(&[(0, [0.05, 0.0]), (1000, [0.5, 0.0])]), "joint_start"),
        (
            // Both ends keep the limit, and what is between them does not.
            changed(&|t| {
                t.points = way(&[(1500, [1.9, 0.0]), (2500, [1.9, 0.0]), (4000, [0.0, 0.0])]).points;
                t.points[0].velocities[0] = 1.2;
                t.points[1].velocities[0] = -1.2;
            }),
            "joint_position",
        ),
    ] {
        assert_eq!(reason(send(&mut robot, &trajectory, 10)), expected, "{trajectory:?}");
    }
    assert_eq!(reason(send_as(&mut robot, "stranger", &good, 10)), "unknown_source");
    let stamped = |robot: &mut Robot, ms: i64| {
        let stamp = Some(Stamp(at(10).ros.0 + ms * 1_000_000));
        let command = JointCommand { source: "joint_trajectory_in", trajectory: &good, stamp };
        robot.on_trajectory(&command, at(10))
    };
    assert_eq!(reason(stamped(&mut robot, -501)), "stale");
    assert_eq!(reason(stamped(&mut robot, 101)), "from_future");
    assert_eq!(reason(send(&mut robot, &good, 251)), "joint_state_stale");
    measure(&mut robot, [0.0, 0.0, 0.02], [0.0; 3], 260);
    assert_eq!(send(&mut robot, &good, 270), JointVerdict::Admit { group: 0 });
    robot.disable(PLANNER, at(280)).unwrap();
    assert_eq!(reason(send(&mut robot, &good, 290)), "not_armed");
    robot.stop(StopCause::Requested, "test", at(300));
    assert_eq!(reason(send(&mut robot, &good, 310)), "stopped");
}

#[test]
fn a_joint_outside_its_limits_may_come_back_and_a_turn_is_no_distance() {
    let (mut robot, _log) = robot();
    measure(&mut robot, [2.3, 6.25, 0.02], [0.0; 3], 0);
    assert_eq!(send(&mut robot, &way(&[(2000, [1.5, 6.25])]), 10), JointVerdict::Admit { group: 0 });
    // 6.25 is 0.033 short of a turn, and a joint that turns without end may begin there.
    let from_zero = way(&[(0, [2.0, -0.02]), (1000, [2.0, 0.5])]);
    assert_eq!(reason(send(&mut robot, &from_zero, 20)), "joint_start", "of the lift");
    measure(&mut robot, [2.0, 6.27, 0.02], [0.0; 3], 30);
    assert_eq!(send(&mut robot, &from_zero, 40), JointVerdict::Admit { group: 0 });
}

#[test]
fn of_two_sources_the_higher_is_heard_until_its_way_ends() {
    let (mut robot, _log) = robot();
    let trajectory = way(&[(1000, [0.5, 0.5])]);
    assert_eq!(send_as(&mut robot, "pendant", &trajectory, 0), JointVerdict::Admit { group: 0 });
    measure(&mut robot, [0.0, 0.0, 0.02], [0.0; 3], 900);
    assert_eq!(reason(send(&mut robot, &trajectory, 999)), "outranked");
    assert_eq!(send(&mut robot, &trajectory, 1001), JointVerdict::Admit { group: 0 });
    assert_eq!(send_as(&mut robot, "pendant", &trajectory, 1002), JointVerdict::Admit { group: 0 }, "it takes over");
}

fn rests(events: &[Event]) -> Vec<&Trajectory> {
    events.iter().filter_map(|event| if let Event::Rested(way) = event { Some(way) } else { None }).collect()
}

fn change(joint: &str) -> JointChange {
    JointChange { joint: joint.into(), ..JointChange::default() }
}

#[test]
fn limits_of_joints_change_within_those_of_the_start_and_only_when_recorded() {
    let (mut robot, log) = robot();
    let lift = |robot: &Robot| robot.joint_limits().next().unwrap().clone();
    let given = lift(&robot);
    let wrong = [
        (
            vec![JointChange { velocity: Some(1.6), ..change("lift") }],
            "max_velocity of joint 'lift' is 1.6, outside 0.000001 to 1.5",
        ),
        (vec![JointChange { velocity: Some(f64::NAN), ..change("lift") }], "max_velocity of joint 'lift' is NaN"),
        (vec![JointChange { effort: Some(-1.0), ..change("lift") }], "max_effort of joint 'lift' is -1"),
        (
            vec![JointChange { positions: Some((-1.1, 1.0)), ..change("lift") }],
            "min_position of joint 'lift' is -1.1, outside -1 to 2",
        ),
        (vec![JointChange { positions: Some((1.0, 0.5)), ..change("lift") }], "max_position of joint 'lift' is 0.5"),
        (
            vec![JointChange { positions: Some((0.0, f64::INFINITY)), ..change("spin") }],
            "max_position of joint 'spin' is inf",
        ),
        (vec![JointChange { velocity: Some(1.0), ..change("tail") }], "joint 'tail' is none that this executor moves"),
        (vec![change("lift"), change("lift")], "joint 'lift' is named twice"),
        (vec![change("lift"); 65], "joints has 65 entries"),
        // All of it or nothing: the first of the two would do.
        (vec![JointChange { velocity: Some(1.0), ..change("lift") }, change("tail")], "joint 'tail' is none"),
    ];
    for (joints, words) in wrong {
        let error = robot.set_limits(PLANNER, CEILING, &joints, at(5)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}, not {words}");
        assert_eq!((error.code(), lift(&robot)), (1, given.clone()));
    }
    assert_eq!(log.take(), [], "nothing is recorded of what is refused");

    let lower = JointChange { velocity: Some(0.5), positions: Some((-0.5, 1.0)), ..change("lift") };
    let sequence = robot.set_limits(PLANNER, CEILING, &[lower], at(10)).unwrap();
    let [Event::Recorded(recorded, Entry::LimitsChanged(record))] = &log.take()[..] else { panic!("recorded, once") };
    assert_eq!(*recorded, sequence);
    let told = |joints: &[ecps_journal::record::JointLimits]| {
        joints
            .iter()
            .map(|j| (j.joint.clone(), j.min_position, j.max_position, j.max_velocity, j.max_effort))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&record.joints_before), [("lift".into(), -1.0, 2.0, 1.5, 10.0)]);
    assert_eq!(told(&record.joints_after), [("lift".into(), -0.5, 1.0, 0.5, 10.0)]);
    // They hold from now on, and may be raised again to what they were.
    assert_eq!(reason(send(&mut robot, &way(&[(4000, [1.1, 0.0])]), 20)), "joint_position");
    assert!(matches!(send(&mut robot, &way(&[(1000, [0.5, 0.0])]), 30), JointVerdict::Limit { .. }));
    let before = JointChange { velocity: Some(1.5), positions: Some((-1.0, 2.0)), ..change("lift") };
    robot.set_limits(PLANNER, CEILING, &[before], at(40)).unwrap();
    assert_eq!(lift(&robot), given);

    log.0.lock().unwrap().journal_full = true;
    let lower = JointChange { velocity: Some(0.5), ..change("lift") };
    assert!(matches!(robot.set_limits(PLANNER, CEILING, &[lower], at(50)), Err(PolicyError::Journal(_))));
    assert_eq!(lift(&robot), given);
}

#[test]
fn a_way_that_lowered_limits_forbid_comes_to_rest_at_once() {
    let (mut robot, log) = robot();
    send(&mut robot, &way(&[(2000, [1.0, 0.0])]), 0);
    measure(&mut robot, [0.4, 0.0, 0.02], [0.6, 0.0, 0.0], 100);
    log.take();
    // What stays allowed goes on.
    robot
        .set_limits(PLANNER, CEILING, &[JointChange { positions: Some((-1.0, 1.5)), ..change("lift") }], at(110))
        .unwrap();
    assert!(rests(&log.take()).is_empty());
    robot
        .set_limits(PLANNER, CEILING, &[JointChange { positions: Some((-1.0, 0.9)), ..change("lift") }], at(120))
        .unwrap();
    let events = log.take();
    let resting = rests(&events);
    assert_eq!(resting.len(), 1, "{events:?}");
    assert!((resting[0].points[0].positions[0] - 0.43).abs() < 1e-9, "where braking ends: {resting:?}");
    let halted = |event: &Event| match event {
        Event::Recorded(_, Entry::JointMotion(motion)) => Some((motion.verdict(), motion.reason.clone())),
        _ => None,
    };
    assert_eq!(events.iter().find_map(halted), Some((Verdict::Halted, "joint_position".into())));
}

#[test]
fn a_stop_holds_the_joints_where_braking_ends_and_always_there() {
    let (mut robot, log) = robot();
    send(&mut robot, &way(&[(2000, [1.0, 0.0])]), 0);
    measure(&mut robot, [0.4, 0.0, 0.02], [0.6, 0.0, 0.0], 100);
    log.take();
    robot.stop(StopCause::Requested, "test", at(110));
    let events = log.take();
    assert_eq!(events[0], Event::Halted, "the base first");
    let first = rests(&events)[0].clone();
    assert!((first.points[0].positions[0] - 0.43).abs() < 1e-9, "0.6² / 12 further: {first:?}");
    assert_eq!(first.points[0].velocities, [0.0, 0.0]);
    assert_eq!(first.duration_ns(), 100_000_000);
    // The arm sinks, and is held where it was.
    for ms in [200, 400] {
        measure(&mut robot, [0.3, 0.0, 0.02], [0.0; 3], ms);
        robot.tick(at(ms + 20));
    }
    let events = log.take();
    let repeated = rests(&events);
    assert_eq!(repeated.len(), 4, "two groups, twice");
    assert_eq!(repeated[0].points[0].positions, first.points[0].positions);
    // A reset holds it where it is now, before anything may move.
    robot.enable(PLANNER, at(430)).unwrap();
    robot.on_state("odom", support::pose(0.0, 0.0, 0.0), at(430)).unwrap();
    robot.reset(PLANNER, at(440)).unwrap();
    assert_eq!(rests(&log.take())[0].points[0].positions[0], 0.3);
}

#[test]
fn joints_rest_when_their_states_fall_silent_and_when_the_executor_ends() {
    let (mut robot, log) = robot();
    send(&mut robot, &way(&[(1000, [0.5, 0.0])]), 0);
    log.take();
    robot.tick(at(250));
    assert!(rests(&log.take()).is_empty());
    robot.tick(at(500));
    let events = log.take();
    let held = rests(&events)[0].points[0].positions[0];
    assert!((held - 0.25).abs() < 1e-6, "where it should be by then: {held}");
    let halted = |event: &Event| matches!(event, Event::Recorded(_, Entry::JointMotion(m)) if m.verdict() == Verdict::Halted && m.reason == "joint_state_stale");
    assert!(events.iter().any(halted), "{events:?}");
    measure(&mut robot, [0.1, 0.0, 0.02], [0.0; 3], 510);
    send(&mut robot, &way(&[(1000, [0.5, 0.0])]), 520);
    log.take();
    drop(robot);
    assert_eq!(rests(&log.take()).len(), 2, "both groups");
}

#[test]
fn a_gripper_whose_safe_state_is_open_opens_and_others_are_refused_at_the_start() {
    let (mut robot, log) = robot_with(SafeState::Open, Errands::default());
    robot.stop(StopCause::Requested, "test", at(10));
    let events = log.take();
    assert_eq!(rests(&events)[1].points[0].positions, [0.04]);
    assert_eq!(rests(&events)[1].duration_ns(), 300_000_000, "1.5 × 0.02 m at 0.1 m/s");

    let attach = |safe, declared, open: Vec<f64>| {
        let log = Log::default();
        let mut robot =
            Executive::new(support::config(GateConfig::new(CEILING)), log.clone(), log.clone(), at(0)).unwrap();
        let mut config = joint_config(safe);
        config.groups[1].open = open;
        robot.attach(config, vec![Box::new(log.clone()), Box::new(Log(log.0, Some(declared)))], None, None)
    };
    assert!(attach(SafeState::Open, SafeState::Open, vec![0.04]).is_ok());
    for (safe, declared, open) in [
        (SafeState::Off, SafeState::Off, vec![0.04]),
        (SafeState::ZeroVelocity, SafeState::ZeroVelocity, vec![0.04]),
        (SafeState::Open, SafeState::Open, vec![]),
        (SafeState::Open, SafeState::Open, vec![0.05]),
        (SafeState::Hold, SafeState::Open, vec![0.04]),
    ] {
        let error = attach(safe, declared, open.clone()).unwrap_err();
        assert!(matches!(error, AttachError::Config(_) | AttachError::SafeState { .. }), "{safe:?} {open:?}: {error}");
    }
}

fn grip(id: &str, command: gripper_op::Command, position: f32, force_limit: f32) -> proto::Eap {
    let op = proto::GripperOp { command: command.into(), position, force_limit };
    act(id, eap::Action::Gripper(op))
}

fn act(id: &str, action: eap::Action) -> proto::Eap {
    proto::Eap { spec: "eap/0.1".into(), id: id.into(), action: Some(action), ..proto::Eap::default() }
}

/// Has the finger follow what it was sent until the action ends.
fn run_grip(robot: &mut Robot, log: &Log, mut ms: u64, object: f64, force: f64) -> Finished {
    let mut finger: f64 = 0.02;
    let mut target = finger;
    loop {
        ms += 20;
        for event in log.take() {
            if let Event::Followed(_, way) | Event::Rested(way) = event
                && way.joints == ["finger"]
            {
                target = way.points[0].positions[0];
            }
        }
        finger += (target - finger).clamp(-0.002, 0.002);
        finger = finger.max(object);
        let effort = if finger <= object && target < object { -force } else { 0.0 };
        let names = ["finger".to_owned(), "lift".into(), "spin".into()];
        let states = JointStates {
            names: &names,
            positions: &[finger, 0.0, 0.0],
            velocities: &[],
            efforts: &[effort, 0.0, 0.0],
            stamp: Stamp(0),
        };
        robot.on_joint_states(&states, at(ms)).unwrap();
        robot.tick(at(ms));
        if let Some(finished) = robot.take_finished() {
            return finished;
        }
        assert!(ms < 60_000, "it goes on for ever");
    }
}

#[test]
fn grips_end_at_their_position_or_at_what_they_hold() {
    use gripper_op::Command::{Close, Grip, Open};
    let run = |message: proto::Eap, object, force| {
        let (mut robot, log) = robot();
        robot.submit(PLANNER, &message, at(0)).unwrap();
        let finished = run_grip(&mut robot, &log, 0, object, force);
        (finished.code, finished.message)
    };
    assert_eq!(run(grip("a", Open, 0.0, 0.0), 0.0, 0.0).0, ErrorCode::None);
    assert_eq!(run(grip("a", Close, 0.0, 0.0), 0.0, 0.0).0, ErrorCode::None);
    assert_eq!(run(grip("a", Grip, 0.25, 0.0), 0.0, 0.0).0, ErrorCode::None);
    assert_eq!(run(grip("a", Grip, 0.0, 0.0), 0.012, 3.0).0, ErrorCode::None, "it holds something");
    assert_eq!(run(grip("a", Grip, 0.0, 5.0), 0.012, 6.0).0, ErrorCode::None, "with as much as it may");
    let (code, text) = run(grip("a", Close, 0.0, 0.0), 0.012, 3.0);
    assert_eq!(code, ErrorCode::NoProgress);
    assert!(text.contains("0.0120"), "{text}");
}

#[test]
fn grips_that_cannot_be_are_refused_and_a_stop_or_a_cancel_ends_one() {
    use gripper_op::Command::{Close, Grip, Unspecified};
    let (mut robot, log) = robot();
    let mut refused = |message: proto::Eap, ms| robot.submit(PLANNER, &message, at(ms)).unwrap_err();
    for (message, code, words) in [
        (grip("a", Unspecified, 0.0, 0.0), ErrorCode::Invalid, "gripper.command"),
        (grip("b", Grip, 1.5, 0.0), ErrorCode::Invalid, "gripper.position"),
        (grip("c", Grip, f32::NAN, 0.0), ErrorCode::Invalid, "gripper.position"),
        (grip("d", Close, 0.0, -1.0), ErrorCode::Invalid, "gripper.force_limit"),
        (grip("e", Close, 0.0, 10.5), ErrorCode::OutOfLimits, "may give 10"),
    ] {
        let rejection = refused(message, 10);
        assert_eq!(rejection.code, code);
        assert!(rejection.message.contains(words), "{rejection}");
    }
    assert_eq!(refused(grip("f", Close, 0.0, 0.0), 400).code, ErrorCode::StateStale);
    let mut bare = support::executive(GateConfig::new(CEILING)).0;
    let rejection = bare.submit(PLANNER, &grip("a", Close, 0.0, 0.0), at(10)).unwrap_err();
    assert!(rejection.code == ErrorCode::Unsupported && rejection.message.contains("gripper_joints"));

    measure(&mut robot, [0.0, 0.0, 0.02], [0.0; 3], 400);
    let goal = robot.submit(PLANNER, &grip("g", Close, 0.0, 0.0), at(410)).unwrap().goal;
    robot.tick(at(420));
    // The base stays anybody's, and the joints are the action's.
    robot.on_state("odom", support::pose(0.0, 0.0, 0.0), at(420)).unwrap();
    let forward = VelocityCommand { source: "cmd_vel_in", linear: [0.1, 0.0, 0.0], angular: [0.0; 3], stamp: None };
    assert!(!matches!(robot.on_velocity(&forward, at(430)), ecps_actuation::Verdict::Refuse(_)));
    assert_eq!(reason(send(&mut robot, &way(&[(1000, [0.1, 0.0])]), 430)), "goal_active");
    log.take();
    assert!(robot.cancel(goal, at(440)));
    assert_eq!(rests(&log.take())[0].joints, ["finger"]);
    assert_eq!(robot.take_finished().unwrap().code, ErrorCode::Canceled);
    robot.submit(PLANNER, &grip("h", Close, 0.0, 0.0), at(450)).unwrap();
    robot.tick(at(460));
    robot.stop(StopCause::Requested, "test", at(470));
    assert_eq!(robot.take_finished().unwrap().code, ErrorCode::Stopped);
}

#[test]
fn errands_are_handed_out_once_called_back_and_their_answers_taken() {
    let nobody = |action| {
        let (mut robot, _) = robot();
        robot.submit(PLANNER, &act("a", action), at(10)).unwrap_err()
    };
    let cloud = |api: &str, payload: &[u8]| {
        eap::Action::Cloud(proto::CloudOp {
            api_name: api.into(),
            method_name: "call".into(),
            json_payload: payload.to_vec(),
            requires_oauth2: false,
        })
    };
    let sim = |duration_s| eap::Action::Sim(proto::SimStep { duration_s, physics_steps: 0, render_frame: false });
    assert_eq!(nobody(cloud("lift", b"{}")).code, ErrorCode::Unsupported);
    assert_eq!(nobody(sim(1.0)).code, ErrorCode::Unsupported);

    let errands = Errands { cloud: true, sim: true, navigate: Some("cmd_vel_in".into()) };
    let (mut robot, _log) = robot_with(SafeState::Hold, errands);
    for bad in ["../admin", "a/b", "a..b", ".", "", "ä"] {
        let rejection = robot.submit(PLANNER, &act("x", cloud(bad, b"{}")), at(10)).unwrap_err();
        assert_eq!(rejection.code, ErrorCode::Invalid, "{bad}");
    }
    assert_eq!(robot.submit(PLANNER, &act("y", cloud("lift", b"{")), at(10)).unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(robot.submit(PLANNER, &act("z", sim(f64::NAN)), at(10)).unwrap_err().code, ErrorCode::Invalid);

    let goal = robot.submit(PLANNER, &act("call", cloud("lift", b"{}")), at(20)).unwrap().goal;
    for ms in [30, 40] {
        robot.tick(at(ms));
    }
    assert!(matches!(robot.take_errand(), Some(ErrandEvent::Begin(begun, Errand::Cloud(_))) if begun == goal));
    assert_eq!(robot.take_errand(), None, "once");
    robot.on_errand(GoalId(999), Ok(b"other".to_vec()), at(50));
    robot.on_errand(goal, Ok(b"{\"eta\":1}".to_vec()), at(50));
    let finished = robot.take_finished().unwrap();
    assert_eq!((finished.code, finished.answer.as_slice()), (ErrorCode::None, b"{\"eta\":1}".as_slice()));

    let goal = robot.submit(PLANNER, &act("failed", sim(1.0)), at(60)).unwrap().goal;
    robot.tick(at(70));
    let failure = ErrandFailure { code: ErrorCode::Failed, message: "no world".into() };
    robot.on_errand(goal, Err(failure), at(80));
    assert_eq!(robot.take_finished().unwrap().code, ErrorCode::Failed);
    while robot.take_errand().is_some() {}

    let goal = robot.submit(PLANNER, &act("stopped", sim(1.0)), at(90)).unwrap().goal;
    robot.tick(at(100));
    robot.take_errand();
    robot.stop(StopCause::Requested, "test", at(110));
    assert_eq!(robot.take_errand(), Some(ErrandEvent::Recall(goal)));
    robot.on_errand(goal, Ok(Vec::new()), at(120));
    assert_eq!(robot.take_finished().unwrap().code, ErrorCode::Stopped, "and stays so");
}

#[test]
fn a_planner_drives_through_the_gate_at_most_as_fast_as_the_action_says() {
    let errands = Errands { navigate: Some("cmd_vel_in".into()), ..Errands::default() };
    let (mut robot, log) = robot_with(SafeState::Hold, errands);
    robot.on_state("odom", support::pose(0.0, 0.0, 0.0), at(10)).unwrap();
    let goal = robot.submit(PLANNER, &support::navigate("nav", 2.0, 0.0), at(10)).unwrap().goal;
    robot.tick(at(20));
    assert!(matches!(robot.take_errand(), Some(ErrandEvent::Begin(_, Errand::Navigate { .. }))));
    let forward = VelocityCommand { source: "cmd_vel_in", linear: [0.9, 0.0, 0.0], angular: [0.0; 3], stamp: None };
    for step in 1..20 {
        robot.on_velocity(&forward, at(20 + 50 * step));
        robot.on_state("odom", support::pose(0.0, 0.0, 0.0), at(20 + 50 * step)).unwrap();
        robot.tick(at(20 + 50 * step));
    }
    let fastest = log.take().into_iter().filter_map(|event| match event {
        Event::Driven(velocity) => Some(velocity.x),
        _ => None,
    });
    assert_eq!(fastest.fold(0.0, f64::max), 0.5, "max_velocity of the action");
    robot.on_errand_progress(goal, 1.25);
    assert_eq!(robot.feedback(at(980))[0].distance_remaining, 1.25);
    // The planner falls silent: the base stands, though the action goes on.
    robot.on_state("odom", support::pose(0.0, 0.0, 0.0), at(1600)).unwrap();
    robot.tick(at(1600));
    assert!(robot.output().is_zero());
    // What it says is not taken on trust.
    robot.on_errand(goal, Ok(Vec::new()), at(1610));
    let finished = robot.take_finished().unwrap();
    assert_eq!(finished.code, ErrorCode::Failed);
    assert!(finished.message.contains("2.000 m are left"), "{}", finished.message);
}

// ---- random histories ----

#[derive(Debug, Clone)]
enum Op {
    Send { source: usize, points: Vec<Point>, with: u8, age_ms: Option<i64> },
    Measure { positions: [f64; 3], velocities: [f64; 3] },
    Enable,
    Disable,
    Stop,
    Reset,
    Tick,
    Wait(u64),
    Grip(u8),
    Cancel,
    JournalFull(bool),
    FollowFails(bool),
}

#[derive(Debug, Clone)]
struct Point {
    positions: [f64; 2],
    velocities: [f64; 2],
    accelerations: [f64; 2],
    after_ms: u64,
}

fn number(most: f64) -> impl Strategy<Value = f64> {
    prop_oneof![60 => -most..most, 1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(1e300), Just(5e-324)]]
}

fn point() -> impl Strategy<Value = Point> {
    ([number(1.2), number(4.0)], [number(0.7), number(0.7)], [number(2.0), number(2.0)], 0..2500_u64).prop_map(
        |(positions, velocities, accelerations, after_ms)| Point { positions, velocities, accelerations, after_ms },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let age = prop_oneof![4 => Just(None), 1 => (-150..600_i64).prop_map(Some)];
    let rarely = || prop::bool::weighted(0.1);
    prop_oneof![
        20 => (0..4_usize, prop::collection::vec(point(), 1..4), 0..3_u8, age)
            .prop_map(|(source, points, with, age_ms)| Op::Send { source, points, with, age_ms }),
        16 => ([-1.1..2.1_f64, -4.0..4.0_f64, 0.0..0.04_f64], [-1.0..1.0_f64, -1.0..1.0_f64, -0.05..0.05_f64])
            .prop_map(|(positions, velocities)| Op::Measure { positions, velocities }),
        5 => Just(Op::Enable),
        1 => Just(Op::Disable),
        1 => Just(Op::Stop),
        4 => Just(Op::Reset),
        12 => Just(Op::Tick),
        10 => prop_oneof![9 => 1..120_u64, 1 => 200..900_u64].prop_map(Op::Wait),
        2 => any::<u8>().prop_map(Op::Grip),
        1 => Just(Op::Cancel),
        1 => rarely().prop_map(Op::JournalFull),
        1 => rarely().prop_map(Op::FollowFails),
    ]
}

/// The polynomial through two points by its coefficients, which is not how the gate has it.
fn sampled(from: Knot, to: Knot, t: f64, s: f64) -> [f64; 3] {
    let (p, q) = (from.position, to.position);
    let (v, w, a, b) = (from.velocity, to.velocity, from.acceleration, to.acceleration);
    let x = t * s;
    match (v, w, a, b) {
        (Some(v), Some(w), Some(a), Some(b)) => {
            let (d, t2, t3) = (q - p, t * t, t * t * t);
            let c3 = (20.0 * d - (8.0 * w + 12.0 * v) * t - (3.0 * a - b) * t2) / (2.0 * t3);
            let c4 = (-30.0 * d + (14.0 * w + 16.0 * v) * t + (3.0 * a - 2.0 * b) * t2) / (2.0 * t3 * t);
            let c5 = (12.0 * d - 6.0 * (w + v) * t + (b - a) * t2) / (2.0 * t3 * t2);
            [
                p + x * (v + x * (a / 2.0 + x * (c3 + x * (c4 + x * c5)))),
                v + x * (a + x * (3.0 * c3 + x * (4.0 * c4 + x * 5.0 * c5))),
                a + x * (6.0 * c3 + x * (12.0 * c4 + x * 20.0 * c5)),
            ]
        }
        (Some(v), Some(w), ..) => {
            let c2 = (3.0 * (q - p) / t - 2.0 * v - w) / t;
            let c3 = (2.0 * (p - q) / t + v + w) / (t * t);
            [p + x * (v + x * (c2 + x * c3)), v + x * (2.0 * c2 + 3.0 * c3 * x), 2.0 * c2 + 6.0 * c3 * x]
        }
        _ => [p + (q - p) * s, (q - p) / t, 0.0],
    }
}

fn check_way(way: &Trajectory, from: &dyn Fn(&str) -> (f64, f64)) -> Result<(), TestCaseError> {
    for (index, name) in way.joints.iter().enumerate() {
        let limits = joints().into_iter().find(|joint| joint.name == *name).unwrap();
        let (position, velocity) = from(name);
        let velocity = velocity.clamp(-limits.velocity, limits.velocity);
        let mut before = (0, Knot::measured(position, velocity));
        for (nth, point) in way.points.iter().enumerate() {
            let knot = Knot::of(point, index).unwrap();
            let q = knot.position;
            prop_assert!(q >= limits.lower - 1e-5 && q <= limits.upper + 1e-5, "{name} at {q}");
            let t = (point.time_ns - before.0) as f64 * 1e-9;
            if t > 0.0 {
                let (lower, upper) = match nth {
                    0 => (limits.lower.min(position), limits.upper.max(position)),
                    _ => (limits.lower, limits.upper),
                };
                for s in 0..=40 {
                    let [x, v, a] = sampled(before.1, knot, t, f64::from(s) / 40.0);
                    prop_assert!(x >= lower - 1e-5 && x <= upper + 1e-5, "{name} comes to {x}");
                    prop_assert!(v.abs() <= limits.velocity * 1.0001, "{name} at {v}");
                    prop_assert!(a.abs() <= limits.acceleration * 1.0001, "{name} at {a} per s²");
                }
            }
            before = (point.time_ns, knot);
        }
        prop_assert!(before.1.velocity.is_none_or(|v| v.abs() < 1e-5), "it ends moving");
    }
    Ok(())
}

fn history(ops: Vec<Op>) -> Result<(u64, u64), TestCaseError> {
    let log = Log::default();
    let mut robot = Executive::new(support::config(GateConfig::new(CEILING)), log.clone(), log.clone(), at(0)).unwrap();
    let actuators: Vec<Box<dyn JointActuator>> = vec![Box::new(log.clone()), Box::new(log.clone())];
    robot.attach(joint_config(SafeState::Hold), actuators, Some(fingers()), None).unwrap();
    let (mut ms, mut armed, mut grips, mut goals) = (0_u64, false, 0, Vec::new());
    let mut measured: Option<([f64; 3], [f64; 3], Steady)> = None;
    let (mut sent, mut passed) = (0, 0);
    for op in ops {
        let now = at(ms);
        match op {
            Op::Send { source, points, with, age_ms } => {
                let mut time = 0;
                let last = points.len() - 1;
                let point = |(nth, point): (usize, &Point)| {
                    time += point.after_ms as i64 * 1_000_000;
                    let velocities = if nth == last { [0.0; 2] } else { point.velocities };
                    TrajectoryPoint {
                        positions: point.positions.to_vec(),
                        velocities: if with > 0 { velocities.to_vec() } else { vec![] },
                        accelerations: if with > 1 { point.accelerations.to_vec() } else { vec![] },
                        effort: vec![],
                        time_ns: time,
                    }
                };
                let points = points.iter().enumerate().map(point).collect();
                let trajectory = Trajectory { joints: vec!["lift".into(), "spin".into()], points };
                let source = ["joint_trajectory_in", "pendant", "execute", "stranger"][source];
                let stamp = age_ms.map(|age| Stamp(now.ros.0 - age * 1_000_000));
                sent += 1;
                robot.on_trajectory(&JointCommand { source, trajectory: &trajectory, stamp }, now);
            }
            Op::Measure { positions, velocities } => {
                measured = Some((positions, velocities, now.steady));
                measure(&mut robot, positions, velocities, ms);
            }
            Op::Enable => {
                if robot.enable(PLANNER, now).is_ok() && robot.mode() != ecps_actuation::Mode::Stopped {
                    armed = true;
                }
            }
            Op::Disable => {
                armed = false;
                let _ = robot.disable(PLANNER, now);
            }
            Op::Stop => {
                armed = false;
                robot.stop(StopCause::Requested, "history", now);
            }
            Op::Reset => {
                robot.on_state("odom", support::pose(0.0, 0.0, 0.0), now).unwrap();
                if matches!(robot.reset(PLANNER, now), Ok(ecps_actuation::ResetOutcome::Left(_))) {
                    armed = true;
                }
            }
            Op::Tick => robot.tick(now),
            Op::Wait(more) => ms += more,
            Op::Grip(which) => {
                grips += 1;
                let command = [gripper_op::Command::Open, gripper_op::Command::Close, gripper_op::Command::Grip];
                let message = grip(&format!("g{grips}"), command[usize::from(which) % 3], 0.5, 0.0);
                goals.extend(robot.submit(PLANNER, &message, now).ok().map(|submitted| submitted.goal));
            }
            Op::Cancel => {
                if let Some(goal) = goals.pop() {
                    robot.cancel(goal, now);
                }
            }
            Op::JournalFull(full) => log.0.lock().unwrap().journal_full = full,
            Op::FollowFails(fails) => log.0.lock().unwrap().follow_fails = fails,
        }
        let events = log.take();
        let mut recorded: Option<(u64, JointMotion)> = None;
        for event in events {
            match event {
                Event::Recorded(sequence, Entry::JointMotion(motion)) => recorded = Some((sequence, motion)),
                // A stop within this call: nothing may follow it.
                Event::Recorded(_, Entry::Stop(_)) => armed = false,
                Event::Followed(sequence, way) => {
                    passed += 1;
                    prop_assert!(armed, "moved when not armed");
                    let (record, motion) = recorded.take().expect("nothing is sent that is not recorded");
                    prop_assert_eq!(record, sequence);
                    prop_assert!(matches!(motion.verdict(), Verdict::Admitted | Verdict::Limited));
                    let applied = motion.applied.unwrap();
                    prop_assert_eq!(&applied.joints, &way.joints);
                    for (kept, point) in applied.points.iter().zip(&way.points) {
                        prop_assert_eq!(&kept.positions, &point.positions);
                        prop_assert_eq!(kept.time_from_start_ns, point.time_ns);
                    }
                    let (positions, velocities, seen) = measured.expect("nothing moves that was never measured");
                    prop_assert!(now.steady.since(seen) <= Duration::from_millis(250), "moved while stale");
                    let place =
                        |name: &str| ["lift", "spin", "finger"].iter().position(|known| *known == name).unwrap();
                    check_way(&way, &|name| (positions[place(name)], velocities[place(name)]))?;
                }
                Event::Rested(way) => {
                    for point in &way.points {
                        prop_assert!(point.positions.iter().all(|p| p.is_finite()) && point.time_ns >= 100_000_000);
                    }
                }
                _ => {}
            }
        }
        if robot.mode() == ecps_actuation::Mode::Stopped {
            armed = false;
        }
    }
    Ok((sent, passed))
}

#[test]
fn no_history_moves_a_joint_unarmed_unrecorded_unseen_or_out_of_its_limits() {
    let cases = ecps_core::campaign::rounds(500, 10_000);
    let totals = Mutex::new((0, 0));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(ops in prop::collection::vec(op(), 1..120))| {
        let (sent, passed) = history(ops)?;
        let mut totals = totals.lock().unwrap();
        *totals = (totals.0 + sent, totals.1 + passed);
    });
    let (sent, passed) = *totals.lock().unwrap();
    assert!(passed * 50 > sent, "of {sent} trajectories {passed} passed, too few to say anything");
}
