//! What the fleet's authority makes known, signed: the keys that tokens are verified by, and what is revoked.
//!
//! Anybody may hand a bulletin on. It is believed if the authority signed it, whose certificate comes with the keys and has to
//! lead to the fleet's root; and only if its number is higher than the last one's, so that nobody brings back what was revoked.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use ecps_core::clock::Stamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::claims::seconds;
use crate::key::{Algorithm, KeyError, PublicKey};

/// Largest key set, bytes.
pub const KEYS_BYTES: usize = 64 << 10;
/// Largest revocation list of certificates, bytes.
pub const CRL_BYTES: usize = 1 << 20;
/// Most revoked devices, and most revoked keys and tokens.
pub const REVOKED: usize = 4096;
/// Most keys that are accepted at a time: the current one and the previous one.
pub const KEYS: usize = 2;
/// From this age on a revocation list says nothing any more, and no token is accepted: as long as a certificate lives, so that
/// a node that is cut off ends with it.
pub const LIST_LIFE: Duration = Duration::from_secs(25 * 3600);
/// Largest file of the root's certificate and list.
pub const ANCHOR_BYTES: usize = 1 << 20;
/// How far ahead the authority's clock may be.
const AHEAD: Duration = Duration::from_secs(5);

/// Why a bulletin is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BulletinRefusal {
    /// It cannot be read.
    #[error("the bulletin is malformed: {0}")]
    Malformed(String),
    /// Its authority is not the fleet's.
    #[error("the bulletin's authority is not one of this fleet: {0}")]
    Authority(&'static str),
    /// The signature does not fit.
    #[error("the bulletin is not signed by the fleet's authority")]
    Signature,
    /// Older than what is known.
    #[error("the bulletin has number {found}, and number {known} is known")]
    Old {
        /// Its number.
        found: u64,
        /// The known one.
        known: u64,
    },
    /// Too old to mean anything.
    #[error("the bulletin is {0} s old: from {max} s on it says nothing", max = LIST_LIFE.as_secs())]
    Stale(u64),
    /// Of the future.
    #[error("the bulletin is from {0} s in the future")]
    Early(u64),
    /// Revocations came before the keys, with which the authority's certificate comes.
    #[error("no signing keys of this fleet have come yet, so that its authority is not known")]
    NoAuthority,
}

/// Why a file holds no fleet's root.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnchorError {
    /// Too much.
    #[error("{0} bytes: at most {ANCHOR_BYTES} are read")]
    TooLong(usize),
    /// Not the form.
    #[error("it must hold the root's certificate in PEM and may hold the root's revocation list: {0}")]
    Malformed(&'static str),
}

/// The fleet's root, in which a node believes since it was handed over with the configuration.
#[derive(Debug, Clone)]
pub struct Anchor {
    root: Vec<u8>,
    list: Option<Vec<u8>>,
    issuer: String,
}

impl Anchor {
    /// Reads PEM: one CERTIFICATE, which signed itself, and at most one X509 CRL that it signed.
    pub fn read(pem: &[u8]) -> Result<Anchor, AnchorError> {
        if pem.len() > ANCHOR_BYTES {
            return Err(AnchorError::TooLong(pem.len()));
        }
        let (mut root, mut list) = (None, None);
        for block in Pem::iter_from_buffer(pem) {
            let block = block.map_err(|_| AnchorError::Malformed("it is not PEM"))?;
            let place = match block.label.as_str() {
                "CERTIFICATE" => &mut root,
                "X509 CRL" => &mut list,
                _ => return Err(AnchorError::Malformed("it holds something else")),
            };
            if place.replace(block.contents).is_some() {
                return Err(AnchorError::Malformed("it holds two of a kind"));
            }
        }
        let root = root.ok_or(AnchorError::Malformed("there is no certificate"))?;
        let (_, read) = X509Certificate::from_der(&root).map_err(|_| AnchorError::Malformed("no certificate"))?;
        if !read.is_ca() || read.verify_signature(None).is_err() {
            return Err(AnchorError::Malformed("the certificate is not a root's"));
        }
        if let Some(list) = &list {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| AnchorError::Malformed("no list"))?;
            if list.verify_signature(read.public_key()).is_err() {
                return Err(AnchorError::Malformed("the list is not the root's"));
            }
        }
        let key = key_of(&read).ok_or(AnchorError::Malformed("the root's key is not P-256"))?;
        Ok(Anchor { issuer: key.id(), root, list })
    }

    /// The fleet's name as an issuer of tokens: the id of its root's key.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The root's certificate, DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The root's revocation list, DER, where the file holds one.
    pub fn list(&self) -> Option<&[u8]> {
        self.list.as_deref()
    }

    /// The key of an authority, if its certificate leads to the root, now.
    pub fn authority(&self, certificate: &[u8], now: Stamp) -> Result<PublicKey, BulletinRefusal> {
        let refused = BulletinRefusal::Authority;
        let (rest, read) = X509Certificate::from_der(certificate).map_err(|_| refused("it has no certificate"))?;
        let (_, root) = X509Certificate::from_der(&self.root).map_err(|_| refused("the root cannot be read"))?;
        if !rest.is_empty() || read.issuer() != root.subject() {
            return Err(refused("its certificate is another root's"));
        }
        if read.verify_signature(Some(root.public_key())).is_err() {
            return Err(refused("the root did not sign its certificate"));
        }
        if !read.is_ca() {
            return Err(refused("its certificate is a device's"));
        }
        let now = i64::try_from(seconds(now)).unwrap_or(i64::MAX);
        if now < read.validity().not_before.timestamp() || now >= read.validity().not_after.timestamp() {
            return Err(refused("its certificate does not hold now"));
        }
        if let Some(list) = &self.list {
            let (_, list) =
                CertificateRevocationList::from_der(list).map_err(|_| refused("the root's list cannot be read"))?;
            if list.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == read.raw_serial()) {
                return Err(refused("its certificate was revoked"));
            }
        }
        key_of(&read).ok_or(refused("its key is not P-256"))
    }
}

fn key_of(certificate: &X509Certificate<'_>) -> Option<PublicKey> {
    PublicKey::p256(&certificate.public_key().subject_public_key.data).ok()
}

/// `ecps_msgs/SigningKeys`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigningKeys {
    /// Grows with every change.
    pub number: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// A JSON Web Key Set, see [`KeyList`].
    pub keys: String,
    /// r‖s by the authority's key over [`SigningKeys::signed`].
    pub signature: Vec<u8>,
}

impl SigningKeys {
    /// What the authority signs.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = b"ecps signing keys 1\n".to_vec();
        text.extend(self.number.to_be_bytes());
        text.extend(self.stamp.0.to_be_bytes());
        field(&mut text, self.keys.as_bytes());
        text
    }
}

/// `ecps_msgs/Revocations`. Tokens stand among the keys, as `jti:` and their id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocations {
    /// Grows with every list.
    pub number: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// The certificates, DER.
    pub crl: Vec<u8>,
    /// The devices.
    pub device_ids: Vec<String>,
    /// The keys and tokens.
    pub key_ids: Vec<String>,
    /// Nobody is believed.
    pub lockdown: bool,
    /// r‖s by the authority's key over [`Revocations::signed`].
    pub signature: Vec<u8>,
}

impl Revocations {
    /// What the authority signs.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = b"ecps revocations 1\n".to_vec();
        text.extend(self.number.to_be_bytes());
        text.extend(self.stamp.0.to_be_bytes());
        field(&mut text, &self.crl);
        for list in [&self.device_ids, &self.key_ids] {
            text.extend((list.len() as u64).to_be_bytes());
            list.iter().for_each(|id| field(&mut text, id.as_bytes()));
        }
        text.push(u8::from(self.lockdown));
        text
    }
}

fn field(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend((bytes.len() as u64).to_be_bytes());
    text.extend(bytes);
}

/// The key set in [`SigningKeys::keys`] (RFC 7517), the current key first; `x5c` of the set is the authority's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyList {
    keys: Vec<Jwk>,
    x5c: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    alg: Algorithm,
    kid: String,
    x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    /// The end of its overlap, seconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

/// A key, and until when it is accepted; the current one without end.
pub type Accepted = (PublicKey, Option<Stamp>);

impl KeyList {
    /// Of keys and the authority's certificate.
    pub fn new(keys: &[Accepted], certificate: &[u8]) -> KeyList {
        let keys = keys.iter().map(|(key, until)| {
            let (kty, crv, x, y) = match (key.algorithm(), key.as_bytes()) {
                (Algorithm::EdDsa, bytes) => ("OKP", "Ed25519", BASE64URL.encode(bytes), None),
                (Algorithm::Es256, bytes) => {
                    let (x, y) = bytes.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
                    ("EC", "P-256", BASE64URL.encode(x), Some(BASE64URL.encode(y)))
                }
            };
            let (kty, crv, alg, kid) = (kty.to_owned(), crv.to_owned(), key.algorithm(), key.id());
            Jwk { kty, crv, alg, kid, x, y, exp: until.map(seconds) }
        });
        KeyList { keys: keys.collect(), x5c: vec![BASE64.encode(certificate)] }
    }

    /// As text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    fn read(text: &str) -> Result<KeyList, BulletinRefusal> {
        let malformed = |reason: String| BulletinRefusal::Malformed(reason);
        if text.len() > KEYS_BYTES {
            return Err(malformed(format!("{} bytes of keys: at most {KEYS_BYTES} are read", text.len())));
        }
        let list: KeyList = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if !(1..=KEYS).contains(&list.keys.len()) {
            return Err(malformed(format!("{} keys: 1 to {KEYS} are accepted", list.keys.len())));
        }
        Ok(list)
    }

    fn certificate(&self) -> Result<Vec<u8>, BulletinRefusal> {
        let [certificate] = self.x5c.as_slice() else {
            return Err(BulletinRefusal::Malformed("x5c holds the authority's certificate alone".to_owned()));
        };
        BASE64.decode(certificate).map_err(|_| BulletinRefusal::Malformed("x5c is not base64".to_owned()))
    }

    fn accepted(&self) -> Result<Vec<Accepted>, BulletinRefusal> {
        self.keys.iter().map(Jwk::accepted).collect()
    }
}

impl Jwk {
    fn accepted(&self) -> Result<Accepted, BulletinRefusal> {
        let malformed =
            |reason: &str| BulletinRefusal::Malformed(format!("key '{}': {reason}", self.kid.escape_debug()));
        let decode = |text: &str| BASE64URL.decode(text).map_err(|_| malformed("not base64url"));
        let key = match (self.alg, self.kty.as_str(), self.crv.as_str(), &self.y) {
            (Algorithm::EdDsa, "OKP", "Ed25519", None) => PublicKey::ed25519(&decode(&self.x)?),
            (Algorithm::Es256, "EC", "P-256", Some(y)) => {
                let (x, y) = (decode(&self.x)?, decode(y)?);
                PublicKey::p256(&[[4].as_slice(), &x, &y].concat())
            }
            _ => return Err(malformed("its type, curve and algorithm do not fit each other")),
        };
        let key = key.map_err(|error: KeyError| malformed(&error.to_string()))?;
        if key.id() != self.kid {
            return Err(malformed("its id is another key's"));
        }
        let until = self.exp.map(|end| Stamp(i64::try_from(end).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)));
        Ok((key, until))
    }
}

/// Whether a bulletin changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is newer than what was known.
    New,
    /// It is what is known already, handed on by somebody.
    Known,
}

/// Revocations as they are asked.
#[derive(Debug, Clone, Default)]
pub struct Revoked {
    /// Of which list.
    pub number: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// Nobody is believed.
    pub lockdown: bool,
    devices: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Revoked {
    /// Whether a device is revoked; `party` may be a node of it, as in `<device>/planner`.
    pub fn device(&self, party: &str) -> bool {
        self.devices.contains(device_of(party))
    }

    /// Whether a key is revoked.
    pub fn key(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Whether a token is revoked, by its own id.
    pub fn token(&self, id: &str) -> bool {
        self.ids.contains(&format!("jti:{id}"))
    }
}

/// The device in `<device>` or `<device>/<node>`.
pub fn device_of(party: &str) -> &str {
    party.split('/').next().unwrap_or_default()
}

struct Heard<T, B> {
    value: T,
    bulletin: B,
}

/// What was heard of the authority of one fleet, and believed.
pub struct Bulletins {
    anchor: Anchor,
    authority: Option<PublicKey>,
    keys: Option<Heard<Vec<Accepted>, SigningKeys>>,
    list: Option<Heard<Revoked, Revocations>>,
    /// No older list is taken, since this one was known in an earlier run.
    least: u64,
}

impl std::fmt::Debug for Bulletins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (keys, list) = (self.keys().map(|keys| keys.number), self.list().map(|list| list.number));
        f.debug_struct("Bulletins").field("keys", &keys).field("list", &list).finish_non_exhaustive()
    }
}

impl Bulletins {
    /// Nothing was heard yet; in an earlier run revocation list `least` was, or 0.
    pub fn new(anchor: Anchor, least: u64) -> Bulletins {
        Bulletins { anchor, authority: None, keys: None, list: None, least }
    }

    /// In whom it believes.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Takes signing keys.
    pub fn take_keys(&mut self, bulletin: &SigningKeys, now: Stamp) -> Result<Taken, BulletinRefusal> {
        if self.keys() == Some(bulletin) {
            return Ok(Taken::Known);
        }
        let list = KeyList::read(&bulletin.keys)?;
        let authority = self.anchor.authority(&list.certificate()?, now)?;
        check(&authority, &bulletin.signed(), &bulletin.signature, bulletin.stamp, now)?;
        is_newer(bulletin.number, self.keys().map(|keys| keys.number))?;
        let value = list.accepted()?;
        self.keys = Some(Heard { value, bulletin: bulletin.clone() });
        self.authority = Some(authority);
        Ok(Taken::New)
    }

    /// Takes revocations.
    pub fn take_list(&mut self, bulletin: &Revocations, now: Stamp) -> Result<Taken, BulletinRefusal> {
        if self.list() == Some(bulletin) {
            return Ok(Taken::Known);
        }
        let sizes = [
            ("bytes of certificates", bulletin.crl.len(), CRL_BYTES),
            ("devices", bulletin.device_ids.len(), REVOKED),
            ("keys", bulletin.key_ids.len(), REVOKED),
        ];
        for (what, found, most) in sizes {
            if found > most {
                return Err(BulletinRefusal::Malformed(format!("{found} {what}: at most {most} are read")));
            }
        }
        let authority = self.authority.as_ref().ok_or(BulletinRefusal::NoAuthority)?;
        check(authority, &bulletin.signed(), &bulletin.signature, bulletin.stamp, now)?;
        is_newer(bulletin.number, self.list().map(|list| list.number))?;
        if bulletin.number < self.least {
            return Err(BulletinRefusal::Old { found: bulletin.number, known: self.least });
        }
        let value = Revoked {
            number: bulletin.number,
            stamp: bulletin.stamp,
            lockdown: bulletin.lockdown,
            devices: bulletin.device_ids.iter().cloned().collect(),
            ids: bulletin.key_ids.iter().cloned().collect(),
        };
        self.list = Some(Heard { value, bulletin: bulletin.clone() });
        Ok(Taken::New)
    }

    /// The keys as they came, to be handed on.
    pub fn keys(&self) -> Option<&SigningKeys> {
        self.keys.as_ref().map(|heard| &heard.bulletin)
    }

    /// The revocations as they came, to be handed on.
    pub fn list(&self) -> Option<&Revocations> {
        self.list.as_ref().map(|heard| &heard.bulletin)
    }

    /// The certificate of the authority whose keys were taken, DER.
    pub fn authority(&self) -> Option<Vec<u8>> {
        KeyList::read(&self.keys()?.keys).and_then(|list| list.certificate()).ok()
    }

    /// The keys that tokens are verified by.
    pub fn accepted(&self) -> &[Accepted] {
        self.keys.as_ref().map_or(&[], |heard| &heard.value)
    }

    /// What is revoked; none where that is not known.
    pub fn revoked(&self) -> Option<&Revoked> {
        self.list.as_ref().map(|heard| &heard.value)
    }
}

fn check(
    authority: &PublicKey,
    text: &[u8],
    signature: &[u8],
    stamp: Stamp,
    now: Stamp,
) -> Result<(), BulletinRefusal> {
    if !authority.verifies(text, signature) {
        return Err(BulletinRefusal::Signature);
    }
    let age = now.nanos_since(stamp).div_euclid(1_000_000_000);
    if age >= LIST_LIFE.as_secs().cast_signed() {
        return Err(BulletinRefusal::Stale(age.unsigned_abs()));
    }
    if age < -AHEAD.as_secs().cast_signed() {
        return Err(BulletinRefusal::Early(age.unsigned_abs()));
    }
    Ok(())
}

fn is_newer(found: u64, known: Option<u64>) -> Result<(), BulletinRefusal> {
    match known {
        Some(known) if found <= known => Err(BulletinRefusal::Old { found, known }),
        _ => Ok(()),
    }
}
