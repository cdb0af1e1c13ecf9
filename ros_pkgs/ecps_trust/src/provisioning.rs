//! From the factory to the field: each step leaves a file, and one whose file is there is not done again, so that what was cut
//! short goes on where it stopped.
//!
//! The authority's folder: `root/` with the root's and the emergency key, which an operator takes offline; `authority.key` and
//! `authority.pem`; `anchor.pem`, which every node is configured with; and the books. A device's folder: `device.key` where its
//! key is in a file, `device.csr`, `device.pem`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::key::PublicKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::authority::{Authority, AuthorityError, request};
use crate::books::{Books, BooksError, hex};
use crate::fleet::{public_key, serial};
use crate::pem;
use crate::provider::{Missing, Provider, ProviderError};
use crate::secret_file::{self, SecretFileError};
use crate::shared_key::SharedKey;

/// The device's key, where it is in a file.
pub const KEY_FILE: &str = "device.key";
/// What opens the keys of a folder.
pub const PASSPHRASE_FILE: &str = "passphrase";
/// The device's certificate.
pub const CERTIFICATE_FILE: &str = "device.pem";
/// The device's request for one.
pub const REQUEST_FILE: &str = "device.csr";
/// The root's certificate and revocation list.
pub const ANCHOR_FILE: &str = "anchor.pem";
/// The authority's certificate.
pub const AUTHORITY_FILE: &str = "authority.pem";
/// The authority's key.
pub const AUTHORITY_KEY_FILE: &str = "authority.key";
/// What goes offline.
pub const ROOT_FOLDER: &str = "root";

/// The root's list ends after this time; a new one takes the root's key.
const ROOT_LIST_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Why a step was not done.
#[derive(Debug, Error)]
pub enum ProvisioningError {
    /// A file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A key.
    #[error(transparent)]
    Key(#[from] ProviderError),
    /// A certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// Whether a step was done now or earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Now.
    Now,
    /// In a run before.
    Before,
}

/// A step, in words.
pub type Step = (String, Done);

struct Steps(Vec<Step>);

impl Steps {
    /// A file that is made where it is missing.
    fn file(
        &mut self,
        what: &str,
        path: &Path,
        make: impl FnOnce() -> Result<Vec<u8>, ProvisioningError>,
    ) -> Result<Vec<u8>, ProvisioningError> {
        match secret_file::read_up_to(path, 1 << 20) {
            Ok(bytes) => {
                self.0.push((what.to_owned(), Done::Before));
                Ok(bytes.to_vec())
            }
            Err(SecretFileError::Missing(_)) => {
                let bytes = make()?;
                secret_file::write_new(path, &bytes)?;
                self.0.push((what.to_owned(), Done::Now));
                Ok(bytes)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn passphrase(&mut self, folder: &Path) -> Result<PathBuf, ProvisioningError> {
        let path = folder.join(PASSPHRASE_FILE);
        self.file("passphrase", &path, || {
            let mut bytes = [0; 24];
            SystemRandom::new().fill(&mut bytes).map_err(|_| ProvisioningError::Random)?;
            Ok(hex(&bytes).into_bytes())
        })?;
        Ok(path)
    }

    fn key(&mut self, what: &str, provider: &Provider) -> Result<SharedKey, ProvisioningError> {
        let (key, done) = match provider.open(Missing::Refuse) {
            Ok(key) => (key, Done::Before),
            Err(_) => (provider.open(Missing::Create)?, Done::Now),
        };
        self.0.push((format!("{what} {}", key.device_id()), done));
        Ok(SharedKey::new(key))
    }
}

fn certificate(path: &Path, text: &[u8]) -> Result<CertificateDer<'static>, ProvisioningError> {
    let der = pem::first(text);
    let malformed = || ProvisioningError::Malformed { path: path.to_owned(), reason: "there is no certificate in it" };
    der.map(CertificateDer::from).ok_or_else(malformed)
}

/// Makes a fleet's root, emergency key and authority.
pub fn authority(folder: &Path, fleet: &str, now: Stamp) -> Result<Vec<Step>, ProvisioningError> {
    let mut steps = Steps(Vec::new());
    let root_folder = folder.join(ROOT_FOLDER);
    if folder.join(AUTHORITY_FILE).exists() && !root_folder.exists() {
        // A second root would be another fleet's.
        return Ok(vec![("everything; the root is offline".to_owned(), Done::Before)]);
    }
    let passphrase = steps.passphrase(folder)?;
    let root_passphrase = steps.passphrase(&root_folder)?;
    let of = |key: PathBuf, passphrase: &Path| Provider::Software { key, passphrase: passphrase.to_owned() };
    let root_key = steps.key("root key", &of(root_folder.join("root.key"), &root_passphrase))?;
    let emergency = steps.key("emergency key", &of(root_folder.join("emergency.key"), &root_passphrase))?;
    let key = steps.key("authority's key", &of(folder.join(AUTHORITY_KEY_FILE), &passphrase))?;
    let path = root_folder.join("root.pem");
    let made = root_key.clone();
    let text = steps.file("root certificate", &path, move || {
        Ok(pem::block("CERTIFICATE", Authority::root(made, fleet, now)?.certificate()).into_bytes())
    })?;
    let root = Authority::open(root_key, certificate(&path, &text)?)?;
    steps.file("anchor", &folder.join(ANCHOR_FILE), || {
        let list = root.revocation_list(1, &[], now, ROOT_LIST_LIFE)?;
        let text = pem::block("CERTIFICATE", root.certificate()) + &pem::block("X509 CRL", &list);
        Ok(text.into_bytes())
    })?;
    steps.file("authority's certificate", &folder.join(AUTHORITY_FILE), || {
        let asked = request(&key, &key.device_id())?;
        Ok(pem::block("CERTIFICATE", &root.admit(&asked, fleet, now)?).into_bytes())
    })?;
    let known = Books::change(folder, |books| {
        let emergency = hex(emergency.public_key().as_bytes());
        let known = books.emergency_key == emergency;
        books.emergency_key = emergency;
        Ok::<_, BooksError>(known)
    })?;
    steps.0.push(("books".to_owned(), if known { Done::Before } else { Done::Now }));
    Ok(steps.0)
}

/// Makes a device's key and its request for a certificate.
pub fn device(folder: &Path, provider: &Provider) -> Result<(String, Vec<Step>), ProvisioningError> {
    let mut steps = Steps(Vec::new());
    if matches!(provider, Provider::Software { .. }) {
        steps.passphrase(folder)?;
    }
    let key = steps.key("device's key", provider)?;
    let id = key.device_id();
    steps.file("request", &folder.join(REQUEST_FILE), || Ok(request(&key, &id)?.to_vec()))?;
    Ok((id, steps.0))
}

/// Takes a device into the authority's books, and leaves its certificate in its folder. Again, it changes name and roles.
pub fn enrol(
    authority: &Path,
    device: &Path,
    name: &str,
    roles: &[String],
    now: Stamp,
) -> Result<String, ProvisioningError> {
    let key =
        Provider::Software { key: authority.join(AUTHORITY_KEY_FILE), passphrase: authority.join(PASSPHRASE_FILE) };
    let path = authority.join(AUTHORITY_FILE);
    let text = secret_file::read_up_to(&path, 1 << 20)?;
    let signer = Authority::open(SharedKey::new(key.open(Missing::Refuse)?), certificate(&path, &text)?)?;
    let path = device.join(REQUEST_FILE);
    let request = secret_file::read(&path)?;
    let id = crate::authority::asking_key(&request)?.id();
    let own = signer.issue(&request, &id, now)?;
    let key: PublicKey =
        public_key(&own).ok_or(ProvisioningError::Malformed { path, reason: "its key is not P-256" })?;
    Books::change(authority, |books| {
        books.enrol(&id, name, key.as_bytes(), roles)?;
        books.certified(&id, &serial(&own).unwrap_or_default())
    })?;
    let chain = pem::block("CERTIFICATE", &own) + &pem::block("CERTIFICATE", signer.certificate());
    secret_file::replace(&device.join(CERTIFICATE_FILE), chain.as_bytes())?;
    Ok(id)
}

/// Ends a lockdown with the emergency key, which has to be at hand in the authority's folder.
pub fn recover(authority: &Path) -> Result<u64, ProvisioningError> {
    let folder = authority.join(ROOT_FOLDER);
    let key = Provider::Software { key: folder.join("emergency.key"), passphrase: folder.join(PASSPHRASE_FILE) };
    let key = key.open(Missing::Refuse)?;
    Books::change(authority, |books| {
        if books.emergency_key != hex(key.public_key().as_bytes()) {
            let (path, reason) = (folder.join("emergency.key"), "it is not this fleet's emergency key");
            return Err(ProvisioningError::Malformed { path, reason });
        }
        books.lock_down(false);
        Ok(books.list_number)
    })
}
