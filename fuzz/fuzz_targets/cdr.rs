//! Messages as they lie in DDS: frames, chunks, tensors and every sensor type.
#![no_main]

use ecps_core::clock::Stamp;
use ecps_perception::cdr::wire;
use ecps_perception::sensor::Conversion;
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

fuzz_target!(|bytes: &[u8]| {
    let _ = wire::read_frame(bytes.to_vec());
    let _ = wire::read_chunk(bytes.to_vec());
    let _ = wire::read_tensor(bytes.to_vec());
    for name in TYPES {
        let conversion = Conversion::of(name);
        if let Ok(tensor) = conversion.to_tensor(bytes, "t", Stamp(0)) {
            let again = conversion.from_tensor(tensor.clone()).unwrap();
            assert_eq!(conversion.to_tensor(&again, "t", Stamp(0)).unwrap(), tensor);
        }
    }
});
