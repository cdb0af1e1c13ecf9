//! The link's topics: packets and acknowledgements as they lie in DDS.

use std::borrow::Cow;

use ecps_core::clock::Steady;
use ecps_core::wire::proto::LtpAck;
use ecps_ros::r2r::ecps_msgs::msg::LtpLoanedChunk;
use ecps_ros::{CdrPublisher, LoanPublisher, Node, StartError, qos};

use crate::cdr::wire::{self, ChunkParts};
use crate::chunks::{MaxFrame, Packet};
use crate::inbox::{Inbox, Taken};

/// Whole frames that wait in DDS for a slow receiver.
pub(super) const FRAMES: usize = 64;
/// Chunks that do: one tensor comes as a burst of them.
pub(super) const CHUNKS: usize = 1024;
/// Chunks that do in lent memory: as many as the shared memory of the launch files' profile holds.
const LOANS: usize = 128;
/// Bytes of a chunk from which lent memory wins. It is sent whole, however little of it is used.
const LOANED_LEAST: usize = 384 << 10;
/// Bytes that it has.
const LOANED_MOST: usize = 528_380;
const FRAME_TYPE: &str = "ecps_msgs/msg/LtpFrame";
const CHUNK_TYPE: &str = "ecps_msgs/msg/LtpChunk";
const ACK_TYPE: &str = "ecps_msgs/msg/LtpAck";

/// A packet that came in, as bytes, which are lent where the middleware lends them.
#[derive(Debug)]
pub(super) enum Arrived<'a> {
    Frame(Vec<u8>),
    Chunk(Cow<'a, [u8]>),
    /// Time passed.
    Tick,
}

impl Arrived<'_> {
    /// The same for another time or thread.
    pub(super) fn into_owned(self) -> Arrived<'static> {
        match self {
            Arrived::Frame(bytes) => Arrived::Frame(bytes),
            Arrived::Chunk(bytes) => Arrived::Chunk(Cow::Owned(bytes.into_owned())),
            Arrived::Tick => Arrived::Tick,
        }
    }

    /// Hands it to the receiving end. What cannot even be read is told.
    pub(super) fn into_inbox(self, inbox: &mut Inbox, link: &str, now: Steady) -> Result<Taken, String> {
        let read = match self {
            Arrived::Tick => return Ok(inbox.poll(now)),
            Arrived::Frame(bytes) => wire::read_frame(bytes).map(|frame| inbox.frame(link, frame, now)),
            Arrived::Chunk(bytes) => wire::read_chunk(bytes).map(|chunk| inbox.chunk(link, chunk, now)),
        };
        read.map_err(|error| {
            inbox.unreadable("message");
            error.to_string()
        })
    }
}

/// Publishes packets below `link`.
pub(super) struct PacketPublisher {
    frames: CdrPublisher,
    chunks: CdrPublisher,
    /// Where chunks may be large enough for it, and the middleware lends memory.
    loans: Option<LoanPublisher<LtpLoanedChunk>>,
    memory: Vec<u8>,
}

impl PacketPublisher {
    /// For packets of at most `max` bytes.
    pub(super) fn new<S: 'static>(
        node: &mut Node<S>,
        link: &str,
        max: MaxFrame,
    ) -> Result<PacketPublisher, StartError> {
        let loans = match max.bytes() {
            LOANED_LEAST.. => Some(node.loan_publisher(&format!("{link}/loaned_chunks"), qos::reliable(LOANS))?),
            _ => None,
        };
        Ok(PacketPublisher {
            frames: node.cdr_publisher(&format!("{link}/frames"), FRAME_TYPE, qos::reliable(FRAMES))?,
            chunks: node.cdr_publisher(&format!("{link}/chunks"), CHUNK_TYPE, qos::reliable(CHUNKS))?,
            loans: loans.filter(LoanPublisher::lends),
            memory: Vec::new(),
        })
    }

    pub(super) fn publish(&mut self, packet: &Packet<'_>) -> Result<(), String> {
        if self.publish_in_loan(packet) {
            return Ok(());
        }
        self.memory = wire::packet(packet, std::mem::take(&mut self.memory));
        match packet {
            Packet::Frame { .. } => self.frames.try_publish(&self.memory),
            Packet::Chunk { .. } => self.chunks.try_publish(&self.memory),
        }
    }

    /// Whether it went in lent memory: it is a large chunk, and all who hear chunks hear those in lent memory.
    fn publish_in_loan(&self, packet: &Packet<'_>) -> bool {
        let Some(loans) = &self.loans else { return false };
        let Some(chunk) = ChunkParts::of(packet).filter(|chunk| chunk.bytes() >= LOANED_LEAST) else { return false };
        if chunk.bytes() > LOANED_MOST || loans.subscribers() < self.chunks.subscribers() {
            return false;
        }
        let written = loans.try_publish(|message| {
            if chunk.write(&mut message.chunk) {
                message.length = chunk.bytes() as u32;
            }
        });
        written.is_ok()
    }

    pub(super) fn subscribers(&self) -> usize {
        self.frames.subscribers().min(self.chunks.subscribers())
    }
}

/// Publishes acknowledgements below `link`.
#[derive(Debug, Clone)]
pub(super) struct AckPublisher(CdrPublisher);

impl AckPublisher {
    pub(super) fn new<S: 'static>(node: &mut Node<S>, link: &str) -> Result<AckPublisher, StartError> {
        Ok(AckPublisher(node.cdr_publisher(&format!("{link}/acks"), ACK_TYPE, qos::reliable(FRAMES))?))
    }

    pub(super) fn publish(&self, ack: &LtpAck) -> Result<(), String> {
        self.0.try_publish(&wire::ack(ack))
    }
}

/// Hears packets below `link`.
pub(super) fn hear_packets<S: 'static>(
    node: &mut Node<S>,
    link: &str,
    heard: impl Fn(&mut S, Arrived<'_>) + Clone + Send + 'static,
) -> Result<(), StartError> {
    let (frames, chunks, loans) = (heard.clone(), heard.clone(), heard);
    node.subscribe_cdr(&format!("{link}/frames"), FRAME_TYPE, qos::reliable(FRAMES), move |state, bytes| {
        frames(state, Arrived::Frame(bytes));
    })?;
    node.subscribe_cdr(&format!("{link}/chunks"), CHUNK_TYPE, qos::reliable(CHUNKS), move |state, bytes| {
        chunks(state, Arrived::Chunk(bytes.into()));
    })?;
    let topic = format!("{link}/loaned_chunks");
    node.subscribe_loans::<LtpLoanedChunk>(&topic, qos::reliable(LOANS), move |state, message| {
        // What claims more than there is cannot be read, and is counted as that.
        let chunk = message.chunk.get(..message.length as usize).unwrap_or_default();
        loans(state, Arrived::Chunk(chunk.into()));
    })?;
    Ok(())
}

/// Hears acknowledgements below `link`.
pub(super) fn hear_acks<S: 'static>(
    node: &mut Node<S>,
    link: &str,
    heard: impl FnMut(&mut S, Vec<u8>) + Send + 'static,
) -> Result<(), StartError> {
    node.subscribe_cdr(&format!("{link}/acks"), ACK_TYPE, qos::reliable(FRAMES), heard).map(|_| ())
}
