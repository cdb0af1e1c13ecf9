//! What the gate admits, limits and refuses, as a table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::Duration;

use ecps_actuation::zone::Rule;
use ecps_actuation::{
    Base, Gate, GateConfig, Limits, ObstacleConfig, Reason, Scan, Source, StateNeed, StopCause, Velocity,
    VelocityCommand, Verdict, Zone,
};
use ecps_core::clock::Stamp;
use support::{CEILING, at, pose, twist};

fn gate(change: impl FnOnce(&mut GateConfig)) -> Gate {
    let mut config = GateConfig::new(CEILING);
    change(&mut config);
    let mut gate = Gate::new(config).unwrap();
    gate.measured(pose(0.0, 0.0, 0.0), at(0).steady);
    gate.arming_mut().enable(at(0).steady);
    gate
}

fn room(half: f64) -> Zone {
    Zone::rectangle("room", Rule::StayInside, [-half, -half], [half, half]).unwrap()
}

/// A gate whose acceleration limits do not matter.
fn quick(change: impl FnOnce(&mut GateConfig)) -> Gate {
    gate(|config| {
        config.ceiling = Limits {
            max_linear_acceleration: 1000.0,
            max_linear_jerk: 10_000.0,
            max_angular_acceleration: 1000.0,
            max_angular_jerk: 10_000.0,
            ..CEILING
        };
        change(config);
    })
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Admit(_) => None,
        Verdict::Limit { reason, .. } => Some(*reason),
        Verdict::Refuse(refusal) => Some(refusal.reason()),
    }
}

fn applied(verdict: &Verdict) -> Option<Velocity> {
    match verdict {
        Verdict::Admit(v) | Verdict::Limit { applied: v, .. } => Some(*v),
        Verdict::Refuse(_) => None,
    }
}

fn v(x: f64, yaw: f64) -> Option<Velocity> {
    Some(Velocity { x, y: 0.0, yaw })
}

#[test]
fn speeds_pass_are_lowered_with_their_curvature_kept_or_are_refused() {
    let gate = quick(|_| {});
    for (x, yaw, expected, why) in [
        (0.5, 1.0, v(0.5, 1.0), None),
        (1.0, 2.0, v(1.0, 2.0), None),
        (-1.0, -2.0, v(-1.0, -2.0), None),
        (0.0, -0.0, v(0.0, 0.0), None),
        (5e-324, 0.0, v(5e-324, 0.0), None),
        (2.0, 1.0, v(1.0, 0.5), Some(Reason::LinearSpeed)),
        (0.5, 4.0, v(0.25, 2.0), Some(Reason::AngularSpeed)),
        (-2.0, 0.0, v(-1.0, 0.0), Some(Reason::LinearSpeed)),
        (2.001, 0.0, None, Some(Reason::Unreasonable)),
        (10.0, 0.0, None, Some(Reason::Unreasonable)),
        (-1000.0, 0.0, None, Some(Reason::Unreasonable)),
        (0.0, 4.001, None, Some(Reason::Unreasonable)),
        (f64::MAX, f64::MAX, None, Some(Reason::Unreasonable)),
        (f64::NAN, 0.0, None, Some(Reason::NotFinite)),
        (0.0, f64::INFINITY, None, Some(Reason::NotFinite)),
        (f64::NEG_INFINITY, 0.0, None, Some(Reason::NotFinite)),
    ] {
        let verdict = gate.admit(&twist(x, yaw), at(0));
        assert_eq!((applied(&verdict), reason(&verdict)), (expected, why), "{x} {yaw}");
    }
}

#[test]
fn refusals_name_the_value_and_the_limit() {
    let gate = quick(|_| {});
    for (command, expected) in [
        (twist(10.0, 0.0), "the linear speed is 10 m/s; up to 2 m/s would have been lowered, more is refused"),
        (twist(f64::NAN, 0.0), "linear.x is NaN, and must be finite"),
        (
            VelocityCommand { stamp: Some(Stamp(at(0).ros.0 - 3_000_000_000)), ..twist(0.1, 0.0) },
            "the command is 3000 ms old, and its lifetime is 500 ms",
        ),
    ] {
        let Verdict::Refuse(refusal) = gate.admit(&command, at(0)) else { panic!("{command:?} passed") };
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn an_axis_that_the_base_does_not_have_must_be_zero() {
    for (base, axis, passes) in [
        (Base::Differential, 1, false),
        (Base::Omnidirectional, 1, true),
        (Base::Omnidirectional, 2, false),
        (Base::Omnidirectional, 3, false),
        (Base::Omnidirectional, 4, false),
        (Base::Differential, 5, true),
    ] {
        let mut values = [0.0; 6];
        values[axis] = 0.1;
        let [x, y, z, roll, pitch, yaw] = values;
        let command = VelocityCommand { linear: [x, y, z], angular: [roll, pitch, yaw], ..twist(0.0, 0.0) };
        let verdict = quick(|c| c.base = base).admit(&command, at(0));
        let expected = (!passes).then_some(Reason::UnsupportedAxis);
        assert_eq!(reason(&verdict), expected, "{base:?} axis {axis}");
        values[axis] = f64::NAN;
        let [x, y, z, roll, pitch, yaw] = values;
        let command = VelocityCommand { linear: [x, y, z], angular: [roll, pitch, yaw], ..command };
        assert_eq!(reason(&quick(|c| c.base = base).admit(&command, at(0))), Some(Reason::NotFinite));
    }
}

#[test]
fn a_stamp_must_be_within_its_lifetime_also_when_ros_time_jumps_back() {
    let gate = quick(|_| {});
    let now = at(0);
    for (age_ms, why) in
        [(0, None), (500, None), (501, Some(Reason::Stale)), (-100, None), (-101, Some(Reason::FromFuture))]
    {
        let command = VelocityCommand { stamp: Some(Stamp(now.ros.0 - age_ms * 1_000_000)), ..twist(0.1, 0.0) };
        assert_eq!(reason(&gate.admit(&command, now)), why, "{age_ms} ms old");
    }
    for (stamp, why) in
        [(Stamp(0), Reason::Stale), (Stamp(i64::MIN), Reason::Stale), (Stamp(i64::MAX), Reason::FromFuture)]
    {
        assert_eq!(reason(&gate.admit(&VelocityCommand { stamp: Some(stamp), ..twist(0.1, 0.0) }, now)), Some(why));
    }
    let jumped = ecps_actuation::Now { ros: Stamp(5), ..now };
    let before = VelocityCommand { stamp: Some(now.ros), ..twist(0.1, 0.0) };
    assert_eq!(reason(&gate.admit(&before, jumped)), Some(Reason::FromFuture));
    let after = VelocityCommand { stamp: Some(Stamp(5)), ..twist(0.1, 0.0) };
    assert_eq!(reason(&gate.admit(&after, jumped)), None);
}

#[test]
fn without_a_fresh_state_nothing_passes_where_one_is_needed() {
    for (need, zones, passes) in [
        (StateNeed::Required, vec![], false),
        (StateNeed::Optional, vec![], true),
        (StateNeed::Optional, vec![room(9.0)], false),
    ] {
        let gate = quick(|c| (c.state_need, c.zones) = (need, zones));
        assert_eq!(reason(&gate.admit(&twist(0.1, 0.0), at(500))), None);
        let expected = (!passes).then_some(Reason::StateStale);
        assert_eq!(reason(&gate.admit(&twist(0.1, 0.0), at(501))), expected, "{need:?}");
    }
}

#[test]
fn speeding_up_is_limited_and_slowing_down_is_not() {
    for (present, wanted, ms, expected, why) in [
        (0.0, 1.0, 50, 0.05, Some(Reason::LinearAcceleration)),
        (0.0, -1.0, 50, -0.05, Some(Reason::LinearAcceleration)),
        (0.5, 0.55, 50, 0.55, None),
        (0.5, 1.0, 5000, 0.6, Some(Reason::LinearAcceleration)),
        (0.5, 1.0, 0, 0.5, Some(Reason::LinearAcceleration)),
        (0.9, 0.1, 1, 0.1, None),
        (0.9, 0.0, 0, 0.0, None),
        (-0.9, 0.0, 0, 0.0, None),
        (0.9, -0.9, 50, 0.0, Some(Reason::LinearAcceleration)),
        (0.02, -0.9, 50, -0.03, Some(Reason::LinearAcceleration)),
    ] {
        let mut gate = gate(|c| c.state_need = StateNeed::Optional);
        gate.applied("cmd_vel_in", Velocity { x: present, ..Velocity::ZERO }, at(0).steady);
        let verdict = gate.admit(&twist(wanted, 0.0), at(ms));
        let x = applied(&verdict).unwrap().x;
        assert!((x - expected).abs() < 1e-12, "{present} to {wanted} in {ms} ms: {x}, and not {expected}");
        assert_eq!(reason(&verdict), why, "{present} to {wanted} in {ms} ms");
    }
    let verdict = gate(|_| {}).admit(&twist(0.0, 2.0), at(0));
    assert_eq!((applied(&verdict), reason(&verdict)), (v(0.0, 0.4), Some(Reason::AngularAcceleration)));
    let sideways = VelocityCommand { linear: [1.0, 1.0, 0.0], ..twist(0.0, 0.0) };
    let verdict = gate(|c| c.base = Base::Omnidirectional).admit(&sideways, at(0));
    assert!(applied(&verdict).unwrap().speed() <= 0.1 + 1e-12, "both axes together: {verdict:?}");
}

#[test]
fn a_command_that_could_not_stop_within_the_workspace_is_lowered_or_refused() {
    let room = |x: f64, yaw: f64| {
        let mut gate = gate(|c| {
            c.zones = vec![self::room(5.0)];
        });
        gate.measured(pose(x, 0.0, yaw), at(0).steady);
        gate.applied("cmd_vel_in", Velocity { x: 1.0, ..Velocity::ZERO }, at(0).steady);
        gate
    };
    // 1 m/s needs 0.1 m to react and 0.5 m to brake.
    assert_eq!(reason(&room(4.39, 0.0).admit(&twist(1.0, 0.0), at(50))), None);
    let verdict = room(4.7, 0.0).admit(&twist(1.0, 0.0), at(50));
    let slow = applied(&verdict).unwrap().x;
    assert_eq!(reason(&verdict), Some(Reason::Workspace));
    assert!((slow * 0.1 + slow * slow / 2.0 - 0.3).abs() < 1e-9, "{slow} needs all of 0.3 m");
    assert_eq!(reason(&room(4.9999, 0.0).admit(&twist(1.0, 0.0), at(50))), Some(Reason::Workspace));
    assert_eq!(applied(&room(4.9999, 0.0).admit(&twist(1.0, 0.0), at(50))), None);
    assert_eq!(reason(&room(4.9999, 0.0).admit(&twist(0.0, 0.1), at(50))), None, "turning on the spot");
    let out = std::f64::consts::PI;
    assert_eq!(reason(&room(6.0, out).admit(&twist(0.5, 0.0), at(50))), None, "back in from outside");
    assert_eq!(reason(&room(6.0, 0.0).admit(&twist(0.5, 0.0), at(50))), Some(Reason::Workspace));
}

#[test]
fn lowered_limits_hold_and_sanity_is_still_judged_by_the_parameters() {
    let mut gate = quick(|_| {});
    gate.set_limits(Limits { max_linear_speed: 0.1, max_linear_acceleration: 1000.0, ..*gate.limits() });
    let verdict = gate.admit(&twist(1.0, 0.0), at(0));
    assert_eq!((applied(&verdict), reason(&verdict)), (v(0.1, 0.0), Some(Reason::LinearSpeed)));
}

#[test]
fn a_latched_stop_refuses_even_a_zero() {
    let mut gate = quick(|_| {});
    gate.arming_mut().trip(StopCause::Requested, "operator");
    let Verdict::Refuse(refusal) = gate.admit(&twist(0.0, 0.0), at(0)) else { panic!("it passed") };
    assert_eq!(refusal.to_string(), "a protective stop is latched (requested: operator)");
}

#[test]
fn parameters_that_protect_nothing_are_refused() {
    let refused = |change: fn(&mut GateConfig)| {
        let mut config = GateConfig::new(CEILING);
        change(&mut config);
        Gate::new(config).unwrap_err().to_string()
    };
    for (error, field) in [
        (refused(|c| c.sources[0].timeout = Duration::ZERO), "the timeout of a source is 0ns"),
        (refused(|c| c.sources[0].timeout = Duration::from_millis(1001)), "the timeout of a source is 1.001s"),
        (refused(|c| c.command_lifetime = Duration::ZERO), "command_lifetime"),
        (refused(|c| c.state_timeout = Duration::ZERO), "state_timeout"),
        (refused(|c| c.refuse_above = 0.9), "refuse_above is 0.9, outside 1 to 100"),
        (refused(|c| c.refuse_above = f64::NAN), "refuse_above is NaN"),
        (refused(|c| c.ceiling.max_linear_speed = 0.0), "max_linear_speed is 0"),
        (refused(|c| c.ceiling.max_angular_acceleration = f64::INFINITY), "max_angular_acceleration is inf"),
        (refused(|c| c.ceiling.max_linear_jerk = f64::NAN), "max_linear_jerk is NaN"),
        (refused(|c| c.reaction = Duration::from_secs(2)), "reaction is 2"),
        (refused(|c| c.scan_timeout = Duration::from_secs(2)), "scan_timeout is 2s"),
        (refused(|c| c.zones = vec![room(1.0); 65]), "65 entries"),
        (
            refused(|c| c.obstacles = Some(ObstacleConfig { robot_radius: 0.0, ..Default::default() })),
            "robot_radius is 0",
        ),
    ] {
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn nothing_passes_until_somebody_enables_and_again_when_disabled() {
    let mut gate = quick(|_| {});
    assert_eq!(reason(&gate.admit(&twist(0.1, 0.0), at(0))), None);
    gate.arming_mut().disable();
    assert_eq!(reason(&gate.admit(&twist(0.0, 0.0), at(0))), Some(Reason::NotArmed));
}

#[test]
fn a_source_of_higher_priority_is_heard_alone_until_it_falls_silent_and_a_stranger_never() {
    let source = |name: &str, priority, ms| Source { name: name.into(), priority, timeout: Duration::from_millis(ms) };
    let mut gate = quick(|c| c.sources = vec![source("nav", 10, 500), source("joy", 100, 200)]);
    let from = |source| VelocityCommand { source, ..twist(0.1, 0.0) };
    assert_eq!(reason(&gate.admit(&from("nav"), at(0))), None);
    gate.applied("nav", Velocity { x: 0.1, ..Velocity::ZERO }, at(0).steady);
    assert_eq!(reason(&gate.admit(&from("joy"), at(10))), None);
    gate.applied("joy", Velocity { x: 0.1, ..Velocity::ZERO }, at(10).steady);
    assert_eq!(reason(&gate.admit(&from("nav"), at(210))), Some(Reason::Outranked));
    assert_eq!(gate.watch(at(211).steady), Some(Reason::CommandSilence), "by joy's timeout, not nav's");
    assert_eq!(reason(&gate.admit(&from("nav"), at(211))), None);
    assert_eq!(reason(&gate.admit(&from("cmd_vel_in"), at(211))), Some(Reason::UnknownSource));
}

/// A wall across the x axis, as a full scan from the origin sees it.
fn wall_at(x: f64) -> Vec<f32> {
    let beam = |i: i32| {
        let angle = (f64::from(i) - 180.0).to_radians();
        if angle.cos() > 0.05 { (x / angle.cos()) as f32 } else { f32::INFINITY }
    };
    (0..360).map(beam).collect()
}

fn full_turn(ranges: &[f32]) -> Scan<'_> {
    let increment = std::f64::consts::TAU / 360.0;
    Scan { angle_min: -std::f64::consts::PI, angle_increment: increment, range_min: 0.05, range_max: 12.0, ranges }
}

#[test]
fn the_speed_leaves_room_to_stop_before_an_obstacle_and_without_a_scan_nothing_passes() {
    let config = ObstacleConfig { robot_radius: 0.2, margin: 0.1, ..Default::default() };
    let with_wall = |x: f64| {
        let mut gate = gate(|c| c.obstacles = Some(config));
        let ranges = wall_at(x);
        gate.scanned(&full_turn(&ranges), pose(0.0, 0.0, 0.0).pose, Default::default(), at(0).steady).unwrap();
        gate.applied("cmd_vel_in", Velocity { x: 1.0, ..Velocity::ZERO }, at(0).steady);
        gate
    };
    // 1 m/s needs 0.1 m to react and 0.5 m to brake, and the robot ends 0.3 m before the wall.
    assert_eq!(reason(&with_wall(0.91).admit(&twist(1.0, 0.0), at(50))), None);
    let verdict = with_wall(0.6).admit(&twist(1.0, 0.0), at(50));
    let slow = applied(&verdict).unwrap().x;
    assert_eq!(reason(&verdict), Some(Reason::Obstacle));
    assert!((slow * 0.1 + slow * slow / 2.0 - 0.3).abs() < 1e-3, "{slow} needs all of 0.3 m");
    let close = with_wall(0.3);
    assert_eq!(
        (applied(&close.admit(&twist(1.0, 0.0), at(50))), close.watch(at(50).steady)),
        (None, Some(Reason::Obstacle))
    );
    let mut close = close;
    close.halted(at(50).steady);
    assert_eq!(reason(&close.admit(&twist(-0.1, 0.0), at(150))), None, "back");
    assert_eq!(reason(&close.admit(&twist(0.0, 0.1), at(150))), None, "on the spot");
    let mut late = with_wall(5.0);
    late.measured(pose(0.0, 0.0, 0.0), at(400).steady);
    assert_eq!(reason(&late.admit(&twist(0.1, 0.0), at(501))), Some(Reason::ScanStale));
    assert_eq!(late.watch(at(501).steady), Some(Reason::CommandSilence));
    late.applied("cmd_vel_in", Velocity { x: 0.1, ..Velocity::ZERO }, at(501).steady);
    assert_eq!(late.watch(at(501).steady), Some(Reason::ScanStale));
}

#[test]
fn towards_where_the_scanner_does_not_look_it_creeps_or_stays() {
    for (blind_speed, expected) in [(0.0, None), (0.05, v(-0.05, 0.0))] {
        let mut gate = quick(|c| c.obstacles = Some(ObstacleConfig { blind_speed, ..Default::default() }));
        let ahead = Scan { angle_min: -1.5, angle_increment: 0.1, ranges: &[9.0; 31], ..full_turn(&[]) };
        gate.scanned(&ahead, pose(0.0, 0.0, 0.0).pose, Default::default(), at(0).steady).unwrap();
        assert_eq!(reason(&gate.admit(&twist(0.5, 0.0), at(0))), None);
        let back = gate.admit(&twist(-0.5, 0.0), at(0));
        assert_eq!((applied(&back), reason(&back)), (expected, Some(Reason::Blind)));
    }
}

#[test]
fn of_all_zones_and_obstacles_the_nearest_decides() {
    let pillar = Zone::rectangle("pillar", Rule::KeepOut, [0.45, -0.5], [2.0, 0.5]).unwrap();
    let mut gate = gate(|c| {
        c.zones = vec![room(5.0), pillar];
        c.obstacles = Some(ObstacleConfig { robot_radius: 0.2, margin: 0.1, ..Default::default() });
    });
    gate.applied("cmd_vel_in", Velocity { x: 1.0, ..Velocity::ZERO }, at(0).steady);
    let mut lowered = |wall: f64| {
        gate.scanned(&full_turn(&wall_at(wall)), pose(0.0, 0.0, 0.0).pose, Default::default(), at(0).steady).unwrap();
        let verdict = gate.admit(&twist(1.0, 0.0), at(50));
        (reason(&verdict), applied(&verdict).unwrap().x)
    };
    let (why, by_zone) = lowered(0.9);
    assert_eq!(why, Some(Reason::KeepOut));
    let (why, by_wall) = lowered(0.5);
    assert_eq!(why, Some(Reason::Obstacle));
    assert!(by_wall < by_zone);
}
