//! The gate: (command, robot state, limits, time) to admit, limit or refuse.
//!
//! Rules, in this order; the first that refuses decides, and each that limits lowers what the one before left:
//! latched stop, arming, source, finite, axes, hard bound, age, priority, state, scan; speed, acceleration, jerk, sight,
//! and the least free way before a zone's border or an obstacle.

use std::time::Duration;

use ecps_core::check::{CheckError, at_most, in_range};
use ecps_core::clock::Steady;
use thiserror::Error;

use crate::arming::{Arming, ArmingState};
use crate::motion::{Limits, Now, Velocity, VelocityCommand};
use crate::obstacle::{MARGIN, ObstacleConfig, Obstacles, Scan, ScanError};
use crate::reason::{Reason, Refusal};
use crate::shape::Shaper;
use crate::source::{Source, SourceError, Sources};
use crate::state::{MeasuredState, PlanarPose};
use crate::watchdog::{TimeoutError, check_timeout};
use crate::zone::{Zone, ZoneSet};

pub use crate::shape::ACCELERATION_WINDOW;

/// Below this speed zones and obstacles refuse instead of limiting, m/s.
pub const LEAST_SPEED: f64 = 0.01;
/// Most zones.
pub const ZONES: usize = 64;
/// Source of an action's velocities.
pub const ACTION_SOURCE: &str = "execute";

/// What the base can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Forward and turn; `linear.y` must be 0.
    Differential,
    /// Also sideways.
    Omnidirectional,
}

/// Whether velocity commands need a fresh state. Zones, obstacles and actions need one in any case.
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
    /// Who may command. Default: `cmd_vel_in` with priority 10, and actions above it; 0.5 s each.
    pub sources: Vec<Source>,
    /// Oldest stamp that is accepted; more than 0, at most 1 s, default 0.5 s.
    pub command_lifetime: Duration,
    /// How far in the future a stamp may be; at most 1 s, default 0.1 s.
    pub future_tolerance: Duration,
    /// Whether velocity commands need a fresh state. Default: required.
    pub state_need: StateNeed,
    /// Silence after which the state is stale; more than 0, at most 1 s, default 0.5 s.
    pub state_timeout: Duration,
    /// Time from a command to the brakes that zones and obstacles reckon with; at most 1 s, default 0.1 s.
    pub reaction: Duration,
    /// Where the robot's centre stays and where it does not go; at most [`ZONES`]. Default: anywhere.
    pub zones: Vec<Zone>,
    /// How the robot keeps its distance from what a scan shows; none: it does not. Default: none.
    pub obstacles: Option<ObstacleConfig>,
    /// Silence after which the scan is stale; more than 0, at most 1 s, default 0.5 s.
    pub scan_timeout: Duration,
}

impl GateConfig {
    /// Defaults, with these limits.
    pub fn new(ceiling: Limits) -> GateConfig {
        let half_second = Duration::from_millis(500);
        let source = |name: &str, priority| Source { name: name.into(), priority, timeout: half_second };
        GateConfig {
            base: Base::Differential,
            ceiling,
            refuse_above: 2.0,
            sources: vec![source("cmd_vel_in", 10), source(ACTION_SOURCE, 20)],
            command_lifetime: half_second,
            future_tolerance: Duration::from_millis(100),
            state_need: StateNeed::Required,
            state_timeout: half_second,
            reaction: Duration::from_millis(100),
            zones: Vec::new(),
            obstacles: None,
            scan_timeout: half_second,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.ceiling.check()?;
        in_range("refuse_above", self.refuse_above, 1.0, 100.0)?;
        check_timeout("command_lifetime", self.command_lifetime)?;
        check_timeout("state_timeout", self.state_timeout)?;
        check_timeout("scan_timeout", self.scan_timeout)?;
        in_range("future_tolerance", self.future_tolerance.as_secs_f64(), 0.0, 1.0)?;
        in_range("reaction", self.reaction.as_secs_f64(), 0.0, 1.0)?;
        at_most("zones", self.zones.len(), ZONES, "entries")?;
        self.obstacles.iter().try_for_each(ObstacleConfig::check)?;
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
    /// Sources that make no gate.
    #[error(transparent)]
    Sources(#[from] SourceError),
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

/// What is nearest on the way.
enum Ahead<'a> {
    Zone(&'a Zone),
    Obstacle,
}

impl Ahead<'_> {
    fn reason(&self) -> Reason {
        match self {
            Ahead::Zone(zone) => Reason::of_zone(zone.rule()),
            Ahead::Obstacle => Reason::Obstacle,
        }
    }

    fn refusal(&self, free: f64) -> Refusal {
        match self {
            Ahead::Zone(zone) => Refusal::Zone { zone: zone.name().into(), rule: zone.rule(), free },
            Ahead::Obstacle => Refusal::Obstacle { free },
        }
    }
}

/// The gate. [`Gate::admit`] decides and changes nothing; what was carried out is told by [`Gate::applied`].
///
/// ```
/// use ecps_actuation::{Gate, GateConfig, Limits, Now, StateNeed, Velocity, VelocityCommand, Verdict};
///
/// let ceiling = Limits {
///     max_linear_speed: 0.5,
///     max_linear_acceleration: 1.0,
///     max_linear_jerk: 100.0,
///     max_angular_speed: 1.5,
///     max_angular_acceleration: 3.0,
///     max_angular_jerk: 300.0,
/// };
/// let mut gate = Gate::new(GateConfig { state_need: StateNeed::Optional, ..GateConfig::new(ceiling) })?;
/// let forward = |x| VelocityCommand { source: "cmd_vel_in", linear: [x, 0.0, 0.0], angular: [0.0; 3], stamp: None };
/// let refused = |gate: &Gate, x| match gate.admit(&forward(x), Now::default()) {
///     Verdict::Refuse(refusal) => refusal.reason().name(),
///     passed => panic!("{passed:?}"),
/// };
/// assert_eq!(refused(&gate, 0.1), "not_armed");
/// gate.arming_mut().enable(Now::default().steady);
/// let slow = Velocity { x: 0.1, ..Velocity::ZERO };
/// assert_eq!(gate.admit(&forward(0.1), Now::default()), Verdict::Admit(slow));
/// assert!(matches!(gate.admit(&forward(0.5), Now::default()), Verdict::Limit { applied, .. } if applied == slow));
/// assert_eq!(refused(&gate, 10.0), "unreasonable");
/// # Ok::<(), ecps_actuation::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    config: GateConfig,
    limits: Limits,
    /// What holds besides the parameters.
    added: ZoneSet,
    arming: Arming,
    sources: Sources,
    state: Option<(MeasuredState, Steady)>,
    obstacles: Obstacles,
    /// When the obstacles were seen.
    seen: Option<Steady>,
    shaper: Shaper,
}

impl Gate {
    /// A gate at rest and disarmed, with the ceiling as its limits.
    pub fn new(config: GateConfig) -> Result<Gate, ConfigError> {
        config.check()?;
        Ok(Gate {
            limits: config.ceiling,
            added: ZoneSet::default(),
            arming: Arming::default(),
            sources: Sources::new(&config.sources)?,
            state: None,
            obstacles: Obstacles::default(),
            seen: None,
            shaper: Shaper::default(),
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
        match (self.arming.state(), self.arming.first()) {
            (ArmingState::Armed, _) => {}
            (_, Some(stop)) => return Err(Refusal::Stopped { cause: stop.to_string() }),
            (_, None) => return Err(Refusal::NotArmed),
        }
        let Some(source) = self.sources.find(command.source) else {
            let source_name = command.source.chars().take(64).collect();
            return Err(Refusal::UnknownSource { source_name });
        };
        let raw = self.planar(command)?;
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
        if let Some(by) = self.sources.outranked(source, now.steady) {
            return Err(Refusal::Outranked { by: by.into() });
        }
        if self.needs_state() && self.fresh_state(now.steady).is_none() {
            return Err(self.state_stale());
        }
        if self.config.obstacles.is_some() && self.fresh_obstacles(now.steady).is_none() {
            return Err(Refusal::ScanStale { limit_ms: self.config.scan_timeout.as_millis() });
        }
        Ok(raw)
    }

    /// The rules on the numbers alone.
    fn planar(&self, command: &VelocityCommand<'_>) -> Result<Velocity, Refusal> {
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
        Ok(raw)
    }

    /// The rules that limit.
    fn limit(&self, raw: Velocity, now: Steady) -> Verdict {
        let (mut applied, mut reason) = self.shaper.shape(raw, &self.limits, self.config.base, now);
        if let Some((config, obstacles)) = self.config.obstacles.zip(self.fresh_obstacles(now))
            && applied.speed() > config.blind_speed
            && !obstacles.covers(applied)
        {
            if config.blind_speed < LEAST_SPEED {
                return Verdict::Refuse(Refusal::Blind);
            }
            applied = applied.scaled(config.blind_speed / applied.speed());
            reason = Some(Reason::Blind);
        }
        let (brake, reaction) = (self.limits.max_linear_acceleration, self.config.reaction.as_secs_f64());
        let speed = applied.speed();
        let needed = self.stopping_distance(speed);
        if let Some((free, ahead)) = self.ahead(applied, needed, now) {
            // The speed that needs just what is free.
            let safe = brake * ((reaction * reaction + 2.0 * free / brake).sqrt() - reaction);
            if safe < LEAST_SPEED {
                return Verdict::Refuse(ahead.refusal(free));
            }
            applied = applied.scaled((safe / speed).min(1.0));
            reason = Some(ahead.reason());
        }
        match reason {
            None => Verdict::Admit(applied),
            Some(reason) => Verdict::Limit { applied, reason },
        }
    }

    /// What comes first on the way of `velocity`, and after how many metres, if that is less than `needed`.
    fn ahead(&self, velocity: Velocity, needed: f64, now: Steady) -> Option<(f64, Ahead<'_>)> {
        let pose = self.fresh_state(now)?.pose;
        let zones = self.zones().map(|zone| (zone.free_path(pose, velocity, needed), Ahead::Zone(zone)));
        let obstacles = self.config.obstacles.zip(self.fresh_obstacles(now)).map(|(config, obstacles)| {
            let clearance = self.clearance_of(&config);
            (obstacles.free_path(pose, velocity, clearance, needed), Ahead::Obstacle)
        });
        let nearest = zones.chain(obstacles).min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        (nearest.0 < needed).then_some(nearest)
    }

    /// Metres that it takes to come to rest from a speed, reaction time included.
    pub fn stopping_distance(&self, speed: f64) -> f64 {
        speed * self.config.reaction.as_secs_f64() + speed * speed / (2.0 * self.limits.max_linear_acceleration)
    }

    /// How near the robot's centre comes to an obstacle, metres; none where scans do not count.
    pub fn clearance(&self) -> Option<f64> {
        self.config.obstacles.as_ref().map(|config| self.clearance_of(config))
    }

    fn clearance_of(&self, config: &ObstacleConfig) -> f64 {
        config.robot_radius + config.margin.max(self.added.obstacle_margin)
    }

    /// Why the present output must not go on; none while it may, and while it is zero.
    pub fn watch(&self, now: Steady) -> Option<Reason> {
        let output = self.output();
        if output.is_zero() {
            return None;
        }
        if self.sources.silent(now) {
            return Some(Reason::CommandSilence);
        }
        // Limits may have been lowered since; the slack is for rounding.
        if output.speed() > self.limits.max_linear_speed * (1.0 + 1e-9) {
            return Some(Reason::LinearSpeed);
        }
        if output.yaw.abs() > self.limits.max_angular_speed * (1.0 + 1e-9) {
            return Some(Reason::AngularSpeed);
        }
        if self.needs_state() && self.fresh_state(now).is_none() {
            return Some(Reason::StateStale);
        }
        if self.config.obstacles.is_some() && self.fresh_obstacles(now).is_none() {
            return Some(Reason::ScanStale);
        }
        // The reaction time was kept free for this very moment.
        let needed = output.speed().powi(2) / (2.0 * self.limits.max_linear_acceleration);
        self.ahead(output, needed, now).map(|(_, ahead)| ahead.reason())
    }

    /// Tells what the actuator was given on behalf of a source.
    pub fn applied(&mut self, source: &str, velocity: Velocity, now: Steady) {
        if let Some(source) = self.sources.find(source) {
            self.sources.heard(source, now);
        }
        self.shaper.applied(velocity, now);
    }

    /// Tells that the actuator was given its safe state; whoever commanded is heard no more.
    pub fn halted(&mut self, now: Steady) {
        self.sources.silence();
        self.shaper.applied(Velocity::ZERO, now);
    }

    /// Tells where the robot is. The state must have been checked.
    pub fn measured(&mut self, state: MeasuredState, now: Steady) {
        self.state = Some((state, now));
    }

    /// Tells what a scan showed; `pose` is where the robot was when it was taken, and `mount` where the scanner is on the
    /// robot. Does nothing where scans do not count.
    pub fn scanned(
        &mut self,
        scan: &Scan<'_>,
        pose: PlanarPose,
        mount: PlanarPose,
        now: Steady,
    ) -> Result<(), ScanError> {
        if self.config.obstacles.is_none() {
            return Ok(());
        }
        self.obstacles.update(scan, pose, mount)?;
        self.seen = Some(now);
        Ok(())
    }

    /// Sets the limits. They must have been checked.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Refuses zones that do not fit beside those of the parameters, and a margin where scans do not count.
    pub fn check_added(&self, added: &ZoneSet) -> Result<(), CheckError> {
        at_most("zones", self.config.zones.len() + added.zones.len(), ZONES, "entries")?;
        let most = if self.config.obstacles.is_some() { MARGIN } else { 0.0 };
        in_range("obstacle_margin", added.obstacle_margin, 0.0, most)?;
        Ok(())
    }

    /// Sets what holds besides the parameters. It must have been checked.
    pub fn set_added(&mut self, added: ZoneSet) {
        self.added = added;
    }

    /// What holds besides the parameters.
    pub fn added(&self) -> &ZoneSet {
        &self.added
    }

    /// All zones in force.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.config.zones.iter().chain(&self.added.zones)
    }

    /// Parameters.
    pub fn config(&self) -> &GateConfig {
        &self.config
    }

    /// What the actuator was last given.
    pub fn output(&self) -> Velocity {
        self.shaper.output()
    }

    /// Whether anything may move.
    pub fn arming(&self) -> &Arming {
        &self.arming
    }

    /// Whether anything may move, to change it.
    pub fn arming_mut(&mut self) -> &mut Arming {
        &mut self.arming
    }

    /// Who may command.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The last state, however old.
    pub fn last_state(&self) -> Option<MeasuredState> {
        self.state.map(|(state, _)| state)
    }

    /// The last state, unless it is stale.
    pub fn fresh_state(&self, now: Steady) -> Option<MeasuredState> {
        self.state.filter(|(_, at)| now.since(*at) <= self.config.state_timeout).map(|(state, _)| state)
    }

    /// What the last scan showed, unless it is stale.
    fn fresh_obstacles(&self, now: Steady) -> Option<&Obstacles> {
        let seen = self.seen?;
        (now.since(seen) <= self.config.scan_timeout).then_some(&self.obstacles)
    }

    /// Whether nothing moves without a fresh state.
    pub fn needs_state(&self) -> bool {
        let config = &self.config;
        config.state_need == StateNeed::Required || self.zones().next().is_some() || config.obstacles.is_some()
    }

    /// The refusal for a state that is not fresh.
    pub fn state_stale(&self) -> Refusal {
        Refusal::StateStale { limit_ms: self.config.state_timeout.as_millis() }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
