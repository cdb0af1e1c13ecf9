//! What the writer does by itself, between commits: restoring, moving a map, and notes of the keeper.

use std::sync::PoisonError;

use nalgebra::Matrix6;
use rusqlite::TransactionBehavior;

use super::{Apart, Reanchor, Writer};
use crate::arena::Placed;
use crate::error::KeepError;
use crate::record::Record;
use crate::store::storage::Storage;
use crate::store::{LoadError, snapshot};

impl Writer {
    pub(super) fn apart(&mut self, job: Apart) {
        // An asker who no longer listens is no matter.
        match job {
            Apart::Restore(path, answering) => {
                let restored = self.restore(&path);
                let _ = answering.send(self.counted(restored));
            }
            Apart::Reanchor(reanchor, answering) => {
                let moved = self.reanchor(&reanchor);
                let _ = answering.send(self.counted(moved));
            }
            Apart::Note(touched, graph, answering) => {
                let _ = answering.send(self.note(&touched, graph).map_err(Into::into));
            }
        }
    }

    fn counted<T>(&self, result: Result<T, KeepError>) -> Result<T, KeepError> {
        result.inspect_err(|reason| self.shared.counters.refused(reason))
    }

    /// Everything from the snapshot, in one transaction; the index is filled anew before anyone looks.
    fn restore(&mut self, path: &std::path::Path) -> Result<u64, KeepError> {
        snapshot::check(path)?;
        self.connection.execute("ATTACH ?1 AS snapshot", [path.to_string_lossy()])?;
        let restored = self.take_over();
        // Where it stays attached, the next attempt says so.
        let _ = self.connection.execute_batch("DETACH snapshot");
        restored?;
        Ok(self.shared.index.read().unwrap_or_else(PoisonError::into_inner).records() as u64)
    }

    fn take_over(&mut self) -> Result<(), KeepError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "DELETE FROM record;
             INSERT INTO record SELECT * FROM snapshot.record;
             INSERT INTO record_text (record_text) VALUES ('rebuild');
             DELETE FROM touched;
             INSERT INTO touched SELECT * FROM snapshot.touched;
             DELETE FROM graph_file;",
        )?;
        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        transaction.commit()?;
        let last = self.shared.load(&self.connection).map_err(|error| match error {
            LoadError::Sqlite(error) => error.into(),
            LoadError::Rows { count, ids } => {
                KeepError::Snapshot(format!("its table has {count} rows, and its index of ids has {ids}"))
            }
        })?;
        self.last_row = self.last_row.max(last);
        Ok(())
    }

    fn reanchor(&mut self, reanchor: &Reanchor) -> Result<u64, KeepError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows: Vec<i64> = transaction
            .prepare(
                "SELECT row FROM record WHERE namespace = ?1 AND frame_id = ?2 AND map_id = ?3 AND pose IS NOT NULL",
            )?
            .query_map((&reanchor.namespace, &reanchor.frame_id, &reanchor.map_id), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut moved = Vec::new();
        for number in rows {
            // What is damaged stays as it is, and stays named.
            let Some(Ok(mut record)) = transaction.read(number)? else { continue };
            move_record(&mut record, reanchor);
            record.validate()?;
            transaction.change(number, &record)?;
            if let Some(pose) = record.pose {
                moved.push((number, pose.translation));
            }
        }
        let _gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        transaction.commit()?;
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        for (row, to) in &moved {
            index.change(*row, &reanchor.namespace, |facts| {
                facts.place = facts.place.map(|place| Placed { at: [to.x, to.y, to.z], ..place });
            });
        }
        Ok(moved.len() as u64)
    }

    fn note(&mut self, touched: &[(i64, u64)], graph: Option<(Vec<u8>, usize)>) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let sql = "INSERT OR REPLACE INTO touched (row, query) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM record WHERE row = ?1)";
            let mut note = transaction.prepare_cached(sql)?;
            for (row, query) in touched {
                note.execute((row, i64::try_from(*query).unwrap_or(i64::MAX)))?;
            }
        }
        if let Some((digest, nodes)) = graph {
            transaction.execute(
                "INSERT OR REPLACE INTO graph_file (one, digest, nodes) VALUES (1, ?1, ?2)",
                (digest, nodes as i64),
            )?;
            transaction.execute("DELETE FROM touched WHERE row NOT IN (SELECT row FROM record)", [])?;
        }
        transaction.commit()
    }
}

/// The pose in the new frame, and its covariance with it: both of its halves turn.
fn move_record(record: &mut Record, reanchor: &Reanchor) {
    record.pose = record.pose.map(|pose| reanchor.transform * pose);
    record.version = record.version.saturating_add(1);
    if record.covariance.len() == crate::record::COVARIANCE {
        let turn = reanchor.transform.rotation.to_rotation_matrix();
        let mut both = Matrix6::zeros();
        both.fixed_view_mut::<3, 3>(0, 0).copy_from(turn.matrix());
        both.fixed_view_mut::<3, 3>(3, 3).copy_from(turn.matrix());
        let old = Matrix6::from_row_slice(&record.covariance);
        let new = both * old * both.transpose();
        record.covariance = new.transpose().iter().copied().collect();
    }
}
