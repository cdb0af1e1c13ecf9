//! A device key in a hardware security module, by PKCS #11 (OASIS, version 2.40 and later).
//!
//! One key to a token: a P-256 pair labelled [`KEY_LABEL`], made in the token, that never leaves it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use ecps_identity::key::PublicKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::provider::{DeviceKey, Missing, ProviderError};
use crate::secret_file;

/// The label of the device's key in its token.
pub const KEY_LABEL: &str = "ecps device key";
/// Bytes of a key's CKA_ID, which ties the two halves of a pair together.
const ID_BYTES: u32 = 16;
/// The curve P-256, as CKA_EC_PARAMS names it: its object identifier (RFC 5480), DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What the token did not do.
#[derive(Debug, Error)]
pub enum Pkcs11Error {
    /// The library of the token's maker cannot be used.
    #[error("PKCS #11 module {}: {source}", path.display())]
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// Not there, or not set up.
    #[error("there is no token labelled '{0}'")]
    NoToken(String),
    /// Which one was meant?
    #[error("{found} tokens are labelled '{token}', and the device's key is in one")]
    ManyTokens {
        /// The label.
        token: String,
        /// How many have it.
        found: usize,
    },
    /// Not the token's.
    #[error("token '{0}' refuses the PIN; it is not tried again, since a few wrong ones lock a token")]
    Pin(String),
    /// The token takes none any more.
    #[error("token '{0}' has locked its PIN: its security officer must set a new one")]
    Locked(String),
    /// The file with the PIN holds something else.
    #[error("PIN file {}: it takes one line of text", .0.display())]
    PinFile(PathBuf),
    /// There is no key.
    #[error("token '{0}' has no key '{KEY_LABEL}': provision the device")]
    NoKey(String),
    /// There is something else.
    #[error(
        "token '{0}': what is labelled '{KEY_LABEL}' is not one key that this program made: a P-256 signing key that never leaves the token"
    )]
    WrongKey(String),
    /// It has another device's key.
    #[error("the token that answers has another device's key")]
    AnotherToken,
    /// It has no room.
    #[error("token '{0}' has no room for a key")]
    Full(String),
    /// It refused.
    #[error("token '{token}' did not {doing}: {source}")]
    Refused {
        /// Its label.
        token: String,
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        source: Error,
    },
}

/// Where the key is.
#[derive(Debug, Clone)]
struct Place {
    module: PathBuf,
    token: String,
    pin: PathBuf,
}

/// A session that is logged in, and the key as it knows it.
struct Link {
    session: Session,
    private: ObjectHandle,
}

/// A device key in a token.
pub struct Pkcs11Key {
    place: Place,
    link: Option<Link>,
    public: PublicKey,
    pin_refused: bool,
}

impl std::fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Key").field("token", &self.place.token).field("key", &self.public).finish_non_exhaustive()
    }
}

impl Pkcs11Key {
    /// Opens the key in the token labelled `token` of the library `module`, with the PIN in the file `pin`.
    pub fn open(module: &Path, token: &str, pin: &Path, missing: Missing) -> Result<Pkcs11Key, ProviderError> {
        let place = Place { module: module.to_owned(), token: token.to_owned(), pin: pin.to_owned() };
        let (link, public) = place.connect(missing)?;
        let mut key = Pkcs11Key { place, link: Some(link), public, pin_refused: false };
        // The two halves of the pair are two objects: that they belong together shows when they are used.
        match key.sign(b"ecps: do these two halves belong together?") {
            Err(ProviderError::Pkcs11(Pkcs11Error::AnotherToken)) => {
                Err(Pkcs11Error::WrongKey(key.place.token.clone()).into())
            }
            Err(error) => Err(error),
            Ok(_) => Ok(key),
        }
    }

    /// The session. One that failed was given up, and a new one is made, to the same key only.
    fn link(&mut self) -> Result<Link, ProviderError> {
        if let Some(link) = self.link.take() {
            return Ok(link);
        }
        if self.pin_refused {
            return Err(Pkcs11Error::Pin(self.place.token.clone()).into());
        }
        match self.place.connect(Missing::Refuse) {
            Ok((link, public)) if public == self.public => Ok(link),
            Ok(_) => Err(Pkcs11Error::AnotherToken.into()),
            Err(error) => {
                self.pin_refused = matches!(error, ProviderError::Pkcs11(Pkcs11Error::Pin(_) | Pkcs11Error::Locked(_)));
                Err(error)
            }
        }
    }
}

impl DeviceKey for Pkcs11Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        let link = self.link()?;
        // CKM_ECDSA takes a digest and gives r‖s; not every token hashes.
        let signature = link
            .session
            .sign(&Mechanism::Ecdsa, link.private, &Sha256::digest(text))
            .map_err(|source| self.place.refused("sign", source))?;
        if !self.public.verifies(text, &signature) {
            return Err(Pkcs11Error::AnotherToken.into());
        }
        self.link = Some(link);
        Ok(signature)
    }
}

impl Place {
    fn connect(&self, missing: Missing) -> Result<(Link, PublicKey), ProviderError> {
        let session = self.session()?;
        let private = match (self.find(&session, ObjectClass::PRIVATE_KEY)?, missing) {
            (Some(private), _) => private,
            (None, Missing::Create) => self.create(&session)?,
            (None, Missing::Refuse) => return Err(Pkcs11Error::NoKey(self.token.clone()).into()),
        };
        let public = self.public_key(&session, private)?;
        Ok((Link { session, private }, public))
    }

    fn session(&self) -> Result<Session, ProviderError> {
        let module = module(&self.module)?;
        let doing = |doing| move |source| self.refused(doing, source);
        let mut slots = Vec::new();
        for slot in module.get_slots_with_token().map_err(doing("list the tokens"))? {
            // One that was pulled out in between is not it.
            if module.get_token_info(slot).is_ok_and(|found| found.token_initialized() && found.label() == self.token) {
                slots.push(slot);
            }
        }
        let slot = match slots.as_slice() {
            [slot] => *slot,
            [] => return Err(Pkcs11Error::NoToken(self.token.clone()).into()),
            slots => return Err(Pkcs11Error::ManyTokens { token: self.token.clone(), found: slots.len() }.into()),
        };
        let session = module.open_rw_session(slot).map_err(doing("open a session"))?;
        match session.login(UserType::User, Some(&self.pin()?)) {
            // Logins are the whole process's: another key of the same token may be open.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(source) => Err(self.refused("log in", source).into()),
        }
    }

    fn pin(&self) -> Result<AuthPin, ProviderError> {
        let file = secret_file::read(&self.pin)?;
        let text = std::str::from_utf8(&file).map(str::trim).ok();
        let line = text.filter(|line| !line.is_empty() && !line.contains('\n'));
        let line = line.ok_or_else(|| Pkcs11Error::PinFile(self.pin.clone()))?;
        Ok(AuthPin::new(line.into()))
    }

    fn find(&self, session: &Session, class: ObjectClass) -> Result<Option<ObjectHandle>, Pkcs11Error> {
        let labelled = [Attribute::Class(class), Attribute::Label(KEY_LABEL.into())];
        match session.find_objects(&labelled).map_err(|source| self.refused("look for the key", source))?.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(*key)),
            _ => Err(Pkcs11Error::WrongKey(self.token.clone())),
        }
    }

    fn create(&self, session: &Session) -> Result<ObjectHandle, Pkcs11Error> {
        let id = session.generate_random_vec(ID_BYTES).map_err(|source| self.refused("draw a number", source))?;
        let both = [Attribute::Token(true), Attribute::Label(KEY_LABEL.into()), Attribute::Id(id)];
        let public = [
            both.as_slice(),
            &[Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(P256.to_vec())],
        ];
        let private = [
            both.as_slice(),
            &[
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::Decrypt(false),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
            ],
        ];
        let (_, private) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public.concat(), &private.concat())
            .map_err(|source| self.refused("make a key", source))?;
        Ok(private)
    }

    /// The public half, if the pair is one that [`Place::create`] makes.
    fn public_key(&self, session: &Session, private: ObjectHandle) -> Result<PublicKey, Pkcs11Error> {
        let wrong = || Pkcs11Error::WrongKey(self.token.clone());
        let read = |object, what: &[AttributeType]| {
            session.get_attributes(object, what).map_err(|source| self.refused("show its key", source))
        };
        let kept = [
            Attribute::KeyType(KeyType::EC),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let found = read(private, &kept.each_ref().map(Attribute::attribute_type))?;
        if !kept.iter().all(|attribute| found.contains(attribute)) {
            return Err(wrong());
        }
        let Some(Attribute::Id(id)) = read(private, &[AttributeType::Id])?.pop() else { return Err(wrong()) };
        let other_half = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)];
        let other_half =
            session.find_objects(&other_half).map_err(|source| self.refused("look for the key", source))?;
        let [other_half] = other_half.as_slice() else { return Err(wrong()) };
        let found = read(*other_half, &[AttributeType::EcParams, AttributeType::EcPoint])?;
        let point = found.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point),
            _ => None,
        });
        // The point comes as an OCTET STRING of 65 bytes, DER.
        let point = point.and_then(|point| point.strip_prefix(&[0x04, 0x41])).ok_or_else(wrong)?;
        if !found.contains(&Attribute::EcParams(P256.to_vec())) {
            return Err(wrong());
        }
        PublicKey::p256(point).map_err(|_| wrong())
    }

    fn refused(&self, doing: &'static str, source: Error) -> Pkcs11Error {
        let token = self.token.clone();
        match source {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
                Pkcs11Error::Pin(token)
            }
            Error::Pkcs11(RvError::PinLocked, _) => Pkcs11Error::Locked(token),
            Error::Pkcs11(RvError::DeviceMemory, _) => Pkcs11Error::Full(token),
            source => Pkcs11Error::Refused { token, doing, source },
        }
    }
}

/// The library at `path`. A process may initialise each one once (PKCS #11, section 5.4), so it stays loaded.
fn module(path: &Path) -> Result<Pkcs11, Pkcs11Error> {
    static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let failed = |source| Pkcs11Error::Module { path: path.to_owned(), source };
    let module = Pkcs11::new(path).map_err(failed)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(source) => return Err(failed(source)),
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}
