//! The connection between executor and supervisor: a stream socket in a folder of this user alone, so that each end sees
//! the death of the other at once, and its silence by the beats.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecps_core::clock::Steady;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::heartbeat::{Beat, BeatError, FRAME_BYTES, Role, Status};

/// Why a process may not take its place on the robot.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The folder of locks and sockets cannot be used.
    #[error("{path} cannot be used for locks and sockets: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder belongs to somebody else, or others may write to it.
    #[error("{path} must belong to this user alone, and has owner {owner} and mode {mode:o}")]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Another process has the place.
    #[error("another {what} runs for robot '{robot}' (it holds {path})")]
    Taken {
        /// "executor" or "supervisor".
        what: &'static str,
        /// The robot.
        robot: String,
        /// The lock.
        path: PathBuf,
    },
}

/// Where the executor and the supervisor of one robot meet.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    robot: String,
}

/// A lock that its holder's death releases.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not read")] File);

impl Place {
    /// In `$XDG_RUNTIME_DIR/ecps`, or else `/tmp/ecps-<user id>`; one folder for each ROS domain, since robots of two
    /// domains may have the same name. `namespace` is the robot's.
    pub fn of_robot(domain: u32, namespace: &str) -> Result<Place, PlaceError> {
        let base = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(folder) => PathBuf::from(folder).join("ecps"),
            None => std::env::temp_dir().join(format!("ecps-{}", rustix::process::getuid().as_raw())),
        };
        Place::in_folder(&base, &format!("{domain}{}", namespace.trim_end_matches('/').replace('/', "_")))
    }

    /// In a folder that is made if it is not there, and that no other user may write to.
    pub fn in_folder(folder: &Path, robot: &str) -> Result<Place, PlaceError> {
        let user = rustix::process::getuid().as_raw();
        let failed = |source| PlaceError::Folder { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let found = std::fs::symlink_metadata(folder).map_err(failed)?;
        if found.uid() != user || found.mode() & 0o022 != 0 || !found.is_dir() {
            let (owner, mode) = (found.uid(), found.mode() & 0o7777);
            return Err(PlaceError::NotPrivate { path: folder.to_owned(), owner, mode });
        }
        Ok(Place { folder: folder.to_owned(), robot: robot.to_owned() })
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.robot))
    }

    /// Makes this process the only `what` of the robot on this machine.
    pub fn take(&self, what: &'static str) -> Result<Lock, PlaceError> {
        let path = self.path(&format!("{what}.lock"));
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|source| PlaceError::Folder { path: path.clone(), source })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PlaceError::Taken { what, robot: self.robot.clone(), path }),
            Err(error) => Err(PlaceError::Folder { path, source: error.into() }),
        }
    }

    /// The supervisor's end. The caller holds the supervisor's lock, so a socket that is there is a dead one's.
    pub fn listen(&self) -> Result<UnixListener, PlaceError> {
        let path = self.path("heartbeat");
        let failed = |source| PlaceError::Folder { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    }

    /// The executor's end, while there is a supervisor.
    pub fn connect(&self) -> io::Result<Link> {
        Link::new(UnixStream::connect(self.path("heartbeat"))?)
    }
}

/// One end of the connection. Nothing here waits.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    received: Vec<u8>,
    sequence: u64,
}

/// The other end is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Link {
    /// Takes an end over.
    pub fn new(stream: UnixStream) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        Ok(Link { stream, received: Vec::new(), sequence: 0 })
    }

    /// To wait for what arrives.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a beat. One that does not fit is left out whole: whoever does not read will be missed by its own silence.
    pub fn send(&mut self, role: Role, status: Status, now: Steady, pause: Duration) -> Result<(), Closed> {
        let beat = Beat { role, status, sequence: self.sequence, sent: now, pause };
        match self.stream.write(&beat.encode()) {
            Ok(FRAME_BYTES) => {
                self.sequence = self.sequence.wrapping_add(1);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            // Half a frame would put every later one out of step.
            Ok(_) | Err(_) => Err(Closed),
        }
    }

    /// Hands over all beats that have arrived.
    pub fn receive(&mut self, mut each: impl FnMut(Result<Beat, BeatError>)) -> Result<(), Closed> {
        let mut buffer = [0; 16 * FRAME_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break Err(Closed),
                Ok(length) => self.received.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break Err(Closed),
            }
            let (frames, rest) = self.received.as_chunks::<FRAME_BYTES>();
            frames.iter().for_each(|frame| each(Beat::decode(frame)));
            self.received = rest.to_vec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path) -> Place {
        Place::in_folder(&folder.join("run"), "7_robot1").unwrap()
    }

    #[test]
    fn beats_cross_both_ways_and_each_end_sees_the_other_go() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        assert!(place.connect().is_err(), "nobody listens");
        let listener = place.listen().unwrap();
        let mut executor = place.connect().unwrap();
        let mut supervisor = Link::new(listener.accept().unwrap().0).unwrap();
        for i in 0..40 {
            executor.send(Role::Executor, Status::Running, Steady(Duration::from_millis(i)), Duration::ZERO).unwrap();
        }
        let mut seen = Vec::new();
        assert_eq!(supervisor.receive(|beat| seen.push(beat.unwrap().sequence)), Ok(()));
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        supervisor.send(Role::Supervisor, Status::Stopped, Steady::default(), Duration::ZERO).unwrap();
        let mut said = None;
        assert_eq!(executor.receive(|beat| said = Some(beat.unwrap().status)), Ok(()));
        assert_eq!(said, Some(Status::Stopped));
        executor.send(Role::Executor, Status::Leaving, Steady::default(), Duration::ZERO).unwrap();
        drop(executor);
        let mut last = None;
        assert_eq!(supervisor.receive(|beat| last = Some(beat.unwrap().status)), Err(Closed));
        assert_eq!(last, Some(Status::Leaving), "what came before the end is not lost");
    }

    #[test]
    fn who_does_not_read_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let listener = place.listen().unwrap();
        let mut executor = place.connect().unwrap();
        let supervisor = listener.accept().unwrap().0;
        for _ in 0..100_000 {
            if executor.send(Role::Executor, Status::Running, Steady::default(), Duration::ZERO).is_err() {
                break;
            }
        }
        drop(supervisor);
    }

    #[test]
    fn a_place_is_taken_once_and_free_again_when_its_holder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let first = place.take("executor").unwrap();
        assert!(place.take("supervisor").is_ok());
        let second = place.take("executor").unwrap_err();
        assert!(second.to_string().contains("another executor runs for robot '7_robot1'"), "{second}");
        drop(first);
        assert!(place.take("executor").is_ok());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Place::in_folder(&open, "r"), Err(PlaceError::NotPrivate { mode: 0o777, .. })));
    }
}
