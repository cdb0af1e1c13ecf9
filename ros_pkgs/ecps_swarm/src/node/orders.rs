//! `~/set_formation` and `~/set_behavior`.

use ecps_ros::Reply;
use ecps_ros::r2r::ecps_msgs::srv::{SetBehavior, SetFormation};
use ecps_ros::r2r::geometry_msgs::msg::Point as RosPoint;
use nalgebra::{Isometry3, Vector3};

use super::convert::place_from_ros;
use super::moving::{body, members};
use super::{Coordinator, INVALID, lock};
use crate::motion::formation::Point;
use crate::movement::{Behavior, Movement, MovementError, order::Start};
use crate::tasks::What;

/// Scale that is told where nothing is formed.
const NONE: f64 = 0.0;

fn points(points: &[RosPoint]) -> Vec<Point> {
    points.iter().map(|point| Point { x: point.x, y: point.y }).collect()
}

fn formation(request: SetFormation::Request) -> Result<Movement, MovementError> {
    let poses = request.path.iter().map(place_from_ros).collect::<Result<Vec<_>, _>>()?;
    let heading = |pose: &Isometry3<f64>| {
        let ahead = pose.rotation * Vector3::x();
        ahead.y.atan2(ahead.x)
    };
    let behavior = if request.formation == 0 { Behavior::Hold } else { Behavior::Formation };
    Ok(Movement {
        behavior: behavior.into(),
        agents: request.agents,
        form: request.formation.into(),
        scale: request.scale,
        separation: request.separation,
        path: request.path.iter().map(|pose| Point { x: pose.position.x, y: pose.position.y }).collect(),
        heading: poses.first().and_then(|pose| pose.as_ref().map(heading)).unwrap_or_default(),
        points: points(&request.points),
        ..Movement::default()
    })
}

impl Coordinator {
    pub(super) fn on_formation(&mut self, request: SetFormation::Request, reply: Reply<SetFormation::Service>) {
        let caller = request.caller.clone();
        let movement = formation(request).and_then(|movement| movement.check().map(|()| movement.with_defaults()));
        let answer = |reply: Reply<SetFormation::Service>, error_code, error_msg, scale| {
            reply.send(SetFormation::Response { error_code, error_msg, scale });
        };
        let movement = match movement {
            Ok(movement) => movement,
            Err(error) => return answer(reply, INVALID, error.to_string(), NONE),
        };
        let mut scale = NONE;
        if movement.behavior() == Behavior::Formation {
            let least = self.least_separation(&movement);
            if movement.separation < least {
                let asked = movement.separation;
                let text =
                    format!("separation is {asked} m, and must be at least {least:.2} m, twice what a robot needs");
                return answer(reply, INVALID, text, NONE);
            }
            let count = members(&self.shared, &movement).len();
            scale = movement
                .shape()
                .ok()
                .and_then(|shape| shape.scale(count, movement.scale, movement.separation).ok())
                .unwrap_or(movement.scale);
        }
        self.bring(&caller, What::Move(movement), move |error_code, error_msg| {
            answer(reply, error_code, error_msg, if error_code == 0 { scale } else { NONE });
        });
    }

    /// With which no two discs of those that take part meet while all are in their slots, whichever way they head.
    fn least_separation(&self, movement: &Movement) -> f64 {
        let settings = &self.shared.settings;
        let registry = lock(&self.shared.registry);
        let with = registry.peers().filter(|peer| !peer.is_gone() && movement.includes(&peer.agent.id));
        let largest = with.filter_map(|peer| Some(body(&peer.agent, settings)?.radius)).fold(0.0, f64::max);
        2.0 * (largest + settings.ahead)
    }

    pub(super) fn on_behavior(&mut self, request: SetBehavior::Request, reply: Reply<SetBehavior::Service>) {
        let answer = |reply: Reply<SetBehavior::Service>, error_code, error_msg| {
            reply.send(SetBehavior::Response { error_code, error_msg });
        };
        let mut movement = Movement {
            behavior: request.behavior.into(),
            agents: request.agents,
            leader: request.leader,
            offset: request.offset,
            area: points(&request.area),
            target: request.has_target.then_some(Point { x: request.target.x, y: request.target.y }),
            ..Movement::default()
        };
        if movement.behavior() == Behavior::FollowLeader && movement.leader.is_empty() {
            // By name, so that it stays the same one when another coordinator leads.
            movement.leader = self.leading_agent();
        }
        if movement.behavior() == Behavior::Search {
            let start = |(agent, place): (String, nalgebra::Vector2<f64>)| Start { agent, place: place.into() };
            movement.starts = members(&self.shared, &movement).into_iter().map(start).collect();
        }
        match movement.check() {
            Ok(()) => self.bring(&request.caller, What::Move(movement), move |error_code, error_msg| {
                answer(reply, error_code, error_msg);
            }),
            Err(error) => answer(reply, INVALID, error.to_string()),
        }
    }

    /// The agent whose coordinator leads; empty where nobody does.
    fn leading_agent(&self) -> String {
        let leader = self.shared.group.status().leader;
        let place = leader.and_then(|id| usize::try_from(id).ok()?.checked_sub(1));
        place.and_then(|place| self.shared.settings.voters.get(place)).cloned().unwrap_or_default()
    }
}
