//! Reordering, duplicates, loss, restarts, timeouts and floods: seeded, on a clock that is moved by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_core::clock::{ManualClock, Stamp, Steady, SteadyClock};
use ecps_core::wire::proto::LtpChunk;
use ecps_perception::chunks::{MaxFrame, Outgoing, split};
use ecps_perception::codec::{DecodeError, encode};
use ecps_perception::compression::Compression;
use ecps_perception::reassembly::{
    Bounds, Event, Expiry, OLDEST_KEY, Pool, Reassembler, Refusal, Source, complete_ack,
};
use ecps_perception::tensor::{DType, Tensor};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

fn tensor(seed: u64, length: u32) -> Tensor {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let data = (0..length).map(|_| rng.random()).collect();
    Tensor::new("t", DType::U8, vec![length], data).unwrap().at(Stamp(seed as i64))
}

fn chunks_of(tensor: &Tensor, sequence: u32) -> Vec<LtpChunk> {
    let frame = encode(tensor, Compression::default(), sequence).unwrap();
    match split(frame, MaxFrame::new(2048).unwrap()).unwrap() {
        Outgoing::Chunks(chunks) => chunks,
        Outgoing::Whole(_) => panic!("not cut"),
    }
}

fn source(sender: &str) -> Source {
    Source { sender: sender.into(), stream: "scan".into() }
}

fn at(seconds: f64) -> Steady {
    Steady(Duration::from_secs_f64(seconds))
}

/// The chunk's own event, where nothing else may have happened.
fn only(mut events: Vec<Event>) -> Event {
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

#[test]
fn reordered_and_doubled_chunks_make_the_tensor_once() {
    for seed in 0..50 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let original = tensor(seed, 20_000);
        let mut chunks = chunks_of(&original, 3);
        chunks.extend(chunks.clone());
        chunks.shuffle(&mut rng);
        let mut reassembler = Reassembler::new(Bounds::default());
        let mut complete = 0;
        for chunk in chunks {
            match only(reassembler.chunk(&source("a"), chunk, at(1.0))) {
                Event::Complete { tensor, sequence: 3, first_arrival, .. } => {
                    assert_eq!(*tensor, original);
                    assert_eq!(first_arrival, at(1.0));
                    complete += 1;
                }
                Event::Progress { received, total, .. } => assert!(received < total),
                Event::Duplicate { .. } => assert_eq!(complete, 0),
                Event::Late { .. } => assert_eq!(complete, 1),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((complete, reassembler.held_bytes()), (1, 0));
    }
}

#[test]
fn under_loss_what_arrives_is_whole_and_the_rest_is_accounted_for() {
    let mut rng = Pcg64Mcg::seed_from_u64(99);
    let clock = ManualClock::default();
    let mut reassembler = Reassembler::new(Bounds::default());
    let (mut complete, mut expired) = (BTreeSet::new(), BTreeSet::new());
    let mut note = |event: Event, originals: &[Tensor]| match event {
        Event::Complete { tensor, sequence, .. } => {
            assert_eq!(*tensor, originals[sequence as usize]);
            assert!(complete.last().is_none_or(|last| *last < sequence), "the newest wins, so order is kept");
            assert!(complete.insert(sequence));
        }
        Event::Expired { sequence, .. } => assert!(expired.insert(sequence)),
        Event::Refused(refusal) => panic!("{refusal}"),
        _ => {}
    };
    let originals = (0..200).map(|seed| tensor(seed, 5000)).collect::<Vec<_>>();
    // All chunks in order, then some lost and each moved by up to six places: across the borders of tensors.
    let mut line = Vec::new();
    for (sequence, original) in (0_u32..).zip(&originals) {
        line.extend(chunks_of(original, sequence));
    }
    let mut line = (0_u32..).zip(line).filter(|_| !rng.random_bool(0.05)).collect::<Vec<_>>();
    line.sort_by_cached_key(|(place, _)| place + rng.random_range(0..6));
    for (_, chunk) in line {
        clock.advance(Duration::from_millis(3));
        for event in reassembler.chunk(&source("a"), chunk, SteadyClock::now(&clock)) {
            note(event, &originals);
        }
    }
    clock.advance(Duration::from_secs(6));
    for (_, event) in reassembler.expire(SteadyClock::now(&clock)) {
        note(event, &originals);
    }
    assert!(complete.len() > 130, "{} whole", complete.len());
    assert!(complete.is_disjoint(&expired));
    assert!(complete.len() + expired.len() >= 198, "a tensor is lost without a word only when all its chunks are");
    assert_eq!(reassembler.held_bytes(), 0);
}

#[test]
fn an_incomplete_tensor_is_given_up_after_the_timeout_and_not_before() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let chunks = chunks_of(&tensor(1, 9000), 5);
    let total = chunks.len() as u32;
    reassembler.chunk(&source("a"), chunks[0].clone(), at(10.0));
    // A chunk in between does not prolong it: the timeout is that of the whole set.
    reassembler.chunk(&source("a"), chunks[1].clone(), at(14.0));
    assert_eq!(reassembler.expire(at(15.0)), []);
    let reason = Expiry::Timeout(Duration::from_secs(5));
    let expired = Event::Expired { sequence: 5, received: 2, total, reason };
    assert_eq!(reassembler.expire(at(15.001)), [(source("a"), expired)]);
    assert_eq!(reassembler.held_bytes(), 0);
}

#[test]
fn what_is_missing_is_reported() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let mut chunks = chunks_of(&tensor(1, 9000), 5);
    let total = chunks.len() as u32;
    assert!(reassembler.missing(&source("a")).is_empty());
    chunks.remove(4);
    chunks.remove(1);
    for chunk in chunks {
        reassembler.chunk(&source("a"), chunk, at(0.0));
    }
    let acks = reassembler.missing(&source("a"));
    assert_eq!(acks.len(), 1);
    assert_eq!((acks[0].success, acks[0].received_chunks), (false, total - 2));
    assert_eq!(acks[0].missing_chunks, [1, 4]);
    let header = acks[0].header.as_ref().unwrap();
    assert_eq!((header.message_type, header.sequence_number, header.total_chunks), (2, 5, total));
    assert!(complete_ack(5, total).success);
}

#[test]
fn the_newest_tensor_wins_and_late_chunks_of_older_ones_are_dropped() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let (old, new) = (chunks_of(&tensor(1, 5000), 1), chunks_of(&tensor(2, 5000), 2));
    reassembler.chunk(&source("a"), old[0].clone(), at(0.0));
    let mut events = Vec::new();
    for chunk in new.clone() {
        events = reassembler.chunk(&source("a"), chunk, at(0.0));
    }
    assert!(matches!(events[0], Event::Expired { sequence: 1, reason: Expiry::Superseded, .. }));
    assert!(matches!(events[1], Event::Complete { sequence: 2, .. }));
    assert_eq!(
        only(reassembler.chunk(&source("a"), old[1].clone(), at(0.1))),
        Event::Late { sequence: 1, chunks: old.len() as u32 }
    );
    assert_eq!(
        only(reassembler.chunk(&source("a"), new[0].clone(), at(0.1))),
        Event::Late { sequence: 2, chunks: new.len() as u32 }
    );
    assert_eq!(reassembler.held_bytes(), 0);
}

#[test]
fn a_third_partial_tensor_takes_the_place_of_the_oldest() {
    let mut reassembler = Reassembler::new(Bounds::default());
    // Across the wrap of the sequence number.
    for (sequence, stamp) in [(u32::MAX - 1, 1), (u32::MAX, 2), (0, 3)] {
        let events = reassembler.chunk(&source("a"), chunks_of(&tensor(stamp, 5000), sequence)[0].clone(), at(0.0));
        match sequence {
            0 => assert!(matches!(events[0], Event::Expired { sequence: 0xffff_fffe, .. }), "{events:?}"),
            _ => assert!(matches!(events[..], [Event::Progress { .. }]), "{events:?}"),
        }
    }
    let older = chunks_of(&tensor(1, 5000), u32::MAX - 1)[0].clone();
    let refused = only(reassembler.chunk(&source("a"), older, at(0.0)));
    assert!(matches!(refused, Event::Refused(Refusal::Chunk(_))), "{refused:?}");
}

#[test]
fn whole_frames_and_chunks_share_a_stream_in_order() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let small = |sequence, stamp| encode(&tensor(stamp, 10), Compression::default(), sequence).unwrap();
    let large = chunks_of(&tensor(5, 5000), 5);
    reassembler.chunk(&source("a"), large[0].clone(), at(0.0));
    let events = reassembler.frame(&source("a"), small(6, 6), at(0.0));
    assert!(matches!(events[0], Event::Expired { sequence: 5, .. }));
    assert!(matches!(events[1], Event::Complete { sequence: 6, chunks: 0, .. }));
    assert_eq!(only(reassembler.frame(&source("a"), small(6, 6), at(0.1))), Event::Late { sequence: 6, chunks: 0 });
    let mut damaged = small(7, 7);
    damaged.tensor_zstd[5] ^= 1;
    assert!(matches!(only(reassembler.frame(&source("a"), damaged, at(0.2))), Event::Refused(Refusal::Frame(_))));
    assert!(matches!(only(reassembler.frame(&source("a"), small(7, 7), at(0.2))), Event::Complete { .. }));
}

/// Each piece is what its sender sent, and together they are not what it announced.
#[test]
fn chunks_that_make_another_whole_than_announced_are_refused() {
    let mut chunks = chunks_of(&tensor(1, 9000), 1);
    for chunk in &mut chunks {
        chunk.header.as_mut().unwrap().metadata.insert("payload_crc32".into(), "01234567".into());
    }
    let mut reassembler = Reassembler::new(Bounds::default());
    let events = chunks.into_iter().map(|chunk| only(reassembler.chunk(&source("a"), chunk, at(0.0)))).last();
    let Some(Event::Refused(Refusal::Frame(DecodeError::Checksum { announced, .. }))) = events else {
        panic!("{events:?}")
    };
    assert_eq!((announced, reassembler.held_bytes()), (0x0123_4567, 0));
}

/// Without a mark of its start, only its numbers tell.
#[test]
fn a_reliable_sender_that_counts_anew_is_heard_again_and_a_late_one_is_not() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let mut take = |sequence: u32| {
        let mut frame = encode(&tensor(u64::from(sequence), 10), Compression::default(), sequence).unwrap();
        frame.header.as_mut().unwrap().metadata.insert(OLDEST_KEY.into(), sequence.to_string());
        reassembler.frame(&source("a"), frame, at(0.0))
    };
    assert!(matches!(take(10_000).last(), Some(Event::Complete { sequence: 10_000, .. })));
    assert_eq!(only(take(9_000)), Event::Late { sequence: 9_000, chunks: 0 });
    for sequence in [1, 2] {
        let events = take(sequence);
        assert!(matches!(events.last(), Some(Event::Complete { lost: 0, .. })), "{sequence}: {events:?}");
    }
}

/// Its sender is gone before it could say that it gave up the one between.
#[test]
fn a_reliable_stream_goes_on_after_a_gap_that_nobody_fills() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let mut take = |sequence: u32, now: f64| {
        let mut frame = encode(&tensor(u64::from(sequence), 10), Compression::default(), sequence).unwrap();
        frame.header.as_mut().unwrap().metadata.insert(OLDEST_KEY.into(), "1".into());
        reassembler.frame(&source("a"), frame, at(now))
    };
    let first = take(1, 0.0);
    assert!(matches!(first[..], [Event::Settled { .. }, Event::Complete { sequence: 1, .. }]), "{first:?}");
    for sequence in [3, 4] {
        let waits = take(sequence, 1.0);
        assert!(matches!(waits[..], [Event::Settled { .. }]), "{waits:?}");
    }
    assert_eq!(reassembler.expire(at(6.0)), []);
    let late = reassembler.expire(at(6.001));
    let numbers = late.iter().map(|(_, event)| match event {
        Event::Complete { sequence, lost, .. } => (*sequence, *lost),
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [(3, 1), (4, 0)]);
    assert_eq!(reassembler.held_bytes(), 0);
}

#[test]
fn two_senders_under_one_name_do_not_mix() {
    let mut reassembler = Reassembler::new(Bounds::default());
    let (ours, theirs) = (tensor(1, 9000), tensor(2, 9000));
    let mut whole = 0;
    for (mine, other) in chunks_of(&ours, 1).into_iter().zip(chunks_of(&theirs, 1)) {
        for (sender, chunk, original) in [("a", mine, &ours), ("b", other, &theirs)] {
            if let Event::Complete { tensor, .. } = only(reassembler.chunk(&source(sender), chunk, at(0.0))) {
                assert_eq!(*tensor, *original);
                whole += 1;
            }
        }
    }
    assert_eq!(whole, 2);
}

#[test]
fn a_sender_that_restarts_is_heard_again() {
    let heard = |reassembler: &mut Reassembler, stamp, sequence, now| {
        let chunks = chunks_of(&tensor(stamp, 5000), sequence);
        let last = chunks.into_iter().flat_map(|chunk| reassembler.chunk(&source("a"), chunk, now)).last();
        matches!(last, Some(Event::Complete { .. }))
    };
    let mut reassembler = Reassembler::new(Bounds::default());
    assert!(heard(&mut reassembler, 50, 30, at(0.0)));
    assert!(!heard(&mut reassembler, 49, 29, at(0.1)), "late");
    assert!(heard(&mut reassembler, 51, 0, at(0.2)), "an old number with a newer stamp");
    assert!(heard(&mut reassembler, 1000, 1000, at(0.3)));
    assert!(heard(&mut reassembler, 5, 0, at(0.4)), "far behind, as when simulated time starts anew with it");
    assert!(heard(&mut reassembler, 90, 9, at(0.5)));
    assert!(heard(&mut reassembler, 80, 8, at(5.6)), "after a pause as long as the timeout");
}

#[test]
fn a_flood_stays_within_each_bound_and_leaves_other_senders_their_share() {
    let bounds = Bounds { sender_bytes: 40_000, total_bytes: 60_000, streams: 4, ..Bounds::default() };
    let mut reassembler = Reassembler::new(bounds);
    let mut refused = 0;
    for (number, sender) in [(0, "a"), (1, "b")] {
        let mut chunks = chunks_of(&tensor(number, 50_000), 1);
        chunks.pop();
        for chunk in chunks {
            match only(reassembler.chunk(&source(sender), chunk, at(0.0))) {
                Event::Refused(Refusal::SenderMemory { .. }) if sender == "a" => refused += 1,
                Event::Refused(Refusal::TotalMemory { .. }) if sender == "b" => refused += 1,
                Event::Progress { .. } => {}
                other => panic!("{other:?}"),
            }
            assert!(reassembler.held_bytes() <= if sender == "a" { 40_000 } else { 60_000 });
        }
    }
    assert!(refused > 10, "{refused}");
    // A newer tensor of the same stream gets the room of the older.
    let newer = chunks_of(&tensor(3, 50_000), 2).into_iter().take(3);
    let events: Vec<Event> = newer.flat_map(|chunk| reassembler.chunk(&source("a"), chunk, at(0.0))).collect();
    assert!(
        events.iter().any(|event| matches!(event, Event::Expired { reason: Expiry::Superseded, .. })),
        "{events:?}"
    );
    assert!(matches!(events.last(), Some(Event::Progress { .. })), "{events:?}");
    for sender in ["c", "d"] {
        reassembler.chunk(&source(sender), chunks_of(&tensor(3, 5000), 2)[0].clone(), at(0.0));
    }
    let fifth = only(reassembler.chunk(&source("e"), chunks_of(&tensor(3, 5000), 2)[0].clone(), at(0.0)));
    assert_eq!(fifth, Event::Refused(Refusal::TooManyStreams(4)));
    reassembler.expire(at(6.0));
    let fifth = only(reassembler.chunk(&source("e"), chunks_of(&tensor(3, 5000), 2)[0].clone(), at(6.0)));
    assert!(matches!(fifth, Event::Progress { .. }), "streams without life are forgotten");
}

#[test]
fn reassemblers_with_one_pool_share_its_bound_and_give_back_what_they_held() {
    let pool = Pool::new(40_000);
    let sharing = || Reassembler::sharing(Bounds::default(), pool.clone());
    let fill = |reassembler: &mut Reassembler, seed| {
        let mut chunks = chunks_of(&tensor(seed, 50_000), 1);
        chunks.pop();
        let events = chunks.into_iter().map(|chunk| only(reassembler.chunk(&source("a"), chunk, at(0.0))));
        events.filter(|event| matches!(event, Event::Refused(Refusal::TotalMemory { .. }))).count()
    };
    let (mut first, mut second) = (sharing(), sharing());
    assert!(fill(&mut first, 1) > 5);
    assert!(fill(&mut second, 2) > 40, "the first has left {} bytes", 40_000 - pool.used());
    drop(first);
    assert_eq!(pool.used(), second.held_bytes());
    let refused = fill(&mut second, 2);
    assert!((1..40).contains(&refused), "{refused} refused with all the room");
}

#[test]
fn a_stream_without_room_for_its_first_chunk_takes_no_place_from_another() {
    let bounds = Bounds { sender_bytes: 6000, streams: 2, ..Bounds::default() };
    let mut reassembler = Reassembler::new(bounds);
    let chunk = || chunks_of(&tensor(1, 5000), 1)[0].clone();
    let mut first = |source: &Source| only(reassembler.chunk(source, chunk(), at(0.0)));
    let held = first(&source("a"));
    assert!(matches!(held, Event::Progress { .. }), "{held:?}");
    let other = Source { stream: "other".into(), ..source("a") };
    let refused = first(&other);
    assert!(matches!(refused, Event::Refused(Refusal::SenderMemory { .. })), "{refused:?}");
    let second = first(&source("b"));
    assert!(matches!(second, Event::Progress { .. }), "{second:?}");
}

#[test]
fn as_many_chunks_of_one_byte_as_there_may_be_cost_a_bounded_overhead() {
    let mut template = chunks_of(&tensor(1, 70_000), 1).remove(0);
    template.chunk_data = vec![7];
    template.is_final = false;
    let header = template.header.as_mut().unwrap();
    header.payload_length = 1;
    header.total_chunks = 65_536;
    header.checksum = crc32fast::hash(&[7]).to_be_bytes().to_vec();
    let mut reassembler = Reassembler::new(Bounds::default());
    for index in 0..65_535 {
        let mut chunk = template.clone();
        chunk.header.as_mut().unwrap().chunk_index = index;
        assert!(matches!(only(reassembler.chunk(&source("a"), chunk, at(0.0))), Event::Progress { .. }));
    }
    assert!(reassembler.held_bytes() < 8 << 20, "{} bytes", reassembler.held_bytes());
    assert_eq!(reassembler.missing(&source("a"))[0].missing_chunks, [65_535]);
}

#[test]
fn more_payload_than_the_tensor_can_have_is_refused() {
    let mut chunks = chunks_of(&tensor(1, 5000), 1);
    for chunk in &mut chunks {
        let header = chunk.header.as_mut().unwrap();
        header.metadata.insert("shape".into(), "50".into());
        header.metadata.insert("original_size".into(), "50".into());
        chunk.chunk_data.resize(1900, 0);
        header.payload_length = 1900;
        header.checksum = crc32fast::hash(&chunk.chunk_data).to_be_bytes().to_vec();
    }
    let mut reassembler = Reassembler::new(Bounds::default());
    let events = chunks.into_iter().flat_map(|chunk| reassembler.chunk(&source("a"), chunk, at(0.0)));
    assert!(
        events
            .into_iter()
            .any(|e| matches!(e, Event::Refused(Refusal::Chunk(c)) if c.to_string().contains("no compression of 50")))
    );
}
