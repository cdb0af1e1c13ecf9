//! The keys with which an issuer signs: the current one, for a while the one before it, and never a revoked one.

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::key::PublicKey;

/// How long the key before the current one is still accepted (protocol, "Trust").
pub const OVERLAP: Duration = Duration::from_secs(3600);

/// Why no key has this id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyRefusal {
    /// Neither the current nor the previous one.
    #[error("key '{0}' is not one that issuer '{1}' signs with")]
    Unknown(String, String),
    /// The overlap is over.
    #[error("key '{0}' was replaced, and its overlap of {h} h is over", h = OVERLAP.as_secs() / 3600)]
    Replaced(String),
    /// It was taken back.
    #[error("key '{0}' is revoked")]
    Revoked(String),
}

/// An issuer's keys.
#[derive(Debug, Clone)]
pub struct KeySet {
    issuer: String,
    current: (String, PublicKey),
    previous: Option<(String, PublicKey, Stamp)>,
    revoked: BTreeSet<String>,
}

impl KeySet {
    /// An issuer with its first key.
    pub fn new(issuer: impl Into<String>, key: PublicKey) -> KeySet {
        KeySet { issuer: issuer.into(), current: (key.id(), key), previous: None, revoked: BTreeSet::new() }
    }

    /// Whose keys they are.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with `key` from `now` on; what was current is accepted for [`OVERLAP`] more. The same key again changes nothing.
    pub fn rotate(&mut self, key: PublicKey, now: Stamp) {
        if key == self.current.1 {
            return;
        }
        let until = Stamp(now.0.saturating_add(i64::try_from(OVERLAP.as_nanos()).unwrap_or(i64::MAX)));
        let (id, before) = std::mem::replace(&mut self.current, (key.id(), key));
        self.previous = Some((id, before, until));
    }

    /// From now on nothing that the key `id` signed is accepted, and it cannot come back.
    pub fn revoke(&mut self, id: impl Into<String>) {
        self.revoked.insert(id.into());
    }

    /// The key `id`, if it is accepted at `now`.
    pub fn find(&self, id: &str, now: Stamp) -> Result<&PublicKey, KeyRefusal> {
        if self.revoked.contains(id) {
            return Err(KeyRefusal::Revoked(id.to_owned()));
        }
        if self.current.0 == id {
            return Ok(&self.current.1);
        }
        match &self.previous {
            Some((previous, key, until)) if previous == id => {
                if now < *until {
                    Ok(key)
                } else {
                    Err(KeyRefusal::Replaced(id.to_owned()))
                }
            }
            _ => Err(KeyRefusal::Unknown(id.to_owned(), self.issuer.clone())),
        }
    }
}
