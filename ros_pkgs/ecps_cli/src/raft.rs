//! `ecps raft`: looks at the members of a consensus group, has them make snapshots, and changes who belongs to it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use ecps_consensus::grpc::GrpcTransport;
use ecps_consensus::wire::{ChangeMembers, Learner, Request, Status, Voters, change_members, reply, request};
use ecps_consensus::{MemberId, Transport as _, TransportError};
use thiserror::Error;

use crate::say::say;

/// Within which a member answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `ecps raft` is told.
#[derive(Debug, Args)]
pub struct Raft {
    /// Members to ask, on this machine, as in 1=127.0.0.1:7001
    #[arg(long = "member", required = true, value_parser = member)]
    members: Vec<(MemberId, String)>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell how each member is; fails where one does not answer or stopped
    Status,
    /// Have each member make a snapshot
    Snapshot,
    /// Change who belongs to the group; the leader has to be among the members given
    #[command(subcommand)]
    Members(Change),
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Take in a new member, which learns and does not vote
    Add {
        /// As in 4=127.0.0.1:7004; a member that lost its disk comes back under a new number
        #[arg(value_parser = member)]
        learner: (MemberId, String),
    },
    /// Make these the voters, each of them a member already; the other voters leave the group
    Voters {
        /// Their numbers
        #[arg(required = true)]
        ids: Vec<MemberId>,
    },
}

fn member(text: &str) -> Result<(MemberId, String), String> {
    let (id, address) = text.split_once('=').ok_or("a member is written NUMBER=ADDRESS")?;
    Ok((id.parse().map_err(|e| format!("the number of a member: {e}"))?, address.to_owned()))
}

/// Why it did not work. One line.
#[derive(Debug, Error)]
pub enum RaftError {
    /// No runtime.
    #[error("the system gave no way to wait for answers: {0}")]
    System(#[from] std::io::Error),
    /// A member did not answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A member did not answer in time.
    #[error("member {0} did not answer within {PATIENCE:?}")]
    Late(MemberId),
    /// It was refused.
    #[error("member {0} refused: {1}")]
    Refused(MemberId, String),
    /// Nobody could do it.
    #[error("none of the members given leads")]
    NoLeader,
}

/// Does what the command line says.
///
/// # Errors
/// In one line, for people.
pub fn run(raft: &Raft) -> Result<ExitCode, RaftError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let transport = GrpcTransport::plain();
        match &raft.verb {
            Verb::Status => Ok(tell(&transport, &raft.members).await),
            Verb::Snapshot => {
                for (id, address) in &raft.members {
                    ask(&transport, *id, address, request::What::MakeSnapshot(true)).await?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Verb::Members(change) => {
                let what = match change {
                    Change::Add { learner: (id, address) } => {
                        change_members::What::AddLearner(Learner { id: *id, address: address.clone() })
                    }
                    Change::Voters { ids } => change_members::What::Voters(Voters { ids: ids.clone() }),
                };
                let (id, address) = leader(&transport, &raft.members).await.ok_or(RaftError::NoLeader)?;
                let change = request::What::ChangeMembers(ChangeMembers { what: Some(what) });
                ask(&transport, id, &address, change).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

async fn ask(
    transport: &GrpcTransport,
    id: MemberId,
    address: &str,
    what: request::What,
) -> Result<reply::What, RaftError> {
    let request = Request { target: id, what: Some(what) };
    let reply = tokio::time::timeout(PATIENCE, transport.exchange(id, address, request)).await;
    match reply.map_err(|_| RaftError::Late(id))??.what {
        Some(reply::What::Refused(reason) | reply::What::Unknown(reason)) => Err(RaftError::Refused(id, reason)),
        Some(what) => Ok(what),
        None => Err(RaftError::Refused(id, "its reply is empty".to_owned())),
    }
}

async fn status(transport: &GrpcTransport, id: MemberId, address: &str) -> Result<Status, RaftError> {
    match ask(transport, id, address, request::What::Status(true)).await? {
        reply::What::Status(status) => Ok(status),
        _ => Err(RaftError::Refused(id, "its reply belongs to another request".to_owned())),
    }
}

async fn leader(transport: &GrpcTransport, members: &[(MemberId, String)]) -> Option<(MemberId, String)> {
    for (id, address) in members {
        if status(transport, *id, address).await.is_ok_and(|status| status.role == "leader") {
            return Some((*id, address.clone()));
        }
    }
    None
}

async fn tell(transport: &GrpcTransport, members: &[(MemberId, String)]) -> ExitCode {
    let mut well = true;
    for (id, address) in members {
        match status(transport, *id, address).await {
            Ok(status) => {
                well &= status.fault.is_empty();
                say!("{}", line(&status));
            }
            Err(error) => {
                well = false;
                say!("member {id}: {error}");
            }
        }
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A member in one line.
fn line(status: &Status) -> String {
    let index =
        |id: &Option<ecps_consensus::wire::EntryId>| id.map_or_else(|| "-".to_owned(), |id| id.index.to_string());
    let leader = status.leader.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let membership = status.membership.clone().unwrap_or_default();
    let voters: Vec<String> = membership.configs.iter().map(|voters| format!("{:?}", voters.ids)).collect();
    let members: Vec<u64> = membership.nodes.keys().copied().collect();
    let metrics = status.metrics.clone().unwrap_or_default();
    let at_most = |q| metrics.latency(q).map_or_else(|| "-".to_owned(), |time| format!("{time:?}"));
    let fault = if status.fault.is_empty() { String::new() } else { format!(", stopped: {}", status.fault) };
    format!(
        "member {}: {}, term {}, leader {leader}, last {}, applied {}, snapshot {}, voters {}, members {members:?}, \
         elections {}, commits {} (p50 within {}, p99 within {}), log {} bytes, snapshots made {} and installed {}{fault}",
        status.id,
        status.role,
        status.term,
        index(&status.last),
        index(&status.applied),
        index(&status.snapshot),
        voters.join(" and "),
        metrics.elections,
        metrics.commits,
        at_most(0.5),
        at_most(0.99),
        metrics.log_bytes,
        metrics.snapshots_made,
        metrics.snapshots_installed,
    )
}
