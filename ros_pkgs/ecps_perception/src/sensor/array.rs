//! `std_msgs/Float32MultiArray`.

use ecps_core::clock::Stamp;
use ecps_core::limits;

use super::{Reader, SensorError, SensorMessage, Writer, agree};
use crate::tensor::{DType, Tensor, f32_values};

/// An array of floats as `std_msgs/Float32MultiArray` has it. It has no header: the tensor's stamp, when it arrived, and
/// its empty frame are not given back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Float32MultiArray {
    /// When it arrived.
    pub stamp: Stamp,
    /// Its dimensions, outermost first; empty where the sender names none.
    pub dimensions: Vec<MultiArrayDimension>,
    /// Elements before the first.
    pub data_offset: u32,
    /// The elements, `data_offset` of padding first.
    pub data: Vec<f32>,
}

/// `std_msgs/MultiArrayDimension`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiArrayDimension {
    /// Its name.
    pub label: String,
    /// Its extent.
    pub size: u32,
    /// Elements from here inwards, by convention; kept and not interpreted.
    pub stride: u32,
}

/// An f32 tensor of the dimensions' sizes; `[n]` where there are none, or padding comes first.
impl SensorMessage for Float32MultiArray {
    const TYPE: &'static str = "std_msgs/msg/Float32MultiArray";

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let limit = limits::TENSOR_DIMENSIONS;
        if self.dimensions.len() > limit {
            return Err(SensorError::TooMany { what: "dimensions", found: self.dimensions.len(), limit });
        }
        let sizes = self.dimensions.iter().map(|dimension| dimension.size).collect::<Vec<u32>>();
        let length = self.data.len() as u64;
        if !sizes.is_empty() {
            let product = sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(u64::from(size)));
            let expected = product.saturating_add(u64::from(self.data_offset));
            agree("data", length, expected, "data_offset plus the product of the dimensions' sizes")?;
        }
        let flat = sizes.is_empty() || self.data_offset != 0;
        let shape = if flat { vec![u32::try_from(length).unwrap_or(u32::MAX)] } else { sizes };
        let mut attributes =
            Writer::new(Self::TYPE).put("data_offset", self.data_offset).put("dimensions", self.dimensions.len());
        for (index, dimension) in self.dimensions.iter().enumerate() {
            // The label comes last, so that it may hold spaces.
            let text = format!("{} {} {}", dimension.size, dimension.stride, dimension.label);
            attributes = attributes.put(&format!("dimension.{index}"), text);
        }
        let data = self.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Tensor::new(name, DType::F32, shape, data)?.at(self.stamp).with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<Float32MultiArray, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        if tensor.dtype() != DType::F32 {
            let (dtype, shape) = (tensor.dtype().name(), tensor.shape().to_vec());
            return Err(SensorError::OtherShape { dtype, shape, expected: Self::TYPE });
        }
        let (count, limit) = (read.number::<usize>("dimensions")?, limits::TENSOR_DIMENSIONS);
        if count > limit {
            return Err(SensorError::TooMany { what: "dimensions", found: count, limit });
        }
        let mut dimensions = Vec::with_capacity(count);
        for index in 0..count {
            let key = format!("dimension.{index}");
            let text = read.text(&key)?;
            dimensions.push(MultiArrayDimension::parse(text).ok_or_else(|| Reader::unreadable(&key, text))?);
        }
        let data_offset = read.number("data_offset")?;
        Ok(Float32MultiArray { stamp: tensor.stamp(), dimensions, data_offset, data: f32_values(tensor.data()) })
    }
}

impl MultiArrayDimension {
    fn parse(text: &str) -> Option<MultiArrayDimension> {
        let mut parts = text.splitn(3, ' ');
        Some(MultiArrayDimension {
            size: parts.next()?.parse().ok()?,
            stride: parts.next()?.parse().ok()?,
            label: parts.next()?.to_owned(),
        })
    }
}
