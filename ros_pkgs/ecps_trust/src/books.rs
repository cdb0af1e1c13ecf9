//! The authority's books: which devices belong to the fleet and in which roles, and what is revoked. A file of mode 0600 that
//! is whole after any end, and that the authority's node and its operator's commands may change at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ecps_core::clock::Stamp;
use ecps_identity::bulletin::REVOKED;
use ecps_identity::claims::{LIFE_SECONDS, ROLES};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::secret_file::{self, SecretFileError};

/// Most devices of a fleet.
pub const DEVICES: usize = 4096;
/// Largest file: every device with some certificates, and all that can be revoked.
const BOOKS_BYTES: u64 = 16 << 20;
/// Certificates that are remembered of a device, to be revoked with it: those that may still hold, and some more.
const SERIALS: usize = 8;
const FILE: &str = "books.json";

/// Why the books were not opened or changed.
#[derive(Debug, Error)]
pub enum BooksError {
    /// The file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The lock.
    #[error("{}: {source}", path.display())]
    Lock {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not books.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it cannot be read.
        source: serde_json::Error,
    },
    /// There is no room.
    #[error("the books hold {limit} {what}, which is all they may")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// Nobody of that name.
    #[error("device '{}' is not in the books", .0.escape_debug())]
    UnknownDevice(String),
    /// It cannot come back.
    #[error("device '{}' is revoked; make it a new key and enrol that", .0.escape_debug())]
    Revoked(String),
}

/// A device of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The robot that it was enrolled for.
    pub name: String,
    /// Its key: an uncompressed point, in hex.
    pub public_key: String,
    /// What its tokens say.
    pub roles: Vec<String>,
    /// Its certificates, in hex, the newest last.
    #[serde(default)]
    pub serials: Vec<String>,
}

/// The signing key that a restarted authority leaves behind: what it signed is accepted until its overlap ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastKey {
    /// Ed25519, in hex.
    pub public_key: String,
    /// Since when it signs, seconds of Unix time.
    pub since: u64,
}

/// All that the authority knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Books {
    /// Of the last list of signing keys.
    pub keys_number: u64,
    /// Of the last list of revocations.
    pub list_number: u64,
    /// By device id.
    pub devices: BTreeMap<String, Member>,
    /// Ids of devices.
    pub revoked_devices: BTreeSet<String>,
    /// Ids of keys, and of tokens as `jti:` and theirs; with the second in which they were revoked.
    pub revoked_keys: BTreeMap<String, u64>,
    /// Numbers of certificates, in hex; with the second in which they were revoked.
    pub revoked_certificates: BTreeMap<String, u64>,
    /// Nobody is believed.
    pub lockdown: bool,
    /// The key that ends a lockdown, a point in hex; the private one lies apart.
    pub emergency_key: String,
    /// How often the operator has asked for a new key of tokens.
    #[serde(default)]
    pub rotations: u64,
    /// The key that signed last.
    pub last_key: Option<LastKey>,
}

impl Books {
    /// Reads the books in `folder`; empty where there are none.
    pub fn read(folder: &Path) -> Result<Books, BooksError> {
        let path = folder.join(FILE);
        match secret_file::read_up_to(&path, BOOKS_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| BooksError::Malformed { path, source }),
            Err(SecretFileError::Missing(_)) => Ok(Books::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads them, has them changed, and writes them, while nobody else does. An error of `change` leaves them as they were.
    pub fn change<T, E: From<BooksError>>(
        folder: &Path,
        change: impl FnOnce(&mut Books) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = folder.join("books.lock");
        let failed = |source| BooksError::Lock { path: lock.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let mut books = Books::read(folder)?;
        let before = books.clone();
        let done = change(&mut books)?;
        if books != before {
            let path = folder.join(FILE);
            let text = serde_json::to_vec_pretty(&books)
                .map_err(|source| BooksError::Malformed { path: path.clone(), source })?;
            secret_file::replace(&path, &text).map_err(BooksError::from)?;
        }
        Ok(done)
    }

    /// Takes a device in, or gives it another name and other roles.
    pub fn enrol(&mut self, id: &str, name: &str, public_key: &[u8], roles: &[String]) -> Result<(), BooksError> {
        if self.revoked_devices.contains(id) {
            return Err(BooksError::Revoked(id.to_owned()));
        }
        if roles.len() > ROLES {
            return Err(BooksError::Full { what: "roles of a device", limit: ROLES });
        }
        let serials = self.devices.get(id).map(|member| member.serials.clone()).unwrap_or_default();
        if self.devices.len() >= DEVICES && !self.devices.contains_key(id) {
            return Err(BooksError::Full { what: "devices", limit: DEVICES });
        }
        let member = Member { name: name.to_owned(), public_key: hex(public_key), roles: roles.to_vec(), serials };
        self.devices.insert(id.to_owned(), member);
        Ok(())
    }

    /// Notes a certificate of a device.
    pub fn certified(&mut self, id: &str, serial: &[u8]) -> Result<(), BooksError> {
        let member = self.devices.get_mut(id).ok_or_else(|| BooksError::UnknownDevice(id.to_owned()))?;
        if member.serials.len() >= SERIALS {
            member.serials.remove(0);
        }
        member.serials.push(hex(serial));
        Ok(())
    }

    /// Takes a device's trust away, with its certificates.
    pub fn revoke_device(&mut self, id: &str, now: Stamp) -> Result<(), BooksError> {
        let member = self.devices.get(id).ok_or_else(|| BooksError::UnknownDevice(id.to_owned()))?;
        let serials = member.serials.clone();
        room("revoked devices", self.revoked_devices.len())?;
        self.revoked_devices.insert(id.to_owned());
        for serial in serials {
            self.revoked_certificates.entry(serial).or_insert(unix(now));
        }
        self.list_number += 1;
        Ok(())
    }

    /// Takes a key away, or a token as `jti:` and its id.
    pub fn revoke_key(&mut self, id: &str, now: Stamp) -> Result<(), BooksError> {
        // Tokens that have ended need no revocation any more.
        let ended = |id: &str, since: u64| id.starts_with("jti:") && since + LIFE_SECONDS < unix(now);
        self.revoked_keys.retain(|id, since| !ended(id, *since));
        room("revoked keys", self.revoked_keys.len())?;
        self.revoked_keys.entry(id.to_owned()).or_insert(unix(now));
        self.list_number += 1;
        Ok(())
    }

    /// Takes a certificate away, by its number in hex.
    pub fn revoke_certificate(&mut self, serial: &str, now: Stamp) {
        self.revoked_certificates.entry(serial.to_ascii_lowercase()).or_insert(unix(now));
        self.list_number += 1;
    }

    /// Begins or ends a lockdown.
    pub fn lock_down(&mut self, locked: bool) {
        self.lockdown = locked;
        self.list_number += 1;
    }
}

fn room(what: &'static str, found: usize) -> Result<(), BooksError> {
    if found >= REVOKED { Err(BooksError::Full { what, limit: REVOKED }) } else { Ok(()) }
}

fn unix(now: Stamp) -> u64 {
    u64::try_from(now.0.div_euclid(1_000_000_000)).unwrap_or(0)
}

/// Bytes as two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of such digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}
