//! A fleet with its authorities, and devices in it.

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::key::PublicKey;
use ecps_trust::authority::{Authority, Revoked, request};
use ecps_trust::fleet::{Fleet, serial};
use ecps_trust::provider::{DeviceKey, ProviderError};
use ecps_trust::shared_key::SharedKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;

pub(crate) const NOW: Stamp = Stamp(1_800_000_000_000_000_000);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A key in this process's memory, without a file.
struct Bare(EcdsaKeyPair, PublicKey);

impl DeviceKey for Bare {
    fn public_key(&self) -> &PublicKey {
        &self.1
    }

    fn sign(&mut self, text: &[u8]) -> Result<Vec<u8>, ProviderError> {
        Ok(self.0.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec())
    }
}

pub(crate) fn key() -> SharedKey {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let public = PublicKey::p256(pair.public_key().as_ref()).unwrap();
    SharedKey::new(Box::new(Bare(pair, public)))
}

pub(crate) fn later(by: Duration) -> Stamp {
    Stamp(NOW.0 + i64::try_from(by.as_nanos()).unwrap())
}

/// Both authorities of a fleet.
pub(crate) struct Authorities {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
}

impl Authorities {
    pub(crate) fn new(root: SharedKey, intermediate: SharedKey) -> Authorities {
        let root = Authority::root(root, "fleet", NOW).unwrap();
        let asked = request(&intermediate, &intermediate.device_id()).unwrap();
        let certificate = root.admit(&asked, "fleet", NOW).unwrap();
        Authorities { root, intermediate: Authority::open(intermediate, certificate).unwrap() }
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.fleet_with(&self.list(1, &[]))
    }

    pub(crate) fn fleet_with(&self, list: &[u8]) -> Fleet {
        let root_list = self.root.revocation_list(1, &[], NOW, 90 * DAY).unwrap();
        let (root, intermediate) = (self.root.certificate().clone(), self.intermediate.certificate().clone());
        Fleet::new(root, &root_list, intermediate, list, NOW).unwrap()
    }

    /// A device's certificate.
    pub(crate) fn enrol(&self, key: &SharedKey) -> CertificateDer<'static> {
        let id = key.device_id();
        self.intermediate.issue(&request(key, &id).unwrap(), &id, NOW).unwrap()
    }

    /// The intermediate's list of that number, for a day.
    pub(crate) fn list(&self, number: u64, certificates: &[&CertificateDer<'_>]) -> Vec<u8> {
        let revoked: Vec<Revoked> = certificates.iter().map(|der| revoked(der)).collect();
        self.intermediate.revocation_list(number, &revoked, NOW, DAY).unwrap().to_vec()
    }
}

pub(crate) fn revoked(certificate: &CertificateDer<'_>) -> Revoked {
    Revoked { serial: serial(certificate).unwrap(), since: NOW }
}
