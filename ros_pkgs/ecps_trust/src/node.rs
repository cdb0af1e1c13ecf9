//! The trust agent as a ROS node: this device's identity and reports, what the fleet's authority makes known handed on, whom this
//! device trusts on `~/state`; and, where this agent is the authority, tokens, certificates, rotation and revocation.
//!
//! The spin thread answers. A thread of its own asks others: peers to show who they are, the authority for certificates and
//! tokens. Times are the system's also where ROS time is simulated.

mod parameters;
mod rounds;
mod services;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_core::clock::{RosClock as _, Stamp, SystemRos};
use ecps_guard::known::Known;
use ecps_guard::message::{heard, keys_from_ros, keys_to_ros, list_from_ros, list_to_ros};
use ecps_guard::record::Decisions;
use ecps_guard::{Door, TrustLevel};
use ecps_identity::bulletin::{ANCHOR_BYTES, Anchor, Bulletins, Taken};
use ecps_ros::r2r::ecps_msgs::msg;
use ecps_ros::r2r::ecps_msgs::srv::{
    Attest, Enroll, GetIdentity, IssueToken, Revoke, RotateKey, VerifyAttestation, VerifyToken,
};
use ecps_ros::{Health, Managed, Node, ParameterError, Parameters, Publisher, Report, StartError, qos};
use rustls::pki_types::CertificateDer;

use self::parameters::{Settings, settings};
use crate::fleet::Fleet;
use crate::issuer::Issuer;
use crate::pem;
use crate::provider::{Missing, Provider};
use crate::provisioning::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, PASSPHRASE_FILE};
use crate::shared_key::SharedKey;

/// What the spin thread and the thread of the rounds share.
struct Shared {
    settings: Settings,
    name: String,
    key: Option<SharedKey>,
    certificate: Mutex<Option<Vec<u8>>>,
    bulletins: Option<Mutex<Bulletins>>,
    peers: Mutex<Vec<msg::PeerTrust>>,
    known: Known,
    ended: AtomicBool,
}

/// A lock that survives the panic of another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Stamp {
    SystemRos.now()
}

impl Shared {
    /// Who belongs to the fleet, as far as its authority has made that known.
    fn fleet(&self) -> Option<Fleet> {
        let bulletins = lock(self.bulletins.as_ref()?);
        let anchor = bulletins.anchor();
        let root = CertificateDer::from(anchor.root().to_vec());
        let list = bulletins.list()?.crl.clone();
        let (root_list, authority) = (anchor.list()?.to_vec(), CertificateDer::from(bulletins.authority()?));
        drop(bulletins);
        Fleet::new(root, &root_list, authority, &list, now()).ok()
    }

    fn is_revoked(&self, device: &str) -> bool {
        let Some(bulletins) = &self.bulletins else { return false };
        lock(bulletins).revoked().is_some_and(|revoked| revoked.device(device))
    }
}

/// The node's state.
pub struct Agent {
    shared: Arc<Shared>,
    issuer: Option<Issuer>,
    door: Door,
    decisions: Option<Decisions>,
    audit: Publisher<msg::AuditEntry>,
    keys: Publisher<msg::SigningKeys>,
    list: Publisher<msg::Revocations>,
    state: Publisher<msg::TrustState>,
    /// Why the authority did not look at its books last.
    complaint: String,
}

impl Managed for Agent {
    const NAME: &'static str = "trust_agent";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Agent>) -> Result<Agent, StartError> {
        configure(node)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

fn configure(node: &mut Node<Agent>) -> Result<Agent, StartError> {
    let settings = settings(node.parameters())?;
    let key = match &settings.provider {
        Some(provider) => {
            let refused = |error| StartError::layer(format!("parameter 'provider': {error}"));
            Some(SharedKey::new(provider.open(Missing::Refuse).map_err(refused)?))
        }
        None => None,
    };
    let anchor = anchor(&node.parameters().string("trust_anchor")?)?;
    let door = Door::open(node)?;
    let issuer = issuer(&settings, anchor.clone())?;
    let name = node.fully_qualified_name().to_owned();
    let decisions =
        issuer.as_ref().map(|issuer| Decisions::open(&issuer.folder().join("decisions"), &name)).transpose()?;
    let certificate = match std::fs::read(settings.folder.join(CERTIFICATE_FILE)) {
        Ok(text) => pem::first(&text),
        Err(_) => None,
    };
    let known = Known::of(&settings.folder.join("revocations"));
    let least = known.number().map_err(StartError::layer)?;
    let shared = Arc::new(Shared {
        name,
        known,
        key,
        certificate: Mutex::new(certificate),
        bulletins: anchor.map(|anchor| Mutex::new(Bulletins::new(anchor, least))),
        peers: Mutex::new(settings.peers.iter().map(|name| rounds::unknown(name)).collect()),
        ended: AtomicBool::new(false),
        settings,
    });
    if let Some(key) = &shared.key {
        tracing::info!("device {}", key.device_id());
    }
    let topics = node.parameters().string("trust_topics")?;
    // What is revoked is handed on also by an agent that nobody activated.
    node.in_any_state(|node| {
        node.subscribe(&format!("{topics}/signing_keys"), heard(), Agent::on_keys)?;
        node.subscribe(&format!("{topics}/revocations"), heard(), Agent::on_list)?;
        node.steady_timer(Duration::from_millis(500), Agent::look);
        node.steady_timer(Duration::from_secs(1), Agent::show);
        Ok(())
    })?;
    node.service::<GetIdentity::Service>("~/get_identity", Agent::on_get_identity)?;
    node.service::<Attest::Service>("~/attest", Agent::on_attest)?;
    node.service::<VerifyAttestation::Service>("~/verify_attestation", Agent::on_verify_attestation)?;
    node.service::<VerifyToken::Service>("~/verify_token", Agent::on_verify_token)?;
    // Not answered from memory: the answer is a secret, and only who signs the request may have it.
    node.service::<IssueToken::Service>("~/issue_token", Agent::on_issue_token)?;
    node.service::<Enroll::Service>("~/enroll", Agent::on_enroll)?;
    node.service_once::<RotateKey::Service>("~/rotate_key", |request| &request.caller, Agent::on_rotate_key)?;
    node.service_once::<Revoke::Service>("~/revoke", |request| &request.caller, Agent::on_revoke)?;
    node.diagnose("agent", Agent::report);
    rounds::start(node, &shared)?;
    let mut agent = Agent {
        shared,
        issuer,
        door,
        decisions,
        audit: node.publisher("~/audit", qos::reliable(100))?,
        keys: node.publisher(&format!("{topics}/signing_keys"), qos::latched())?,
        list: node.publisher(&format!("{topics}/revocations"), qos::latched())?,
        state: node.publisher("~/state", qos::latched())?,
        complaint: String::new(),
    };
    agent.announce();
    Ok(agent)
}

fn anchor(path: &str) -> Result<Option<Anchor>, StartError> {
    if path.is_empty() {
        return Ok(None);
    }
    let named = |error: &dyn std::fmt::Display| StartError::layer(format!("parameter 'trust_anchor': {path}: {error}"));
    let size = std::fs::metadata(path).map_err(|error| named(&error))?.len();
    if size > ANCHOR_BYTES as u64 {
        return Err(named(&format!("{size} bytes: at most {ANCHOR_BYTES} are read")));
    }
    let text = std::fs::read(path).map_err(|error| named(&error))?;
    Anchor::read(&text).map(Some).map_err(|error| named(&error))
}

fn issuer(settings: &Settings, anchor: Option<Anchor>) -> Result<Option<Issuer>, StartError> {
    let Some(folder) = &settings.authority else { return Ok(None) };
    let anchor =
        anchor.ok_or_else(|| StartError::layer("parameter 'authority' is set, and 'trust_anchor' is empty"))?;
    authority(folder, anchor).map(Some).map_err(|error| StartError::layer(format!("parameter 'authority': {error}")))
}

/// Takes up the authority in `folder`.
fn authority(folder: &Path, anchor: Anchor) -> Result<Issuer, String> {
    let key = Provider::Software { key: folder.join(AUTHORITY_KEY_FILE), passphrase: folder.join(PASSPHRASE_FILE) };
    let key = SharedKey::new(key.open(Missing::Refuse).map_err(|error| error.to_string())?);
    let path = folder.join(AUTHORITY_FILE);
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let certificate = pem::first(&text).ok_or_else(|| format!("{}: there is no certificate", path.display()))?;
    Issuer::open(folder, key, certificate.into(), anchor, now()).map_err(|error| error.to_string())
}

impl Agent {
    fn on_keys(&mut self, message: msg::SigningKeys) {
        let Some(bulletins) = &self.shared.bulletins else { return };
        let keys = keys_from_ros(message);
        let taken = lock(bulletins).take_keys(&keys, now());
        if taken == Ok(Taken::New) && self.issuer.is_none() {
            self.keys.publish(&keys_to_ros(&keys));
        }
    }

    fn on_list(&mut self, message: msg::Revocations) {
        let Some(bulletins) = &self.shared.bulletins else { return };
        let list = list_from_ros(message);
        let taken = lock(bulletins).take_list(&list, now());
        if taken == Ok(Taken::New) {
            self.shared.known.keep(list.number);
            if self.issuer.is_none() {
                self.list.publish(&list_to_ros(&list));
            }
        }
    }

    /// Twice a second, if this is the authority: the books may have been changed, and keys grow old.
    fn look(&mut self) {
        let Some(issuer) = &mut self.issuer else { return };
        match issuer.refresh(now()) {
            Ok(false) => self.complaint.clear(),
            Ok(true) => {
                self.complaint.clear();
                self.announce();
            }
            Err(error) => {
                let complaint = error.to_string();
                if complaint != self.complaint {
                    tracing::error!("{complaint}");
                    self.complaint = complaint;
                }
            }
        }
    }

    /// Makes known what the authority has to say, to itself first.
    fn announce(&mut self) {
        let Some(issuer) = &self.issuer else { return };
        let (keys, list) = (issuer.keys(), issuer.list());
        if let Some(bulletins) = &self.shared.bulletins {
            let mut bulletins = lock(bulletins);
            let taken = bulletins.take_keys(keys, now()).and_then(|_| bulletins.take_list(list, now()));
            if let Err(error) = taken {
                tracing::error!("the authority does not believe itself: {error}");
            }
        }
        let heard = self.door.hear_keys(keys).and_then(|_| self.door.hear_list(list));
        if let Err(error) = heard {
            tracing::error!("the authority does not believe itself: {error}");
        }
        self.keys.publish(&keys_to_ros(keys));
        self.list.publish(&list_to_ros(list));
    }

    fn show(&mut self) {
        let mut state = msg::TrustState {
            level: self.door.level() as u8,
            identity: self.identity(),
            peers: lock(&self.shared.peers).clone(),
            ..msg::TrustState::default()
        };
        state.header.stamp = ecps_ros::time(now());
        if let Some(bulletins) = &self.shared.bulletins {
            let bulletins = lock(bulletins);
            state.key_ids = bulletins.accepted().iter().map(|(key, _)| key.id()).collect();
            state.key_purposes = state.key_ids.iter().map(|_| "tokens".to_owned()).collect();
            if let Some(list) = bulletins.list() {
                state.revocation_number = list.number;
                state.revocation_age = now().nanos_since(list.stamp) as f64 / 1e9;
            }
        }
        (state.granted, state.refused) = self.door.counts();
        self.state.publish(&state);
    }

    fn report(&self, report: &mut Report) {
        match (&self.shared.key, &self.issuer) {
            _ if !self.complaint.is_empty() => report.is(Health::Error, &self.complaint),
            (None, None) => report.is(Health::Warn, "there is no device's key: parameter 'provider' is none"),
            (_, Some(_)) => report.is(Health::Ok, "the fleet's authority"),
            (Some(_), None) => report.is(Health::Ok, "a device"),
        }
        if let Some(key) = &self.shared.key {
            report.add("device", key.device_id());
        }
        let peers = lock(&self.shared.peers);
        let trusted = peers.iter().filter(|peer| peer.verdict == msg::PeerTrust::VERDICT_TRUSTED as u8).count();
        report.add("peers trusted", format!("{trusted} of {}", peers.len()));
    }

    /// Whether callers can show who they are.
    fn asks_for_tokens(&self) -> bool {
        self.door.level() >= TrustLevel::Authenticated
    }
}
