//! Bags: what is sound comes out as it went in, and what is not is refused in one line, before any of it is handed out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecps_cli::bag::{Bag, BagError, Message};
use mcap::{Channel, Compression, Schema, WriteOptions};

fn written(options: WriteOptions, encoding: &str) -> Vec<u8> {
    let mut writer = options.profile("ros2").create(Cursor::new(Vec::new())).unwrap();
    let schema = Schema {
        id: 1,
        name: "std_msgs/msg/String".into(),
        encoding: "ros2msg".into(),
        data: Cow::Borrowed(b"string data"),
    };
    let channel = |id, topic: &str| {
        let (schema, metadata) = (Some(Arc::new(schema.clone())), BTreeMap::new());
        Arc::new(Channel { id, topic: topic.into(), schema, message_encoding: encoding.into(), metadata })
    };
    let channels = [channel(1, "/a"), channel(2, "/b")];
    for number in 0..40u8 {
        let channel = Arc::clone(&channels[usize::from(number % 2)]);
        let (time, data) = (1000 + u64::from(number), vec![number; 100]);
        writer
            .write(&mcap::Message {
                channel,
                sequence: number.into(),
                log_time: time,
                publish_time: time,
                data: data.into(),
            })
            .unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

fn read(bytes: &[u8]) -> Result<Vec<Message>, (usize, BagError)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let mut messages = Vec::new();
    for message in Bag::open(file.path()).map_err(|e| (0, e))? {
        messages.push(message.map_err(|e| (messages.len(), e))?);
    }
    Ok(messages)
}

fn small_chunks() -> WriteOptions {
    WriteOptions::new().chunk_size(Some(1000)).compression(None)
}

#[test]
fn messages_come_out_as_they_went_in() {
    for options in [
        WriteOptions::new().compression(Some(Compression::Zstd)),
        WriteOptions::new().compression(Some(Compression::Lz4)),
        WriteOptions::new().use_chunks(false),
        small_chunks(),
    ] {
        let messages = read(&written(options, "cdr")).unwrap();
        assert_eq!(messages.len(), 40);
        for (number, message) in (0..40u8).zip(&messages) {
            assert_eq!(message.topic.name, ["/a", "/b"][usize::from(number % 2)]);
            assert_eq!(message.topic.kind, "std_msgs/msg/String");
            assert_eq!((message.log_time_ns, &message.cdr), (1000 + u64::from(number), &vec![number; 100]));
        }
    }
}

#[test]
fn what_is_not_a_bag_is_refused_at_once() {
    for bytes in [&b""[..], b"\x89MCAP", b"this is a text, not a bag", b"#ROSBAG V2.0\n"] {
        let (_, error) = read(bytes).unwrap_err();
        assert!(matches!(error, BagError::NotMcap { .. }), "{error}");
        assert!(error.to_string().contains("this is not an MCAP file") && !error.to_string().contains('\n'), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Bag::open(folder.path()), Err(BagError::Folder { .. })));
    let missing = Bag::open(Path::new("/no/such.mcap")).err().unwrap().to_string();
    assert_eq!(missing, "bag /no/such.mcap: No such file or directory (os error 2)");
    let (_, error) = read(&written(small_chunks(), "json")).unwrap_err();
    assert!(error.to_string().ends_with("the topic `/a` is encoded as `json`, but must be cdr"), "{error}");
}

#[test]
fn a_cut_bag_gives_what_is_sound_and_then_says_so() {
    let whole = written(small_chunks(), "cdr");
    let mut last = 0;
    for length in (8..whole.len()).step_by(23) {
        let (sound, error) = read(&whole[..length]).unwrap_err();
        assert!(matches!(error, BagError::Damaged { .. }), "{length}: {error}");
        assert!(sound >= last, "more of the file never gives fewer messages");
        last = sound;
    }
    assert_eq!(last, 40);
}

#[test]
fn a_flipped_bit_gives_no_wrong_message_and_no_missing_one_in_silence() {
    // Without the checksum of the data section, which not every recorder writes.
    for options in [small_chunks(), small_chunks().calculate_data_section_crc(false)] {
        let whole = written(options, "cdr");
        let expected = read(&whole).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flipped.mcap");
        for (place, bit) in (8..whole.len()).step_by(19).zip((0..8).cycle()) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            fs::write(&file, bytes).unwrap();
            let (mut sound, mut end) = (Vec::new(), Ok(()));
            for message in Bag::open(&file).unwrap() {
                match message {
                    Ok(message) => sound.push(message),
                    Err(error) => end = Err(error.to_string()),
                }
            }
            let whole_or_error =
                if end.is_ok() { sound == expected } else { sound.iter().all(|m| expected.contains(m)) };
            assert!(whole_or_error, "bit {bit} of byte {place}: {} messages, {end:?}", sound.len());
        }
    }
}

#[test]
fn a_chunk_that_is_no_longer_seen_as_one_is_missed() {
    let mut bytes = written(small_chunks().calculate_data_section_crc(false), "cdr");
    // Records are an opcode, a length and that many bytes; unknown opcodes are to be skipped.
    let (mut place, mut chunks) = (mcap::MAGIC.len(), 0);
    loop {
        chunks += usize::from(bytes[place] == 0x06);
        // The first one declares the channels.
        if chunks == 2 {
            break;
        }
        place += 9 + usize::try_from(u64::from_le_bytes(bytes[place + 1..place + 9].try_into().unwrap())).unwrap();
    }
    bytes[place] = 0x7e;
    let (_, error) = read(&bytes).unwrap_err();
    assert!(matches!(error, BagError::Incomplete { recorded: 40, .. }), "{error}");
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
    for opcode in [0x01, 0x03, 0x05, 0x06] {
        let mut bytes = mcap::MAGIC.to_vec();
        bytes.push(opcode);
        bytes.extend_from_slice(&(1u64 << 56).to_le_bytes());
        bytes.extend_from_slice(&[0; 64]);
        let (_, error) = read(&bytes).unwrap_err();
        assert!(matches!(error, BagError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_real_robots_recording_is_read_whole() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/intel_lab/intel_lab.mcap");
    let path = std::env::var_os("ECPS_BAG").map_or(default, PathBuf::from);
    if !path.exists() {
        // Past the capture of output, so that it is seen.
        writeln!(
            std::io::stderr(),
            "SKIPPED a_real_robots_recording_is_read_whole: no recording at {}",
            path.display()
        )
        .unwrap();
        return;
    }
    let mut counts = BTreeMap::new();
    let mut last = 0;
    for message in Bag::open(&path).unwrap() {
        let message = message.unwrap();
        assert!(message.log_time_ns >= last);
        last = message.log_time_ns;
        *counts.entry((message.topic.name.clone(), message.topic.kind.clone())).or_insert(0) += 1;
    }
    let topic = |name: &str, kind: &str| ((name.to_owned(), kind.to_owned()), 2726);
    let expected = [topic("/odom", "nav_msgs/msg/Odometry"), topic("/scan", "sensor_msgs/msg/LaserScan")];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
}
