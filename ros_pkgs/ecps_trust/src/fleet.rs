//! Who belongs to the fleet: chains of certificates up to its root, against its revocation lists.

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::key::PublicKey;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
    anchor_from_trusted_cert,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::authority::{OVERLAP, host_name};

/// Largest certificate, bytes; ours have about 500.
pub const CERTIFICATE_BYTES: usize = 4096;
/// Largest revocation list, bytes: about 25 000 certificates.
pub const LIST_BYTES: usize = 1 << 20;

/// Why a certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateRefusal {
    /// None.
    #[error("what was sent is not a certificate of at most {CERTIFICATE_BYTES} bytes")]
    Malformed,
    /// Made by its own holder, or of another fleet.
    #[error("the certificate was not issued by this fleet's authority")]
    Issuer,
    /// Altered, or claimed.
    #[error("the certificate names this fleet's authority, which did not sign it")]
    Signature,
    /// Too late.
    #[error("the certificate ended at {0} s of Unix time")]
    Expired(u64),
    /// Too early.
    #[error("the certificate begins at {0} s of Unix time")]
    NotYet(u64),
    /// Taken back.
    #[error("the certificate, or its authority's, was revoked")]
    Revoked,
    /// Nobody said for long that it was not taken back.
    #[error("the revocation list ended at {0} s of Unix time: nothing is known of certificates since")]
    ListExpired(u64),
    /// Another's.
    #[error("the certificate is not of device '{0}'")]
    Name(String),
    /// An authority as a device, or the other way round.
    #[error("the certificate is not for this use: {0}")]
    Use(webpki::Error),
    /// Whatever else.
    #[error("the certificate is refused: {0}")]
    Other(webpki::Error),
}

/// Why a revocation list is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListRefusal {
    /// None.
    #[error("what was sent is not a revocation list of at most {LIST_BYTES} bytes")]
    Malformed,
    /// Not the authority's.
    #[error("the revocation list is not signed by the authority whose it should be")]
    Signature,
    /// Not newer: an old one would let those come back who were revoked since.
    #[error("the revocation list has number {found}, and number {known} is known")]
    Old {
        /// What it has.
        found: u64,
        /// What is known.
        known: u64,
    },
    /// Over already.
    #[error("the revocation list has ended")]
    Expired,
}

/// The list of one authority.
#[derive(Debug, Clone)]
struct List {
    der: CertificateRevocationListDer<'static>,
    number: u64,
    read: OwnedCertRevocationList,
}

/// What a robot must know to tell its own from strangers.
#[derive(Debug, Clone)]
pub struct Fleet {
    anchor: TrustAnchor<'static>,
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    root_list: List,
    list: List,
}

/// Why there is no fleet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FleetError {
    /// The root or the intermediate.
    #[error("the {0}'s certificate is not that of an authority of this fleet")]
    Authority(&'static str),
    /// A revocation list.
    #[error("the {of}'s {refusal}")]
    List {
        /// Whose.
        of: &'static str,
        /// Why.
        refusal: ListRefusal,
    },
}

impl Fleet {
    /// The root, its list, the intermediate and its list; they came over a way that is trusted, when the device was made.
    pub fn new(
        root: CertificateDer<'static>,
        root_list: &[u8],
        intermediate: CertificateDer<'static>,
        list: &[u8],
        now: Stamp,
    ) -> Result<Fleet, FleetError> {
        let anchor = anchor_from_trusted_cert(&root).map_err(|_| FleetError::Authority("root"))?.to_owned();
        let known = |of, list, issuer: &CertificateDer| {
            List::read(list, issuer, now).map_err(|refusal| FleetError::List { of, refusal })
        };
        let root_list = known("root", root_list, &root)?;
        let below = issued_by(&intermediate, &root).ok_or(FleetError::Authority("intermediate"))?;
        if !below {
            return Err(FleetError::Authority("intermediate"));
        }
        let list = known("intermediate", list, &intermediate)?;
        Ok(Fleet { anchor, root, intermediate, root_list, list })
    }

    /// Takes the intermediate's next revocation list.
    pub fn take_list(&mut self, list: &[u8], now: Stamp) -> Result<(), ListRefusal> {
        let next = List::read(list, &self.intermediate, now)?;
        if next.number <= self.list.number {
            return Err(ListRefusal::Old { found: next.number, known: self.list.number });
        }
        self.list = next;
        Ok(())
    }

    /// A device's certificate, and what leads from it to the root.
    pub fn chain(&self, certificate: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        vec![certificate, self.intermediate.clone()]
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Both lists.
    pub fn lists(&self) -> [CertificateRevocationListDer<'static>; 2] {
        [self.root_list.der.clone(), self.list.der.clone()]
    }

    /// Whether `certificate` is that of `device`, now.
    pub fn verify(&self, certificate: &[u8], device: &str, now: Stamp) -> Result<(), CertificateRefusal> {
        if certificate.len() > CERTIFICATE_BYTES {
            return Err(CertificateRefusal::Malformed);
        }
        let der = CertificateDer::from(certificate);
        let read = EndEntityCert::try_from(&der).map_err(refusal)?;
        let lists = [&self.root_list, &self.list].map(|list| CertRevocationList::Owned(list.read.clone()));
        let lists = lists.each_ref();
        let revocation = RevocationOptionsBuilder::new(&lists)
            .map_err(|_| CertificateRefusal::Malformed)?
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        read.verify_for_usage(
            &[webpki::ring::ECDSA_P256_SHA256],
            std::slice::from_ref(&self.anchor),
            std::slice::from_ref(&self.intermediate),
            unix(now),
            KeyUsage::client_auth(),
            Some(revocation),
            None,
        )
        .map_err(refusal)?;
        let another = || CertificateRefusal::Name(device.chars().take(64).collect());
        let name = ServerName::try_from(host_name(device)).map_err(|_| another())?;
        read.verify_is_valid_for_subject_name(&name).map_err(|_| another())
    }
}

impl List {
    fn read(der: &[u8], issuer: &CertificateDer<'_>, now: Stamp) -> Result<List, ListRefusal> {
        if der.len() > LIST_BYTES {
            return Err(ListRefusal::Malformed);
        }
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| ListRefusal::Malformed)?;
        let (_, issuer) = X509Certificate::from_der(issuer).map_err(|_| ListRefusal::Signature)?;
        if list.issuer() != issuer.subject() || list.verify_signature(issuer.public_key()).is_err() {
            return Err(ListRefusal::Signature);
        }
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
        let (true, Some(number), Some(end)) = (rest.is_empty(), number, list.next_update()) else {
            return Err(ListRefusal::Malformed);
        };
        if end.timestamp() <= now.0.div_euclid(1_000_000_000) {
            return Err(ListRefusal::Expired);
        }
        let read = webpki::BorrowedCertRevocationList::from_der(der).and_then(|read| read.to_owned());
        let read = read.map_err(|_| ListRefusal::Malformed)?;
        Ok(List { der: der.to_vec().into(), number, read })
    }
}

/// The number of a certificate, by which it is revoked.
pub fn serial(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    Some(read.raw_serial().to_vec())
}

/// The key that a certificate is for.
pub fn public_key(certificate: &[u8]) -> Option<PublicKey> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    PublicKey::p256(&read.public_key().subject_public_key.data).ok()
}

/// When a certificate ends.
pub fn end(certificate: &[u8]) -> Option<Stamp> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    Some(Stamp(read.validity().not_after.timestamp().saturating_mul(1_000_000_000)))
}

/// Whether it is time to ask for the next certificate: while this one holds for as long as two keys overlap.
pub fn renewal_is_due(certificate: &[u8], now: Stamp) -> Option<bool> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let left = read.validity().not_after.timestamp().saturating_sub(now.0.div_euclid(1_000_000_000));
    Some(left <= OVERLAP.as_secs().cast_signed())
}

fn issued_by(below: &CertificateDer<'_>, above: &CertificateDer<'_>) -> Option<bool> {
    let (_, below) = X509Certificate::from_der(below).ok()?;
    let (_, above) = X509Certificate::from_der(above).ok()?;
    Some(below.is_ca() && above.is_ca() && below.verify_signature(Some(above.public_key())).is_ok())
}

pub(crate) fn unix(now: Stamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_nanos(u64::try_from(now.0).unwrap_or(0)))
}

fn refusal(error: webpki::Error) -> CertificateRefusal {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) | E::UnsupportedCertVersion => CertificateRefusal::Malformed,
        E::UnknownIssuer => CertificateRefusal::Issuer,
        E::InvalidSignatureForPublicKey => CertificateRefusal::Signature,
        E::CertExpired { not_after, .. } => CertificateRefusal::Expired(not_after.as_secs()),
        E::CertNotValidYet { not_before, .. } => CertificateRefusal::NotYet(not_before.as_secs()),
        E::CertRevoked => CertificateRefusal::Revoked,
        E::CrlExpired { next_update, .. } => CertificateRefusal::ListExpired(next_update.as_secs()),
        E::CaUsedAsEndEntity | E::EndEntityUsedAsCa | E::RequiredEkuNotFoundContext(_) => {
            CertificateRefusal::Use(error)
        }
        error => CertificateRefusal::Other(error),
    }
}
