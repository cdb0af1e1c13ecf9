//! A record as a row: columns in, columns out, and the checksums that tell damage.

use ecps_core::clock::Stamp;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Row, params};

use crate::record::Record;
use crate::stats::Damage;

macro_rules! columns {
    () => {
        "row, namespace, id, version, model_id, time_ns, last_ns, observed_ns, valid_from_ns, valid_until_ns, \
         expires_ns, importance, pinned, sightings, frame_id, map_id, pose, covariance, labels, text, robot, node, \
         topic, bag, bag_offset, parents, payload_type, embedding, payload_crc, head_crc"
    };
}
macro_rules! select {
    ($more:literal) => {
        concat!("SELECT ", columns!(), ", length(payload)", $more)
    };
}
/// All rows without their payloads, in the file's order.
pub(crate) const SELECT_HEADS: &str = select!(" FROM record ORDER BY row");
/// The row numbered ?1 without its payload.
pub(crate) const SELECT_HEAD: &str = select!(" FROM record WHERE row = ?1");
/// The row numbered ?1.
pub(crate) const SELECT_ROW: &str = select!(", payload FROM record WHERE row = ?1");
/// The row of namespace ?1 and id ?2.
pub(crate) const SELECT_ID: &str = select!(", payload FROM record WHERE namespace = ?1 AND id = ?2");
/// Rows from ?1 on, at most ?2.
pub(crate) const SELECT_FROM: &str = select!(", payload FROM record WHERE row >= ?1 ORDER BY row LIMIT ?2");

const INSERT: &str = concat!(
    "INSERT OR REPLACE INTO record (",
    columns!(),
    ", payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
     ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)"
);

/// Where the payload is among the columns of a whole row, and its length among those of a head.
const PAYLOAD: usize = 31;
const LENGTH: usize = 30;
const PAYLOAD_CRC: usize = 28;
const HEAD_CRC: usize = 29;

/// Writes a valid record, whose namespace is set, under a row number; what was there is replaced.
pub(crate) fn insert(connection: &Connection, row: i64, record: &Record) -> Result<(), rusqlite::Error> {
    let pose = record.pose.map(|pose| pose_bytes(&pose));
    let covariance = doubles(&record.covariance);
    let (labels, parents) = (json(&record.labels)?, json(&record.parents)?);
    let mut embedding = vec![0; size_of_val(record.embedding.as_slice())];
    let (places, _) = embedding.as_chunks_mut::<4>();
    places.iter_mut().zip(&record.embedding).for_each(|(place, value)| *place = value.to_le_bytes());
    let payload_crc = crc32fast::hash(&record.payload);
    let version = i64::try_from(record.version).unwrap_or(i64::MAX);
    let sightings = i64::try_from(record.sightings).unwrap_or(i64::MAX);
    let bag_offset = i64::from_le_bytes(record.bag_offset.to_le_bytes());
    let importance = f64::from(record.importance);
    let [valid_from, valid_until, expires] = [record.valid_from, record.valid_until, record.expires].map(or_zero);
    let head = Head {
        numbers: [
            row,
            version,
            record.time.0,
            record.last_seen.0,
            record.observed.0,
            valid_from,
            valid_until,
            expires,
            importance.to_bits() as i64,
            record.pinned.into(),
            sightings,
            bag_offset,
            payload_crc.into(),
            record.payload.len() as i64,
        ],
        texts: [
            record.namespace.as_bytes(),
            record.id.as_bytes(),
            record.model_id.as_bytes(),
            record.frame_id.as_bytes(),
            record.map_id.as_bytes(),
            labels.as_bytes(),
            record.text.as_bytes(),
            record.robot.as_bytes(),
            record.node.as_bytes(),
            record.topic.as_bytes(),
            record.bag.as_bytes(),
            parents.as_bytes(),
            record.payload_type.as_bytes(),
        ],
        blobs: [pose.as_deref().unwrap_or_default(), &covariance, &embedding],
    };
    connection.prepare_cached(INSERT)?.execute(params![
        row,
        record.namespace,
        record.id,
        version,
        record.model_id,
        record.time.0,
        record.last_seen.0,
        record.observed.0,
        valid_from,
        valid_until,
        expires,
        importance,
        record.pinned,
        sightings,
        record.frame_id,
        record.map_id,
        pose,
        covariance,
        labels,
        record.text,
        record.robot,
        record.node,
        record.topic,
        record.bag,
        bag_offset,
        parents,
        record.payload_type,
        embedding,
        payload_crc,
        head.crc(),
        record.payload,
    ])?;
    Ok(())
}

fn json(list: &[String]) -> Result<String, rusqlite::Error> {
    if list.is_empty() {
        return Ok("[]".to_owned());
    }
    serde_json::to_string(list).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// Reads a row without its payload.
pub(crate) fn decode_head(row: &Row<'_>) -> Result<Record, Damage> {
    head(row).map_err(|reason| damage(row, reason))
}

/// Reads a row of [`SELECT_ROW`], [`SELECT_ID`] or [`SELECT_FROM`].
pub(crate) fn decode(row: &Row<'_>) -> Result<Record, Damage> {
    let whole = || {
        let mut record = head(row)?;
        record.payload = bytes(row, PAYLOAD)?.to_vec();
        if i64::from(crc32fast::hash(&record.payload)) != number(row, PAYLOAD_CRC)? {
            return Err("its payload does not match its checksum".to_owned());
        }
        Ok(record)
    };
    whole().map_err(|reason| damage(row, reason))
}

/// Everything that the head's checksum covers.
struct Head<'a> {
    numbers: [i64; 14],
    texts: [&'a [u8]; 13],
    /// Pose (empty where there is none), covariance, embedding.
    blobs: [&'a [u8]; 3],
}

impl Head<'_> {
    fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.numbers.iter().for_each(|n| hasher.update(&n.to_le_bytes()));
        for field in self.texts.iter().chain(&self.blobs) {
            // With its length, so that a byte cannot move from one field to the next unnoticed.
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        hasher.finalize()
    }
}

fn head(row: &Row<'_>) -> Result<Record, String> {
    let pose = match value(row, 16)? {
        ValueRef::Null => &[],
        ValueRef::Blob(bytes) => bytes,
        _ => return Err(wrong_type(row, 16, Type::Blob)),
    };
    let importance = value(row, 11)?.as_f64().map_err(|_| wrong_type(row, 11, Type::Real))?;
    let number = |column| number(row, column);
    let bytes = |column| bytes(row, column);
    let head = Head {
        numbers: [
            number(0)?,
            number(3)?,
            number(5)?,
            number(6)?,
            number(7)?,
            number(8)?,
            number(9)?,
            number(10)?,
            importance.to_bits() as i64,
            number(12)?,
            number(13)?,
            number(24)?,
            number(PAYLOAD_CRC)?,
            number(LENGTH)?,
        ],
        texts: [
            bytes(1)?,
            bytes(2)?,
            bytes(4)?,
            bytes(14)?,
            bytes(15)?,
            bytes(18)?,
            bytes(19)?,
            bytes(20)?,
            bytes(21)?,
            bytes(22)?,
            bytes(23)?,
            bytes(25)?,
            bytes(26)?,
        ],
        blobs: [pose, bytes(17)?, bytes(27)?],
    };
    if i64::from(head.crc()) != number(HEAD_CRC)? {
        return Err("its fields do not match their checksum".to_owned());
    }
    let [_, version, time, last, observed, valid_from, valid_until, expires, _, pinned, sightings, bag_offset, ..] =
        head.numbers;
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).map_err(|e| e.to_string());
    let list = |field: &[u8]| -> Result<Vec<String>, String> {
        if field == b"[]" { Ok(Vec::new()) } else { serde_json::from_slice(field).map_err(|e| e.to_string()) }
    };
    let [namespace, id, model_id, frame_id, map_id, labels, words, robot, node, topic, bag, parents, payload_type] =
        head.texts;
    let [_, covariance, embedding] = head.blobs;
    let record = Record {
        id: text(id)?,
        namespace: text(namespace)?,
        model_id: text(model_id)?,
        embedding: embedding.chunks_exact(4).filter_map(|v| v.try_into().ok().map(f32::from_le_bytes)).collect(),
        time: Stamp(time),
        observed: Stamp(observed),
        valid_from: not_zero(valid_from),
        valid_until: not_zero(valid_until),
        expires: not_zero(expires),
        frame_id: text(frame_id)?,
        map_id: text(map_id)?,
        pose: if pose.is_empty() { None } else { Some(pose_of(pose)?) },
        covariance: covariance.chunks_exact(8).filter_map(|v| v.try_into().ok().map(f64::from_le_bytes)).collect(),
        labels: list(labels)?,
        text: text(words)?,
        importance: importance as f32,
        pinned: pinned != 0,
        robot: text(robot)?,
        node: text(node)?,
        topic: text(topic)?,
        bag: text(bag)?,
        bag_offset: u64::from_le_bytes(bag_offset.to_le_bytes()),
        parents: list(parents)?,
        payload_type: text(payload_type)?,
        payload: Vec::new(),
        version: version.unsigned_abs(),
        sightings: sightings.unsigned_abs(),
        last_seen: Stamp(last),
    };
    // Whoever wrote it with a right checksum may still have written what we would have refused.
    record.validate().map_err(|e| e.to_string())?;
    Ok(record)
}

fn or_zero(stamp: Option<Stamp>) -> i64 {
    stamp.map_or(0, |Stamp(ns)| ns)
}

fn not_zero(ns: i64) -> Option<Stamp> {
    (ns != 0).then_some(Stamp(ns))
}

fn pose_bytes(pose: &Isometry3<f64>) -> Vec<u8> {
    let (at, turn) = (pose.translation, pose.rotation.coords);
    doubles(&[at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w])
}

fn doubles(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A pose from its bytes.
pub(crate) fn pose_of(bytes: &[u8]) -> Result<Isometry3<f64>, String> {
    let numbers: Vec<f64> = bytes.chunks_exact(8).filter_map(|v| v.try_into().ok().map(f64::from_le_bytes)).collect();
    let [x, y, z, qx, qy, qz, qw] =
        <[f64; 7]>::try_from(numbers).map_err(|n| format!("its pose has {} numbers instead of 7", n.len()))?;
    // As stored: normalising again would change the last bits at every reading.
    let turn = UnitQuaternion::new_unchecked(Quaternion::new(qw, qx, qy, qz));
    Ok(Isometry3::from_parts(Translation3::new(x, y, z), turn))
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
