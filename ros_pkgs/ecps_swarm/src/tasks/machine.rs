//! The queue as a replicated state machine: the same commands in the same order give the same tables everywhere.

use ecps_consensus::application::Application;
use ecps_consensus::types::Epoch;
use ecps_core::check;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::command::what::What;
use super::command::{Award, Code, Command, Decision, Outcome, Release, Reply, Report, Withdrawal};
use super::task::{PAYLOAD_BYTES, State, Task};
use crate::agents::{HELD_TASKS, ID_BYTES};
use crate::movement::table;

/// Most tasks that have not ended.
pub const OPEN_TASKS: i64 = 1_000;
/// Most ended tasks that are remembered, so that an id is not taken twice.
pub const FINISHED_TASKS: i64 = 10_000;
/// How long they are, nanoseconds of ROS time.
pub const KEPT_FOR: i64 = 3_600_000_000_000;
/// Longest reason, bytes.
const REASON_BYTES: usize = 512;

/// The queue of tasks, and how the robots that have none move. All of it is in the tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tasks;

type Answered = rusqlite::Result<Reply>;

impl Application for Tasks {
    type Command = Command;
    type Reply = Reply;

    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS swarm_tasks (
                 number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, task BLOB NOT NULL, state INTEGER NOT NULL,
                 reason TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '', agent_epoch INTEGER NOT NULL DEFAULT 0,
                 award INTEGER NOT NULL DEFAULT 0, begun INTEGER NOT NULL DEFAULT 0, progress REAL NOT NULL DEFAULT 0,
                 submitted INTEGER NOT NULL, finished INTEGER NOT NULL DEFAULT 0, result BLOB NOT NULL DEFAULT x'');
             CREATE INDEX IF NOT EXISTS swarm_tasks_state ON swarm_tasks (state, number);
             CREATE INDEX IF NOT EXISTS swarm_tasks_agent ON swarm_tasks (agent) WHERE state IN (2, 3);
             CREATE INDEX IF NOT EXISTS swarm_tasks_finished ON swarm_tasks (finished) WHERE state >= 4;
             CREATE TABLE IF NOT EXISTS swarm_dependencies (
                 needs TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (needs, task)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS swarm_dependencies_task ON swarm_dependencies (task);
             CREATE TABLE IF NOT EXISTS swarm_counts (state INTEGER PRIMARY KEY, count INTEGER NOT NULL);
             INSERT OR IGNORE INTO swarm_counts VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0);
             CREATE TABLE IF NOT EXISTS swarm_awards (id INTEGER PRIMARY KEY CHECK (id = 0), last INTEGER NOT NULL);
             INSERT OR IGNORE INTO swarm_awards VALUES (0, 0);",
        )?;
        database.execute_batch(table::CREATE)
    }

    fn apply(&self, database: &Connection, epoch: Epoch, command: Command) -> rusqlite::Result<Result<Reply, String>> {
        let queue = Queue { database, at: command.at };
        let reply = match command.what {
            None => Reply::refused(Code::Invalid, "the command asks for nothing"),
            Some(What::Submit(task)) => queue.submit(task)?,
            Some(What::Cancel(cancel)) => queue.cancel(&cancel.id)?,
            Some(What::Decide(decision)) if decision.epoch != epoch => outdated(decision.epoch, epoch),
            Some(What::Decide(decision)) => queue.decide(decision)?,
            Some(What::Release(release)) if release.epoch != epoch => outdated(release.epoch, epoch),
            Some(What::Release(release)) => queue.release(&release)?,
            Some(What::Report(report)) => queue.report(report)?,
            Some(What::Move(movement)) => table::set(database, movement)?,
            Some(What::Plan(plan)) if plan.epoch != epoch => outdated(plan.epoch, epoch),
            Some(What::Plan(plan)) => table::plan(database, &plan)?,
        };
        Ok(Ok(reply))
    }
}

fn outdated(decided: u64, epoch: u64) -> Reply {
    Reply::refused(Code::Conflict, format!("decided by the leader of epoch {decided}, and this is epoch {epoch}"))
}

/// Numbers of the tables are signed; those from outside come to no more than fits.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is known of a task where a command meets it.
struct Row {
    number: i64,
    state: State,
    award: i64,
    begun: bool,
}

/// The tables, while one command is carried out.
struct Queue<'a> {
    database: &'a Connection,
    at: i64,
}

impl Queue<'_> {
    fn submit(&self, task: Task) -> Answered {
        if let Err(error) = task.check() {
            return Ok(Reply::refused(Code::Invalid, error.to_string()));
        }
        let bytes = task.encode_to_vec();
        let mut select = self.database.prepare_cached("SELECT task FROM swarm_tasks WHERE id = ?")?;
        let known: Option<Vec<u8>> = select.query_row([&task.id], |row| row.get(0)).optional()?;
        if let Some(known) = known {
            let conflict = || Reply::refused(Code::Conflict, format!("id '{}' belongs to another task", task.id));
            return Ok(if known == bytes { Reply::done(0) } else { conflict() });
        }
        let open = "SELECT COALESCE(SUM(count), 0) FROM swarm_counts WHERE state < 4";
        let open: i64 = self.database.prepare_cached(open)?.query_row([], |row| row.get(0))?;
        if open >= OPEN_TASKS {
            let text = format!("{open} tasks are open, as many as may be; send it again later");
            return Ok(Reply::refused(Code::Busy, text));
        }
        let mut unmet = Vec::new();
        for needed in &task.depends_on {
            match self.find(needed)?.map(|row| row.state) {
                None => {
                    let text = format!("task '{}' depends on '{needed}', which is not known", task.id);
                    return Ok(Reply::refused(Code::Invalid, text));
                }
                Some(State::Completed) => {}
                Some(state @ (State::Failed | State::Cancelled)) => {
                    let text = format!("task '{}' depends on '{needed}', which is {state:?}", task.id);
                    return Ok(Reply::refused(Code::Invalid, text));
                }
                Some(_) => unmet.push(needed),
            }
        }
        let state = if unmet.is_empty() { State::Waiting } else { State::Blocked };
        let insert = "INSERT INTO swarm_tasks (id, task, state, submitted, reason) VALUES (?, ?, ?, ?, ?)";
        let reason = if unmet.is_empty() { "not looked at yet" } else { "waits for the tasks that it depends on" };
        self.database.prepare_cached(insert)?.execute(params![task.id, bytes, state as i32, self.at, reason])?;
        self.count(state, 1)?;
        for needed in unmet {
            let insert = "INSERT OR IGNORE INTO swarm_dependencies VALUES (?, ?)";
            self.database.prepare_cached(insert)?.execute([needed, &task.id])?;
        }
        Ok(Reply::done(1))
    }

    fn cancel(&self, id: &str) -> Answered {
        let Some(row) = self.find(id)? else {
            return Ok(Reply::refused(Code::Conflict, format!("there is no task '{id}'")));
        };
        if row.state.is_final() {
            return Ok(match row.state {
                State::Cancelled => Reply::done(0),
                state => Reply::refused(Code::Conflict, format!("task '{id}' has ended already: it is {state:?}")),
            });
        }
        self.end(id, &row, State::Cancelled, "cancelled", &[])?;
        Ok(Reply::done(1))
    }

    fn decide(&self, decision: Decision) -> Answered {
        let mut changed = 0;
        for Withdrawal { task, award } in &decision.withdrawals {
            let Some(row) = self.find(task)? else { continue };
            // One that has begun meanwhile goes on where it is.
            if row.state == State::Awarded && row.award == signed(*award) {
                self.put_back(&row, "withdrawn for another agent")?;
                changed += 1;
            }
        }
        for award in &decision.awards {
            changed += u64::from(self.award(award)?);
        }
        for why in &decision.reasons {
            let reason: String = why.reason.chars().take(REASON_BYTES / 4).collect();
            let update = "UPDATE swarm_tasks SET reason = ? WHERE id = ? AND state = 1";
            changed += self.database.prepare_cached(update)?.execute(params![reason, why.task])? as u64;
        }
        self.forget()?;
        Ok(Reply::done(changed))
    }

    fn award(&self, award: &Award) -> rusqlite::Result<bool> {
        let Some(row) = self.find(&award.task)? else { return Ok(false) };
        let held = "SELECT COUNT(*) FROM swarm_tasks WHERE agent = ? AND state IN (2, 3)";
        let held: i64 = self.database.prepare_cached(held)?.query_row([&award.agent], |row| row.get(0))?;
        let named = check::name("agent", &award.agent, ID_BYTES).is_ok();
        if row.state != State::Waiting || held >= HELD_TASKS as i64 || !named {
            return Ok(false);
        }
        self.database.prepare_cached("UPDATE swarm_awards SET last = last + 1")?.execute([])?;
        let update =
            "UPDATE swarm_tasks SET state = 2, agent = ?, agent_epoch = ?, begun = 0, progress = 0, reason = '',
                          award = (SELECT last FROM swarm_awards) WHERE number = ?";
        let epoch = signed(award.agent_epoch);
        self.database.prepare_cached(update)?.execute(params![award.agent, epoch, row.number])?;
        self.moved(State::Waiting, State::Awarded)?;
        Ok(true)
    }

    fn release(&self, release: &Release) -> Answered {
        let select =
            "SELECT id FROM swarm_tasks WHERE agent = ? AND state IN (2, 3) AND agent_epoch <= ? ORDER BY number";
        let ids: Vec<String> = self
            .database
            .prepare_cached(select)?
            .query_map(params![release.agent, signed(release.agent_epoch)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let reason: String = release.reason.chars().take(REASON_BYTES / 4).collect();
        for id in &ids {
            if let Some(row) = self.find(id)? {
                self.put_back(&row, &reason)?;
            }
        }
        Ok(Reply::done(ids.len() as u64))
    }

    fn report(&self, report: Report) -> Answered {
        let (Ok(outcome), true) = (Outcome::try_from(report.outcome), (0.0..=1.0).contains(&report.progress)) else {
            let text = format!(
                "outcome is {} and progress {}; outcomes are 0 to 2, and progress is 0 to 1",
                report.outcome, report.progress
            );
            return Ok(Reply::refused(Code::Invalid, text));
        };
        if let Err(error) = check::at_most("result", report.result.len(), PAYLOAD_BYTES, "bytes") {
            return Ok(Reply::refused(Code::Invalid, error.to_string()));
        }
        let Some(row) = self.find(&report.task)? else {
            return Ok(Reply::refused(Code::Conflict, format!("there is no task '{}'", report.task)));
        };
        if row.award != signed(report.award) || row.award == 0 {
            let text = format!("task '{}' is now award {}, and this is of {}", report.task, row.award, report.award);
            return Ok(Reply::refused(Code::Conflict, text));
        }
        match (row.state, outcome) {
            // Told again, since the answer was lost.
            (State::Completed, Outcome::Completed) | (State::Failed, Outcome::Failed) => Ok(Reply::done(0)),
            (State::Awarded | State::Running, Outcome::Running) => {
                let update = "UPDATE swarm_tasks SET state = 3, begun = 1, progress = ? WHERE number = ?";
                self.database.prepare_cached(update)?.execute(params![report.progress, row.number])?;
                self.moved(row.state, State::Running)?;
                Ok(Reply::done(u64::from(row.state == State::Awarded)))
            }
            // Also where it was thought lost, as long as nobody else has it.
            (State::Running, _) | (State::Waiting, _) if row.begun && outcome != Outcome::Running => {
                let state = if outcome == Outcome::Completed { State::Completed } else { State::Failed };
                self.end(&report.task, &row, state, "", &report.result)?;
                let update = "UPDATE swarm_tasks SET progress = ? WHERE number = ?";
                self.database.prepare_cached(update)?.execute(params![report.progress, row.number])?;
                Ok(Reply::done(1))
            }
            (state, _) => {
                let text = format!(
                    "task '{}' is {state:?} and cannot become {outcome:?}; what is awarded is reported Running first",
                    report.task
                );
                Ok(Reply::refused(Code::Conflict, text))
            }
        }
    }

    /// To those that wait for an agent. Its last agent's name stays, for what that may still tell.
    fn put_back(&self, row: &Row, reason: &str) -> rusqlite::Result<()> {
        let update = "UPDATE swarm_tasks SET state = 1, reason = ? WHERE number = ?";
        self.database.prepare_cached(update)?.execute(params![reason, row.number])?;
        self.moved(row.state, State::Waiting)
    }

    /// Ends a task, and with one that did not complete those that depend on it.
    fn end(&self, id: &str, row: &Row, state: State, reason: &str, result: &[u8]) -> rusqlite::Result<()> {
        let mut ends = vec![(id.to_owned(), row.number, row.state, state, reason.to_owned(), result)];
        while let Some((id, number, before, state, reason, result)) = ends.pop() {
            let update = "UPDATE swarm_tasks SET state = ?, reason = ?, finished = ?, result = ? WHERE number = ?";
            let values = params![state as i32, reason, self.at, result, number];
            self.database.prepare_cached(update)?.execute(values)?;
            self.moved(before, state)?;
            // What it depended on itself is no matter any more.
            self.database.prepare_cached("DELETE FROM swarm_dependencies WHERE task = ?")?.execute([&id])?;
            let select = "SELECT task FROM swarm_dependencies WHERE needs = ? ORDER BY task";
            let dependants: Vec<String> = self
                .database
                .prepare_cached(select)?
                .query_map([&id], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            self.database.prepare_cached("DELETE FROM swarm_dependencies WHERE needs = ?")?.execute([&id])?;
            for dependant in dependants {
                let Some(row) = self.find(&dependant)? else { continue };
                if state == State::Completed {
                    self.unblock(&dependant, &row)?;
                } else if !row.state.is_final() {
                    let reason = format!("depends on '{id}', which is {state:?}");
                    ends.push((dependant, row.number, row.state, State::Failed, reason, &[]));
                }
            }
        }
        Ok(())
    }

    fn unblock(&self, id: &str, row: &Row) -> rusqlite::Result<()> {
        let left = "SELECT COUNT(*) FROM swarm_dependencies WHERE task = ?";
        let left: i64 = self.database.prepare_cached(left)?.query_row([id], |row| row.get(0))?;
        if left > 0 || row.state != State::Blocked {
            return Ok(());
        }
        let update = "UPDATE swarm_tasks SET state = 1, reason = 'not looked at yet' WHERE number = ?";
        self.database.prepare_cached(update)?.execute([row.number])?;
        self.moved(State::Blocked, State::Waiting)
    }

    /// Forgets ended tasks that are old or too many, by the clock of a leader.
    fn forget(&self) -> rusqlite::Result<()> {
        let ended = "SELECT SUM(count) FROM swarm_counts WHERE state >= 4";
        let ended: i64 = self.database.prepare_cached(ended)?.query_row([], |row| row.get(0))?;
        let select = "SELECT number, state FROM swarm_tasks WHERE state >= 4 AND finished < ?
                      UNION SELECT number, state FROM (SELECT number, state FROM swarm_tasks WHERE state >= 4
                      ORDER BY finished, number LIMIT ?)";
        let bounds = params![self.at.saturating_sub(KEPT_FOR), (ended - FINISHED_TASKS).max(0)];
        let old: Vec<(i64, i32)> = self
            .database
            .prepare_cached(select)?
            .query_map(bounds, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (number, state) in old {
            self.database.prepare_cached("DELETE FROM swarm_tasks WHERE number = ?")?.execute([number])?;
            self.count(state_of(state), -1)?;
        }
        Ok(())
    }

    fn find(&self, id: &str) -> rusqlite::Result<Option<Row>> {
        let select = "SELECT number, state, award, begun FROM swarm_tasks WHERE id = ?";
        let mut select = self.database.prepare_cached(select)?;
        let row = select.query_row([id], |row| {
            let state = state_of(row.get(1)?);
            Ok(Row { number: row.get(0)?, state, award: row.get(2)?, begun: row.get(3)? })
        });
        row.optional()
    }

    fn moved(&self, from: State, to: State) -> rusqlite::Result<()> {
        self.count(from, -1)?;
        self.count(to, 1)
    }

    fn count(&self, state: State, by: i64) -> rusqlite::Result<()> {
        let update = "UPDATE swarm_counts SET count = count + ? WHERE state = ?";
        self.database.prepare_cached(update)?.execute(params![by, state as i32]).map(drop)
    }
}

/// The tables hold no other numbers.
pub(super) fn state_of(number: i32) -> State {
    State::try_from(number).unwrap_or(State::Failed)
}

#[cfg(test)]
mod tests {
    use ecps_core::clock::Stamp;

    use super::super::command::{Cancel, Why};
    use super::super::queue;
    use super::*;

    struct Group {
        database: Connection,
        epoch: u64,
    }

    impl Group {
        fn new() -> Group {
            let database = Connection::open_in_memory().unwrap();
            Tasks.create(&database).unwrap();
            Group { database, epoch: 1 }
        }

        fn at(&self, at: i64, what: What) -> Reply {
            Tasks.apply(&self.database, self.epoch, Command::new(Stamp(at), what)).unwrap().unwrap()
        }

        fn submit(&self, task: Task) -> Code {
            self.at(5, What::Submit(task)).code()
        }

        fn decide(&self, decision: Decision) -> Reply {
            self.at(6, What::Decide(Decision { epoch: self.epoch, ..decision }))
        }

        fn award(&self, task: &str, agent: &str) -> u64 {
            let award = Award { task: task.to_owned(), agent: agent.to_owned(), agent_epoch: 1 };
            self.decide(Decision { awards: vec![award], ..Decision::default() }).changed
        }

        fn report(&self, task: &str, award: u64, outcome: Outcome) -> Code {
            let report = Report { task: task.to_owned(), award, outcome: outcome.into(), ..Report::default() };
            self.at(7, What::Report(report)).code()
        }

        fn release(&self, agent: &str) -> u64 {
            let release =
                Release { epoch: self.epoch, agent: agent.to_owned(), agent_epoch: 1, reason: "lost".to_owned() };
            self.at(8, What::Release(release)).changed
        }

        fn see(&self, id: &str) -> queue::Entry {
            let (entries, counts) = queue::newest(&self.database, 2_000).unwrap();
            let mut counted = queue::Counts::default();
            entries.iter().for_each(|entry| counted[entry.state as usize] += 1);
            assert_eq!(counts, counted, "what is counted along is what is there");
            entries.into_iter().find(|entry| entry.task.id == id).unwrap()
        }
    }

    fn task(id: &str, depends_on: &[&str]) -> Task {
        Task { id: id.to_owned(), depends_on: depends_on.iter().map(|&id| id.to_owned()).collect(), ..Task::default() }
    }

    #[test]
    fn a_task_goes_through_its_states_once_and_reports_once() {
        let group = Group::new();
        assert_eq!(group.submit(task("t", &[])), Code::Done);
        assert_eq!(group.report("t", 0, Outcome::Completed), Code::Conflict, "nobody has it");
        assert_eq!((group.award("t", "a"), group.award("t", "b")), (1, 0));
        assert_eq!(group.report("t", 1, Outcome::Completed), Code::Conflict, "it was not begun");
        assert_eq!(group.report("t", 1, Outcome::Running), Code::Done);
        assert_eq!(group.report("t", 2, Outcome::Completed), Code::Conflict);
        assert_eq!(group.report("t", 1, Outcome::Completed), Code::Done);
        assert_eq!(group.report("t", 1, Outcome::Completed), Code::Done, "the first answer again");
        assert_eq!(group.report("t", 1, Outcome::Failed), Code::Conflict);
        assert_eq!(group.report("t", 1, Outcome::Running), Code::Conflict);
        let seen = group.see("t");
        assert_eq!(
            (seen.state, seen.agent.as_str(), seen.award, seen.submitted, seen.finished),
            (State::Completed, "a", 1, 5, 7)
        );
    }

    #[test]
    fn the_same_id_twice_is_the_first_answer_or_a_conflict() {
        let group = Group::new();
        assert_eq!(group.at(1, What::Submit(task("t", &[]))).changed, 1);
        assert_eq!(group.at(2, What::Submit(task("t", &[]))), Reply::done(0));
        let other = Task { kind: "other".to_owned(), ..task("t", &[]) };
        assert_eq!(group.submit(other), Code::Conflict);
        group.award("t", "a");
        group.report("t", 1, Outcome::Running);
        group.report("t", 1, Outcome::Completed);
        assert_eq!(group.submit(task("t", &[])), Code::Done, "also once it has ended");
        assert_eq!(group.see("t").state, State::Completed);
    }

    #[test]
    fn dependants_wait_and_fail_with_what_they_wait_for() {
        let group = Group::new();
        for (id, needs) in [("a", &[][..]), ("b", &[]), ("c", &["a", "b"]), ("d", &["c"])] {
            assert_eq!(group.submit(task(id, needs)), Code::Done);
        }
        assert_eq!(group.submit(task("x", &["nobody"])), Code::Invalid);
        assert_eq!(group.award("c", "r"), 0, "it is blocked");
        group.award("a", "r");
        group.report("a", 1, Outcome::Running);
        group.report("a", 1, Outcome::Completed);
        assert_eq!(group.see("c").state, State::Blocked);
        group.award("b", "r");
        group.report("b", 2, Outcome::Running);
        group.report("b", 2, Outcome::Completed);
        assert_eq!((group.see("c").state, group.see("d").state), (State::Waiting, State::Blocked));
        assert_eq!(group.at(9, What::Cancel(Cancel { id: "c".to_owned() })).code(), Code::Done);
        let seen = group.see("d");
        assert_eq!((seen.state, seen.reason.as_str()), (State::Failed, "depends on 'c', which is Cancelled"));
        assert_eq!(group.submit(task("e", &["d"])), Code::Invalid);
    }

    #[test]
    fn an_agent_holds_five_and_one_that_is_gone_holds_none() {
        let group = Group::new();
        for n in 0..7 {
            group.submit(task(&n.to_string(), &[]));
        }
        let awarded: u64 = (0..6).map(|n| group.award(&n.to_string(), "a")).sum();
        assert_eq!(awarded, 5);
        assert_eq!(group.report("0", 1, Outcome::Running), Code::Done);
        assert_eq!(group.release("a"), 5);
        let (begun, not) = (group.see("0"), group.see("1"));
        assert_eq!((begun.state, begun.begun, begun.reason.as_str()), (State::Waiting, true, "lost"));
        assert_eq!((not.state, not.begun), (State::Waiting, false));
        assert_eq!(group.report("1", 2, Outcome::Running), Code::Conflict, "it may not begin any more");
        // What it had begun and finished while it was thought lost counts, until somebody else has it.
        assert_eq!(group.report("0", 1, Outcome::Completed), Code::Done);
        assert_eq!(group.award("1", "b"), 1);
        assert_eq!(group.report("1", 2, Outcome::Completed), Code::Conflict);
        assert_eq!(group.report("1", 6, Outcome::Running), Code::Done);
        // It started anew meanwhile: what the older start had is meant, and not what this one has.
        let award = Award { task: "2".to_owned(), agent: "a".to_owned(), agent_epoch: 2 };
        group.decide(Decision { awards: vec![award], ..Decision::default() });
        assert_eq!(group.release("a"), 0);
    }

    #[test]
    fn what_an_earlier_leader_decided_does_not_count() {
        let mut group = Group::new();
        group.submit(task("t", &[]));
        let decision = Decision {
            epoch: 1,
            awards: vec![Award { task: "t".to_owned(), agent: "a".to_owned(), agent_epoch: 1 }],
            ..Decision::default()
        };
        group.epoch = 2;
        let reply = group.at(6, What::Decide(decision));
        assert_eq!(
            (reply.code(), reply.message.as_str()),
            (Code::Conflict, "decided by the leader of epoch 1, and this is epoch 2")
        );
        assert_eq!(group.see("t").state, State::Waiting);
    }

    #[test]
    fn a_withdrawal_spares_what_has_begun() {
        let group = Group::new();
        for id in ["s", "t"] {
            group.submit(task(id, &[]));
            group.award(id, "a");
        }
        group.report("s", 1, Outcome::Running);
        let withdrawals = [("s", 1), ("t", 2)].map(|(id, award)| Withdrawal { task: id.to_owned(), award }).to_vec();
        let award = |id: &str| Award { task: id.to_owned(), agent: "b".to_owned(), agent_epoch: 1 };
        let changed =
            group.decide(Decision { withdrawals, awards: vec![award("s"), award("t")], ..Decision::default() }).changed;
        assert_eq!(changed, 2, "one withdrawn, one awarded");
        assert_eq!((group.see("s").agent.as_str(), group.see("t").agent.as_str()), ("a", "b"));
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let group = Group::new();
        let codes: Vec<Code> = (0..1_010).map(|n| group.submit(task(&n.to_string(), &[]))).collect();
        assert_eq!(codes.iter().filter(|code| **code == Code::Done).count(), 1_000);
        assert!(codes[1_000..].iter().all(|code| *code == Code::Busy));
        assert_eq!(group.submit(task("7", &[])), Code::Done, "what is in it is answered as before");
        group.at(1, What::Cancel(Cancel { id: "7".to_owned() }));
        assert_eq!(group.submit(task("1000", &[])), Code::Done);
        assert_eq!(queue::open(&group.database).unwrap().len(), 1_000);
    }

    #[test]
    fn ended_tasks_are_forgotten_an_hour_later_and_open_ones_never() {
        let group = Group::new();
        group.submit(task("old", &[]));
        group.submit(task("open", &[]));
        group.at(10, What::Cancel(Cancel { id: "old".to_owned() }));
        let reasons = vec![Why { task: "open".to_owned(), reason: "nobody is there".to_owned() }];
        let look =
            |at| group.at(at, What::Decide(Decision { epoch: 1, reasons: reasons.clone(), ..Decision::default() }));
        look(10 + KEPT_FOR);
        assert_eq!(group.see("old").state, State::Cancelled);
        look(11 + KEPT_FOR);
        assert_eq!(queue::newest(&group.database, 10).unwrap().0.len(), 1);
        assert_eq!(group.see("open").reason, "nobody is there");
    }

    #[test]
    fn malformed_commands_are_refused() {
        let group = Group::new();
        let empty = Tasks.apply(&group.database, 1, Command { at: 0, what: None }).unwrap().unwrap();
        assert_eq!(empty.code(), Code::Invalid);
        for (outcome, progress, result) in [(3, 0.0, 0), (1, f64::NAN, 0), (1, 1.1, 0), (1, 1.0, PAYLOAD_BYTES + 1)] {
            let report = Report { task: "t".to_owned(), award: 1, outcome, progress, result: vec![0; result] };
            assert_eq!(group.at(0, What::Report(report)).code(), Code::Invalid);
        }
    }
}
