//! The gate: (command, robot state, limits, time) to admit, limit or refuse.
//!
//! Rules, in this order; the first that refuses decides, and each that limits lowers what the one before left:
//! latched stop, finite, axes, hard bound, age, state; speed, acceleration, workspace.

use std::time::Duration;

use ecps_core::check::{CheckError, in_range};
use ecps_core::clock::Steady;
use thiserror::Error;

use crate::motion::{Limits, Now, Velocity, VelocityCommand};
use crate::reason::{Reason, Refusal};
use crate::state::MeasuredState;
use crate::stop::StopLatch;
use crate::watchdog::{TimeoutError, Watchdog, check_timeout};
use crate::workspace::Workspace;

/// Most time between two commands that counts for acceleration, so that a pause does not buy a jump.
pub const ACCELERATION_WINDOW: Duration = Duration::from_millis(100);
/// Below this speed the workspace refuses instead of limiting, m/s.
pub const LEAST_SPEED: f64 = 0.01;

/// What the base can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Forward and turn; `linear.y` must be 0.
    Differential,
    /// Also sideways.
    Omnidirectional,
}

/// Whether velocity commands need a fresh state. A workspace and actions need one in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateNeed {
    /// Without a fresh state nothing moves.
    Required,
    /// Velocity commands pass without.
    Optional,
}

/// Parameters of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// What the base can do. Default: differential.
    pub base: Base,
    /// Limits at start, and the greatest that may be set later.
    pub ceiling: Limits,
    /// A speed above this many times the ceiling is refused instead of limited; 1 to 100, default 2.
    pub refuse_above: f64,
    /// Command silence after which the output is zero; more than 0, at most 1 s, default 0.5 s.
    pub command_timeout: Duration,
    /// Oldest stamp that is accepted; more than 0, at most 1 s, default 0.5 s.
    pub command_lifetime: Duration,
    /// How far in the future a stamp may be; at most 1 s, default 0.1 s.
    pub future_tolerance: Duration,
    /// Whether velocity commands need a fresh state. Default: required.
    pub state_need: StateNeed,
    /// Silence after which the state is stale; more than 0, at most 1 s, default 0.5 s.
    pub state_timeout: Duration,
    /// Time from a command to the brakes that the workspace reckons with; at most 1 s, default 0.1 s.
    pub reaction: Duration,
    /// Where the robot's centre stays. Default: anywhere.
    pub workspace: Option<Workspace>,
}

impl GateConfig {
    /// Defaults, with these limits.
    pub fn new(ceiling: Limits) -> GateConfig {
        let half_second = Duration::from_millis(500);
        GateConfig {
            base: Base::Differential,
            ceiling,
            refuse_above: 2.0,
            command_timeout: half_second,
            command_lifetime: half_second,
            future_tolerance: Duration::from_millis(100),
            state_need: StateNeed::Required,
            state_timeout: half_second,
            reaction: Duration::from_millis(100),
            workspace: None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.ceiling.check()?;
        in_range("refuse_above", self.refuse_above, 1.0, 100.0)?;
        check_timeout("command_lifetime", self.command_lifetime)?;
        check_timeout("state_timeout", self.state_timeout)?;
        in_range("future_tolerance", self.future_tolerance.as_secs_f64(), 0.0, 1.0)?;
        in_range("reaction", self.reaction.as_secs_f64(), 0.0, 1.0)?;
        Ok(())
    }
}

/// Parameters that make no gate.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// A number outside its range.
    #[error(transparent)]
    Invalid(#[from] CheckError),
    /// A timeout that is no protection.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
}

/// What the gate decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Passes as it came.
    Admit(Velocity),
    /// Passes, lowered.
    Limit {
        /// What passes.
        applied: Velocity,
        /// The last rule that lowered it, so the strictest.
        reason: Reason,
    },
    /// Does not pass. What was commanded before goes on until its timeout, so that a stranger's nonsense cannot stop
    /// the robot either.
    Refuse(Refusal),
}

/// The gate. [`Gate::admit`] decides and changes nothing; what was carried out is told by [`Gate::applied`].
///
/// ```
/// use ecps_actuation::{Gate, GateConfig, Limits, Now, StateNeed, Velocity, VelocityCommand, Verdict};
///
/// let ceiling = Limits {
///     max_linear_speed: 0.5,
///     max_linear_acceleration: 1.0,
///     max_angular_speed: 1.5,
///     max_angular_acceleration: 3.0,
/// };
/// let gate = Gate::new(GateConfig { state_need: StateNeed::Optional, ..GateConfig::new(ceiling) })?;
/// let forward = |x| VelocityCommand { source: "cmd_vel_in", linear: [x, 0.0, 0.0], angular: [0.0; 3], stamp: None };
/// let slow = Velocity { x: 0.1, ..Velocity::ZERO };
/// assert_eq!(gate.admit(&forward(0.1), Now::default()), Verdict::Admit(slow));
/// assert!(matches!(gate.admit(&forward(0.5), Now::default()), Verdict::Limit { applied, .. } if applied == slow));
/// let Verdict::Refuse(refusal) = gate.admit(&forward(10.0), Now::default()) else { panic!("10 m/s passed") };
/// assert_eq!(refusal.reason().name(), "unreasonable");
/// # Ok::<(), ecps_actuation::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    config: GateConfig,
    limits: Limits,
    latch: StopLatch,
    watchdog: Watchdog,
    state: Option<(MeasuredState, Steady)>,
    output: Velocity,
    output_at: Option<Steady>,
}

impl Gate {
    /// A gate at rest, with the ceiling as its limits.
    pub fn new(config: GateConfig) -> Result<Gate, ConfigError> {
        config.check()?;
        Ok(Gate {
            limits: config.ceiling,
            latch: StopLatch::default(),
            watchdog: Watchdog::new(config.command_timeout)?,
            state: None,
            output: Velocity::ZERO,
            output_at: None,
            config,
        })
    }

    /// Decides on a command.
    pub fn admit(&self, command: &VelocityCommand<'_>, now: Now) -> Verdict {
        match self.refuse(command, now) {
            Err(refusal) => Verdict::Refuse(refusal),
            Ok(raw) => self.limit(raw, now.steady),
        }
    }

    /// The rules that refuse; what is left is a planar velocity.
    fn refuse(&self, command: &VelocityCommand<'_>, now: Now) -> Result<Velocity, Refusal> {
        if let Some(stop) = self.latch.first() {
            return Err(Refusal::Stopped { cause: stop.to_string() });
        }
        let ([x, y, z], [roll, pitch, yaw]) = (command.linear, command.angular);
        let fields = [
            ("linear.x", x),
            ("angular.z", yaw),
            ("linear.y", y),
            ("linear.z", z),
            ("angular.x", roll),
            ("angular.y", pitch),
        ];
        if let Some((field, value)) = fields.into_iter().find(|(_, v)| !v.is_finite()) {
            return Err(Refusal::NotFinite { field, value });
        }
        let usable = if self.config.base == Base::Omnidirectional { 3 } else { 2 };
        if let Some((field, value)) = fields.into_iter().skip(usable).find(|(_, v)| *v != 0.0) {
            return Err(Refusal::UnsupportedAxis { field, value });
        }
        let raw = Velocity { x, y, yaw };
        let ceiling = &self.config.ceiling;
        for (field, value, most, unit) in [
            ("linear speed", raw.speed(), ceiling.max_linear_speed, "m/s"),
            ("angular speed", raw.yaw.abs(), ceiling.max_angular_speed, "rad/s"),
        ] {
            let limit = most * self.config.refuse_above;
            if value > limit {
                return Err(Refusal::Unreasonable { field, value, limit, unit });
            }
        }
        if let Some(stamp) = command.stamp {
            let age = now.ros.nanos_since(stamp);
            if age > nanos(self.config.command_lifetime) {
                let limit_ms = self.config.command_lifetime.as_millis();
                return Err(Refusal::Stale { age_ms: age / 1_000_000, limit_ms });
            }
            if age < -nanos(self.config.future_tolerance) {
                let limit_ms = self.config.future_tolerance.as_millis();
                return Err(Refusal::FromFuture { ahead_ms: -(age / 1_000_000), limit_ms });
            }
        }
        if self.needs_state() && self.fresh_state(now.steady).is_none() {
            return Err(self.state_stale());
        }
        Ok(raw)
    }

    /// The rules that limit.
    fn limit(&self, raw: Velocity, now: Steady) -> Verdict {
        let limits = &self.limits;
        let mut reason = None;

        // Both by one factor, so that the path keeps its curvature.
        let (linear, angular) = (limits.max_linear_speed / raw.speed(), limits.max_angular_speed / raw.yaw.abs());
        let mut applied = raw;
        if linear.min(angular) < 1.0 {
            applied = raw.scaled(linear.min(angular));
            reason = Some(if linear <= angular { Reason::LinearSpeed } else { Reason::AngularSpeed });
        }

        let elapsed = self.output_at.map_or(ACCELERATION_WINDOW, |at| now.since(at).min(ACCELERATION_WINDOW));
        // Each axis gets its share, so that both together stay within the limit.
        let share = if self.config.base == Base::Omnidirectional { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let linear_step = limits.max_linear_acceleration * share * elapsed.as_secs_f64();
        let angular_step = limits.max_angular_acceleration * elapsed.as_secs_f64();
        let wanted = applied;
        applied = Velocity {
            x: toward(self.output.x, wanted.x, linear_step),
            y: toward(self.output.y, wanted.y, linear_step),
            yaw: toward(self.output.yaw, wanted.yaw, angular_step),
        };
        if applied.yaw != wanted.yaw {
            reason = Some(Reason::AngularAcceleration);
        }
        if (applied.x, applied.y) != (wanted.x, wanted.y) {
            reason = Some(Reason::LinearAcceleration);
        }

        if let (Some(workspace), Some(state)) = (&self.config.workspace, self.fresh_state(now)) {
            let (brake, reaction) = (limits.max_linear_acceleration, self.config.reaction.as_secs_f64());
            let speed = applied.speed();
            let needed = speed * reaction + speed * speed / (2.0 * brake);
            let free = workspace.free_path(state.pose, applied, needed);
            if free < needed {
                // The speed that needs just what is free.
                let safe = brake * ((reaction * reaction + 2.0 * free / brake).sqrt() - reaction);
                if safe < LEAST_SPEED {
                    return Verdict::Refuse(Refusal::Workspace { free });
                }
                applied = applied.scaled((safe / speed).min(1.0));
                reason = Some(Reason::Workspace);
            }
        }
        match reason {
            None => Verdict::Admit(applied),
            Some(reason) => Verdict::Limit { applied, reason },
        }
    }

    /// Why the present output must not go on; none while it may, and while it is zero.
    pub fn watch(&self, now: Steady) -> Option<Reason> {
        if self.output.is_zero() {
            return None;
        }
        if self.watchdog.expired(now) {
            return Some(Reason::CommandSilence);
        }
        // Limits may have been lowered since; the slack is for rounding.
        if self.output.speed() > self.limits.max_linear_speed * (1.0 + 1e-9) {
            return Some(Reason::LinearSpeed);
        }
        if self.output.yaw.abs() > self.limits.max_angular_speed * (1.0 + 1e-9) {
            return Some(Reason::AngularSpeed);
        }
        let state = self.fresh_state(now);
        if self.needs_state() && state.is_none() {
            return Some(Reason::StateStale);
        }
        let (workspace, state) = (self.config.workspace.as_ref()?, state?);
        // The reaction time was kept free for this very moment.
        let needed = self.output.speed().powi(2) / (2.0 * self.limits.max_linear_acceleration);
        (workspace.free_path(state.pose, self.output, needed) < needed).then_some(Reason::Workspace)
    }

    /// Tells what the actuator was given.
    pub fn applied(&mut self, velocity: Velocity, now: Steady) {
        self.output = velocity;
        self.output_at = Some(now);
        self.watchdog.feed(now);
    }

    /// Tells where the robot is. The state must have been checked.
    pub fn measured(&mut self, state: MeasuredState, now: Steady) {
        self.state = Some((state, now));
    }

    /// Sets the limits. They must have been checked.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Parameters.
    pub fn config(&self) -> &GateConfig {
        &self.config
    }

    /// What the actuator was last given.
    pub fn output(&self) -> Velocity {
        self.output
    }

    /// The stop.
    pub fn latch(&self) -> &StopLatch {
        &self.latch
    }

    /// The stop, to trip or reset.
    pub fn latch_mut(&mut self) -> &mut StopLatch {
        &mut self.latch
    }

    /// The last state, however old.
    pub fn last_state(&self) -> Option<MeasuredState> {
        self.state.map(|(state, _)| state)
    }

    /// The last state, unless it is stale.
    pub fn fresh_state(&self, now: Steady) -> Option<MeasuredState> {
        self.state.filter(|(_, at)| now.since(*at) <= self.config.state_timeout).map(|(state, _)| state)
    }

    /// Whether nothing moves without a fresh state.
    pub fn needs_state(&self) -> bool {
        self.config.state_need == StateNeed::Required || self.config.workspace.is_some()
    }

    /// The refusal for a state that is not fresh.
    pub fn state_stale(&self) -> Refusal {
        Refusal::StateStale { limit_ms: self.config.state_timeout.as_millis() }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// `wanted`, as near as one step from `present` gets. Down to zero is always one step: slowing down is never delayed.
fn toward(present: f64, wanted: f64, step: f64) -> f64 {
    if present >= 0.0 {
        wanted.clamp((present - step).min(0.0), present + step)
    } else {
        wanted.clamp(present - step, (present + step).max(0.0))
    }
}
