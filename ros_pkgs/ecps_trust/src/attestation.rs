//! Reports of a device's state, and who believes them.
//!
//! The verifier hands out a nonce; the device's TPM quotes its PCRs for it with the attestation key, and the device's key
//! signs the whole report. Both keys were enrolled before: what the report says of itself proves nothing.

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::key::PublicKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{Attest, AttestInfo, PcrSelectionList};
use tss_esapi::traits::UnMarshall as _;

use crate::fleet::{self, CertificateRefusal, Fleet};
use crate::provider::{DeviceKey, ProviderError};
use crate::shared_key::SharedKey;
use crate::tpm::Tpm;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;
/// The PCRs of the SHA-256 bank that are measured: firmware, its configuration, boot loader, secure-boot policy.
pub const PCRS: std::ops::Range<u32> = 0..8;
/// Their values.
pub type PcrValues = [[u8; 32]; 8];
/// From this age on a report is stale.
pub const FRESHNESS: Duration = Duration::from_secs(300);
/// Largest quote, bytes; TPMs make about 150.
pub const QUOTE_BYTES: usize = 2048;

/// What a TPM says of its PCRs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The values, which the TPM signed only by digest.
    pub pcrs: PcrValues,
    /// TPMS_ATTEST, as signed.
    pub attest: Vec<u8>,
    /// r‖s by the attestation key.
    pub signature: Vec<u8>,
}

/// A report of type `tpm_quote`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who says it.
    pub device_id: String,
    /// When.
    pub time: Stamp,
    /// For which challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// By the TPM.
    pub quote: Quote,
    /// r‖s by the device's key over all of the above.
    pub signature: Vec<u8>,
}

impl Report {
    /// Has the TPM report its state for the verifier's `nonce`.
    pub fn make(tpm: &mut Tpm, nonce: [u8; NONCE_BYTES], time: Stamp) -> Result<Report, ProviderError> {
        let quote = tpm.quote(&nonce)?;
        let mut report = Report { device_id: tpm.device_id(), time, nonce, quote, signature: Vec::new() };
        report.signature = tpm.sign(&report.signed())?;
        Ok(report)
    }

    /// What the device's key signs: a name for this use, then every field, those of changing length after their length.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = b"ecps attestation tpm_quote 1\n".to_vec();
        for field in [self.device_id.as_bytes(), &self.quote.attest, &self.quote.signature] {
            text.extend((field.len() as u64).to_be_bytes());
            text.extend(field);
        }
        text.extend(self.time.0.to_be_bytes());
        text.extend(self.nonce);
        text.extend(self.quote.pcrs.as_flattened());
        text
    }
}

/// What is known of a device since it was enrolled.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Its key.
    pub device: PublicKey,
    /// Its TPM's attestation key.
    pub attestation: PublicKey,
    /// What its PCRs hold when it is as it was shipped.
    pub golden: PcrValues,
}

/// A nonce that was never used before; none where the system gives no random numbers.
pub fn nonce() -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).ok().map(|()| nonce)
}

/// A report of type `device_identity`: the device shows that it has its key, and the fleet's certificate for it. Of its state
/// it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityReport {
    /// Who says it.
    pub device_id: String,
    /// When.
    pub time: Stamp,
    /// For which challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// The device's certificate, DER.
    pub certificate: Vec<u8>,
    /// r‖s by the device's key over all of the above.
    pub signature: Vec<u8>,
}

impl IdentityReport {
    /// Has the device's key sign for the verifier's `nonce`.
    pub fn make(
        key: &SharedKey,
        certificate: Vec<u8>,
        nonce: [u8; NONCE_BYTES],
        time: Stamp,
    ) -> Result<IdentityReport, ProviderError> {
        let mut report = IdentityReport { device_id: key.device_id(), time, nonce, certificate, signature: Vec::new() };
        report.signature = key.sign_raw(&report.signed())?;
        Ok(report)
    }

    /// What the device's key signs.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = b"ecps attestation device_identity 1\n".to_vec();
        for field in [self.device_id.as_bytes(), &self.certificate] {
            text.extend((field.len() as u64).to_be_bytes());
            text.extend(field);
        }
        text.extend(self.time.0.to_be_bytes());
        text.extend(self.nonce);
        text
    }

    /// Whether it answers `nonce`, is of a device of `fleet` whose certificate holds, and is signed by its key.
    pub fn verify(&self, nonce: &[u8; NONCE_BYTES], fleet: &Fleet, now: Stamp) -> Result<(), AttestationRefusal> {
        answers(&self.nonce, nonce, self.time, now)?;
        fleet.verify(&self.certificate, &self.device_id, now)?;
        let key = fleet::public_key(&self.certificate);
        if key.is_some_and(|key| key.id() == self.device_id && key.verifies(&self.signed(), &self.signature)) {
            Ok(())
        } else {
            Err(AttestationRefusal::Signature)
        }
    }
}

/// Whether a report answers the challenge, at the right time.
fn answers(
    found: &[u8; NONCE_BYTES],
    nonce: &[u8; NONCE_BYTES],
    time: Stamp,
    now: Stamp,
) -> Result<(), AttestationRefusal> {
    if found != nonce {
        return Err(AttestationRefusal::Nonce);
    }
    let age = now.nanos_since(time).div_euclid(1_000_000_000);
    if age >= FRESHNESS.as_secs().cast_signed() {
        return Err(AttestationRefusal::Stale(age));
    }
    if age < -AHEAD {
        return Err(AttestationRefusal::Future(-age));
    }
    Ok(())
}

/// Why a report is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AttestationRefusal {
    /// Another device's.
    #[error("the report is of device '{}', and '{expected}' was asked", found.escape_debug())]
    Device {
        /// Who was asked.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// For another challenge.
    #[error("the report answers another challenge")]
    Nonce,
    /// Too old.
    #[error("the report is {0} s old: from {max} s on it is stale", max = FRESHNESS.as_secs())]
    Stale(i64),
    /// From the future.
    #[error("the report is from {0} s in the future: {AHEAD} s are allowed, since clocks differ")]
    Future(i64),
    /// The certificate that came with it.
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
    /// The device's signature does not fit.
    #[error("the device's signature does not fit the report")]
    Signature,
    /// The TPM's does not: altered, or of another TPM.
    #[error("the quote is not signed by the device's attestation key")]
    QuoteSignature,
    /// Signed, and not a quote.
    #[error("what the attestation key signed is not a quote of PCRs 0 to 7 of the SHA-256 bank")]
    NotAQuote,
    /// The quote is for another challenge.
    #[error("the quote was made for another challenge")]
    QuoteNonce,
    /// The values are not those that were quoted.
    #[error("the PCR values are not those that the TPM quoted")]
    PcrDigest,
    /// They were quoted, and are not as they should be.
    #[error("PCR {0} is not as it was when the device was shipped")]
    Pcr(usize),
}

/// How far a device's clock may be ahead.
const AHEAD: i64 = 5;

/// Whether `report` answers `nonce` for the device that was enrolled, in the state in which it was.
pub fn verify(
    report: &Report,
    nonce: &[u8; NONCE_BYTES],
    enrolled: &Enrolled,
    now: Stamp,
) -> Result<(), AttestationRefusal> {
    let expected = enrolled.device.id();
    if report.device_id != expected {
        return Err(AttestationRefusal::Device { expected, found: report.device_id.chars().take(64).collect() });
    }
    answers(&report.nonce, nonce, report.time, now)?;
    let quote = &report.quote;
    if quote.attest.len() > QUOTE_BYTES || !enrolled.attestation.verifies(&quote.attest, &quote.signature) {
        return Err(AttestationRefusal::QuoteSignature);
    }
    let attest = Attest::unmarshall(&quote.attest).map_err(|_| AttestationRefusal::NotAQuote)?;
    let AttestInfo::Quote { info } = attest.attested() else { return Err(AttestationRefusal::NotAQuote) };
    if !covers_the_pcrs(info.pcr_selection()) {
        return Err(AttestationRefusal::NotAQuote);
    }
    if attest.extra_data().value() != nonce {
        return Err(AttestationRefusal::QuoteNonce);
    }
    if info.pcr_digest().value() != Sha256::digest(quote.pcrs.as_flattened()).as_slice() {
        return Err(AttestationRefusal::PcrDigest);
    }
    if !enrolled.device.verifies(&report.signed(), &report.signature) {
        return Err(AttestationRefusal::Signature);
    }
    match quote.pcrs.iter().zip(&enrolled.golden).position(|(found, golden)| found != golden) {
        Some(pcr) => Err(AttestationRefusal::Pcr(pcr)),
        None => Ok(()),
    }
}

fn covers_the_pcrs(selection: &PcrSelectionList) -> bool {
    let [selection] = selection.get_selections() else { return false };
    let selected: u32 = selection.selected().iter().map(|slot| u32::from(*slot)).sum();
    selection.hashing_algorithm() == HashingAlgorithm::Sha256 && selected == (1 << PCRS.end) - 1
}
