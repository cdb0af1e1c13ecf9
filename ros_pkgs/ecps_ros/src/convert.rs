//! Between messages and the plain types of `ecps_core`.

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_core::id::Caller;
use r2r::builtin_interfaces::msg::Time;

/// A message's time as a stamp.
pub fn stamp(time: &Time) -> Stamp {
    Stamp::from_parts(time.sec, time.nanosec)
}

/// A stamp as a message's time.
pub fn time(stamp: Stamp) -> Time {
    let (sec, nanosec) = stamp.to_parts();
    Time { sec, nanosec }
}

/// Who asks, from the message. A negative lifetime counts as one nanosecond: expired on arrival.
pub fn caller(message: &r2r::ecps_msgs::msg::Caller) -> Caller {
    let nanos = i64::from(message.lifetime.sec) * 1_000_000_000 + i64::from(message.lifetime.nanosec);
    let lifetime = Duration::from_nanos(u64::try_from(nanos).unwrap_or(1));
    Caller {
        id: message.id.clone(),
        sequence: message.sequence,
        stamp: stamp(&message.stamp),
        lifetime,
        traceparent: message.traceparent.clone(),
        token: message.token.clone(),
    }
}
