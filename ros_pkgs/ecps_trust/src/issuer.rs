//! The fleet's authority at work: signs tokens for devices by their roles, makes its signing keys and revocations known, and
//! certifies devices. Its certificate's key is in any [`crate::provider`]; the key of tokens lives in memory alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_core::limits::NAME_BYTES;
use ecps_identity::bulletin::{Accepted, Anchor, BulletinRefusal, KeyList, Revocations, SigningKeys, device_of};
use ecps_identity::claims::{CAPABILITIES, Claims};
use ecps_identity::key::PublicKey;
use ecps_identity::key_set;
use ecps_identity::permission::{Permission, PermissionError};
use ecps_identity::token::{self, SignError};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::authority::{Authority, AuthorityError, ROTATION, Revoked};
use crate::books::{Books, BooksError, LastKey, hex, unhex};
use crate::fleet::serial;
use crate::provider::ProviderError;
use crate::shared_key::SharedKey;

/// How long a new key is known before it signs, so that no verifier meets a token before its key.
pub const NOTICE: Duration = Duration::from_secs(5);
/// How old a request for a token may be.
pub const REQUEST_LIFE: Duration = Duration::from_secs(60);
/// A revocation list is made anew after this time, though nothing changed: lists end.
const LIST_PERIOD: Duration = Duration::from_secs(3600);
/// Life of the list of certificates.
const LIST_LIFE: Duration = Duration::from_secs(86_400);

/// Why the authority does not work, or did not do what was asked.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Its own certificate is none of this fleet.
    #[error(transparent)]
    Certificate(#[from] BulletinRefusal),
    /// The authority's key.
    #[error("the authority's key did not sign: {0}")]
    Key(#[from] ProviderError),
    /// No randomness, or no JSON.
    #[error("the signing key could not be made")]
    Random,
    /// The token.
    #[error(transparent)]
    Token(#[from] SignError),
    /// What it asks for is not allowed to be asked.
    #[error("{0}")]
    Invalid(String),
    /// Not a permission.
    #[error(transparent)]
    Permission(#[from] PermissionError),
    /// Not who it says.
    #[error("the request is not signed by the key of device '{}'", .0.escape_debug())]
    Signature(String),
    /// Too old, or of the future.
    #[error("the request is {0} s old: at most {max} s are allowed, and none in the future", max = REQUEST_LIFE.as_secs())]
    Age(i64),
    /// Nobody is served.
    #[error("the fleet is locked down")]
    Lockdown,
}

/// A request for a token, as `ecps_msgs/IssueToken` has it.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Who asks: a device id, or one and the name of a node on it, `<device>/planner`.
    pub caller: String,
    /// The request's number.
    pub sequence: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// Which service is to accept the token.
    pub audience: String,
    /// Which run of it; empty: any.
    pub session: String,
    /// Only these of what the roles allow; empty: all.
    pub capabilities: Vec<String>,
    /// r‖s by the device's key over [`TokenRequest::signed`].
    pub signature: Vec<u8>,
}

impl TokenRequest {
    /// What the device signs.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = b"ecps token request 1\n".to_vec();
        let mut field = |bytes: &[u8]| {
            text.extend((bytes.len() as u64).to_be_bytes());
            text.extend(bytes);
        };
        field(self.caller.as_bytes());
        field(&self.sequence.to_be_bytes());
        field(&self.stamp.0.to_be_bytes());
        field(self.audience.as_bytes());
        field(self.session.as_bytes());
        field(&(self.capabilities.len() as u64).to_be_bytes());
        self.capabilities.iter().for_each(|capability| field(capability.as_bytes()));
        text
    }
}

/// A token, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its text. Never logged.
    pub token: String,
    /// From then on it is worth nothing.
    pub expires: Stamp,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The new key.
    pub key: String,
    /// The one before.
    pub previous: String,
    /// Until when that is accepted.
    pub until: Stamp,
}

/// A key of tokens.
struct Signing {
    pair: Ed25519KeyPair,
    public: PublicKey,
    since: Stamp,
}

impl Signing {
    fn generate(since: Stamp) -> Result<Signing, IssuerError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut_slice()).map_err(|_| IssuerError::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| IssuerError::Random)?;
        let public = PublicKey::ed25519(pair.public_key().as_ref()).map_err(|_| IssuerError::Random)?;
        Ok(Signing { pair, public, since })
    }
}

/// The authority at work.
pub struct Issuer {
    folder: PathBuf,
    key: SharedKey,
    authority: Authority,
    anchor: Anchor,
    current: Signing,
    /// The key before, which signs until the new one is known everywhere.
    before: Option<Signing>,
    /// The same as others need it: also where this process did not make it.
    previous: Option<(PublicKey, Stamp)>,
    keys: SigningKeys,
    list: Revocations,
    /// As often as the operator had asked for a new key.
    rotations: u64,
    tokens: u64,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("folder", &self.folder)
            .field("key", &self.current.public)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Takes up the authority whose books are in `folder`, with its key and its certificate, which must lead to `anchor`. It
    /// signs with a new key; what the last one signed is accepted for the overlap.
    pub fn open(
        folder: &Path,
        key: SharedKey,
        certificate: CertificateDer<'static>,
        anchor: Anchor,
        now: Stamp,
    ) -> Result<Issuer, IssuerError> {
        anchor.authority(&certificate, now)?;
        let authority = Authority::open(key.clone(), certificate)?;
        let (books, current) = (Books::read(folder)?, Signing::generate(now)?);
        let rotations = books.rotations;
        let last = books.last_key.and_then(|last| PublicKey::ed25519(&unhex(&last.public_key)?).ok());
        let mut issuer = Issuer {
            folder: folder.to_owned(),
            key,
            authority,
            anchor,
            current,
            before: None,
            previous: last.map(|last| (last, after(now, key_set::OVERLAP))),
            keys: SigningKeys::default(),
            list: Revocations::default(),
            rotations,
            tokens: 0,
        };
        issuer.announce_keys(now)?;
        issuer.announce_list(now)?;
        Ok(issuer)
    }

    /// The keys that tokens are verified by.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// What is revoked.
    pub fn list(&self) -> &Revocations {
        &self.list
    }

    /// The fleet's root.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The certificate that leads from devices to the root.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }

    /// Where the books are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks at the books, which others may have changed, and at the time. To be called about twice a second; whether there
    /// is something new to be made known.
    pub fn refresh(&mut self, now: Stamp) -> Result<bool, IssuerError> {
        let age = |since: Stamp| u128::try_from(now.nanos_since(since)).unwrap_or(0);
        let (keys, list) = (self.keys.number, self.list.number);
        let books = Books::read(&self.folder)?;
        if age(self.current.since) >= ROTATION.as_nanos() || books.rotations != self.rotations {
            self.rotations = books.rotations;
            self.rotate(now)?;
        }
        if books.list_number != self.list.number || age(self.list.stamp) >= LIST_PERIOD.as_nanos() {
            self.announce_list(now)?;
        }
        Ok((keys, list) != (self.keys.number, self.list.number))
    }

    /// Makes a new key. It signs after [`NOTICE`]; the one before is accepted for the overlap, the one before that no more.
    pub fn rotate(&mut self, now: Stamp) -> Result<Rotated, IssuerError> {
        let before = std::mem::replace(&mut self.current, Signing::generate(now)?);
        let until = after(now, key_set::OVERLAP);
        let previous = before.public.clone();
        self.previous = Some((previous.clone(), until));
        self.before = Some(before);
        self.announce_keys(now)?;
        Ok(Rotated { key: self.current.public.id(), previous: previous.id(), until })
    }

    /// A token for whoever signed the request, with the roles that the books give its device.
    pub fn token(&mut self, request: &TokenRequest, now: Stamp) -> Result<Issued, IssuerError> {
        for (what, text, least) in
            [("caller.id", &request.caller, 1), ("audience", &request.audience, 1), ("session", &request.session, 0)]
        {
            if !(least..=NAME_BYTES).contains(&text.len()) {
                let text = format!("{what} has {} bytes: {least} to {NAME_BYTES} are read", text.len());
                return Err(IssuerError::Invalid(text));
            }
        }
        if request.capabilities.len() > CAPABILITIES {
            let text = format!("{} capabilities: at most {CAPABILITIES} are read", request.capabilities.len());
            return Err(IssuerError::Invalid(text));
        }
        let age = now.nanos_since(request.stamp).div_euclid(1_000_000_000);
        if age > REQUEST_LIFE.as_secs().cast_signed() || age < -5 {
            return Err(IssuerError::Age(age));
        }
        let id = device_of(&request.caller);
        let books = Books::read(&self.folder)?;
        let member = books.devices.get(id).ok_or_else(|| BooksError::UnknownDevice(shown(id)))?;
        let key = unhex(&member.public_key).and_then(|bytes| PublicKey::p256(&bytes).ok());
        if !key.is_some_and(|key| key.id() == id && key.verifies(&request.signed(), &request.signature)) {
            return Err(IssuerError::Signature(shown(id)));
        }
        if books.revoked_devices.contains(id) {
            return Err(BooksError::Revoked(shown(id)).into());
        }
        if books.lockdown {
            return Err(IssuerError::Lockdown);
        }
        let mut jti = [0; 8];
        SystemRandom::new().fill(&mut jti).map_err(|_| IssuerError::Random)?;
        self.tokens += 1;
        let jti = format!("{}-{}", hex(&jti), self.tokens);
        let mut claims = Claims::new(self.anchor.issuer(), &request.caller, &request.audience, &jti, now);
        claims.roles.clone_from(&member.roles);
        if !request.session.is_empty() {
            claims.sid = Some(request.session.clone());
        }
        if !request.capabilities.is_empty() {
            let capabilities: Result<Vec<Permission>, _> =
                request.capabilities.iter().map(|text| text.parse()).collect();
            claims.cap = Some(capabilities?);
            if claims.sid.is_none() {
                return Err(IssuerError::Invalid("capabilities hold for one session alone: name it".to_owned()));
            }
        }
        let notice = now.nanos_since(self.current.since) < i64::try_from(NOTICE.as_nanos()).unwrap_or(0);
        let signing = self.before.as_ref().filter(|_| notice).unwrap_or(&self.current);
        let sign = |text: &[u8]| Ok::<_, IssuerError>(signing.pair.sign(text).as_ref().to_vec());
        let token = token::sign(&signing.public, &claims, sign)?;
        Ok(Issued {
            token,
            expires: Stamp(i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)),
        })
    }

    /// A certificate for a device that is in the books, whose key signed the request.
    pub fn certify(
        &mut self,
        request: &[u8],
        device: &str,
        now: Stamp,
    ) -> Result<CertificateDer<'static>, IssuerError> {
        let authority = &self.authority;
        Books::change(&self.folder, |books| {
            let member = books.devices.get(device).ok_or_else(|| BooksError::UnknownDevice(shown(device)))?;
            if books.revoked_devices.contains(device) {
                return Err(BooksError::Revoked(shown(device)).into());
            }
            let certificate = authority.issue(request, device, now)?;
            if crate::fleet::public_key(&certificate).map(|key| hex(key.as_bytes())).as_ref()
                != Some(&member.public_key)
            {
                return Err(IssuerError::Signature(shown(device)));
            }
            books.certified(device, &serial(&certificate).unwrap_or_default())?;
            Ok(certificate)
        })
    }

    /// Changes what is revoked, and makes it known.
    pub fn revoke(
        &mut self,
        now: Stamp,
        change: impl FnOnce(&mut Books) -> Result<(), IssuerError>,
    ) -> Result<u64, IssuerError> {
        Books::change(&self.folder, change)?;
        self.announce_list(now)?;
        Ok(self.list.number)
    }

    /// Ends a lockdown, if the emergency key signed [`recovery`] for the list that is known.
    pub fn recover(&mut self, signature: &[u8], now: Stamp) -> Result<u64, IssuerError> {
        let number = self.list.number;
        self.revoke(now, |books| {
            let key = unhex(&books.emergency_key).and_then(|bytes| PublicKey::p256(&bytes).ok());
            if !key.is_some_and(|key| key.verifies(&recovery(number), signature)) {
                return Err(IssuerError::Invalid(format!(
                    "the emergency key did not sign the recovery from revocation list {number}"
                )));
            }
            books.lock_down(false);
            Ok(())
        })
    }

    fn announce_keys(&mut self, now: Stamp) -> Result<(), IssuerError> {
        let mut accepted: Vec<Accepted> = vec![(self.current.public.clone(), None)];
        accepted.extend(self.previous.iter().map(|(key, until)| (key.clone(), Some(*until))));
        let keys = KeyList::new(&accepted, self.authority.certificate()).to_json().map_err(|_| IssuerError::Random)?;
        let last = LastKey {
            public_key: hex(self.current.public.as_bytes()),
            since: u64::try_from(self.current.since.0.div_euclid(1_000_000_000)).unwrap_or(0),
        };
        let number = Books::change(&self.folder, |books| {
            books.keys_number += 1;
            books.last_key = Some(last);
            Ok::<_, BooksError>(books.keys_number)
        })?;
        let mut bulletin = SigningKeys { number, stamp: now, keys, signature: Vec::new() };
        bulletin.signature = self.key.sign_raw(&bulletin.signed())?;
        self.keys = bulletin;
        Ok(())
    }

    fn announce_list(&mut self, now: Stamp) -> Result<(), IssuerError> {
        // A list whose number was made known before gets a new one, since its time is another.
        let known = self.list.number;
        let books = Books::change(&self.folder, |books| {
            if books.list_number <= known || known == 0 {
                books.list_number = books.list_number.max(known) + 1;
            }
            Ok::<_, BooksError>(books.clone())
        })?;
        let revoked: Vec<Revoked> = books
            .revoked_certificates
            .iter()
            .filter_map(|(serial, since)| {
                let since = Stamp(i64::try_from(*since).ok()?.saturating_mul(1_000_000_000));
                Some(Revoked { serial: unhex(serial)?, since })
            })
            .collect();
        let crl = self.authority.revocation_list(books.list_number, &revoked, now, LIST_LIFE)?;
        let mut bulletin = Revocations {
            number: books.list_number,
            stamp: now,
            crl: crl.to_vec(),
            device_ids: books.revoked_devices.into_iter().collect(),
            key_ids: books.revoked_keys.into_keys().collect(),
            lockdown: books.lockdown,
            signature: Vec::new(),
        };
        bulletin.signature = self.key.sign_raw(&bulletin.signed())?;
        self.list = bulletin;
        Ok(())
    }
}

/// What the emergency key signs to end the lockdown of revocation list `number`.
pub fn recovery(number: u64) -> Vec<u8> {
    [b"ecps recover 1\n".as_slice(), &number.to_be_bytes()].concat()
}

fn after(now: Stamp, by: Duration) -> Stamp {
    Stamp(now.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}

fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}
