//! `sensor_msgs/CompressedImage`, passed through: what is compressed already is not looked into.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// A compressed image as `sensor_msgs/CompressedImage` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompressedImage {
    /// When it was taken.
    pub stamp: Stamp,
    /// The camera's optical frame.
    pub frame_id: String,
    /// How it is compressed: "jpeg", "png", with what `image_transport` adds.
    pub format: String,
    /// The file.
    pub data: Vec<u8>,
}

/// A u8 tensor `[n]`.
impl SensorMessage for CompressedImage {
    const TYPE: &'static str = "sensor_msgs/msg/CompressedImage";

    fn read(from: &mut CdrReader<'_>) -> Result<CompressedImage, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        let (format, data) = (from.text("format")?.to_owned(), from.sequence("data", 1)?.to_vec());
        Ok(CompressedImage { stamp, frame_id, format, data })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        to.text(&self.format).sequence(&self.data, 1);
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let shape = vec![u32::try_from(self.data.len()).unwrap_or(u32::MAX)];
        let attributes = Writer::new(Self::TYPE).put("format", self.format);
        let tensor = Tensor::new(name, DType::U8, shape, self.data)?.in_frame(&self.frame_id)?.at(self.stamp);
        Ok(tensor.with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<CompressedImage, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        let format = read.text("format")?.to_owned();
        let (stamp, frame_id) = (tensor.stamp(), tensor.frame_id().to_owned());
        Ok(CompressedImage { stamp, frame_id, format, data: tensor.into_data() })
    }
}
