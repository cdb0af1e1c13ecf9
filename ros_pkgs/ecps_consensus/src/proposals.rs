//! Proposals: passed on to whoever leads, gathered into batches there, and answered once they are applied.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Instant as _, Raft};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::counters::Counters;
use crate::member::Member;
use crate::network::TransportError;
use crate::runtime::Runtime;
use crate::types::{Answers, BATCH_BYTES, BATCH_COMMANDS, Batch, CLIENT_BYTES, COMMAND_BYTES, Types};
use crate::wire::{Answer, Proposal, Request, reply, request};

/// Proposals that may wait to be put into the log.
const QUEUE: usize = 4096;
/// Batches on their way to the disks at a time: one that travels while the next one is gathered and written.
const BATCHES: usize = 2;
/// Longest wait for one answer before the leader is looked for again.
const ATTEMPT: Duration = Duration::from_millis(400);
/// Pause before another attempt, and between looks at who leads during one.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

/// What came of one attempt.
pub(crate) enum Attempt {
    /// It was applied, or refused by the application.
    Answered(Answer),
    /// It did not reach the log.
    NotServed(String),
    /// It may be in the log, or come to it.
    Unknown(String),
}

/// What came of a proposal, all attempts counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    Answered(Answer),
    NotServed(String),
    Unknown(String),
}

/// A proposal that waits to be applied.
struct Waiting<R: Runtime> {
    proposal: Proposal,
    came: R::Instant,
    answer: oneshot::Sender<Result<Answer, String>>,
}

/// Takes in proposals for the log. Clones are handles to the same.
pub(crate) struct Proposals<R: Runtime>(mpsc::Sender<Waiting<R>>);

impl<R: Runtime> Clone for Proposals<R> {
    fn clone(&self) -> Proposals<R> {
        Proposals(self.0.clone())
    }
}

impl<R: Runtime> Proposals<R> {
    /// Begins to put what comes into the log of `raft`.
    pub(crate) fn begin(raft: Raft<Types<R>>, counters: Arc<Counters>) -> Proposals<R> {
        let (sender, waiting) = mpsc::channel(QUEUE);
        drop(R::spawn(propose_batches(raft, waiting, counters)));
        Proposals(sender)
    }

    /// Returns what came of a proposal, once that is known.
    async fn take(&self, proposal: Proposal) -> Attempt {
        let (answer, wait) = oneshot::channel();
        match self.0.try_send(Waiting { proposal, came: R::Instant::now(), answer }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Attempt::NotServed(format!("{QUEUE} proposals wait already"));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Attempt::NotServed("the member stopped".to_owned()),
        }
        match wait.await {
            Ok(Ok(answer)) => Attempt::Answered(answer),
            Ok(Err(reason)) => Attempt::Unknown(reason),
            Err(_) => Attempt::Unknown("the member stopped".to_owned()),
        }
    }
}

impl<R: Runtime> Member<R> {
    /// Has a proposal carried out once, by whoever leads, however often it takes to ask.
    pub(crate) async fn carry_out(&self, proposal: Proposal, within: Duration) -> Came {
        if let Err(reason) = check(&proposal) {
            return Came::NotServed(reason);
        }
        let begun = R::Instant::now();
        let left = || within.saturating_sub(begun.elapsed());
        let mut sent = false;
        let mut reason;
        loop {
            // What has no answer in this time may still get one, so the same command is sent again, and counts once.
            let attempt = self.wait_for(left(), self.attempt_anywhere(proposal.clone())).await;
            match attempt.unwrap_or_else(|| Attempt::Unknown("there was no answer".to_owned())) {
                Attempt::Answered(answer) => return Came::Answered(answer),
                Attempt::NotServed(text) => reason = text,
                Attempt::Unknown(text) => (sent, reason) = (true, text),
            }
            if left().is_zero() {
                return if sent { Came::Unknown(reason) } else { Came::NotServed(reason) };
            }
            R::sleep(PAUSE.min(left())).await;
        }
    }

    /// Waits for what a leader is asked for, not longer than `within` and not for ever, and not once another leads.
    pub(crate) async fn wait_for<T: Send>(
        &self,
        within: Duration,
        attempt: impl Future<Output = T> + Send,
    ) -> Option<T> {
        let (begun, asked, mut attempt) = (R::Instant::now(), self.leader(), pin!(attempt));
        loop {
            let left = within.min(ATTEMPT).saturating_sub(begun.elapsed());
            if let Ok(came) = R::timeout(left.min(PAUSE), attempt.as_mut()).await {
                return Some(came);
            }
            if left.is_zero() || self.leader().is_some_and(|now| Some(now) != asked) {
                return None;
            }
        }
    }

    async fn attempt_anywhere(&self, proposal: Proposal) -> Attempt {
        let Some((id, address)) = self.leader_address() else {
            return Attempt::NotServed("no leader is known".to_owned());
        };
        if id == self.id() {
            return self.attempt(proposal).await;
        }
        let request = Request { target: id, what: Some(request::What::Propose(proposal)) };
        match self.transport().exchange(id, &address, request).await {
            Ok(reply) => match reply.what {
                Some(reply::What::Answer(answer)) => Attempt::Answered(answer),
                // That one was refused. A copy of it may still arrive when that member leads.
                Some(reply::What::Refused(text) | reply::What::Unknown(text)) => Attempt::Unknown(text),
                _ => Attempt::Unknown(format!("member {id} replied something else")),
            },
            Err(error @ TransportError::Unreached { .. }) => Attempt::NotServed(error.to_string()),
            Err(error @ TransportError::Lost { .. }) => Attempt::Unknown(error.to_string()),
        }
    }

    /// Puts a proposal into the log, if this is the leader.
    pub(crate) async fn attempt(&self, proposal: Proposal) -> Attempt {
        // Those of other members come straight here.
        if let Err(reason) = check(&proposal) {
            return Attempt::NotServed(reason);
        }
        if self.leader().is_none_or(|leader| leader.id != self.id()) {
            return Attempt::NotServed(format!("member {} does not lead", self.id()));
        }
        self.proposals().take(proposal).await
    }
}

/// Refuses what the log does not take.
fn check(proposal: &Proposal) -> Result<(), String> {
    let (client, command) = (proposal.client.len(), proposal.command.len());
    if client != CLIENT_BYTES {
        return Err(format!("the client's id has {client} bytes, and ids have {CLIENT_BYTES}"));
    }
    if command > COMMAND_BYTES {
        return Err(format!("the command has {command} bytes, more than the {COMMAND_BYTES} allowed"));
    }
    Ok(())
}

/// Gathers what waits into batches, one entry of the log each.
async fn propose_batches<R: Runtime>(
    raft: Raft<Types<R>>,
    mut waiting: mpsc::Receiver<Waiting<R>>,
    counters: Arc<Counters>,
) {
    let places = Arc::new(Semaphore::new(BATCHES));
    // Taken over from the batch before, where it did not fit.
    let mut next: Option<Waiting<R>> = None;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut size = first.proposal.command.len();
        let (mut proposals, mut answers) = (vec![first.proposal], vec![(first.came, first.answer)]);
        while proposals.len() < BATCH_COMMANDS
            && let Ok(more) = waiting.try_recv()
        {
            size += more.proposal.command.len();
            if size > BATCH_BYTES {
                next = Some(more);
                break;
            }
            proposals.push(more.proposal);
            answers.push((more.came, more.answer));
        }
        let written = raft.client_write_ff(Batch(Arc::new(proposals))).await;
        let counters = Arc::clone(&counters);
        drop(R::spawn(async move {
            let result = match written {
                Ok(wait) => match wait.await {
                    Ok(Ok(response)) => Ok(response.data),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("the member stopped".to_owned()),
                },
                Err(error) => Err(error.to_string()),
            };
            drop(place);
            if result.is_ok() {
                answers.iter().for_each(|(came, _)| counters.committed(came.elapsed()));
            }
            tell(answers.into_iter().map(|(_, answer)| answer), result);
        }));
    }
}

/// Gives each its answer. Who does not wait any more does not get one.
fn tell(waiting: impl Iterator<Item = oneshot::Sender<Result<Answer, String>>>, result: Result<Answers, String>) {
    match result {
        Ok(answers) => waiting.zip(answers.0).for_each(|(one, answer)| drop(one.send(Ok(answer)))),
        Err(reason) => waiting.for_each(|one| drop(one.send(Err(reason.clone())))),
    }
}
