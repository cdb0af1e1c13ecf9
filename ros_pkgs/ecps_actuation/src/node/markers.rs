//! `~/markers` for RViz: the zones, how near the robot comes to anything, how far it needs to stop, and its limits.

use ecps_ros::r2r::geometry_msgs::msg::Point;
use ecps_ros::r2r::std_msgs::msg::ColorRGBA;
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};
use ecps_ros::{Node, Publisher, StartError, qos};

use crate::gate::Gate;
use crate::motion::Limits;
use crate::zone::{Rule, ZoneSet};

/// Of `visualization_msgs/Marker`: its actions and types.
const DELETE_ALL: i32 = 3;
const LINE_STRIP: i32 = 4;
const TEXT_VIEW_FACING: i32 = 9;
/// Width of a line, metres.
const WIDTH: f64 = 0.04;
/// Height of letters, metres.
const LETTERS: f64 = 0.15;
/// Corners of a circle.
const CORNERS: u32 = 48;

/// Publishes them, latched, whenever something of it changes.
pub(super) struct Markers {
    publisher: Publisher<MarkerArray>,
    /// What was published last.
    shown: Option<(Limits, ZoneSet, String)>,
}

impl Markers {
    pub(super) fn new<S: 'static>(node: &mut Node<S>) -> Result<Markers, StartError> {
        Ok(Markers { publisher: node.publisher("~/markers", qos::latched())?, shown: None })
    }

    /// `frame` is that of the zones, and `base_frame` the robot's own; empty: not known yet.
    pub(super) fn publish(&mut self, gate: &Gate, frame: &str, base_frame: &str) {
        let unchanged = |(limits, added, base): &(Limits, ZoneSet, String)| {
            limits == gate.limits() && added == gate.added() && base == base_frame
        };
        if self.shown.as_ref().is_some_and(unchanged) {
            return;
        }
        self.shown = Some((*gate.limits(), gate.added().clone(), base_frame.to_owned()));
        // What was shown before may have had more of them.
        let mut markers = vec![Marker { action: DELETE_ALL, ..Marker::default() }];
        for (zone, id) in gate.zones().zip(0..) {
            let (r, g) = match zone.rule() {
                Rule::StayInside => (0.1, 0.7),
                Rule::KeepOut => (0.9, 0.1),
            };
            markers.push(outline(zone.name(), id, frame, zone.corners(), (r, g)));
        }
        if !base_frame.is_empty() {
            if let Some(clearance) = gate.clearance() {
                markers.push(outline("clearance", 0, base_frame, &circle(clearance), (0.9, 0.1)));
            }
            let stopping = gate.clearance().unwrap_or(0.0) + gate.stopping_distance(gate.limits().max_linear_speed);
            markers.push(outline("stopping distance", 0, base_frame, &circle(stopping), (0.9, 0.6)));
            markers.push(text(gate.limits(), base_frame));
        }
        self.publisher.publish(&MarkerArray { markers });
    }
}

fn circle(radius: f64) -> Vec<[f64; 2]> {
    let angle = |i| f64::from(i) * std::f64::consts::TAU / f64::from(CORNERS);
    (0..CORNERS).map(|i| [radius * angle(i).cos(), radius * angle(i).sin()]).collect()
}

fn marker(name: &str, id: i32, frame: &str, type_: i32, (r, g): (f32, f32)) -> Marker {
    let mut marker = Marker {
        ns: name.to_owned(),
        id,
        type_,
        color: ColorRGBA { r, g, b: 0.1, a: 1.0 },
        frame_locked: true,
        ..Marker::default()
    };
    marker.header.frame_id = frame.to_owned();
    marker.pose.orientation.w = 1.0;
    marker
}

fn outline(name: &str, id: i32, frame: &str, corners: &[[f64; 2]], color: (f32, f32)) -> Marker {
    let mut marker = marker(name, id, frame, LINE_STRIP, color);
    let closed = corners.iter().chain(corners.first());
    marker.points = closed.map(|[x, y]| Point { x: *x, y: *y, z: 0.0 }).collect();
    marker.scale.x = WIDTH;
    marker
}

fn text(limits: &Limits, frame: &str) -> Marker {
    let mut marker = marker("limits", 0, frame, TEXT_VIEW_FACING, (0.1, 0.1));
    marker.text = format!(
        "{} m/s, {} m/s²\n{} rad/s, {} rad/s²",
        limits.max_linear_speed,
        limits.max_linear_acceleration,
        limits.max_angular_speed,
        limits.max_angular_acceleration
    );
    marker.pose.position.z = 0.5;
    marker.scale.z = LETTERS;
    marker
}
