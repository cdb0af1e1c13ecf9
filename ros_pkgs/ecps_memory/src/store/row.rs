//! A record as a row: columns in, columns out, and the checksums that tell damage.

use ecps_core::clock::Stamp;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Row, params};

use crate::record::Record;
use crate::stats::Damage;

macro_rules! select {
    ($more:literal) => {
        concat!(
            "SELECT row, namespace, id, version, model_id, time_ns, frame_id, pose, labels, robot, topic, ",
            "payload_type, embedding, payload_crc, head_crc, length(payload)",
            $more
        )
    };
}
/// All rows without their payloads, in the file's order.
pub(super) const SELECT_HEADS: &str = select!(" FROM record ORDER BY row");
/// The row numbered ?1.
pub(super) const SELECT_ROW: &str = select!(", payload FROM record WHERE row = ?1");
/// The row of namespace ?1 and id ?2.
pub(super) const SELECT_ID: &str = select!(", payload FROM record WHERE namespace = ?1 AND id = ?2");

const INSERT: &str = "INSERT INTO record (row, namespace, id, version, model_id, time_ns, frame_id, pose, labels, robot, \
    topic, payload_type, embedding, payload_crc, head_crc, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// Writes a valid record, whose namespace is set, under a row number that is free.
pub(super) fn insert(connection: &Connection, row: i64, version: i64, record: &Record) -> Result<(), rusqlite::Error> {
    let pose = record.pose.map(|pose| pose_bytes(&pose));
    let labels = serde_json::Value::from(record.labels.as_slice()).to_string();
    let embedding: Vec<u8> = record.embedding.iter().flat_map(|v| v.to_le_bytes()).collect();
    let payload_crc = crc32fast::hash(&record.payload);
    let head = Head {
        numbers: [row, version, record.time.0, payload_crc.into(), record.payload.len() as i64],
        texts: [
            record.namespace.as_bytes(),
            record.id.as_bytes(),
            record.model_id.as_bytes(),
            record.frame_id.as_bytes(),
            labels.as_bytes(),
            record.robot.as_bytes(),
            record.topic.as_bytes(),
            record.payload_type.as_bytes(),
        ],
        pose: pose.as_deref().unwrap_or_default(),
        embedding: &embedding,
    };
    connection.prepare_cached(INSERT)?.execute(params![
        row,
        record.namespace,
        record.id,
        version,
        record.model_id,
        record.time.0,
        record.frame_id,
        pose,
        labels,
        record.robot,
        record.topic,
        record.payload_type,
        embedding,
        payload_crc,
        head.crc(),
        record.payload,
    ])?;
    Ok(())
}

/// Reads a row without its payload.
pub(super) fn decode_head(row: &Row<'_>) -> Result<Record, Damage> {
    head(row).map_err(|reason| damage(row, reason))
}

/// Reads a row of [`SELECT_ROW`] or [`SELECT_ID`].
pub(super) fn decode(row: &Row<'_>) -> Result<Record, Damage> {
    let whole = || {
        let mut record = head(row)?;
        record.payload = bytes(row, 16)?.to_vec();
        if i64::from(crc32fast::hash(&record.payload)) != number(row, 13)? {
            return Err("its payload does not match its checksum".to_owned());
        }
        Ok(record)
    };
    whole().map_err(|reason| damage(row, reason))
}

/// Everything that the head's checksum covers.
struct Head<'a> {
    numbers: [i64; 5],
    texts: [&'a [u8]; 8],
    /// Empty where there is none.
    pose: &'a [u8],
    embedding: &'a [u8],
}

impl Head<'_> {
    fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.numbers.iter().for_each(|n| hasher.update(&n.to_le_bytes()));
        for field in self.texts.iter().chain([&self.pose, &self.embedding]) {
            // With its length, so that a byte cannot move from one field to the next unnoticed.
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        hasher.finalize()
    }
}

fn head(row: &Row<'_>) -> Result<Record, String> {
    let pose = match value(row, 7)? {
        ValueRef::Null => &[],
        _ => bytes(row, 7)?,
    };
    let head = Head {
        numbers: [number(row, 0)?, number(row, 3)?, number(row, 5)?, number(row, 13)?, number(row, 15)?],
        texts: [
            bytes(row, 1)?,
            bytes(row, 2)?,
            bytes(row, 4)?,
            bytes(row, 6)?,
            bytes(row, 8)?,
            bytes(row, 9)?,
            bytes(row, 10)?,
            bytes(row, 11)?,
        ],
        pose,
        embedding: bytes(row, 12)?,
    };
    if i64::from(head.crc()) != number(row, 14)? {
        return Err("its fields do not match their checksum".to_owned());
    }
    let [namespace, id, model_id, frame_id, labels, robot, topic, payload_type] = head.texts;
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).map_err(|e| e.to_string());
    let [_, version, time, ..] = head.numbers;
    let record = Record {
        id: text(id)?,
        namespace: text(namespace)?,
        model_id: text(model_id)?,
        embedding: floats(head.embedding),
        time: Stamp(time),
        frame_id: text(frame_id)?,
        pose: if pose.is_empty() { None } else { Some(pose_of(pose)?) },
        labels: serde_json::from_slice(labels).map_err(|e| e.to_string())?,
        robot: text(robot)?,
        topic: text(topic)?,
        payload_type: text(payload_type)?,
        payload: Vec::new(),
        version: version.unsigned_abs(),
    };
    // Whoever wrote it with a right checksum may still have written what we would have refused.
    record.validate().map_err(|e| e.to_string())?;
    Ok(record)
}

fn pose_bytes(pose: &Isometry3<f64>) -> Vec<u8> {
    let (at, turn) = (pose.translation, pose.rotation.coords);
    [at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w].iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn pose_of(bytes: &[u8]) -> Result<Isometry3<f64>, String> {
    let numbers: Vec<f64> = bytes.chunks_exact(8).filter_map(|v| v.try_into().ok().map(f64::from_le_bytes)).collect();
    let [x, y, z, qx, qy, qz, qw] =
        <[f64; 7]>::try_from(numbers).map_err(|n| format!("its pose has {} numbers instead of 7", n.len()))?;
    // As stored: normalising again would change the last bits at every reading.
    let turn = UnitQuaternion::new_unchecked(Quaternion::new(qw, qx, qy, qz));
    Ok(Isometry3::from_parts(Translation3::new(x, y, z), turn))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).filter_map(|v| v.try_into().ok().map(f32::from_le_bytes)).collect()
}

fn value<'a>(row: &'a Row<'_>, column: usize) -> Result<ValueRef<'a>, String> {
    row.get_ref(column).map_err(|e| e.to_string())
}

fn number(row: &Row<'_>, column: usize) -> Result<i64, String> {
    value(row, column)?.as_i64().map_err(|_| wrong_type(row, column, Type::Integer))
}

/// A text or a blob, as bytes: damaged text need not be UTF-8.
fn bytes<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], String> {
    value(row, column)?.as_bytes().map_err(|_| wrong_type(row, column, Type::Blob))
}

fn wrong_type(row: &Row<'_>, column: usize, expected: Type) -> String {
    let name = row.as_ref().column_name(column).unwrap_or("?");
    format!("its column {name} is not {expected}")
}

fn damage(row: &Row<'_>, reason: String) -> Damage {
    let text = |column| bytes(row, column).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
    Damage { row: number(row, 0).unwrap_or_default(), namespace: text(1), id: text(2), reason }
}
