//! Speed, acceleration and jerk: how the output approaches what is commanded. Slowing down is never delayed.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::gate::Base;
use crate::motion::{Limits, Velocity};
use crate::reason::Reason;

/// Most time between two commands that counts, so that a pause does not buy a jump.
pub const ACCELERATION_WINDOW: Duration = Duration::from_millis(100);

/// The output, and how it came about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shaper {
    output: Velocity,
    /// By which the output's axes last sped up, per second; not negative.
    ramp: Velocity,
    at: Option<Steady>,
}

impl Shaper {
    pub(crate) fn output(&self) -> Velocity {
        self.output
    }

    fn elapsed(&self, now: Steady) -> f64 {
        self.at.map_or(ACCELERATION_WINDOW, |at| now.since(at).min(ACCELERATION_WINDOW)).as_secs_f64()
    }

    /// What `raw` becomes, with the last rule that lowered it.
    pub(crate) fn shape(&self, raw: Velocity, limits: &Limits, base: Base, now: Steady) -> (Velocity, Option<Reason>) {
        let mut reason = None;
        // Both by one factor, so that the path keeps its curvature.
        let (linear, angular) = (limits.max_linear_speed / raw.speed(), limits.max_angular_speed / raw.yaw.abs());
        let mut wanted = raw;
        if linear.min(angular) < 1.0 {
            wanted = raw.scaled(linear.min(angular));
            reason = Some(if linear <= angular { Reason::LinearSpeed } else { Reason::AngularSpeed });
        }
        // Each axis gets its share, so that both together stay within the limit.
        let share = if base == Base::Omnidirectional { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let (acceleration, jerk) = (limits.max_linear_acceleration * share, limits.max_linear_jerk * share);
        let seconds = self.elapsed(now);
        let (x, x_reason) = approach(self.output.x, wanted.x, self.ramp.x, acceleration, jerk, seconds);
        let (y, y_reason) = approach(self.output.y, wanted.y, self.ramp.y, acceleration, jerk, seconds);
        let (acceleration, jerk) = (limits.max_angular_acceleration, limits.max_angular_jerk);
        let (yaw, yaw_reason) = approach(self.output.yaw, wanted.yaw, self.ramp.yaw, acceleration, jerk, seconds);
        let linear = |bound| match bound {
            Bound::Acceleration => Reason::LinearAcceleration,
            Bound::Jerk => Reason::LinearJerk,
        };
        let angular = |bound| match bound {
            Bound::Acceleration => Reason::AngularAcceleration,
            Bound::Jerk => Reason::AngularJerk,
        };
        let stricter = x_reason.or(y_reason).map(linear).or(yaw_reason.map(angular));
        (Velocity { x, y, yaw }, stricter.or(reason))
    }

    /// Tells what was put out.
    pub(crate) fn applied(&mut self, velocity: Velocity, now: Steady) {
        let seconds = self.elapsed(now);
        let ramp = |before: f64, after: f64, last: f64| match after.abs() - before.abs() {
            // No time has passed, so nothing has sped up either.
            _ if seconds == 0.0 => last,
            faster if faster > 0.0 && before * after >= 0.0 => faster / seconds,
            _ => 0.0,
        };
        self.ramp = Velocity {
            x: ramp(self.output.x, velocity.x, self.ramp.x),
            y: ramp(self.output.y, velocity.y, self.ramp.y),
            yaw: ramp(self.output.yaw, velocity.yaw, self.ramp.yaw),
        };
        self.output = velocity;
        self.at = Some(now);
    }
}

enum Bound {
    Acceleration,
    Jerk,
}

/// `wanted`, as near as `seconds` get from `present`, and what kept it from there. Down to zero is always one step.
fn approach(present: f64, wanted: f64, ramp: f64, acceleration: f64, jerk: f64, seconds: f64) -> (f64, Option<Bound>) {
    // Towards the other side speeding up begins anew.
    let ramp = if present * wanted < 0.0 { 0.0 } else { ramp };
    let eased = ramp + jerk * seconds;
    let step = acceleration.min(eased) * seconds;
    let next = if present >= 0.0 {
        wanted.clamp((present - step).min(0.0), present + step)
    } else {
        wanted.clamp(present - step, (present + step).max(0.0))
    };
    let bound = if seconds > 0.0 && eased < acceleration { Bound::Jerk } else { Bound::Acceleration };
    (next, (next != wanted).then_some(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_linear_speed: 1.0,
        max_linear_acceleration: 1.0,
        max_linear_jerk: 5.0,
        max_angular_speed: 2.0,
        max_angular_acceleration: 4.0,
        max_angular_jerk: 1000.0,
    };

    fn at(ms: u64) -> Steady {
        Steady(Duration::from_millis(ms))
    }

    /// Speeds every 20 ms on the way to `wanted`.
    fn run(shaper: &mut Shaper, wanted: f64, from_ms: u64, steps: u64) -> Vec<f64> {
        let step = |i| {
            let (v, _) = shaper.shape(
                Velocity { x: wanted, ..Velocity::ZERO },
                &LIMITS,
                Base::Differential,
                at(from_ms + 20 * i),
            );
            shaper.applied(v, at(from_ms + 20 * i));
            v.x
        };
        (1..=steps).map(step).collect()
    }

    #[test]
    fn speeding_up_sets_in_with_the_jerk_and_reaches_the_acceleration() {
        let mut shaper = Shaper::default();
        shaper.applied(Velocity::ZERO, at(0));
        let speeds = run(&mut shaper, 1.0, 0, 100);
        let mut before = (0.0, 0.0);
        for speed in &speeds {
            let acceleration = (speed - before.0) / 0.02;
            assert!(acceleration - before.1 <= 5.0 * 0.02 + 1e-9, "{before:?} to {speed}");
            assert!(acceleration <= 1.0 + 1e-9);
            before = (*speed, acceleration);
        }
        assert!((speeds[9] - speeds[8] - 0.02).abs() < 1e-9, "1 m/s² is reached after 0.2 s: {speeds:?}");
        assert_eq!(speeds.last(), Some(&1.0));
    }

    #[test]
    fn slowing_down_is_immediate_and_the_other_direction_begins_anew() {
        let mut shaper = Shaper::default();
        shaper.applied(Velocity::ZERO, at(0));
        run(&mut shaper, 0.5, 0, 100);
        assert_eq!(run(&mut shaper, 0.1, 2000, 1), [0.1]);
        run(&mut shaper, 0.5, 3000, 100);
        let back = run(&mut shaper, -0.5, 6000, 2);
        assert!(back[0] <= 0.0 && back[0] >= -0.002 - 1e-9, "at once to rest, and gently from there: {back:?}");
    }

    #[test]
    fn the_reason_is_the_rule_that_bound() {
        let mut shaper = Shaper::default();
        shaper.applied(Velocity::ZERO, at(0));
        let reason = |shaper: &Shaper, x, ms| {
            shaper.shape(Velocity { x, ..Velocity::ZERO }, &LIMITS, Base::Differential, at(ms)).1
        };
        assert_eq!(reason(&shaper, 0.5, 20), Some(Reason::LinearJerk));
        run(&mut shaper, 0.9, 0, 15);
        assert_eq!(reason(&shaper, 0.9, 320), Some(Reason::LinearAcceleration));
        run(&mut shaper, 1.0, 300, 100);
        assert_eq!((reason(&shaper, 3.0, 2320), reason(&shaper, 1.0, 2320)), (Some(Reason::LinearSpeed), None));
    }
}
