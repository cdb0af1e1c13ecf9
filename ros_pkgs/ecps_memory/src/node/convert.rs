//! Messages and the library's types, field by field.

use std::time::Duration;

use ecps_core::check::CheckError;
use ecps_core::clock::Stamp;
use ecps_ros::r2r::builtin_interfaces::msg::Time;
use ecps_ros::r2r::ecps_msgs::msg::{MemoryHit, MemoryRecord};
use ecps_ros::r2r::ecps_msgs::srv::QueryMemory;
use ecps_ros::r2r::geometry_msgs::msg::{Point, Pose, Transform};
use nalgebra::{Isometry3, Point3};

use crate::query::HALF_LIFE;
use crate::record::InvalidError;
use crate::{Hit, Likeness, Place, Query, Ranking, Record, Shape, Way, pose_from_parts};

/// Zero stands for "not set".
pub(super) fn set(time: &Time) -> Option<Stamp> {
    Some(ecps_ros::stamp(time)).filter(|stamp| !stamp.is_zero())
}

fn unset(stamp: Option<Stamp>) -> Time {
    ecps_ros::time(stamp.unwrap_or_default())
}

pub(super) fn record_from_ros(message: MemoryRecord) -> Result<Record, InvalidError> {
    let (p, q) = (&message.pose.position, &message.pose.orientation);
    let pose = if message.has_pose { Some(pose_from_parts([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])?) } else { None };
    Ok(Record {
        id: message.id,
        namespace: message.memory_namespace,
        model_id: message.model_id,
        embedding: message.embedding,
        time: ecps_ros::stamp(&message.header.stamp),
        observed: ecps_ros::stamp(&message.observed),
        valid_from: set(&message.valid_from),
        valid_until: set(&message.valid_until),
        expires: set(&message.expires),
        frame_id: message.header.frame_id,
        map_id: message.map_id,
        pose,
        covariance: message.pose_covariance,
        labels: message.labels,
        text: message.text,
        importance: message.importance,
        pinned: message.pinned,
        robot: message.robot,
        node: message.node,
        topic: message.topic,
        bag: message.bag,
        bag_offset: message.bag_offset,
        parents: message.parents,
        payload_type: message.payload_type,
        payload: message.payload,
        version: 0,
        sightings: 0,
        last_seen: Stamp::default(),
    })
}

pub(super) fn record_to_ros(record: Record) -> MemoryRecord {
    let mut message = MemoryRecord {
        id: record.id,
        memory_namespace: record.namespace,
        model_id: record.model_id,
        embedding: record.embedding,
        has_pose: record.pose.is_some(),
        pose: record.pose.map_or_else(Pose::default, |pose| pose_to_ros(&pose)),
        pose_covariance: record.covariance,
        map_id: record.map_id,
        labels: record.labels,
        text: record.text,
        importance: record.importance,
        observed: ecps_ros::time(record.observed),
        valid_from: unset(record.valid_from),
        valid_until: unset(record.valid_until),
        expires: unset(record.expires),
        pinned: record.pinned,
        robot: record.robot,
        node: record.node,
        topic: record.topic,
        bag: record.bag,
        bag_offset: record.bag_offset,
        parents: record.parents,
        payload_type: record.payload_type,
        payload: record.payload,
        version: record.version,
        sightings: record.sightings,
        last_seen: ecps_ros::time(record.last_seen),
        ..MemoryRecord::default()
    };
    message.header.stamp = ecps_ros::time(record.time);
    message.header.frame_id = record.frame_id;
    if record.pose.is_none() {
        message.pose.orientation.w = 1.0;
    }
    message
}

pub(super) fn pose_to_ros(pose: &Isometry3<f64>) -> Pose {
    let mut message = Pose::default();
    (message.position.x, message.position.y, message.position.z) =
        (pose.translation.x, pose.translation.y, pose.translation.z);
    let turn = pose.rotation.coords;
    let to = &mut message.orientation;
    (to.x, to.y, to.z, to.w) = (turn.x, turn.y, turn.z, turn.w);
    message
}

pub(super) fn transform_from_ros(message: &Transform) -> Result<Isometry3<f64>, InvalidError> {
    let (t, q) = (&message.translation, &message.rotation);
    pose_from_parts([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])
}

/// A place, where one is asked for.
pub(super) fn place(
    frame_id: String,
    map_id: String,
    centre: &Point,
    radius: f64,
    corners: &[Point],
) -> Result<Option<Place>, InvalidError> {
    let point = |p: &Point| Point3::new(p.x, p.y, p.z);
    let shape = match corners {
        [] if radius == 0.0 => return Ok(None),
        [] => Shape::Ball { centre: point(centre), radius },
        _ if radius != 0.0 => {
            // One place is asked for, and these are two.
            let (field, value) = ("radius beside corners".to_owned(), radius);
            return Err(CheckError::OutOfRange { field, value, min: 0.0, max: 0.0 }.into());
        }
        [a, b] => Shape::Box(point(a), point(b)),
        more => Shape::Polygon(more.iter().map(|p| [p.x, p.y]).collect()),
    };
    Ok(Some(Place { frame_id, map_id, shape }))
}

pub(super) fn query_from_ros(request: QueryMemory::Request) -> Result<Query, InvalidError> {
    let likeness = (!request.embedding.is_empty())
        .then_some(Likeness { model_id: request.model_id, embedding: request.embedding });
    let place = place(request.frame_id, request.map_id, &request.center, request.radius, &request.corners)?;
    let half_life = &request.half_life;
    let half_life = Duration::new(u64::try_from(half_life.sec).unwrap_or_default(), half_life.nanosec);
    Ok(Query {
        namespace: request.memory_namespace,
        likeness,
        k: request.k,
        min_sim: request.min_sim,
        not_before: set(&request.not_before),
        not_after: set(&request.not_after),
        valid_at: set(&request.valid_at),
        place,
        text: request.text,
        labels: request.labels,
        robot: request.robot,
        ranking: Ranking {
            relevance: request.weight_relevance,
            recency: request.weight_recency,
            importance: request.weight_importance,
            half_life: if half_life == Duration::ZERO { HALF_LIFE } else { half_life },
        },
        exact: request.exact,
        heads_only: request.heads_only,
    })
}

pub(super) fn hit_to_ros(hit: Hit) -> MemoryHit {
    MemoryHit {
        record: record_to_ros(hit.record),
        score: hit.score,
        relevance: hit.relevance,
        recency: hit.recency,
        importance: hit.importance,
        similarity: hit.similarity.unwrap_or(f32::NAN),
        text_score: hit.text_score.unwrap_or(f32::NAN),
    }
}

/// As in `QueryMemory.index`.
pub(super) fn way_to_ros(way: Way) -> String {
    match way {
        Way::NoVector => "none",
        Way::Scan => "scan",
        Way::Graph => "graph",
    }
    .to_owned()
}
