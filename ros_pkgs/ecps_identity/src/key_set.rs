//! The keys with which an issuer signs: the current one, for a while the one before it, and never a revoked one.

use std::collections::BTreeSet;
use std::time::Duration;

use ecps_core::clock::Stamp;
use thiserror::Error;

use crate::bulletin::Accepted;
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
    /// No keys are known yet.
    #[error("issuer '{0}' has not made known yet which keys it signs with")]
    None(String),
    /// It was taken back.
    #[error("key '{0}' is revoked")]
    Revoked(String),
}

/// An issuer's keys.
#[derive(Debug, Clone)]
pub struct KeySet {
    issuer: String,
    current: Option<(String, PublicKey)>,
    previous: Option<(String, PublicKey, Stamp)>,
    revoked: BTreeSet<String>,
}

impl KeySet {
    /// An issuer with its first key.
    pub fn new(issuer: impl Into<String>, key: PublicKey) -> KeySet {
        KeySet { current: Some((key.id(), key)), ..KeySet::awaited(issuer) }
    }

    /// An issuer whose keys are not known yet.
    pub fn awaited(issuer: impl Into<String>) -> KeySet {
        KeySet { issuer: issuer.into(), current: None, previous: None, revoked: BTreeSet::new() }
    }

    /// Whose keys they are.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with `key` from `now` on; what was current is accepted for [`OVERLAP`] more. The same key again changes nothing.
    pub fn rotate(&mut self, key: PublicKey, now: Stamp) {
        if self.current.as_ref().is_some_and(|(_, current)| *current == key) {
            return;
        }
        let until = Stamp(now.0.saturating_add(i64::try_from(OVERLAP.as_nanos()).unwrap_or(i64::MAX)));
        let before = self.current.replace((key.id(), key));
        self.previous = before.map(|(id, before)| (id, before, until));
    }

    /// Accepts these keys in place of all others, as the issuer says: the current one, and the one before until its time.
    pub fn replace(&mut self, accepted: &[Accepted]) {
        let of = |key: &PublicKey| (key.id(), key.clone());
        self.current = accepted.iter().find(|(_, until)| until.is_none()).map(|(key, _)| of(key));
        self.previous = accepted.iter().find_map(|(key, until)| {
            let (id, key) = of(key);
            Some((id, key, (*until)?))
        });
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
        match &self.current {
            None if self.previous.is_none() => return Err(KeyRefusal::None(self.issuer.clone())),
            Some((current, key)) if current == id => return Ok(key),
            _ => {}
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
