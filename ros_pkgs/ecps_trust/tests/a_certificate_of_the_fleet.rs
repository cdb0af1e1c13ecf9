//! A certificate is believed only if the fleet's authority issued it to that device, it holds now, and was not revoked.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_trust::authority::{Authority, AuthorityError, DEVICE_LIFE, OVERLAP, ROTATION, request};
use ecps_trust::fleet::{CertificateRefusal, Fleet, FleetError, ListRefusal, renewal_is_due};
use ecps_trust::provider::{Missing, Provider};
use ecps_trust::shared_key::SharedKey;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use support::fleet::{Authorities, DAY, NOW, key, later, revoked};
use support::{SoftHsm, Swtpm};

const SECOND: Duration = Duration::from_secs(1);

fn authorities() -> Authorities {
    Authorities::new(key(), key())
}

/// The same, wherever the intermediate's key is.
fn issues_and_revokes(provider: &Provider) {
    let open = || SharedKey::new(provider.open(Missing::Create).unwrap());
    let fleet = Authorities::new(key(), open());
    // After a restart it is the same authority.
    let fleet = Authorities {
        intermediate: Authority::open(open(), fleet.intermediate.certificate().clone()).unwrap(),
        ..fleet
    };
    let (device, other) = (key(), key());
    let (certificate, others) = (fleet.enrol(&device), fleet.enrol(&other));
    let mut known = fleet.fleet();
    assert_eq!(known.verify(&certificate, &device.device_id(), NOW), Ok(()));
    known.take_list(&fleet.list(2, &[&certificate]), NOW).unwrap();
    assert_eq!(known.verify(&certificate, &device.device_id(), NOW), Err(CertificateRefusal::Revoked));
    assert_eq!(known.verify(&others, &other.device_id(), NOW), Ok(()));
}

#[test]
fn by_an_authority_in_a_tpm() {
    let Some(swtpm) = Swtpm::start("by_an_authority_in_a_tpm") else { return };
    issues_and_revokes(&Provider::Tpm { tcti: swtpm.tcti() });
}

#[test]
fn by_an_authority_in_a_security_module() {
    let Some(hsm) = SoftHsm::start("by_an_authority_in_a_security_module") else { return };
    issues_and_revokes(&hsm.provider());
}

#[test]
fn signatures_are_der_whatever_their_numbers() {
    let key = key();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_bytes().to_vec());
    let mut lengths = std::collections::BTreeSet::new();
    let is_short = |length: &usize| *length < 70;
    // One in 500 is short, so that in so many none is once in 10¹⁷ runs.
    for round in 0..20_000_u32 {
        let signature = key.sign(&round.to_be_bytes()).unwrap();
        public.verify(&round.to_be_bytes(), &signature).unwrap();
        lengths.insert(signature.len());
        if lengths.contains(&72) && lengths.iter().any(is_short) {
            return;
        }
    }
    panic!("long and short ones: {lengths:?}");
}

#[test]
fn every_other_certificate_is_refused_with_its_reason() {
    let (ours, theirs, device) = (authorities(), authorities(), key());
    let known = ours.fleet();
    let id = device.device_id();
    let good = ours.enrol(&device);
    let refused = |certificate: &[u8], at: Stamp| known.verify(certificate, &id, at).unwrap_err();
    assert_eq!(known.verify(&good, &id, NOW), Ok(()));

    assert_eq!(refused(b"", NOW), CertificateRefusal::Malformed);
    assert_eq!(refused(&good[..good.len() - 1], NOW), CertificateRefusal::Malformed);
    assert_eq!(refused(&vec![0x30; 1 << 20], NOW), CertificateRefusal::Malformed);
    let mut altered = good.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&altered, NOW), CertificateRefusal::Signature);

    // The other fleet's authorities have the same names, and other keys.
    assert_eq!(refused(&theirs.enrol(&device), NOW), CertificateRefusal::Signature);
    let mut params = rcgen::CertificateParams::new(vec![ecps_trust::authority::host_name(&id)]).unwrap();
    let self_made = params.self_signed(&device).unwrap();
    assert_eq!(refused(self_made.der(), NOW), CertificateRefusal::Issuer);
    // A device that plays the authority for another.
    let issuer = rcgen::Issuer::from_ca_cert_der(&good, &device).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(refused(params.signed_by(&key(), &issuer).unwrap().der(), NOW), CertificateRefusal::Issuer);
    assert!(matches!(refused(ours.intermediate.certificate(), NOW), CertificateRefusal::Use(_)));

    assert_eq!(known.verify(&good, "0123456789abcdef", NOW), Err(CertificateRefusal::Name("0123456789abcdef".into())));
    assert!(matches!(known.verify(&good, "..", NOW), Err(CertificateRefusal::Name(_))));
    assert!(matches!(refused(&good, Stamp(NOW.0 - 6_000_000_000)), CertificateRefusal::NotYet(_)));
    assert_eq!(known.verify(&good, &id, Stamp(NOW.0 - 4_000_000_000)), Ok(()), "clocks differ");
}

#[test]
fn a_device_that_is_cut_off_ends_with_its_certificate() {
    let (fleet, device) = (authorities(), key());
    let certificate = fleet.enrol(&device);
    let long = fleet.intermediate.revocation_list(1, &[], NOW, 30 * DAY).unwrap();
    let known = fleet.fleet_with(&long);
    let at = |by| known.verify(&certificate, &device.device_id(), later(by));
    assert_eq!(at(DEVICE_LIFE), Ok(()));
    assert!(matches!(at(DEVICE_LIFE + SECOND), Err(CertificateRefusal::Expired(_))));
    // Who hears of no revocations believes nobody any more.
    let known = fleet.fleet();
    let at = |by| known.verify(&certificate, &device.device_id(), later(by));
    assert_eq!(at(DAY - SECOND), Ok(()));
    assert!(matches!(at(DAY + SECOND), Err(CertificateRefusal::ListExpired(_))));
}

#[test]
fn renewal_is_due_while_the_old_certificate_still_holds() {
    let (fleet, device) = (authorities(), key());
    let certificate = fleet.enrol(&device);
    assert_eq!(ROTATION + OVERLAP, DEVICE_LIFE);
    assert_eq!(renewal_is_due(&certificate, later(ROTATION - SECOND)), Some(false));
    assert_eq!(renewal_is_due(&certificate, later(ROTATION)), Some(true));
    assert_eq!(renewal_is_due(b"nonsense", NOW), None);
    let next = fleet.intermediate.issue(&request(&device, &device.device_id()).unwrap(), &device.device_id(), NOW);
    assert_ne!(ecps_trust::fleet::serial(&certificate), ecps_trust::fleet::serial(&next.unwrap()), "in one second");
}

#[test]
fn a_revoked_authority_takes_its_devices_with_it() {
    let (fleet, device) = (authorities(), key());
    let certificate = fleet.enrol(&device);
    let gone = fleet.root.revocation_list(2, &[revoked(fleet.intermediate.certificate())], NOW, DAY).unwrap();
    let (root, intermediate) = (fleet.root.certificate().clone(), fleet.intermediate.certificate().clone());
    let known = Fleet::new(root, &gone, intermediate, &fleet.list(1, &[]), NOW).unwrap();
    assert_eq!(known.verify(&certificate, &device.device_id(), NOW), Err(CertificateRefusal::Revoked));
}

#[test]
fn a_revocation_list_is_taken_only_from_the_authority_and_only_if_newer() {
    let (fleet, stranger, device) = (authorities(), authorities(), key());
    let certificate = fleet.enrol(&device);
    let mut known = fleet.fleet();
    let good = fleet.list(5, &[&certificate]);
    known.take_list(&good, NOW).unwrap();
    for number in [1, 4, 5] {
        let old = fleet.list(number, &[]);
        assert_eq!(known.take_list(&old, NOW), Err(ListRefusal::Old { found: number, known: 5 }));
    }
    let mut altered = fleet.list(6, &[]);
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(known.take_list(&altered, NOW), Err(ListRefusal::Signature));
    assert_eq!(known.take_list(&stranger.list(6, &[]), NOW), Err(ListRefusal::Signature));
    let roots = fleet.root.revocation_list(6, &[], NOW, DAY).unwrap();
    assert_eq!(known.take_list(&roots, NOW), Err(ListRefusal::Signature));
    assert_eq!(known.take_list(&fleet.list(6, &[]), later(DAY)), Err(ListRefusal::Expired));
    for nonsense in [b"".to_vec(), good[..40].to_vec(), [&good[..], b"x"].concat(), vec![0x30; (1 << 20) + 1]] {
        assert_eq!(known.take_list(&nonsense, NOW), Err(ListRefusal::Malformed));
    }
    assert_eq!(known.verify(&certificate, &device.device_id(), NOW), Err(CertificateRefusal::Revoked), "as before");
}

#[test]
fn a_fleet_with_another_fleets_authority_is_refused() {
    let (ours, theirs) = (authorities(), authorities());
    let root_list = ours.root.revocation_list(1, &[], NOW, DAY).unwrap();
    let made = |intermediate: &CertificateDer<'static>, root_list: &[u8], list: &[u8]| {
        Fleet::new(ours.root.certificate().clone(), root_list, intermediate.clone(), list, NOW).map(drop)
    };
    let (mine, list) = (ours.intermediate.certificate(), ours.list(1, &[]));
    assert_eq!(made(mine, &root_list, &list), Ok(()));
    let wrong = made(theirs.intermediate.certificate(), &root_list, &theirs.list(1, &[]));
    assert_eq!(wrong, Err(FleetError::Authority("intermediate")));
    assert_eq!(made(&ours.enrol(&key()), &root_list, &list), Err(FleetError::Authority("intermediate")));
    let swapped = made(mine, &list, &root_list);
    assert_eq!(swapped, Err(FleetError::List { of: "root", refusal: ListRefusal::Signature }));
}

#[test]
fn a_request_gets_the_name_that_was_attested_and_nothing_else() {
    let (fleet, device) = (authorities(), key());
    let id = device.device_id();
    let issued = |request: &[u8]| fleet.intermediate.issue(request, &id, NOW);
    let good = request(&device, &id).unwrap();
    issued(&good).unwrap();
    let mut altered = good.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    assert!(matches!(issued(&altered), Err(AuthorityError::Request(_))), "not signed by its key");
    let other = request(&device, "0123456789abcdef").unwrap();
    assert!(matches!(issued(&other), Err(AuthorityError::RequestName { found, .. }) if found == "0123456789abcdef"));
    assert!(matches!(issued(&vec![0x30; 5000]), Err(AuthorityError::RequestBytes(5000))));
    assert!(matches!(issued(b""), Err(AuthorityError::Request(_))));
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let asked = rcgen::CertificateParams::default().serialize_request(&ed25519).unwrap();
    assert!(matches!(issued(asked.der()), Err(AuthorityError::RequestKey)));

    // One that asks for another's name beside its own is not given it.
    let mut greedy = rcgen::CertificateParams::new(vec![ecps_trust::authority::host_name("0123456789abcdef")]).unwrap();
    greedy.distinguished_name = rcgen::DistinguishedName::new();
    greedy.distinguished_name.push(rcgen::DnType::CommonName, rcgen::DnValue::Utf8String(id.clone()));
    let certificate = issued(greedy.serialize_request(&device).unwrap().der()).unwrap();
    let known = fleet.fleet();
    assert_eq!(known.verify(&certificate, &id, NOW), Ok(()));
    assert!(matches!(known.verify(&certificate, "0123456789abcdef", NOW), Err(CertificateRefusal::Name(_))));
}

#[test]
fn an_authority_has_its_own_certificate() {
    let fleet = authorities();
    let open = |certificate: &CertificateDer<'static>| Authority::open(key(), certificate.clone()).map(drop);
    assert!(matches!(open(fleet.intermediate.certificate()), Err(AuthorityError::NotItsCertificate)));
    let device = key();
    let certificate = fleet.enrol(&device);
    assert!(matches!(Authority::open(device, certificate), Err(AuthorityError::NotItsCertificate)));
}
