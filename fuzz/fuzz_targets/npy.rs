//! NumPy files: no panic, and what is read and written is read the same.
#![no_main]

use ecps_fuzz::{begin_with, tensor};
use ecps_perception::npy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: begin_with("npy", [npy::write(&tensor(40))]),
    |bytes: &[u8]| {
        if let Ok(tensor) = npy::read(bytes, "t") {
            assert_eq!(npy::read(&npy::write(&tensor), "t").unwrap(), tensor);
        }
    }
);
