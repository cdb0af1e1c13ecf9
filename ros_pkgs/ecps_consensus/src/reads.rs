//! Reads: linearizable, with a majority confirming that there is nothing newer, or of what happens to be here.

use std::time::Duration;

use openraft::Instant as _;
use rusqlite::Connection;
use thiserror::Error;

use crate::member::Member;
use crate::proposals::PAUSE;
use crate::runtime::Runtime;
use crate::wire::{Request, reply, request};

/// Why a read was not served. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No quorum confirmed within the time given that what is here is the latest.
    #[error("no quorum confirmed within {waited:?} that the state here is the latest: {reason}")]
    NoQuorum {
        /// The time given.
        waited: Duration,
        /// What was last in the way.
        reason: String,
    },
    /// The member stopped.
    #[error("the member stopped")]
    Stopped,
}

impl<R: Runtime> Member<R> {
    /// Reads the state as it is at some moment between call and answer, whichever member this is.
    ///
    /// # Errors
    /// Where no quorum confirms in time that there is nothing newer, or the member stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        within: Duration,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let begun = R::Instant::now();
        let left = || within.saturating_sub(begun.elapsed());
        let mut reason;
        let index = loop {
            match self.wait_for(left(), self.read_index()).await {
                Some(Ok(index)) => break index,
                Some(Err(text)) => reason = text,
                None => reason = "there was no answer".to_owned(),
            }
            if left().is_zero() {
                return Err(ReadError::NoQuorum { waited: within, reason });
            }
            R::sleep(PAUSE.min(left())).await;
        };
        match R::timeout(left(), self.machine().read(index, read)).await {
            Ok(value) => value.ok_or(ReadError::Stopped),
            Err(_) => Err(ReadError::NoQuorum { waited: within, reason: format!("entry {index} is not here yet") }),
        }
    }

    /// Reads what is applied here, which may be old.
    ///
    /// # Errors
    /// Where the member stopped.
    pub async fn read_stale<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        self.machine().read(0, read).await.ok_or(ReadError::Stopped)
    }

    /// The index that has to be applied for a read to be linearizable, from the leader.
    async fn read_index(&self) -> Result<u64, String> {
        match self.leader_address() {
            Some((id, _)) if id == self.id() => self.read_index_here().await,
            Some((id, address)) => {
                let request = Request { target: id, what: Some(request::What::ReadIndex(true)) };
                match self.transport().exchange(id, &address, request).await.map_err(|e| e.to_string())?.what {
                    Some(reply::What::ReadIndex(index)) => Ok(index),
                    Some(reply::What::Refused(text)) => Err(text),
                    _ => Err(format!("member {id} replied something else")),
                }
            }
            None => Err("no leader is known".to_owned()),
        }
    }

    pub(crate) async fn read_index_here(&self) -> Result<u64, String> {
        let (read, _) = self.raft().get_read_log_id().await.map_err(|e| e.to_string())?;
        read.map(|id| id.index).ok_or_else(|| "nothing is committed yet".to_owned())
    }
}
