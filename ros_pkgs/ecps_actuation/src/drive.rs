//! From a pose to a pose without a planner: turn towards the target, drive, turn to its heading.

use std::time::Duration;

use ecps_core::check::{CheckError, in_range};
use thiserror::Error;

use crate::gate::ACCELERATION_WINDOW;
use crate::motion::{Limits, Velocity};
use crate::state::{PlanarPose, wrap};

/// Heading errors between which turning on the spot ends and begins, radians: it would flutter at a single one.
const TURN: (f64, f64) = (0.1, 0.6);
/// Share of the acceleration limit that is used, so that the gate has nothing to lower.
const SHARE: f64 = 0.9;
/// What counts as progress: this many metres nearer, or as many radians.
const PROGRESS: f64 = 0.02;

/// Parameters of the driver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriveConfig {
    /// Metres from the target that count as arrived, where the action does not say; 0.005 to 10, default 0.05.
    pub tolerance: f64,
    /// Radians from the target's heading that count as arrived; 0.005 to 3.2, default 0.05.
    pub heading_tolerance: f64,
    /// Time without progress after which the action fails; default 10 s.
    pub progress_timeout: Duration,
}

impl Default for DriveConfig {
    fn default() -> DriveConfig {
        DriveConfig { tolerance: 0.05, heading_tolerance: 0.05, progress_timeout: Duration::from_secs(10) }
    }
}

/// Least and greatest tolerance, metres.
pub const TOLERANCE_RANGE: (f64, f64) = (0.005, 10.0);

impl DriveConfig {
    /// Refuses numbers outside their ranges.
    pub fn check(&self) -> Result<(), CheckError> {
        in_range("tolerance", self.tolerance, TOLERANCE_RANGE.0, TOLERANCE_RANGE.1)?;
        in_range("heading_tolerance", self.heading_tolerance, 0.005, 3.2)?;
        in_range("progress_timeout", self.progress_timeout.as_secs_f64(), 0.1, 3600.0)?;
        Ok(())
    }
}

/// The target is not being reached.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("no progress for {waited:?}, with {distance:.3} m and {heading:.3} rad still to go")]
pub struct NoProgress {
    /// Time without progress.
    pub waited: Duration,
    /// Metres still to go.
    pub distance: f64,
    /// Radians still to turn.
    pub heading: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Move like this until the next step.
    Drive(Velocity),
    /// The target is reached.
    Arrived,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Turn,
    Drive,
    FinalTurn,
}

/// Drives to one target.
#[derive(Debug, Clone)]
pub struct Driver {
    target: PlanarPose,
    config: DriveConfig,
    phase: Phase,
    last: Velocity,
    /// Least distance while driving, least angle while turning, and the time since one of them fell.
    best_distance: f64,
    best_turn: f64,
    waited: Duration,
    /// Whether the target's place was reached once.
    was_there: bool,
}

impl Driver {
    /// A driver to `target`, from standing still.
    pub fn new(target: PlanarPose, config: DriveConfig) -> Driver {
        Driver {
            target,
            config,
            phase: Phase::Turn,
            last: Velocity::ZERO,
            best_distance: f64::INFINITY,
            best_turn: f64::INFINITY,
            waited: Duration::ZERO,
            was_there: false,
        }
    }

    /// Where it drives to.
    pub fn target(&self) -> PlanarPose {
        self.target
    }

    /// The velocity from `pose` on, `elapsed` after the step before.
    pub fn step(&mut self, pose: PlanarPose, limits: &Limits, elapsed: Duration) -> Result<Step, NoProgress> {
        let distance = pose.distance(self.target);
        let final_turn = wrap(self.target.yaw - pose.yaw);
        let bearing = wrap((self.target.y - pose.y).atan2(self.target.x - pose.x) - pose.yaw);
        self.phase = match self.phase {
            _ if distance <= self.config.tolerance => Phase::FinalTurn,
            // Turning shifts a real base a little; up to twice the tolerance it need not drive again.
            Phase::FinalTurn if distance <= 2.0 * self.config.tolerance => Phase::FinalTurn,
            Phase::Drive if bearing.abs() < TURN.1 => Phase::Drive,
            _ if bearing.abs() < TURN.0 => Phase::Drive,
            _ => Phase::Turn,
        };
        let turn = if self.phase == Phase::FinalTurn { final_turn } else { bearing };
        if self.phase == Phase::FinalTurn && final_turn.abs() <= self.config.heading_tolerance {
            return Ok(Step::Arrived);
        }
        self.watch_progress(distance, turn.abs(), elapsed).map_err(|waited| NoProgress {
            waited,
            distance,
            heading: final_turn.abs(),
        })?;
        let seconds = elapsed.min(ACCELERATION_WINDOW).as_secs_f64();
        let speed = match self.phase {
            // Slower the further off course.
            Phase::Drive => {
                let wanted = approach(distance, limits.max_linear_speed, limits.max_linear_acceleration);
                let wanted = wanted * bearing.cos().max(0.0);
                wanted.min(self.last.x + SHARE * limits.max_linear_acceleration * seconds)
            }
            Phase::Turn | Phase::FinalTurn => 0.0,
        };
        let rate = approach(turn.abs(), limits.max_angular_speed, limits.max_angular_acceleration).copysign(turn);
        let step = SHARE * limits.max_angular_acceleration * seconds;
        // From zero, where the direction changes.
        let from = if rate * self.last.yaw < 0.0 { 0.0 } else { self.last.yaw };
        self.last = Velocity { x: speed, y: 0.0, yaw: rate.clamp(from - step, from + step) };
        Ok(Step::Drive(self.last))
    }

    /// Fails with the time waited. Turning anew counts as progress only after the distance fell, so that a base which
    /// turns and cannot drive is found out.
    fn watch_progress(&mut self, distance: f64, turn: f64, elapsed: Duration) -> Result<(), Duration> {
        if self.phase == Phase::FinalTurn && !self.was_there {
            self.was_there = true;
            self.best_turn = f64::INFINITY;
        }
        if self.phase == Phase::Drive {
            if distance < self.best_distance - PROGRESS {
                (self.best_distance, self.best_turn, self.waited) = (distance, f64::INFINITY, Duration::ZERO);
                return Ok(());
            }
        } else if turn < self.best_turn - PROGRESS {
            (self.best_turn, self.waited) = (turn, Duration::ZERO);
            return Ok(());
        }
        self.waited = self.waited.saturating_add(elapsed);
        if self.waited > self.config.progress_timeout { Err(self.waited) } else { Ok(()) }
    }
}

/// The speed from which half the braking ability still stops within `left`.
fn approach(left: f64, most: f64, acceleration: f64) -> f64 {
    (acceleration * left).sqrt().min(2.0 * left).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_linear_speed: 0.5,
        max_linear_acceleration: 1.0,
        max_linear_jerk: 100.0,
        max_angular_speed: 1.5,
        max_angular_acceleration: 3.0,
        max_angular_jerk: 300.0,
    };
    const PERIOD: Duration = Duration::from_millis(50);

    /// Drives a base that does as it is told, times `grip`; the steps it took.
    fn run(start: PlanarPose, target: PlanarPose, grip: Velocity) -> Result<(PlanarPose, usize), NoProgress> {
        let mut driver = Driver::new(target, DriveConfig::default());
        let (mut pose, mut last) = (start, Velocity::ZERO);
        for steps in 0..20_000 {
            let Step::Drive(v) = driver.step(pose, &LIMITS, PERIOD)? else { return Ok((pose, steps)) };
            assert!(v.x.abs() <= 0.5 && v.yaw.abs() <= 1.5 && v.y == 0.0, "{v:?}");
            let seconds = PERIOD.as_secs_f64();
            assert!(
                v.x - last.x <= seconds + 1e-9 && (v.yaw - last.yaw).abs() <= 3.0 * seconds + 1e-9,
                "{last:?} {v:?}"
            );
            last = v;
            pose.yaw = wrap(pose.yaw + v.yaw * grip.yaw * seconds);
            pose.x += v.x * grip.x * seconds * pose.yaw.cos();
            pose.y += v.x * grip.x * seconds * pose.yaw.sin();
        }
        panic!("neither arrives nor gives up: {start:?} to {target:?}");
    }

    const GOOD: Velocity = Velocity { x: 1.0, y: 0.0, yaw: 1.0 };

    #[test]
    fn it_arrives_at_any_pose_from_any_pose_within_its_limits() {
        for i in 0..8 {
            for j in 0..8 {
                let angle = |k: u32| f64::from(k) * std::f64::consts::FRAC_PI_4;
                let target = PlanarPose { x: 2.0 * angle(i).cos(), y: 2.0 * angle(i).sin(), yaw: wrap(angle(j)) };
                let (end, steps) = run(PlanarPose { x: 0.0, y: 0.0, yaw: 1.0 }, target, GOOD).unwrap();
                assert!(end.distance(target) <= 0.1 && wrap(end.yaw - target.yaw).abs() <= 0.05, "{end:?} {target:?}");
                assert!(steps < 400, "{steps} steps of 50 ms for 2 m");
            }
        }
    }

    #[test]
    fn being_there_already_is_arriving_at_once() {
        assert_eq!(run(PlanarPose::default(), PlanarPose { x: 0.02, ..PlanarPose::default() }, GOOD).unwrap().1, 0);
    }

    #[test]
    fn a_base_that_does_not_move_or_only_turns_is_no_progress() {
        let target = PlanarPose { x: -2.0, ..PlanarPose::default() };
        for grip in [Velocity::ZERO, Velocity { yaw: 1.0, ..Velocity::ZERO }, Velocity { x: 1.0, ..Velocity::ZERO }] {
            let error = run(PlanarPose::default(), target, grip).unwrap_err();
            assert!(error.waited > DriveConfig::default().progress_timeout);
            assert!(error.to_string().contains("2.000 m"), "{error}");
        }
    }
}
