//! From older schemas to the newest, in one transaction each.

use ecps_core::clock::Stamp;
use rusqlite::{Connection, Row, TransactionBehavior};

use super::{file, row};
use crate::record::Record;

const SELECT_1: &str = "SELECT row, namespace, id, version, model_id, time_ns, frame_id, pose, labels, robot, topic, \
    payload_type, embedding, payload_crc, head_crc, payload FROM record_1 ORDER BY row";

/// Version 1 knew one time, one frame and labels. A row that is damaged is carried over with its old checksum, so that it is
/// still named as damaged.
pub(super) fn from_1(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch("DROP INDEX record_by_id; ALTER TABLE record RENAME TO record_1;")?;
    file::lay_out(&transaction)?;
    {
        let mut statement = transaction.prepare(SELECT_1)?;
        let mut rows = statement.query([])?;
        while let Some(old) = rows.next()? {
            let number: i64 = old.get(0)?;
            match whole_1(old) {
                Ok(record) => row::insert(&transaction, number, &record)?,
                Err(_) => {
                    transaction.execute(CARRY_DAMAGED, [number])?;
                }
            }
        }
    }
    transaction.execute_batch("DROP TABLE record_1;")?;
    transaction.commit()?;
    // Pages can be given back only where the file was laid out for it.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.execute_batch("VACUUM;")
}

const CARRY_DAMAGED: &str = "INSERT INTO record SELECT row, namespace, id, version, model_id, time_ns, time_ns, 0, 0, 0, 0, \
    0.5, 0, 1, frame_id, '', pose, x'', labels, '', robot, '', topic, '', 0, '[]', payload_type, embedding, payload_crc, \
    head_crc, payload FROM record_1 WHERE row = ?1";

fn whole_1(row: &Row<'_>) -> Result<Record, String> {
    let bytes = |column: usize| -> Result<Vec<u8>, String> {
        let value = row.get_ref(column).map_err(|e| e.to_string())?;
        Ok(value.as_bytes_or_null().map_err(|e| e.to_string())?.unwrap_or_default().to_vec())
    };
    let number = |column: usize| row.get::<_, i64>(column).map_err(|e| e.to_string());
    let (pose, embedding, payload) = (bytes(7)?, bytes(12)?, bytes(15)?);
    let texts = [1, 2, 4, 6, 8, 9, 10, 11].map(bytes).into_iter().collect::<Result<Vec<_>, _>>()?;
    let payload_crc = number(13)?;
    let mut hasher = crc32fast::Hasher::new();
    for n in [number(0)?, number(3)?, number(5)?, payload_crc, payload.len() as i64] {
        hasher.update(&n.to_le_bytes());
    }
    for field in texts.iter().chain([&pose, &embedding]) {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    if i64::from(hasher.finalize()) != number(14)? || i64::from(crc32fast::hash(&payload)) != payload_crc {
        return Err("it does not match its checksums".into());
    }
    let mut texts = texts.into_iter().map(|text| String::from_utf8(text).map_err(|e| e.to_string()));
    let mut text = || texts.next().unwrap_or_else(|| Ok(String::new()));
    let (namespace, id, model_id, frame_id, labels) = (text()?, text()?, text()?, text()?, text()?);
    let record = Record {
        namespace,
        id,
        model_id,
        frame_id,
        labels: serde_json::from_str(&labels).map_err(|e| e.to_string())?,
        robot: text()?,
        topic: text()?,
        payload_type: text()?,
        embedding: embedding.chunks_exact(4).filter_map(|v| v.try_into().ok().map(f32::from_le_bytes)).collect(),
        time: Stamp(number(5)?),
        last_seen: Stamp(number(5)?),
        sightings: 1,
        pose: if pose.is_empty() { None } else { Some(row::pose_of(&pose)?) },
        payload,
        version: number(3)?.unsigned_abs(),
        ..Record::default()
    };
    record.validate().map_err(|e| e.to_string())?;
    Ok(record)
}
