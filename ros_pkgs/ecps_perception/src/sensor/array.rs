//! `std_msgs/Float32MultiArray` and its like.

use ecps_core::clock::Stamp;
use ecps_core::limits;

use super::{Reader, SensorError, Writer, agree};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// The types, and what their elements are.
pub(super) const TYPES: [(&str, DType); 10] = [
    ("std_msgs/msg/Float32MultiArray", DType::F32),
    ("std_msgs/msg/Float64MultiArray", DType::F64),
    ("std_msgs/msg/Int8MultiArray", DType::I8),
    ("std_msgs/msg/Int16MultiArray", DType::I16),
    ("std_msgs/msg/Int32MultiArray", DType::I32),
    ("std_msgs/msg/Int64MultiArray", DType::I64),
    ("std_msgs/msg/UInt8MultiArray", DType::U8),
    ("std_msgs/msg/UInt16MultiArray", DType::U16),
    ("std_msgs/msg/UInt32MultiArray", DType::U32),
    ("std_msgs/msg/UInt64MultiArray", DType::U64),
];

/// An array as the `MultiArray` messages of `std_msgs` have it. They have no header: the tensor's stamp, when it arrived,
/// and its empty frame are not given back.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiArray {
    /// When it arrived.
    pub stamp: Stamp,
    /// Kind of element: all but f16, bf16 and bool.
    pub dtype: DType,
    /// Its dimensions, outermost first; empty where the sender names none.
    pub dimensions: Vec<MultiArrayDimension>,
    /// Elements before the first.
    pub data_offset: u32,
    /// The elements, `data_offset` of padding first, little-endian.
    pub data: Vec<u8>,
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

/// A tensor of the dimensions' sizes; `[n]` where there are none, or padding comes first.
impl MultiArray {
    /// An array without layout.
    pub fn flat(dtype: DType, data: Vec<u8>) -> MultiArray {
        MultiArray { stamp: Stamp(0), dtype, dimensions: Vec::new(), data_offset: 0, data }
    }

    fn type_name(dtype: DType) -> &'static str {
        TYPES.iter().find(|(_, known)| *known == dtype).map_or("", |(name, _)| name)
    }

    /// Reads a message whose elements are of this kind.
    ///
    /// # Errors
    /// [`CdrError`].
    pub fn read(from: &mut CdrReader<'_>, dtype: DType) -> Result<MultiArray, CdrError> {
        let count = from.count("layout.dim", 16)?;
        let mut dimensions = Vec::with_capacity(count);
        for _ in 0..count {
            dimensions.push(MultiArrayDimension {
                label: from.text("layout.dim.label")?.to_owned(),
                size: from.u32("layout.dim.size")?,
                stride: from.u32("layout.dim.stride")?,
            });
        }
        let data_offset = from.u32("layout.data_offset")?;
        let data = from.sequence("data", dtype.bytes())?.to_vec();
        Ok(MultiArray { stamp: Stamp(0), dtype, dimensions, data_offset, data })
    }

    /// Writes the message.
    pub fn write(&self, to: &mut CdrWriter) {
        to.u32(self.dimensions.len() as u32);
        for dimension in &self.dimensions {
            to.text(&dimension.label).u32(dimension.size).u32(dimension.stride);
        }
        to.u32(self.data_offset).sequence(&self.data, self.dtype.bytes());
    }

    /// Makes the tensor called `name`.
    ///
    /// # Errors
    /// [`SensorError`] where the sizes contradict each other or exceed a limit.
    pub fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let limit = limits::TENSOR_DIMENSIONS;
        if self.dimensions.len() > limit {
            return Err(SensorError::TooMany { what: "dimensions", found: self.dimensions.len(), limit });
        }
        let sizes = self.dimensions.iter().map(|dimension| dimension.size).collect::<Vec<u32>>();
        let length = (self.data.len() / self.dtype.bytes()) as u64;
        if !sizes.is_empty() {
            let product = sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(u64::from(size)));
            let expected = product.saturating_add(u64::from(self.data_offset));
            agree("data", length, expected, "data_offset plus the product of the dimensions' sizes")?;
        }
        let flat = sizes.is_empty() || self.data_offset != 0;
        let shape = if flat { vec![u32::try_from(length).unwrap_or(u32::MAX)] } else { sizes };
        let mut attributes = Writer::new(Self::type_name(self.dtype))
            .put("data_offset", self.data_offset)
            .put("dimensions", self.dimensions.len());
        for (index, dimension) in self.dimensions.iter().enumerate() {
            // The label comes last, so that it may hold spaces.
            let text = format!("{} {} {}", dimension.size, dimension.stride, dimension.label);
            attributes = attributes.put(&format!("dimension.{index}"), text);
        }
        Ok(Tensor::new(name, self.dtype, shape, self.data)?.at(self.stamp).with_attributes(attributes.0)?)
    }

    /// Restores the message.
    ///
    /// # Errors
    /// [`SensorError`] where the tensor was made from something else, or its attributes contradict it.
    pub fn from_tensor(tensor: Tensor) -> Result<MultiArray, SensorError> {
        let dtype = tensor.dtype();
        let read = Reader::new(&tensor, Self::type_name(dtype))?;
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
        let (stamp, data_offset) = (tensor.stamp(), read.number("data_offset")?);
        Ok(MultiArray { stamp, dtype, dimensions, data_offset, data: tensor.into_data() })
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
