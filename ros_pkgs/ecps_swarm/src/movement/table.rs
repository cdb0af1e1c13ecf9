//! What was set, in the replicated state, and how far the formation is.

use prost::Message as _;
use rusqlite::{Connection, params};

use super::order::{Behavior, Form, Movement};
use crate::motion::formation::State;
use crate::tasks::{Code, Reply};

/// What counts now.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// Changes whenever one of the others does.
    pub revision: u64,
    /// Grows with each movement that is set.
    pub number: u64,
    /// How robots move.
    pub movement: Movement,
    /// The formation, as its leader planned it last.
    pub state: Option<State>,
    /// For which movement that was.
    pub planned: u64,
}

impl Default for Current {
    fn default() -> Current {
        Current { revision: 0, number: 0, movement: Movement::hold(), state: None, planned: 0 }
    }
}

/// What the leader planned.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Plan {
    /// The leader's epoch. Refused in another one's.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Of which movement. Refused where another one was set.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// Who is where in it, and how it goes on.
    #[prost(message, required, tag = "3")]
    pub state: State,
}

pub(crate) const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS swarm_movement (id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL,
         number INTEGER NOT NULL, movement BLOB NOT NULL, formation BLOB NOT NULL, state BLOB, planned INTEGER NOT NULL);
     INSERT OR IGNORE INTO swarm_movement VALUES (0, 0, 0, x'', x'', NULL, 0);";

/// Sets how robots move. A formation without a shape is the last one.
pub(crate) fn set(database: &Connection, mut movement: Movement) -> rusqlite::Result<Reply> {
    let before = read(database)?;
    let formed = movement.behavior() == Behavior::Formation;
    if formed && movement.form() == Form::Unset {
        let select = "SELECT formation FROM swarm_movement";
        let last: Vec<u8> = database.prepare_cached(select)?.query_row([], |row| row.get(0))?;
        let last = Movement::decode(&last[..]).unwrap_or_default();
        movement = Movement { agents: movement.agents, ..last };
        if movement.form() == Form::Unset {
            return Ok(Reply::refused(Code::Invalid, super::MovementError::NoForm.to_string()));
        }
    }
    if let Err(error) = movement.check() {
        return Ok(Reply::refused(Code::Invalid, error.to_string()));
    }
    let movement = movement.with_defaults();
    let bytes = movement.encode_to_vec();
    // One formation goes on into the next; after anything else it is formed where the robots are by then.
    let goes_on = formed && before.movement.behavior() == Behavior::Formation;
    let update = "UPDATE swarm_movement SET revision = revision + 1, number = number + 1, movement = ?1,
                      formation = CASE WHEN ?2 THEN ?1 ELSE formation END, state = CASE WHEN ?3 THEN state END";
    database.prepare_cached(update)?.execute(params![bytes, formed, goes_on])?;
    Ok(Reply::done(1))
}

/// Takes over what the leader planned.
pub(crate) fn plan(database: &Connection, plan: &Plan) -> rusqlite::Result<Reply> {
    let update = "UPDATE swarm_movement SET revision = revision + 1, state = ?, planned = number WHERE number = ?";
    let number = i64::try_from(plan.number).unwrap_or(i64::MAX);
    let changed = database.prepare_cached(update)?.execute(params![plan.state.encode_to_vec(), number])?;
    Ok(if changed == 0 {
        Reply::refused(Code::Conflict, format!("planned for movement {}, and another one was set", plan.number))
    } else {
        Reply::done(1)
    })
}

/// What counts now.
///
/// # Errors
/// As SQLite says.
pub fn read(database: &Connection) -> rusqlite::Result<Current> {
    let select = "SELECT revision, number, movement, state, planned FROM swarm_movement";
    database.prepare_cached(select)?.query_row([], |row| {
        let unsigned = |number: i64| number.unsigned_abs();
        let state: Option<Vec<u8>> = row.get(3)?;
        Ok(Current {
            revision: unsigned(row.get(0)?),
            number: unsigned(row.get(1)?),
            // The state machine wrote it, so that it can be read.
            movement: Movement::decode(row.get_ref(2)?.as_blob()?).unwrap_or_default(),
            state: state.and_then(|state| State::decode(&state[..]).ok()),
            planned: unsigned(row.get(4)?),
        })
    })
}

#[cfg(test)]
mod tests {
    use ecps_consensus::application::Application as _;
    use nalgebra::{Isometry2, Vector2};

    use super::*;
    use crate::motion::formation::{Formation, Settings};
    use crate::motion::shape::Shape;
    use crate::tasks::{Command, Tasks, What};

    struct Group(Connection);

    impl Group {
        fn apply(&self, epoch: u64, what: What) -> Code {
            Tasks.apply(&self.0, epoch, Command { at: 0, what: Some(what) }).unwrap().unwrap().code()
        }

        fn set(&self, behavior: Behavior, form: Form) -> Code {
            let movement = Movement { behavior: behavior.into(), form: form.into(), ..Movement::hold() };
            self.apply(1, What::Move(movement))
        }

        fn plan(&self, epoch: u64, number: u64, state: &State) -> Code {
            self.apply(2, What::Plan(Plan { epoch, number, state: state.clone() }))
        }
    }

    #[test]
    fn a_plan_counts_for_its_movement_and_of_the_leader_alone() {
        let group = Group(Connection::open_in_memory().unwrap());
        Tasks.create(&group.0).unwrap();
        assert_eq!(read(&group.0).unwrap(), Current::default());
        assert_eq!(group.set(Behavior::Formation, Form::Unset), Code::Invalid, "there is none to go back to");
        assert_eq!(group.set(Behavior::Formation, Form::Circle), Code::Done);
        let mut formation = Formation::new(Settings::default(), Shape::Circle, &Isometry2::identity()).unwrap();
        formation.see("a".to_owned(), Vector2::zeros()).unwrap();
        let state = formation.state();
        assert_eq!(group.plan(1, 1, &state), Code::Conflict, "of an earlier leader");
        assert_eq!(group.plan(2, 0, &state), Code::Conflict, "for another movement");
        assert_eq!(read(&group.0).unwrap().state, None);
        assert_eq!(group.plan(2, 1, &state), Code::Done);
        let current = read(&group.0).unwrap();
        assert_eq!((current.state.as_ref(), current.planned, current.revision), (Some(&state), 1, 2));
        assert_eq!((current.movement.scale, current.movement.separation), (5.0, 2.0));

        // One formation goes on into the next; after anything else it is formed anew.
        assert_eq!(group.set(Behavior::Formation, Form::Line), Code::Done);
        let current = read(&group.0).unwrap();
        assert_eq!((current.number, current.planned, current.state), (2, 1, Some(state)));
        assert_eq!(group.set(Behavior::Hold, Form::Unset), Code::Done);
        assert_eq!(read(&group.0).unwrap().state, None);
        assert_eq!(group.set(Behavior::Formation, Form::Unset), Code::Done);
        let current = read(&group.0).unwrap();
        assert_eq!((current.movement.form(), current.state, current.number), (Form::Line, None, 4));
    }
}
