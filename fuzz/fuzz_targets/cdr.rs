//! Messages as they lie in DDS: frames, chunks, tensors and every sensor type. The first byte says which; what a sensor
//! message became gives it back.
#![no_main]

use ecps_core::clock::Stamp;
use ecps_fuzz::{begin_with, frames, tensor};
use ecps_perception::cdr::{CdrWriter, wire};
use ecps_perception::chunks::{MaxFrame, Parcel};
use ecps_perception::sensor::{Conversion, Image, JointState, LaserScan, PointCloud2, PointField, SensorMessage};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 8] = [
    "sensor_msgs/msg/LaserScan",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/PointCloud2",
    "sensor_msgs/msg/Imu",
    "sensor_msgs/msg/JointState",
    "std_msgs/msg/Float64MultiArray",
    "nav_msgs/msg/Odometry",
];

fn sound() -> Vec<Vec<u8>> {
    fn cdr(message: &impl SensorMessage) -> Vec<u8> {
        let mut writer = CdrWriter::new(0);
        message.write(&mut writer);
        writer.finish()
    }
    let packet = |frame, max| wire::packet(&Parcel::new(frame, max).unwrap().packet(0).unwrap(), Vec::new());
    let frame = || frames(4000).remove(1);
    let field = PointField { name: "x".into(), offset: 0, datatype: 7, count: 1 };
    let cloud = PointCloud2 {
        height: 1,
        width: 5,
        fields: vec![field; 3],
        point_step: 12,
        row_step: 60,
        data: vec![1; 60],
        ..PointCloud2::default()
    };
    let messages = [
        packet(frame(), MaxFrame::default()),
        packet(frame(), MaxFrame::new(2048).unwrap()),
        wire::tensor(&tensor(400), Vec::new()),
        cdr(&LaserScan { ranges: vec![1.0; 30], ..LaserScan::default() }),
        cdr(&Image { height: 4, width: 5, encoding: "rgb8".into(), step: 15, data: vec![2; 60], ..Image::default() }),
        cdr(&cloud),
        cdr(&JointState { names: vec!["a".into(); 3], position: vec![1.0; 3], ..JointState::default() }),
    ];
    let kinds = [0, 1, 2, 3, 4, 6, 8];
    kinds.into_iter().zip(messages).map(|(kind, message)| [vec![kind], message].concat()).collect()
}

fuzz_target!(
    init: begin_with("cdr", sound()),
    |bytes: &[u8]| {
        let Some((&kind, bytes)) = bytes.split_first() else { return };
        match kind {
            0 => drop(wire::read_frame(bytes.to_vec())),
            1 => drop(wire::read_chunk(bytes.to_vec())),
            2 => drop(wire::read_tensor(bytes.to_vec())),
            _ => {
                let Some(name) = TYPES.get(usize::from(kind) - 3) else { return };
                let conversion = Conversion::of(name);
                if let Ok(tensor) = conversion.to_tensor(bytes, "t", Stamp(0)) {
                    let again = conversion.from_tensor(tensor.clone()).unwrap();
                    assert_eq!(conversion.to_tensor(&again, "t", Stamp(0)).unwrap(), tensor);
                }
            }
        }
    }
);
