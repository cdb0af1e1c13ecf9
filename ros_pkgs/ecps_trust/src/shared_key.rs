//! A device's key as the libraries for certificates and TLS want it: shared, and with DER signatures.

use std::sync::{Arc, Mutex, PoisonError};

use ecps_identity::key::PublicKey;
use rustls::SignatureScheme;
use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, public_key_to_spki};

use crate::provider::{DeviceKey, ProviderError};

/// A device's key, for several users of it.
#[derive(Clone)]
pub struct SharedKey(Arc<Shared>);

struct Shared {
    key: Mutex<Box<dyn DeviceKey>>,
    public: PublicKey,
    /// Why it did not sign last; the libraries' errors have no room for that.
    refused: Mutex<Option<ProviderError>>,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedKey").field(&self.0.public).finish()
    }
}

impl SharedKey {
    /// Shares `key`.
    pub fn new(key: Box<dyn DeviceKey>) -> SharedKey {
        let public = key.public_key().clone();
        SharedKey(Arc::new(Shared { key: Mutex::new(key), public, refused: Mutex::new(None) }))
    }

    /// The key that checks what this signs.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// See [`DeviceKey::device_id`].
    pub fn device_id(&self) -> String {
        self.0.public.id()
    }

    /// The raw signature r‖s over `text`.
    pub fn sign_raw(&self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        self.0.key.lock().unwrap_or_else(PoisonError::into_inner).sign(text)
    }

    /// An ECDSA-Sig-Value over `text`, DER.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        let raw = self.sign_raw(text)?;
        der(&raw).ok_or(ProviderError::Crypto("used"))
    }

    /// Why it did not sign last, once.
    pub(crate) fn take_refusal(&self) -> Option<ProviderError> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// r‖s as ECDSA-Sig-Value (RFC 3279, section 2.2.3): two INTEGERs, each as short as it can be, and positive.
fn der(raw: &[u8]) -> Option<Vec<u8>> {
    let numbers: &[u8; 64] = raw.try_into().ok()?;
    let mut body = Vec::with_capacity(70);
    for number in numbers.chunks(32) {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let number = number.get(zeros..)?;
        let sign: &[u8] = if *number.first()? >= 0x80 { &[0] } else { &[] };
        body.extend([0x02, u8::try_from(sign.len() + number.len()).ok()?]);
        body.extend([sign, number].concat());
    }
    Some([&[0x30, u8::try_from(body.len()).ok()?], body.as_slice()].concat())
}

impl rcgen::PublicKeyData for SharedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for SharedKey {
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        SharedKey::sign(self, text).map_err(|error| {
            *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

impl rustls::sign::SigningKey for SharedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(public_key_to_spki(&alg_id::ECDSA_P256, self.0.public.as_bytes()))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ECDSA
    }
}

impl Signer for SharedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        SharedKey::sign(self, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}
