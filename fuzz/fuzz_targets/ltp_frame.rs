//! Frames as protobuf, as they come and with a checksum that agrees: no panic, and what is accepted has the size that its
//! shape says.
#![no_main]

use ecps_core::limits;
use ecps_core::wire::{self, proto::Ltp};
use ecps_fuzz::{begin_with, frames, seal};
use ecps_perception::codec::{decode, decode_bytes};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(
    init: begin_with("ltp_frame", frames(400).iter().map(Message::encode_to_vec)),
    |bytes: &[u8]| {
        let sealed = wire::decode::<Ltp>(bytes, limits::LTP_FRAME_BYTES).ok().map(|mut frame| {
            seal(&mut frame.header, &frame.tensor_zstd);
            decode(frame)
        });
        for tensor in [decode_bytes(bytes).ok(), sealed.and_then(Result::ok)].into_iter().flatten() {
            let extents = || tensor.shape().iter().map(|&extent| extent as usize);
            // Beside a zero the others may be as large as they like.
            let elements = if extents().any(|extent| extent == 0) { 0 } else { extents().product() };
            assert_eq!(tensor.data().len(), elements * tensor.dtype().bytes());
        }
    }
);
