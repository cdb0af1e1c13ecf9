//! Velocities, commands, limits, and the moment of a call.

use ecps_core::check::{CheckError, in_range};
use ecps_core::clock::{Stamp, Steady};
use ecps_journal::record;

/// The moment of a call, on all clocks; read once by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For watchdogs and ages on arrival.
    pub steady: Steady,
    /// For the stamps of messages; may be simulated, stand still and jump.
    pub ros: Stamp,
    /// For the journal.
    pub wall: Stamp,
}

/// Who asks for something discrete, and under which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// `Caller.id`.
    pub caller: &'a str,
    /// W3C trace id; zeros: none.
    pub trace: [u8; 16],
}

/// A planar velocity in the robot's frame (REP 103).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Velocity {
    /// m/s, forward.
    pub x: f64,
    /// m/s, left.
    pub y: f64,
    /// rad/s, counterclockwise.
    pub yaw: f64,
}

impl Velocity {
    /// Standing still.
    pub const ZERO: Velocity = Velocity { x: 0.0, y: 0.0, yaw: 0.0 };

    /// m/s, over ground.
    pub fn speed(self) -> f64 {
        self.x.hypot(self.y)
    }

    /// Whether nothing moves.
    pub fn is_zero(self) -> bool {
        self == Velocity::ZERO
    }

    /// The same path at `factor` of the speed.
    pub fn scaled(self, factor: f64) -> Velocity {
        Velocity { x: self.x * factor, y: self.y * factor, yaw: self.yaw * factor }
    }

    pub(crate) fn to_record(self) -> record::PlanarVelocity {
        record::PlanarVelocity { x: self.x, y: self.y, yaw: self.yaw }
    }
}

impl From<record::PlanarVelocity> for Velocity {
    fn from(v: record::PlanarVelocity) -> Velocity {
        Velocity { x: v.x, y: v.y, yaw: v.yaw }
    }
}

/// A velocity command as it came: all of a `geometry_msgs/Twist`, nothing checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VelocityCommand<'a> {
    /// Topic or part that asks: one of the gate's sources.
    pub source: &'a str,
    /// m/s.
    pub linear: [f64; 3],
    /// rad/s.
    pub angular: [f64; 3],
    /// Stamp of a `TwistStamped`; none for a `Twist`, whose age cannot be told. A zero stamp is a time like any other.
    pub stamp: Option<Stamp>,
}

/// Limits of the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// m/s.
    pub max_linear_speed: f64,
    /// m/s², for speeding up; slowing down is never delayed.
    pub max_linear_acceleration: f64,
    /// m/s³, for the onset of speeding up.
    pub max_linear_jerk: f64,
    /// rad/s.
    pub max_angular_speed: f64,
    /// rad/s².
    pub max_angular_acceleration: f64,
    /// rad/s³.
    pub max_angular_jerk: f64,
}

/// Least and greatest value that any limit may have, in its unit; below, nothing would move.
pub const LIMIT_RANGE: (f64, f64) = (1e-3, 1e4);

impl Limits {
    fn fields(&self) -> [(&'static str, f64); 6] {
        [
            ("max_linear_speed", self.max_linear_speed),
            ("max_linear_acceleration", self.max_linear_acceleration),
            ("max_linear_jerk", self.max_linear_jerk),
            ("max_angular_speed", self.max_angular_speed),
            ("max_angular_acceleration", self.max_angular_acceleration),
            ("max_angular_jerk", self.max_angular_jerk),
        ]
    }

    /// Refuses what is not finite or outside [`LIMIT_RANGE`].
    pub fn check(&self) -> Result<(), CheckError> {
        self.fields().iter().try_for_each(|(name, v)| in_range(name, *v, LIMIT_RANGE.0, LIMIT_RANGE.1).map(drop))
    }

    /// Refuses also what is above `ceiling`.
    pub fn check_within(&self, ceiling: &Limits) -> Result<(), CheckError> {
        let fields = self.fields().into_iter().zip(ceiling.fields());
        fields.into_iter().try_for_each(|((name, v), (_, most))| in_range(name, v, LIMIT_RANGE.0, most).map(drop))
    }

    pub(crate) fn to_record(self) -> record::Limits {
        record::Limits {
            max_linear_speed: self.max_linear_speed,
            max_linear_acceleration: self.max_linear_acceleration,
            max_angular_speed: self.max_angular_speed,
            max_angular_acceleration: self.max_angular_acceleration,
            max_linear_jerk: self.max_linear_jerk,
            max_angular_jerk: self.max_angular_jerk,
        }
    }
}
