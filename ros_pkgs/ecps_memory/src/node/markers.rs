//! `~/markers` for RViz: where memories are, and where the last hits were.

use ecps_ros::r2r::geometry_msgs::msg::Point;
use ecps_ros::r2r::std_msgs::msg::ColorRGBA;
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};

use crate::Answer;

const SPHERE_LIST: i32 = 7;
const DELETE_ALL: i32 = 3;
/// Diameters, metres.
const MEMORY: f64 = 0.15;
const HIT: f64 = 0.3;

/// What of a memory is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layer {
    /// The newest memories.
    Memories,
    /// The hits of the last query.
    Hits,
}

impl Layer {
    /// What is drawn of an answer.
    pub(super) fn markers(self, answer: &Answer) -> Vec<Marker> {
        match self {
            Layer::Memories => spheres(answer, "memories", MEMORY, &ColorRGBA { r: 0.2, g: 0.4, b: 0.9, a: 0.7 }),
            Layer::Hits => spheres(answer, "hits", HIT, &ColorRGBA { r: 1.0, g: 0.6, b: 0.0, a: 0.9 }),
        }
    }
}

/// What is drawn now. Each message holds all of it: RViz deletes all of a topic's markers at once, whatever their namespace,
/// and the last message alone is kept for who looks later.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    memories: Vec<Marker>,
    hits: Vec<Marker>,
}

impl Drawing {
    pub(super) fn replace(&mut self, layer: Layer, markers: Vec<Marker>) {
        match layer {
            Layer::Memories => self.memories = markers,
            Layer::Hits => self.hits = markers,
        }
    }

    pub(super) fn message(&self) -> MarkerArray {
        let mut markers = vec![Marker { action: DELETE_ALL, ..Marker::default() }];
        markers.extend(self.memories.iter().chain(&self.hits).cloned());
        MarkerArray { markers }
    }
}

/// One marker for each frame that an answer's hits are in.
fn spheres(answer: &Answer, ns: &str, diameter: f64, color: &ColorRGBA) -> Vec<Marker> {
    let mut markers: Vec<Marker> = Vec::new();
    for hit in &answer.hits {
        let Some(pose) = &hit.record.pose else { continue };
        let at = Point { x: pose.translation.x, y: pose.translation.y, z: pose.translation.z };
        let frame = &hit.record.frame_id;
        match markers.iter_mut().find(|marker| marker.header.frame_id == *frame) {
            Some(marker) => marker.points.push(at),
            None => {
                let mut marker = Marker {
                    ns: ns.to_owned(),
                    id: markers.len() as i32,
                    type_: SPHERE_LIST,
                    points: vec![at],
                    color: color.clone(),
                    ..Marker::default()
                };
                marker.header.frame_id.clone_from(frame);
                (marker.scale.x, marker.scale.y, marker.scale.z) = (diameter, diameter, diameter);
                marker.pose.orientation.w = 1.0;
                markers.push(marker);
            }
        }
    }
    markers
}
