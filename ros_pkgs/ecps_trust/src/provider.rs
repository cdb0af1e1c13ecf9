//! The device's key, wherever it lives. The configuration names the place, and no other is tried.

use std::path::PathBuf;

use ecps_identity::key::PublicKey;
use thiserror::Error;

use crate::pkcs11::{Pkcs11Error, Pkcs11Key};
use crate::secret_file::SecretFileError;
use crate::software::SoftwareKey;
use crate::tpm::{Tpm, TpmError};

/// Where the device's key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// In a file, encrypted under what another file holds.
    Software {
        /// The key.
        key: PathBuf,
        /// The passphrase.
        passphrase: PathBuf,
    },
    /// In a TPM 2.0.
    Tpm {
        /// How to reach it: `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`.
        tcti: String,
    },
    /// In a hardware security module.
    Pkcs11 {
        /// The library of its maker: `/usr/lib/softhsm/libsofthsm2.so`.
        module: PathBuf,
        /// The label of the token.
        token: String,
        /// The file with its PIN.
        pin: PathBuf,
    },
}

/// What to do where there is no key yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make one: at the factory.
    Create,
    /// Refuse: a device in the field that lost its key is not that device any more.
    Refuse,
}

/// Why there is no device key.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The passphrase does not open it, or it was altered or cut.
    #[error("key {}: the passphrase does not open it, or it was altered", .0.display())]
    Sealed(PathBuf),
    /// A passphrase that anyone can guess.
    #[error("passphrase {}: {found} bytes, and it takes {least} at least", path.display())]
    ShortPassphrase {
        /// The file.
        path: PathBuf,
        /// Its length without white space at the ends.
        found: usize,
        /// The least.
        least: usize,
    },
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The security module.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    /// The system has no randomness, or the key's material is no key.
    #[error("the key could not be {0}")]
    Crypto(&'static str),
}

/// A device's P-256 key. It signs, and it does not come out.
pub trait DeviceKey: Send {
    /// The key that checks what this signs.
    fn public_key(&self) -> &PublicKey;
    /// The raw ES256 signature r‖s over `text`.
    fn sign(&mut self, text: &[u8]) -> Result<Vec<u8>, ProviderError>;
    /// First 16 hex digits of the SHA-256 of the public key.
    fn device_id(&self) -> String {
        self.public_key().id()
    }
}

impl Provider {
    /// Opens the device's key there, or says why not.
    pub fn open(&self, missing: Missing) -> Result<Box<dyn DeviceKey>, ProviderError> {
        Ok(match self {
            Provider::Software { key, passphrase } => Box::new(SoftwareKey::open(key, passphrase, missing)?),
            Provider::Tpm { tcti } => Box::new(Tpm::open(tcti, missing)?),
            Provider::Pkcs11 { module, token, pin } => Box::new(Pkcs11Key::open(module, token, pin, missing)?),
        })
    }
}
