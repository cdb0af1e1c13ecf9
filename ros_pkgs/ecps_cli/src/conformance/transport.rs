//! Whether tensors cross a transport whole: sent by one node, received by another, over DDS.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ecps_core::limits;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::codec;
use ecps_perception::compression::Choice;
use ecps_perception::node::{Received, TensorPublisher, subscribe_tensors};
use ecps_perception::outbox::Settings;
use ecps_perception::reassembly::Bounds;
use ecps_perception::tensor::{DType, Tensor};
use ecps_ros::{Args, Node};
use serde_yaml::Value;

/// What a configuration file may say; each has a default.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    topic: String,
    count: u32,
    bytes: u32,
    max_frame_bytes: i64,
    compression: String,
    timeout: Duration,
}

/// Reads a YAML (or JSON) file: topic, count, bytes, `max_frame_bytes`, compression, `timeout_s`.
pub fn config(file: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let map: BTreeMap<String, Value> =
        serde_yaml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    const KNOWN: [&str; 6] = ["topic", "count", "bytes", "max_frame_bytes", "compression", "timeout_s"];
    if let Some(key) = map.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("'{key}' is not known; known are {}", KNOWN.join(", ")));
    }
    let number = |key: &str, default: u32, most: u32| match map.get(key) {
        None => Ok(default),
        Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!("'{key}' must be 1 to {most}")),
        },
    };
    let text = |key: &str, default: &str| match map.get(key) {
        None => Ok(default.to_owned()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| format!("'{key}' must be text")),
    };
    let config = Config {
        topic: text("topic", "/ecps_conformance")?,
        count: number("count", 10, 100_000)?,
        bytes: number("bytes", 100_000, limits::TENSOR_BYTES as u32)?,
        max_frame_bytes: i64::from(number("max_frame_bytes", 65_536, limits::LTP_FRAME_BYTES as u32)?),
        compression: text("compression", "zstd:3")?,
        timeout: Duration::from_secs(u64::from(number("timeout_s", 30, 3600)?)),
    };
    MaxFrame::new(config.max_frame_bytes).map_err(|error| error.to_string())?;
    config.compression.parse::<Choice>().map_err(|error| error.to_string())?;
    Ok(config)
}

/// Sends tensors, those in `frames` or made-up ones, and says what went wrong. The second value is how many arrived.
pub fn dds(config: &Config, frames: &[Vec<u8>]) -> Result<(Vec<String>, usize), String> {
    let tensors = if frames.is_empty() {
        (0..config.count).map(|number| made_up(number, config.bytes)).collect::<Result<Vec<Tensor>, String>>()?
    } else {
        let decoded = frames.iter().map(|frame| codec::decode_bytes(frame).map_err(|error| error.to_string()));
        decoded.collect::<Result<Vec<Tensor>, String>>()?
    };
    let args = Args::parse(std::iter::empty()).map_err(|error| error.to_string())?;
    let node = |name: &str| Node::<()>::start(name, &args, |_| Ok(())).map_err(|error| error.to_string());
    let (mut sending, mut receiving) = (node("conformance_sender")?, node("conformance_receiver")?);
    let settings = Settings {
        max: MaxFrame::new(config.max_frame_bytes).map_err(|error| error.to_string())?,
        compression: config.compression.parse().map_err(|error| format!("{error}"))?,
        ..Settings::default()
    };
    let publisher = TensorPublisher::new(&mut sending, &config.topic, settings).map_err(|error| error.to_string())?;
    let (heard, arrived) = mpsc::channel();
    subscribe_tensors(&mut receiving, &config.topic, Bounds::default(), move |(), received| {
        let _ = heard.send(received);
    })
    .map_err(|error| error.to_string())?;
    let _spinning = [sending.spin_in_background(()), receiving.spin_in_background(())];
    let deadline = Instant::now() + config.timeout;
    while publisher.subscribers() == 0 {
        if Instant::now() > deadline {
            return Ok((vec![format!("nobody was found on '{}' within {:?}", config.topic, config.timeout)], 0));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut errors, mut count) = (Vec::new(), 0);
    for (number, tensor) in tensors.into_iter().enumerate() {
        publisher.publish(tensor.clone())?;
        match arrived.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Received::Tensor { tensor: found, .. }) if *found == tensor => count += 1,
            Ok(Received::Tensor { .. }) => errors.push(format!("tensor {number} came as another")),
            Ok(Received::Refused(refusal)) => errors.push(format!("tensor {number}: {refusal}")),
            Err(_) => {
                errors.push(format!("tensor {number} did not come within {:?}", config.timeout));
                break;
            }
        }
    }
    Ok((errors, count))
}

fn made_up(number: u32, bytes: u32) -> Result<Tensor, String> {
    let data = (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(number) >> 13) as u8).collect();
    Tensor::new("made_up", DType::U8, vec![bytes], data).map_err(|error| error.to_string())
}
