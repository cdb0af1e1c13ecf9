//! TLS between robots: version 1.3 only, both sides with a certificate of the fleet that was not revoked.
//!
//! Configurations hold the revocation lists that the fleet has: make new ones when it takes another. Sessions are not
//! resumed, since resuming one asks for no certificate.

use std::sync::Arc;

use ecps_core::clock::RosClock;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::authority::host_name;
use crate::fleet::{Fleet, unix};
use crate::shared_key::SharedKey;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The fleet's certificates or lists.
    #[error("the fleet's certificates do not serve for TLS: {0}")]
    Fleet(String),
    /// Another key's certificate.
    #[error("this device's certificate and key do not serve for TLS: {0}")]
    Own(rustls::Error),
    /// Not a device.
    #[error("'{}' is not a device id", .0.escape_debug())]
    Name(String),
}

/// One end of a connection.
pub struct Endpoint {
    /// This device's key.
    pub key: SharedKey,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// Who may be at the other end.
    pub fleet: Fleet,
    /// By which certificates end.
    pub clock: Arc<dyn RosClock>,
}

impl Endpoint {
    /// For the side that listens.
    pub fn server(&self) -> Result<ServerConfig, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots()?, provider())
            .with_crls(self.fleet.lists())
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| TlsError::Fleet(error.to_string()))?;
        let mut config = ServerConfig::builder_with_details(provider(), self.time())
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Own)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.own()?);
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// For the side that connects.
    pub fn client(&self) -> Result<ClientConfig, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider())
            .with_crls(self.fleet.lists())
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| TlsError::Fleet(error.to_string()))?;
        let mut config = ClientConfig::builder_with_details(provider(), self.time())
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Own)?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(self.own()?);
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.fleet.root().clone()).map_err(|error| TlsError::Fleet(error.to_string()))?;
        Ok(Arc::new(roots))
    }

    fn own(&self) -> Result<Arc<SingleCertAndKey>, TlsError> {
        let own = CertifiedKey::new(self.fleet.chain(self.certificate.clone()), Arc::new(self.key.clone()));
        own.keys_match().map_err(TlsError::Own)?;
        Ok(Arc::new(SingleCertAndKey::from(own)))
    }

    fn time(&self) -> Arc<Time> {
        Arc::new(Time(self.clock.clone()))
    }
}

/// Under which name to connect to `device`.
pub fn server_name(device: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host_name(device)).map_err(|_| TlsError::Name(device.chars().take(64).collect()))
}

/// The device at the other end of a connection whose handshake is over, by the certificates that it showed there.
pub fn peer(certificates: &[CertificateDer<'_>]) -> Option<String> {
    let (_, read) = parse_x509_certificate(certificates.first()?).ok()?;
    let names = read.subject_alternative_name().ok()??;
    let [GeneralName::DNSName(name)] = names.value.general_names.as_slice() else { return None };
    Some(name.strip_prefix(&host_name(""))?.to_owned())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

struct Time(Arc<dyn RosClock>);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.now()))
    }
}
