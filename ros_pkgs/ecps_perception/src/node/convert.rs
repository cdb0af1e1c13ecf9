//! Between ROS messages and the layer's own types.

use std::collections::BTreeMap;

use ecps_core::check::{self, CheckError};
use ecps_core::limits;
use ecps_core::wire::proto;
use ecps_ros::r2r::diagnostic_msgs::msg::KeyValue;
use ecps_ros::r2r::ecps_msgs::msg::{LtpAck, LtpChunk, LtpFrame, LtpHeader, MemoryRecord, Tensor as TensorMessage};
use ecps_ros::r2r::geometry_msgs::msg::Pose;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::std_msgs::msg::Header;
use ecps_ros::r2r::{sensor_msgs, std_msgs};
use ecps_ros::{stamp, time};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

use crate::poses::StampedPose;
use crate::sensor::{Float32MultiArray, Image, LaserScan, MultiArrayDimension, PointCloud2, PointField, SensorMessage};
use crate::tensor::Tensor;

/// A ROS message with a plain counterpart.
pub trait SensorRos: Sized {
    /// The counterpart.
    type Plain: SensorMessage;
    /// The ROS type's name.
    const TYPE: &'static str = <Self::Plain as SensorMessage>::TYPE;
    /// As the layer has it.
    fn into_plain(self) -> Self::Plain;
    /// As ROS has it.
    fn from_plain(plain: Self::Plain) -> Self;
}

fn header(stamp: ecps_core::clock::Stamp, frame_id: String) -> Header {
    Header { stamp: time(stamp), frame_id }
}

impl SensorRos for sensor_msgs::msg::LaserScan {
    type Plain = LaserScan;

    fn into_plain(self) -> LaserScan {
        LaserScan {
            stamp: stamp(&self.header.stamp),
            frame_id: self.header.frame_id,
            angle_min: self.angle_min,
            angle_max: self.angle_max,
            angle_increment: self.angle_increment,
            time_increment: self.time_increment,
            scan_time: self.scan_time,
            range_min: self.range_min,
            range_max: self.range_max,
            ranges: self.ranges,
            intensities: self.intensities,
        }
    }

    fn from_plain(plain: LaserScan) -> Self {
        Self {
            header: header(plain.stamp, plain.frame_id),
            angle_min: plain.angle_min,
            angle_max: plain.angle_max,
            angle_increment: plain.angle_increment,
            time_increment: plain.time_increment,
            scan_time: plain.scan_time,
            range_min: plain.range_min,
            range_max: plain.range_max,
            ranges: plain.ranges,
            intensities: plain.intensities,
        }
    }
}

impl SensorRos for sensor_msgs::msg::Image {
    type Plain = Image;

    fn into_plain(self) -> Image {
        Image {
            stamp: stamp(&self.header.stamp),
            frame_id: self.header.frame_id,
            height: self.height,
            width: self.width,
            encoding: self.encoding,
            is_bigendian: self.is_bigendian,
            step: self.step,
            data: self.data,
        }
    }

    fn from_plain(plain: Image) -> Self {
        Self {
            header: header(plain.stamp, plain.frame_id),
            height: plain.height,
            width: plain.width,
            encoding: plain.encoding,
            is_bigendian: plain.is_bigendian,
            step: plain.step,
            data: plain.data,
        }
    }
}

impl SensorRos for sensor_msgs::msg::PointCloud2 {
    type Plain = PointCloud2;

    fn into_plain(self) -> PointCloud2 {
        let field = |field: sensor_msgs::msg::PointField| PointField {
            name: field.name,
            offset: field.offset,
            datatype: field.datatype,
            count: field.count,
        };
        PointCloud2 {
            stamp: stamp(&self.header.stamp),
            frame_id: self.header.frame_id,
            height: self.height,
            width: self.width,
            fields: self.fields.into_iter().map(field).collect(),
            is_bigendian: self.is_bigendian,
            point_step: self.point_step,
            row_step: self.row_step,
            data: self.data,
            is_dense: self.is_dense,
        }
    }

    fn from_plain(plain: PointCloud2) -> Self {
        let field = |field: PointField| sensor_msgs::msg::PointField {
            name: field.name,
            offset: field.offset,
            datatype: field.datatype,
            count: field.count,
        };
        Self {
            header: header(plain.stamp, plain.frame_id),
            height: plain.height,
            width: plain.width,
            fields: plain.fields.into_iter().map(field).collect(),
            is_bigendian: plain.is_bigendian,
            point_step: plain.point_step,
            row_step: plain.row_step,
            data: plain.data,
            is_dense: plain.is_dense,
        }
    }
}

impl SensorRos for std_msgs::msg::Float32MultiArray {
    type Plain = Float32MultiArray;

    fn into_plain(self) -> Float32MultiArray {
        let dimension = |d: std_msgs::msg::MultiArrayDimension| MultiArrayDimension {
            label: d.label,
            size: d.size,
            stride: d.stride,
        };
        Float32MultiArray {
            // The message has no header; its tensor gets the zero stamp.
            stamp: ecps_core::clock::Stamp(0),
            dimensions: self.layout.dim.into_iter().map(dimension).collect(),
            data_offset: self.layout.data_offset,
            data: self.data,
        }
    }

    fn from_plain(plain: Float32MultiArray) -> Self {
        let dimension = |d: MultiArrayDimension| std_msgs::msg::MultiArrayDimension {
            label: d.label,
            size: d.size,
            stride: d.stride,
        };
        Self {
            layout: std_msgs::msg::MultiArrayLayout {
                dim: plain.dimensions.into_iter().map(dimension).collect(),
                data_offset: plain.data_offset,
            },
            data: plain.data,
        }
    }
}

fn map_to_ros(map: BTreeMap<String, String>) -> Vec<KeyValue> {
    map.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
}

fn map_from_ros(field: &str, entries: Vec<KeyValue>) -> Result<BTreeMap<String, String>, CheckError> {
    check::at_most(field, entries.len(), limits::MAP_ENTRIES, "entries")?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

fn header_to_ros(header: proto::LtpFrameHeader) -> LtpHeader {
    LtpHeader {
        version: header.version,
        message_type: header.message_type,
        payload_length: header.payload_length,
        sequence_number: header.sequence_number,
        total_chunks: header.total_chunks,
        chunk_index: header.chunk_index,
        checksum: header.checksum,
        metadata: map_to_ros(header.metadata),
    }
}

fn header_from_ros(header: LtpHeader) -> Result<proto::LtpFrameHeader, CheckError> {
    Ok(proto::LtpFrameHeader {
        version: header.version,
        message_type: header.message_type,
        payload_length: header.payload_length,
        sequence_number: header.sequence_number,
        total_chunks: header.total_chunks,
        chunk_index: header.chunk_index,
        checksum: header.checksum,
        metadata: map_from_ros("header.metadata", header.metadata)?,
    })
}

pub(crate) fn frame_to_ros(frame: proto::Ltp) -> LtpFrame {
    LtpFrame {
        spec: frame.spec,
        header: header_to_ros(frame.header.unwrap_or_default()),
        tensor_zstd: frame.tensor_zstd,
        shape: frame.shape,
        dtype: frame.dtype,
        frame_id: frame.frame_id,
        timestamp_ns: frame.timestamp_ns,
        compression_level: frame.compression_level,
        original_size: frame.original_size,
        attributes: map_to_ros(frame.attributes),
    }
}

pub(crate) fn frame_from_ros(frame: LtpFrame) -> Result<proto::Ltp, CheckError> {
    check::at_most("tensor_zstd", frame.tensor_zstd.len(), limits::LTP_FRAME_BYTES, "bytes")?;
    Ok(proto::Ltp {
        spec: frame.spec,
        header: Some(header_from_ros(frame.header)?),
        tensor_zstd: frame.tensor_zstd,
        shape: frame.shape,
        dtype: frame.dtype,
        frame_id: frame.frame_id,
        timestamp_ns: frame.timestamp_ns,
        compression_level: frame.compression_level,
        original_size: frame.original_size,
        attributes: map_from_ros("attributes", frame.attributes)?,
    })
}

pub(crate) fn chunk_to_ros(chunk: proto::LtpChunk) -> LtpChunk {
    LtpChunk {
        header: header_to_ros(chunk.header.unwrap_or_default()),
        chunk_data: chunk.chunk_data,
        is_final: chunk.is_final,
    }
}

pub(crate) fn chunk_from_ros(chunk: LtpChunk) -> Result<proto::LtpChunk, CheckError> {
    check::at_most("chunk_data", chunk.chunk_data.len(), limits::LTP_FRAME_BYTES, "bytes")?;
    Ok(proto::LtpChunk {
        header: Some(header_from_ros(chunk.header)?),
        chunk_data: chunk.chunk_data,
        is_final: chunk.is_final,
    })
}

pub(crate) fn ack_to_ros(ack: proto::LtpAck) -> LtpAck {
    LtpAck {
        header: header_to_ros(ack.header.unwrap_or_default()),
        success: ack.success,
        message: ack.message,
        received_chunks: ack.received_chunks,
        missing_chunks: ack.missing_chunks,
    }
}

pub(crate) fn tensor_to_ros(tensor: &Tensor) -> TensorMessage {
    let (dtype_code, dtype_bits, dtype_lanes) = tensor.dtype().to_dlpack();
    TensorMessage {
        header: header(tensor.stamp(), tensor.frame_id().to_owned()),
        name: tensor.name().to_owned(),
        dtype_code,
        dtype_bits,
        dtype_lanes,
        shape: tensor.shape().iter().map(|n| i64::from(*n)).collect(),
        strides: Vec::new(),
        byte_offset: 0,
        data: tensor.data().to_vec(),
    }
}

/// The pose in an odometry message.
pub(crate) fn pose(odometry: &Odometry) -> StampedPose {
    let (p, q) = (&odometry.pose.pose.position, &odometry.pose.pose.orientation);
    StampedPose {
        stamp: stamp(&odometry.header.stamp),
        frame_id: odometry.header.frame_id.clone(),
        pose: Isometry3::from_parts(
            Translation3::new(p.x, p.y, p.z),
            UnitQuaternion::from_quaternion(Quaternion::new(q.w, q.x, q.y, q.z)),
        ),
    }
}

/// A memory of a tensor. Where there is a pose, the memory is in the pose's frame.
pub(crate) fn record(tensor: &Tensor, place: Option<StampedPose>, model_id: &str, embedding: Vec<f32>) -> MemoryRecord {
    let mut record = MemoryRecord {
        header: header(tensor.stamp(), tensor.frame_id().to_owned()),
        model_id: model_id.to_owned(),
        embedding,
        has_pose: place.is_some(),
        ..MemoryRecord::default()
    };
    record.pose.orientation.w = 1.0;
    if let Some(place) = place {
        record.header.frame_id = place.frame_id;
        let (t, q) = (place.pose.translation, place.pose.rotation);
        record.pose = Pose::default();
        record.pose.position.x = t.x;
        record.pose.position.y = t.y;
        record.pose.position.z = t.z;
        record.pose.orientation.x = q.i;
        record.pose.orientation.y = q.j;
        record.pose.orientation.z = q.k;
        record.pose.orientation.w = q.w;
    }
    record
}
