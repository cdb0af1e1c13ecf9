//! Public keys that check signatures.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// How a key signs (names of RFC 7518 and RFC 8037). A key has one, and no token can choose another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519; public keys of 32 bytes.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256; public keys are uncompressed SEC 1 points of 65 bytes, signatures r‖s.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// Its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
        }
    }
}

/// Bytes of every signature of either algorithm.
pub const SIGNATURE_BYTES: usize = 64;

/// Not a public key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The wrong size.
    #[error("a public key for {} has {expected} bytes, and this has {found}", algorithm.name())]
    Size {
        /// For which algorithm.
        algorithm: Algorithm,
        /// What it takes.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// Not on the curve, or of small order, so that one signature would fit many texts.
    #[error("these bytes are no usable public key for {}", .0.name())]
    Unusable(Algorithm),
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    EdDsa(Box<VerifyingKey>),
    Es256([u8; 65]),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm().name(), self.id())
    }
}

impl PublicKey {
    /// From 32 bytes (RFC 8032). Keys of small order are refused.
    pub fn ed25519(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        let algorithm = Algorithm::EdDsa;
        let sized = bytes.try_into().map_err(|_| KeyError::Size { algorithm, expected: 32, found: bytes.len() })?;
        match VerifyingKey::from_bytes(sized) {
            Ok(key) if !key.is_weak() => Ok(PublicKey(Form::EdDsa(Box::new(key)))),
            _ => Err(KeyError::Unusable(algorithm)),
        }
    }

    /// From an uncompressed point of 65 bytes (SEC 1). That it lies on the curve is checked with each signature.
    pub fn p256(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        let algorithm = Algorithm::Es256;
        let sized: [u8; 65] =
            bytes.try_into().map_err(|_| KeyError::Size { algorithm, expected: 65, found: bytes.len() })?;
        if sized.first() != Some(&4) {
            return Err(KeyError::Unusable(algorithm));
        }
        Ok(PublicKey(Form::Es256(sized)))
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Form::EdDsa(_) => Algorithm::EdDsa,
            Form::Es256(_) => Algorithm::Es256,
        }
    }

    /// Its bytes, as the constructors take them.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::EdDsa(key) => key.as_bytes(),
            Form::Es256(point) => point,
        }
    }

    /// The first 16 hex digits of its SHA-256: the device id of a device's own key, and the `kid` of any. It depends on
    /// nothing but the key, so it is the same after every restart, and two keys of one second have two ids.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.as_bytes());
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `signature` is this key's over `text`. Ed25519 is checked strictly: no points of small order.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Form::EdDsa(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(text, &signature).is_ok())
            }
            Form::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text, signature).is_ok()
            }
        }
    }
}
