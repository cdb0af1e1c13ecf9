//! Transforms between frames (REP 105): broadcasters, and a listener with a buffer.

mod buffer;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ecps_core::check::CheckError;
use ecps_core::clock::Stamp;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use r2r::geometry_msgs::msg::{Transform, TransformStamped};
use r2r::tf2_msgs::msg::TFMessage;

pub use buffer::{Buffer, TransformError};

use crate::node::Node;
use crate::publisher::Publisher;
use crate::qos;
use crate::start_error::StartError;
use crate::validate::Validate;

/// A message's transform.
pub fn isometry(transform: &Transform) -> Result<Isometry3<f64>, CheckError> {
    transform.validate("transform")?;
    let (t, r) = (&transform.translation, &transform.rotation);
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(r.w, r.x, r.y, r.z));
    Ok(Isometry3::from_parts(Translation3::new(t.x, t.y, t.z), rotation))
}

/// Publishes transforms that change, on `/tf`. Clones share the publisher.
#[derive(Debug, Clone)]
pub struct TransformBroadcaster(Publisher<TFMessage>);

impl TransformBroadcaster {
    /// Publishes them in one message.
    pub fn send(&self, transforms: Vec<TransformStamped>) {
        self.0.publish(&TFMessage { transforms });
    }
}

/// Publishes transforms that hold for ever, on `/tf_static`. Clones share what was published.
#[derive(Debug, Clone)]
pub struct StaticTransformBroadcaster {
    publisher: Publisher<TFMessage>,
    sent: Arc<Mutex<BTreeMap<String, TransformStamped>>>,
}

impl StaticTransformBroadcaster {
    /// Publishes them together with all sent before, since a latched topic keeps one message.
    pub fn send(&self, transforms: Vec<TransformStamped>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.extend(transforms.into_iter().map(|transform| (transform.child_frame_id.clone(), transform)));
        self.publisher.publish(&TFMessage { transforms: sent.values().cloned().collect() });
    }
}

/// What a node has heard of `/tf` and `/tf_static`. Clones share the buffer; any thread may ask.
#[derive(Debug, Clone, Default)]
pub struct Transforms(Arc<(Mutex<Buffer>, Condvar)>);

impl Transforms {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes coordinates in `source` to coordinates in `target` at `at`; zero asks for the newest time at which all
    /// of the way is known.
    pub fn lookup(&self, target: &str, source: &str, at: Stamp) -> Result<Isometry3<f64>, TransformError> {
        self.buffer().lookup(target, source, at)
    }

    /// As [`Transforms::lookup`], but waits at most `limit` of steady time for what is not known yet. Not for the spin
    /// thread, which is the one that hears transforms.
    pub fn wait(
        &self,
        target: &str,
        source: &str,
        at: Stamp,
        limit: Duration,
    ) -> Result<Isometry3<f64>, TransformError> {
        let deadline = Instant::now() + limit;
        let mut buffer = self.buffer();
        loop {
            let found = buffer.lookup(target, source, at);
            let left = deadline.saturating_duration_since(Instant::now());
            match &found {
                Ok(_) => return found,
                // What is forgotten does not come back.
                Err(TransformError::Past { .. }) => return found,
                Err(_) if left.is_zero() => return found,
                Err(_) => {}
            }
            buffer = self.0.1.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn heard(&self, message: &TFMessage, insert: fn(&mut Buffer, &TransformStamped) -> Result<(), String>) {
        let mut buffer = self.buffer();
        for transform in &message.transforms {
            if let Err(reason) = insert(&mut buffer, transform) {
                tracing::warn!("a transform to '{}' is refused: {reason}", transform.child_frame_id);
            }
        }
        drop(buffer);
        self.0.1.notify_all();
    }
}

fn checked(transform: &TransformStamped) -> Result<Isometry3<f64>, String> {
    transform.validate("transform").map_err(|e| e.to_string())?;
    isometry(&transform.transform).map_err(|e| e.to_string())
}

fn insert_moving(buffer: &mut Buffer, message: &TransformStamped) -> Result<(), String> {
    let (stamp, transform) = (crate::convert::stamp(&message.header.stamp), checked(message)?);
    buffer.insert(&message.header.frame_id, &message.child_frame_id, stamp, transform).map_err(|e| e.to_string())
}

fn insert_static(buffer: &mut Buffer, message: &TransformStamped) -> Result<(), String> {
    let transform = checked(message)?;
    buffer.insert_static(&message.header.frame_id, &message.child_frame_id, transform).map_err(|e| e.to_string())
}

impl<S: 'static> Node<S> {
    /// A broadcaster on `/tf`.
    pub fn transform_broadcaster(&mut self) -> Result<TransformBroadcaster, StartError> {
        self.publisher("/tf", qos::transforms()).map(TransformBroadcaster)
    }

    /// A broadcaster on `/tf_static`.
    pub fn static_transform_broadcaster(&mut self) -> Result<StaticTransformBroadcaster, StartError> {
        let publisher = self.publisher("/tf_static", qos::static_transforms(1))?;
        Ok(StaticTransformBroadcaster { publisher, sent: Arc::default() })
    }

    /// Listens to `/tf` and `/tf_static`, also while the node is inactive.
    pub fn transforms(&mut self) -> Result<Transforms, StartError> {
        let transforms = Transforms::default();
        self.in_any_state(|node| {
            let heard = transforms.clone();
            node.subscribe("/tf", qos::transforms(), move |_, message: TFMessage| {
                heard.heard(&message, insert_moving);
            })?;
            let heard = transforms.clone();
            node.subscribe("/tf_static", qos::static_transforms(100), move |_, message: TFMessage| {
                heard.heard(&message, insert_static);
            })?;
            Ok(())
        })?;
        Ok(transforms)
    }
}
