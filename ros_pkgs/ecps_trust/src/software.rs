//! A device key in an encrypted file, for devices without a TPM. Whoever reads both files has the key, so it is used only
//! where the configuration names it.
//!
//! The file: `ECPSKEY1`, 16 bytes salt, 12 bytes nonce, then ChaCha20-Poly1305 (RFC 8439) of the PKCS #8 key under
//! PBKDF2-HMAC-SHA256 of the passphrase, with magic and salt authenticated too.

use std::num::NonZeroU32;
use std::path::Path;

use ecps_identity::key::PublicKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::provider::{DeviceKey, Missing, ProviderError};
use crate::secret_file::{self, SecretFileError};

const MAGIC: &[u8; 8] = b"ECPSKEY1";
const SALT: usize = 16;
const NONCE: usize = 12;
/// OWASP's advice of 2023 for PBKDF2-HMAC-SHA256.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// Shortest passphrase, bytes.
pub const PASSPHRASE_BYTES: usize = 16;

/// A key in this process's memory.
pub struct SoftwareKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    random: SystemRandom,
}

impl std::fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SoftwareKey").field(&self.public).finish()
    }
}

impl SoftwareKey {
    /// Opens the key in the file `path` with the passphrase in another.
    pub fn open(path: &Path, passphrase: &Path, missing: Missing) -> Result<SoftwareKey, ProviderError> {
        let words = secret_file::read(passphrase)?;
        let words = words.trim_ascii();
        if words.len() < PASSPHRASE_BYTES {
            let (path, found) = (passphrase.to_owned(), words.len());
            return Err(ProviderError::ShortPassphrase { path, found, least: PASSPHRASE_BYTES });
        }
        match secret_file::read(path) {
            Ok(file) => unseal(&file, words).ok_or_else(|| ProviderError::Sealed(path.to_owned())),
            Err(SecretFileError::Missing(_)) if missing == Missing::Create => create(path, words),
            Err(error) => Err(error.into()),
        }
    }
}

fn create(path: &Path, passphrase: &[u8]) -> Result<SoftwareKey, ProviderError> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| ProviderError::Crypto("generated"))?;
    let mut file = MAGIC.to_vec();
    let mut salt_and_nonce = [0; SALT + NONCE];
    random.fill(&mut salt_and_nonce).map_err(|_| ProviderError::Crypto("generated"))?;
    file.extend(salt_and_nonce);
    let mut sealed = Zeroizing::new(document.as_ref().to_vec());
    let key = key_of(&file, passphrase).ok_or(ProviderError::Crypto("sealed"))?;
    key.0
        .seal_in_place_append_tag(key.1, Aad::from(key.2), &mut *sealed)
        .map_err(|_| ProviderError::Crypto("sealed"))?;
    file.extend_from_slice(&sealed);
    secret_file::write_new(path, &file)?;
    // What is used is what was written.
    unseal(&secret_file::read(path)?, passphrase).ok_or_else(|| ProviderError::Sealed(path.to_owned()))
}

/// The key under which a file is sealed, its nonce and what is authenticated beside it.
fn key_of(file: &[u8], passphrase: &[u8]) -> Option<(LessSafeKey, Nonce, [u8; MAGIC.len() + SALT])> {
    let (head, rest) = file.split_first_chunk::<{ MAGIC.len() + SALT }>()?;
    let salt = head.strip_prefix(MAGIC.as_slice())?;
    let nonce = Nonce::assume_unique_for_key(*rest.first_chunk::<NONCE>()?);
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, passphrase, key.as_mut_slice());
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).ok()?;
    Some((LessSafeKey::new(key), nonce, *head))
}

fn unseal(file: &[u8], passphrase: &[u8]) -> Option<SoftwareKey> {
    let (key, nonce, authenticated) = key_of(file, passphrase)?;
    let mut sealed = Zeroizing::new(file.get(MAGIC.len() + SALT + NONCE..)?.to_vec());
    let document = key.open_in_place(nonce, Aad::from(authenticated), &mut sealed).ok()?;
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &random).ok()?;
    let public = PublicKey::p256(pair.public_key().as_ref()).ok()?;
    Some(SoftwareKey { pair, public, random })
}

impl DeviceKey for SoftwareKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        let signature = self.pair.sign(&self.random, text).map_err(|_| ProviderError::Crypto("used"))?;
        Ok(signature.as_ref().to_vec())
    }
}
