//! A reckless planner is let loose on the robot; and the executor is killed while the robot drives.

use std::time::{Duration, Instant};

use ecps_core::clock::{Steady, SteadyClock as _, SystemSteady};
use nalgebra::Point2;

use super::super::node::{GateState, Heard};
use super::super::{DemoError, claim, progress, within};
use super::{Day, PATIENCE, point};
use crate::report::Refusal;
use crate::supervise::Supervisor;

/// What the planner wants: m/s, rad/s, seconds. At a wall until it no longer goes on, then somewhere else.
const WISHES: [(f64, f64, f64); 7] = [
    (1.2, 0.0, 2.5),
    (-1.2, 0.3, 1.5),
    (1.2, -1.0, 2.0),
    (1.2, 0.0, 2.5),
    (-1.2, -0.5, 1.5),
    (1.2, 1.5, 1.5),
    (1.2, 0.0, 2.0),
];
/// Between two of its commands.
const PERIOD: Duration = Duration::from_millis(20);
/// Commands of a flood, all at once.
const FLOOD: u64 = 50;
/// Time from the end of a killed executor to zero.
const KILLED_MS: f64 = 100.0;
/// Speed at which the executor is killed, m/s.
const CRUISE: f64 = 0.4;

fn refusals(gate: &GateState) -> impl Iterator<Item = (&str, u64)> {
    gate.reasons.iter().map(String::as_str).zip(gate.reason_counts.iter().copied())
}

impl Day {
    /// Refusals, and speeds lowered, since `before`, at the place where the robot is.
    pub(super) fn mark_refusals(&mut self, before: &GateState, after: &GateState) -> Result<(), DemoError> {
        let at = point(&self.here()?);
        for (reason, count) in refusals(after) {
            let known = refusals(before).find(|(known, _)| *known == reason).map_or(0, |(_, count)| count);
            let marks = (known..count).map(|_| Refusal { at, reason: reason.to_owned() });
            self.refusals.extend(marks);
        }
        Ok(())
    }

    /// Full speed at walls, NaN, absurd speeds, stale plans and floods.
    pub(super) fn let_a_planner_loose(&mut self) -> Result<(), DemoError> {
        progress("a reckless planner: full speed at walls, NaN, 1000 m/s, stale plans, floods");
        let before = self.last_gate_state()?;
        let driven_from = self.peer.heard().path.len();
        let mut sent = 0_u64;
        let mut known = before.clone();
        for (x, yaw, seconds) in WISHES {
            let (began, first) = (Instant::now(), sent);
            while began.elapsed() < Duration::from_secs_f64(seconds) {
                match sent % 20 {
                    7 => self.peer.command(f64::NAN, yaw, Duration::ZERO),
                    11 => self.peer.command(1000.0, yaw, Duration::ZERO),
                    13 => self.peer.command(x, yaw, Duration::from_secs(3)),
                    19 => (1..FLOOD).for_each(|_| self.peer.command(x, yaw, Duration::ZERO)),
                    _ => self.peer.command(x, yaw, Duration::ZERO),
                }
                sent += 1;
                let next = began + PERIOD * u32::try_from(sent - first).unwrap_or(u32::MAX);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let after = self.last_gate_state()?;
            self.mark_refusals(&known, &after)?;
            known = after;
        }
        self.peer.wait_for("the robot to stand", PATIENCE, |heard| stands(heard).then_some(()))?;

        let heard = self.peer.heard();
        let places = heard.path.iter().skip(driven_from).map(|(_, pose)| (self.origin * pose).translation.vector);
        let places: Vec<_> = places.collect();
        drop(heard);
        let way: f64 =
            places.windows(2).map(|pair| pair.iter().fold(nalgebra::Vector2::zeros(), |a, b| b - a).norm()).sum();
        let nearest =
            places.iter().map(|place| self.plan.distance_to_wall(Point2::from(*place))).fold(f64::INFINITY, f64::min);
        let counted = |reason: &str| {
            let count = |gate| refusals(gate).find(|(known, _)| *known == reason).map_or(0, |(_, count)| count);
            count(&known) - count(&before)
        };
        let reasons = ["obstacle", "not_finite", "unreasonable", "stale"].map(|reason| (reason, counted(reason)));
        let radius = ecps_sim::robot::BaseConfig::default().radius;
        self.claims.push(claim(
            "Reckless planner: nearest to a wall",
            format!("{nearest:.2} m, on {way:.1} m of way"),
            format!("more than {radius} m, on more than 1 m"),
            nearest > radius && way > 1.0,
        ));
        self.claims.push(claim(
            "Reckless planner: held back, by reason",
            reasons.map(|(reason, count)| format!("{count} {reason}")).join(", "),
            "some of each",
            reasons.iter().all(|(_, count)| *count > 0),
        ));
        Ok(())
    }

    /// Kills the executor while the robot drives: it stands, whatever the planner goes on to command, and a new executor
    /// moves it only after a reset. The state of the killed gate, and of the new one.
    pub(super) fn kill_the_executor(&mut self, nodes: &mut Supervisor) -> Result<(GateState, GateState), DemoError> {
        let running = nodes.running();
        let label = running.iter().find(|label| label.ends_with("eap_executor")).map(|label| (*label).to_owned());
        let label = label.ok_or_else(|| DemoError::Missing("the executor is not running".into()))?;
        progress("killing the executor while the robot drives");
        self.cruise()?;
        let last = self.peer.heard().gate.clone().unwrap_or_default();
        let killed = SystemSteady.now();
        nodes.kill(&label)?;
        let zero = self.peer.wait_for("zero on cmd_vel", PATIENCE, |heard| zero_since(heard, killed))?;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            self.peer.command(CRUISE, 0.0, Duration::ZERO);
            std::thread::sleep(PERIOD);
        }
        let rest = self.peer.wait_for("the robot to stand", PATIENCE, |heard| stands(heard).then_some(()));
        let moving = self.peer.heard().commands.iter().filter(|(at, c)| *at > zero && c.twist.linear.x != 0.0).count();
        self.claims.push(claim(
            "Executor killed while driving: robot at rest",
            if rest.is_ok() { format!("stands, {moving} commands to move since") } else { "moves".into() },
            "stands, 0 commands to move since",
            rest.is_ok() && moving == 0,
        ));
        let took = zero.since(killed).as_secs_f64() * 1e3;
        self.claims.push(within("Executor killed: time to zero on cmd_vel", took, KILLED_MS));

        let stamp = self.peer.heard().gate.as_ref().map(|gate| gate.header.stamp.clone());
        nodes.restart(&label)?;
        self.peer.wait_for("the new executor", PATIENCE, |heard| {
            heard.gate.as_ref().filter(|gate| Some(&gate.header.stamp) != stamp.as_ref()).map(|_| ())
        })?;
        let until = Instant::now() + PATIENCE;
        // Which it refuses until it hears the new executor.
        while let Err(error) = self.peer.reset_supervisor() {
            if Instant::now() > until {
                return Err(error);
            }
            std::thread::sleep(PERIOD);
        }
        self.peer
            .wait_for("an armed gate", PATIENCE, |heard| heard.gate.as_ref().filter(|gate| gate.mode == 0).map(drop))?;
        let stood = self.peer.heard().commands.iter().filter(|(at, c)| *at > zero && c.twist.linear.x != 0.0).count();
        self.cruise()?;
        self.claims.push(claim(
            "A new executor moves the robot after a reset alone",
            format!("{stood} commands before, moves after"),
            "0 commands before, moves after",
            stood == 0,
        ));
        self.peer.wait_for("the robot to stand", PATIENCE, |heard| stands(heard).then_some(()))?;
        Ok((last, self.last_gate_state()?))
    }

    /// Commands a moderate speed, forward or back, wherever there is more room, until the robot has it.
    fn cruise(&self) -> Result<(), DemoError> {
        let speed = self.peer.wait_for("a scan", PATIENCE, |heard| {
            let (_, scan) = heard.scans.back()?;
            let room = |towards: f64| {
                let angles = (0_u32..).map(|beam| scan.angle_min + beam as f32 * scan.angle_increment);
                let ahead = angles.zip(&scan.ranges).filter(|(angle, _)| (f64::from(*angle) - towards).cos() > 0.9);
                ahead.map(|(_, range)| *range).fold(f32::INFINITY, f32::min)
            };
            Some(if room(0.0) > room(std::f64::consts::PI) { CRUISE } else { -CRUISE })
        })?;
        let until = Instant::now() + PATIENCE;
        let at_speed = |heard: &Heard| heard.commands.last().is_some_and(|(_, c)| c.twist.linear.x == speed);
        while !at_speed(&self.peer.heard()) {
            if Instant::now() > until {
                return Err(DemoError::Missing(format!("the robot does not drive at {speed} m/s")));
            }
            self.peer.command(speed, 0.0, Duration::ZERO);
            std::thread::sleep(PERIOD);
        }
        Ok(())
    }
}

/// Whether the last ten positions are the same.
pub(super) fn stands(heard: &Heard) -> bool {
    let Some((_, now)) = heard.path.last() else { return false };
    let mut before = heard.path.iter().rev().take(10);
    before.all(|(_, pose)| (pose.translation.vector - now.translation.vector).norm() < 1e-6)
}

fn zero_since(heard: &Heard, moment: Steady) -> Option<Steady> {
    let after = heard.commands.iter().rev().take_while(|(at, _)| *at > moment);
    after.filter(|(_, c)| c.twist.linear.x == 0.0 && c.twist.angular.z == 0.0).last().map(|(at, _)| *at)
}
