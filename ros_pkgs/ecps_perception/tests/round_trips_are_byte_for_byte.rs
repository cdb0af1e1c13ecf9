//! Whatever goes in comes out with the same bits: every element type, every sensor message, whole and in chunks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use ecps_core::clock::{Stamp, Steady};
use ecps_core::wire::proto::{Ltp, LtpChunk};
use ecps_perception::cdr::CdrWriter;
use ecps_perception::chunks::{MaxFrame, Outgoing, split};
use ecps_perception::codec::{decode, decode_bytes, encode};
use ecps_perception::compression::{Compression, Level};
use ecps_perception::reassembly::{Bounds, Event, Reassembler, Source};
use ecps_perception::sensor::{
    CompressedImage, Conversion, Image, Imu, JointState, LaserScan, MultiArray, MultiArrayDimension, PointCloud2,
    PointField, SensorError, SensorMessage,
};
use ecps_perception::tensor::{DType, Tensor};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Through the wire's own bytes, whole or in chunks.
fn over_the_wire(tensor: &Tensor, max: MaxFrame) -> (Tensor, usize) {
    let frame = encode(tensor, Compression::default(), 7).unwrap();
    let chunks = match split(frame, max).unwrap() {
        Outgoing::Whole(frame) => return (decode_bytes(&frame.encode_to_vec()).unwrap(), 1),
        Outgoing::Chunks(chunks) => chunks,
    };
    let source = Source { sender: "a".into(), stream: "s".into() };
    let mut reassembler = Reassembler::new(Bounds::default());
    let count = chunks.len();
    for chunk in chunks {
        let bytes = chunk.encode_to_vec();
        assert!(bytes.len() <= max.bytes(), "a chunk of {} bytes", bytes.len());
        let chunk = LtpChunk::decode(bytes.as_slice()).unwrap();
        match reassembler.chunk(&source, chunk, Steady::default()).pop().unwrap() {
            Event::Complete { tensor, .. } => return (*tensor, count),
            Event::Progress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("the tensor never became whole");
}

fn random_bytes(rng: &mut Pcg64Mcg, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.random()).collect()
}

#[test]
fn every_element_type_whole_and_in_chunks() {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    for dtype in DType::ALL {
        for shape in [vec![], vec![0, 5], vec![5], vec![3, 4, 5], vec![40, 50, 3], vec![1; 16]] {
            let length = shape.iter().product::<u32>() as usize * dtype.bytes();
            let attributes = BTreeMap::from([("unit".to_owned(), "m".to_owned()), ("µ".to_owned(), String::new())]);
            let tensor = Tensor::new("depth", dtype, shape, random_bytes(&mut rng, length)).unwrap();
            let tensor = tensor.in_frame("camera/optical").unwrap().at(Stamp(1_234_567_890_123_456_789));
            let tensor = tensor.with_attributes(attributes).unwrap();
            assert_eq!(over_the_wire(&tensor, MaxFrame::default()), (tensor.clone(), 1));
            let (back, chunks) = over_the_wire(&tensor, MaxFrame::new(2048).unwrap());
            assert_eq!(back, tensor);
            assert_eq!(chunks > 1, length > 2048);
        }
    }
}

#[test]
fn a_chunk_stays_within_the_limit_even_with_the_longest_names() {
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let attributes = (0..40).map(|i| (format!("key.{i}"), "v".repeat(60))).collect();
    let shape = vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 300_000];
    let tensor = Tensor::new(&"n".repeat(256), DType::U8, shape, random_bytes(&mut rng, 300_000)).unwrap();
    let tensor = tensor.in_frame(&"f".repeat(256)).unwrap().with_attributes(attributes).unwrap();
    let (back, chunks) = over_the_wire(&tensor, MaxFrame::new(8192).unwrap());
    assert_eq!(back, tensor);
    assert!(chunks >= 42, "{chunks}");
    let error = split(encode(&tensor, Compression::default(), 0).unwrap(), MaxFrame::new(2048).unwrap()).unwrap_err();
    assert!(error.to_string().contains("2048"), "{error}");
}

#[test]
fn chunks_say_what_the_protocol_wants_them_to_say() {
    let data = random_bytes(&mut Pcg64Mcg::seed_from_u64(3), 10_000);
    let tensor = Tensor::new("t", DType::U16, vec![50, 100], data).unwrap().in_frame("laser").unwrap().at(Stamp(9));
    let frame: Ltp = encode(&tensor, "zstd:5".parse().unwrap(), 4).unwrap();
    let whole_crc = u32::from_be_bytes(frame.header.as_ref().unwrap().checksum.as_slice().try_into().unwrap());
    let Outgoing::Chunks(chunks) = split(frame, MaxFrame::new(4096).unwrap()).unwrap() else { panic!("not cut") };
    let types = chunks.iter().map(|c| c.header.as_ref().unwrap().message_type).collect::<Vec<_>>();
    assert_eq!(types, [3, 1, 1, 4]);
    for (index, chunk) in chunks.iter().enumerate() {
        let header = chunk.header.as_ref().unwrap();
        assert_eq!((header.chunk_index as usize, header.total_chunks, header.sequence_number), (index, 4, 4));
        assert_eq!(header.checksum, crc32fast::hash(&chunk.chunk_data).to_be_bytes());
        assert_eq!(chunk.is_final, index == 3);
        assert!(chunk.chunk_data.len() <= 4096 - 1024);
        let expected = [
            ("compression_level", "5".to_owned()),
            ("dtype", "u16".to_owned()),
            ("frame_id", "laser".to_owned()),
            ("name", "t".to_owned()),
            ("original_size", "10000".to_owned()),
            ("payload_crc32", format!("{whole_crc:08x}")),
            ("shape", "50,100".to_owned()),
            ("timestamp_ns", "9".to_owned()),
        ];
        let found = header.metadata.iter().map(|(k, v)| (k.as_str(), v.clone())).collect::<Vec<_>>();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_stamp_before_the_epoch_is_refused_and_not_wrapped() {
    let tensor = Tensor::new("t", DType::U8, vec![1], vec![0]).unwrap().at(Stamp(-1));
    assert!(encode(&tensor, Compression::default(), 0).unwrap_err().to_string().contains("-1 ns"));
    assert!(Level::new(0).is_err() && Level::new(23).is_err());
}

fn scan() -> LaserScan {
    LaserScan {
        stamp: Stamp(1_057_000_000_100_000_000),
        frame_id: "laser".into(),
        angle_min: -1.570_796_4,
        angle_max: std::f32::consts::FRAC_PI_2,
        angle_increment: 0.017_550_796,
        time_increment: f32::from_bits(0xffc1_2345),
        scan_time: -0.0,
        range_min: f32::MIN_POSITIVE / 2.0,
        range_max: f32::INFINITY,
        ranges: vec![1.5, f32::INFINITY, f32::from_bits(0x7fc0_0001), f32::NEG_INFINITY, 0.1],
        intensities: vec![],
    }
}

/// Bits of a scan's floats, so that NaN compares.
fn bits(s: &LaserScan) -> Vec<u32> {
    let fields = [s.angle_min, s.angle_max, s.angle_increment, s.time_increment, s.scan_time, s.range_min, s.range_max];
    fields.iter().chain(&s.ranges).chain(&s.intensities).map(|v| v.to_bits()).collect()
}

#[test]
fn laser_scans_with_and_without_intensities() {
    let with_intensities = LaserScan { intensities: vec![9.0, 8.0, f32::NAN, 7.0, 6.0], ..scan() };
    for (message, shape) in [(scan(), vec![5]), (with_intensities, vec![2, 5]), (LaserScan::default(), vec![0])] {
        let tensor = message.clone().into_tensor("scan").unwrap();
        assert_eq!(tensor.shape(), shape);
        let back = LaserScan::from_tensor(over_the_wire(&tensor, MaxFrame::default()).0).unwrap();
        assert_eq!(bits(&back), bits(&message));
        assert_eq!((back.stamp, &back.frame_id), (message.stamp, &message.frame_id));
        assert_eq!(back.intensities.len(), message.intensities.len());
    }
    let uneven = LaserScan { intensities: vec![1.0], ..scan() }.into_tensor("scan").unwrap_err();
    assert_eq!(uneven.to_string(), "intensities has 1, and 5 is needed (as many as ranges, or none)");
}

#[test]
fn images_packed_padded_big_endian_and_unknown() {
    let mut rng = Pcg64Mcg::seed_from_u64(4);
    let cases = [
        ("rgb8", 0, 4, 12, DType::U8, vec![3, 4, 3]),
        ("bgra8", 1, 4, 16, DType::U8, vec![3, 4, 4]),
        ("mono8", 0, 4, 4, DType::U8, vec![3, 4, 1]),
        ("mono8", 0, 4, 7, DType::U8, vec![3, 7]),
        ("mono16", 0, 4, 8, DType::U16, vec![3, 4, 1]),
        ("mono16", 1, 4, 8, DType::U8, vec![3, 8]),
        ("16UC1", 0, 4, 8, DType::U16, vec![3, 4, 1]),
        ("32FC2", 0, 4, 32, DType::F32, vec![3, 4, 2]),
        ("32FC", 0, 4, 16, DType::U8, vec![3, 16]),
        ("64F", 0, 4, 32, DType::F64, vec![3, 4, 1]),
        ("bayer_rggb16", 0, 4, 8, DType::U16, vec![3, 4, 1]),
        ("yuv422", 0, 4, 8, DType::U8, vec![3, 8]),
        ("something else", 0, 400, 8, DType::U8, vec![3, 8]),
    ];
    for (encoding, is_bigendian, width, step, dtype, shape) in cases {
        let data = random_bytes(&mut rng, step as usize * 3);
        let (stamp, frame_id) = (Stamp(3), "camera".to_owned());
        let image = Image { stamp, frame_id, height: 3, width, encoding: encoding.into(), is_bigendian, step, data };
        let tensor = image.clone().into_tensor("image").unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (dtype, shape.as_slice()), "{encoding}");
        assert_eq!(Image::from_tensor(over_the_wire(&tensor, MaxFrame::default()).0).unwrap(), image);
    }
    let short = Image { height: 2, step: 3, data: vec![0; 5], ..Image::default() }.into_tensor("image").unwrap_err();
    assert_eq!(short.to_string(), "data has 5, and 6 is needed (step times height)");
    let huge = Image { height: u32::MAX, step: u32::MAX, ..Image::default() }.into_tensor("image").unwrap_err();
    assert!(matches!(huge, SensorError::Size { field: "data", .. }));
}

fn cloud() -> PointCloud2 {
    let field = |name: &str, offset, datatype, count| PointField { name: name.into(), offset, datatype, count };
    PointCloud2 {
        stamp: Stamp(77),
        frame_id: "velodyne".into(),
        height: 2,
        width: 3,
        fields: vec![field("x", 0, 7, 1), field("a name", 4, 8, 1), field("", 12, 2, 4)],
        is_bigendian: true,
        point_step: 16,
        row_step: 48,
        data: random_bytes(&mut Pcg64Mcg::seed_from_u64(5), 96),
        is_dense: true,
    }
}

#[test]
fn point_clouds_with_and_without_padding() {
    let padded = PointCloud2 { row_step: 50, data: vec![7; 100], is_bigendian: false, is_dense: false, ..cloud() };
    for (message, shape) in [(cloud(), vec![2, 3, 16]), (padded, vec![2, 50])] {
        let tensor = message.clone().into_tensor("cloud").unwrap();
        assert_eq!(tensor.shape(), shape);
        assert_eq!(PointCloud2::from_tensor(over_the_wire(&tensor, MaxFrame::default()).0).unwrap(), message);
    }
    let refused = |cloud: PointCloud2| cloud.into_tensor("cloud").unwrap_err().to_string();
    assert!(refused(PointCloud2 { data: vec![0; 95], ..cloud() }).starts_with("data has 95, and 96"));
    assert!(refused(PointCloud2 { row_step: 47, data: vec![0; 94], ..cloud() }).starts_with("row_step has 47"));
    let outside = PointField { name: "z".into(), offset: 13, datatype: 7, count: 1 };
    assert!(refused(PointCloud2 { fields: vec![outside], ..cloud() }).contains("'z' ends at byte 17"));
    let unknown = PointField { name: "z".into(), datatype: 9, ..PointField::default() };
    assert!(refused(PointCloud2 { fields: vec![unknown], ..cloud() }).contains("datatype 9"));
    assert!(
        refused(PointCloud2 { fields: vec![cloud().fields[0].clone(); 41], ..cloud() }).contains("41 point fields")
    );
}

#[test]
fn arrays_with_and_without_layout() {
    let dimension = |label: &str, size, stride| MultiArrayDimension { label: label.into(), size, stride };
    let data = [1.0, f32::INFINITY, -0.0, 4.0, 5.0, 6.0].iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
    let layout = vec![dimension("rows of it", 2, 6), dimension("", 3, 3)];
    let bare = MultiArray::flat(DType::F32, data);
    let shaped = MultiArray { dimensions: layout.clone(), ..bare.clone() };
    let offset = MultiArray { dimensions: vec![dimension("n", 4, 4)], data_offset: 2, ..bare.clone() };
    for (message, shape) in [(bare.clone(), vec![6]), (shaped, vec![2, 3]), (offset, vec![6])] {
        let tensor = message.clone().into_tensor("array").unwrap();
        assert_eq!(tensor.shape(), shape);
        let back = over_the_wire(&tensor, MaxFrame::default()).0;
        assert_eq!(MultiArray::from_tensor(back).unwrap(), message);
    }
    let short = MultiArray { dimensions: layout, data: vec![0; 20], ..bare }.into_tensor("a").unwrap_err();
    assert!(short.to_string().starts_with("data has 5, and 6 is needed"), "{short}");
}

/// What lies in DDS comes back as it was, through tensor and link, for each type that is known and for one that is not.
#[test]
fn messages_of_every_type_come_back_as_they_lay_in_dds() {
    fn cdr(message: &impl SensorMessage) -> Vec<u8> {
        let mut writer = CdrWriter::new(0);
        message.write(&mut writer);
        writer.finish()
    }
    let joints = JointState {
        stamp: Stamp(5_000_000_007),
        names: (0..60).map(|i| format!("joint:{i} ü")).collect(),
        position: (0..60).map(f64::from).collect(),
        effort: vec![f64::NAN; 60],
        ..JointState::default()
    };
    let numbers = std::array::from_fn(|i| if i == 4 { -1.0 } else { i as f64 / 3.0 });
    let imu = Imu { stamp: Stamp(1), frame_id: "imu_link".into(), numbers };
    let data = vec![0xff, 0xd8, 1, 2, 3];
    let photo = CompressedImage { stamp: Stamp(2), frame_id: "cam".into(), format: "jpeg".into(), data };
    let mut messages: Vec<(&str, Vec<u8>)> = vec![
        (LaserScan::TYPE, cdr(&scan())),
        (PointCloud2::TYPE, cdr(&cloud())),
        (JointState::TYPE, cdr(&joints)),
        (JointState::TYPE, cdr(&JointState::default())),
        (Imu::TYPE, cdr(&imu)),
        (CompressedImage::TYPE, cdr(&photo)),
        ("nav_msgs/msg/Odometry", vec![0, 1, 0, 0, 9, 8, 7]),
    ];
    for (name, dtype) in [
        ("std_msgs/msg/Float64MultiArray", DType::F64),
        ("std_msgs/msg/Int8MultiArray", DType::I8),
        ("std_msgs/msg/UInt16MultiArray", DType::U16),
        ("std_msgs/msg/Int64MultiArray", DType::I64),
    ] {
        let mut writer = CdrWriter::new(0);
        MultiArray::flat(dtype, (0..48).collect()).write(&mut writer);
        messages.push((name, writer.finish()));
    }
    for (name, message) in messages {
        let conversion = Conversion::of(name);
        let tensor = conversion.to_tensor(&message, "s", Stamp(77)).unwrap();
        assert_eq!(tensor.attributes()["ros.type"], name);
        let back = over_the_wire(&tensor, MaxFrame::default()).0;
        assert_eq!(conversion.from_tensor(back).unwrap(), message, "{name}");
        // Cut anywhere it is refused, and never read beyond its end.
        for length in 0..message.len() {
            let _ = conversion.to_tensor(&message[..length], "s", Stamp(77));
        }
        assert!(conversion.to_tensor(&message[..3], "s", Stamp(77)).is_err());
        // Lengths that cannot be are refused before anything is allocated.
        for at in (4..message.len() - 3).step_by(4) {
            let mut mutated = message.clone();
            mutated[at..at + 4].copy_from_slice(&[0xff; 4]);
            let _ = conversion.to_tensor(&mutated, "s", Stamp(77));
        }
    }
    let scan = Conversion::of(LaserScan::TYPE);
    assert!(scan.from_tensor(imu.into_tensor("i").unwrap()).unwrap_err().to_string().contains("Imu"));
    let big_endian = scan.to_tensor(&[0, 0, 0, 0, 1, 2, 3, 4], "s", Stamp(0)).unwrap_err();
    assert!(big_endian.to_string().contains("little-endian"), "{big_endian}");
}

/// Found by fuzzing: a frame of "a", a zero byte and "b" came back as "a".
#[test]
fn text_with_a_zero_byte_inside_is_refused() {
    let mut message = vec![0, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    message.extend(*b"a\0b\0");
    message.extend([0; 36]);
    let scan = Conversion::of(LaserScan::TYPE);
    let refused = scan.to_tensor(&message, "s", Stamp(0)).unwrap_err();
    assert_eq!(refused.to_string(), "header.frame_id is not UTF-8 whose first zero byte is its last");
    message[17] = b' ';
    assert_eq!(scan.to_tensor(&message, "s", Stamp(0)).unwrap().frame_id(), "a b");
}

#[test]
fn every_compression_gives_back_every_byte() {
    let floats = (0..30_000_u32).flat_map(|i| (f64::from(i) * 0.01).sin().to_le_bytes()).collect();
    let floats = Tensor::new("t", DType::F64, vec![100, 300], floats).unwrap();
    let points = Tensor::new("t", DType::U8, vec![50, 12], (0..600_u32).map(|i| (i * 7) as u8).collect()).unwrap();
    let empty = Tensor::new("t", DType::F32, vec![0, 4], vec![]).unwrap();
    for text in ["none", "zstd", "zstd:1", "zstd:19", "lz4", "zstd+shuffle", "zstd:22+shuffle", "lz4+shuffle"] {
        let compression: Compression = text.parse().unwrap();
        for tensor in [&floats, &points, &empty] {
            let frame = encode(tensor, compression, 1).unwrap();
            assert_eq!(&decode(frame).unwrap(), tensor, "{text}");
        }
    }
    let size = |text: &str| encode(&floats, text.parse().unwrap(), 1).unwrap().tensor_zstd.len();
    assert!(size("zstd+shuffle") < size("zstd") && size("zstd") < size("none"));
    assert_eq!(size("none"), 240_000);
    for text in ["", "gzip", "zstd:0", "zstd:23", "zstd:x", "none+shuffle", "lz4+shuffle:1", "lz4+shuffle:65", "lz4+"] {
        assert!(text.parse::<Compression>().is_err(), "{text}");
    }
    // A shuffle that does not divide the tensor is refused, by name, on both ends.
    assert!(encode(&points, "lz4+shuffle:7".parse().unwrap(), 1).unwrap_err().to_string().contains("600 bytes"));
    let mut frame = encode(&points, "zstd+shuffle:12".parse().unwrap(), 1).unwrap();
    frame.header.as_mut().unwrap().metadata.insert("compression".into(), "zstd:3+shuffle:7".into());
    assert!(decode(frame).unwrap_err().to_string().contains("600 bytes"));
}

#[test]
fn a_tensor_of_another_type_or_with_broken_attributes_is_refused() {
    let tensor = scan().into_tensor("scan").unwrap();
    let error = Image::from_tensor(tensor.clone()).unwrap_err();
    assert!(error.to_string().contains("sensor_msgs/msg/LaserScan"), "{error}");
    let mut attributes = tensor.attributes().clone();
    attributes.insert("angle_min".into(), "left".into());
    let error = LaserScan::from_tensor(tensor.clone().with_attributes(attributes.clone()).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the tensor's attribute 'angle_min' is 'left', which cannot be read");
    attributes.remove("angle_min");
    let error = LaserScan::from_tensor(tensor.with_attributes(attributes).unwrap()).unwrap_err();
    assert_eq!(error, SensorError::Missing("angle_min".into()));
    let mut attributes = cloud().into_tensor("c").unwrap().attributes().clone();
    attributes.insert("row_step".into(), "4294967295".into());
    let cloud = cloud().into_tensor("c").unwrap().with_attributes(attributes).unwrap();
    assert!(matches!(PointCloud2::from_tensor(cloud).unwrap_err(), SensorError::Size { field: "data", .. }));
}
