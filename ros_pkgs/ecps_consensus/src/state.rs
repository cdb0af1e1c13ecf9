//! The state machine in SQLite: the application's tables, what clients were answered, and how far the log is applied, all
//! in one transaction.

use std::io::Cursor;

use openraft::EntryPayload;
use prost::Message as _;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OptionalExtension as _, params};
use thiserror::Error;

use crate::runtime::Runtime;
use crate::types::{self, Answers, Entry, Epoch, LogId, StoredMembership};
use crate::wire::{self, Answer, Proposal, answer};

/// Clients whose last answers are kept. The one that was silent longest is forgotten first.
pub const SESSIONS: u64 = 10_000;
/// First bytes of a snapshot.
const MAGIC: [u8; 8] = *b"ECPSRAFT";

/// What an application does with commands. Each member calls it with the same ones in the same order, so that it must
/// depend on nothing else: not on time, not on chance, not on the member.
pub trait Apply: Send + 'static {
    /// Makes the tables, where they are missing. Their names must not begin with `raft_`.
    ///
    /// # Errors
    /// As SQLite says.
    fn create(&self, database: &Connection) -> rusqlite::Result<()>;

    /// Carries out a command of a leader of `epoch`, or refuses it with a reason; then what it changed is undone.
    ///
    /// # Errors
    /// As SQLite says, which stops the member.
    fn apply(&self, database: &Connection, epoch: Epoch, command: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>>;
}

/// Why the state machine cannot go on.
#[derive(Debug, Error)]
pub enum StateError {
    /// SQLite refused.
    #[error("the state machine's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// A snapshot that is not what was written.
    #[error("the snapshot is damaged: {0}")]
    Snapshot(String),
    /// The system refused to read or write a snapshot.
    #[error("the snapshot cannot be read or written: {0}")]
    Disk(#[from] std::io::Error),
}

/// A member's state machine.
pub(crate) struct State {
    database: Connection,
    application: Box<dyn Apply>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl State {
    pub(crate) fn open(database: Connection, application: Box<dyn Apply>) -> Result<State, StateError> {
        let mut state = State { database, application, applied: None, membership: StoredMembership::default() };
        state.prepare()?;
        Ok(state)
    }

    /// Makes what tables are missing, and reads how far the log is applied.
    fn prepare(&mut self) -> Result<(), StateError> {
        self.database.execute_batch(
            "CREATE TABLE IF NOT EXISTS raft_state (id INTEGER PRIMARY KEY CHECK (id = 0), meta BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS raft_sessions (client BLOB PRIMARY KEY, sequence INTEGER NOT NULL,
                 answer BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS raft_sessions_used ON raft_sessions (used);",
        )?;
        self.application.create(&self.database)?;
        let select = "SELECT meta FROM raft_state";
        let meta: Option<Vec<u8>> = self.database.query_row(select, [], |row| row.get(0)).optional()?;
        (self.applied, self.membership) = (None, StoredMembership::default());
        if let Some(bytes) = meta {
            let damaged = |text: String| StateError::Snapshot(text);
            let meta = wire::SnapshotMeta::decode(bytes.as_slice()).map_err(|e| damaged(e.to_string()))?;
            let meta = types::SnapshotMeta::try_from(&meta).map_err(|e| damaged(e.to_string()))?;
            (self.applied, self.membership) = (meta.last_log_id, meta.last_membership);
        }
        Ok(())
    }

    pub(crate) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    pub(crate) fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    pub(crate) fn database(&self) -> &Connection {
        &self.database
    }

    /// What describes the state as it is.
    pub(crate) fn meta(&self) -> types::SnapshotMeta {
        let last_log_id = self.applied;
        let snapshot_id = last_log_id.map_or_else(|| "0".to_owned(), |id| id.to_string());
        types::SnapshotMeta { last_log_id, last_membership: self.membership.clone(), snapshot_id }
    }

    /// Applies entries in one transaction.
    pub(crate) fn apply<R: Runtime>(&mut self, entries: Vec<Entry<R>>) -> Result<Vec<Answers>, StateError> {
        let transaction = self.database.unchecked_transaction()?;
        let mut all = Vec::with_capacity(entries.len());
        let mut membership = None;
        let mut applied = self.applied;
        for entry in entries {
            let mut answers = Vec::new();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(new) => membership = Some(StoredMembership::new(Some(entry.log_id), new)),
                EntryPayload::Normal(batch) => {
                    for proposal in batch.0.iter() {
                        answers.push(answer(&self.database, self.application.as_ref(), entry.log_id, proposal)?);
                    }
                }
            }
            all.push(Answers(answers));
            applied = Some(entry.log_id);
        }
        let before = (self.applied, self.membership.clone());
        self.applied = applied;
        if let Some(membership) = membership {
            self.membership = membership;
        }
        let done = self.save_meta().and_then(|()| Ok(transaction.commit()?));
        if done.is_err() {
            (self.applied, self.membership) = before;
        }
        done.map(|()| all)
    }

    fn save_meta(&self) -> Result<(), StateError> {
        let meta = wire::SnapshotMeta::from(&self.meta()).encode_to_vec();
        self.database.prepare_cached("INSERT OR REPLACE INTO raft_state VALUES (0, ?)")?.execute([meta])?;
        Ok(())
    }

    /// The whole state as bytes, with a checksum.
    pub(crate) fn snapshot(&mut self) -> Result<Vec<u8>, StateError> {
        let mut database = self.database.serialize("main")?.to_vec();
        // A database that had a write-ahead log cannot be read from memory unless its head says otherwise (SQLite, on
        // sqlite3_deserialize).
        if let Some(versions) = database.get_mut(18..20) {
            versions.fill(1);
        }
        let snapshot = wire::Snapshot { meta: Some((&self.meta()).into()), database };
        let mut bytes = MAGIC.to_vec();
        let body = snapshot.encode_to_vec();
        bytes.extend(crc32c::crc32c(&body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// Becomes what a snapshot holds, at once or not at all.
    pub(crate) fn install(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (_, database) = open_snapshot(bytes)?;
        let mut source = Connection::open_in_memory()?;
        let size = database.len();
        source.deserialize_read_exact("main", Cursor::new(database), size, true)?;
        Backup::new(&source, &mut self.database)?.run_to_completion(i32::MAX, std::time::Duration::ZERO, None)?;
        self.database.flush_prepared_statement_cache();
        self.prepare()
    }
}

/// Checks a snapshot and takes it apart.
pub(crate) fn open_snapshot(bytes: &[u8]) -> Result<(types::SnapshotMeta, Vec<u8>), StateError> {
    let damaged = |text: &str| StateError::Snapshot(text.to_owned());
    let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| damaged("it does not begin as one"))?;
    let (sum, body) = rest.split_first_chunk().ok_or_else(|| damaged("it is cut short"))?;
    let (found, computed) = (u32::from_le_bytes(*sum), crc32c::crc32c(body));
    if found != computed {
        return Err(damaged(&format!("its checksum is {found:#010x} and its bytes give {computed:#010x}")));
    }
    let snapshot = wire::Snapshot::decode(body).map_err(|e| damaged(&e.to_string()))?;
    let meta = snapshot.meta.ok_or_else(|| damaged("it does not say what it is of"))?;
    let meta = types::SnapshotMeta::try_from(&meta).map_err(|e| damaged(&e.to_string()))?;
    Ok((meta, snapshot.database))
}

/// Carries out one command, unless it was before: then the first answer holds.
fn answer(
    database: &Connection,
    application: &dyn Apply,
    at: LogId,
    proposal: &Proposal,
) -> Result<Answer, StateError> {
    let refused = |text: String| Answer { at: Some((&at).into()), what: Some(answer::What::Refused(text)) };
    let sequence = i64::try_from(proposal.sequence).unwrap_or(i64::MAX);
    let known: Option<(i64, Vec<u8>)> = database
        .prepare_cached("SELECT sequence, answer FROM raft_sessions WHERE client = ?")?
        .query_row([&proposal.client], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match &known {
        Some((last, bytes)) if *last == sequence => {
            return Answer::decode(bytes.as_slice()).map_err(|e| StateError::Snapshot(e.to_string()));
        }
        Some((last, _)) if *last > sequence => {
            return Ok(refused(format!("command {sequence} comes after command {last} of the same client")));
        }
        _ => {}
    }
    database.prepare_cached("SAVEPOINT command")?.execute([])?;
    let epoch = at.leader_id.term;
    let answer = match application.apply(database, epoch, &proposal.command)? {
        Ok(reply) => Answer { at: Some((&at).into()), what: Some(answer::What::Reply(reply)) },
        Err(reason) => {
            database.prepare_cached("ROLLBACK TO command")?.execute([])?;
            refused(reason)
        }
    };
    database.prepare_cached("RELEASE command")?.execute([])?;
    let used = i64::try_from(at.index).unwrap_or(i64::MAX);
    database.prepare_cached("INSERT OR REPLACE INTO raft_sessions VALUES (?, ?, ?, ?)")?.execute(params![
        proposal.client,
        sequence,
        answer.encode_to_vec(),
        used
    ])?;
    if known.is_none() {
        let count: u64 = database
            .prepare_cached("SELECT COUNT(*) FROM raft_sessions")?
            .query_row([], |row| row.get::<_, i64>(0))?
            .unsigned_abs();
        if count > SESSIONS {
            let oldest = "SELECT client FROM raft_sessions ORDER BY used, client LIMIT 1";
            database.prepare_cached(&format!("DELETE FROM raft_sessions WHERE client IN ({oldest})"))?.execute([])?;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    /// Replies with how many commands it was given.
    struct Counter;

    impl Apply for Counter {
        fn create(&self, database: &Connection) -> rusqlite::Result<()> {
            database.execute_batch("CREATE TABLE IF NOT EXISTS count (n INTEGER); INSERT INTO count VALUES (0)")
        }

        fn apply(&self, database: &Connection, _: Epoch, _: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>> {
            let update = "UPDATE count SET n = n + 1 RETURNING n";
            Ok(Ok(database.query_row(update, [], |row| row.get::<_, i64>(0))?.to_le_bytes().to_vec()))
        }
    }

    #[test]
    fn the_client_that_was_silent_longest_is_forgotten_first() {
        let state = State::open(Connection::open_in_memory().unwrap(), Box::new(Counter)).unwrap();
        let ask = |client: u64, index: u64| {
            let mut name = client.to_le_bytes().to_vec();
            name.resize(types::CLIENT_BYTES, 0);
            let at = LogId::new(CommittedLeaderId::new(1, 0), index);
            let proposal = Proposal { client: name, sequence: 1, command: Vec::new() };
            answer(&state.database, &Counter, at, &proposal).unwrap().what.unwrap()
        };
        let first: Vec<_> = (0..SESSIONS).map(|client| ask(client, client)).collect();
        // All are known, and none counts again.
        for client in [0, 1, SESSIONS - 1] {
            assert_eq!(ask(client, SESSIONS), first[client as usize]);
        }
        let newest = ask(SESSIONS, SESSIONS + 1);
        assert_eq!(ask(SESSIONS, SESSIONS + 2), newest);
        assert_eq!(ask(1, SESSIONS + 3), first[1], "another than the oldest was forgotten");
        assert_ne!(ask(0, SESSIONS + 4), first[0], "the oldest is still known");
    }
}
