//! Frames as protobuf: no panic, and what is accepted has the size that its shape says.
#![no_main]

use ecps_perception::codec::decode_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensor) = decode_bytes(bytes) {
        let elements: usize = tensor.shape().iter().map(|&extent| extent as usize).product();
        assert_eq!(tensor.data().len(), elements * tensor.dtype().bytes());
    }
});
