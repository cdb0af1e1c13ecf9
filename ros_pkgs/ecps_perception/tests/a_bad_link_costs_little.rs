//! Streams over a link that loses, doubles and reorders: seeded, in simulated time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod simulation;

use std::time::Duration;

use ecps_core::campaign::rounds;
use ecps_core::clock::{Stamp, Steady, SteadyClock};
use ecps_core::wire::proto::LtpAck;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::compression::{Choice, Compression};
use ecps_perception::link::Mode;
use ecps_perception::lossy::Conditions;
use ecps_perception::outbox::{AckRefusal, Next, Outbox, PushError, Settings};
use ecps_perception::reassembly::{Bounds, MISSING_LISTED, complete_ack};
use ecps_perception::tensor::{DType, Tensor};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use simulation::Simulation;

/// 100 Mbit/s.
const RATE: f64 = 12.5e6;
const DELAY: Duration = Duration::from_millis(5);

fn bad() -> Conditions {
    Conditions { loss: 0.05, duplicates: 0.05, jitter: Duration::from_millis(20), ..Conditions::clean(DELAY, RATE) }
}

fn reliable() -> Settings {
    Settings {
        mode: Mode::Reliable,
        compression: Choice::Fixed(Compression::NONE),
        max: MaxFrame::new(65_536).unwrap(),
        bytes_per_second: Some(RATE),
        peer: "receiver".into(),
        ..Settings::default()
    }
}

fn noise(seed: u64, bytes: u32) -> Tensor {
    let data = Pcg64Mcg::seed_from_u64(seed).random_iter().take(bytes as usize).collect();
    Tensor::new("t", DType::U8, vec![bytes], data).unwrap().at(Stamp(seed as i64))
}

fn forever() -> Duration {
    Duration::from_secs(3600)
}

#[test]
fn forty_megabytes_over_a_bad_link_cost_a_little_more_than_over_a_clean_one() {
    for seed in 0..u64::from(rounds(3, 100)) {
        let original = noise(seed, 40_000_000);
        let measure = |conditions| {
            let mut simulation = Simulation::new(reliable(), conditions, seed);
            let start = simulation.now();
            simulation.push(original.clone());
            simulation.run(forever(), |s| !s.delivered.is_empty() || s.outbox.waiting() == 0);
            let (_, tensor, at) = simulation.delivered.first().expect("it arrives");
            assert!(*tensor == original, "byte for byte");
            // Until the sender knows.
            let at = *at;
            simulation.run(Duration::from_secs(10), |s| s.outbox.waiting() == 0);
            assert_eq!(simulation.outbox.counters().acknowledged, 1);
            (at.since(start).as_secs_f64(), simulation.there.sent_bytes() as f64, simulation.there.lost())
        };
        let (clean_time, clean_bytes, _) = measure(Conditions::clean(DELAY, RATE));
        let (bad_time, bad_bytes, lost) = measure(bad());
        assert!(lost > 15, "{lost} lost");
        let (bytes, time) = (bad_bytes / clean_bytes, bad_time / clean_time);
        assert!(bytes <= 1.4 && time <= 1.5, "seed {seed}: {bytes:.3} × the bytes, {time:.3} × the time");
        println!("seed {seed}: {bytes:.3} × the bytes, {time:.3} × the time; clean {clean_time:.3} s");
    }
}

#[test]
fn a_reliable_stream_arrives_complete_and_in_order_whatever_happens_on_the_way() {
    for seed in 0..u64::from(rounds(20, 500)) {
        let conditions = Conditions { loss: 0.15, duplicates: 0.15, ..bad() };
        let mut simulation = Simulation::new(Settings { tensors: 1000, ..reliable() }, conditions, seed);
        let mut dice = Pcg64Mcg::seed_from_u64(seed);
        let tensors: Vec<Tensor> = (0..60).map(|i| noise(seed * 1000 + i, dice.random_range(1..300_000))).collect();
        for tensor in &tensors {
            simulation.push(tensor.clone());
            simulation.run(Duration::from_millis(dice.random_range(0..200)), |_| false);
        }
        simulation.run(Duration::from_secs(30), |s| s.outbox.waiting() == 0);
        let numbers: Vec<u32> = simulation.delivered.iter().map(|(number, ..)| *number).collect();
        let (sent, received) = (simulation.outbox.counters(), simulation.inbox.counters());
        assert_eq!(numbers, (1..=60).collect::<Vec<u32>>(), "seed {seed}: {sent:?}, {received:?}");
        assert!(simulation.delivered.iter().zip(&tensors).all(|((_, found, _), sent)| found == sent), "seed {seed}");
        let counters = simulation.inbox.counters();
        assert_eq!((counters.tensors, counters.lost, counters.refused), (60, 0, 0));
        // The sender knows, too, though acknowledgements are lost like all else.
        assert_eq!((sent.acknowledged, sent.given_up), (60, 0), "seed {seed}");
        assert!(counters.duplicates + counters.late > 0);
    }
}

#[test]
fn numbers_that_wrap_are_still_in_order() {
    // As if four thousand million tensors had gone before.
    let mut simulation = Simulation::new(reliable(), bad(), 1);
    simulation.outbox = Outbox::starting_at(reliable(), u32::MAX - 3);
    for number in 0..8 {
        simulation.push(noise(number, 100_000));
        simulation.run(Duration::from_millis(50), |_| false);
    }
    simulation.run(Duration::from_secs(10), |s| s.outbox.waiting() == 0);
    let numbers: Vec<u32> = simulation.delivered.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 2, 3, 4]);
}

#[test]
fn best_effort_delivers_the_newest_frees_what_is_partial_and_knows_what_it_lost() {
    for seed in 0..u64::from(rounds(10, 200)) {
        for (retries, expected) in [(0, 0.5), (1, 0.85)] {
            let mode = Mode::BestEffort { retries };
            let settings = Settings { mode, bytes_per_second: None, peer: String::new(), ..reliable() };
            let mut simulation = Simulation::new(settings, bad(), seed);
            for number in 0..100 {
                simulation.push(noise(number, 300_000)); // five chunks
                simulation.run(Duration::from_millis(100), |_| false);
            }
            simulation.run(Duration::from_secs(6), |_| false);
            let numbers: Vec<u32> = simulation.delivered.iter().map(|(number, ..)| *number).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "newer after older: {numbers:?}");
            let share = numbers.len() as f64 / 100.0;
            assert!(share > expected, "seed {seed}, {retries} retries: {share} arrived");
            let counters = simulation.inbox.counters();
            let seen = u64::from(numbers.last().unwrap() - numbers[0] + 1);
            assert_eq!(counters.tensors + counters.lost, seen, "each is either there or lost");
            assert_eq!(simulation.inbox.held_bytes(), 0, "nothing partial is left");
            assert!(simulation.most_held < 2_000_000, "{}", simulation.most_held);
        }
    }
}

#[test]
fn a_link_that_dies_costs_no_memory_and_is_not_flooded() {
    let mut simulation = Simulation::new(reliable(), Conditions { loss: 1.0, ..bad() }, 3);
    simulation.push(noise(1, 4_000_000));
    simulation.run(Duration::from_secs(20), |s| s.outbox.waiting() == 0);
    assert_eq!(simulation.outbox.waiting(), 0, "given up after the timeout");
    assert_eq!(simulation.outbox.counters().given_up, 1);
    assert!(simulation.there.sent_bytes() < 5_600_000, "{} bytes", simulation.there.sent_bytes());
    assert!(simulation.now().since(Steady(Duration::from_secs(100))) < Duration::from_secs(7));
}

#[test]
fn after_a_tensor_that_never_arrives_the_next_ones_do() {
    let mut simulation = Simulation::new(reliable(), bad(), 5);
    simulation.push(noise(1, 200_000));
    simulation.run(Duration::from_secs(5), |s| s.outbox.waiting() == 0);
    simulation.there = ecps_perception::lossy::LossyLink::new(Conditions { loss: 1.0, ..bad() }, 1);
    simulation.push(noise(2, 200_000));
    simulation.run(Duration::from_secs(7), |s| s.outbox.waiting() == 0);
    simulation.there = ecps_perception::lossy::LossyLink::new(bad(), 2);
    simulation.push(noise(3, 200_000));
    simulation.run(Duration::from_secs(5), |s| s.outbox.waiting() == 0);
    let numbers: Vec<u32> = simulation.delivered.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(simulation.inbox.counters().lost, 1);
}

#[test]
fn a_sender_that_restarts_goes_on_at_once() {
    let mut simulation = Simulation::new(reliable(), bad(), 7);
    for life in 0..3 {
        let sender = format!("/bridge@{life}");
        simulation.outbox = Outbox::new(Settings { sender, ..reliable() });
        for number in 0..5 {
            simulation.push(noise(life * 100 + number, 150_000));
            simulation.run(Duration::from_millis(40), |_| false);
        }
        // The last life ends in the middle of a tensor.
        let finish = if life < 2 { Duration::from_millis(5) } else { Duration::from_secs(5) };
        simulation.run(finish, |_| false);
    }
    let last: Vec<i64> = simulation.delivered.iter().map(|(_, tensor, _)| tensor.stamp().0).collect();
    assert!(last.ends_with(&[200, 201, 202, 203, 204]), "{last:?}");
    assert_eq!(simulation.inbox.counters().senders, 3);
}

#[test]
fn a_full_reliable_stream_pushes_back() {
    let mut outbox = Outbox::new(Settings { tensors: 2, ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    assert_eq!(outbox.push(noise(1, 10), &clock), Ok(1));
    assert_eq!(outbox.push(noise(2, 10), &clock), Ok(2));
    assert_eq!(outbox.push(noise(3, 10), &clock), Err(PushError::Full(2)));
    assert_eq!(outbox.counters().tensors, 2);
}

#[test]
fn no_more_is_under_way_than_the_window_allows() {
    let mut outbox = Outbox::new(Settings { window_bytes: 300_000, bytes_per_second: None, ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    clock.advance(Duration::from_secs(1));
    outbox.push(noise(1, 5_000_000), &clock).unwrap();
    let mut sent = 0;
    while let Next::Send(_) = outbox.poll(clock.now()) {
        sent += 1;
    }
    assert_eq!(sent, 5, "five chunks of 64 KiB");
}

#[test]
fn a_best_effort_sender_on_a_slow_link_keeps_what_is_under_way_and_the_newest() {
    let mode = Mode::BestEffort { retries: 1 };
    let mut outbox = Outbox::new(Settings { mode, bytes_per_second: Some(1e6), ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    clock.advance(Duration::from_secs(1));
    for number in 1..=50 {
        outbox.push(noise(number, 300_000), &clock).unwrap(); // 0.3 s of the link, every 0.1 s
        assert!(outbox.waiting() <= 2, "{} wait", outbox.waiting());
        for _ in 0..100 {
            while let Next::Send(_) = outbox.poll(clock.now()) {}
            clock.advance(Duration::from_millis(1));
        }
    }
    let counters = outbox.counters();
    assert!((25..40).contains(&counters.given_up), "{counters:?}");
}

/// It names the first 1024 alone: of those after them nothing is known, and they stay under way.
#[test]
fn a_full_list_of_missing_chunks_says_nothing_of_what_comes_after_it() {
    let max = MaxFrame::new(2048).unwrap();
    let mut outbox = Outbox::new(Settings { max, peer: String::new(), bytes_per_second: None, ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    outbox.push(noise(1, 5_000_000), &clock).unwrap();
    while let Next::Send(_) = outbox.poll(clock.now()) {}
    let sent = outbox.counters().packets;
    assert!(sent > 3 * MISSING_LISTED as u64, "{sent} packets fill the window");
    clock.advance(Duration::from_millis(1)); // too soon for any to be lost
    let missing_chunks = (0..MISSING_LISTED as u32).collect();
    let ack = LtpAck { success: false, missing_chunks, ..complete_ack(1, 0) };
    outbox.acknowledge(&ack, clock.now()).unwrap();
    assert!(!matches!(outbox.poll(clock.now()), Next::Send(_)), "the window is still full");
}

#[test]
fn packets_are_spread_over_time_at_the_rate_of_the_link() {
    let mut outbox = Outbox::new(Settings { bytes_per_second: Some(1e6), ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    clock.advance(Duration::from_secs(1));
    outbox.push(noise(1, 3_000_000), &clock).unwrap();
    for millisecond in 0..1000 {
        while let Next::Send(_) = outbox.poll(clock.now()) {}
        // What is due by now, what may go ahead of it, and the packet that crosses the line.
        let limit = 1000 * (millisecond + 5) + 70_000;
        let sent = outbox.counters().bytes_wire;
        assert!(sent <= limit, "{sent} bytes after {millisecond} ms");
        clock.advance(Duration::from_millis(1));
    }
    assert!(outbox.counters().bytes_wire > 900_000, "{:?}", outbox.counters());
}

#[test]
fn hostile_acknowledgements_are_refused_or_change_nothing() {
    let mut outbox = Outbox::new(Settings { peer: String::new(), bytes_per_second: None, ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    outbox.push(noise(1, 500_000), &clock).unwrap();
    while let Next::Send(_) = outbox.poll(clock.now()) {}
    let mut missing = LtpAck { success: false, ..complete_ack(1, 8) };
    missing.missing_chunks = vec![u32::MAX];
    assert_eq!(outbox.acknowledge(&missing, clock.now()), Err(AckRefusal::Index { index: u32::MAX, total: 8 }));
    missing.missing_chunks = vec![0; MISSING_LISTED + 1];
    assert_eq!(outbox.acknowledge(&missing, clock.now()), Err(AckRefusal::TooManyMissing(MISSING_LISTED + 1)));
    assert_eq!(outbox.acknowledge(&LtpAck::default(), clock.now()), Err(AckRefusal::Header));
    let mut foreign = complete_ack(1, 8);
    foreign.header.as_mut().unwrap().metadata.insert("sender".into(), "somebody else".into());
    outbox.acknowledge(&foreign, clock.now()).unwrap();
    assert_eq!(outbox.acknowledge(&complete_ack(99, 8), clock.now()), Ok(()));
    assert_eq!(outbox.waiting(), 1);
    // Everything missing, again and again: each packet eight times at most, and 32 packets in all.
    let before = outbox.counters().bytes_wire;
    for _ in 0..1000 {
        clock.advance(Duration::from_millis(1));
        missing.missing_chunks = (0..8).collect();
        outbox.acknowledge(&missing, clock.now()).unwrap();
        while let Next::Send(_) = outbox.poll(clock.now()) {}
    }
    let again = outbox.counters().bytes_wire - before;
    assert!((1..=33 * 66_000).contains(&again), "{again} bytes sent again");
    assert_eq!(outbox.acknowledge(&complete_ack(1, 8), clock.now()), Ok(()));
    assert_eq!(outbox.waiting(), 0);
}

#[test]
fn a_packet_is_sent_again_eight_times_and_no_more() {
    let mut outbox = Outbox::new(Settings { peer: String::new(), bytes_per_second: None, ..reliable() });
    let clock = ecps_core::clock::ManualClock::default();
    outbox.push(noise(1, 100_000), &clock).unwrap();
    let missing = LtpAck { success: false, missing_chunks: vec![0, 1], ..complete_ack(1, 2) };
    for _ in 0..4000 {
        while let Next::Send(_) = outbox.poll(clock.now()) {}
        clock.advance(Duration::from_millis(1));
        outbox.acknowledge(&missing, clock.now()).unwrap();
    }
    let counters = outbox.counters();
    assert_eq!((counters.packets, counters.resent), (18, 16));
}

#[test]
fn slowly_changing_tensors_go_as_deltas_and_find_back_after_loss() {
    let smooth = |number: u32| {
        let values = (0..50_000_u32)
            .map(|i| (f64::from(i) * 0.001).sin() as f32 + if i % 500 == number % 500 { 0.1 } else { 0.0 });
        let data = values.flat_map(f32::to_le_bytes).collect();
        Tensor::new("t", DType::F32, vec![50_000], data).unwrap().at(Stamp(i64::from(number)))
    };
    let compression = Choice::Fixed("zstd:1+shuffle".parse().unwrap());
    let plain = Settings { compression, ..reliable() };
    let mut bytes = Vec::new();
    for key_every in [None, Some(20)] {
        let mut simulation = Simulation::new(Settings { key_every, ..plain.clone() }, bad(), 11);
        for number in 0..60 {
            simulation.push(smooth(number));
            simulation.run(Duration::from_millis(50), |_| false);
        }
        simulation.run(Duration::from_secs(10), |s| s.outbox.waiting() == 0);
        assert_eq!(simulation.delivered.len(), 60);
        assert!((0..).zip(&simulation.delivered).all(|(number, (_, tensor, _))| *tensor == smooth(number)));
        bytes.push(simulation.there.sent_bytes());
        let counters = simulation.outbox.counters();
        assert_eq!((counters.keys, counters.deltas), if key_every.is_some() { (3, 57) } else { (0, 0) });
    }
    assert!(bytes[1] * 3 < bytes[0], "deltas take {} bytes instead of {}", bytes[1], bytes[0]);

    // Best effort, and the key itself is lost: the receiver asks for one, and refuses what it cannot restore.
    let mode = Mode::BestEffort { retries: 0 };
    let settings = Settings { mode, key_every: Some(1000), ..plain };
    let mut simulation = Simulation::new(settings, Conditions::clean(DELAY, RATE), 13);
    simulation.there = ecps_perception::lossy::LossyLink::new(Conditions { loss: 1.0, ..bad() }, 1);
    simulation.push(smooth(0));
    simulation.run(Duration::from_millis(100), |_| false);
    simulation.there = ecps_perception::lossy::LossyLink::new(Conditions::clean(DELAY, RATE), 2);
    for number in 1..10 {
        simulation.push(smooth(number));
        simulation.run(Duration::from_millis(100), |_| false);
    }
    assert_eq!(simulation.refused.len(), 1, "{:?}", simulation.refused);
    assert!(simulation.refused[0].contains("key frame 1"), "{:?}", simulation.refused);
    let numbers: Vec<u32> = simulation.delivered.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (3..=10).collect::<Vec<u32>>());
    assert!(simulation.delivered.iter().all(|(number, tensor, _)| *tensor == smooth(number - 1)));
}

#[test]
fn only_the_peer_acknowledges_and_others_listen() {
    let mut simulation =
        Simulation::new(Settings { peer: "another".into(), ..reliable() }, Conditions::clean(DELAY, RATE), 1);
    simulation.push(noise(1, 200_000));
    simulation.run(Duration::from_secs(1), |_| false);
    assert_eq!(simulation.delivered.len(), 1);
    assert_eq!(simulation.back.sent_bytes(), 0);
    assert_eq!(simulation.outbox.counters().acknowledged, 0);
    assert!(Bounds::default().timeout == Duration::from_secs(5));
}
