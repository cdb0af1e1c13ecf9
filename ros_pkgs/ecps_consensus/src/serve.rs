//! What a member replies to the others.

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};

use crate::member::Member;
use crate::proposals::Attempt;
use crate::runtime::Runtime;
use crate::types::Types;
use crate::wire::{self, Reply, Request, change_members, reply, request, some_id, some_log_id};

type Served = Result<reply::What, String>;

fn needed<T>(part: Option<T>, what: &'static str) -> Result<T, String> {
    part.ok_or_else(|| wire::Missing(what).to_string())
}

impl<R: Runtime> Member<R> {
    /// Serves a request of another member, or of a tool.
    pub async fn serve(&self, request: Request) -> Reply {
        if request.target != self.id() {
            let text = format!("the request is for member {}, and this is member {}", request.target, self.id());
            return Reply { what: Some(reply::What::Refused(text)) };
        }
        let served = match request.what {
            None => Err("the request asks for nothing".to_owned()),
            Some(request::What::Vote(vote)) => self.serve_vote(vote).await,
            Some(request::What::Append(append)) => self.serve_append(append).await,
            Some(request::What::Snapshot(part)) => self.serve_snapshot(part).await,
            Some(request::What::Propose(proposal)) => Ok(match self.attempt(proposal).await {
                Attempt::Answered(answer) => reply::What::Answer(answer),
                Attempt::NotServed(reason) => reply::What::Refused(reason),
                Attempt::Unknown(reason) => reply::What::Unknown(reason),
            }),
            Some(request::What::ReadIndex(_)) => self.read_index_here().await.map(reply::What::ReadIndex),
            Some(request::What::Status(_)) => Ok(reply::What::Status(self.status())),
            Some(request::What::MakeSnapshot(_)) => self.make_snapshot().await.map(|()| reply::What::Done(true)),
            Some(request::What::ChangeMembers(change)) => self.serve_change(change).await,
        };
        Reply { what: Some(served.unwrap_or_else(reply::What::Refused)) }
    }

    async fn serve_vote(&self, request: wire::VoteRequest) -> Served {
        let ballot = needed(request.ballot, "ballot")?;
        let rpc = VoteRequest { vote: (&ballot).into(), last_log_id: some_log_id(request.last.as_ref()) };
        let response = self.raft().vote(rpc).await.map_err(|e| e.to_string())?;
        Ok(reply::What::Vote(wire::VoteResponse {
            ballot: Some((&response.vote).into()),
            granted: response.vote_granted,
            last: some_id(response.last_log_id.as_ref()),
        }))
    }

    async fn serve_append(&self, request: wire::AppendRequest) -> Served {
        let ballot = needed(request.ballot, "ballot")?;
        let entries: Result<Vec<_>, _> = request.entries.into_iter().map(TryInto::try_into).collect();
        let rpc = AppendEntriesRequest::<Types<R>> {
            vote: (&ballot).into(),
            prev_log_id: some_log_id(request.previous.as_ref()),
            entries: entries.map_err(|e: wire::Missing| e.to_string())?,
            leader_commit: some_log_id(request.commit.as_ref()),
        };
        let response = self.raft().append_entries(rpc).await.map_err(|e| e.to_string())?;
        Ok(reply::What::Append(wire::AppendResponse { outcome: Some(response.into()) }))
    }

    async fn serve_snapshot(&self, request: wire::SnapshotRequest) -> Served {
        let (ballot, meta) = (needed(request.ballot, "ballot")?, needed(request.meta, "meta")?);
        let rpc = InstallSnapshotRequest::<Types<R>> {
            vote: (&ballot).into(),
            meta: (&meta).try_into().map_err(|e: wire::Missing| e.to_string())?,
            offset: request.offset,
            data: request.data,
            done: request.done,
        };
        let segment = |s: openraft::SnapshotSegmentId| wire::snapshot_response::Segment { id: s.id, offset: s.offset };
        let response = match self.raft().install_snapshot(rpc).await {
            Ok(response) => {
                let ballot = Some((&response.vote).into());
                wire::SnapshotResponse { ballot, expected: None, got: None }
            }
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))) => {
                let (expected, got) = (Some(segment(mismatch.expect)), Some(segment(mismatch.got)));
                wire::SnapshotResponse { ballot: None, expected, got }
            }
            Err(error) => return Err(error.to_string()),
        };
        Ok(reply::What::Snapshot(response))
    }

    async fn serve_change(&self, change: wire::ChangeMembers) -> Served {
        match needed(change.what, "change")? {
            change_members::What::AddLearner(learner) => self.add_learner(learner.id, &learner.address).await?,
            change_members::What::Voters(voters) => self.set_voters(voters.ids).await?,
        }
        Ok(reply::What::Done(true))
    }
}
