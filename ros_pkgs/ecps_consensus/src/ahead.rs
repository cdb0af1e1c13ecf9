//! A leader's entries on their way to the others while it writes them itself.
//!
//! openraft (0.9.25) sends entries once the leader has them on its own disk, so that a commit waits for two disks one after
//! the other. What goes out here is what openraft is about to send to a member that has all that is before it, and the reply
//! waits until openraft asks. That is safe (Ongaro 2014, 10.2.1): openraft counts the leader itself only after its own
//! disk, and a leader that lost such entries with its power does not lead in the same term again (see `log`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::log::lock;
use crate::network::{Transport, TransportError};
use crate::runtime::Runtime;
use crate::types::MemberId;
use crate::wire::{AppendRequest, Ballot, EntryId, Reply, Request, record::What, request};

type Waiting = oneshot::Receiver<Result<Reply, TransportError>>;

/// What tells one request of the same leader from another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    ballot: Option<Ballot>,
    previous: Option<EntryId>,
    /// None: no entries.
    last: Option<EntryId>,
}

impl Span {
    fn of(append: &AppendRequest) -> Span {
        let last = append.entries.last().and_then(|entry| entry.id);
        Span { ballot: append.ballot, previous: append.previous, last }
    }
}

/// The way to a member that acknowledged entries.
#[derive(Default)]
struct Way {
    address: String,
    /// By which leader's entries, and the last of them.
    acknowledged: (Option<Ballot>, Option<EntryId>),
    /// What was sent ahead, and its reply.
    sent: Option<(Span, Waiting)>,
}

/// Sends a leader's entries ahead.
pub(crate) struct Ahead {
    transport: Arc<dyn Transport>,
    ways: Mutex<BTreeMap<MemberId, Way>>,
}

impl Ahead {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Ahead {
        Ahead { transport, ways: Mutex::default() }
    }

    /// Sends entries that the leader of `ballot` is about to write to those who have all up to `previous`.
    pub(crate) fn send<R: Runtime>(&self, ballot: Ballot, previous: Option<EntryId>, records: &[What]) {
        for (&target, way) in lock(&self.ways).iter_mut() {
            if way.acknowledged != (Some(ballot), previous) || way.sent.is_some() {
                continue;
            }
            let entry = |record: &What| if let What::Entry(entry) = record { Some(entry.clone()) } else { None };
            let entries = records.iter().filter_map(entry).collect();
            let append = AppendRequest { ballot: Some(ballot), previous, entries, commit: None };
            let (answer, wait) = oneshot::channel();
            way.sent = Some((Span::of(&append), wait));
            let request = Request { target, what: Some(request::What::Append(append)) };
            let exchange = self.transport.exchange(target, &way.address, request);
            // Nobody may be waiting any more.
            drop(R::spawn(async move { drop(answer.send(exchange.await)) }));
        }
    }

    /// The reply to come to the same request, if that was sent ahead.
    pub(crate) fn sent(&self, target: MemberId, append: &AppendRequest) -> Option<Waiting> {
        let (mut ways, span) = (lock(&self.ways), Span::of(append));
        // A heartbeat leaves alone what openraft has yet to ask for; anything else has overtaken it.
        let overtakes = |sent: &mut (Span, Waiting)| span.last.is_some() || sent.0.ballot != span.ballot;
        let (sent, wait) = ways.get_mut(&target)?.sent.take_if(overtakes)?;
        (sent == span).then_some(wait)
    }

    /// A member has all up to the last of these entries.
    pub(crate) fn acknowledged(&self, target: MemberId, address: &str, append: &AppendRequest) {
        let Span { ballot, previous, last } = Span::of(append);
        let mut ways = lock(&self.ways);
        let way = ways.entry(target).or_default();
        address.clone_into(&mut way.address);
        way.acknowledged = (ballot, last.or(previous));
    }
}
