//! The link's topics: packets and acknowledgements as they lie in DDS.

use ecps_core::clock::Steady;
use ecps_core::wire::proto::LtpAck;
use ecps_ros::{CdrPublisher, Node, StartError, qos};

use crate::cdr::wire;
use crate::chunks::Packet;
use crate::inbox::{Inbox, Taken};

/// Whole frames that wait in DDS for a slow receiver.
pub(super) const FRAMES: usize = 64;
/// Chunks that do: one tensor comes as a burst of them.
pub(super) const CHUNKS: usize = 1024;
const FRAME_TYPE: &str = "ecps_msgs/msg/LtpFrame";
const CHUNK_TYPE: &str = "ecps_msgs/msg/LtpChunk";
const ACK_TYPE: &str = "ecps_msgs/msg/LtpAck";

/// A packet that came in, as bytes.
#[derive(Debug)]
pub(super) enum Arrived {
    Frame(Vec<u8>),
    Chunk(Vec<u8>),
    /// Time passed.
    Tick,
}

impl Arrived {
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
    memory: Vec<u8>,
}

impl PacketPublisher {
    pub(super) fn new<S: 'static>(node: &mut Node<S>, link: &str) -> Result<PacketPublisher, StartError> {
        Ok(PacketPublisher {
            frames: node.cdr_publisher(&format!("{link}/frames"), FRAME_TYPE, qos::reliable(FRAMES))?,
            chunks: node.cdr_publisher(&format!("{link}/chunks"), CHUNK_TYPE, qos::reliable(CHUNKS))?,
            memory: Vec::new(),
        })
    }

    pub(super) fn publish(&mut self, packet: &Packet<'_>) -> Result<(), String> {
        self.memory = wire::packet(packet, std::mem::take(&mut self.memory));
        match packet {
            Packet::Frame { .. } => self.frames.try_publish(&self.memory),
            Packet::Chunk { .. } => self.chunks.try_publish(&self.memory),
        }
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
    heard: impl Fn(&mut S, Arrived) + Clone + Send + 'static,
) -> Result<(), StartError> {
    let (frames, chunks) = (heard.clone(), heard);
    node.subscribe_cdr(&format!("{link}/frames"), FRAME_TYPE, qos::reliable(FRAMES), move |state, bytes| {
        frames(state, Arrived::Frame(bytes));
    })?;
    node.subscribe_cdr(&format!("{link}/chunks"), CHUNK_TYPE, qos::reliable(CHUNKS), move |state, bytes| {
        chunks(state, Arrived::Chunk(bytes));
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
