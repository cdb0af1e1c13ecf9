//! What the authority issues is accepted, and what it takes back is not; what others make up is neither.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_identity::bulletin::{Anchor, AnchorError, BulletinRefusal, Bulletins, KeyList, LIST_LIFE, Taken};
use ecps_identity::verifier::{Presented, TokenRefusal, Verifier};
use ecps_trust::attestation::{AttestationRefusal, IdentityReport};
use ecps_trust::authority::{Authority, request};
use ecps_trust::books::{Books, BooksError};
use ecps_trust::fleet::{CertificateRefusal, Fleet};
use ecps_trust::issuer::{Issuer, IssuerError, NOTICE, REQUEST_LIFE, TokenRequest, recovery};
use ecps_trust::pem;
use ecps_trust::provider::{Missing, Provider};
use ecps_trust::provisioning::{self, Done};
use ecps_trust::shared_key::SharedKey;
use rustls::pki_types::CertificateDer;
use support::fleet::{NOW, key, later};
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const EXECUTOR: &str = "/robot1/eap_executor";

/// A provisioned authority and one device.
struct Place {
    home: TempDir,
    device: SharedKey,
}

impl Place {
    fn new() -> Place {
        let home = TempDir::new().unwrap();
        provisioning::authority(&home.path().join("authority"), "test", NOW).unwrap();
        let folder = home.path().join("robot1");
        let provider = Provider::Software { key: folder.join("device.key"), passphrase: folder.join("passphrase") };
        let (id, _) = provisioning::device(&folder, &provider).unwrap();
        let device = SharedKey::new(provider.open(Missing::Refuse).unwrap());
        assert_eq!(device.device_id(), id);
        let place = Place { home, device };
        place.enrol(&["robot_operator"]).unwrap();
        place
    }

    /// A copy of one that was made once, since deriving keys from passphrases takes its time.
    fn copied() -> Place {
        static MADE: OnceLock<Place> = OnceLock::new();
        let made = MADE.get_or_init(Place::new);
        let home = TempDir::new().unwrap();
        let copy = Command::new("cp").arg("-a").arg(made.home.path().join(".")).arg(home.path()).status().unwrap();
        assert!(copy.success());
        Place { home, device: made.device.clone() }
    }

    fn authority(&self) -> PathBuf {
        self.home.path().join("authority")
    }

    fn enrol(&self, roles: &[&str]) -> Result<String, provisioning::ProvisioningError> {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        provisioning::enrol(&self.authority(), &self.home.path().join("robot1"), "robot1", &roles, NOW)
    }

    fn anchor(&self) -> Anchor {
        Anchor::read(&std::fs::read(self.authority().join("anchor.pem")).unwrap()).unwrap()
    }

    fn key(&self, file: &str) -> SharedKey {
        let path = self.authority().join(file);
        let passphrase = path.parent().unwrap().join("passphrase");
        SharedKey::new(Provider::Software { key: path, passphrase }.open(Missing::Refuse).unwrap())
    }

    fn issuer(&self, now: Stamp) -> Issuer {
        let certificate = pem::first(&std::fs::read(self.authority().join("authority.pem")).unwrap()).unwrap();
        Issuer::open(&self.authority(), self.key("authority.key"), certificate.into(), self.anchor(), now).unwrap()
    }

    fn request(&self, now: Stamp) -> TokenRequest {
        let (caller, audience) = (self.device.device_id(), EXECUTOR.to_owned());
        let mut request = TokenRequest { caller, sequence: 1, stamp: now, audience, ..TokenRequest::default() };
        request.signature = self.device.sign_raw(&request.signed()).unwrap();
        request
    }
}

/// A node that asks for tokens.
struct Node {
    bulletins: Bulletins,
    verifier: Verifier,
    sequence: u64,
}

impl Node {
    fn new(place: &Place) -> Node {
        let verifier = Verifier::in_fleet(EXECUTOR, "run", &place.anchor());
        Node { bulletins: Bulletins::new(place.anchor(), 0), verifier, sequence: 0 }
    }

    fn hear(&mut self, issuer: &Issuer, now: Stamp) {
        self.bulletins.take_keys(issuer.keys(), now).unwrap();
        self.bulletins.take_list(issuer.list(), now).unwrap();
        self.verifier.hear(&self.bulletins);
    }

    fn takes(&mut self, token: &str, caller: &str, now: Stamp) -> Result<(), TokenRefusal> {
        self.sequence += 1;
        self.verifier.verify(&Presented { token, caller, sequence: self.sequence }, now).map(drop)
    }
}

#[test]
fn tokens_are_accepted_through_rotation_and_restart() {
    let place = Place::copied();
    let id = place.device.device_id();
    let (mut issuer, mut node) = (place.issuer(NOW), Node::new(&place));
    let first = issuer.token(&place.request(NOW), NOW).unwrap().token;
    assert!(matches!(node.takes(&first, &id, NOW), Err(TokenRefusal::NoRevocations)));
    node.hear(&issuer, NOW);
    assert_eq!(node.takes(&first, &id, NOW), Ok(()));

    // Two in one second.
    let rotated = [issuer.rotate(NOW).unwrap(), issuer.rotate(NOW).unwrap()];
    assert_ne!(rotated[0].key, rotated[1].key);
    assert_eq!(rotated[1].previous, rotated[0].key);

    let (mut issuer, mut node) = (place.issuer(NOW), Node::new(&place));
    node.hear(&issuer, NOW);
    let old = issuer.token(&place.request(NOW), NOW).unwrap().token;
    issuer.rotate(NOW).unwrap();
    let just = issuer.token(&place.request(NOW), NOW).unwrap().token;
    assert_eq!(node.takes(&just, &id, NOW), Ok(()), "a node that has not heard of the new key yet");
    node.hear(&issuer, NOW);
    let at = later(NOTICE);
    let new = issuer.token(&place.request(at), at).unwrap().token;
    assert_eq!([&old, &just, &new].map(|token| node.takes(token, &id, at)), [Ok(()), Ok(()), Ok(())]);

    // A restart makes a new key, and what the last one signed still holds.
    let mut issuer = place.issuer(at);
    node.hear(&issuer, at);
    assert_eq!(node.takes(&new, &id, at), Ok(()));
    let newest = issuer.token(&place.request(at), at).unwrap().token;
    assert_eq!(node.takes(&newest, &id, at), Ok(()));
    assert!(matches!(node.takes(&old, &id, at), Err(TokenRefusal::Key(_))), "two keys before");

    // Once a day by itself.
    assert!(issuer.refresh(later(SECOND * 3700)).unwrap(), "a list every hour");
    let keys = issuer.keys().number;
    let day = later(SECOND * 86_500);
    assert!(issuer.refresh(day).unwrap() && issuer.keys().number > keys);
    node.hear(&issuer, day);
    assert!(!issuer.refresh(day).unwrap());
}

#[test]
fn a_request_for_a_token_is_signed_by_its_device_now() {
    let place = Place::copied();
    let mut issuer = place.issuer(NOW);
    let refused = |issuer: &mut Issuer, request: &TokenRequest| issuer.token(request, NOW).unwrap_err();
    let good = place.request(NOW);
    for (what, request) in [
        ("audience", TokenRequest { audience: "/robot2/eap_executor".into(), ..good.clone() }),
        ("sequence", TokenRequest { sequence: 2, ..good.clone() }),
        ("caller", TokenRequest { caller: format!("{}/planner", good.caller), ..good.clone() }),
        ("capabilities", TokenRequest { capabilities: vec!["move:robot".into()], ..good.clone() }),
        ("session", TokenRequest { session: "other".into(), ..good.clone() }),
        ("stamp", TokenRequest { stamp: later(SECOND), ..good.clone() }),
        ("signature", TokenRequest { signature: key().sign_raw(&good.signed()).unwrap(), ..good.clone() }),
    ] {
        assert!(matches!(refused(&mut issuer, &request), IssuerError::Signature(_)), "{what}");
    }
    let late = later(REQUEST_LIFE + SECOND);
    assert!(matches!(issuer.token(&good, late).unwrap_err(), IssuerError::Age(61)));
    let early = place.request(later(SECOND * 10));
    assert!(matches!(refused(&mut issuer, &early), IssuerError::Age(-10)));
    let stranger = TokenRequest { caller: "0123456789abcdef".into(), ..good.clone() };
    assert!(matches!(refused(&mut issuer, &stranger), IssuerError::Books(BooksError::UnknownDevice(_))));
    let nobody = TokenRequest { caller: String::new(), ..good };
    assert!(matches!(refused(&mut issuer, &nobody), IssuerError::Invalid(_)));
}

#[test]
fn what_is_taken_back_is_refused_and_does_not_come_back() {
    let place = Place::copied();
    let id = place.device.device_id();
    let (mut issuer, mut node) = (place.issuer(NOW), Node::new(&place));
    node.hear(&issuer, NOW);
    let before = issuer.list().clone();
    let token = issuer.token(&place.request(NOW), NOW).unwrap().token;

    // A single token, by its id.
    let identity = node.verifier.examine(&Presented { token: &token, caller: &id, sequence: 0 }, NOW).unwrap();
    let jti = format!("jti:{}", identity.claims().jti);
    issuer.revoke(NOW, |books| Ok(books.revoke_key(&jti, NOW)?)).unwrap();
    node.hear(&issuer, NOW);
    assert_eq!(node.takes(&token, &id, NOW), Err(TokenRefusal::RevokedToken));
    let other = issuer.token(&place.request(NOW), NOW).unwrap().token;
    assert_eq!(node.takes(&other, &id, NOW), Ok(()));

    // All, until the emergency key says otherwise.
    let lock = |books: &mut Books| {
        books.lock_down(true);
        Ok(())
    };
    let locked = issuer.revoke(NOW, lock).unwrap();
    node.hear(&issuer, NOW);
    assert_eq!(node.takes(&other, &id, NOW), Err(TokenRefusal::Lockdown));
    assert!(matches!(issuer.token(&place.request(NOW), NOW), Err(IssuerError::Lockdown)));
    let signed = |key: &SharedKey, number| key.sign_raw(&recovery(number)).unwrap();
    let emergency = place.key("root/emergency.key");
    assert!(issuer.recover(&signed(&key(), locked), NOW).is_err());
    assert!(issuer.recover(&signed(&emergency, locked - 1), NOW).is_err(), "for an earlier list");
    assert_eq!(issuer.recover(&signed(&emergency, locked), NOW).unwrap(), locked + 1);
    node.hear(&issuer, NOW);
    assert_eq!(node.takes(&other, &id, NOW), Ok(()));

    // The key that signed.
    let kid = issuer.keys().clone();
    issuer.rotate(NOW).unwrap();
    let fresh = issuer.token(&place.request(later(NOTICE)), later(NOTICE)).unwrap().token;
    let ids = |node: &Node| node.bulletins.accepted().iter().map(|(key, _)| key.id()).collect::<Vec<_>>();
    let old = ids(&node)[0].clone();
    issuer.revoke(NOW, |books| Ok(books.revoke_key(&old, NOW)?)).unwrap();
    node.hear(&issuer, NOW);
    assert!(node.takes(&other, &id, NOW).unwrap_err().to_string().contains("is revoked"));
    assert_eq!(node.takes(&fresh, &id, later(NOTICE)), Ok(()));
    assert!(matches!(node.bulletins.take_keys(&kid, NOW), Err(BulletinRefusal::Old { .. })));

    // The device, with its certificate, by an operator beside the running authority.
    let fleet = |issuer: &Issuer| {
        let anchor = place.anchor();
        let root = CertificateDer::from(anchor.root().to_vec());
        Fleet::new(root, anchor.list().unwrap(), issuer.certificate().clone(), &issuer.list().crl, NOW).unwrap()
    };
    let path = place.home.path().join("robot1/device.pem");
    let own = pem::first(&std::fs::read(path).unwrap()).unwrap();
    let report = IdentityReport::make(&place.device, own, [7; 32], NOW).unwrap();
    assert_eq!(report.verify(&[7; 32], &fleet(&issuer), NOW), Ok(()));
    Books::change(&place.authority(), |books| books.revoke_device(&id, NOW)).unwrap();
    assert!(issuer.refresh(NOW).unwrap());
    node.hear(&issuer, NOW);
    assert_eq!(node.takes(&fresh, &id, later(NOTICE)), Err(TokenRefusal::Revoked(id.clone())));
    let revoked = AttestationRefusal::Certificate(CertificateRefusal::Revoked);
    assert_eq!(report.verify(&[7; 32], &fleet(&issuer), NOW), Err(revoked));
    assert!(matches!(issuer.token(&place.request(NOW), NOW), Err(IssuerError::Books(BooksError::Revoked(_)))));
    assert!(place.enrol(&["system_admin"]).is_err(), "a revoked device comes back");

    // The list before, from somebody who kept it; the same again does no harm.
    assert!(matches!(node.bulletins.take_list(&before, NOW), Err(BulletinRefusal::Old { .. })));
    assert_eq!(node.bulletins.take_list(issuer.list(), NOW), Ok(Taken::Known));
    // Nor after a restart of the node.
    let mut restarted = Bulletins::new(place.anchor(), issuer.list().number);
    restarted.take_keys(issuer.keys(), NOW).unwrap();
    assert!(matches!(restarted.take_list(&before, NOW), Err(BulletinRefusal::Old { .. })));
    assert_eq!(restarted.take_list(issuer.list(), NOW), Ok(Taken::New));
    // Cut off, it accepts nobody in the end.
    let at = later(LIST_LIFE);
    assert!(matches!(node.takes(&fresh, &id, at), Err(TokenRefusal::StaleRevocations(_))));
}

#[test]
fn a_bulletin_is_believed_by_the_root_alone() {
    let (place, other) = (Place::copied(), Place::new());
    let (issuer, stranger) = (place.issuer(NOW), other.issuer(NOW));
    let mut heard = Bulletins::new(place.anchor(), 0);
    assert_eq!(heard.take_list(issuer.list(), NOW), Err(BulletinRefusal::NoAuthority));
    assert!(matches!(heard.take_keys(stranger.keys(), NOW), Err(BulletinRefusal::Authority(_))));

    // Every field is signed.
    let (keys, list) = (issuer.keys().clone(), issuer.list().clone());
    let mut altered = keys.clone();
    altered.number += 1;
    assert_eq!(heard.take_keys(&altered, NOW), Err(BulletinRefusal::Signature));
    let mut altered = keys.clone();
    altered.stamp = later(SECOND);
    assert_eq!(heard.take_keys(&altered, NOW), Err(BulletinRefusal::Signature));
    // A stranger's keys under the certificate of the authority.
    let mut forged = keys.clone();
    let (ours, theirs) = (forged.keys.clone(), stranger.keys().keys.clone());
    let tail = |text: &str| text.split_once("\"x5c\"").unwrap().1.to_owned();
    forged.keys = theirs.replace(&tail(&theirs), &tail(&ours));
    forged.signature = other.key("authority.key").sign_raw(&forged.signed()).unwrap();
    assert_eq!(heard.take_keys(&forged, NOW), Err(BulletinRefusal::Signature));
    // A device's certificate in place of an authority's, signed by that device.
    let device = pem::first(&std::fs::read(place.home.path().join("robot1/device.pem")).unwrap()).unwrap();
    let mut forged = keys.clone();
    let set = KeyList::new(&[(place.device.public_key().clone(), None)], &device);
    forged.keys = set.to_json().unwrap();
    forged.signature = place.device.sign_raw(&forged.signed()).unwrap();
    assert!(matches!(heard.take_keys(&forged, NOW), Err(BulletinRefusal::Authority(_))));
    // A device that the root itself certified is no authority either.
    let root = pem::first(&std::fs::read(place.authority().join("root/root.pem")).unwrap()).unwrap();
    let root = Authority::open(place.key("root/root.key"), root.into()).unwrap();
    let asked = request(&place.device, &place.device.device_id()).unwrap();
    let device = root.issue(&asked, &place.device.device_id(), NOW).unwrap();
    let set = KeyList::new(&[(place.device.public_key().clone(), None)], &device);
    forged.keys = set.to_json().unwrap();
    forged.signature = place.device.sign_raw(&forged.signed()).unwrap();
    let refusal = heard.take_keys(&forged, NOW).unwrap_err().to_string();
    assert!(refusal.contains("is a device's"), "{refusal}");
    assert!(matches!(heard.take_keys(&keys, later(LIST_LIFE)), Err(BulletinRefusal::Stale(_))));
    assert!(matches!(
        heard.take_keys(&keys, Stamp(NOW.0 - 10_000_000_000)),
        Err(BulletinRefusal::Authority(_) | BulletinRefusal::Early(_))
    ));

    assert_eq!(heard.take_keys(&keys, NOW), Ok(Taken::New));
    let mut altered = list.clone();
    altered.lockdown = true;
    assert_eq!(heard.take_list(&altered, NOW), Err(BulletinRefusal::Signature));
    let mut altered = list.clone();
    altered.device_ids.push("0123456789abcdef".into());
    assert_eq!(heard.take_list(&altered, NOW), Err(BulletinRefusal::Signature));
    let mut altered = list.clone();
    altered.key_ids = vec![String::new(); 4097];
    assert!(matches!(heard.take_list(&altered, NOW), Err(BulletinRefusal::Malformed(_))));
    assert_eq!(heard.take_list(&list, NOW), Ok(Taken::New));
    assert_eq!((heard.take_keys(&keys, NOW), heard.take_list(&list, NOW)), (Ok(Taken::Known), Ok(Taken::Known)));

    let anchor = std::fs::read(place.authority().join("anchor.pem")).unwrap();
    let text = |parts: &[&[u8]]| Anchor::read(&parts.concat()).map(drop);
    assert!(matches!(text(&[&anchor, &anchor]), Err(AnchorError::Malformed(_))), "two roots");
    assert!(matches!(text(&[pem::block("CERTIFICATE", &device).as_bytes()]), Err(AnchorError::Malformed(_))));
    assert!(matches!(text(&[b""]), Err(AnchorError::Malformed(_))));
}

#[test]
fn a_device_shows_its_identity_for_this_challenge_alone() {
    let place = Place::copied();
    let issuer = place.issuer(NOW);
    let anchor = place.anchor();
    let root = CertificateDer::from(anchor.root().to_vec());
    let fleet =
        Fleet::new(root, anchor.list().unwrap(), issuer.certificate().clone(), &issuer.list().crl, NOW).unwrap();
    let own = pem::first(&std::fs::read(place.home.path().join("robot1/device.pem")).unwrap()).unwrap();
    let good = IdentityReport::make(&place.device, own, [7; 32], NOW).unwrap();
    assert_eq!(good.verify(&[7; 32], &fleet, NOW), Ok(()));
    assert_eq!(good.verify(&[8; 32], &fleet, NOW), Err(AttestationRefusal::Nonce));
    assert_eq!(good.verify(&[7; 32], &fleet, later(SECOND * 300)), Err(AttestationRefusal::Stale(300)));
    let altered = IdentityReport { time: later(SECOND), ..good.clone() };
    assert_eq!(altered.verify(&[7; 32], &fleet, NOW), Err(AttestationRefusal::Signature));
    let altered = IdentityReport { device_id: "0123456789abcdef".into(), ..good.clone() };
    assert!(matches!(
        altered.verify(&[7; 32], &fleet, NOW),
        Err(AttestationRefusal::Certificate(CertificateRefusal::Name(_)))
    ));
    // Another's certificate does not help who has not its key.
    let mut stolen = IdentityReport::make(&key(), good.certificate.clone(), [7; 32], NOW).unwrap();
    stolen.device_id = good.device_id.clone();
    assert_eq!(stolen.verify(&[7; 32], &fleet, NOW), Err(AttestationRefusal::Signature));
}

#[test]
fn provisioning_goes_on_where_it_stopped() {
    let place = Place::copied();
    let again = provisioning::authority(&place.authority(), "test", NOW).unwrap();
    assert!(again.iter().all(|(_, done)| *done == Done::Before), "{again:?}");
    std::fs::remove_file(place.authority().join("authority.pem")).unwrap();
    let again = provisioning::authority(&place.authority(), "test", NOW).unwrap();
    let made: Vec<&str> = again.iter().filter(|(_, done)| *done == Done::Now).map(|(what, _)| what.as_str()).collect();
    assert_eq!(made, ["authority's certificate"]);
    place.issuer(NOW);

    // The root is taken offline, and no second one is made in its place.
    std::fs::rename(place.authority().join("root"), place.home.path().join("safe")).unwrap();
    let again = provisioning::authority(&place.authority(), "test", NOW).unwrap();
    assert!(again.iter().all(|(_, done)| *done == Done::Before) && !place.authority().join("root").exists());
    assert!(provisioning::recover(&place.authority()).is_err(), "no emergency key at hand");
    place.enrol(&["robot_admin"]).unwrap();
}
