//! What the simulated group does: registers, and a record of every command, which no member may apply twice or in another
//! order than the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::application::Application;
use crate::types::Epoch;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Command {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) key: u64,
    /// None: write.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) expected: Option<u64>,
    #[prost(uint64, tag = "4")]
    pub(crate) new: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Done {
    #[prost(bool, tag = "1")]
    pub(crate) changed: bool,
}

/// What all members applied so far: the digest of the first commands, by how many.
pub(crate) type Chain = Arc<Mutex<BTreeMap<u64, u32>>>;

pub(crate) struct Registers(pub(crate) Chain);

impl Application for Registers {
    type Command = Command;
    type Reply = Done;

    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS registers (key INTEGER PRIMARY KEY, value INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS applied (place INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, digest INTEGER);",
        )
    }

    fn apply(&self, database: &Connection, epoch: Epoch, command: Command) -> rusqlite::Result<Result<Done, String>> {
        let (place, digest) = tip(database)?;
        let digest = crc32c::crc32c_append(digest, &command.encode_to_vec());
        let digest = crc32c::crc32c_append(digest, &epoch.to_le_bytes());
        let place = place + 1;
        let known = *self.0.lock().unwrap().entry(place).or_insert(digest);
        assert_eq!(known, digest, "command {place} is another one here");
        // Fails where the command was applied before.
        let insert = "INSERT INTO applied VALUES (?, ?, ?)";
        let inserted = database.prepare_cached(insert)?.execute(params![place as i64, command.id as i64, digest]);
        inserted.unwrap_or_else(|error| panic!("command {} was applied twice: {error}", command.id));
        let changed = match command.expected {
            Some(expected) => value(database, command.key)? == expected,
            None => true,
        };
        if changed {
            let write = "INSERT OR REPLACE INTO registers VALUES (?, ?)";
            database.prepare_cached(write)?.execute(params![command.key as i64, command.new as i64])?;
        }
        Ok(Ok(Done { changed }))
    }
}

/// How many commands were applied, and their digest.
pub(crate) fn tip(database: &Connection) -> rusqlite::Result<(u64, u32)> {
    let select = "SELECT place, digest FROM applied ORDER BY place DESC LIMIT 1";
    let row = database.prepare_cached(select)?.query_row([], |r| Ok((r.get::<_, i64>(0)? as u64, r.get(1)?)));
    Ok(row.optional()?.unwrap_or_default())
}

pub(crate) fn value(database: &Connection, key: u64) -> rusqlite::Result<u64> {
    let select = "SELECT value FROM registers WHERE key = ?";
    let row = database.prepare_cached(select)?.query_row([key as i64], |r| r.get::<_, i64>(0));
    Ok(row.optional()?.unwrap_or_default() as u64)
}

/// Whether a command was applied.
pub(crate) fn has(database: &Connection, id: u64) -> rusqlite::Result<bool> {
    database.prepare_cached("SELECT 1 FROM applied WHERE id = ?")?.exists([id as i64])
}
