//! Encryption of payloads: XChaCha20-Poly1305, with the header as associated data.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::format::Digest;
use crate::sign::{KeyError, read_secret, write_secret};

/// Bytes that encryption adds to a payload.
pub(crate) const TAG_BYTES: usize = 16;
/// How the text of a key file begins.
const PREFIX: &str = "EAPLOG+PAYLOADS+";

/// A payload does not decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CipherError {
    /// None of the keys given.
    #[error("the payloads are encrypted, and their key is not at hand")]
    NoKey,
    /// Another key of the same id, or bytes that the writer did not make.
    #[error("the payload does not decrypt with its key")]
    Forged,
}

/// A key for payloads. Its id is derived from it, so that the two cannot be mixed up.
#[derive(Clone)]
pub struct PayloadKey {
    id: [u8; 16],
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PayloadKey").field(&crate::note::hex(&self.id)).finish()
    }
}

impl PayloadKey {
    /// From 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> PayloadKey {
        let hash: Digest = Sha256::new_with_prefix(b"eaplog payload key").chain_update(secret).finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        PayloadKey { id, cipher: XChaCha20Poly1305::new(secret.into()) }
    }

    /// Makes a key from the system's randomness and keeps it in a new file of mode 0600.
    pub fn generate(path: &Path) -> Result<PayloadKey, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| KeyError::Io {
            path: path.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        write_secret(path, &format!("{PREFIX}{}\n", BASE64.encode(secret)))?;
        Ok(PayloadKey::new(&secret))
    }

    /// Reads a file that [`PayloadKey::generate`] made. One that others may read is refused.
    pub fn load(path: &Path) -> Result<PayloadKey, KeyError> {
        let malformed = || KeyError::Malformed { path: path.to_owned(), expected: "a key for payloads" };
        let text = read_secret(path)?;
        let data = text.trim().strip_prefix(PREFIX).ok_or_else(malformed)?;
        let secret = BASE64.decode(data).map_err(|_| malformed())?;
        Ok(PayloadKey::new(secret.as_slice().try_into().map_err(|_| malformed())?))
    }

    /// What segments name it by.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The nonce of a record: unique, since a superblock is its session's and segment's own, and a sequence comes once in
    /// a segment.
    fn nonce(superblock: &Digest, sequence: u64) -> XNonce {
        let mut nonce = [0; 24];
        let bytes = superblock.iter().take(16).copied().chain(sequence.to_le_bytes());
        nonce.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        nonce.into()
    }

    /// Encrypts `payload` in place and gives the tag to put behind it.
    pub(crate) fn seal(
        &self,
        superblock: &Digest,
        sequence: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> std::io::Result<[u8; TAG_BYTES]> {
        let tag = self.cipher.encrypt_inout_detached(&Self::nonce(superblock, sequence), header, payload.into());
        tag.map(Into::into).map_err(|_| std::io::Error::other("the payload cannot be encrypted"))
    }

    /// Decrypts a stored payload.
    pub(crate) fn open(
        &self,
        superblock: &Digest,
        sequence: u64,
        header: &[u8],
        stored: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        let (sealed, tag) = stored.split_last_chunk::<TAG_BYTES>().ok_or(CipherError::Forged)?;
        let mut payload = sealed.to_vec();
        self.cipher
            .decrypt_inout_detached(
                &Self::nonce(superblock, sequence),
                header,
                payload.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| CipherError::Forged)?;
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_opens_only_in_its_place_under_its_header_with_its_key() {
        let key = PayloadKey::new(&[1; 32]);
        let mut payload = b"move".to_vec();
        let tag = key.seal(&[2; 32], 3, b"header", &mut payload).unwrap();
        assert_ne!(payload, b"move");
        payload.extend(tag);
        assert_eq!(key.open(&[2; 32], 3, b"header", &payload).unwrap(), b"move");
        for (superblock, sequence, header) in
            [([9; 32], 3, b"header"), ([2; 32], 4, b"header"), ([2; 32], 3, b"Header")]
        {
            assert_eq!(key.open(&superblock, sequence, header, &payload), Err(CipherError::Forged));
        }
        assert_eq!(PayloadKey::new(&[9; 32]).open(&[2; 32], 3, b"header", &payload), Err(CipherError::Forged));
        assert_ne!(PayloadKey::new(&[9; 32]).id(), key.id());
    }
}
