//! Acknowledgements as they lie in DDS, to an outbox under way: no panic, and no endless sending.
#![no_main]

use ecps_core::clock::{ManualClock, SteadyClock};
use ecps_core::wire::proto::LtpAck;
use ecps_fuzz::begin_with;
use ecps_perception::cdr::wire;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::compression::{Choice, Compression};
use ecps_perception::link::Mode;
use ecps_perception::outbox::{Next, Outbox, Settings};
use ecps_perception::reassembly::complete_ack;
use ecps_perception::tensor::{DType, Tensor};
use libfuzzer_sys::fuzz_target;

fn sound() -> [Vec<u8>; 2] {
    let missing = LtpAck { success: false, missing_chunks: vec![0, 2, 19], ..complete_ack(1, 20) };
    [complete_ack(1, 20), missing].map(|ack| wire::ack(&ack))
}

fuzz_target!(
    init: begin_with("ltp_ack", sound()),
    |bytes: &[u8]| {
        let Ok(ack) = wire::read_ack(bytes) else { return };
        let settings = Settings {
            mode: Mode::Reliable,
            max: MaxFrame::new(2048).unwrap(),
            compression: Choice::Fixed(Compression::NONE),
            ..Settings::default()
        };
        let (mut outbox, clock) = (Outbox::new(settings), ManualClock::default());
        outbox.push(Tensor::new("t", DType::U8, vec![20_000], vec![7; 20_000]).unwrap(), &clock).unwrap();
        let mut sent = 0;
        for _ in 0..20 {
            while let Next::Send(_) = outbox.poll(clock.now()) {
                sent += 1;
            }
            clock.advance(std::time::Duration::from_millis(200));
            let _ = outbox.acknowledge(&ack, clock.now());
        }
        assert!(sent < 100, "{sent} packets for a tensor of 20");
    }
);
