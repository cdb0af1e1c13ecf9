//! The fleet's certificate authorities: a root that stays offline, and an intermediate that serves every day. Either has
//! its key in any [`crate::provider`].

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::key::PublicKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    PublicKeyData as _, RevokedCertParams, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::provider::ProviderError;
use crate::shared_key::SharedKey;

/// Keys for communication are rotated after this time,
pub const ROTATION: Duration = Duration::from_secs(24 * 3600);
/// and the old one holds for this long beside the new one.
pub const OVERLAP: Duration = Duration::from_secs(3600);
/// A device's certificate ends this long after it was issued, and with it a device that is cut off from revocation lists.
pub const DEVICE_LIFE: Duration = Duration::from_secs(25 * 3600);
/// The intermediate's.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// The root's.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Largest request for a certificate, bytes.
pub const REQUEST_BYTES: usize = 4096;
/// How far a device's clock may be behind the authority's.
const BEHIND: Duration = Duration::from_secs(5);
/// RFC 5280 allows 20 bytes.
const SERIAL_BYTES: usize = 16;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The authority's key did not sign.
    #[error("the authority's key did not sign: {0}")]
    Key(ProviderError),
    /// The certificate that it was opened with.
    #[error("the authority's certificate is for another key, or none of an authority")]
    NotItsCertificate,
    /// What was sent is none.
    #[error("the request is not one that its own key signed: {0}")]
    Request(rcgen::Error),
    /// Too long.
    #[error("the request has {0} bytes, and {REQUEST_BYTES} are allowed")]
    RequestBytes(usize),
    /// Not P-256.
    #[error("the request's key is not P-256")]
    RequestKey,
    /// For someone else.
    #[error("the request names '{}', and is of '{expected}'", found.escape_debug())]
    RequestName {
        /// Who asks.
        expected: String,
        /// Whom it names.
        found: String,
    },
    /// It could not be put together.
    #[error("no certificate: {0}")]
    Encoding(rcgen::Error),
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
    /// The calendar ends before.
    #[error("{0} ns is no time for a certificate")]
    Time(i64),
}

/// A certificate that holds no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its number.
    pub serial: Vec<u8>,
    /// Since when.
    pub since: Stamp,
}

/// A key and the certificate with which it signs others.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, SharedKey>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes a root of the fleet called `fleet`, with a certificate that it signs itself.
    pub fn root(key: SharedKey, fleet: &str, now: Stamp) -> Result<Authority, AuthorityError> {
        let mut params = authority(&format!("{fleet} root"), 1, now, ROOT_LIFE)?;
        params.use_authority_key_identifier_extension = false;
        let certificate = params.self_signed(&key).map_err(failed(&key))?.der().clone();
        Authority::open(key, certificate)
    }

    /// Takes up an authority that has its certificate already.
    pub fn open(key: SharedKey, certificate: CertificateDer<'static>) -> Result<Authority, AuthorityError> {
        let (rest, read) = parse_x509_certificate(&certificate).map_err(|_| AuthorityError::NotItsCertificate)?;
        if !rest.is_empty() || !read.is_ca() || *read.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(AuthorityError::NotItsCertificate);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Encoding)?;
        Ok(Authority { issuer, certificate })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for the intermediate authority of the fleet, which asks under the name of its key.
    pub fn admit(&self, request: &[u8], fleet: &str, now: Stamp) -> Result<CertificateDer<'static>, AuthorityError> {
        let key = asking(request, None)?;
        self.sign(&authority(&format!("{fleet} intermediate"), 0, now, INTERMEDIATE_LIFE)?, &key)
    }

    /// A certificate for `device`, which was attested before. Nothing is taken from the request but its key.
    pub fn issue(&self, request: &[u8], device: &str, now: Stamp) -> Result<CertificateDer<'static>, AuthorityError> {
        let key = asking(request, Some(device))?;
        let mut params = dated(device, now, DEVICE_LIFE)?;
        params.subject_alt_names =
            vec![SanType::DnsName(host_name(device).try_into().map_err(AuthorityError::Encoding)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params, &key)
    }

    /// All of this authority's certificates that hold no more. A list with a higher `number` replaces it; without one, it
    /// ends after `life`, and with it every certificate that this authority signed.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: &[Revoked],
        now: Stamp,
        life: Duration,
    ) -> Result<CertificateRevocationListDer<'static>, AuthorityError> {
        let revoked_certs = revoked.iter().map(|revoked| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revoked.serial),
                revocation_time: date(revoked.since)?,
                reason_code: None,
                invalidity_date: None,
            })
        });
        let list = CertificateRevocationListParams {
            this_update: date(now)?,
            next_update: date(after(now, life))?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect::<Result<_, AuthorityError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer).map_err(failed(self.issuer.key()))?.der().clone())
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &rcgen::PublicKey,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(params.signed_by(key, &self.issuer).map_err(failed(self.issuer.key()))?.der().clone())
    }
}

/// Asks for a certificate for `key` under the name `device`; signed by the key, so that nobody asks for another's.
pub fn request(key: &SharedKey, device: &str) -> Result<CertificateSigningRequestDer<'static>, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(device);
    Ok(params.serialize_request(key).map_err(failed(key))?.der().clone())
}

/// Under which a device is reached by TLS. Its id alone may be all digits, which host names may not.
pub fn host_name(device: &str) -> String {
    format!("ecps-{device}")
}

/// The key of a request, which that key signed and which is under its own id.
pub fn asking_key(request: &[u8]) -> Result<PublicKey, AuthorityError> {
    PublicKey::p256(asking(request, None)?.der_bytes()).map_err(|_| AuthorityError::RequestKey)
}

fn failed(key: &SharedKey) -> impl Fn(rcgen::Error) -> AuthorityError {
    move |error| key.take_refusal().map_or(AuthorityError::Encoding(error), AuthorityError::Key)
}

/// The key of a request, if that key signed it, and if it is of `device`; of the key's own id where none is given.
fn asking(request: &[u8], device: Option<&str>) -> Result<rcgen::PublicKey, AuthorityError> {
    if request.len() > REQUEST_BYTES {
        return Err(AuthorityError::RequestBytes(request.len()));
    }
    let request = CertificateSigningRequestParams::from_der(&request.into()).map_err(AuthorityError::Request)?;
    if *request.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(AuthorityError::RequestKey);
    }
    let key = PublicKey::p256(request.public_key.der_bytes()).map_err(|_| AuthorityError::RequestKey)?;
    let expected = device.map_or_else(|| key.id(), str::to_owned);
    let found = match request.params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::Utf8String(name)) => name.chars().take(64).collect(),
        _ => String::new(),
    };
    if found == expected { Ok(request.public_key) } else { Err(AuthorityError::RequestName { expected, found }) }
}

fn authority(name: &str, below: u8, now: Stamp, life: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = dated(name, now, life)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(name: &str, now: Stamp, life: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40; // positive, and no zeros at its front
    let mut params = CertificateParams::default();
    params.not_before = date(Stamp(now.0.saturating_sub(BEHIND.as_nanos() as i64)))?;
    params.not_after = date(after(now, life))?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = named(name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    named
}

fn after(now: Stamp, life: Duration) -> Stamp {
    Stamp(now.0.saturating_add(i64::try_from(life.as_nanos()).unwrap_or(i64::MAX)))
}

fn date(at: Stamp) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp_nanos(at.0.into()).map_err(|_| AuthorityError::Time(at.0))
}
