//! Checks of messages that come from outside: finite numbers, unit quaternions, a frame id, bounded sizes.

use ecps_core::check::{self, CheckError};
use r2r::geometry_msgs::msg::{
    Point, Pose, PoseStamped, Quaternion, Transform, TransformStamped, Twist, TwistStamped, Vector3,
};
use r2r::nav_msgs::msg::Odometry;
use r2r::std_msgs::msg::Header;

/// Longest frame id, bytes.
pub const FRAME_ID_BYTES: usize = 256;

/// A message that says what is wrong with it.
pub trait Validate {
    /// Refuses what cannot be meant; `field` is the message's own name in the error.
    fn validate(&self, field: &str) -> Result<(), CheckError>;
}

/// Refuses the first of `numbers` that is not finite, by its index.
pub fn finite(field: &str, numbers: &[f64]) -> Result<(), CheckError> {
    match numbers.iter().enumerate().find(|(_, number)| !number.is_finite()) {
        None => Ok(()),
        Some((index, value)) => check::finite(&format!("{field}[{index}]"), *value).map(|_| ()),
    }
}

fn three(field: &str, x: f64, y: f64, z: f64) -> Result<(), CheckError> {
    for (axis, value) in [("x", x), ("y", y), ("z", z)] {
        check::finite(&format!("{field}.{axis}"), value)?;
    }
    Ok(())
}

impl Validate for Vector3 {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        three(field, self.x, self.y, self.z)
    }
}

impl Validate for Point {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        three(field, self.x, self.y, self.z)
    }
}

impl Validate for Quaternion {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        three(field, self.x, self.y, self.z)?;
        check::finite(&format!("{field}.w"), self.w)?;
        let norm = (self.x * self.x + self.y * self.y + self.z * self.z + self.w * self.w).sqrt();
        if (norm - 1.0).abs() > check::QUATERNION_TOLERANCE {
            return Err(CheckError::NotUnit { field: field.into(), norm, tolerance: check::QUATERNION_TOLERANCE });
        }
        Ok(())
    }
}

impl Validate for Header {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        let field = format!("{field}.frame_id");
        if self.frame_id.is_empty() {
            return Err(CheckError::Empty { field });
        }
        check::at_most(&field, self.frame_id.len(), FRAME_ID_BYTES, "bytes")
    }
}

impl Validate for Pose {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.position.validate(&format!("{field}.position"))?;
        self.orientation.validate(&format!("{field}.orientation"))
    }
}

impl Validate for PoseStamped {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.header.validate(&format!("{field}.header"))?;
        self.pose.validate(&format!("{field}.pose"))
    }
}

impl Validate for Twist {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.linear.validate(&format!("{field}.linear"))?;
        self.angular.validate(&format!("{field}.angular"))
    }
}

impl Validate for TwistStamped {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.twist.validate(&format!("{field}.twist"))
    }
}

impl Validate for Odometry {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.header.validate(&format!("{field}.header"))?;
        self.pose.pose.validate(&format!("{field}.pose.pose"))?;
        self.twist.twist.validate(&format!("{field}.twist.twist"))
    }
}

impl Validate for Transform {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.translation.validate(&format!("{field}.translation"))?;
        self.rotation.validate(&format!("{field}.rotation"))
    }
}

impl Validate for TransformStamped {
    fn validate(&self, field: &str) -> Result<(), CheckError> {
        self.header.validate(&format!("{field}.header"))?;
        let child = format!("{field}.child_frame_id");
        if self.child_frame_id.is_empty() {
            return Err(CheckError::Empty { field: child });
        }
        check::at_most(&child, self.child_frame_id.len(), FRAME_ID_BYTES, "bytes")?;
        self.transform.validate(&format!("{field}.transform"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_field_and_the_value() {
        let mut pose = PoseStamped::default();
        let refusal = |pose: &PoseStamped| pose.validate("goal").unwrap_err().to_string();
        assert_eq!(refusal(&pose), "goal.header.frame_id is empty");
        pose.header.frame_id = "map".into();
        // A default quaternion of geometry_msgs is the identity.
        pose.pose.orientation.w = 0.0;
        assert!(refusal(&pose).starts_with("goal.pose.orientation has norm 0"));
        pose.pose.orientation.w = 1.0;
        assert_eq!(pose.validate("goal"), Ok(()));
        pose.pose.position.y = f64::NAN;
        assert_eq!(refusal(&pose), "goal.pose.position.y is NaN, and must be finite");
        let mut twist = Twist::default();
        twist.angular.z = f64::INFINITY;
        assert_eq!(twist.validate("cmd_vel").unwrap_err().to_string(), "cmd_vel.angular.z is inf, and must be finite");
        assert_eq!(finite("ranges", &[1.0, f64::NAN]).unwrap_err().to_string(), "ranges[1] is NaN, and must be finite");
    }
}
