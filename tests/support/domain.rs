//! A ROS domain id that no other running test has.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

/// Ids whose UDP ports lie below those that Linux hands out to others; 0 is left to the user.
const IDS: std::ops::RangeInclusive<u32> = 1..=101;

/// An id, taken until this is dropped or the process ends: a lock on a file does not outlive its holder.
pub(crate) struct Domain {
    id: u32,
    _lock: File,
}

impl Domain {
    /// Takes a free one, beginning with another in each process, since DDS forgets the dead only slowly.
    pub(crate) fn take() -> Domain {
        let count = IDS.count() as u32;
        for offset in 0..count {
            let id = IDS.start() + (std::process::id() + offset) % count;
            let path = std::env::temp_dir().join(format!("ecps-test-domain-{id}.lock"));
            let Ok(lock) = File::options().create(true).truncate(false).write(true).open(&path) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Domain { id, _lock: lock };
            }
        }
        panic!("none of the ROS domains {IDS:?} is free");
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}
