//! How members reach each other: a transport that is handed in, and openraft's calls on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory, SnapshotSegmentId};
use thiserror::Error;

use crate::ahead::Ahead;
use crate::elections::Elections;
use crate::runtime::Runtime;
use crate::types::{LogId, MemberId, Types, Vote};
use crate::wire::{self, Missing, Reply, Request, append_response, reply, request, some_id, some_log_id};

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The request did not arrive.
    #[error("member {target} was not reached: {reason}")]
    Unreached {
        /// Whom it was for.
        target: MemberId,
        /// What was in the way.
        reason: String,
    },
    /// The request may have arrived.
    #[error("member {target} did not reply: {reason}")]
    Lost {
        /// Whom it was for.
        target: MemberId,
        /// What was in the way.
        reason: String,
    },
}

/// A reply to come.
pub type Exchange = Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send>>;

/// Carries requests to other members. It may lose, delay, repeat and reorder them.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` to member `target`, which was last known at `address`.
    fn exchange(&self, target: MemberId, address: &str, request: Request) -> Exchange;
}

/// Makes a [`Connection`] to each member.
pub(crate) struct Network {
    transport: Arc<dyn Transport>,
    ahead: Arc<Ahead>,
    /// Weak, since openraft keeps this, and they end with the member.
    elections: Weak<Elections>,
}

impl Network {
    pub(crate) fn new(transport: Arc<dyn Transport>, ahead: Arc<Ahead>, elections: &Arc<Elections>) -> Network {
        Network { transport, ahead, elections: Arc::downgrade(elections) }
    }
}

/// The way to one member.
pub(crate) struct Connection {
    transport: Arc<dyn Transport>,
    ahead: Arc<Ahead>,
    elections: Weak<Elections>,
    target: MemberId,
    address: String,
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: MemberId, node: &BasicNode) -> Connection {
        let (transport, ahead) = (Arc::clone(&self.transport), Arc::clone(&self.ahead));
        let elections = Weak::clone(&self.elections);
        Connection { transport, ahead, elections, target, address: node.addr.clone() }
    }
}

type CallError<E> = RPCError<MemberId, BasicNode, RaftError<MemberId, E>>;

impl Connection {
    async fn call<E: std::error::Error>(&self, what: request::What) -> Result<reply::What, CallError<E>> {
        let request = Request { target: self.target, what: Some(what) };
        content(self.transport.exchange(self.target, &self.address, request)).await
    }

    /// Sees whether it was one that cannot win who refused.
    fn refused(&self, rpc: &VoteRequest<MemberId>, by: &Vote, last: Option<LogId>) {
        let stands = !by.committed && by.leader_id.voted_for == Some(self.target);
        if stands
            && last < rpc.last_log_id
            && let Some(elections) = self.elections.upgrade()
        {
            elections.refused_by_worse();
        }
    }
}

async fn content<E: std::error::Error>(
    reply: impl Future<Output = Result<Reply, TransportError>> + Send,
) -> Result<reply::What, CallError<E>> {
    reply.await.map_err(|e| NetworkError::new(&e))?.what.ok_or_else(|| missing("content of a reply"))
}

fn missing<E: std::error::Error>(what: &'static str) -> CallError<E> {
    NetworkError::new(&Missing(what)).into()
}

/// A reply of another kind than the request's: the other member refused.
fn odd<E: std::error::Error>(what: reply::What) -> CallError<E> {
    let text = match what {
        reply::What::Refused(text) | reply::What::Unknown(text) => text,
        _ => "the reply belongs to another request".to_owned(),
    };
    NetworkError::new(&std::io::Error::other(text)).into()
}

impl<R: Runtime> RaftNetwork<Types<R>> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types<R>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<MemberId>, CallError<openraft::error::Infallible>> {
        let append = wire::AppendRequest::from(&rpc);
        let what = match self.ahead.sent(self.target, &append) {
            Some(reply) => {
                let gone = |_| Err(TransportError::Lost { target: self.target, reason: "the member ends".to_owned() });
                content(async { reply.await.unwrap_or_else(gone) }).await?
            }
            None => self.call(request::What::Append(append.clone())).await?,
        };
        let reply::What::Append(response) = what else { return Err(odd(what)) };
        let response = response.outcome.map(AppendEntriesResponse::from).ok_or_else(|| missing("outcome"))?;
        if response.is_success() {
            self.ahead.acknowledged(self.target, &self.address, &append);
        }
        Ok(response)
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types<R>>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<MemberId>, CallError<InstallSnapshotError>> {
        let request = wire::SnapshotRequest {
            ballot: Some((&rpc.vote).into()),
            meta: Some((&rpc.meta).into()),
            offset: rpc.offset,
            data: rpc.data,
            done: rpc.done,
        };
        let response = match self.call(request::What::Snapshot(request)).await? {
            reply::What::Snapshot(response) => response,
            other => return Err(odd(other)),
        };
        if let (Some(expect), Some(got)) = (response.expected, response.got) {
            let segment = |s: wire::snapshot_response::Segment| SnapshotSegmentId { id: s.id, offset: s.offset };
            let mismatch = SnapshotMismatch { expect: segment(expect), got: segment(got) };
            let error = RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch));
            return Err(RemoteError::new(self.target, error).into());
        }
        let vote = response.ballot.as_ref().map(Into::into).ok_or_else(|| missing("ballot"))?;
        Ok(InstallSnapshotResponse { vote })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<MemberId>,
        _: RPCOption,
    ) -> Result<VoteResponse<MemberId>, CallError<openraft::error::Infallible>> {
        let request = wire::VoteRequest { ballot: Some((&rpc.vote).into()), last: some_id(rpc.last_log_id.as_ref()) };
        match self.call(request::What::Vote(request)).await? {
            reply::What::Vote(response) => {
                let vote: Vote = response.ballot.as_ref().map(Into::into).ok_or_else(|| missing("ballot"))?;
                let last = some_log_id(response.last.as_ref());
                if !response.granted {
                    self.refused(&rpc, &vote, last);
                }
                Ok(VoteResponse::new(vote, last, response.granted))
            }
            other => Err(odd(other)),
        }
    }
}

impl<R: Runtime> From<&AppendEntriesRequest<Types<R>>> for wire::AppendRequest {
    fn from(rpc: &AppendEntriesRequest<Types<R>>) -> wire::AppendRequest {
        wire::AppendRequest {
            ballot: Some((&rpc.vote).into()),
            previous: some_id(rpc.prev_log_id.as_ref()),
            entries: rpc.entries.iter().map(Into::into).collect(),
            commit: some_id(rpc.leader_commit.as_ref()),
        }
    }
}

impl From<append_response::Outcome> for AppendEntriesResponse<MemberId> {
    fn from(outcome: append_response::Outcome) -> Self {
        match outcome {
            append_response::Outcome::Success(_) => AppendEntriesResponse::Success,
            append_response::Outcome::Partial(partial) => {
                AppendEntriesResponse::PartialSuccess(some_log_id(partial.upto.as_ref()))
            }
            append_response::Outcome::Conflict(_) => AppendEntriesResponse::Conflict,
            append_response::Outcome::Higher(ballot) => AppendEntriesResponse::HigherVote((&ballot).into()),
        }
    }
}

impl From<AppendEntriesResponse<MemberId>> for append_response::Outcome {
    fn from(response: AppendEntriesResponse<MemberId>) -> Self {
        match response {
            AppendEntriesResponse::Success => append_response::Outcome::Success(true),
            AppendEntriesResponse::PartialSuccess(upto) => {
                append_response::Outcome::Partial(append_response::Partial { upto: some_id(upto.as_ref()) })
            }
            AppendEntriesResponse::Conflict => append_response::Outcome::Conflict(true),
            AppendEntriesResponse::HigherVote(vote) => append_response::Outcome::Higher((&vote).into()),
        }
    }
}
