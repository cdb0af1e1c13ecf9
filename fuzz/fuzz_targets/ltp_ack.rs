//! Acknowledgements as they lie in DDS, to an outbox under way: no panic, and no endless sending.
#![no_main]

use ecps_core::clock::{ManualClock, SteadyClock};
use ecps_perception::cdr::wire;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::link::Mode;
use ecps_perception::outbox::{Next, Outbox, Settings};
use ecps_perception::tensor::{DType, Tensor};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(ack) = wire::read_ack(bytes) else { return };
    let settings = Settings { mode: Mode::Reliable, max: MaxFrame::new(2048).unwrap(), ..Settings::default() };
    let (mut outbox, clock) = (Outbox::new(settings), ManualClock::default());
    let data = (0..20_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    outbox.push(Tensor::new("t", DType::U8, vec![20_000], data).unwrap(), &clock).unwrap();
    let mut sent = 0;
    for _ in 0..20 {
        while let Next::Send(_) = outbox.poll(clock.now()) {
            sent += 1;
        }
        clock.advance(std::time::Duration::from_millis(200));
        let _ = outbox.acknowledge(&ack, clock.now());
    }
    assert!(sent < 100);
});
