//! The sending end: tensors wait here as parcels until they are sent, and on a reliable stream until they are
//! acknowledged or given up.
//!
//! A state machine without clock or socket: [`Outbox::push`] takes a tensor, [`Outbox::poll`] says what to send now or
//! until when to wait, [`Outbox::acknowledge`] takes in what the receiver says.
//!
//! Sent bytes are paced where the link's rate is known, and unacknowledged ones stay within a window. A chunk counts as
//! lost when the receiver names it missing later than the round trip and its variation explain (RFC 6298); it is sent
//! again within a budget, so that a bad link is never made worse.

use std::collections::VecDeque;
use std::time::Duration;

use ecps_core::clock::{Steady, SteadyClock};
use ecps_core::wire::LTP_HEADER_VERSION;
use ecps_core::wire::proto::LtpAck;
use thiserror::Error;

use crate::chunks::{ChunkError, Packet, Parcel};
use crate::codec::{self, EncodeError, TYPE_ACK};
use crate::compression::{Auto, Choice, Compression, LOCAL_BYTES_PER_SECOND, Packer};
use crate::delta::{DELTA_KEY, DeltaSender};
use crate::link::{Mode, NEED_KEY, PEER_KEY, RECEIVER_KEY, SENDER_KEY};
use crate::outbox::timing::{Pacer, RoundTrip};
use crate::reassembly::{MISSING_LISTED, OLDEST_KEY};
use crate::tensor::Tensor;

mod sent;
mod settings;
mod timing;

pub use settings::Settings;

use sent::Sent;

/// Times a packet of a reliable stream may be sent again.
const MOST_RESENDS: u8 = 8;
/// Parcels of a best-effort stream: one under way and the newest.
const BEST_EFFORT_PARCELS: usize = 2;

/// Why a tensor was not taken.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PushError {
    /// It could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It could not be cut.
    #[error(transparent)]
    Cut(#[from] ChunkError),
    /// A reliable stream holds as many as it may.
    #[error("{0} tensors are not yet acknowledged, which is the limit of the stream")]
    Full(usize),
}

/// Why an acknowledgement was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AckRefusal {
    /// No header, or of another version or type.
    #[error("the acknowledgement has no header of version {LTP_HEADER_VERSION} and type {TYPE_ACK} (ACK)")]
    Header,
    /// An index past the last chunk.
    #[error("the acknowledgement names chunk {index} as missing, and its tensor has {total}")]
    Index {
        /// The index.
        index: u32,
        /// Chunks there are.
        total: u32,
    },
    /// More missing chunks than one acknowledgement names.
    #[error("the acknowledgement names {0} missing chunks, more than the {MISSING_LISTED} allowed")]
    TooManyMissing(usize),
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub enum Next<'a> {
    /// Send this, and ask again.
    Send(Packet<'a>),
    /// Ask again then, or when something was pushed or acknowledged.
    Wait(Steady),
    /// Nothing until something is pushed.
    Idle,
}

/// What an outbox has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentCounters {
    /// Tensors taken.
    pub tensors: u64,
    /// Of them, key frames of a delta stream.
    pub keys: u64,
    /// Of them, deltas.
    pub deltas: u64,
    /// Bytes of the tensors.
    pub bytes_raw: u64,
    /// Bytes sent, with headers and what was sent again.
    pub bytes_wire: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Tensors acknowledged.
    pub acknowledged: u64,
    /// Tensors given up after the timeout, or for a newer one before they were sent.
    pub given_up: u64,
}

/// The sending end of a stream.
#[derive(Debug)]
pub struct Outbox {
    settings: Settings,
    packer: Packer,
    auto: Auto,
    delta: Option<DeltaSender>,
    parcels: VecDeque<Sent>,
    sequence: u32,
    pacer: Pacer,
    round_trip: RoundTrip,
    used: Compression,
    counters: SentCounters,
}

impl Outbox {
    /// An empty one.
    pub fn new(settings: Settings) -> Outbox {
        let rate = settings.bytes_per_second;
        Outbox {
            packer: Packer::default(),
            auto: Auto::new(rate.unwrap_or(LOCAL_BYTES_PER_SECOND)),
            delta: settings.key_every.map(DeltaSender::new),
            parcels: VecDeque::new(),
            sequence: 0,
            pacer: Pacer::new(rate),
            round_trip: RoundTrip::default(),
            used: Compression::default(),
            counters: SentCounters::default(),
            settings,
        }
    }

    /// One whose first tensor has the number after this.
    pub fn starting_at(settings: Settings, sequence: u32) -> Outbox {
        Outbox { sequence, ..Outbox::new(settings) }
    }

    /// Takes a tensor and returns its number in the stream. A best-effort stream gives up what has not begun to be sent.
    ///
    /// # Errors
    /// [`PushError`]; a refused tensor takes no number.
    pub fn push(&mut self, tensor: Tensor, clock: &dyn SteadyClock) -> Result<u32, PushError> {
        if self.settings.mode == Mode::Reliable && self.parcels.len() >= self.settings.tensors {
            return Err(PushError::Full(self.parcels.len()));
        }
        let sequence = self.sequence.wrapping_add(1);
        let raw = tensor.data().len() as u64;
        let (tensor, delta) = match &mut self.delta {
            Some(delta) => {
                let (tensor, text) = delta.prepare(tensor, sequence);
                (tensor, Some(text))
            }
            None => (tensor, None),
        };
        let result = self.parcel(tensor, delta.clone(), sequence, clock);
        let parcel = match (result, &mut self.delta) {
            (Ok(parcel), _) => parcel,
            (Err(error), delta) => {
                delta.iter_mut().for_each(DeltaSender::resynchronise);
                return Err(error);
            }
        };
        if self.settings.mode != Mode::Reliable && self.parcels.len() >= BEST_EFFORT_PARCELS {
            self.make_way();
        }
        self.sequence = sequence;
        self.counters.tensors += 1;
        self.counters.bytes_raw += raw;
        match delta.as_deref() {
            Some("key") => self.counters.keys += 1,
            Some(_) => self.counters.deltas += 1,
            None => {}
        }
        self.parcels.push_back(Sent::new(parcel, delta.as_deref() == Some("key")));
        Ok(sequence)
    }

    fn parcel(
        &mut self,
        tensor: Tensor,
        delta: Option<String>,
        sequence: u32,
        clock: &dyn SteadyClock,
    ) -> Result<Parcel, PushError> {
        self.used = match self.settings.compression {
            Choice::Fixed(compression) => compression,
            Choice::Auto => {
                let width = codec::element_width(&tensor);
                self.auto.choose(tensor.data(), width, &mut self.packer, clock)
            }
        };
        let mut frame = codec::encode_unsealed(tensor, self.used, sequence, &mut self.packer)?;
        if let Some(header) = &mut frame.header {
            let mut put = |key: &str, value: String| drop(header.metadata.insert(key.to_owned(), value));
            put(SENDER_KEY, self.settings.sender.clone());
            if !self.settings.peer.is_empty() {
                put(PEER_KEY, self.settings.peer.clone());
            }
            if self.settings.mode == Mode::Reliable {
                put(OLDEST_KEY, u32::MAX.to_string()); // keeps the room for it
            }
            delta.into_iter().for_each(|delta| put(DELTA_KEY, delta));
        }
        Ok(Parcel::new(frame, self.settings.max)?)
    }

    /// Gives up parcels of a best-effort stream for a newer one: those that are sent, and those that wait.
    fn make_way(&mut self) {
        let (mut given_up, mut lost_key, mut under_way) = (0, false, false);
        self.parcels.retain(|sent| {
            let keep = sent.has_begun() && !sent.is_sent() && !std::mem::replace(&mut under_way, true);
            if !keep && !sent.is_sent() {
                given_up += 1;
                lost_key |= sent.is_key;
            }
            keep
        });
        self.counters.given_up += given_up;
        if lost_key {
            self.resynchronise();
        }
    }

    /// The next tensor goes whole.
    pub fn resynchronise(&mut self) {
        self.delta.iter_mut().for_each(DeltaSender::resynchronise);
    }

    /// What to do now.
    pub fn poll(&mut self, now: Steady) -> Next<'_> {
        self.give_up(now);
        let ready = self.pacer.ready();
        if ready > now && !self.parcels.is_empty() {
            return Next::Wait(ready);
        }
        if self.settings.mode == Mode::Reliable {
            let quiet = self.round_trip.timeout();
            for sent in &mut self.parcels {
                sent.probe(now, quiet);
            }
        }
        let oldest = self.oldest();
        let Some((at, index)) = self.due() else { return self.until(now) };
        let Some(sent) = self.parcels.get_mut(at) else { return Next::Idle };
        let bytes = sent.parcel.packet_bytes(index);
        let again = sent.note_sent(index, now);
        self.pacer.spend(bytes, now);
        self.counters.packets += 1;
        self.counters.resent += u64::from(again);
        self.counters.bytes_wire += bytes as u64;
        let Some(mut packet) = sent.parcel.packet(index) else { return Next::Idle };
        if let Some(oldest) = oldest {
            packet.header_mut().metadata.insert(OLDEST_KEY.to_owned(), oldest.to_string());
        }
        Next::Send(packet)
    }

    /// Which packet of which parcel goes next: what was lost before what was never sent, older before newer.
    fn due(&self) -> Option<(usize, u32)> {
        let lost = self.parcels.iter().enumerate().find_map(|(at, sent)| Some((at, sent.lost_packet()?)));
        if lost.is_some() {
            return lost;
        }
        let under_way: usize = self.parcels.iter().map(Sent::under_way).sum();
        if self.settings.mode == Mode::Reliable && under_way >= self.settings.window_bytes {
            return None;
        }
        self.parcels.iter().enumerate().find_map(|(at, sent)| Some((at, sent.fresh_packet()?)))
    }

    fn until(&self, now: Steady) -> Next<'static> {
        let reliable = self.settings.mode == Mode::Reliable;
        let quiet = self.round_trip.timeout();
        let times = self.parcels.iter().filter_map(|sent| {
            let end = Steady(sent.first_sent?.0 + self.settings.timeout);
            Some(if reliable { end.min(sent.next_probe(quiet)?) } else { end })
        });
        times.min().map_or(Next::Idle, |time| Next::Wait(time.max(Steady(now.0 + Duration::from_millis(1)))))
    }

    /// The oldest tensor still cared for, on a reliable stream.
    fn oldest(&self) -> Option<u32> {
        let first = self.parcels.front().map_or(self.sequence.wrapping_add(1), |sent| sent.parcel.sequence());
        (self.settings.mode == Mode::Reliable).then_some(first)
    }

    /// Gives up what is older than the timeout, and on a best-effort stream what is sent and has a successor.
    fn give_up(&mut self, now: Steady) {
        let timeout = self.settings.timeout;
        let overdue = |sent: &Sent| sent.first_sent.is_some_and(|first| now.since(first) > timeout);
        if self.settings.mode == Mode::Reliable {
            let before = self.parcels.len();
            let lost_key = self.parcels.iter().any(|sent| overdue(sent) && sent.is_key);
            self.parcels.retain(|sent| !overdue(sent));
            self.counters.given_up += (before - self.parcels.len()) as u64;
            if lost_key {
                self.resynchronise();
            }
            return;
        }
        while self.parcels.len() > 1 && self.parcels.front().is_some_and(Sent::is_sent)
            || self.parcels.front().is_some_and(overdue)
        {
            self.parcels.pop_front();
        }
    }

    /// Takes in what a receiver says. Acknowledgements for other senders, from others than the peer, or of tensors that
    /// are settled, change nothing.
    ///
    /// # Errors
    /// [`AckRefusal`].
    pub fn acknowledge(&mut self, ack: &LtpAck, now: Steady) -> Result<(), AckRefusal> {
        let header = ack.header.as_ref().filter(|h| (h.version, h.message_type) == (LTP_HEADER_VERSION, TYPE_ACK));
        let header = header.ok_or(AckRefusal::Header)?;
        if ack.missing_chunks.len() > MISSING_LISTED {
            return Err(AckRefusal::TooManyMissing(ack.missing_chunks.len()));
        }
        let says = |key: &str| header.metadata.get(key).map(String::as_str);
        let for_another = says(SENDER_KEY).is_some_and(|sender| sender != self.settings.sender);
        let from_another = !self.settings.peer.is_empty() && says(RECEIVER_KEY) != Some(self.settings.peer.as_str());
        if for_another || from_another {
            return Ok(());
        }
        if header.metadata.contains_key(NEED_KEY) {
            self.resynchronise();
        }
        let Some(at) = self.parcels.iter().position(|sent| sent.parcel.sequence() == header.sequence_number) else {
            return Ok(());
        };
        if ack.success {
            if let Some(sample) = self.parcels.remove(at).and_then(|sent| sent.round_trip(now)) {
                self.round_trip.record(sample);
            }
            self.counters.acknowledged += 1;
            return Ok(());
        }
        let Some(sent) = self.parcels.get_mut(at) else { return Ok(()) };
        let total = sent.parcel.packets();
        if let Some(&index) = ack.missing_chunks.iter().find(|&&index| index >= total) {
            return Err(AckRefusal::Index { index, total });
        }
        let (grace, most_resends) = match self.settings.mode {
            Mode::Reliable => (self.round_trip.grace(), MOST_RESENDS),
            // The receiver has waited before it spoke.
            Mode::BestEffort { retries } => {
                (Duration::ZERO, u8::try_from(retries).unwrap_or(MOST_RESENDS).min(MOST_RESENDS))
            }
        };
        let rules = sent::Rules { grace, most_resends, share: self.settings.resend_share };
        if let Some(sample) = sent.hear(&ack.missing_chunks, now, rules) {
            self.round_trip.record(sample);
        }
        Ok(())
    }

    /// What was done so far.
    pub fn counters(&self) -> SentCounters {
        self.counters
    }

    /// The compression of the newest tensor.
    pub fn compression(&self) -> Compression {
        self.used
    }

    /// Tensors that are held.
    pub fn waiting(&self) -> usize {
        self.parcels.len()
    }
}
