//! The typed interface: an application's commands and replies, and a group that carries them out.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use rusqlite::Connection;
use thiserror::Error;

use crate::member::Member;
use crate::proposals::Came;
use crate::runtime::Runtime;
use crate::state::Apply;
use crate::types::{CLIENT_BYTES, Epoch};
use crate::wire::{Answer, Proposal, answer};

/// What a group does. See [`Apply`] for what it must not depend on.
pub trait Application: Send + 'static {
    /// What clients ask for.
    type Command: Message + Default;
    /// What they are answered.
    type Reply: Message + Default;

    /// Makes the tables, where they are missing. Their names must not begin with `raft_`.
    ///
    /// # Errors
    /// As SQLite says.
    fn create(&self, database: &Connection) -> rusqlite::Result<()>;

    /// Carries out a command of a leader of `epoch`, or refuses it with a reason; then what it changed is undone.
    ///
    /// # Errors
    /// As SQLite says, which stops the member.
    fn apply(
        &self,
        database: &Connection,
        epoch: Epoch,
        command: Self::Command,
    ) -> rusqlite::Result<Result<Self::Reply, String>>;
}

/// An application as a member takes it.
#[derive(Debug)]
pub struct Erased<A>(
    /// The application.
    pub A,
);

impl<A: Application> Apply for Erased<A> {
    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        self.0.create(database)
    }

    fn apply(&self, database: &Connection, epoch: Epoch, command: &[u8]) -> rusqlite::Result<Result<Vec<u8>, String>> {
        // Each member finds the same, so that refusing it is as good as carrying it out.
        let command = match A::Command::decode(command) {
            Ok(command) => command,
            Err(error) => return Ok(Err(format!("the command cannot be read: {error}"))),
        };
        Ok(self.0.apply(database, epoch, command)?.map(|reply| reply.encode_to_vec()))
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was carried out, once.
    Applied {
        /// The application's reply.
        reply: T,
        /// Index of its entry in the log.
        index: u64,
        /// Term of the leader that had it carried out: the fencing token.
        epoch: Epoch,
    },
    /// It was not carried out and will not be.
    Refused(Refusal),
    /// It may have been carried out, or may yet be. [`Session::ask_again`] tells.
    Unknown(String),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The application said no.
    #[error("{0}")]
    Application(String),
    /// It left for no leader within its time.
    #[error("no leader took it: {0}")]
    NotServed(String),
}

/// One client, which has one command under way at a time. A command is carried out once, however often it is asked for.
pub struct Session<R: Runtime, A: Application> {
    member: Member<R>,
    client: [u8; CLIENT_BYTES],
    sequence: u64,
    /// The command whose outcome is not known.
    open: Option<Vec<u8>>,
    types: PhantomData<fn() -> A>,
}

impl<R: Runtime, A: Application> Session<R, A> {
    /// A client of `member`'s group, which must be `A`. No other may ever have had the id `client`.
    pub fn new(member: Member<R>, client: [u8; CLIENT_BYTES]) -> Session<R, A> {
        Session { member, client, sequence: 0, open: None, types: PhantomData }
    }

    /// Has a command carried out. Without an answer within the time given, the outcome is [`Outcome::Unknown`].
    pub async fn propose(&mut self, command: &A::Command, within: Duration) -> Outcome<A::Reply> {
        self.sequence += 1;
        let command = command.encode_to_vec();
        self.open = Some(command.clone());
        self.ask(command, within).await
    }

    /// Asks again for the outcome of the last command, if it is not known; has it carried out where it was not yet.
    pub async fn ask_again(&mut self, within: Duration) -> Option<Outcome<A::Reply>> {
        let command = self.open.clone()?;
        match self.ask(command.clone(), within).await {
            // This time it reached nobody. Of the times before, nothing is known.
            Outcome::Refused(Refusal::NotServed(reason)) => {
                self.open = Some(command);
                Some(Outcome::Unknown(reason))
            }
            outcome => Some(outcome),
        }
    }

    async fn ask(&mut self, command: Vec<u8>, within: Duration) -> Outcome<A::Reply> {
        let proposal = Proposal { client: self.client.to_vec(), sequence: self.sequence, command };
        let outcome = match self.member.carry_out(proposal, within).await {
            Came::Answered(answer) => outcome_of(answer),
            Came::NotServed(reason) => Outcome::Refused(Refusal::NotServed(reason)),
            Came::Unknown(reason) => Outcome::Unknown(reason),
        };
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.open = None;
        }
        outcome
    }
}

fn outcome_of<T: Message + Default>(answer: Answer) -> Outcome<T> {
    let (epoch, index) = answer.at.map_or((0, 0), |at| (at.term, at.index));
    match answer.what {
        Some(answer::What::Reply(bytes)) => match T::decode(bytes.as_slice()) {
            Ok(reply) => Outcome::Applied { reply, index, epoch },
            Err(error) => Outcome::Unknown(format!("the reply cannot be read: {error}")),
        },
        Some(answer::What::Refused(reason)) => Outcome::Refused(Refusal::Application(reason)),
        None => Outcome::Unknown("the answer says nothing".to_owned()),
    }
}
