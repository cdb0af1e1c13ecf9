//! Robots of one fleet reach each other by TLS 1.3, and nobody else does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use ecps_core::clock::{RosClock, Stamp};
use ecps_trust::shared_key::SharedKey;
use ecps_trust::tls::{Endpoint, TlsError, peer, server_name};
use rustls::pki_types::CertificateDer;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection,
};
use support::fleet::{Authorities, NOW, key, later};

struct At(Stamp);

impl RosClock for At {
    fn now(&self) -> Stamp {
        self.0
    }
}

struct Robot {
    key: SharedKey,
    certificate: CertificateDer<'static>,
}

impl Robot {
    fn of(fleet: &Authorities) -> Robot {
        let key = key();
        Robot { certificate: fleet.enrol(&key), key }
    }

    fn end(&self, fleet: &Authorities, list: &[u8], now: Stamp) -> Endpoint {
        let (key, certificate) = (self.key.clone(), self.certificate.clone());
        Endpoint { key, certificate, fleet: fleet.fleet_with(list), clock: Arc::new(At(now)) }
    }
}

/// Lets both ends talk until neither has anything to say; the error of the end that refused first.
fn handshake(
    client: ClientConfig,
    server: ServerConfig,
    device: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let mut client = ClientConnection::new(Arc::new(client), server_name(device).unwrap())?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut read = wire.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            server.process_new_packets()?;
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        let mut read = answer.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            client.process_new_packets()?;
        }
        if wire.is_empty() && answer.is_empty() {
            return Ok((client, server));
        }
    }
}

fn refusal(client: ClientConfig, server: ServerConfig, device: &str) -> Error {
    handshake(client, server, device).map(drop).unwrap_err()
}

#[test]
fn both_know_who_the_other_is() {
    let fleet = Authorities::new(key(), key());
    let (a, b, list) = (Robot::of(&fleet), Robot::of(&fleet), fleet.list(1, &[]));
    let (client, server) = (a.end(&fleet, &list, NOW), b.end(&fleet, &list, NOW));
    for _ in 0..2 {
        let (client, server) =
            handshake(client.client().unwrap(), server.server().unwrap(), &b.key.device_id()).unwrap();
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(peer(client.peer_certificates().unwrap()), Some(b.key.device_id()));
        assert_eq!(peer(server.peer_certificates().unwrap()), Some(a.key.device_id()), "asked for each time");
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn sessions_are_not_resumed() {
    let fleet = Authorities::new(key(), key());
    let (a, b, list) = (Robot::of(&fleet), Robot::of(&fleet), fleet.list(1, &[]));
    let mut client = a.end(&fleet, &list, NOW).client().unwrap();
    client.resumption = rustls::client::Resumption::in_memory_sessions(8); // of a client that would like to
    let server = b.end(&fleet, &list, NOW).server().unwrap();
    for _ in 0..2 {
        let (_, server) = handshake(client.clone(), server.clone(), &b.key.device_id()).unwrap();
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn revoked_expired_or_another_is_refused_on_either_side() {
    let fleet = Authorities::new(key(), key());
    let (a, b, list) = (Robot::of(&fleet), Robot::of(&fleet), fleet.list(1, &[]));
    let id = b.key.device_id();
    let with = |client_list: &[u8], server_list: &[u8], client_now, server_now, device: &str| {
        let client = a.end(&fleet, client_list, client_now).client().unwrap();
        refusal(client, b.end(&fleet, server_list, server_now).server().unwrap(), device)
    };
    let revoked = Error::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(with(&list, &fleet.list(2, &[&a.certificate]), NOW, NOW, &id), revoked);
    assert_eq!(with(&fleet.list(2, &[&b.certificate]), &list, NOW, NOW, &id), revoked);
    let late = later(Duration::from_secs(26 * 3600));
    let expired = |error: &Error| {
        matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. } | CertificateError::Expired))
    };
    let error = with(&list, &list, late, NOW, &id);
    assert!(expired(&error), "{error:?}");
    let error = with(&list, &list, NOW, late, &id);
    assert!(expired(&error), "{error:?}");
    let error = with(&list, &list, NOW, NOW, &a.key.device_id());
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })), "{error:?}");
}

#[test]
fn a_stranger_is_refused_on_either_side() {
    let (ours, theirs) = (Authorities::new(key(), key()), Authorities::new(key(), key()));
    let (a, stranger) = (Robot::of(&ours), Robot::of(&theirs));
    let (our_end, their_end) =
        (a.end(&ours, &ours.list(1, &[]), NOW), stranger.end(&theirs, &theirs.list(1, &[]), NOW));
    let error = refusal(our_end.client().unwrap(), their_end.server().unwrap(), &stranger.key.device_id());
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    // Its client would refuse our server, so it trusts our root, as a stranger may.
    let liar = Endpoint { fleet: ours.fleet(), ..stranger.end(&theirs, &theirs.list(1, &[]), NOW) };
    let error = refusal(liar.client().unwrap(), our_end.server().unwrap(), &a.key.device_id());
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    let borrowed = Endpoint { key: key(), ..a.end(&ours, &ours.list(1, &[]), NOW) };
    assert!(matches!(borrowed.server(), Err(TlsError::Own(_))), "another's certificate");
}

#[test]
fn without_a_certificate_or_with_tls_1_2_only_there_is_no_connection() {
    let fleet = Authorities::new(key(), key());
    let (a, b, list) = (Robot::of(&fleet), Robot::of(&fleet), fleet.list(1, &[]));
    let id = b.key.device_id();
    let server = || b.end(&fleet, &list, NOW).server().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(fleet.root.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let of = |version| {
        ClientConfig::builder_with_details(provider.clone(), Arc::new(Then))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth()
    };
    assert_eq!(refusal(of(&rustls::version::TLS13), server(), &id), Error::NoCertificatesPresented);
    let old = refusal(of(&rustls::version::TLS12), server(), &id);
    assert!(matches!(old, Error::PeerIncompatible(_)), "{old:?}");

    let config = ServerConfig::builder_with_details(provider.clone(), Arc::new(Then))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth();
    let own = rustls::sign::CertifiedKey::new(fleet.fleet().chain(b.certificate.clone()), Arc::new(b.key.clone()));
    let old_server = config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own)));
    let error = refusal(a.end(&fleet, &list, NOW).client().unwrap(), old_server, &id);
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error:?}");
}

#[derive(Debug)]
struct Then;

impl rustls::time_provider::TimeProvider for Then {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_nanos(NOW.0.unsigned_abs())))
    }
}
