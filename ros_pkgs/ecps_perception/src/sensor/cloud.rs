//! `sensor_msgs/PointCloud2`.

use ecps_core::clock::Stamp;

use super::{Reader, SensorError, SensorMessage, Writer, agree};
use crate::cdr::{CdrError, CdrReader, CdrWriter};
use crate::tensor::{DType, Tensor};

/// Most fields of a point: each takes an attribute, and a chunk's metadata has room for 64 entries.
const MAX_FIELDS: usize = 40;

/// A cloud of points as `sensor_msgs/PointCloud2` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PointCloud2 {
    /// When it was taken.
    pub stamp: Stamp,
    /// Frame of the coordinates.
    pub frame_id: String,
    /// Rows; 1 for a cloud without order.
    pub height: u32,
    /// Points of a row.
    pub width: u32,
    /// What a point consists of.
    pub fields: Vec<PointField>,
    /// Whether multi-byte elements have their most significant byte first.
    pub is_bigendian: bool,
    /// Bytes of a point.
    pub point_step: u32,
    /// Bytes of a row.
    pub row_step: u32,
    /// The rows, `row_step × height` bytes.
    pub data: Vec<u8>,
    /// Whether no point is invalid.
    pub is_dense: bool,
}

/// `sensor_msgs/PointField`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PointField {
    /// Its name: "x", "intensity".
    pub name: String,
    /// Where it starts in the point, bytes.
    pub offset: u32,
    /// INT8 1, UINT8 2, INT16 3, UINT16 4, INT32 5, UINT32 6, FLOAT32 7, FLOAT64 8.
    pub datatype: u8,
    /// Elements.
    pub count: u32,
}

/// A u8 tensor `[height, width, point_step]` where rows have no padding, else `[height, row_step]`.
impl SensorMessage for PointCloud2 {
    const TYPE: &'static str = "sensor_msgs/msg/PointCloud2";

    fn read(from: &mut CdrReader<'_>) -> Result<PointCloud2, CdrError> {
        let (stamp, frame_id) = super::read_header(from)?;
        let (height, width) = (from.u32("height")?, from.u32("width")?);
        let count = from.count("fields", 20)?;
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(PointField {
                name: from.text("fields.name")?.to_owned(),
                offset: from.u32("fields.offset")?,
                datatype: from.u8("fields.datatype")?,
                count: from.u32("fields.count")?,
            });
        }
        Ok(PointCloud2 {
            stamp,
            frame_id,
            height,
            width,
            fields,
            is_bigendian: from.bool("is_bigendian")?,
            point_step: from.u32("point_step")?,
            row_step: from.u32("row_step")?,
            data: from.sequence("data", 1)?.to_vec(),
            is_dense: from.bool("is_dense")?,
        })
    }

    fn write(&self, to: &mut CdrWriter) {
        super::write_header(to, self.stamp, &self.frame_id);
        to.u32(self.height).u32(self.width).u32(self.fields.len() as u32);
        for field in &self.fields {
            to.text(&field.name).u32(field.offset).u8(field.datatype).u32(field.count);
        }
        to.bool(self.is_bigendian).u32(self.point_step).u32(self.row_step).sequence(&self.data, 1);
        to.bool(self.is_dense);
    }

    fn into_tensor(self, name: &str) -> Result<Tensor, SensorError> {
        let size = u64::from(self.row_step) * u64::from(self.height);
        agree("data", self.data.len() as u64, size, "row_step times height")?;
        let packed = u64::from(self.width) * u64::from(self.point_step);
        let shape = match u64::from(self.row_step) {
            step if step == packed => vec![self.height, self.width, self.point_step],
            step if step > packed => vec![self.height, self.row_step],
            step => agree("row_step", step, packed, "at least width times point_step").map(|()| vec![])?,
        };
        if self.fields.len() > MAX_FIELDS {
            return Err(SensorError::TooMany { what: "point fields", found: self.fields.len(), limit: MAX_FIELDS });
        }
        let mut attributes = Writer::new(Self::TYPE)
            .put("height", self.height)
            .put("width", self.width)
            .put("is_bigendian", self.is_bigendian)
            .put("point_step", self.point_step)
            .put("row_step", self.row_step)
            .put("is_dense", self.is_dense)
            .put("fields", self.fields.len());
        for (index, field) in self.fields.iter().enumerate() {
            field.check(self.point_step)?;
            // The name comes last, so that it may hold spaces.
            let text = format!("{} {} {} {}", field.offset, field.datatype, field.count, field.name);
            attributes = attributes.put(&format!("field.{index}"), text);
        }
        let tensor = Tensor::new(name, DType::U8, shape, self.data)?.in_frame(&self.frame_id)?.at(self.stamp);
        Ok(tensor.with_attributes(attributes.0)?)
    }

    fn from_tensor(tensor: Tensor) -> Result<PointCloud2, SensorError> {
        let read = Reader::new(&tensor, Self::TYPE)?;
        let (height, row_step): (u32, u32) = (read.number("height")?, read.number("row_step")?);
        let size = u64::from(row_step) * u64::from(height);
        agree("data", tensor.data().len() as u64, size, "row_step times height")?;
        let (count, point_step) = (read.number::<usize>("fields")?, read.number("point_step")?);
        if count > MAX_FIELDS {
            return Err(SensorError::TooMany { what: "point fields", found: count, limit: MAX_FIELDS });
        }
        let mut fields = Vec::with_capacity(count);
        for index in 0..count {
            let key = format!("field.{index}");
            let text = read.text(&key)?;
            let field = PointField::parse(text).ok_or_else(|| Reader::unreadable(&key, text))?;
            field.check(point_step)?;
            fields.push(field);
        }
        Ok(PointCloud2 {
            stamp: tensor.stamp(),
            frame_id: tensor.frame_id().to_owned(),
            height,
            width: read.number("width")?,
            fields,
            is_bigendian: read.number("is_bigendian")?,
            point_step,
            row_step,
            is_dense: read.number("is_dense")?,
            data: tensor.into_data(),
        })
    }
}

impl PointField {
    fn parse(text: &str) -> Option<PointField> {
        let mut parts = text.splitn(4, ' ');
        Some(PointField {
            offset: parts.next()?.parse().ok()?,
            datatype: parts.next()?.parse().ok()?,
            count: parts.next()?.parse().ok()?,
            name: parts.next()?.to_owned(),
        })
    }

    fn check(&self, point_step: u32) -> Result<(), SensorError> {
        let field = || self.name.chars().take(64).collect();
        let bytes = match self.datatype {
            1 | 2 => 1,
            3 | 4 => 2,
            5..=7 => 4,
            8 => 8,
            datatype => return Err(SensorError::FieldType { field: field(), datatype }),
        };
        let end = u64::from(self.offset) + u64::from(self.count) * bytes;
        if end > u64::from(point_step) {
            return Err(SensorError::FieldOutsidePoint { field: field(), end, point_step });
        }
        Ok(())
    }
}
