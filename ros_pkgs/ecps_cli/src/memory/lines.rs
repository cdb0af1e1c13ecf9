//! A record as a line of JSON: the fields of `ecps_msgs/MemoryRecord`, times in nanoseconds, the payload in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ecps_core::clock::Stamp;
use ecps_memory::{Record, pose_from_parts};
use serde_json::{Value, json};

pub(super) fn to_json(record: &Record) -> Value {
    let pose = record.pose.map(|pose| {
        let (t, q) = (pose.translation, pose.rotation.coords);
        json!([t.x, t.y, t.z, q.x, q.y, q.z, q.w])
    });
    json!({
        "id": record.id,
        "memory_namespace": record.namespace,
        "model_id": record.model_id,
        "embedding": record.embedding,
        "time": record.time.0,
        "observed": record.observed.0,
        "valid_from": record.valid_from.map(|t| t.0),
        "valid_until": record.valid_until.map(|t| t.0),
        "expires": record.expires.map(|t| t.0),
        "frame_id": record.frame_id,
        "map_id": record.map_id,
        "pose": pose,
        "pose_covariance": record.covariance,
        "labels": record.labels,
        "text": record.text,
        "importance": record.importance,
        "pinned": record.pinned,
        "robot": record.robot,
        "node": record.node,
        "topic": record.topic,
        "bag": record.bag,
        "bag_offset": record.bag_offset,
        "parents": record.parents,
        "payload_type": record.payload_type,
        "payload": STANDARD.encode(&record.payload),
        "version": record.version,
        "sightings": record.sightings,
        "last_seen": record.last_seen.0,
    })
}

/// What is missing has its default; version and sightings are the memory's to set.
pub(super) fn from_json(line: &str) -> Result<Record, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let wrong = |field: &str, kind: &str| {
        format!("{field} is {}, and must be {kind}", value.get(field).unwrap_or(&Value::Null))
    };
    let given = |field: &str| value.get(field).filter(|value| !value.is_null());
    let text = |field: &str| match given(field) {
        None => Ok(String::new()),
        Some(v) => v.as_str().map(str::to_owned).ok_or_else(|| wrong(field, "a text")),
    };
    let texts = |field: &str| match given(field) {
        None => Ok(Vec::new()),
        Some(v) => serde_json::from_value::<Vec<String>>(v.clone()).map_err(|_| wrong(field, "a list of texts")),
    };
    let numbers = |field: &str| match given(field) {
        None => Ok(Vec::new()),
        Some(v) => {
            serde_json::from_value::<Vec<f64>>(v.clone()).map_err(|_| format!("{field} must be a list of numbers"))
        }
    };
    let stamp = |field: &str| match given(field) {
        None => Ok(None),
        Some(v) => v.as_i64().map(|ns| Some(Stamp(ns))).ok_or_else(|| wrong(field, "nanoseconds")),
    };
    let pose = match numbers("pose")?.as_slice() {
        [] => None,
        [x, y, z, qx, qy, qz, qw] => {
            Some(pose_from_parts([*x, *y, *z], [*qx, *qy, *qz, *qw]).map_err(|e| e.to_string())?)
        }
        other => return Err(format!("pose has {} numbers, and needs 7", other.len())),
    };
    let importance = match given("importance") {
        None => Record::default().importance,
        Some(v) => v.as_f64().ok_or_else(|| wrong("importance", "a number"))? as f32,
    };
    Ok(Record {
        id: text("id")?,
        namespace: text("memory_namespace")?,
        model_id: text("model_id")?,
        embedding: numbers("embedding")?.into_iter().map(|v| v as f32).collect(),
        time: stamp("time")?.unwrap_or_default(),
        observed: stamp("observed")?.unwrap_or_default(),
        valid_from: stamp("valid_from")?,
        valid_until: stamp("valid_until")?,
        expires: stamp("expires")?,
        frame_id: text("frame_id")?,
        map_id: text("map_id")?,
        pose,
        covariance: numbers("pose_covariance")?,
        labels: texts("labels")?,
        text: text("text")?,
        importance,
        pinned: given("pinned").is_some_and(|v| v == &Value::Bool(true)),
        robot: text("robot")?,
        node: text("node")?,
        topic: text("topic")?,
        bag: text("bag")?,
        bag_offset: given("bag_offset").and_then(Value::as_u64).unwrap_or_default(),
        parents: texts("parents")?,
        payload_type: text("payload_type")?,
        payload: STANDARD.decode(text("payload")?).map_err(|e| format!("payload: {e}"))?,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_way_there_and_back() {
        let record = Record {
            id: "a \"b\"".into(),
            model_id: "m".into(),
            embedding: vec![0.1, -2.5e-7],
            time: Stamp(-5),
            expires: Some(Stamp(9)),
            frame_id: "map".into(),
            pose: pose_from_parts([1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0]).ok(),
            labels: vec!["x".into()],
            payload: vec![0, 255, 7],
            bag_offset: u64::MAX,
            ..Record::default()
        };
        assert_eq!(from_json(&to_json(&record).to_string()), Ok(record));
        assert_eq!(from_json("{\"id\": 7}"), Err("id is 7, and must be a text".into()));
    }
}
