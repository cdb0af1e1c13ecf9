//! Chunks as protobuf, several from one input: no panic, and no more held than was sent and its overhead.
#![no_main]

use std::time::Duration;

use ecps_core::clock::Steady;
use ecps_core::limits;
use ecps_core::wire::{self, proto::LtpChunk};
use ecps_perception::inbox::Inbox;
use ecps_perception::reassembly::{Bounds, Pool};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bounds = Bounds::default();
    let mut inbox = Inbox::new("s", "r", bounds, Pool::new(bounds.total_bytes));
    for (number, part) in (0_u64..).zip(bytes.chunks(512)) {
        let now = Steady(Duration::from_millis(number));
        if let Ok(chunk) = wire::decode::<LtpChunk>(part, limits::LTP_FRAME_BYTES) {
            inbox.chunk("link", chunk, now);
        }
        inbox.poll(now);
    }
    assert!(inbox.held_bytes() <= 64 * bytes.len() + (1 << 20));
});
