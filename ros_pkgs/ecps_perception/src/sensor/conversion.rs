//! Messages of a type known by name, as they lie in DDS, to tensors and back.

use ecps_core::clock::Stamp;

use super::{
    CompressedImage, Image, Imu, JointState, LaserScan, MultiArray, PointCloud2, Reader, SensorError, SensorMessage,
    Writer, array,
};
use crate::cdr::{CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// How messages of one type become tensors.
#[derive(Debug, Clone)]
pub struct Conversion {
    type_name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// By a plain counterpart.
    Known { to: fn(&[u8], &str) -> Result<Tensor, SensorError>, from: fn(Tensor) -> Result<Vec<u8>, SensorError> },
    /// Elements of this type.
    Array(DType),
    /// Whatever it holds, as bytes.
    Raw,
}

fn known<M: SensorMessage>() -> (&'static str, Kind) {
    let to = |cdr: &[u8], name: &str| M::read(&mut CdrReader::new(cdr)?)?.into_tensor(name);
    let from = |tensor: Tensor| {
        let mut writer = CdrWriter::new(tensor.data().len() + 256);
        M::from_tensor(tensor)?.write(&mut writer);
        Ok(writer.finish())
    };
    (M::TYPE, Kind::Known { to, from })
}

impl Conversion {
    /// For messages of `type_name`, as in "sensor_msgs/msg/LaserScan". Types that are not known here travel as they are,
    /// as a u8 tensor `[n]`.
    pub fn of(type_name: &str) -> Conversion {
        let known = [
            known::<LaserScan>(),
            known::<Image>(),
            known::<CompressedImage>(),
            known::<PointCloud2>(),
            known::<Imu>(),
            known::<JointState>(),
        ];
        let known = known.into_iter().find(|(name, _)| *name == type_name).map(|(_, kind)| kind);
        let array = || array::TYPES.iter().find(|(name, _)| *name == type_name).map(|(_, dtype)| Kind::Array(*dtype));
        Conversion { type_name: type_name.to_owned(), kind: known.or_else(array).unwrap_or(Kind::Raw) }
    }

    /// The type's name.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Whether what is compressed already travels in it.
    pub fn is_compressed(&self) -> bool {
        self.type_name == CompressedImage::TYPE
    }

    /// Whether a few messages fill memory: pictures, clouds and arrays.
    pub fn is_bulk(&self) -> bool {
        let pictures = [Image::TYPE, CompressedImage::TYPE, PointCloud2::TYPE];
        pictures.contains(&self.type_name()) || matches!(self.kind, Kind::Array(_))
    }

    /// The tensor called `name`. What has no stamp of its own gets that of its `arrival`.
    ///
    /// # Errors
    /// [`SensorError`].
    pub fn to_tensor(&self, cdr: &[u8], name: &str, arrival: Stamp) -> Result<Tensor, SensorError> {
        match self.kind {
            Kind::Known { to, .. } => to(cdr, name),
            Kind::Array(dtype) => {
                let array = MultiArray::read(&mut CdrReader::new(cdr)?, dtype)?;
                MultiArray { stamp: arrival, ..array }.into_tensor(name)
            }
            Kind::Raw => {
                CdrReader::new(cdr)?;
                let shape = vec![u32::try_from(cdr.len()).unwrap_or(u32::MAX)];
                let attributes = Writer::new(&self.type_name).put("encoding", "cdr");
                Ok(Tensor::new(name, DType::U8, shape, cdr.to_vec())?.at(arrival).with_attributes(attributes.0)?)
            }
        }
    }

    /// The message that a tensor was made from.
    ///
    /// # Errors
    /// [`SensorError`].
    pub fn from_tensor(&self, tensor: Tensor) -> Result<Vec<u8>, SensorError> {
        match self.kind {
            Kind::Known { from, .. } => from(tensor),
            Kind::Array(dtype) => {
                if tensor.dtype() != dtype {
                    let (dtype, shape) = (tensor.dtype().name(), tensor.shape().to_vec());
                    return Err(SensorError::OtherShape { dtype, shape, expected: self.type_name.clone() });
                }
                let mut writer = CdrWriter::new(tensor.data().len() + 256);
                MultiArray::from_tensor(tensor)?.write(&mut writer);
                Ok(writer.finish())
            }
            Kind::Raw => {
                Reader::new(&tensor, &self.type_name)?;
                CdrReader::new(tensor.data())?;
                Ok(tensor.into_data())
            }
        }
    }
}
