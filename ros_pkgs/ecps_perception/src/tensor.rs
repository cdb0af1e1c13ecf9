//! A dense tensor: what every sensor message becomes before it is sent or remembered.

use std::collections::BTreeMap;

use ecps_core::check::{self, CheckError};
use ecps_core::clock::Stamp;
use ecps_core::limits;
use ndarray::{ArrayD, IxDyn};
use thiserror::Error;

mod dtype;
mod strides;

pub use dtype::DType;

/// Why something is not a tensor that may be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TensorError {
    /// An element type that is not in the table.
    #[error("the element type {0} is not known; known are f16 f32 f64 bf16 i8 i16 i32 i64 u8 u16 u32 u64 bool")]
    UnknownDType(String),
    /// More dimensions than allowed.
    #[error("the tensor has {found} dimensions, more than the {limit} allowed")]
    TooManyDimensions {
        /// What it has.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A negative extent.
    #[error("dimension {dimension} of the tensor has extent {extent}, and must be 0 to 4294967295")]
    BadExtent {
        /// Which dimension, from 0.
        dimension: usize,
        /// Its extent.
        extent: i64,
    },
    /// The shape asks for more bytes than allowed, or for more than can be counted.
    #[error("a tensor of shape {shape:?} and type {dtype} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// Its shape.
        shape: Vec<u64>,
        /// Name of its element type.
        dtype: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The data are longer or shorter than the shape says.
    #[error("the tensor's data have {found} bytes, and its shape and type need {expected}")]
    WrongLength {
        /// Bytes there are.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Not as many strides as dimensions.
    #[error(
        "the tensor has {strides} strides and {dimensions} dimensions; the counts must be equal, or no strides given"
    )]
    StrideCount {
        /// Strides given.
        strides: usize,
        /// Dimensions given.
        dimensions: usize,
    },
    /// Strides and offset lead out of the data.
    #[error("strides {strides:?} and offset {offset} lead out of the {length} bytes of data")]
    OutOfData {
        /// Strides given, in elements.
        strides: Vec<i64>,
        /// Offset given, in bytes.
        offset: u64,
        /// Bytes there are.
        length: usize,
    },
    /// A name, frame or attribute too long, or too many of them.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Another element type than the caller needs.
    #[error("the tensor's elements are {found}, and {expected} are needed")]
    OtherDType {
        /// What it has.
        found: &'static str,
        /// What is needed.
        expected: &'static str,
    },
}

/// A dense tensor with name, frame and stamp. Made by [`Tensor::new`], so that its sizes always agree.
///
/// ```
/// use ecps_core::clock::Stamp;
/// use ecps_perception::tensor::{DType, Tensor};
///
/// let bytes = [1.0_f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// let tensor = Tensor::new("range", DType::F32, vec![2], bytes)?.in_frame("laser")?.at(Stamp(5));
/// assert_eq!(tensor.to_f32()?.as_slice(), Some([1.0, 2.0].as_slice()));
/// # Ok::<(), ecps_perception::tensor::TensorError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    name: String,
    frame_id: String,
    stamp: Stamp,
    dtype: DType,
    shape: Vec<u32>,
    data: Vec<u8>,
    attributes: BTreeMap<String, String>,
}

impl Tensor {
    /// A tensor of compact, row-major, little-endian `data`. `shape` has the outermost dimension first; an empty shape
    /// is one element.
    ///
    /// # Errors
    /// A name of 0 or more than 256 bytes, more than 16 dimensions, more than [`limits::TENSOR_BYTES`], data whose
    /// length is not what shape and type need.
    pub fn new(name: &str, dtype: DType, shape: Vec<u32>, data: Vec<u8>) -> Result<Tensor, TensorError> {
        check::name("name", name, limits::NAME_BYTES)?;
        let expected = byte_size(dtype, &shape)?;
        if data.len() != expected {
            return Err(TensorError::WrongLength { found: data.len(), expected });
        }
        let (name, frame_id) = (name.to_owned(), String::new());
        Ok(Tensor { name, frame_id, stamp: Stamp(0), dtype, shape, data, attributes: BTreeMap::new() })
    }

    /// A tensor from the fields of `ecps_msgs/Tensor`: `strides` in elements (empty: compact), `byte_offset` to the
    /// first element. Strides are honoured by copying; negative and zero ones are allowed.
    ///
    /// # Errors
    /// As [`Tensor::new`], and where strides or offset lead out of `data`.
    pub fn from_strided(
        name: &str,
        dtype: DType,
        shape: &[i64],
        strides: &[i64],
        byte_offset: u64,
        data: Vec<u8>,
    ) -> Result<Tensor, TensorError> {
        if shape.len() > limits::TENSOR_DIMENSIONS {
            return Err(TensorError::TooManyDimensions { found: shape.len(), limit: limits::TENSOR_DIMENSIONS });
        }
        let extents = shape
            .iter()
            .enumerate()
            .map(|(dimension, &extent)| u32::try_from(extent).map_err(|_| TensorError::BadExtent { dimension, extent }))
            .collect::<Result<Vec<u32>, _>>()?;
        if byte_offset == 0 && strides.is_empty() {
            return Tensor::new(name, dtype, extents, data);
        }
        let compact = strides::compact(dtype, &extents, strides, byte_offset, &data)?;
        Tensor::new(name, dtype, extents, compact)
    }

    /// A tensor of 32-bit floats from an array of any layout.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_f32(name: &str, array: &ArrayD<f32>) -> Result<Tensor, TensorError> {
        let shape = array.shape().iter().map(|&n| u32::try_from(n).unwrap_or(u32::MAX)).collect::<Vec<_>>();
        byte_size(DType::F32, &shape)?;
        Tensor::new(name, DType::F32, shape, array.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// The same tensor in the coordinate frame `frame_id` (at most 256 bytes, may be empty).
    ///
    /// # Errors
    /// A longer name.
    pub fn in_frame(mut self, frame_id: &str) -> Result<Tensor, TensorError> {
        check::at_most("frame_id", frame_id.len(), limits::NAME_BYTES, "bytes")?;
        frame_id.clone_into(&mut self.frame_id);
        Ok(self)
    }

    /// The same tensor, taken at `stamp`.
    pub fn at(mut self, stamp: Stamp) -> Tensor {
        self.stamp = stamp;
        self
    }

    /// The same tensor with these attributes in place of its own.
    ///
    /// # Errors
    /// More than [`limits::MAP_ENTRIES`], or a key or value longer than [`limits::MAP_STRING_BYTES`].
    pub fn with_attributes(mut self, attributes: BTreeMap<String, String>) -> Result<Tensor, TensorError> {
        check_map("attributes", &attributes)?;
        self.attributes = attributes;
        Ok(self)
    }

    /// Name of the stream or quantity.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Coordinate frame.
    pub fn frame_id(&self) -> &str {
        &self.frame_id
    }

    /// When it was taken.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Kind of element.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// The elements: compact, row-major, little-endian.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// What else restoring the original message needs.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// Bytes it takes in memory, roughly.
    pub(crate) fn held_bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 96).sum();
        self.data.capacity() + attributes + 512
    }

    /// Its bytes, each exclusive-or'ed with that of `other` at the same place.
    pub(crate) fn xor(&mut self, other: &[u8]) {
        self.data.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    }

    /// Gives up the elements without a copy.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The elements as an array of the tensor's shape. NaN and infinity pass.
    ///
    /// # Errors
    /// [`TensorError::OtherDType`] unless the elements are f32.
    pub fn to_f32(&self) -> Result<ArrayD<f32>, TensorError> {
        if self.dtype != DType::F32 {
            return Err(TensorError::OtherDType { found: self.dtype.name(), expected: "f32" });
        }
        let values = f32_values(&self.data);
        let shape = self.shape.iter().map(|&n| n as usize).collect::<Vec<_>>();
        let (found, expected) = (self.data.len(), self.data.len());
        ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|_| TensorError::WrongLength { found, expected })
    }
}

/// Little-endian bytes as 32-bit floats; a rest of less than four bytes is left out.
pub(crate) fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default())).collect()
}

/// Bytes of a tensor of this shape, bounded.
pub(crate) fn byte_size(dtype: DType, shape: &[u32]) -> Result<usize, TensorError> {
    if shape.len() > limits::TENSOR_DIMENSIONS {
        return Err(TensorError::TooManyDimensions { found: shape.len(), limit: limits::TENSOR_DIMENSIONS });
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(dtype.bytes(), |size, &extent| size.checked_mul(extent as usize))
        .filter(|&size| size <= limits::TENSOR_BYTES)
        .ok_or_else(|| TensorError::TooLarge {
            shape: shape.iter().map(|&n| u64::from(n)).collect(),
            dtype: dtype.name(),
            limit: limits::TENSOR_BYTES,
        })
}

/// Refuses a map with too many entries or too long strings.
pub(crate) fn check_map(field: &str, map: &BTreeMap<String, String>) -> Result<(), CheckError> {
    check::at_most(field, map.len(), limits::MAP_ENTRIES, "entries")?;
    for (key, value) in map {
        check::name(&format!("a key of {field}"), key, limits::MAP_STRING_BYTES)?;
        check::at_most(&format!("the value of {field} under '{key}'"), value.len(), limits::MAP_STRING_BYTES, "bytes")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_disagree_overflow_or_exceed_are_refused() {
        let short = Tensor::new("t", DType::F32, vec![2, 3], vec![0; 23]).unwrap_err();
        assert_eq!(short, TensorError::WrongLength { found: 23, expected: 24 });
        let overflow = Tensor::new("t", DType::F64, vec![u32::MAX; 16], vec![]).unwrap_err();
        assert!(matches!(overflow, TensorError::TooLarge { .. }));
        let large = Tensor::new("t", DType::U8, vec![(256 << 20) + 1], vec![]).unwrap_err();
        assert!(matches!(large, TensorError::TooLarge { .. }));
        let deep = Tensor::new("t", DType::U8, vec![1; 17], vec![0]).unwrap_err();
        assert_eq!(deep, TensorError::TooManyDimensions { found: 17, limit: 16 });
        assert!(Tensor::new("", DType::U8, vec![1], vec![0]).is_err());
        assert!(Tensor::from_strided("t", DType::U8, &[-1], &[], 0, vec![]).is_err());
    }

    #[test]
    fn a_scalar_has_one_element_and_a_zero_extent_none() {
        assert!(Tensor::new("t", DType::U16, vec![], vec![1, 2]).is_ok());
        assert!(Tensor::new("t", DType::F64, vec![u32::MAX, 0, u32::MAX], vec![]).is_ok());
    }

    #[test]
    fn attributes_are_bounded() {
        let tensor = || Tensor::new("t", DType::U8, vec![], vec![1]).unwrap();
        let many = (0..65).map(|i| (i.to_string(), String::new())).collect();
        assert!(tensor().with_attributes(many).unwrap_err().to_string().contains("65 entries"));
        let long = BTreeMap::from([("key".to_owned(), "x".repeat(1025))]);
        assert!(tensor().with_attributes(long).unwrap_err().to_string().contains("'key'"));
    }

    #[test]
    fn floats_become_an_array_and_back_bit_for_bit() {
        let array = ndarray::arr2(&[[1.0, f32::NAN], [f32::NEG_INFINITY, -0.0]]).into_dyn();
        let tensor = Tensor::from_f32("t", &array).unwrap();
        assert_eq!(tensor.shape(), [2, 2]);
        let back = tensor.to_f32().unwrap();
        assert!(array.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
