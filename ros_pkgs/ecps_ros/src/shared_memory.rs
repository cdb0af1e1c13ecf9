//! What killed processes left of Fast DDS's shared memory.
//!
//! Each process has a segment in `/dev/shm`, 0.5 MB by default and 64 MiB by the profile of the fast lane, and holds a lock on
//! the file beside it for as long as it lives. One that is killed removes neither, and nobody else does until somebody runs
//! `fastdds shm clean`. This is that command's rule for segments, with one more condition: a lock that is free has been there
//! for a while, so that no process is met between making the file and locking it. Ports are left alone: they are small, and
//! many processes share them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

const FOLDER: &str = "/dev/shm";
/// Before the segment's id, in Fast DDS 2 and 3.
const PREFIXES: [&str; 2] = ["fastrtps_", "fastdds_"];
const ID_LENGTH: usize = 16;
/// After the name of a segment, that of its lock.
const LOCK_SUFFIX: &str = "_el";
/// From making its lock to holding it a process takes far less, even on a busy machine.
const SETTLED: Duration = Duration::from_secs(60);

/// What was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Released {
    /// Segments.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the segments whose owners are gone. What cannot be removed, as another user's, stays.
pub fn release_orphans() -> Released {
    release_in(Path::new(FOLDER), SystemTime::now())
}

fn release_in(folder: &Path, now: SystemTime) -> Released {
    let mut released = Released::default();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(bytes) = name.to_str().and_then(segment_of).and_then(|segment| release(folder, segment, now)) {
            released.segments += 1;
            released.bytes += bytes;
        }
    }
    released
}

/// The segment whose lock has this name.
fn segment_of(lock: &str) -> Option<&str> {
    let segment = lock.strip_suffix(LOCK_SUFFIX)?;
    let id = PREFIXES.iter().find_map(|prefix| segment.strip_prefix(prefix))?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    is_id.then_some(segment)
}

/// Removes the segment if nobody holds its lock; its bytes.
fn release(folder: &Path, segment: &str, now: SystemTime) -> Option<u64> {
    let (memory, lock) = (folder.join(segment), folder.join(format!("{segment}{LOCK_SUFFIX}")));
    let held = File::from(open(&lock, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?);
    let facts = held.metadata().ok()?;
    let is_settled = now.duration_since(facts.modified().ok()?).is_ok_and(|age| age >= SETTLED);
    if !facts.is_file() || !is_settled {
        return None;
    }
    flock(&held, FlockOperation::NonBlockingLockExclusive).ok()?;
    let bytes = fs::symlink_metadata(&memory).map_or(0, |facts| facts.len());
    match fs::remove_file(&memory) {
        Err(error) if error.kind() != ErrorKind::NotFound => None,
        _ => fs::remove_file(&lock).ok().map(|()| bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_when_its_lock_is_free_and_not_new() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            fs::write(folder.path().join(name), [0; 100]).unwrap();
            let lock = folder.path().join(format!("{name}_el"));
            fs::write(&lock, []).unwrap();
            File::open(lock).unwrap()
        };
        let orphan = "fastrtps_0123456789abcdef";
        let living = "fastrtps_fedcba9876543210";
        make(orphan);
        let owner = make(living);
        flock(&owner, FlockOperation::LockExclusive).unwrap();
        for other in ["fastrtps_port7411", "fastrtps_0123456789ABCDEF", "fastrtps_0123", "sem.0123456789abcdef"] {
            make(other);
        }
        let names = || {
            let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();

        let now = SystemTime::now();
        assert_eq!(release_in(folder.path(), now), Released::default(), "it may be about to be locked");
        assert_eq!(names(), before);
        assert_eq!(release_in(folder.path(), now + 2 * SETTLED), Released { segments: 1, bytes: 100 });
        let gone = |name: &std::ffi::OsString| name.to_str().unwrap().starts_with(orphan);
        assert_eq!(names(), before.into_iter().filter(|name| !gone(name)).collect::<Vec<_>>());
        assert_eq!(release_in(&folder.path().join("nothing"), now), Released::default());
    }

    #[test]
    fn a_link_in_the_place_of_a_lock_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, []).unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join("fastrtps_0123456789abcdef_el")).unwrap();
        assert_eq!(release_in(folder.path(), SystemTime::now() + 2 * SETTLED), Released::default());
        assert!(precious.exists());
    }
}
