//! What executor and supervisor tell each other, 50 times a second: that they run, what time they think it is, and
//! whether the robot is stopped.
//!
//! A frame has 40 bytes, little-endian: `EAPB`, version 1, role, status, 0, sequence (u64), monotonic time in
//! nanoseconds (u64), longest pause of the sender's loop since the frame before in nanoseconds (u64), and 8 bytes of 0.

use std::time::Duration;

use ecps_core::clock::Steady;
use thiserror::Error;

/// Bytes of a frame.
pub const FRAME_BYTES: usize = 40;
/// Time between two.
pub const PERIOD: Duration = Duration::from_millis(20);

const MAGIC: [u8; 4] = *b"EAPB";
const VERSION: u8 = 1;

/// Who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The process that moves the robot.
    Executor,
    /// The process that stops it.
    Supervisor,
}

/// How the sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Commands are carried out; the supervisor watches.
    Running,
    /// The robot is stopped, or nobody has enabled.
    Stopped,
    /// The sender ends in good order; the robot is in its safe state.
    Leaving,
}

/// One sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Who sent it.
    pub role: Role,
    /// How the sender is.
    pub status: Status,
    /// One more in each.
    pub sequence: u64,
    /// When it was sent, on the clock that all processes of a machine share.
    pub sent: Steady,
    /// The longest that the sender's loop paused since the beat before.
    pub pause: Duration,
}

/// Bytes that are no beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BeatError {
    /// Another protocol, or a newer version.
    #[error("a heartbeat begins with {0:02x?}, which is neither this version nor this protocol")]
    Magic([u8; 5]),
    /// A role or status that does not exist.
    #[error("a heartbeat has role {role} and status {status}, which do not exist")]
    Unknown {
        /// Role.
        role: u8,
        /// Status.
        status: u8,
    },
}

fn nanos(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).to_le_bytes()
}

impl Beat {
    /// Its bytes.
    pub fn encode(&self) -> [u8; FRAME_BYTES] {
        let role = match self.role {
            Role::Executor => 0,
            Role::Supervisor => 1,
        };
        let status = match self.status {
            Status::Running => 0,
            Status::Stopped => 1,
            Status::Leaving => 2,
        };
        let mut frame = [0; FRAME_BYTES];
        let head = MAGIC.into_iter().chain([VERSION, role, status, 0]);
        let fields = [self.sequence.to_le_bytes(), nanos(self.sent.0), nanos(self.pause)];
        for (byte, value) in frame.iter_mut().zip(head.chain(fields.into_iter().flatten())) {
            *byte = value;
        }
        frame
    }

    /// From its bytes.
    pub fn decode(frame: &[u8; FRAME_BYTES]) -> Result<Beat, BeatError> {
        let [m0, m1, m2, m3, version, role, status, _, fields @ ..] = *frame;
        if ([m0, m1, m2, m3], version) != (MAGIC, VERSION) {
            return Err(BeatError::Magic([m0, m1, m2, m3, version]));
        }
        let unknown = BeatError::Unknown { role, status };
        let role = [Role::Executor, Role::Supervisor].get(usize::from(role)).copied().ok_or(unknown)?;
        let status = [Status::Running, Status::Stopped, Status::Leaving].get(usize::from(status)).copied();
        let mut numbers = fields.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or(0);
        let sequence = next();
        let (sent, pause) = (Steady(Duration::from_nanos(next())), Duration::from_nanos(next()));
        Ok(Beat { role, status: status.ok_or(unknown)?, sequence, sent, pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_survives_its_bytes_and_nonsense_is_refused() {
        for role in [Role::Executor, Role::Supervisor] {
            for status in [Status::Running, Status::Stopped, Status::Leaving] {
                let sent = Steady(Duration::new(123_456, 789));
                let beat = Beat { role, status, sequence: u64::MAX - 1, sent, pause: Duration::from_micros(20_123) };
                assert_eq!(Beat::decode(&beat.encode()), Ok(beat));
            }
        }
        let good = Beat {
            role: Role::Executor,
            status: Status::Running,
            sequence: 1,
            sent: Steady::default(),
            pause: Duration::ZERO,
        };
        for (place, value) in [(0, b'X'), (4, 2), (5, 2), (6, 3)] {
            let mut frame = good.encode();
            frame[place] = value;
            assert!(Beat::decode(&frame).is_err(), "byte {place}");
        }
    }
}
