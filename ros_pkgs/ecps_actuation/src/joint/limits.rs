//! What a joint may do.

use ecps_core::check::{self, CheckError};
use ecps_core::limits::NAME_BYTES;
use ecps_journal::record;

/// Least and greatest limit of velocity, acceleration and effort, in its unit.
pub const JOINT_LIMIT_RANGE: (f64, f64) = (1e-6, 1e6);

/// Share of a joint's speed below which it is at rest: encoders are never quite silent.
const STILL: f64 = 0.02;

/// Limits of one joint; an infinite one is none.
#[derive(Debug, Clone, PartialEq)]
pub struct JointLimits {
    /// Name, as in the URDF and in `/joint_states`; 1 to 256 bytes.
    pub name: String,
    /// Least position, rad or m; −∞ for a joint that turns without end.
    pub lower: f64,
    /// Greatest position, rad or m.
    pub upper: f64,
    /// Greatest speed, rad/s or m/s; must be finite.
    pub velocity: f64,
    /// Greatest acceleration, rad/s² or m/s².
    pub acceleration: f64,
    /// Greatest effort, N m or N.
    pub effort: f64,
}

impl JointLimits {
    /// A joint of which nothing is known.
    pub fn unlimited(name: &str) -> JointLimits {
        let infinite = f64::INFINITY;
        JointLimits {
            name: name.to_owned(),
            lower: -infinite,
            upper: infinite,
            velocity: infinite,
            acceleration: infinite,
            effort: infinite,
        }
    }

    /// Of each limit the stricter of the two.
    pub fn strictest(&self, other: &JointLimits) -> JointLimits {
        JointLimits {
            name: self.name.clone(),
            lower: self.lower.max(other.lower),
            upper: self.upper.min(other.upper),
            velocity: self.velocity.min(other.velocity),
            acceleration: self.acceleration.min(other.acceleration),
            effort: self.effort.min(other.effort),
        }
    }

    /// Whether it turns without end.
    pub fn is_continuous(&self) -> bool {
        self.lower == f64::NEG_INFINITY && self.upper == f64::INFINITY
    }

    /// Refuses limits that let nothing or everything through: there must be a finite speed, and room between the positions.
    pub fn check(&self) -> Result<(), CheckError> {
        check::name("the name of a joint", &self.name, NAME_BYTES)?;
        let field = |what: &str| format!("the {what} of joint '{}'", self.name);
        let (least, most) = JOINT_LIMIT_RANGE;
        check::in_range(&field("greatest velocity"), self.velocity, least, most)?;
        for (what, value) in [("greatest acceleration", self.acceleration), ("greatest effort", self.effort)] {
            if value != f64::INFINITY {
                check::in_range(&field(what), value, if what == "greatest effort" { 0.0 } else { least }, most)?;
            }
        }
        if !self.is_continuous() {
            check::in_range(&field("least position"), self.lower, -most, most)?;
            check::in_range(&field("greatest position"), self.upper, self.lower + least, most)?;
        }
        Ok(())
    }

    pub(crate) fn to_record(&self) -> record::JointLimits {
        record::JointLimits {
            joint: self.name.clone(),
            min_position: self.lower,
            max_position: self.upper,
            max_velocity: self.velocity,
            max_effort: self.effort,
        }
    }

    /// Whether a joint that is measured at this speed counts as at rest.
    pub fn is_still(&self, velocity: f64) -> bool {
        velocity.abs() <= STILL * self.velocity
    }

    /// Greatest deceleration to reckon with: where none is known, that which stops from full speed in a quarter of a second.
    pub fn braking(&self) -> f64 {
        if self.acceleration.is_finite() { self.acceleration } else { self.velocity / 0.25 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joint(lower: f64, upper: f64, velocity: f64) -> JointLimits {
        JointLimits { lower, upper, velocity, ..JointLimits::unlimited("elbow") }
    }

    #[test]
    fn the_strictest_wins_limit_by_limit() {
        let urdf = JointLimits { effort: 9.0, ..joint(-2.0, 1.0, 3.0) };
        let mine = JointLimits { acceleration: 5.0, ..joint(-1.0, 2.0, 4.0) };
        let both = urdf.strictest(&mine);
        assert_eq!(both, JointLimits { acceleration: 5.0, effort: 9.0, ..joint(-1.0, 1.0, 3.0) });
        assert_eq!(mine.strictest(&urdf), both);
    }

    #[test]
    fn limits_that_protect_nothing_are_refused_by_name() {
        assert!(joint(-1.0, 1.0, 1.0).check().is_ok());
        assert!(joint(f64::NEG_INFINITY, f64::INFINITY, 1.0).check().is_ok(), "a wheel");
        for (bad, what) in [
            (joint(-1.0, 1.0, f64::INFINITY), "greatest velocity of joint 'elbow'"),
            (joint(-1.0, 1.0, 0.0), "greatest velocity"),
            (joint(1.0, -1.0, 1.0), "greatest position"),
            (joint(f64::NAN, 1.0, 1.0), "least position"),
            (joint(-1.0, f64::INFINITY, 1.0), "greatest position"),
            (JointLimits { effort: -1.0, ..joint(-1.0, 1.0, 1.0) }, "greatest effort"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
