//! `sensor_msgs/LaserScan`.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer, agree, f32_bytes};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor, f32_values};

/// One sweep of a planar laser, as `sensor_msgs/LaserScan` has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LaserScan {
    /// When the first ray was sent.
    pub stamp: Stamp,
    /// Frame whose z axis the angles turn about, counter-clockwise from its x axis.
    pub frame_id: String,
    /// Angle of the first ray, rad.
    pub angle_min: f32,
    /// Angle of the last ray, rad.
    pub angle_max: f32,
    /// From ray to ray, rad.
    pub angle_increment: f32,
    /// From ray to ray, s.
    pub time_increment: f32,
    /// From scan to scan, s.
    pub scan_time: f32,
    /// Least valid range, m.
    pub range_min: f32,
    /// Greatest valid range, m.
    pub range_max: f32,
    /// Ranges, m; infinite where nothing came back (REP 117).
    pub ranges: Vec<f32>,
    /// Intensities in units of the device; empty where it has none.
    pub intensities: Vec<f32>,
}

/// An f32 tensor `[n]` of ranges, or `[2, n]` of ranges and intensities.
impl SensorMessage for LaserScan {
    const TYPE: &'static str = "sensor_msgs/msg/LaserScan";

    fn read(from: &mut CdrReader<'_>) -> Result<LaserScan, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        Ok(LaserScan {
            stamp,
            frame_id,
            angle_min: from.f32("angle_min")?,
            angle_max: from.f32("angle_max")?,
            angle_increment: from.f32("angle_increment")?,
            time_increment: from.f32("time_increment")?,
            scan_time: from.f32("scan_time")?,
            range_min: from.f32("range_min")?,
            range_max: from.f32("range_max")?,
            ranges: f32_values(from.sequence("ranges", 4)?),
            intensities: f32_values(from.sequence("intensities", 4)?),
        })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        to.f32(self.angle_min).f32(self.angle_max).f32(self.angle_increment).f32(self.time_increment);
        to.f32(self.scan_time).f32(self.range_min).f32(self.range_max);
        to.sequence(&f32_bytes(&self.ranges), 4).sequence(&f32_bytes(&self.intensities), 4);
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let beams = u32::try_from(self.ranges.len()).unwrap_or(u32::MAX);
        let shape = if self.intensities.is_empty() {
            vec![beams]
        } else {
            let why = "as many as ranges, or none";
            agree("intensities", self.intensities.len() as u64, u64::from(beams), why)?;
            vec![2, beams]
        };
        let data = self.ranges.iter().chain(&self.intensities).flat_map(|value| value.to_le_bytes()).collect();
        let attributes = Writer::new(Self::TYPE)
            .float("angle_min", self.angle_min)
            .float("angle_max", self.angle_max)
            .float("angle_increment", self.angle_increment)
            .float("time_increment", self.time_increment)
            .float("scan_time", self.scan_time)
            .float("range_min", self.range_min)
            .float("range_max", self.range_max);
        let tensor = Tensor::new(name, DType::F32, shape, data)?.in_frame(&self.frame_id)?.at(self.stamp);
        Ok(tensor.with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<LaserScan, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        let beams = match (tensor.dtype(), tensor.shape()) {
            (DType::F32, [beams] | [2, beams]) => *beams as usize,
            (dtype, shape) => {
                let (dtype, shape) = (dtype.name(), shape.to_vec());
                return Err(SensorError::OtherShape { dtype, shape, expected: Self::TYPE.to_owned() });
            }
        };
        let mut ranges = f32_values(tensor.data());
        let intensities = ranges.split_off(beams.min(ranges.len()));
        Ok(LaserScan {
            stamp: tensor.stamp(),
            frame_id: tensor.frame_id().to_owned(),
            angle_min: read.float("angle_min")?,
            angle_max: read.float("angle_max")?,
            angle_increment: read.float("angle_increment")?,
            time_increment: read.float("time_increment")?,
            scan_time: read.float("scan_time")?,
            range_min: read.float("range_min")?,
            range_max: read.float("range_max")?,
            ranges,
            intensities,
        })
    }
}
