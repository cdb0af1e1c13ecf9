//! The log as it is read: what each entry is called and where it lies, and the latest ones whole, within a bound.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use openraft::EntryPayload;

use crate::runtime::Runtime;
use crate::segments::Place;
use crate::types::{Entry, LogId, Vote};

/// Bytes of an entry in memory besides its commands, and of a proposal besides its command.
const OVERHEAD: usize = 128;

struct Slot<R: Runtime> {
    id: LogId,
    /// None until it is written.
    place: Option<Place>,
    entry: Option<Entry<R>>,
}

/// An entry asked for.
pub(crate) enum Found<R: Runtime> {
    Here(Entry<R>),
    There(LogId, Place),
}

/// What is in the log.
pub(crate) struct Window<R: Runtime> {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    /// Without gaps, the first right after what was purged.
    slots: VecDeque<Slot<R>>,
    /// How many of the first slots are not whole.
    hollow: usize,
    /// Bytes of those that are, and how many there may be.
    bytes: usize,
    limit: usize,
}

fn weight<R: Runtime>(entry: &Entry<R>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.0.iter().map(|p| OVERHEAD + p.command.len()).sum::<usize>() + OVERHEAD,
        EntryPayload::Blank | EntryPayload::Membership(_) => OVERHEAD,
    }
}

impl<R: Runtime> Window<R> {
    /// Keeps entries whole up to `limit` bytes, and what is not written yet.
    pub(crate) fn new(limit: usize) -> Window<R> {
        Window { vote: None, purged: None, slots: VecDeque::new(), hollow: 0, bytes: 0, limit }
    }

    /// Index of the first entry that there is, or that there will be.
    pub(crate) fn first(&self) -> u64 {
        self.slots.front().map_or_else(|| self.purged.map_or(0, |id| id.index + 1), |slot| slot.id.index)
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    fn forget(&mut self, slot: Option<Slot<R>>) {
        let bytes = slot.and_then(|slot| slot.entry).map_or(0, |entry| weight(&entry));
        self.bytes = self.bytes.saturating_sub(bytes);
        self.hollow = self.hollow.min(self.slots.len());
    }

    /// Drops entry `index` and all after it.
    pub(crate) fn truncate(&mut self, index: u64) {
        while self.slots.back().is_some_and(|slot| slot.id.index >= index) {
            let slot = self.slots.pop_back();
            self.forget(slot);
        }
    }

    /// Drops entry `upto` and all before it.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self.slots.front().is_some_and(|slot| slot.id.index <= upto.index) {
            let slot = self.slots.pop_front();
            self.hollow = self.hollow.saturating_sub(1);
            self.forget(slot);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// Appends an entry, in place of what is there from its index on.
    pub(crate) fn push(&mut self, entry: Entry<R>) {
        self.truncate(entry.log_id.index);
        self.bytes += weight(&entry);
        self.slots.push_back(Slot { id: entry.log_id, place: None, entry: Some(entry) });
    }

    /// An entry was written. Those longest in memory are let go where there are too many.
    pub(crate) fn placed(&mut self, id: LogId, place: Place) {
        let at = id.index.checked_sub(self.first()).and_then(|at| usize::try_from(at).ok());
        // It may be void already.
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)).filter(|slot| slot.id == id) {
            slot.place = Some(place);
        }
        while self.bytes > self.limit
            && let Some(slot) = self.slots.get_mut(self.hollow).filter(|slot| slot.place.is_some())
        {
            let bytes = slot.entry.take().map_or(0, |entry| weight(&entry));
            self.bytes = self.bytes.saturating_sub(bytes);
            self.hollow += 1;
        }
    }

    /// The entries of `range` that there are.
    pub(crate) fn read(&self, range: &impl RangeBounds<u64>) -> Vec<Found<R>> {
        let first = self.first();
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        let found = |slot: &Slot<R>| match (&slot.entry, slot.place) {
            (Some(entry), _) => Some(Found::Here(entry.clone())),
            (None, place) => place.map(|place| Found::There(slot.id, place)),
        };
        self.slots.iter().skip(skip).take(take).filter_map(found).collect()
    }

    /// Whether indices follow each other.
    pub(crate) fn is_whole(&self) -> bool {
        let first = self.first();
        let follows = self.slots.iter().zip(first..).all(|(slot, index)| slot.id.index == index);
        follows && first == self.purged.map_or(0, |id| id.index + 1)
    }
}
