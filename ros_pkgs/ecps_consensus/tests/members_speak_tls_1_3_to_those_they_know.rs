//! Members over TLS 1.3 with certificates of their own authority, and peers that are not of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecps_consensus::grpc::{GrpcTransport, serve};
use ecps_consensus::wire::{Request, reply, request};
use ecps_consensus::{
    Application, Disk, Epoch, Erased, Member, MemberFolder, Options, Outcome, Session, Transport, TransportError,
};
use openraft::TokioRuntime;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

const NAME: &str = "group.example";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];

struct Counter;

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct Total {
    #[prost(int64, tag = "1")]
    total: i64,
}

impl Application for Counter {
    type Command = Nothing;
    type Reply = Total;

    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS total (total INTEGER);
             INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT * FROM total);",
        )
    }

    fn apply(&self, database: &Connection, _: Epoch, _: Nothing) -> rusqlite::Result<Result<Total, String>> {
        let update = "UPDATE total SET total = total + 1 RETURNING total";
        Ok(Ok(Total { total: database.query_row(update, [], |row| row.get(0))? }))
    }
}

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }

    fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// A server that asks clients for certificates of this authority, with one of its own by `by`.
    fn server(&self, by: &Authority, name: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let (chain, key) = by.certify(name);
        Arc::new(builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap())
    }

    /// A client that knows this authority, with a certificate by `by`.
    fn client(&self, by: Option<&Authority>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(Arc::clone(&self.roots));
        Arc::new(match by.map(|by| by.certify(NAME)) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }
}

fn transport(config: Arc<ClientConfig>, name: &'static str) -> Arc<GrpcTransport> {
    Arc::new(GrpcTransport::tls(config, ServerName::try_from(name).unwrap()))
}

/// Starts a member that serves over TLS, and gives its address.
async fn start(
    id: u64,
    folder: &TempDir,
    server: Arc<ServerConfig>,
    way: Arc<GrpcTransport>,
) -> (Member<TokioRuntime>, String) {
    let disk: Arc<dyn Disk> = Arc::new(MemberFolder::lock(&folder.path().join(id.to_string())).unwrap());
    let member = Member::start(id, disk, Box::new(Erased(Counter)), way, Options::default()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(member.clone(), listener, Some(server)));
    (member, address)
}

/// Asks member 1 how it is.
async fn ask(way: &GrpcTransport, address: &str) -> Result<(), TransportError> {
    let request = Request { target: 1, what: Some(request::What::Status(true)) };
    let exchange = way.exchange(1, address, request);
    let reply = tokio::time::timeout(Duration::from_secs(20), exchange).await.expect("neither served nor refused")?;
    assert!(matches!(reply.what, Some(reply::What::Status(_))), "{reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_authority_commit_over_tls() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (mut members, mut addresses) = (Vec::new(), BTreeMap::new());
    for id in 1..=3 {
        let way = transport(ours.client(Some(&ours), &[&TLS13]), NAME);
        let (member, address) = start(id, &folder, ours.server(&ours, NAME, &[&TLS13]), way).await;
        members.push(member);
        addresses.insert(id, address);
    }
    members[0].initialize(&addresses).await.unwrap();
    // Through each of them, so that some are passed on.
    for (total, member) in (1..).zip(&members) {
        let mut session: Session<TokioRuntime, Counter> = Session::new(member.clone(), [total as u8; 16]);
        let mut outcome = session.propose(&Nothing {}, Duration::from_secs(30)).await;
        while !matches!(outcome, Outcome::Applied { .. }) {
            outcome = session.ask_again(Duration::from_secs(30)).await.unwrap_or(outcome);
        }
        let Outcome::Applied { reply, .. } = outcome else { panic!("it was applied") };
        assert_eq!(reply.total, total);
    }
    for member in &members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_refuses_whoever_does_not_belong_to_its_authority_or_speaks_an_older_tls() {
    let (ours, foreign, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let good = transport(ours.client(Some(&ours), BOTH), NAME);
    // It would speak 1.2, if the transport let it.
    let (member, address) = start(1, &folder, ours.server(&ours, NAME, BOTH), Arc::clone(&good)).await;
    let strangers = [
        ("no certificate", transport(ours.client(None, BOTH), NAME)),
        ("a foreign certificate", transport(ours.client(Some(&foreign), BOTH), NAME)),
        ("TLS 1.2", transport(ours.client(Some(&ours), ONLY_1_2), NAME)),
        ("no TLS", Arc::new(GrpcTransport::plain())),
    ];
    for (what, way) in strangers {
        assert!(ask(&way, &address).await.is_err(), "{what} was served");
        // And those that belong to it still are.
        ask(&good, &address).await.unwrap();
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_trusts_nobody_of_another_authority_or_name_or_with_an_older_tls() {
    let (ours, foreign, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let servers = [
        ("another authority", ours.server(&foreign, NAME, BOTH), false),
        ("another name", ours.server(&ours, "other.example", BOTH), false),
        ("TLS 1.2", ours.server(&ours, NAME, ONLY_1_2), false),
        ("ours", ours.server(&ours, NAME, BOTH), true),
    ];
    for (what, server, served) in servers {
        let way = transport(ours.client(Some(&ours), BOTH), NAME);
        let here = tempfile::tempdir_in(folder.path()).unwrap();
        let (member, address) = start(1, &here, server, Arc::clone(&way)).await;
        assert_eq!(ask(&way, &address).await.is_ok(), served, "{what}");
        member.stop().await;
    }
}
