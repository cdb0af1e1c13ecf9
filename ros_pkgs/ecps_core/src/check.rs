//! Checks on numbers and sizes from outside. Each refusal names the field, the value and the limit.

use thiserror::Error;

/// A value from outside that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CheckError {
    /// NaN or infinity where a finite number is needed.
    #[error("{field} is {value}, and must be finite")]
    NotFinite {
        /// Name of the field.
        field: String,
        /// What it held.
        value: f64,
    },
    /// A number outside its range.
    #[error("{field} is {value}, outside {min} to {max}")]
    OutOfRange {
        /// Name of the field.
        field: String,
        /// What it held.
        value: f64,
        /// Least allowed value.
        min: f64,
        /// Greatest allowed value.
        max: f64,
    },
    /// More bytes or elements than allowed.
    #[error("{field} has {size} {unit}, more than the {limit} allowed")]
    TooLarge {
        /// Name of the field.
        field: String,
        /// Its size.
        size: usize,
        /// What is counted: "bytes", "elements", "entries".
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Nothing where something is needed.
    #[error("{field} is empty")]
    Empty {
        /// Name of the field.
        field: String,
    },
    /// A quaternion whose norm is not one.
    #[error("{field} has norm {norm}, and must be a unit quaternion (1 ± {tolerance})")]
    NotUnit {
        /// Name of the field.
        field: String,
        /// Its norm.
        norm: f64,
        /// Allowed deviation.
        tolerance: f64,
    },
}

/// How far a quaternion's norm may be from one; what double to float and back costs is far below.
pub const QUATERNION_TOLERANCE: f64 = 1e-3;

/// Refuses NaN and infinity.
pub fn finite(field: &str, value: f64) -> Result<f64, CheckError> {
    if value.is_finite() { Ok(value) } else { Err(CheckError::NotFinite { field: field.into(), value }) }
}

/// Refuses NaN, infinity and what lies outside `min..=max`.
pub fn in_range(field: &str, value: f64, min: f64, max: f64) -> Result<f64, CheckError> {
    finite(field, value)?;
    if value < min || value > max {
        return Err(CheckError::OutOfRange { field: field.into(), value, min, max });
    }
    Ok(value)
}

/// Refuses more than `limit` of something.
pub fn at_most(field: &str, size: usize, limit: usize, unit: &'static str) -> Result<(), CheckError> {
    if size > limit { Err(CheckError::TooLarge { field: field.into(), size, unit, limit }) } else { Ok(()) }
}

/// Refuses an empty name and one longer than `limit` bytes.
pub fn name(field: &str, value: &str, limit: usize) -> Result<(), CheckError> {
    if value.is_empty() {
        return Err(CheckError::Empty { field: field.into() });
    }
    at_most(field, value.len(), limit, "bytes")
}

/// Refuses a quaternion (x, y, z, w) that is not finite or not of unit length.
pub fn unit_quaternion(field: &str, [x, y, z, w]: [f64; 4]) -> Result<(), CheckError> {
    for value in [x, y, z, w] {
        finite(field, value)?;
    }
    let norm = (x * x + y * y + z * z + w * w).sqrt();
    if (norm - 1.0).abs() > QUATERNION_TOLERANCE {
        return Err(CheckError::NotUnit { field: field.into(), norm, tolerance: QUATERNION_TOLERANCE });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_field_value_and_limit() {
        assert_eq!(in_range("linear.x", 10.0, -1.0, 1.0).unwrap_err().to_string(), "linear.x is 10, outside -1 to 1");
        assert_eq!(finite("linear.x", f64::NAN).unwrap_err().to_string(), "linear.x is NaN, and must be finite");
        assert_eq!(
            at_most("payload", 11, 10, "bytes").unwrap_err().to_string(),
            "payload has 11 bytes, more than the 10 allowed"
        );
        assert_eq!(name("id", "", 10).unwrap_err().to_string(), "id is empty");
        assert!(unit_quaternion("pose", [0.0, 0.0, 0.0, 0.0]).unwrap_err().to_string().contains("norm 0"));
        assert!(unit_quaternion("pose", [0.0, f64::INFINITY, 0.0, 0.0]).is_err());
    }

    #[test]
    fn what_is_in_range_passes() {
        assert_eq!(in_range("x", 1.0, -1.0, 1.0), Ok(1.0));
        assert!(unit_quaternion("pose", [0.0, 0.0, 0.0, 1.0]).is_ok());
    }
}
