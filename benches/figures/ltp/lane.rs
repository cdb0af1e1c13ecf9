//! The two processes of one way.

use std::io::Write as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_perception::cdr::{CdrReader, CdrWriter};
use ecps_perception::chunks::MaxFrame;
use ecps_perception::compression::{Choice, Compression};
use ecps_perception::node::{Received, TensorPublisher, subscribe_tensors};
use ecps_perception::outbox::Settings;
use ecps_perception::reassembly::Bounds;
use ecps_perception::sensor::{Image, SensorMessage};
use ecps_perception::tensor::{DType, Tensor};
use ecps_ros::qos;
use ecps_ros::r2r::sensor_msgs::msg::Image as ImageMessage;

use crate::support;

/// Sent before anything counts.
const WARM_UP: usize = 20;
/// Larger tensors go in chunks of so many bytes, in lent memory: while one is copied out, the next is copied in.
const CHUNK: i64 = 512 << 10;
const TYPE: &str = "sensor_msgs/msg/Image";
const TOPIC: &str = "/lane";
const PATIENCE: Duration = Duration::from_secs(3);
const DISCOVERY: Duration = Duration::from_secs(20);

type Subscribers = Box<dyn Fn() -> usize>;
type Publish = Box<dyn FnMut(Stamp, Vec<u8>)>;

/// Runs as source or sink.
pub(crate) fn run_as_peer(role: &str, way: &str, bytes: &str, rate: &str, count: &str) {
    let (bytes, rate, count): (usize, u32, usize) =
        (bytes.parse().unwrap(), rate.parse().unwrap(), count.parse().unwrap());
    match role {
        "ltp-source" => source(way, bytes, rate, count),
        _ => sink(way, count),
    }
}

fn source(way: &str, bytes: usize, rate: u32, count: usize) {
    let mut node = support::node();
    let (subscribers, mut publish): (Subscribers, Publish) = match way {
        "ltp" | "ltp-other-cut" => {
            let whole = (bytes <= CHUNK as usize) == (way == "ltp");
            let max = if whole { MaxFrame::default() } else { MaxFrame::new(CHUNK).unwrap() };
            let settings = Settings { max, compression: Choice::Fixed(Compression::NONE), ..Settings::default() };
            let publisher = TensorPublisher::new(&mut node, TOPIC, settings).unwrap();
            let counted = publisher.clone();
            let shape = vec![bytes as u32 / 4];
            let publish = move |stamp, data| {
                let tensor = Tensor::new("lane", DType::F32, shape.clone(), data).unwrap().at(stamp);
                publisher.publish(tensor).unwrap();
            };
            (Box::new(move || counted.subscribers()), Box::new(publish))
        }
        "raw-typed" => {
            let publisher = node.publisher::<ImageMessage>(TOPIC, qos::default()).unwrap();
            let counted = publisher.clone();
            let publish = move |stamp, data| {
                let mut image = ImageMessage { data, ..ImageMessage::default() };
                image.header.stamp = ecps_ros::time(stamp);
                publisher.publish(&image);
            };
            (Box::new(move || counted.subscribers()), Box::new(publish))
        }
        _ => {
            let publisher = node.cdr_publisher(TOPIC, TYPE, qos::default()).unwrap();
            let counted = publisher.clone();
            let publish = move |stamp, data| {
                let mut writer = CdrWriter::new(bytes + 64);
                Image { stamp, data, ..Image::default() }.write(&mut writer);
                publisher.try_publish(&writer.finish()).unwrap();
            };
            (Box::new(move || counted.subscribers()), Box::new(publish))
        }
    };
    let _spinning = node.spin_in_background(());
    let deadline = Instant::now() + DISCOVERY;
    while subscribers() == 0 {
        assert!(Instant::now() < deadline, "nobody subscribed");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let template = vec![3_u8; bytes];
    let start = Instant::now();
    for number in 0..WARM_UP + count {
        let data = template.clone();
        support::sleep_until(start + Duration::from_secs(1) * number as u32 / rate);
        // Those of the warm-up have a stamp that says so.
        let stamp = if number < WARM_UP { Stamp(number as i64) } else { support::ros_now() };
        publish(stamp, data);
    }
    std::thread::sleep(Duration::from_secs(1));
}

fn sink(way: &str, count: usize) {
    let mut node = support::node();
    let (heard, arrived) = mpsc::channel::<(Stamp, Stamp)>();
    match way {
        "ltp" | "ltp-other-cut" => subscribe_tensors(&mut node, TOPIC, Bounds::default(), move |(), received| {
            if let Received::Tensor { tensor, .. } = received {
                let _ = heard.send((tensor.stamp(), support::ros_now()));
            }
        })
        .unwrap(),
        "raw-typed" => drop(
            node.subscribe::<ImageMessage>(TOPIC, qos::default(), move |(), image| {
                let _ = heard.send((ecps_ros::stamp(&image.header.stamp), support::ros_now()));
            })
            .unwrap(),
        ),
        _ => drop(
            node.subscribe_cdr(TOPIC, TYPE, qos::default(), move |(), cdr| {
                let mut reader = CdrReader::new(&cdr).unwrap();
                let stamp = Stamp::from_parts(reader.i32("sec").unwrap(), reader.u32("nanosec").unwrap());
                let _ = heard.send((stamp, support::ros_now()));
            })
            .unwrap(),
        ),
    }
    let _spinning = node.spin_in_background(());
    let (mut times, mut patience) = (Vec::new(), DISCOVERY + PATIENCE);
    while times.len() < count
        && let Ok((sent, at)) = arrived.recv_timeout(patience)
    {
        patience = PATIENCE;
        if sent.0 >= WARM_UP as i64 {
            times.push(at.nanos_since(sent));
        }
    }
    let mut out = std::io::stdout().lock();
    times.iter().for_each(|nanos| writeln!(out, "{nanos}").unwrap());
}
