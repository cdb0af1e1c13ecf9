//! `sensor_msgs/Imu`.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer, agree, f64_bytes, f64_values};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// Numbers of the message.
const NUMBERS: usize = 37;

/// A reading of an inertial measurement unit as `sensor_msgs/Imu` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imu {
    /// When it was taken.
    pub stamp: Stamp,
    /// The unit's frame.
    pub frame_id: String,
    /// In the order of the message: orientation (x, y, z, w) and its covariance (9), angular velocity (3, rad/s) and its
    /// covariance (9), linear acceleration (3, m/s²) and its covariance (9). The first covariance of what the unit does
    /// not measure is −1.
    pub numbers: [f64; NUMBERS],
}

/// An f64 tensor `[37]`.
impl SensorMessage for Imu {
    const TYPE: &'static str = "sensor_msgs/msg/Imu";

    fn read(from: &mut CdrReader<'_>) -> Result<Imu, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        let mut numbers = [0.0; NUMBERS];
        for number in &mut numbers {
            *number = from.f64("orientation, angular_velocity and linear_acceleration")?;
        }
        Ok(Imu { stamp, frame_id, numbers })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        for number in self.numbers {
            to.f64(number);
        }
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let data = f64_bytes(&self.numbers);
        let tensor = Tensor::new(name, DType::F64, vec![NUMBERS as u32], data)?.in_frame(&self.frame_id)?;
        Ok(tensor.at(self.stamp).with_attributes(Writer::new(Self::TYPE).0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<Imu, SensorError> {
        Reader::new(&tensor, Self::TYPE)?;
        let numbers = f64_values(tensor.data());
        agree("data", numbers.len() as u64, NUMBERS as u64, "numbers of an Imu")?;
        let numbers = <[f64; NUMBERS]>::try_from(numbers).unwrap_or([0.0; NUMBERS]);
        Ok(Imu { stamp: tensor.stamp(), frame_id: tensor.frame_id().to_owned(), numbers })
    }
}
