//! Sensor messages as plain Rust, to tensors and back without loss.
//!
//! What is not in a tensor's data travels in its attributes as text that reads back to the same bits; the attribute
//! [`TYPE_ATTRIBUTE`] names the ROS type. Payloads pass byte for byte, NaN (REP 118) and infinity (REP 117) included.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use ecps_core::clock::Stamp;

use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{Tensor, TensorError};

mod array;
mod cloud;
mod compressed;
mod conversion;
mod image;
mod imu;
mod joints;
mod scan;

pub use array::{MultiArray, MultiArrayDimension};
pub use cloud::{PointCloud2, PointField};
pub use compressed::CompressedImage;
pub use conversion::Conversion;
pub use image::Image;
pub use imu::Imu;
pub use joints::JointState;
pub use scan::LaserScan;

/// Attribute that names the ROS type a tensor was made from.
pub const TYPE_ATTRIBUTE: &str = "ros.type";

/// A ROS sensor message that becomes a tensor and comes back unchanged.
pub trait SensorMessage: Sized {
    /// Its ROS type.
    const TYPE: &'static str;

    /// Reads it as it lies in DDS.
    ///
    /// # Errors
    /// [`CdrError`].
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError>;

    /// Writes it as it lies in DDS.
    fn write(&self, to: &mut CdrWriter);

    /// Makes the tensor called `name`.
    ///
    /// # Errors
    /// [`SensorError`] where the message's sizes contradict each other or exceed a limit.
    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError>;

    /// Restores the message.
    ///
    /// # Errors
    /// [`SensorError`] where the tensor was made from something else, or attributes are missing or contradict the shape.
    fn from_tensor(tensor: Tensor) -> Result<Self, SensorError>;
}

/// Why a message is not a tensor, or a tensor not a message.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SensorError {
    /// The tensor itself is not acceptable.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The bytes are not those of the message's type.
    #[error(transparent)]
    Cdr(#[from] CdrError),
    /// Two sizes that must agree.
    #[error("{field} has {found}, and {expected} is needed ({why})")]
    Size {
        /// Field that has the wrong size.
        field: &'static str,
        /// What it has.
        found: u64,
        /// What it must have.
        expected: u64,
        /// Where the number comes from.
        why: &'static str,
    },
    /// A field of a point that does not lie in the point.
    #[error("the point field '{field}' ends at byte {end}, and a point has {point_step}")]
    FieldOutsidePoint {
        /// Its name.
        field: String,
        /// Where it ends.
        end: u64,
        /// Bytes of a point.
        point_step: u32,
    },
    /// A kind of point field that the message does not know.
    #[error("the point field '{field}' has datatype {datatype}, outside 1 to 8")]
    FieldType {
        /// Its name.
        field: String,
        /// Its datatype.
        datatype: u8,
    },
    /// More of something than attributes can carry.
    #[error("the message has {found} {what}, more than the {limit} that can be carried")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The tensor was made from another type of message.
    #[error("the tensor is a '{found}', and a '{expected}' is needed")]
    OtherType {
        /// What its attribute says; empty when it has none.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// An attribute that is not there.
    #[error("the tensor has no attribute '{0}'")]
    Missing(String),
    /// An attribute that cannot be read.
    #[error("the tensor's attribute '{key}' is '{value}', which cannot be read")]
    Unreadable {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Element type or shape are not those of this message.
    #[error("the tensor is of type {dtype} and shape {shape:?}, which no {expected} has")]
    OtherShape {
        /// Name of its element type.
        dtype: &'static str,
        /// Its shape.
        shape: Vec<u32>,
        /// What is needed.
        expected: String,
    },
}

/// Reads a `std_msgs/Header`.
fn read_header(from: &mut CdrReader<'_>) -> Result<(Stamp, String), CdrError> {
    let stamp = Stamp::from_parts(from.i32("header.stamp.sec")?, from.u32("header.stamp.nanosec")?);
    Ok((stamp, from.text("header.frame_id")?.to_owned()))
}

/// Writes a `std_msgs/Header`.
fn write_header(to: &mut CdrWriter, stamp: Stamp, frame_id: &str) {
    let (seconds, nanoseconds) = stamp.to_parts();
    to.i32(seconds).u32(nanoseconds).text(frame_id);
}

fn f64_values(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

fn f64_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Refuses sizes that must agree and do not.
fn agree(field: &'static str, found: u64, expected: u64, why: &'static str) -> Result<(), SensorError> {
    if found == expected { Ok(()) } else { Err(SensorError::Size { field, found, expected, why }) }
}

/// Collects attributes.
struct Writer(BTreeMap<String, String>);

impl Writer {
    fn new(ros_type: &str) -> Writer {
        Writer(BTreeMap::from([(TYPE_ATTRIBUTE.to_owned(), ros_type.to_owned())]))
    }

    fn put(mut self, key: &str, value: impl ToString) -> Writer {
        self.0.insert(key.to_owned(), value.to_string());
        self
    }

    /// The shortest text that reads back to the same float; NaN keeps its bits.
    fn float(self, key: &str, value: f32) -> Writer {
        let text = if value.is_nan() { format!("nan:{:08x}", value.to_bits()) } else { format!("{value:?}") };
        self.put(key, text)
    }
}

/// Reads attributes.
struct Reader<'a>(&'a BTreeMap<String, String>);

impl<'a> Reader<'a> {
    fn new(tensor: &'a Tensor, expected: &str) -> Result<Reader<'a>, SensorError> {
        match tensor.attributes().get(TYPE_ATTRIBUTE).map(String::as_str) {
            Some(found) if found == expected => Ok(Reader(tensor.attributes())),
            found => {
                let found = found.unwrap_or("").chars().take(64).collect();
                Err(SensorError::OtherType { found, expected: expected.to_owned() })
            }
        }
    }

    fn text(&self, key: &str) -> Result<&'a str, SensorError> {
        self.0.get(key).map(String::as_str).ok_or_else(|| SensorError::Missing(key.to_owned()))
    }

    fn unreadable(key: &str, value: &str) -> SensorError {
        SensorError::Unreadable { key: key.to_owned(), value: value.chars().take(64).collect() }
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, SensorError> {
        let text = self.text(key)?;
        text.parse().map_err(|_| Self::unreadable(key, text))
    }

    fn float(&self, key: &str) -> Result<f32, SensorError> {
        let text = self.text(key)?;
        let value = match text.strip_prefix("nan:") {
            Some(bits) => u32::from_str_radix(bits, 16).ok().map(f32::from_bits),
            None => text.parse().ok(),
        };
        value.ok_or_else(|| Self::unreadable(key, text))
    }
}
