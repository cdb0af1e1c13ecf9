//! One sender's stream: its partial tensors, and what its packets say of which are late, lost or given up.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::Steady;

use super::order::{Order, Whole};
use super::partial::{Added, Checked, Partial};
use super::{Event, Expiry, OLDEST_KEY, Refusal};
use crate::chunks::MetadataError;
use crate::delta::DeltaReceiver;

/// A tensor this far behind the newest finished one is not late: its sender counts anew.
const LATE_SEQUENCES: u32 = 64;

/// What a packet says of its tensor and its stream, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) sequence: u32,
    pub(super) timestamp_ns: u64,
    /// On a reliable stream, the oldest tensor that the sender still cares for.
    pub(super) oldest: Option<u32>,
    pub(super) at: Steady,
}

/// The oldest tensor that a reliable sender still cares for, as its packets say.
pub(super) fn oldest(metadata: &BTreeMap<String, String>) -> Result<Option<u32>, MetadataError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| MetadataError::NotANumber(OLDEST_KEY, text.chars().take(64).collect()))
    };
    metadata.get(OLDEST_KEY).map(parse).transpose()
}

/// How a tensor stands to what its stream has finished.
pub(super) enum Standing {
    New,
    Late,
    Restart,
}

/// The newest tensor that was finished on a best-effort stream, by which late parts are known.
#[derive(Debug, Clone, Copy)]
struct Finished {
    sequence: u32,
    timestamp_ns: u64,
    at: Steady,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    sets: BTreeMap<u32, Partial>,
    finished: Option<Finished>,
    /// On a reliable stream.
    order: Option<Order>,
    delta: DeltaReceiver,
    heard: Steady,
}

impl Stream {
    pub(super) fn held_bytes(&self) -> usize {
        let partial: usize = self.sets.values().map(Partial::bytes).sum();
        partial + self.order.as_ref().map_or(0, Order::held_bytes) + self.delta.held_bytes()
    }

    /// The partial tensors, oldest first.
    pub(super) fn sets(&self) -> impl Iterator<Item = (u32, &Partial)> {
        self.sets.iter().map(|(&sequence, set)| (sequence, set))
    }

    pub(super) fn set(&self, sequence: u32) -> Option<&Partial> {
        self.sets.get(&sequence)
    }

    /// Whether one set more would be too many. A reliable stream's wait for one another, and only memory bounds them.
    pub(super) fn is_crowded(&self, limit: usize) -> bool {
        self.order.is_none() && self.sets.len() >= limit
    }

    pub(super) fn standing(&self, arrival: &Arrival, timeout: Duration) -> Standing {
        match arrival.oldest {
            Some(oldest) => self.ordered_standing(arrival.sequence, oldest),
            None => self.newest_standing(arrival, timeout),
        }
    }

    fn ordered_standing(&self, sequence: u32, oldest: u32) -> Standing {
        match &self.order {
            Some(order) if order.is_restart(oldest) => Standing::Restart,
            Some(order) if order.is_settled(sequence) => Standing::Late,
            _ => Standing::New,
        }
    }

    /// Serial numbers wrap (RFC 1982). An old number with a newer stamp, or far behind, or after a pause as long as the
    /// timeout, comes from a sender that was restarted.
    fn newest_standing(&self, arrival: &Arrival, timeout: Duration) -> Standing {
        let Some(finished) = self.finished else { return Standing::New };
        let behind = finished.sequence.wrapping_sub(arrival.sequence);
        if behind > u32::MAX / 2 {
            return Standing::New;
        }
        let pause = arrival.at.since(finished.at) > timeout;
        if behind > LATE_SEQUENCES || arrival.timestamp_ns > finished.timestamp_ns || pause {
            Standing::Restart
        } else {
            Standing::Late
        }
    }

    /// Forgets what the sender sent before it was restarted.
    pub(super) fn restart(&mut self, events: &mut Vec<Event>) {
        let before = std::mem::replace(self, Stream { heard: self.heard, ..Stream::default() });
        events.extend(before.sets().map(|(sequence, set)| set.expired(sequence, Expiry::Restarted)));
    }

    /// Notes that the sender is alive, and on a reliable stream what it still cares for.
    pub(super) fn hear(&mut self, arrival: &Arrival, events: &mut Vec<Event>) {
        self.heard = arrival.at;
        let Some(oldest) = arrival.oldest else { return };
        self.deliver_ready(oldest, None, events);
        if let Some(order) = &self.order {
            give_up(&mut self.sets, Expiry::Superseded, |sequence, _| order.is_settled(sequence), events);
        }
    }

    /// Takes in a chunk for which there is room, and `spare` bytes more.
    pub(super) fn add(
        &mut self,
        chunk: Checked<'_>,
        arrival: &Arrival,
        spare: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        self.heard = arrival.at;
        let sequence = arrival.sequence;
        let set = match self.sets.get_mut(&sequence) {
            Some(set) => set,
            None => self.sets.entry(sequence).or_insert(Partial::new(&chunk, arrival.at)),
        };
        match set.add(chunk, spare)? {
            Added::Duplicate(index) => events.push(Event::Duplicate { sequence, index }),
            Added::Missing { received, total } => events.push(Event::Progress { sequence, received, total }),
            Added::Whole => {
                let Some(set) = self.sets.remove(&sequence) else { return Ok(()) };
                let (chunks, first_arrival) = (set.total(), set.since());
                let (tensor, metadata) = set.into_tensor(sequence)?;
                let whole = Whole { tensor, metadata, sequence, chunks, first_arrival, at: arrival.at, lost: 0 };
                self.whole(whole, arrival, events);
            }
        }
        Ok(())
    }

    /// A tensor is whole: delivers it, or what the stream's order allows.
    pub(super) fn whole(&mut self, mut whole: Whole, arrival: &Arrival, events: &mut Vec<Event>) {
        self.heard = arrival.at;
        if let Some(oldest) = arrival.oldest {
            events.push(Event::Settled { sequence: whole.sequence, chunks: whole.chunks });
            self.deliver_ready(oldest, Some(whole), events);
        } else {
            whole.lost = self.finish(arrival, events);
            let event = self.deliver(whole);
            events.push(event);
        }
    }

    /// Notes a finished tensor and gives up the older partial ones. Returns how many were skipped.
    fn finish(&mut self, arrival: &Arrival, events: &mut Vec<Event>) -> u32 {
        let &Arrival { sequence, timestamp_ns, at, .. } = arrival;
        give_up(&mut self.sets, Expiry::Superseded, |partial, _| !is_older(sequence, partial), events);
        let before = self.finished.replace(Finished { sequence, timestamp_ns, at });
        before.map_or(0, |before| sequence.wrapping_sub(before.sequence).saturating_sub(1))
    }

    /// On a reliable stream, delivers what is next once all before `oldest` are settled.
    fn deliver_ready(&mut self, oldest: u32, whole: Option<Whole>, events: &mut Vec<Event>) {
        let order = self.order.get_or_insert_with(|| Order::new(oldest));
        whole.into_iter().for_each(|whole| order.add(whole));
        for whole in order.ready(oldest) {
            let event = self.deliver(whole);
            events.push(event);
        }
    }

    /// What becomes of a whole tensor whose turn has come.
    fn deliver(&mut self, whole: Whole) -> Event {
        let Whole { tensor, metadata, sequence, chunks, first_arrival, lost, .. } = whole;
        match self.delta.restore(&metadata, tensor, sequence) {
            Ok(tensor) => Event::Complete { tensor: Box::new(tensor), sequence, chunks, first_arrival, lost },
            Err(error) => Event::Refused(error.into()),
        }
    }

    /// Gives up the set that is worth least beside one more of `sequence`: an older one where the newest tensor wins, the
    /// newest where they wait for older. None where all are worth more.
    pub(super) fn make_way(&mut self, sequence: u32) -> Option<Event> {
        let held = self.sets.keys().copied();
        let gives_way = match &self.order {
            None => held.into_iter().find(|&held| is_older(held, sequence)),
            Some(order) => held.filter(|&held| is_older(sequence, held)).max_by_key(|&held| order.distance(held)),
        }?;
        self.sets.remove(&gives_way).map(|set| set.expired(gives_way, Expiry::Superseded))
    }

    /// Gives up what has waited longer than the timeout.
    pub(super) fn expire(&mut self, now: Steady, timeout: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let overdue = |_, set: &Partial| now.since(set.since()) > timeout;
        give_up(&mut self.sets, Expiry::Timeout(timeout), overdue, &mut events);
        let overdue = self.order.as_mut().map(|order| order.overdue(|at| now.since(at) > timeout));
        for whole in overdue.unwrap_or_default() {
            let event = self.deliver(whole);
            events.push(event);
        }
        self.finished.take_if(|finished| now.since(finished.at) > timeout);
        events
    }

    /// Whether anything waits, or may yet come.
    pub(super) fn is_alive(&self, now: Steady, timeout: Duration) -> bool {
        // A reliable or a delta stream is worth remembering for longer than a best-effort one without news.
        let kept = self.order.is_some() || self.delta.held_bytes() > 0;
        let patience = if kept { timeout * 10 } else { timeout };
        let waits = self.order.as_ref().is_some_and(Order::is_waiting);
        waits || !self.sets.is_empty() || self.finished.is_some() || now.since(self.heard) <= patience
    }
}

/// Gives up the partial tensors of which `is_hopeless` holds.
fn give_up(
    sets: &mut BTreeMap<u32, Partial>,
    reason: Expiry,
    is_hopeless: impl Fn(u32, &Partial) -> bool,
    events: &mut Vec<Event>,
) {
    sets.retain(|&sequence, set| {
        let hopeless = is_hopeless(sequence, set);
        if hopeless {
            events.push(set.expired(sequence, reason));
        }
        !hopeless
    });
}

/// Whether serial number `a` comes before `b`, with wrapping.
fn is_older(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) <= u32::MAX / 2
}
