//! `~/markers` for RViz: the zones, where the robot works.

use ecps_ros::r2r::geometry_msgs::msg::Point;
use ecps_ros::r2r::std_msgs::msg::ColorRGBA;
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};
use ecps_ros::{Node, Publisher, StartError, qos};

use crate::Config;
use crate::zone::{Rule, Zone};

const LINE_STRIP: i32 = 4;
/// Width of a border, metres.
const WIDTH: f64 = 0.04;

/// Publishes them once, latched, and keeps the publisher.
pub(super) fn publish<S: 'static>(node: &mut Node<S>, config: &Config) -> Result<Publisher<MarkerArray>, StartError> {
    let publisher = node.publisher("~/markers", qos::latched())?;
    let markers = config.gate.zones.iter().zip(0..).map(|(zone, id)| border(zone, id, &config.frame)).collect();
    publisher.publish(&MarkerArray { markers });
    Ok(publisher)
}

fn border(zone: &Zone, id: i32, frame: &str) -> Marker {
    let closed = zone.corners().iter().chain(zone.corners().first());
    let (r, g) = match zone.rule() {
        Rule::StayInside => (0.1, 0.7),
        Rule::KeepOut => (0.9, 0.1),
    };
    let mut marker = Marker {
        ns: zone.name().to_owned(),
        id,
        type_: LINE_STRIP,
        points: closed.map(|[x, y]| Point { x: *x, y: *y, z: 0.0 }).collect(),
        color: ColorRGBA { r, g, b: 0.1, a: 1.0 },
        frame_locked: true,
        ..Marker::default()
    };
    marker.header.frame_id = frame.to_owned();
    marker.scale.x = WIDTH;
    marker.pose.orientation.w = 1.0;
    marker
}
