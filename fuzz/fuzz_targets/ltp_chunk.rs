//! Chunks as protobuf, each after its length, with checksums that agree: no panic, and no more held than was sent and its
//! overhead.
#![no_main]

use std::time::Duration;

use ecps_core::clock::Steady;
use ecps_core::wire::proto::LtpChunk;
use ecps_fuzz::{begin_with, chunks, seal};
use ecps_perception::inbox::Inbox;
use ecps_perception::reassembly::{Bounds, Pool};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fn delimited(chunks: &[LtpChunk]) -> Vec<u8> {
    chunks.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fuzz_target!(
    init: begin_with("ltp_chunk", chunks(4000).iter().map(|chunks| delimited(chunks))),
    |bytes: &[u8]| {
        let bounds = Bounds::default();
        let mut inbox = Inbox::new("s", "r", bounds, Pool::new(bounds.total_bytes));
        let (mut rest, mut now) = (bytes, Steady(Duration::from_secs(1)));
        while let Ok(mut chunk) = LtpChunk::decode_length_delimited(&mut rest) {
            seal(&mut chunk.header, &chunk.chunk_data);
            // A message of nothing is one byte, and each takes its place in the loop.
            now.0 += Duration::from_millis(300);
            inbox.chunk("link", chunk, now);
            inbox.poll(now);
            if rest.is_empty() {
                break;
            }
        }
        assert!(inbox.held_bytes() <= 64 * bytes.len() + (1 << 20));
    }
);
