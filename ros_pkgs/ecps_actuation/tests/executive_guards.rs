//! The executor as a whole: watchdog, stop, reset, actions, and a journal that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use ecps_actuation::gate::ZONES;
use ecps_actuation::zone::Rule;
use ecps_actuation::{
    ErrorCode, Executive, GateConfig, GoalId, Limits, Mode, PolicyError, Progress, Reason, Repeat, ResetError,
    ResetOutcome, Scan, Source, StopCause, Velocity, VelocityCommand, Verdict, Zone, ZoneSet,
};
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_core::wire::proto;
use ecps_journal::record::{self, Entry};
use support::{CEILING, Event, PLANNER, Shared, at, executive, navigate, pose, twist};

/// A gate that actions, a planner and, above both, a joystick command through.
fn gate() -> GateConfig {
    let mut config = GateConfig::new(CEILING);
    config.sources.push(Source { name: "joy".into(), priority: 100, timeout: Duration::from_millis(500) });
    config
}

fn motions(events: &[Event]) -> Vec<(String, record::Verdict, String)> {
    let describe = |event: &Event| match event {
        Event::Recorded(_, Entry::Motion(m)) => Some((m.source.clone(), m.verdict(), m.reason.clone())),
        _ => None,
    };
    events.iter().filter_map(describe).collect()
}

#[test]
fn a_velocity_is_recorded_with_raw_and_applied_and_only_then_driven() {
    let (mut executive, shared) = executive(gate());
    let verdict = executive.on_velocity(&twist(1.0, 0.0), at(0));
    let applied = Velocity { x: 0.0, ..Velocity::ZERO };
    assert_eq!(verdict, Verdict::Limit { applied, reason: Reason::LinearAcceleration }, "no time has passed");
    shared.events();
    executive.on_velocity(&twist(1.0, 0.25), at(100));
    let events = shared.events();
    let [Event::Recorded(2, Entry::Motion(motion)), Event::Driven(2, driven)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(*driven, Velocity { x: 0.1, y: 0.0, yaw: 0.25 });
    assert_eq!(motion.raw, Some(record::PlanarVelocity { x: 1.0, y: 0.0, yaw: 0.25 }));
    assert_eq!(motion.applied, Some(record::PlanarVelocity { x: 0.1, y: 0.0, yaw: 0.25 }));
    assert_eq!((motion.verdict(), motion.reason.as_str()), (record::Verdict::Limited, "linear_acceleration"));
}

#[test]
fn command_silence_ends_in_zero_once_and_the_robot_waits_for_a_new_command() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(500)).unwrap();
    shared.events();
    executive.tick(at(600));
    assert_eq!((shared.events(), executive.mode()), (vec![], Mode::Active));
    executive.tick(at(601));
    let events = shared.events();
    assert_eq!(events[0], Event::Halted, "zero first, the record after");
    assert_eq!(motions(&events), [("watch".into(), record::Verdict::Halted, "command_silence".into())]);
    executive.tick(at(700));
    assert_eq!((shared.events(), executive.mode()), (vec![], Mode::Idle));
}

/// Nor take an action's place, though their source outranks it.
#[test]
fn where_tokens_are_asked_for_topics_drive_nothing_and_actions_do() {
    let (mut executive, shared) = executive(gate());
    executive.require_tokens();
    let Verdict::Refuse(refusal) = executive.on_velocity(&twist(0.1, 0.0), at(10)) else { panic!("it drives") };
    assert_eq!(refusal.reason(), Reason::NoToken);
    assert!(!shared.events().iter().any(|event| matches!(event, Event::Driven(..))));
    assert!(!executive.knows(PLANNER.caller, "a"));
    executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(20)).unwrap();
    assert!(executive.knows(PLANNER.caller, "a") && !executive.knows("/other", "a"));
    executive.tick(at(40));
    let joystick = VelocityCommand { source: "joy", ..twist(0.1, 0.0) };
    assert!(matches!(executive.on_velocity(&joystick, at(50)), Verdict::Refuse(_)));
    executive.tick(at(60));
    executive.tick(at(80));
    assert!(shared.events().iter().any(|event| matches!(event, Event::Driven(..))), "the action");
}

#[test]
fn refused_commands_do_not_feed_the_watchdog() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(500)).unwrap();
    executive.on_velocity(&twist(f64::NAN, 0.0), at(590));
    shared.events();
    executive.tick(at(601));
    assert!(shared.events().contains(&Event::Halted));
}

#[test]
fn a_moving_robot_whose_state_falls_silent_or_that_drifts_to_the_edge_is_halted() {
    let mut config = gate();
    config.zones = vec![Zone::rectangle("room", Rule::StayInside, [-1.0, -1.0], [1.0, 1.0]).unwrap()];
    for (event, why) in [(None, "state_stale"), (Some(pose(0.9999, 0.0, 0.0)), "workspace")] {
        let (mut executive, shared) = executive(config.clone());
        for ms in [100, 200, 300, 400] {
            executive.on_velocity(&twist(1.0, 0.0), at(ms));
        }
        if let Some(state) = event {
            executive.on_state("odom", state, at(501)).unwrap();
        }
        shared.events();
        executive.tick(at(501));
        assert_eq!(motions(&shared.events()), [("watch".into(), record::Verdict::Halted, why.into())]);
        assert_eq!(executive.output(), Velocity::ZERO);
    }
}

#[test]
fn lowered_limits_halt_what_is_faster() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    let low = Limits { max_linear_speed: 0.05, ..CEILING };
    executive.set_limits(PLANNER, low, &[], at(110)).unwrap();
    executive.tick(at(120));
    assert_eq!(motions(&shared.events()).last().unwrap().2, "linear_speed");
    assert_eq!(executive.snapshot(at(0)).limits, low);
}

#[test]
fn limits_stay_within_the_parameters_and_change_only_when_recorded() {
    let (mut executive, shared) = executive(gate());
    let high = Limits { max_linear_speed: 1.1, ..CEILING };
    let error = executive.set_limits(PLANNER, high, &[], at(0)).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), ("max_linear_speed is 1.1, outside 0.001 to 1", 1));
    let nan = Limits { max_angular_speed: f64::NAN, ..CEILING };
    assert!(executive.set_limits(PLANNER, nan, &[], at(0)).is_err());
    assert_eq!(shared.events(), []);
    shared.0.borrow_mut().journal_full = true;
    let low = Limits { max_linear_speed: 0.5, ..CEILING };
    assert!(matches!(executive.set_limits(PLANNER, low, &[], at(0)), Err(PolicyError::Journal(_))));
    assert_eq!((executive.snapshot(at(0)).limits, executive.mode()), (CEILING, Mode::Stopped));
}

#[test]
fn zones_set_later_only_narrow_and_hold_only_when_recorded() {
    let pillar = |x: f64| Zone::rectangle("pillar", Rule::KeepOut, [x, -0.5], [x + 1.0, 0.5]).unwrap();
    let only = |zone| ZoneSet { zones: vec![zone], obstacle_margin: 0.0 };
    let mut config = gate();
    config.zones = vec![pillar(0.4)];
    let (mut executive, shared) = executive(config);
    let speed = |executive: &mut Executive<Shared, Shared>, ms| match executive.on_velocity(&twist(1.0, 0.0), at(ms)) {
        Verdict::Admit(v) | Verdict::Limit { applied: v, .. } => v.x,
        Verdict::Refuse(refusal) => panic!("{refusal}"),
    };
    for ms in (0..1000).step_by(20) {
        executive.on_state("odom", pose(0.0, 0.0, 0.0), at(ms)).unwrap();
        speed(&mut executive, ms);
    }
    let before = speed(&mut executive, 1000);

    let error =
        executive.set_zones(PLANNER, ZoneSet { obstacle_margin: 0.1, ..ZoneSet::default() }, at(1000)).unwrap_err();
    assert_eq!(error.to_string(), "obstacle_margin is 0.1, outside 0 to 0", "scans do not count");
    let many = ZoneSet { zones: vec![pillar(3.0); ZONES], obstacle_margin: 0.0 };
    assert!(executive.set_zones(PLANNER, many, at(1000)).unwrap_err().to_string().contains("65"));
    shared.events();
    // The border comes nearer, so the robot slows down.
    executive.set_zones(PLANNER, only(pillar(0.2)), at(1000)).unwrap();
    assert!(matches!(&shared.events()[..], [Event::Recorded(_, Entry::ZonesChanged(change))]
        if change.caller == PLANNER.caller && change.after.as_ref().unwrap().zones[0].corners[0] == 0.2));
    assert!(speed(&mut executive, 1010) < before);
    // Far away again, which leaves the parameters' own.
    executive.set_zones(PLANNER, only(pillar(3.0)), at(1020)).unwrap();
    assert!(executive.gate().zones().count() == 2 && speed(&mut executive, 1020) <= before);

    shared.0.borrow_mut().journal_full = true;
    assert!(matches!(executive.set_zones(PLANNER, ZoneSet::default(), at(1030)), Err(PolicyError::Journal(_))));
    assert_eq!((executive.gate().added().zones.len(), executive.mode()), (1, Mode::Stopped), "what held still holds");
}

#[test]
fn a_stop_goes_out_before_its_record_latches_and_is_left_by_reset_alone() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    shared.events();
    executive.stop(StopCause::Requested, "operator", at(110));
    let stop = record::Stop { cause: "requested".into(), detail: "operator".into() };
    assert_eq!(shared.events(), [Event::Halted, Event::Recorded(2, Entry::Stop(stop))]);
    assert!(
        matches!(executive.on_velocity(&twist(0.1, 0.0), at(120)), Verdict::Refuse(r) if r.reason() == Reason::Stopped)
    );
    shared.events();
    executive.tick(at(130));
    assert_eq!(shared.events(), [Event::Halted], "a topic may lose a zero");
    assert_eq!(executive.snapshot(at(0)).stop_cause, "requested: operator");

    executive.tick(at(1000));
    executive.enable(PLANNER, at(1000)).unwrap();
    let stale = executive.reset(PLANNER, at(1000)).unwrap_err();
    assert!(matches!(&stale, ResetError::CausePresent(why) if why.contains("500 ms")), "{stale}");
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(1000)).unwrap();
    let nobody = ecps_actuation::Request { caller: "", trace: [0; 16] };
    assert_eq!(executive.reset(nobody, at(1000)).unwrap_err().code(), 1);
    assert!(matches!(executive.reset(PLANNER, at(1000)), Ok(ResetOutcome::Left(_))));
    assert_eq!(executive.reset(PLANNER, at(1000)), Ok(ResetOutcome::WasRunning));
    shared.events();
    executive.tick(at(1001));
    assert_eq!((shared.events(), executive.mode()), (vec![], Mode::Idle), "nothing resumes");
}

#[test]
fn a_journal_that_cannot_be_written_latches_and_nothing_is_driven() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    shared.events();
    shared.0.borrow_mut().journal_full = true;
    let verdict = executive.on_velocity(&twist(0.1, 0.0), at(150));
    assert!(matches!(verdict, Verdict::Refuse(r) if r.reason() == Reason::Journal));
    assert!(shared.events().iter().all(|e| *e == Event::Halted));
    assert!(executive.snapshot(at(0)).stop_cause.starts_with("journal: "));
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(155)).unwrap();
    assert!(executive.enable(PLANNER, at(156)).is_err());
    assert_eq!(executive.reset(PLANNER, at(160)).unwrap_err().code(), 6, "an enable that was not recorded is none");
    shared.0.borrow_mut().journal_full = false;
    executive.enable(PLANNER, at(170)).unwrap();
    assert!(matches!(executive.reset(PLANNER, at(170)), Ok(ResetOutcome::Left(_))));
    executive.tick(at(1300));
    let refusals = record::Refusals { reason: "journal".into(), count: 1 };
    let told = |e: &Event| matches!(e, Event::Recorded(_, Entry::Refusals(r)) if *r == refusals);
    assert!(shared.events().iter().any(told), "what could not be recorded then is recorded now");
}

#[test]
fn a_journal_that_does_not_reach_the_disk_latches() {
    let (mut executive, shared) = executive(gate());
    shared.0.borrow_mut().journal_fault = Some("the disk is gone".into());
    executive.tick(at(10));
    assert_eq!(executive.snapshot(at(0)).stop_cause, "journal: the disk is gone");
    executive.enable(PLANNER, at(20)).unwrap();
    assert_eq!(executive.reset(PLANNER, at(20)).unwrap_err().code(), 2);
}

#[test]
fn an_actuator_that_fails_latches_until_it_takes_a_zero() {
    let (mut executive, shared) = executive(gate());
    (shared.0.borrow_mut().drive_fails, shared.0.borrow_mut().halt_fails) = (true, true);
    let verdict = executive.on_velocity(&twist(0.1, 0.0), at(100));
    assert!(matches!(verdict, Verdict::Refuse(r) if r.reason() == Reason::Actuator));
    executive.enable(PLANNER, at(110)).unwrap();
    assert_eq!(executive.reset(PLANNER, at(110)).unwrap_err().code(), 2);
    shared.0.borrow_mut().halt_fails = false;
    assert!(executive.reset(PLANNER, at(120)).is_ok());
}

#[test]
fn shutdown_is_not_left_and_dropping_halts() {
    let (mut executive, shared) = executive(gate());
    executive.stop(StopCause::Shutdown, "SIGINT", at(10));
    executive.enable(PLANNER, at(20)).unwrap();
    assert_eq!(executive.reset(PLANNER, at(20)).unwrap_err().code(), 2);
    shared.events();
    drop(executive);
    assert_eq!(shared.events(), [Event::Halted]);
}

#[test]
fn a_flood_of_refusals_is_recorded_once_in_full_and_then_as_a_count() {
    let (mut executive, shared) = executive(gate());
    for i in 0..10_000 {
        executive.on_velocity(&twist(f64::NAN, 0.0), at(i / 20));
    }
    assert_eq!(shared.events().len(), 1);
    executive.tick(at(1000));
    let count = record::Refusals { reason: "not_finite".into(), count: 9_999 };
    assert_eq!(shared.events(), [Event::Recorded(2, Entry::Refusals(count))]);
    let snapshot = executive.snapshot(at(0));
    assert_eq!((snapshot.refused, snapshot.reasons), (10_000, vec![(Reason::NotFinite, 10_000)]));
    assert_eq!(snapshot.last_refusal, "linear.x is NaN, and must be finite");
}

/// Drives until the action ends or `limit_ms` have passed; moves the robot as it is told.
fn run(
    executive: &mut ecps_actuation::Executive<support::Shared, support::Shared>,
    from_ms: u64,
    limit_ms: u64,
) -> (Option<ecps_actuation::Finished>, u64) {
    let mut state = pose(0.0, 0.0, 0.0);
    for ms in (from_ms..from_ms + limit_ms).step_by(20) {
        executive.on_state("odom", state, at(ms)).unwrap();
        executive.tick(at(ms));
        if let Some(finished) = executive.take_finished() {
            return (Some(finished), ms);
        }
        let v = executive.output();
        state.pose.yaw = ecps_actuation::state::wrap(state.pose.yaw + v.yaw * 0.02);
        state.pose.x += v.x * 0.02 * state.pose.yaw.cos();
        state.pose.y += v.x * 0.02 * state.pose.yaw.sin();
    }
    (None, from_ms + limit_ms)
}

#[test]
fn an_action_drives_to_its_target_through_the_gate_and_its_own_limits() {
    let (mut executive, shared) = executive(gate());
    let goal = executive.submit(PLANNER, &navigate("a", 1.0, 1.0), at(20)).unwrap().goal;
    assert_eq!(executive.feedback(at(30))[0].goal, goal);
    let (finished, _) = run(&mut executive, 20, 30_000);
    let finished = finished.unwrap();
    assert_eq!((finished.goal, finished.code, finished.message.as_str()), (goal, ErrorCode::None, ""));
    let end = finished.state.unwrap();
    assert!(end.pose.distance(pose(1.0, 1.0, 0.0).pose) <= 0.2 && end.pose.yaw.abs() <= 0.05, "{end:?}");
    let events = shared.events();
    let speeds = events.iter().filter_map(|e| if let Event::Driven(_, v) = e { Some(v.speed()) } else { None });
    let fastest = speeds.fold(0.0, f64::max);
    assert!((0.4..=0.5).contains(&fastest), "max_velocity is 0.5: {fastest}");
    assert!(
        motions(&events)
            .iter()
            .all(|(source, verdict, _)| source == "execute" && *verdict == record::Verdict::Admitted)
    );
    let Some(Event::Recorded(_, Entry::Outcome(outcome))) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((outcome.action_sequence, outcome.error_code), (goal.0, 0));
    assert_eq!(outcome.state_sha, end.sha());
}

#[test]
fn an_action_starts_only_when_its_record_is_on_disk() {
    let (mut executive, shared) = executive(gate());
    shared.0.borrow_mut().disk_stalls = true;
    executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(20)).unwrap();
    assert_eq!(run(&mut executive, 20, 2_000).0, None);
    assert!(!shared.events().iter().any(|e| matches!(e, Event::Driven(..))));
    shared.0.borrow_mut().disk_stalls = false;
    assert_eq!(run(&mut executive, 2_020, 30_000).0.unwrap().code, ErrorCode::None);
}

#[test]
fn whatever_ends_an_action_is_named_and_leaves_the_robot_at_rest() {
    type Step = fn(&mut ecps_actuation::Executive<support::Shared, support::Shared>, &support::Shared);
    let cases: [(Step, ErrorCode); 8] = [
        (|e, _| drop(e.disable(PLANNER, at(500))), ErrorCode::NotArmed),
        (|e, _| e.stop(StopCause::Requested, "x", at(500)), ErrorCode::Stopped),
        (|e, _| assert!(e.cancel(GoalId(1), at(500))), ErrorCode::Canceled),
        (
            |e, _| {
                let joy = VelocityCommand { source: "joy", ..twist(0.0, 0.1) };
                assert!(matches!(e.on_velocity(&joy, at(500)), Verdict::Limit { .. }), "from rest");
                e.tick(at(1_001));
            },
            ErrorCode::Preempted,
        ),
        (
            |e, shared| {
                shared.0.borrow_mut().journal_full = true;
                e.tick(at(500));
            },
            ErrorCode::Journal,
        ),
        (|e, _| e.tick(at(1_400)), ErrorCode::StateStale),
        (
            |e, shared| {
                shared.0.borrow_mut().drive_fails = true;
                e.tick(at(500));
            },
            ErrorCode::Stopped,
        ),
        (
            |e, _| {
                for ms in (500..15_000).step_by(20) {
                    e.on_state("odom", pose(0.0, 0.0, 0.0), at(ms)).unwrap();
                    e.tick(at(ms));
                }
            },
            ErrorCode::NoProgress,
        ),
    ];
    for (index, (step, code)) in cases.into_iter().enumerate() {
        let (mut executive, shared) = executive(gate());
        executive.submit(PLANNER, &navigate("a", 5.0, 0.0), at(20)).unwrap();
        assert_eq!(run(&mut executive, 20, 480).0, None);
        assert!(executive.output().x > 0.1);
        step(&mut executive, &shared);
        let finished = executive.take_finished().unwrap();
        assert_eq!(finished.code, code, "case {index}");
        assert!(!finished.message.is_empty());
        assert_eq!(executive.take_finished(), None);
        assert_eq!(executive.output(), Velocity::ZERO, "case {index}");
    }
}

#[test]
fn while_an_action_has_the_robot_velocities_are_refused() {
    let (mut executive, _) = executive(gate());
    let goal = executive.submit(PLANNER, &navigate("a", 5.0, 0.0), at(20)).unwrap().goal;
    executive.tick(at(25));
    let verdict = executive.on_velocity(&twist(0.1, 0.0), at(30));
    assert!(matches!(verdict, Verdict::Refuse(r) if r.reason() == Reason::GoalActive));
    executive.cancel(goal, at(40));
    assert!(!executive.cancel(goal, at(40)));
    assert!(matches!(executive.on_velocity(&twist(0.1, 0.0), at(50)), Verdict::Limit { .. }));
}

fn rejected(change: impl FnOnce(&mut proto::Eap)) -> (ErrorCode, String) {
    let mut config = gate();
    config.zones = vec![Zone::rectangle("room", Rule::StayInside, [-9.0, -9.0], [9.0, 9.0]).unwrap()];
    let (mut executive, shared) = executive(config);
    let mut message = navigate("a", 1.0, 0.0);
    change(&mut message);
    let rejection = executive.submit(PLANNER, &message, at(20)).unwrap_err();
    let events = shared.events();
    let [Event::Recorded(_, Entry::Action(action))] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((action.error_code, &action.error_msg), (rejection.code as u32, &rejection.message));
    assert_eq!(action.verdict(), record::Verdict::Refused);
    (rejection.code, rejection.message)
}

fn target(message: &mut proto::Eap) -> &mut proto::RobotPose {
    operation(message).target_pose.as_mut().unwrap()
}

fn operation(message: &mut proto::Eap) -> &mut proto::NavigateOp {
    match &mut message.action {
        Some(proto::eap::Action::Navigate(navigate)) => navigate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn actions_that_cannot_be_done_are_rejected_with_code_and_sentence_and_recorded() {
    use proto::eap::Action as A;
    for ((code, message), expected, part) in [
        (rejected(|m| m.spec = "eap/1.0".into()), ErrorCode::Invalid, "eap/1.0"),
        (rejected(|m| m.id = String::new()), ErrorCode::Invalid, "action.id is empty"),
        (rejected(|m| m.id = "x".repeat(129)), ErrorCode::Invalid, "129 bytes"),
        (rejected(|m| m.action = None), ErrorCode::Invalid, "action is empty"),
        (rejected(|m| m.state_sha = vec![0; 31]), ErrorCode::Invalid, "31 bytes"),
        (rejected(|m| m.state_sha = vec![0; 32]), ErrorCode::Expired, "5s"),
        (rejected(|m| drop(m.meta.insert("k".into(), "x".repeat(1025)))), ErrorCode::Invalid, "1025 bytes"),
        (
            rejected(|m| m.meta = (0..65).map(|i| (i.to_string(), String::new())).collect()),
            ErrorCode::Invalid,
            "65 entries",
        ),
        (rejected(|m| target(m).x = f64::NAN), ErrorCode::Invalid, "NaN"),
        (rejected(|m| target(m).qw = 0.5), ErrorCode::Invalid, "norm 0.5"),
        (rejected(|m| target(m).z = 1.0), ErrorCode::Invalid, "position.z is 1"),
        (rejected(|m| (target(m).qw, target(m).qx) = (0.0, 1.0)), ErrorCode::Invalid, "tilt"),
        (rejected(|m| target(m).frame_id = "moon".into()), ErrorCode::Invalid, "'moon'"),
        (rejected(|m| target(m).x = 10.0), ErrorCode::OutOfLimits, "(10.000, 0.000) is where zone 'room'"),
        (rejected(|m| operation(m).target_pose = None), ErrorCode::Invalid, "target_pose is empty"),
        (rejected(|m| operation(m).max_velocity = 0.0), ErrorCode::Invalid, "max_velocity is 0"),
        (rejected(|m| operation(m).max_velocity = f32::INFINITY), ErrorCode::Invalid, "max_velocity is inf"),
        (rejected(|m| operation(m).tolerance = -1.0), ErrorCode::Invalid, "tolerance is -1"),
        (rejected(|m| operation(m).planner_id = "rrt".into()), ErrorCode::Unsupported, "'rrt'"),
        (rejected(|m| m.action = Some(A::Gripper(proto::GripperOp::default()))), ErrorCode::Invalid, "gripper.command"),
        (
            rejected(|m| m.action = Some(A::Gripper(proto::GripperOp { command: 1, ..Default::default() }))),
            ErrorCode::Unsupported,
            "gripper_joints",
        ),
        (rejected(|m| m.action = Some(A::Cloud(proto::CloudOp::default()))), ErrorCode::Invalid, "cloud.api_name"),
        (rejected(|m| m.action = Some(A::Sim(proto::SimStep::default()))), ErrorCode::Invalid, "sim.duration_s"),
        (
            rejected(|m| m.action = Some(A::Manipulate(proto::ManipulateOp::default()))),
            ErrorCode::Invalid,
            "manipulate.type",
        ),
        (
            rejected(|m| {
                let target_pose = Some(proto::RobotPose { qw: 1.0, ..Default::default() });
                let pick = proto::ManipulateOp { r#type: 1, target_pose, ..Default::default() };
                m.action = Some(A::Manipulate(pick));
            }),
            ErrorCode::Unsupported,
            "arm_joints",
        ),
        (rejected(|m| operation(m).planner_id = "x".repeat(300_000)), ErrorCode::Invalid, "262144"),
    ] {
        assert_eq!(code, expected, "{message}");
        assert!(message.contains(part), "'{message}' does not name '{part}'");
    }
}

#[test]
fn an_action_decided_on_a_recent_state_is_accepted_and_on_an_old_one_expired() {
    let (mut executive, _) = executive(gate());
    let mut message = navigate("a", 1.0, 0.0);
    message.state_sha = pose(0.0, 0.0, 0.0).sha().to_vec();
    assert!(executive.submit(PLANNER, &message, at(20)).is_ok());
    executive.on_state("odom", pose(3.0, 0.0, 0.0), at(5_001)).unwrap();
    message.id = "b".into();
    assert_eq!(executive.submit(PLANNER, &message, at(5_001)).unwrap_err().code, ErrorCode::Expired);
}

#[test]
fn no_action_is_accepted_while_stopped_or_without_a_state() {
    let (mut executive, _) = executive(gate());
    assert_eq!(executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(600)).unwrap_err().code, ErrorCode::StateStale);
    executive.stop(StopCause::Requested, "x", at(600));
    assert_eq!(executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(600)).unwrap_err().code, ErrorCode::Stopped);
}

#[test]
fn a_state_that_is_not_finite_or_in_another_frame_does_not_count() {
    let (mut executive, _) = executive(gate());
    assert!(executive.on_state("odom", pose(f64::NAN, 0.0, 0.0), at(400)).is_err());
    assert!(executive.on_state("map", pose(0.0, 0.0, 0.0), at(400)).is_err());
    assert!(
        matches!(executive.on_velocity(&twist(0.1, 0.0), at(501)), Verdict::Refuse(r) if r.reason() == Reason::StateStale)
    );
}

/// Ends of all actions, in order: which, and how.
fn ends(executive: &mut ecps_actuation::Executive<support::Shared, support::Shared>) -> Vec<(u64, ErrorCode)> {
    std::iter::from_fn(|| executive.take_finished()).map(|finished| (finished.goal.0, finished.code)).collect()
}

fn with_meta(id: &str, entries: &[(&str, String)]) -> proto::Eap {
    let mut message = navigate(id, 0.3, 0.0);
    message.meta.extend(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    message
}

#[test]
fn actions_run_in_order_and_one_too_many_is_told_to_come_again() {
    let (mut executive, _) = executive(gate());
    for id in ["a", "b", "c", "d"] {
        executive.submit(PLANNER, &navigate(id, 0.3, 0.0), at(20)).unwrap();
    }
    let full = executive.submit(PLANNER, &navigate("e", 0.3, 0.0), at(20)).unwrap_err();
    assert_eq!(full.code, ErrorCode::QueueFull);
    assert!(full.message.contains("4 actions wait"), "{full}");
    let snapshot = executive.snapshot(at(20));
    assert_eq!((snapshot.queued, snapshot.queue_capacity), (4, 4));
    executive.tick(at(20));
    let told: Vec<_> = executive.feedback(at(20)).iter().map(|f| (f.goal.0, f.progress, f.before)).collect();
    assert_eq!(told[0], (1, Progress::Started, 0));
    assert_eq!(told[1..], [(2, Progress::Accepted, 1), (3, Progress::Accepted, 2), (4, Progress::Accepted, 3)]);
    assert!(executive.submit(PLANNER, &navigate("e", 0.3, 0.0), at(20)).is_ok(), "there is room again");
    let (first, mut ms) = run(&mut executive, 20, 30_000);
    let mut all = vec![first.unwrap().goal.0];
    let there = pose(0.3, 0.0, 0.0);
    while all.len() < 5 {
        ms += 20;
        executive.on_state("odom", there, at(ms)).unwrap();
        executive.tick(at(ms));
        all.extend(
            ends(&mut executive).iter().map(|(goal, code)| (*code == ErrorCode::None).then_some(*goal).unwrap()),
        );
        assert!(ms < 60_000, "{all:?}");
    }
    assert!(all.is_sorted(), "{all:?}");
}

#[test]
fn a_repeated_request_acts_once_and_an_id_names_one_action() {
    let (mut executive, shared) = executive(gate());
    let first = executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(20)).unwrap();
    shared.events();
    let again = executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(30)).unwrap();
    assert_eq!((again.goal, again.repeat), (first.goal, Repeat::Underway));
    assert_eq!(shared.events(), [], "nothing to record");
    let other = executive.submit(PLANNER, &navigate("a", 2.0, 0.0), at(30)).unwrap_err();
    assert!(other.code == ErrorCode::Invalid && other.message.contains("another action"), "{other}");
    let somebody = ecps_actuation::Request { caller: "/other", ..PLANNER };
    assert_eq!(executive.submit(somebody, &navigate("a", 2.0, 0.0), at(30)).unwrap().repeat, Repeat::First);
    let (finished, ms) = run(&mut executive, 40, 30_000);
    let again = executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(ms)).unwrap();
    assert_eq!(again.repeat, Repeat::Ended(finished.unwrap()));
}

#[test]
fn an_action_waits_for_its_moment_and_expires_when_it_comes_too_late() {
    let (mut executive, shared) = executive(gate());
    let moment = |ms: u64| at(ms).ros.0.to_string();
    executive.submit(PLANNER, &with_meta("a", &[("start_at_ns", moment(600))]), at(20)).unwrap();
    let late = with_meta("b", &[("expires_at_ns", moment(500))]);
    executive.submit(PLANNER, &late, at(20)).unwrap();
    assert_eq!(
        executive.submit(PLANNER, &with_meta("c", &[("expires_at_ns", "5".into())]), at(20)).unwrap_err().code,
        ErrorCode::Expired
    );
    shared.events();
    let (finished, ms) = run(&mut executive, 20, 560);
    assert_eq!((finished.map(|f| (f.goal, f.code)), ms), (Some((GoalId(2), ErrorCode::Expired)), 520));
    assert!(!shared.events().iter().any(|e| matches!(e, Event::Driven(..))), "it moved before its moment");
    assert_eq!(run(&mut executive, 540, 30_000).0.map(|f| (f.goal, f.code)), Some((GoalId(1), ErrorCode::None)));
}

#[test]
fn an_action_after_one_that_failed_does_not_start_and_where_none_may_fail_the_robot_stops() {
    let (mut executive, _) = executive(gate());
    executive.submit(PLANNER, &navigate("a", 5.0, 0.0), at(20)).unwrap();
    executive.submit(PLANNER, &with_meta("b", &[("after", "a".into())]), at(20)).unwrap();
    let must = with_meta("c", &[("after", "b".into()), ("safety", "stop_on_fail".into())]);
    executive.submit(PLANNER, &must, at(20)).unwrap();
    let unknown = executive.submit(PLANNER, &with_meta("e", &[("after", "x".into())]), at(20)).unwrap_err();
    assert!(unknown.code == ErrorCode::Dependency && unknown.message.contains("'x', which is not known"), "{unknown}");
    executive.submit(PLANNER, &navigate("d", 1.0, 0.0), at(20)).unwrap();
    executive.tick(at(20));
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(400)).unwrap();
    executive.tick(at(400));
    assert!(executive.cancel(GoalId(1), at(420)));
    executive.tick(at(440));
    let expected =
        [(1, ErrorCode::Canceled), (2, ErrorCode::Dependency), (3, ErrorCode::Dependency), (5, ErrorCode::Stopped)];
    assert_eq!(ends(&mut executive), expected);
    assert!(executive.snapshot(at(440)).stop_cause.starts_with("action_failed: action 'c' must not fail"));
}

#[test]
fn whoever_overslept_puts_out_zero_latches_and_says_for_how_long() {
    for velocity_first in [true, false] {
        let (mut executive, shared) = executive(gate());
        executive.tick(at(20));
        executive.on_velocity(&twist(0.1, 0.0), at(100));
        executive.on_state("odom", pose(0.0, 0.0, 0.0), at(1_200)).unwrap();
        shared.events();
        if velocity_first {
            let verdict = executive.on_velocity(&twist(0.1, 0.0), at(1_200));
            assert!(matches!(verdict, Verdict::Refuse(r) if r.reason() == Reason::Stopped));
        } else {
            executive.tick(at(1_200));
        }
        let events = shared.events();
        assert_eq!(events[0], Event::Halted);
        assert!(!events.iter().any(|e| matches!(e, Event::Driven(..))), "{events:?}");
        let cause = executive.snapshot(at(1_200)).stop_cause;
        assert!(cause.starts_with("overslept: ") && cause.contains("1180 ms") && cause.contains("1000 ms"), "{cause}");
    }
}

#[test]
fn a_cause_that_comes_and_goes_stops_at_once_and_bars_the_reset_while_it_is_there() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    shared.events();
    executive.set_present(StopCause::Topic, true, "/stop_request", at(110));
    assert_eq!(shared.events()[0], Event::Halted);
    executive.set_present(StopCause::Topic, true, "/stop_request", at(120));
    assert_eq!(shared.events(), [], "it is there already");
    executive.enable(PLANNER, at(130)).unwrap();
    assert_eq!(executive.reset(PLANNER, at(130)).unwrap_err().code(), 2);
    executive.set_present(StopCause::Topic, false, "", at(140));
    assert_eq!(executive.mode(), Mode::Stopped, "it is not left by itself");
    assert!(executive.reset(PLANNER, at(150)).is_ok());
}

#[test]
fn a_disarmed_gate_moves_nothing_and_says_so() {
    let (mut executive, shared) = executive(gate());
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    shared.events();
    executive.disable(PLANNER, at(110)).unwrap();
    assert_eq!((shared.events()[0].clone(), executive.mode()), (Event::Halted, Mode::Disarmed));
    assert!(
        matches!(executive.on_velocity(&twist(0.1, 0.0), at(120)), Verdict::Refuse(r) if r.reason() == Reason::NotArmed)
    );
    assert_eq!(executive.submit(PLANNER, &navigate("a", 1.0, 0.0), at(120)).unwrap_err().code, ErrorCode::NotArmed);
    let nobody = ecps_actuation::Request { caller: "", trace: [0; 16] };
    assert_eq!(executive.enable(nobody, at(130)).unwrap_err().code(), 1);
    assert!(executive.enable(PLANNER, at(130)).is_ok());
    assert!(!matches!(executive.on_velocity(&twist(0.1, 0.0), at(140)), Verdict::Refuse(_)));
}

#[test]
fn a_scan_has_its_place_where_the_robot_was_when_it_was_taken() {
    let mut config = gate();
    config.obstacles = Some(ecps_actuation::ObstacleConfig::default());
    let (mut executive, _) = executive(config);
    let taken = |x: f64, ms: u64| ecps_actuation::MeasuredState { stamp: at(ms).ros, ..pose(x, 0.0, 0.0) };
    executive.on_state("odom", taken(1.0, 100), at(110)).unwrap();
    executive.on_state("odom", taken(2.0, 200), at(210)).unwrap();
    let repeated = executive.on_state("odom", taken(3.0, 200), at(220)).unwrap_err();
    assert!(repeated.to_string().contains("no new measurement"), "{repeated}");
    // A wall 1.5 m ahead of where the robot was at 100 ms: 0.5 m ahead of where it is.
    let mut ranges = [f32::INFINITY; 360];
    ranges[180] = 1.5;
    let increment = std::f64::consts::TAU / 360.0;
    let scan = Scan {
        angle_min: -std::f64::consts::PI,
        angle_increment: increment,
        range_min: 0.1,
        range_max: 9.0,
        ranges: &ranges,
    };
    let mut last = Verdict::Admit(Velocity::ZERO);
    for ms in (240..1_000).step_by(20) {
        executive.on_state("odom", taken(2.0, ms), at(ms)).unwrap();
        executive.on_scan(&scan, Default::default(), Stamp(at(105).ros.0), at(ms)).unwrap();
        last = executive.on_velocity(&twist(1.0, 0.0), at(ms));
    }
    assert!(matches!(last, Verdict::Limit { applied, reason: Reason::Obstacle } if applied.x < 0.55), "{last:?}");
}

#[test]
fn a_stop_overtakes_ten_thousand_queued_actions_and_a_stalled_disk() {
    let shared = support::Shared::default();
    let config = ecps_actuation::Config { queue_capacity: 10_000, ..support::config(gate()) };
    let mut executive = ecps_actuation::Executive::new(config, shared.clone(), shared.clone(), at(0)).unwrap();
    executive.enable(PLANNER, at(0)).unwrap();
    executive.on_state("odom", pose(0.0, 0.0, 0.0), at(0)).unwrap();
    shared.0.borrow_mut().disk_stalls = true;
    for id in 0..10_000 {
        executive.submit(PLANNER, &navigate(&id.to_string(), 1.0, 0.0), at(20)).unwrap();
    }
    assert_eq!(executive.submit(PLANNER, &navigate("x", 1.0, 0.0), at(20)).unwrap_err().code, ErrorCode::QueueFull);
    assert_eq!(executive.feedback(at(20)).len(), 64, "telling all of them would leave no time for anything else");
    executive.on_velocity(&twist(0.1, 0.0), at(100));
    shared.events();
    executive.stop(StopCause::Requested, "operator", at(110));
    let events = shared.events();
    assert_eq!(events[0], Event::Halted, "before anything is recorded");
    assert_eq!(ends(&mut executive).iter().filter(|(_, code)| *code == ErrorCode::Stopped).count(), 10_000);
    assert!(!events.iter().any(|e| matches!(e, Event::Driven(..))));
}
