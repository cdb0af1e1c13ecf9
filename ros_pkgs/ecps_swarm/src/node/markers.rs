//! `~/markers` for RViz: agents, slots, the way from one to the other, and where the formation's centre is.

use ecps_ros::r2r::geometry_msgs::msg::Point;
use ecps_ros::r2r::std_msgs::msg::ColorRGBA;
use ecps_ros::r2r::visualization_msgs::msg::{Marker, MarkerArray};
use nalgebra::{Isometry2, Vector2};

use super::moving::{body, planar};
use super::{Shared, lock};
use crate::agents::Peer;
use crate::motion::formation::Formation;

/// Of `visualization_msgs/Marker`: its actions and types.
const DELETE_ALL: i32 = 3;
const ARROW: i32 = 0;
const CYLINDER: i32 = 3;
const LINE_STRIP: i32 = 4;
const TEXT_VIEW_FACING: i32 = 9;
/// Width of a line, metres.
const WIDTH: f64 = 0.03;
/// Height of letters, metres.
const LETTERS: f64 = 0.3;

const BLUE: [f32; 3] = [0.2, 0.5, 0.9];
const GREY: [f32; 3] = [0.5, 0.5, 0.5];
const GREEN: [f32; 3] = [0.2, 0.7, 0.3];
const ORANGE: [f32; 3] = [0.9, 0.6, 0.1];

/// Makes markers in the swarm's frame.
struct Drawing {
    frame: String,
    count: i32,
}

impl Drawing {
    fn marker(&mut self, name: &str, kind: i32, pose: &Isometry2<f64>, size: [f64; 3], colour: [f32; 3]) -> Marker {
        self.count += 1;
        let [r, g, b] = colour;
        let color = ColorRGBA { r, g, b, a: 0.8 };
        let mut marker = Marker { ns: name.to_owned(), id: self.count, type_: kind, color, ..Marker::default() };
        marker.header.frame_id.clone_from(&self.frame);
        (marker.pose.position.x, marker.pose.position.y) = (pose.translation.x, pose.translation.y);
        (marker.pose.orientation.z, marker.pose.orientation.w) = (pose.rotation.angle() / 2.0).sin_cos();
        [marker.scale.x, marker.scale.y, marker.scale.z] = size;
        marker
    }

    /// Its disc, where it heads, and its name and tasks.
    fn agent(&mut self, peer: &Peer) -> Option<[Marker; 3]> {
        let pose = planar(&peer.agent)?;
        let (size, colour) = (2.0 * peer.agent.radius, if peer.is_gone() { GREY } else { BLUE });
        let mut name = self.marker("names", TEXT_VIEW_FACING, &pose, [0.0, 0.0, LETTERS], colour);
        name.pose.position.z = 0.6;
        name.text = [std::slice::from_ref(&peer.agent.id), &peer.agent.tasks[..]].concat().join("\n");
        Some([
            self.marker("agents", CYLINDER, &pose, [size, size, 0.2], colour),
            self.marker("headings", ARROW, &pose, [size, 0.05, 0.05], colour),
            name,
        ])
    }

    /// Its slot, and the way there.
    fn slot(&mut self, from: Vector2<f64>, slot: Vector2<f64>) -> [Marker; 2] {
        let mut way = self.marker("ways", LINE_STRIP, &Isometry2::identity(), [WIDTH, 0.0, 0.0], GREEN);
        way.points = [from, slot].map(|at| Point { x: at.x, y: at.y, z: 0.0 }).to_vec();
        [self.marker("slots", CYLINDER, &Isometry2::new(slot, 0.0), [0.2, 0.2, 0.02], GREEN), way]
    }
}

/// Of the agents that are known, and of the formation where there is one.
pub(super) fn markers(shared: &Shared, formation: Option<&Formation<String>>) -> MarkerArray {
    let mut drawing = Drawing { frame: shared.settings.bounds.frame.clone(), count: 0 };
    // What was shown before may have had more of them.
    let mut markers = vec![Marker { action: DELETE_ALL, ..Marker::default() }];
    let registry = lock(&shared.registry);
    for peer in registry.peers() {
        markers.extend(drawing.agent(peer).into_iter().flatten());
        let own = formation.and_then(|formation| formation.slot(&peer.agent.id));
        if let Some(((_, slot), body)) = own.zip(body(&peer.agent, &shared.settings)) {
            markers.extend(drawing.slot(body.place, slot));
        }
    }
    drop(registry);
    if let Some(formation) = formation {
        markers.push(drawing.marker("centre", ARROW, &formation.route().pose(), [0.8, 0.08, 0.08], ORANGE));
    }
    MarkerArray { markers }
}
