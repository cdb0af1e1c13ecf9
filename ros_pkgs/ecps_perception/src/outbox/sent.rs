//! A parcel under way: which of its packets are sent, there, or lost.

use std::time::Duration;

use ecps_core::clock::Steady;

use crate::chunks::Parcel;
use crate::reassembly::MISSING_LISTED;

/// Packets of each parcel that may always be sent again, whatever its size.
const ALWAYS: usize = 32;

/// What decides about loss and sending again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) grace: Duration,
    pub(super) most_resends: u8,
    pub(super) share: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    sent: Option<Steady>,
    times: u8,
    there: bool,
    lost: bool,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) parcel: Parcel,
    pub(super) is_key: bool,
    pub(super) first_sent: Option<Steady>,
    states: Vec<State>,
    /// The first packet that was never sent.
    fresh: u32,
    /// The last time that something was sent or heard.
    active: Steady,
    lost: u32,
    under_way: usize,
    resent_bytes: usize,
    probes: u32,
}

impl Sent {
    pub(super) fn new(parcel: Parcel, is_key: bool) -> Sent {
        let states = vec![State::default(); parcel.packets() as usize];
        Sent {
            parcel,
            is_key,
            first_sent: None,
            states,
            fresh: 0,
            active: Steady::default(),
            lost: 0,
            under_way: 0,
            resent_bytes: 0,
            probes: 0,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.fresh > 0
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.fresh == self.parcel.packets() && self.lost == 0
    }

    /// Bytes sent, and neither there nor lost.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn lost_packet(&self) -> Option<u32> {
        if self.lost == 0 {
            return None;
        }
        self.states.iter().position(|state| state.lost).map(|index| index as u32)
    }

    pub(super) fn fresh_packet(&self) -> Option<u32> {
        (self.fresh < self.parcel.packets()).then_some(self.fresh)
    }

    /// Notes that a packet is sent; whether it is so again.
    pub(super) fn note_sent(&mut self, index: u32, now: Steady) -> bool {
        self.first_sent.get_or_insert(now);
        self.active = now;
        self.fresh = self.fresh.max(index + 1);
        let bytes = self.parcel.packet_bytes(index);
        let Some(state) = self.states.get_mut(index as usize) else { return false };
        let again = state.sent.replace(now).is_some();
        state.times = state.times.saturating_add(1);
        if std::mem::take(&mut state.lost) {
            self.lost -= 1;
        }
        self.under_way += bytes;
        if again {
            self.resent_bytes += bytes;
        }
        again
    }

    /// Marks a packet to be sent again, where the budget allows.
    fn lose(&mut self, index: u32, rules: Rules) {
        let bytes = self.parcel.packet_bytes(index);
        let budget = (self.parcel.payload_bytes() as f64 * rules.share) as usize;
        let planned = self.resent_bytes + (self.lost as usize + 1) * bytes;
        let affordable = planned <= budget.max(ALWAYS * bytes);
        let Some(state) = self.states.get_mut(index as usize) else { return };
        if !affordable || state.times > rules.most_resends || state.lost {
            return;
        }
        if !std::mem::take(&mut state.there) {
            self.under_way = self.under_way.saturating_sub(bytes);
        }
        state.lost = true;
        self.lost += 1;
    }

    /// Takes in which packets are missing. Returns the round trip of one that is newly there.
    pub(super) fn hear(&mut self, missing: &[u32], now: Steady, rules: Rules) -> Option<Duration> {
        let mut is_missing = vec![false; self.states.len()];
        for &index in missing {
            if let Some(flag) = is_missing.get_mut(index as usize) {
                *flag = true;
            }
        }
        // A full list says nothing of what comes after its last entry.
        let known = match missing.iter().max() {
            Some(&last) if missing.len() >= MISSING_LISTED => last + 1,
            _ => self.parcel.packets(),
        };
        let mut sample = None;
        for (index, missing) in (0..known).zip(is_missing) {
            let bytes = self.parcel.packet_bytes(index);
            let Some(state) = self.states.get_mut(index as usize) else { break };
            let Some(sent) = state.sent else { continue };
            if missing && !state.lost && now.since(sent) > rules.grace {
                self.lose(index, rules);
            } else if !missing && !state.there {
                state.there = true;
                if std::mem::take(&mut state.lost) {
                    self.lost -= 1;
                } else {
                    self.under_way = self.under_way.saturating_sub(bytes);
                }
                // Of one that was sent again nobody knows which of the two arrived (Karn).
                if state.times == 1 {
                    sample = sample.max(Some(now.since(sent)));
                }
            }
        }
        self.active = self.active.max(now);
        self.probes = 0;
        sample
    }

    /// The round trip, of a parcel that is acknowledged whole.
    pub(super) fn round_trip(&self, now: Steady) -> Option<Duration> {
        let last = self.states.last().filter(|state| state.times == 1 && !state.there)?;
        Some(now.since(last.sent?))
    }

    /// When something is sent again unasked.
    pub(super) fn next_probe(&self, quiet: Duration) -> Option<Steady> {
        let patience = if self.probes == 0 { quiet } else { quiet * 2 };
        self.has_begun().then_some(Steady(self.active.0 + patience))
    }

    /// After silence sends the last packet that is not there again: the receiver, or its acknowledgement, was not heard.
    pub(super) fn probe(&mut self, now: Steady, quiet: Duration) {
        if self.lost > 0 || self.next_probe(quiet).is_none_or(|at| at > now) {
            return;
        }
        let last = (0_u32..).zip(&self.states).filter(|(_, state)| state.sent.is_some() && !state.there).last();
        // All seem to be there, and the word that the tensor is whole was lost.
        let index = last.map_or(self.fresh.saturating_sub(1), |(index, _)| index);
        self.probes += 1;
        self.active = now;
        self.lose(index, Rules { grace: quiet, most_resends: u8::MAX - 1, share: 1.0 });
    }
}
