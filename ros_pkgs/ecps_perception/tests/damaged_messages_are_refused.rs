//! Frames and chunks that are cut, flipped, oversized or lie about their sizes: refused by name, without panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use ecps_core::clock::{Stamp, Steady};
use ecps_core::limits;
use ecps_core::wire::proto::{Ltp, LtpChunk, LtpFrameHeader};
use ecps_core::wire::{self, WireError};
use ecps_perception::chunks::{MaxFrame, Outgoing, split};
use ecps_perception::codec::{DecodeError, decode, decode_bytes, encode};
use ecps_perception::compression::{Compression, UnpackError};
use ecps_perception::reassembly::{Bounds, ChunkRefusal, Event, Reassembler, Refusal, Source};
use ecps_perception::tensor::{DType, Tensor, TensorError};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

fn tensor(length: u32) -> Tensor {
    let mut rng = Pcg64Mcg::seed_from_u64(11);
    let data = (0..length).map(|_| rng.random()).collect();
    Tensor::new("t", DType::U8, vec![length], data).unwrap().in_frame("laser").unwrap().at(Stamp(1))
}

fn frame() -> Ltp {
    encode(&tensor(100), Compression::default(), 1).unwrap()
}

fn with_payload(payload: Vec<u8>, shape: Vec<u32>, original_size: u64) -> Ltp {
    let mut frame = frame();
    let header = frame.header.as_mut().unwrap();
    header.payload_length = payload.len() as u32;
    header.checksum = crc32fast::hash(&payload).to_be_bytes().to_vec();
    Ltp { tensor_zstd: payload, shape, original_size, ..frame }
}

/// Flips, overwrites, inserts, removes or cuts; one to four times.
fn mutate(rng: &mut Pcg64Mcg, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => bytes.insert(at, rng.random()),
            3 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn thousands_of_mutated_frames_never_panic_and_never_change_the_data_unnoticed() {
    let mut rng = Pcg64Mcg::seed_from_u64(12);
    let original = tensor(100);
    let bytes = frame().encode_to_vec();
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut mutated = bytes.clone();
        mutate(&mut rng, &mut mutated);
        match decode_bytes(&mutated) {
            Ok(tensor) => assert_eq!(tensor.data(), original.data()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 15_000, "only {refused} refused");
}

#[test]
fn thousands_of_mutated_chunks_never_panic_and_never_change_the_data_unnoticed() {
    let mut rng = Pcg64Mcg::seed_from_u64(13);
    let original = tensor(6000);
    let frame = encode(&original, Compression::default(), 1).unwrap();
    let Outgoing::Chunks(chunks) = split(frame, MaxFrame::new(2048).unwrap()).unwrap() else { panic!("not cut") };
    let source = Source { sender: "a".into(), stream: "s".into() };
    let (mut whole, mut refused) = (0, 0);
    for round in 0..u64::from(ecps_core::campaign::rounds(1500, 60_000)) {
        let mut reassembler = Reassembler::new(Bounds::default());
        let now = Steady(Duration::from_millis(round));
        for chunk in &chunks {
            let mut bytes = chunk.encode_to_vec();
            if rng.random_bool(0.5) {
                mutate(&mut rng, &mut bytes);
            }
            let Ok(chunk) = wire::decode::<LtpChunk>(&bytes, limits::LTP_FRAME_BYTES) else {
                refused += 1;
                continue;
            };
            for event in reassembler.chunk(&source, chunk, now) {
                match event {
                    Event::Complete { tensor, .. } => {
                        assert_eq!(tensor.data(), original.data());
                        whole += 1;
                    }
                    Event::Refused(_) => refused += 1,
                    _ => {}
                }
            }
        }
        assert!(reassembler.held_bytes() < 64 << 10);
    }
    assert!(whole > 10 && refused > 1000, "{whole} whole, {refused} refused");
}

#[test]
fn a_frame_that_is_too_large_on_the_wire_is_not_read() {
    let error = decode_bytes(&vec![0; limits::LTP_FRAME_BYTES + 1]).unwrap_err();
    assert!(matches!(error, DecodeError::Wire(WireError::TooLarge { .. })));
}

#[test]
fn damage_is_seen_before_anything_is_decompressed() {
    let mut flipped = frame();
    flipped.tensor_zstd[0] ^= 1; // zstd's magic number: decompressing would say something else
    assert!(matches!(decode(flipped).unwrap_err(), DecodeError::Checksum { .. }));
    let mut cut = frame();
    cut.tensor_zstd.pop();
    assert!(matches!(decode(cut).unwrap_err(), DecodeError::PayloadLength { .. }));
}

#[test]
fn a_small_frame_that_claims_half_a_gigabyte_is_refused() {
    let payload = vec![0; 16 << 10];
    let error = decode(with_payload(payload, vec![512 << 20], 512 << 20)).unwrap_err();
    assert!(matches!(error, DecodeError::Tensor(TensorError::TooLarge { .. })));
    let error = decode(with_payload(vec![0; 100], vec![200 << 20], 200 << 20)).unwrap_err();
    assert_eq!(error, UnpackError::ImpossibleRatio { compressed: 100, announced: 200 << 20 }.into());
}

#[test]
fn a_bomb_is_refused_at_the_size_it_announced() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < 16 << 10);
    let error = decode(with_payload(bomb.clone(), vec![1000], 1000)).unwrap_err();
    assert!(matches!(error, DecodeError::Unpack(UnpackError::Refused { expected: 1000, .. })), "{error}");
    // Without a content size in its header, and as many small frames one after another.
    let streamed = zstd::stream::encode_all(&*vec![0; 1 << 20], 3).unwrap();
    let refused = |error| matches!(error, DecodeError::Unpack(UnpackError::Refused { .. }));
    assert!(refused(decode(with_payload(streamed, vec![1000], 1000)).unwrap_err()));
    let many = bomb.repeat(4);
    assert!(refused(decode(with_payload(many, vec![65 << 20], 65 << 20)).unwrap_err()));
    let less = zstd::bulk::compress(&[0; 10], 3).unwrap();
    let error = decode(with_payload(less, vec![1000], 1000)).unwrap_err();
    assert_eq!(error, UnpackError::Length { found: 10, expected: 1000 }.into());
}

#[test]
fn what_comes_after_the_last_plane_of_a_shuffle_is_refused() {
    let tensor = Tensor::new("t", DType::U16, vec![50], vec![7; 100]).unwrap();
    for compression in ["zstd+shuffle", "lz4+shuffle"] {
        let mut frame = encode(&tensor, compression.parse().unwrap(), 1).unwrap();
        frame.tensor_zstd.extend([1, 2, 3]);
        let header = frame.header.as_mut().unwrap();
        header.payload_length += 3;
        header.checksum = crc32fast::hash(&frame.tensor_zstd).to_be_bytes().to_vec();
        let error = decode(frame).unwrap_err().to_string();
        assert!(error.contains("3 bytes come after its last plane"), "{compression}: {error}");
    }
}

#[test]
fn each_lie_has_its_own_refusal() {
    let header = |change: fn(&mut LtpFrameHeader)| {
        let mut frame = frame();
        change(frame.header.as_mut().unwrap());
        decode(frame).unwrap_err()
    };
    assert_eq!(header(|h| h.version = 2), DecodeError::HeaderVersion(2));
    assert_eq!(header(|h| h.message_type = 2), DecodeError::MessageType(2));
    assert_eq!(header(|h| h.checksum.push(0)), DecodeError::ChecksumLength(5));
    assert!(header(|h| h.metadata.extend((0..64).map(|i| (i.to_string(), String::new())))).to_string().contains("65"));
    assert!(header(|h| drop(h.metadata.insert("name".into(), "n".repeat(257)))).to_string().contains("257 bytes"));

    let whole = |change: fn(&mut Ltp)| {
        let mut frame = frame();
        change(&mut frame);
        decode(frame).unwrap_err()
    };
    assert_eq!(whole(|f| f.header = None), DecodeError::NoHeader);
    assert!(matches!(whole(|f| f.spec = "ltp/1.0".into()), DecodeError::Wire(WireError::NewerMajor { .. })));
    assert!(matches!(whole(|f| f.spec = "eap/0.1".into()), DecodeError::Wire(WireError::ForeignSpec { .. })));
    assert!(matches!(whole(|f| f.dtype = "f8".into()), DecodeError::Tensor(TensorError::UnknownDType(_))));
    assert_eq!(whole(|f| f.dtype = "bf16".into()), DecodeError::NotOnTheWire("bf16".into()));
    assert!(whole(|f| f.compression_level = 0).to_string().contains("level 0"));
    assert!(whole(|f| f.compression_level = 23).to_string().contains("level 23"));
    assert_eq!(whole(|f| f.original_size = 99), DecodeError::OriginalSize { announced: 99, expected: 100 });
    assert_eq!(whole(|f| f.shape = vec![101]), DecodeError::OriginalSize { announced: 100, expected: 101 });
    assert!(matches!(whole(|f| f.shape = vec![u32::MAX; 3]), DecodeError::Tensor(TensorError::TooLarge { .. })));
    assert!(matches!(whole(|f| f.shape = vec![1; 17]), DecodeError::Tensor(TensorError::TooManyDimensions { .. })));
    assert_eq!(whole(|f| f.timestamp_ns = u64::MAX), DecodeError::Stamp(u64::MAX));
    assert!(whole(|f| f.frame_id = "f".repeat(257)).to_string().contains("frame_id has 257 bytes"));
    assert!(whole(|f| drop(f.attributes.insert("k".into(), "v".repeat(1025)))).to_string().contains("1025 bytes"));
}

#[test]
fn each_lie_of_a_chunk_has_its_own_refusal() {
    let frame = encode(&tensor(6000), Compression::default(), 1).unwrap();
    let Outgoing::Chunks(chunks) = split(frame, MaxFrame::new(2048).unwrap()).unwrap() else { panic!("not cut") };
    let source = Source { sender: "a".into(), stream: "s".into() };
    let refusal = |change: fn(&mut LtpChunk, &mut LtpFrameHeader)| {
        let mut reassembler = Reassembler::new(Bounds::default());
        reassembler.chunk(&source, chunks[0].clone(), Steady::default());
        let mut chunk = chunks[1].clone();
        let mut header = chunk.header.take().unwrap();
        change(&mut chunk, &mut header);
        chunk.header = Some(header);
        match reassembler.chunk(&source, chunk, Steady::default()).pop().unwrap() {
            Event::Refused(Refusal::Chunk(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let total = chunks.len() as u32;
    assert_eq!(refusal(|_, h| h.chunk_index = 6), ChunkRefusal::Index { index: 6, total });
    assert_eq!(refusal(|_, h| h.chunk_index = u32::MAX), ChunkRefusal::Index { index: u32::MAX, total });
    assert_eq!(refusal(|_, h| h.total_chunks = 0), ChunkRefusal::Total(0));
    assert_eq!(refusal(|_, h| h.total_chunks = u32::MAX), ChunkRefusal::Total(u32::MAX));
    assert_eq!(refusal(|_, h| h.total_chunks = 9), ChunkRefusal::OtherTotal { found: 9, expected: total });
    assert_eq!(refusal(|c, _| c.is_final = true), ChunkRefusal::Final { index: 1, total, is_final: true });
    assert_eq!(refusal(|_, h| h.message_type = 2), ChunkRefusal::MessageType(2));
    assert_eq!(refusal(|c, _| c.chunk_data.clear()), ChunkRefusal::Payload(0));
    let damaged = refusal(|c, _| c.chunk_data[3] ^= 4);
    assert!(matches!(damaged, ChunkRefusal::Frame(DecodeError::Checksum { .. })));
    let missing = refusal(|_, h| drop(h.metadata.remove("shape")));
    assert_eq!(missing.to_string(), "the chunk's metadata have no 'shape'");
    let other = refusal(|_, h| drop(h.metadata.insert("timestamp_ns".into(), "2".into())));
    assert_eq!(other, ChunkRefusal::OtherMetadata("timestamp_ns".into()));
    let words = refusal(|_, h| drop(h.metadata.insert("shape".into(), "6,x".into())));
    assert!(words.to_string().contains("'6,x'"));
    let size = refusal(|_, h| drop(h.metadata.insert("original_size".into(), "6001".into())));
    assert!(matches!(size, ChunkRefusal::Frame(DecodeError::OriginalSize { .. })));
}
