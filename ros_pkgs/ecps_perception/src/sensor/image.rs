//! `sensor_msgs/Image`.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer, agree};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// An image as `sensor_msgs/Image` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// When it was taken.
    pub stamp: Stamp,
    /// The camera's optical frame.
    pub frame_id: String,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Meaning of a pixel, by the names in `sensor_msgs/image_encodings.hpp`.
    pub encoding: String,
    /// Not zero where multi-byte elements have their most significant byte first.
    pub is_bigendian: u8,
    /// Bytes of a row.
    pub step: u32,
    /// The rows, `step × height` bytes.
    pub data: Vec<u8>,
}

/// `[height, width, channels]` where the encoding is known, its elements are little-endian and rows have no padding;
/// else u8 `[height, step]`.
impl SensorMessage for Image {
    const TYPE: &'static str = "sensor_msgs/msg/Image";

    fn read(from: &mut CdrReader<'_>) -> Result<Image, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        Ok(Image {
            stamp,
            frame_id,
            height: from.u32("height")?,
            width: from.u32("width")?,
            encoding: from.text("encoding")?.to_owned(),
            is_bigendian: from.u8("is_bigendian")?,
            step: from.u32("step")?,
            data: from.sequence("data", 1)?.to_vec(),
        })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        to.u32(self.height).u32(self.width).text(&self.encoding).u8(self.is_bigendian).u32(self.step);
        to.sequence(&self.data, 1);
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let size = u64::from(self.step) * u64::from(self.height);
        agree("data", self.data.len() as u64, size, "step times height")?;
        let (dtype, shape) = match pixel(&self.encoding) {
            Some((dtype, channels))
                if u64::from(self.step) == u64::from(self.width) * u64::from(channels) * dtype.bytes() as u64
                    && (self.is_bigendian == 0 || dtype.bytes() == 1) =>
            {
                (dtype, vec![self.height, self.width, channels])
            }
            _ => (DType::U8, vec![self.height, self.step]),
        };
        let attributes = Writer::new(Self::TYPE)
            .put("height", self.height)
            .put("width", self.width)
            .put("encoding", self.encoding)
            .put("is_bigendian", self.is_bigendian)
            .put("step", self.step);
        let tensor = Tensor::new(name, dtype, shape, self.data)?.in_frame(&self.frame_id)?.at(self.stamp);
        Ok(tensor.with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<Image, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        let (height, step): (u32, u32) = (read.number("height")?, read.number("step")?);
        let size = u64::from(step) * u64::from(height);
        agree("data", tensor.data().len() as u64, size, "step times height")?;
        Ok(Image {
            stamp: tensor.stamp(),
            frame_id: tensor.frame_id().to_owned(),
            height,
            width: read.number("width")?,
            encoding: read.text("encoding")?.to_owned(),
            is_bigendian: read.number("is_bigendian")?,
            step,
            data: tensor.into_data(),
        })
    }
}

/// Element type and channels of an encoding; none for those whose pixels are not all alike in memory.
fn pixel(encoding: &str) -> Option<(DType, u32)> {
    match encoding {
        "mono8" => return Some((DType::U8, 1)),
        "rgb8" | "bgr8" => return Some((DType::U8, 3)),
        "rgba8" | "bgra8" => return Some((DType::U8, 4)),
        "mono16" => return Some((DType::U16, 1)),
        "rgb16" | "bgr16" => return Some((DType::U16, 3)),
        "rgba16" | "bgra16" => return Some((DType::U16, 4)),
        bayer if bayer.starts_with("bayer_") && bayer.ends_with("16") => return Some((DType::U16, 1)),
        bayer if bayer.starts_with("bayer_") && bayer.ends_with('8') => return Some((DType::U8, 1)),
        _ => {}
    }
    // OpenCV's names: 8UC3, 32FC1, and without a count for one channel.
    let (kind, channels) = encoding.split_once('C').unwrap_or((encoding, "1"));
    let dtype = match kind {
        "8U" => DType::U8,
        "8S" => DType::I8,
        "16U" => DType::U16,
        "16S" => DType::I16,
        "32S" => DType::I32,
        "32F" => DType::F32,
        "64F" => DType::F64,
        _ => return None,
    };
    let channels = channels.parse().ok().filter(|n| (1..=512).contains(n))?;
    Some((dtype, channels))
}
