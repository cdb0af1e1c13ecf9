//! A report is believed only if every field of it holds, and each that does not has its own reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use ecps_core::clock::Stamp;
use ecps_trust::attestation::{AttestationRefusal, Enrolled, FRESHNESS, NONCE_BYTES, Report, verify};
use ecps_trust::provider::{DeviceKey as _, Missing};
use ecps_trust::tpm::Tpm;
use support::Swtpm;

const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];
const SECOND: i64 = 1_000_000_000;
const NOW: Stamp = Stamp(1_000_000 * SECOND);

fn enrolled(tpm: &mut Tpm) -> Enrolled {
    let golden = tpm.quote(&[0; NONCE_BYTES]).unwrap().pcrs;
    Enrolled { device: tpm.public_key().clone(), attestation: tpm.attestation_key().clone(), golden }
}

fn resigned(tpm: &mut Tpm, mut report: Report) -> Report {
    report.signature = tpm.sign(&report.signed()).unwrap();
    report
}

#[test]
fn each_forged_field_has_its_own_reason() {
    let Some(swtpm) = Swtpm::start("each_forged_field_has_its_own_reason") else { return };
    let Some(stranger) = Swtpm::start("each_forged_field_has_its_own_reason") else { return };
    let (mut tpm, mut other) = (swtpm.open(Missing::Create), stranger.open(Missing::Create));
    let known = enrolled(&mut tpm);
    let good = Report::make(&mut tpm, NONCE, NOW).unwrap();
    assert_eq!(verify(&good, &NONCE, &known, NOW), Ok(()));

    let mut seen = BTreeSet::new();
    let mut refused = |report: &Report, expected: AttestationRefusal| {
        assert_eq!(verify(report, &NONCE, &known, NOW), Err(expected.clone()));
        seen.insert(format!("{:?}", std::mem::discriminant(&expected)));
    };

    let altered = |alter: fn(&mut Report)| {
        let mut report = good.clone();
        alter(&mut report);
        report
    };
    let id = other.device_id();
    let renamed = Report { device_id: id.clone(), ..good.clone() };
    refused(&renamed, AttestationRefusal::Device { expected: tpm.device_id(), found: id });
    refused(&altered(|report| report.nonce[0] ^= 1), AttestationRefusal::Nonce);
    refused(&altered(|report| report.signature[0] ^= 1), AttestationRefusal::Signature);
    refused(&altered(|report| report.time.0 -= 1), AttestationRefusal::Signature);
    refused(&altered(|report| report.quote.signature[0] ^= 1), AttestationRefusal::QuoteSignature);
    refused(&altered(|report| report.quote.attest[20] ^= 1), AttestationRefusal::QuoteSignature);
    refused(&altered(|report| report.quote.attest.clear()), AttestationRefusal::QuoteSignature);

    // A device whose own key signs, and lies.
    let pcrs = resigned(&mut tpm, altered(|report| report.quote.pcrs[7][0] ^= 1));
    refused(&pcrs, AttestationRefusal::PcrDigest);
    let old = Report::make(&mut tpm, [8; NONCE_BYTES], NOW).unwrap();
    let replayed = resigned(&mut tpm, Report { nonce: NONCE, ..old });
    refused(&replayed, AttestationRefusal::QuoteNonce);
    let borrowed = Report { quote: other.quote(&NONCE).unwrap(), ..good.clone() };
    let borrowed = resigned(&mut tpm, borrowed);
    refused(&borrowed, AttestationRefusal::QuoteSignature);
    let aged = resigned(&mut tpm, Report { time: Stamp(NOW.0 - 300 * SECOND), ..good.clone() });
    refused(&aged, AttestationRefusal::Stale(300));
    let early = resigned(&mut tpm, Report { time: Stamp(NOW.0 + 6 * SECOND), ..good.clone() });
    refused(&early, AttestationRefusal::Future(6));
    assert_eq!(seen.len(), 8);

    assert_eq!(FRESHNESS.as_secs(), 300);
    let just = resigned(&mut tpm, Report { time: Stamp(NOW.0 - 300 * SECOND + 1), ..good.clone() });
    assert_eq!(verify(&just, &NONCE, &known, NOW), Ok(()));
    // A whole report of another device, or one that enrolled with other keys.
    let theirs = Report::make(&mut other, NONCE, NOW).unwrap();
    assert!(matches!(verify(&theirs, &NONCE, &known, NOW), Err(AttestationRefusal::Device { .. })));
    let mixed = Enrolled { attestation: other.attestation_key().clone(), ..known.clone() };
    assert_eq!(verify(&good, &NONCE, &mixed, NOW), Err(AttestationRefusal::QuoteSignature));
}

#[test]
fn a_device_that_booted_something_else_is_named() {
    let Some(swtpm) = Swtpm::start("a_device_that_booted_something_else_is_named") else { return };
    let mut tpm = swtpm.open(Missing::Create);
    let known = enrolled(&mut tpm);
    tpm.extend(4, &[5; 32]).unwrap();
    let report = Report::make(&mut tpm, NONCE, NOW).unwrap();
    assert_eq!(verify(&report, &NONCE, &known, NOW), Err(AttestationRefusal::Pcr(4)));
}

#[test]
fn what_only_looks_like_a_quote_is_refused() {
    let Some(swtpm) = Swtpm::start("what_only_looks_like_a_quote_is_refused") else { return };
    let mut tpm = swtpm.open(Missing::Create);
    // The device's key signs anything; were it taken for the attestation key, this would pass further.
    let mut known = enrolled(&mut tpm);
    known.attestation = known.device.clone();
    let good = Report::make(&mut tpm, NONCE, NOW).unwrap();
    for attest in [Vec::new(), vec![0; 10], good.quote.attest[..50].to_vec(), vec![0xff; 2048]] {
        let mut report = good.clone();
        report.quote.signature = tpm.sign(&attest).unwrap();
        report.quote.attest = attest;
        let report = resigned(&mut tpm, report);
        assert_eq!(verify(&report, &NONCE, &known, NOW), Err(AttestationRefusal::NotAQuote));
    }
}
