//! Looking at the queue.

use prost::Message as _;
use rusqlite::{Connection, Row, params};

use super::machine::state_of;
use super::task::{State, Task};

/// How many tasks there are, by their state.
pub type Counts = [u64; State::COUNT];

/// A task, and what has become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Grows with each submission.
    pub number: u64,
    /// As it was submitted.
    pub task: Task,
    /// What has become of it.
    pub state: State,
    /// Why it waits or ended.
    pub reason: String,
    /// Who has it, or had it last.
    pub agent: String,
    /// The epoch of theirs in which they got it.
    pub agent_epoch: u64,
    /// The number of the latest award; 0: none yet.
    pub award: u64,
    /// Whether its agent had begun.
    pub begun: bool,
    /// 0 to 1, as last reported.
    pub progress: f64,
    /// Nanoseconds of ROS time.
    pub submitted: i64,
    /// Nanoseconds of ROS time; 0: not yet.
    pub finished: i64,
    /// What the agent said at the end.
    pub result: Vec<u8>,
}

const COLUMNS: &str =
    "number, task, state, reason, agent, agent_epoch, award, begun, progress, submitted, finished, result";

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let unsigned = |number: i64| number.unsigned_abs();
    // The state machine wrote it, so that it can be read; a damaged file does not get as far as here.
    let task = Task::decode(row.get_ref(1)?.as_blob()?).unwrap_or_default();
    Ok(Entry {
        number: unsigned(row.get(0)?),
        task,
        state: state_of(row.get(2)?),
        reason: row.get(3)?,
        agent: row.get(4)?,
        agent_epoch: unsigned(row.get(5)?),
        award: unsigned(row.get(6)?),
        begun: row.get(7)?,
        progress: row.get(8)?,
        submitted: row.get(9)?,
        finished: row.get(10)?,
        result: row.get(11)?,
    })
}

/// All tasks that have not ended, in the order of their submission.
///
/// # Errors
/// As SQLite says.
pub fn open(database: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let select = format!("SELECT {COLUMNS} FROM swarm_tasks WHERE state < 4 ORDER BY number");
    database.prepare_cached(&select)?.query_map([], entry)?.collect()
}

/// The tasks that `agent` holds in `epoch`, in the order of their awards.
///
/// # Errors
/// As SQLite says.
pub fn held_by(database: &Connection, agent: &str, epoch: u64) -> rusqlite::Result<Vec<Entry>> {
    let select = format!(
        "SELECT {COLUMNS} FROM swarm_tasks WHERE agent = ? AND agent_epoch = ? AND state IN (2, 3) ORDER BY award"
    );
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    database.prepare_cached(&select)?.query_map(params![agent, epoch], entry)?.collect()
}

/// The open tasks, then the latest that ended, at most `most` in all; and how many there are by state.
///
/// # Errors
/// As SQLite says.
pub fn newest(database: &Connection, most: usize) -> rusqlite::Result<(Vec<Entry>, Counts)> {
    let mut entries = open(database)?;
    entries.truncate(most);
    let select =
        format!("SELECT {COLUMNS} FROM swarm_tasks WHERE state >= 4 ORDER BY finished DESC, number DESC LIMIT ?");
    let left = i64::try_from(most - entries.len()).unwrap_or(i64::MAX);
    let ended: Vec<Entry> = database.prepare_cached(&select)?.query_map([left], entry)?.collect::<Result<_, _>>()?;
    entries.extend(ended);
    let mut counts = Counts::default();
    let mut select = database.prepare_cached("SELECT count FROM swarm_counts ORDER BY state")?;
    for (count, found) in counts.iter_mut().zip(select.query_map([], |row| row.get::<_, i64>(0))?) {
        *count = found?.unsigned_abs();
    }
    Ok((entries, counts))
}
