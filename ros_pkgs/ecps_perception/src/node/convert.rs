//! Between ROS messages and the layer's own types.

use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::r2r::geometry_msgs::msg::Pose;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::sensor_msgs;
use ecps_ros::r2r::std_msgs::msg::Header;
use ecps_ros::{stamp, time};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

use crate::poses::StampedPose;
use crate::sensor::{LaserScan, SensorMessage};
use crate::tensor::Tensor;

/// A ROS message with a plain counterpart.
pub trait SensorRos: Sized {
    /// The counterpart.
    type Plain: SensorMessage;
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
